//! Is this machine fit for an embedded cluster? Looks, judges, and says what to do.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use oaas_feedback::Task;

use crate::command::{self, CommandError};
use crate::finding::{OPEN_FILES_WELL, Tool};
use crate::instance::Network;
use crate::network;
use crate::observe::{Firewall, Host};
use crate::options::Options;
use crate::packages::{FOR_BUILDING, PROGRAMS};
use crate::subnets::Prefix;
use crate::versions::OLDEST_GO;

pub use crate::finding::Finding;

/// Memory for Kubernetes alone on one node, in bytes.
const MEMORY: u64 = 2 << 30;
/// Memory for each further node, in bytes.
const MEMORY_PER_NODE: u64 = 512 << 20;
/// Room for etcd, images in the nodes' stores and logs, in bytes.
const STATE: u64 = 4 << 30;
/// Room for the programs, and for building them, in bytes.
const CACHE: u64 = 1 << 30;
const CACHE_FOR_BUILDING: u64 = 6 << 30;

/// All findings about a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of importance.
    pub findings: Vec<Finding>,
}

impl Report {
    /// What is in the way, apart from packages that [`install`] can install.
    pub fn refusals(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| !finding.is_warning() && !matches!(finding, Finding::Packages { .. }))
    }

    /// What is only worth knowing.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_warning())
    }

    /// Debian packages that are missing.
    pub fn packages(&self) -> &[&'static str] {
        self.findings
            .iter()
            .find_map(|finding| match finding {
                Finding::Packages { packages } => Some(packages.as_slice()),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// What is in the way, with the packages that [`install`] can install.
    pub fn obstacles(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.is_warning())
    }

    /// Fails with the first finding that is in the way, if any.
    pub fn require_fit(&self) -> Result<(), Finding> {
        self.obstacles().next().cloned().map_or(Ok(()), Err)
    }
}

/// Do we have all rights? Told before anything is looked at or written.
pub fn require_root() -> Result<(), Finding> {
    if crate::machine::is_root() { Ok(()) } else { Err(Finding::NotRoot) }
}

/// Look at the machine and judge it.
pub async fn preflight(options: &Options) -> Report {
    check(&crate::observe::observe(options).await, options)
}

/// Install Debian packages. Say what before calling this.
pub async fn install(packages: &[&str], task: &Task) -> Result<(), CommandError> {
    task.status(format!("installs {}", packages.join(", ")));
    let install = async |refresh: bool| {
        if refresh {
            command::run("apt-get", &["-q", "-o", "DPkg::Lock::Timeout=600", "update"]).await?;
        }
        let mut arguments =
            vec!["-q", "-y", "-o", "DPkg::Lock::Timeout=600", "install", "--no-install-recommends"];
        arguments.extend(packages);
        command::run("apt-get", &arguments).await
    };
    // Lists of packages may be missing or old; to fetch them first every time costs more than to fail once.
    if install(false).await.is_err() {
        install(true).await?;
    }
    Ok(())
}

/// Judge a machine: pure.
pub fn check(host: &Host, options: &Options) -> Report {
    let mut findings = Vec::new();
    if !host.is_root {
        // Everything else would be judged by what is hidden from us.
        return Report { findings: vec![Finding::NotRoot] };
    }
    let packages = missing_packages(host);
    if !packages.is_empty() {
        findings.push(Finding::Packages { packages });
    }
    if !host.is_built {
        match host.go {
            None => findings.push(Finding::NoGo),
            Some(found) if found < OLDEST_GO => findings.push(Finding::OldGo { found }),
            Some(_) => {}
        }
    }
    for name in ["overlay", "tmpfs"] {
        // A module that is not loaded yet is not listed; `up` loads it if there is one.
        if !host.file_systems.contains(name) && !may_load(host) {
            findings.push(Finding::FileSystem { name });
        }
    }
    if host.hierarchies.is_none() {
        findings.push(Finding::NoCgroups);
    }
    findings.extend(rooms(host, options));
    // With that capability nodes raise the limit themselves.
    if host.open_files < OPEN_FILES_WELL && !host.may_lower_oom_score {
        findings.push(Finding::OpenFiles { have: host.open_files });
    }
    findings.extend(networks(host, options));
    findings.extend(ports(host, options));
    findings.extend(host.firewalls.iter().filter_map(|firewall| firewall_finding(firewall, options)));
    if !host.may_lower_oom_score {
        findings.push(Finding::OomScore);
    }
    Report { findings }
}

/// Can the kernel load modules at all?
fn may_load(host: &Host) -> bool {
    host.has_modules && !host.missing.contains("modprobe")
}

fn missing_packages(host: &Host) -> Vec<&'static str> {
    let mut packages: Vec<&'static str> = PROGRAMS
        .iter()
        .filter(|(program, _)| host.missing.contains(*program))
        .filter(|(program, _)| !(host.is_built && FOR_BUILDING.contains(program)))
        .filter(|(program, _)| host.has_modules || *program != "modprobe")
        .map(|(_, package)| *package)
        .collect();
    if !host.is_built && !host.has_libseccomp {
        packages.push("libseccomp-dev");
    }
    if !host.is_built && !host.has_static_libc {
        packages.push("libc6-dev");
    }
    packages.sort_unstable();
    packages
}

fn rooms(host: &Host, options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    let need = MEMORY + MEMORY_PER_NODE * u64::from(options.nodes.saturating_sub(1));
    if host.memory < need {
        findings.push(Finding::Memory { have: host.memory, need, nodes: options.nodes });
    }
    let cache = if host.is_built { CACHE } else { CACHE_FOR_BUILDING };
    for (path, need) in [(&options.state_dir, STATE), (&options.cache_dir, cache)] {
        if let Some(&have) = host.free.get(path)
            && have < need
        {
            findings.push(Finding::Disk { path: path.clone(), have, need });
        }
    }
    findings
}

fn networks(host: &Host, options: &Options) -> Vec<Finding> {
    let instance = &options.instance;
    let mut names: Vec<String> = Network::ALL.iter().map(|network| instance.bridge(*network)).collect();
    for node in options.nodes() {
        names.extend(Network::ALL.iter().map(|network| instance.host_end(node, *network)));
    }
    names.extend(network::external_links(instance, &options.external));
    let mut findings: Vec<Finding> = names
        .iter()
        .filter(|name| host.links.contains_key(*name) && !host.own.contains(*name))
        .map(|name| Finding::Link { name: name.clone() })
        .collect();

    let subnets = options.subnets();
    let instead = free_prefix(host, &names);
    let mut ours: Vec<(Ipv4Net, Option<Prefix>)> =
        options.external.iter().map(|network| (network.router.trunc(), None)).collect();
    ours.push((subnets.management, instead));
    let mut seen = Vec::new();
    for (other, own, link) in theirs(host, &names) {
        for (subnet, instead) in &ours {
            if overlap(*subnet, other) && !seen.contains(&(*subnet, link)) {
                seen.push((*subnet, link));
                let (subnet, other, link, instead) = (*subnet, other.trunc(), link.to_owned(), *instead);
                // The route to ours is the more specific one, so it wins; the machine's own address must not be one of ours.
                let taken = own.is_some_and(|own| subnet.contains(&own));
                findings.push(if other.prefix_len() < subnet.prefix_len() && !taken {
                    Finding::Covered { subnet, other, link, instead }
                } else {
                    Finding::Subnet { subnet, other, link, instead }
                });
            }
        }
        // These lie inside of the nodes alone, so the machine itself misses nothing.
        for (whose, subnet) in [("pods", subnets.pods), ("Services", subnets.services)] {
            if subnet.contains(&other) && !seen.contains(&(subnet, link)) {
                seen.push((subnet, link));
                let (other, link) = (other.trunc(), link.to_owned());
                findings.push(Finding::Hidden { subnet, whose, other, link, instead });
            }
        }
    }
    for server in &host.resolvers {
        if let Some((whose, subnet)) = subnets.all().into_iter().find(|(_, subnet)| subnet.contains(server)) {
            findings.push(Finding::Resolver { server: *server, subnet, whose, instead });
        }
    }
    findings
}

/// Networks that others have on this machine: with the machine's own address where it has one there, and the link. The whole of
/// IPv4 overlaps with everything and is in nobody's way.
fn theirs<'a>(host: &'a Host, ours: &[String]) -> impl Iterator<Item = (Ipv4Net, Option<Ipv4Addr>, &'a str)> {
    let addressed = host
        .links
        .iter()
        .flat_map(|(link, nets)| nets.iter().map(move |net| (*net, Some(net.addr()), link.as_str())));
    let routed = host.routes.iter().map(|(net, link)| (*net, None, link.as_str()));
    addressed
        .chain(routed)
        .filter(|(net, _, link)| net.prefix_len() > 0 && !ours.iter().any(|name| name == link))
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other.addr()) || other.contains(&one.addr())
}

/// A prefix for the cluster's addresses that nobody uses here, or that only wider networks cover.
fn free_prefix(host: &Host, ours: &[String]) -> Option<Prefix> {
    let is_free = |prefix: &&Prefix, widest: u8| {
        let net = prefix.net();
        !theirs(host, ours).any(|(other, ..)| other.prefix_len() >= widest && overlap(net, other))
            && !host.resolvers.iter().any(|server| net.contains(server))
    };
    let all = &Prefix::SUGGESTED;
    let narrower = Prefix::SUGGESTED[0].net().prefix_len();
    all.iter()
        .find(|prefix| is_free(prefix, 0))
        .or_else(|| all.iter().find(|prefix| is_free(prefix, narrower)))
        .copied()
}

fn ports(host: &Host, options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    let overlap = |a: Ipv4Addr, b: Ipv4Addr| a == b || a.is_unspecified() || b.is_unspecified();
    for map in &options.ports {
        let (address, port) = (*map.listen.ip(), map.listen.port());
        if let Some(taken) =
            host.listeners.iter().find(|one| one.port == port && overlap(one.address, address))
        {
            findings.push(Finding::Port { address, port, owner: taken.owner.clone() });
        } else if let Some((_, table)) =
            host.published.iter().find(|((other, number), _)| *number == port && overlap(*other, address))
        {
            findings.push(Finding::Published { address, port, table: table.clone() });
        }
    }
    findings
}

fn firewall_finding(firewall: &Firewall, options: &Options) -> Option<Finding> {
    let bridges = [Network::Management, Network::External].map(|network| options.instance.bridge(network));
    // Someone who followed the hint, or knew it, has a rule that names our bridge.
    if bridges.iter().all(|bridge| firewall.rules.contains(bridge.as_str())) {
        return None;
    }
    let each =
        |make: fn(&str) -> String| bridges.iter().map(|bridge| make(bridge)).collect::<Vec<_>>().join("; ");
    let command = match firewall.tool {
        Tool::Docker => each(|link| {
            format!(
                "iptables -I DOCKER-USER -i {link} -j ACCEPT; iptables -I DOCKER-USER -o {link} -j ACCEPT"
            )
        }),
        Tool::Ufw => each(|link| format!("ufw route allow in on {link}; ufw route allow out on {link}")),
        Tool::Firewalld => {
            each(|link| format!("firewall-cmd --permanent --zone=trusted --add-interface={link}"))
                + "; firewall-cmd --reload"
        }
        Tool::Other => match &firewall.chain {
            Some(chain) => {
                let links = bridges.iter().map(|link| format!("\"{link}\"")).collect::<Vec<_>>().join(", ");
                let rule = |end| format!("nft 'insert rule {chain} {end} {{ {links} }} accept'");
                format!("{}; {}", rule("iifname"), rule("oifname"))
            }
            None => each(|link| {
                let rule = |end| format!("iptables-legacy -I FORWARD {end} {link} -j ACCEPT");
                format!("{}; {}", rule("-i"), rule("-o"))
            }),
        },
    };
    Some(Finding::Firewall { tool: firewall.tool, chain: firewall.chain.clone(), command })
}

#[cfg(test)]
mod tests;
