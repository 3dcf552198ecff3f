//! What cannot be done, and the nearest right thing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use oaas_api::Reason;
use oaas_catalog::{Release, ReplicaRule, SelectError, Service};

use crate::amounts;
use crate::content::{TUNNEL_OVERHEAD, declared};
use crate::credentials::rotatable;
use crate::inputs::Inputs;
use crate::network::tunnel_mtu;
use crate::node_files;
use crate::nodes::user_labels;
use crate::options::{self, secret};
use crate::own_files;
use crate::problem::{Problem, Problems, suggestion};
use crate::select::cloud_catalog;
use crate::volumes;
use crate::voters;

/// Everything in the resource that cannot be done, all at once. Empty where all is well.
pub fn validate(inputs: &Inputs<'_>) -> Vec<Problem> {
    let mut problems = Problems::default();
    for refusal in oaas_api::not_yet(inputs.spec) {
        problems.add_as(Reason::NotYet, refusal.path, refusal.message, Some(refusal.hint.to_owned()));
    }
    release(inputs, &mut problems);
    services(inputs, &mut problems);
    what_needs_what(inputs, &mut problems);
    voters::problems(inputs, &mut problems);
    images(inputs, &mut problems);
    volumes::problems(inputs, &mut problems);
    content(inputs, &mut problems);
    publish(inputs, &mut problems);
    lifetimes(inputs, &mut problems);
    rotation(inputs, &mut problems);
    nodes(inputs, &mut problems);
    if let Some(release) = inputs.catalog.releases().get(&inputs.spec.release) {
        node_files::problems(inputs, release, &mut problems);
    }
    for other in &inputs.observed.namespace_clouds {
        problems.add_as(
            Reason::Conflict,
            "metadata.namespace",
            format!("the namespace {} holds the cloud {other} already", inputs.cloud.namespace),
            Some("give each cloud a namespace of its own".into()),
        );
    }
    problems.0
}

fn release(inputs: &Inputs<'_>, problems: &mut Problems) {
    let name = &inputs.spec.release;
    let releases = inputs.catalog.releases();
    if !releases.contains_key(name) {
        let hint = neighbours(name, releases.values())
            .unwrap_or_else(|| suggestion(name, releases.keys().map(String::as_str)));
        problems.add("spec.release", format!("there is no release {name}"), Some(hint));
    }
}

/// The releases next to one that is named as they are, by year and half-year: of two numbers that differ in one figure,
/// neither is a misspelling of the other. `None` where it is no such name.
fn neighbours<'a>(name: &str, releases: impl Iterator<Item = &'a Release>) -> Option<String> {
    let (year, half) = name.split_once('.')?;
    let wanted = year.parse::<u32>().ok()?.checked_mul(10)?.checked_add(half.parse().ok()?)?;
    let (before, after): (Vec<_>, Vec<_>) = releases.partition(|release| release.order < wanted);
    let before = before.into_iter().max_by_key(|release| release.order).map(|release| &release.name);
    let after = after.into_iter().min_by_key(|release| release.order).map(|release| &release.name);
    Some(match (before, after) {
        (Some(before), Some(after)) => format!("the nearest are {before} and {after}"),
        (Some(last), None) => format!("the latest is {last}"),
        (None, Some(first)) => format!("the earliest is {first}"),
        (None, None) => return None,
    })
}

fn services(inputs: &Inputs<'_>, problems: &mut Problems) {
    let Some(release) = inputs.catalog.releases().get(&inputs.spec.release) else { return };
    let all: Vec<&Service> = inputs.catalog.services_of(release).collect();
    let mut names: BTreeSet<&str> = all.iter().map(|service| service.name.as_str()).collect();
    names.extend(
        all.iter().flat_map(|service| service.components.iter().map(|component| component.name.as_str())),
    );
    for (name, wanted) in &inputs.spec.services {
        let path = format!("spec.services.{name}");
        if !names.contains(name.as_str()) {
            let hint = suggestion(name, names.iter().copied());
            problems.add(path, format!("there is no service {name} in release {}", release.name), Some(hint));
            continue;
        }
        let component = all.iter().find_map(|service| service.components.iter().find(|c| c.name == *name));
        let service = all.iter().find(|service| service.name == *name);
        let owner =
            service.or_else(|| all.iter().find(|service| service.components.iter().any(|c| c.name == *name)));
        if let (Some(replicas), Some(component)) = (wanted.replicas, component) {
            count(&format!("{path}.replicas"), replicas, component, problems);
        } else if let (Some(_), Some(service)) = (wanted.replicas, service)
            && service.components.len() != 1
        {
            let parts: Vec<&str> =
                service.components.iter().map(|component| component.name.as_str()).collect();
            let hint = format!("set replicas under one of {}", parts.join(", "));
            problems.add(format!("{path}.replicas"), format!("{name} has several components"), Some(hint));
        }
        if wanted.enabled.is_some() && service.is_none() {
            let hint = owner.map(|owner| format!("set it under {}", owner.name));
            problems.add(format!("{path}.enabled"), format!("{name} is a part of a service"), hint);
        }
        amounts::problems(&path, wanted, problems);
        if let Some(owner) = owner {
            options::problems(inputs, release, owner, name, problems);
            own_files::problems(inputs, release, owner, name, problems);
        }
    }
}

/// Images are named as the catalog names them.
fn images(inputs: &Inputs<'_>, problems: &mut Problems) {
    let Some(release) = inputs.catalog.releases().get(&inputs.spec.release) else { return };
    let of_services = inputs.catalog.services_of(release).flat_map(|service| {
        let of_jobs = service.jobs.iter().map(|job| job.pod.image.as_str());
        service.components.iter().map(|component| component.pod.image.as_str()).chain(of_jobs)
    });
    let known: BTreeSet<&str> = of_services.chain([release.image.as_str()]).collect();
    for name in inputs.spec.images.keys().filter(|name| !known.contains(name.as_str())) {
        let hint = suggestion(name, known.iter().copied());
        problems.add(format!("spec.images.{name}"), format!("no service runs from an image {name}"), hint);
    }
}

/// A service may be off only where no other needs it.
fn what_needs_what(inputs: &Inputs<'_>, problems: &mut Problems) {
    match cloud_catalog(inputs) {
        // Another function says what is wrong with the release.
        Ok(_) | Err(SelectError::NoRelease { .. }) => {}
        Err(SelectError::Missing { missing }) => {
            for missing in missing {
                let service = &missing.service;
                let said = inputs.spec.services.get(service).is_some_and(|wanted| wanted.enabled.is_some());
                let by: Vec<&str> = missing.needed_by.iter().map(String::as_str).collect();
                let on = if said { "leave it on" } else { "turn it on with `enabled: true`" };
                let hint = format!("{on}, or turn off {} too", by.join(", "));
                problems.add(format!("spec.services.{service}.enabled"), missing.to_string(), Some(hint));
            }
        }
        Err(SelectError::Wrong { source }) => problems.add("spec", source.to_string(), None),
    }
}

fn count(path: &str, replicas: i32, component: &oaas_catalog::Component, problems: &mut Problems) {
    use oaas_catalog::WorkloadKind::DaemonSet;
    let name = &component.name;
    if component.kind == DaemonSet {
        let hint = "label or unlabel nodes instead".to_owned();
        problems.add(
            path,
            format!("{name} runs once on each node of its kind and takes no replicas"),
            Some(hint),
        );
    } else if component.replicas.rule == ReplicaRule::Odd && replicas % 2 == 0 {
        let hint = format!("take {} or {}", (replicas - 1).max(1), replicas + 1);
        problems.add(
            path,
            format!("{name} votes: {replicas} replicas do not make a quorum better than one less"),
            Some(hint),
        );
    } else if component.replicas.rule == ReplicaRule::One && replicas > 1 {
        problems.add(path, format!("{name} runs once only"), Some("leave replicas out".into()));
    }
}

/// What is declared to be in the cloud. External networks are judged before; what is wrong with them is said once.
fn content(inputs: &Inputs<'_>, problems: &mut Problems) {
    let before = problems.0.len();
    networks(inputs, problems);
    let content = declared(inputs.spec);
    if problems.0.len() == before {
        for problem in crate::content::problems(&content) {
            problems.add(format!("spec.content.{}", problem.path), problem.message, problem.hint);
        }
    }
    let largest = tunnel_mtu(inputs.spec).saturating_sub(TUNNEL_OVERHEAD);
    for network in content.networks.iter().filter(|network| network.provider.is_none()) {
        if let Some(mtu) = network.mtu.filter(|mtu| *mtu > largest) {
            let path = format!("spec.content.networks[{}].mtu", network.name);
            let hint = format!(
                "write {largest} or less, or set network.tunnel.mtu to what the nodes' network carries"
            );
            problems.add(path, format!("a packet of {mtu} bytes does not fit into the tunnels"), hint);
        }
    }
    for user in &content.users {
        if let Some(from) = &user.password_secret_ref {
            let path = format!("spec.content.users[{}].passwordSecretRef", user.name);
            secret(inputs, &path, &from.name, &from.key, problems);
        }
    }
    for pair in &content.keypairs {
        if let Some(from) = &pair.public_key_secret_ref {
            let path = format!("spec.content.keypairs[{}].publicKeySecretRef", pair.name);
            secret(inputs, &path, &from.name, &from.key, problems);
        }
    }
}

/// Subnets of the embedded cluster and of the demo content would collide with an external network of the same addresses;
/// pods and Services of any cluster must not lie in it either.
fn networks(inputs: &Inputs<'_>, problems: &mut Problems) {
    let given = inputs.spec.network.as_ref().and_then(|network| network.external.clone());
    let default = vec![oaas_api::ExternalNetwork::default_ext_net()];
    let external = given.unwrap_or(default);
    let mut seen: Vec<(String, IpNet)> = Vec::new();
    for (place, network) in external.iter().enumerate() {
        let path = format!("spec.network.external[{place}]");
        if !dns_safe(&network.name) {
            let hint = format!("for instance {}", dns_safe_form(&network.name));
            problems.add(format!("{path}.name"), format!("{} is not a DNS label", network.name), Some(hint));
        }
        let Ok(cidr) = network.cidr.parse::<IpNet>() else {
            problems.add(
                format!("{path}.cidr"),
                format!("{} is not a network", network.cidr),
                Some("write it as 192.168.100.0/24".into()),
            );
            continue;
        };
        if cidr.addr() != cidr.network() {
            let hint = format!("write {}", cidr.trunc());
            problems.add(
                format!("{path}.cidr"),
                format!("{cidr} has bits set beyond its prefix"),
                Some(hint),
            );
        }
        for (name, other) in &seen {
            if other.contains(&cidr) || cidr.contains(other) {
                let hint = "take a network that shares no address with it".to_owned();
                problems.add(
                    format!("{path}.cidr"),
                    format!("{cidr} overlaps with {other} of {name}"),
                    Some(hint),
                );
            }
        }
        for node in inputs.nodes {
            if let Some(address) = node.address.filter(|address| cidr.contains(address)) {
                let hint = Some("take a network that the nodes are not in".into());
                problems.add(
                    format!("{path}.cidr"),
                    format!("{cidr} holds the address {address} of node {}", node.name),
                    hint,
                );
                break;
            }
        }
        let gateway = network.gateway.as_deref().map(|text| (text, text.parse::<IpAddr>()));
        let gateway = match gateway {
            Some((text, Err(_))) => {
                let hint = format!("write one of {cidr}, or leave it out");
                problems.add(format!("{path}.gateway"), format!("{text} is not an address"), Some(hint));
                None
            }
            Some((_, Ok(address))) => {
                if !cidr.contains(&address) {
                    let hint = format!("take an address of {cidr}");
                    problems.add(
                        format!("{path}.gateway"),
                        format!("{address} is outside {cidr}"),
                        Some(hint),
                    );
                }
                Some(address)
            }
            None => None,
        };
        let pools = network.pools.clone().unwrap_or_default();
        for pool in network.pool.iter().chain(&pools) {
            pool_problems(&format!("{path}.pool"), pool, cidr, gateway, problems);
        }
        seen.push((network.name.clone(), cidr));
    }
}

fn pool_problems(path: &str, pool: &str, cidr: IpNet, gateway: Option<IpAddr>, problems: &mut Problems) {
    let ends = pool
        .split_once('-')
        .map(|(first, last)| (first.trim().parse::<IpAddr>(), last.trim().parse::<IpAddr>()));
    let Some((Ok(first), Ok(last))) = ends else {
        let hint = Some("write it as 192.168.100.101-192.168.100.200".into());
        problems.add(path, format!("{pool} is not a range of addresses"), hint);
        return;
    };
    if first > last {
        problems.add(path, format!("{first} comes after {last}"), Some(format!("write {last}-{first}")));
    } else if !cidr.contains(&first) || !cidr.contains(&last) {
        problems.add(
            path,
            format!("the pool {pool} is outside {cidr}"),
            Some(format!("take addresses of {cidr}")),
        );
    } else if let Some(gateway) = gateway.filter(|gateway| first <= *gateway && *gateway <= last) {
        problems.add(
            path,
            format!("the pool {pool} holds the gateway {gateway}"),
            Some("leave the gateway out of it".into()),
        );
    }
}

/// The shortest life of a certificate that leaves time to replace it: seconds.
const SHORTEST_LIFE: u64 = 60;

fn lifetimes(inputs: &Inputs<'_>, problems: &mut Problems) {
    let Some(said) = &inputs.spec.certificates else { return };
    for (name, span) in [("duration", &said.duration), ("caDuration", &said.ca_duration)] {
        let Some(span) = span else { continue };
        let path = format!("spec.certificates.{name}");
        match span.duration() {
            None => problems.add(
                path,
                format!("{span} is no length of time up to 100 years"),
                Some("write a whole number and one of s, m, h, d, such as 90d".to_owned()),
            ),
            Some(life) if life.as_secs() < SHORTEST_LIFE => problems.add(
                path,
                format!("{span} leaves no time to replace a certificate before its end"),
                Some(format!("take {SHORTEST_LIFE}s or more")),
            ),
            Some(_) => {}
        }
    }
    if said.duration() > said.ca_duration() {
        problems.add(
            "spec.certificates.duration",
            "a certificate is not valid for longer than the authority that signs it",
            Some("take a longer caDuration, or a shorter duration".to_owned()),
        );
    }
}

/// What is rotated is named as the cloud has it.
fn rotation(inputs: &Inputs<'_>, problems: &mut Problems) {
    let known = rotatable(inputs);
    let names = || known.iter().map(|known| known.name.as_str());
    for name in inputs.spec.rotation.keys().filter(|name| !names().any(|known| known == *name)) {
        let hint = suggestion(name, names());
        problems.add(format!("spec.rotation.{name}"), format!("there is no {name} to rotate"), Some(hint));
    }
}

fn publish(inputs: &Inputs<'_>, problems: &mut Problems) {
    let Some(publish) = &inputs.spec.publish else { return };
    let ports = [
        ("horizonPort", publish.horizon_port),
        ("consolePort", publish.console_port),
        ("statisticsPort", publish.statistics_port),
        ("publicPort", publish.public_port),
    ];
    let mut seen: Vec<(&str, u16)> = Vec::new();
    for (name, port) in ports.into_iter().filter_map(|(name, port)| port.map(|port| (name, port))) {
        let path = format!("spec.publish.{name}");
        if !(30000..=32767).contains(&port) {
            problems.add(
                path.clone(),
                format!("{port} is not a NodePort"),
                Some("take one from 30000 to 32767".into()),
            );
        }
        if let Some(owner) = inputs.observed.taken_node_ports.get(&port) {
            let hint = Some("leave it out to get a free one".into());
            let message = format!("port {port} is taken by the Service {owner}");
            problems.add_as(Reason::Conflict, path.clone(), message, hint);
        }
        if let Some((other, _)) = seen.iter().find(|(_, taken)| *taken == port) {
            let hint = "give each its own, or leave one out to get a free one".to_owned();
            problems.add(path, format!("port {port} is {other}'s already"), Some(hint));
        }
        seen.push((name, port));
    }
}

fn nodes(inputs: &Inputs<'_>, problems: &mut Problems) {
    if inputs.nodes.is_empty() {
        return;
    }
    for label in user_labels() {
        if !inputs.nodes.iter().any(|node| node.has(label)) {
            let hint = format!("kubectl label node {} {label}=true", inputs.nodes[0].name);
            problems.add("nodes", format!("no node has the label {label}=true"), Some(hint));
        }
    }
}

fn dns_safe(name: &str) -> bool {
    let inner = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    inner && !name.is_empty() && name.len() <= 63 && !name.starts_with('-') && !name.ends_with('-')
}

fn dns_safe_form(name: &str) -> String {
    let safe: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(63)
        .collect();
    safe.trim_matches('-').to_owned()
}
