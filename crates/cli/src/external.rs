//! External networks of clouds, as the machine that carries them sees them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use oaas_api::OpenStackSpec;
use oaas_api::network::{ExternalNetwork, NetworkKind};

/// The physical network that nodes of the embedded cluster carry.
const PHYSICAL: &str = "public";

/// The external networks that these clouds declare on the embedded cluster's physical network: this machine is their router. What
/// is declared wrongly is left out; the planner refuses it by name.
pub fn networks<'a>(clouds: impl IntoIterator<Item = &'a OpenStackSpec>) -> Vec<oaas_node::ExternalNetwork> {
    let of_cloud = |spec: &OpenStackSpec| {
        let declared = spec.network.as_ref().and_then(|network| network.external.clone());
        declared.unwrap_or_else(|| vec![ExternalNetwork::default_ext_net()])
    };
    let all = clouds.into_iter().flat_map(of_cloud);
    all.filter_map(|network| routed(&network)).collect::<BTreeSet<_>>().into_iter().collect()
}

fn routed(network: &ExternalNetwork) -> Option<oaas_node::ExternalNetwork> {
    let physical = network.physical_network.as_deref().unwrap_or(PHYSICAL);
    let net: Ipv4Net = network.cidr.parse().ok()?;
    let gateway = match &network.gateway {
        Some(gateway) => gateway.parse::<Ipv4Addr>().ok()?,
        None => net.hosts().next()?,
    };
    let vlan = match network.kind {
        NetworkKind::Flat => None,
        NetworkKind::Vlan => Some(network.vlan?),
    };
    let router = Ipv4Net::new(gateway, net.prefix_len()).ok()?;
    (physical == PHYSICAL).then_some(oaas_node::ExternalNetwork { router, vlan })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(network: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: oaas.dev/v1alpha1\nkind: OpenStack\nmetadata: {{name: a}}\nspec: {{release: \"2026.1\", network: {network}}}"
        );
        let cloud = oaas_api::parse_resource(&text).unwrap();
        networks([&cloud.spec]).iter().map(|one| format!("{} {:?}", one.router, one.vlan)).collect()
    }

    #[test]
    fn the_machine_is_the_router_of_what_is_declared() {
        assert_eq!(of("{}"), ["192.168.100.1/24 None"]);
        assert_eq!(of("{external: []}"), [""; 0]);
        assert_eq!(
            of(
                "{external: [{name: a, cidr: 203.0.113.0/25, gateway: 203.0.113.126}, {name: b, kind: vlan, vlan: 7, cidr: 198.51.100.0/24}]}"
            ),
            ["198.51.100.1/24 Some(7)", "203.0.113.126/25 None"]
        );
        // Another physical network is not this machine's.
        assert_eq!(of("{external: [{name: a, cidr: 203.0.113.0/24, physicalNetwork: storage}]}"), [""; 0]);
    }
}
