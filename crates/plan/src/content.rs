//! What a cloud is declared to contain, and the Secrets that this needs.

use std::collections::BTreeSet;

use oaas_api::{ExternalNetwork, OpenStackSpec, Preset};
use oaas_cloud::content::spec::{Content, DEFAULT_DOMAIN, Network, Qualified};
use oaas_cloud::content::{check, demo};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Bytes that a packet of a tenant network grows by in the tunnel: the outer IPv4 header (20) and Neutron's
/// `[ml2_type_geneve] max_header_size` (38).
pub(crate) const TUNNEL_OVERHEAD: u16 = 58;
/// The largest packet in bytes where nothing is said of a network.
pub(crate) const ETHERNET_MTU: u16 = 1500;

/// The declared content: the preset with what the resource declares on top.
///
/// The external networks of `spec.network` take the place of the preset's, and what the preset connects to its external
/// network is connected to the first of them. What the resource itself declares stays as it is written.
pub fn declared(spec: &OpenStackSpec) -> Content {
    let said = spec.content.clone().unwrap_or_default();
    let mut preset = match said.preset {
        Preset::Demo => demo(),
        Preset::None => Content::default(),
    };
    let network = spec.network.clone().unwrap_or_default();
    let external = network.external.as_deref();
    if let Some(external) = external {
        preset.networks.retain(|network| !network.external);
        let first = external.first().map(|network| network.name.clone());
        for router in &mut preset.routers {
            router.gateway.clone_from(&first);
        }
        for server in &mut preset.servers {
            server.floating_ip_from.clone_from(&first);
        }
    }
    let mut content = said.over(preset);
    content.networks.splice(0..0, external.unwrap_or_default().iter().map(external_network));
    if let Some(mtu) = network.tunnel.and_then(|tunnel| tunnel.mtu) {
        // Neutron computes it when a network is made, and keeps it when the nodes' network becomes another.
        for network in content.networks.iter_mut().filter(|network| network.provider.is_none()) {
            network.mtu.get_or_insert(mtu.saturating_sub(TUNNEL_OVERHEAD));
        }
    }
    content
}

/// An external network as the content has it. What the API server let pass has the fields that this one needs.
fn external_network(external: &ExternalNetwork) -> Network {
    let pools: Vec<_> = external
        .pool
        .iter()
        .chain(external.pools.iter().flatten())
        .filter_map(|pool| pool.split_once('-'))
        .map(|(start, end)| json!({"start": start.trim(), "end": end.trim()}))
        .collect();
    let mut subnet = json!({
        "name": format!("{}-subnet", external.name.trim_end_matches("-net")),
        "cidr": external.cidr,
        "pools": pools,
        "dhcp": false,
    });
    if let Some(gateway) = &external.gateway {
        subnet["gateway"] = json!(gateway);
    }
    let mut network = json!({
        "name": external.name,
        "external": true,
        "provider": {"networkType": "flat", "physicalNetwork": physical_network(external)},
        "subnets": [subnet],
    });
    if let Some(mtu) = external.mtu {
        network["mtu"] = json!(mtu);
    }
    serde_json::from_value(network).unwrap_or_else(|_| without_addresses(external))
}

/// The network of a resource whose addresses are none: [`crate::validate()`] says so, and nothing is made of it.
fn without_addresses(external: &ExternalNetwork) -> Network {
    serde_json::from_value(json!({"name": external.name, "external": true}))
        .expect("a name is all that a network needs")
}

/// The physical network that carries an external one.
pub(crate) fn physical_network(external: &ExternalNetwork) -> &str {
    external.physical_network.as_deref().unwrap_or("public")
}

/// A user's name as a part of an object's: itself where Kubernetes takes it, else what is left of it and a hash.
pub(crate) fn object_name(user: &Qualified) -> String {
    let whole = user.to_string();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if whole.len() <= 40 && whole.chars().all(fits) && whole.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return whole;
    }
    let left: String = whole.to_lowercase().chars().map(|c| if fits(c) { c } else { '-' }).take(40).collect();
    let hash = hex::encode(Sha256::digest(&whole));
    format!("{}-{}", left.trim_matches('-'), &hash[..8]).trim_start_matches('-').to_owned()
}

/// The domains that it has users in: the default one, then the others as they are declared.
pub(crate) fn domains(content: &Content) -> Vec<&str> {
    let mut names = vec![DEFAULT_DOMAIN];
    let declared = content.domains.iter().map(|domain| domain.name.as_str());
    for name in declared.chain(content.users.iter().map(|user| user.name.domain.as_str())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Users whose passwords are generated.
pub(crate) fn users_without_password(content: &Content) -> impl Iterator<Item = &Qualified> {
    content.users.iter().filter(|user| user.password_secret_ref.is_none()).map(|user| &user.name)
}

/// Users who have a keypair whose key is generated, each once.
pub(crate) fn users_without_key(content: &Content) -> BTreeSet<&Qualified> {
    let without = |pair: &&oaas_cloud::content::spec::Keypair| {
        pair.public_key.is_none() && pair.public_key_secret_ref.is_none()
    };
    content.keypairs.iter().filter(without).map(|pair| &pair.user).collect()
}

/// What is wrong with the declared content.
pub(crate) fn problems(content: &Content) -> Vec<oaas_cloud::content::Problem> {
    check(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(network: &str, content: &str) -> Content {
        let spec = format!(r#"{{"release": "r", "network": {network}, "content": {content}}}"#);
        let content = declared(&serde_json::from_str(&spec).expect("a resource"));
        assert_eq!(problems(&content), []);
        content
    }

    const TWO: &str = r#"{"external": [
        {"name": "campus", "cidr": "203.0.113.0/24", "physicalNetwork": "campus"},
        {"name": "world", "cidr": "198.51.100.0/24", "physicalNetwork": "world"}]}"#;

    #[test]
    fn the_preset_is_connected_to_the_first_external_network() {
        let content = content(TWO, "{}");
        let external: Vec<&str> =
            content.networks.iter().filter(|n| n.external).map(|n| n.name.as_str()).collect();
        assert_eq!(external, ["campus", "world"]);
        assert_eq!(content.routers[0].gateway.as_deref(), Some("campus"));
        assert_eq!(content.servers[0].floating_ip_from.as_deref(), Some("campus"));
    }

    #[test]
    fn what_the_resource_declares_stays_as_it_is_written() {
        let own = r#"{
            "networks": [{"name": "own", "external": true,
                          "provider": {"networkType": "flat", "physicalNetwork": "third"}}],
            "routers": [{"name": "r", "project": "demo", "gateway": "world"}, {"name": "closed", "project": "demo"}],
            "servers": [{"name": "s", "user": "demo", "project": "demo", "flavor": "m1.tiny", "image": "oaas-guest",
                         "networks": ["demo-net"]}]}"#;
        let content = content(TWO, own);
        let router = |name: &str| content.routers.iter().find(|r| r.name == name).expect("declared");
        assert_eq!(router("r").gateway.as_deref(), Some("world"));
        assert_eq!(router("closed").gateway, None);
        assert_eq!(content.servers.iter().find(|s| s.name == "s").expect("declared").floating_ip_from, None);
        assert!(content.networks.iter().any(|network| network.name == "own"));
    }

    #[test]
    fn the_tunnels_packets_are_smaller_than_the_nodes() {
        let content =
            content(r#"{"tunnel": {"mtu": 1400}}"#, r#"{"networks": [{"name": "jumbo", "mtu": 1280}]}"#);
        let mtu = |name: &str| content.networks.iter().find(|n| n.name == name).expect("declared").mtu;
        assert_eq!((mtu("demo-net"), mtu("ext-net"), mtu("jumbo")), (Some(1342), None, Some(1280)));
    }

    #[test]
    fn who_logs_in_may_be_of_any_domain_that_is_declared() {
        assert_eq!(domains(&content("{}", "{}")), ["Default"]);
        let two = r#"{"domains": [{"name": "corp"}, {"name": "Default"}], "users": [{"name": "corp/alice"}, {"name": "bob"}]}"#;
        assert_eq!(domains(&content("{}", two)), ["Default", "corp"]);
    }

    #[test]
    fn every_users_name_becomes_an_objects() {
        assert_eq!(object_name(&"alice".into()), "alice");
        for odd in ["corp/alice", "Bob", "ü", "-x", "a b"] {
            let name = object_name(&odd.into());
            assert!(name.len() < 50 && name.starts_with(|c: char| c.is_ascii_alphanumeric()), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        }
        assert_ne!(object_name(&"Bob".into()), object_name(&"bob".into()));
    }
}
