//! What the resource says of the networks between the nodes and out of the cloud, as configuration takes it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use oaas_api::OpenStackSpec;
use oaas_catalog::NetworkFact;

use crate::content::{ETHERNET_MTU, declared};
use crate::inputs::Inputs;
use crate::nodes::told;

/// Whom guests ask for names where nobody said: the two that the demo content names, too (Quad9 and Cloudflare).
const PUBLIC_NAME_SERVERS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)), IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1))];

/// The largest packet in bytes that the network between the nodes carries.
pub(crate) fn tunnel_mtu(spec: &OpenStackSpec) -> u16 {
    let tunnel = spec.network.as_ref().and_then(|network| network.tunnel.as_ref());
    tunnel.and_then(|tunnel| tunnel.mtu).unwrap_or(ETHERNET_MTU)
}

/// The largest packet in bytes of each physical network that something declared is carried by.
fn physical_mtus(spec: &OpenStackSpec) -> BTreeMap<String, u16> {
    let mut mtus = BTreeMap::new();
    for network in declared(spec).networks {
        let Some(provider) = network.provider else { continue };
        let mtu = network.mtu.unwrap_or(ETHERNET_MTU);
        let largest = mtus.entry(provider.physical_network).or_insert(mtu);
        *largest = mtu.max(*largest);
    }
    mtus
}

/// Whom guests ask for names whose subnet names nobody: whom the resource says, else whom the nodes themselves ask.
/// Never the cluster's own server: guests do not reach it.
fn name_servers(inputs: &Inputs<'_>) -> Vec<IpAddr> {
    let said = inputs.spec.network.as_ref().map(|network| network.name_servers.clone()).unwrap_or_default();
    if !said.is_empty() {
        return said;
    }
    let of_nodes =
        inputs.nodes.iter().map(|node| told(node).name_servers).find(|servers| !servers.is_empty());
    of_nodes.unwrap_or_else(|| PUBLIC_NAME_SERVERS.to_vec())
}

/// A fact as text.
pub(crate) fn fact(inputs: &Inputs<'_>, fact: NetworkFact) -> String {
    let spec = inputs.spec;
    match fact {
        NetworkFact::TunnelMtu => tunnel_mtu(spec).to_string(),
        NetworkFact::LargestMtu => {
            physical_mtus(spec).into_values().fold(tunnel_mtu(spec), u16::max).to_string()
        }
        NetworkFact::PhysicalMtus => {
            let mtus = physical_mtus(spec).into_iter().map(|(name, mtu)| format!("{name}:{mtu}"));
            mtus.collect::<Vec<_>>().join(",")
        }
        NetworkFact::NameServers => {
            name_servers(inputs).iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        }
    }
}
