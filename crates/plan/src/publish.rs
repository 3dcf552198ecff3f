//! Where a cloud is reached from outside: its address and its NodePorts.

use std::collections::BTreeMap;

use oaas_api::OpenStackSpec;
use oaas_catalog::{Catalog, CloudCatalog, Expose, NodeLabel, Published};

use crate::inputs::Inputs;
use crate::nodes::is_labelled;
use crate::select::catalog_for;

/// The addresses and ports of a cloud as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishPlan {
    /// The address in public URLs.
    pub address: String,
    /// Every address that certificates must carry.
    pub addresses: Vec<String>,
    /// The port of each thing that is published, by its key in the catalog. What the cloud does not run is not here.
    pub ports: BTreeMap<String, u16>,
}

impl PublishPlan {
    /// The base URL of something published, without a trailing slash; nothing where this cloud does not publish it.
    pub fn url(&self, key: &str) -> Option<String> {
        let port = self.ports.get(key)?;
        let address = match self.address.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => self.address.clone(),
        };
        Some(format!("https://{address}:{port}"))
    }
}

/// Everything that a cloud publishes, with its place as [`crate::Observed::own_node_ports`] names it.
fn published(catalog: &CloudCatalog) -> impl Iterator<Item = (String, &Published)> {
    let components = catalog.services().flat_map(|service| &service.components);
    components.flat_map(|component| {
        component.ports.iter().filter_map(|port| match &port.expose {
            Expose::NodePort(published) => Some((format!("{}/{}", component.name, port.name), published)),
            Expose::Cluster | Expose::Callers | Expose::None => None,
        })
    })
}

/// Choose address and ports. A port that the resource names is taken as it is; otherwise the one that the cloud has
/// already, else the default, else the next free one within the range of NodePorts (30000 to 32767).
pub(crate) fn publish_plan(inputs: &Inputs<'_>, catalog: &CloudCatalog) -> PublishPlan {
    let spec = inputs.spec.publish.clone().unwrap_or_default();
    let controllers = || inputs.nodes.iter().filter(|node| is_labelled(node, NodeLabel::Controller));
    let node_addresses: Vec<String> = controllers()
        .chain(inputs.nodes)
        .filter_map(|node| node.address)
        .map(|address| address.to_string())
        .collect();
    let address = spec
        .address
        .clone()
        .or_else(|| node_addresses.first().cloned())
        .unwrap_or_else(|| "127.0.0.1".into());
    let mut addresses = vec![address.clone()];
    addresses.extend(node_addresses);
    addresses.sort();
    addresses.dedup();

    // Whoever has a port keeps it, before anybody looks for a free one.
    let had = published(catalog).filter_map(|(place, published)| {
        let own = || inputs.observed.own_node_ports.get(&place).copied();
        Some((published.key.clone(), spec.port(&published.key).or_else(own)?))
    });
    let mut ports: BTreeMap<String, u16> = had.collect();
    for (_, Published { key, default }) in published(catalog) {
        if ports.contains_key(key) {
            continue;
        }
        let taken = |port: &u16| {
            inputs.observed.taken_node_ports.contains_key(port) || ports.values().any(|other| other == port)
        };
        let free = (*default..=32767).chain(30000..*default).find(|port| !taken(port));
        ports.insert(key.clone(), free.unwrap_or(*default));
    }
    PublishPlan { address, addresses, ports }
}

/// The ports that the cloud of a resource gets when they are free.
pub fn wanted_ports(catalog: &Catalog, spec: &OpenStackSpec) -> Vec<u16> {
    let named = spec.publish.clone().unwrap_or_default();
    // What cannot be selected is refused elsewhere, with words.
    let cloud = catalog_for(catalog, spec).ok();
    let ports = cloud.iter().flat_map(published);
    ports.map(|(_, published)| named.port(&published.key).unwrap_or(published.default)).collect()
}
