//! Where a cloud is reached from outside: its address and its NodePorts.

use std::collections::BTreeMap;

use oaas_catalog::{CloudCatalog, Expose};

use crate::inputs::Inputs;

/// Something that is published on a port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PublishKey {
    /// The dashboard.
    Horizon,
    /// The web console.
    Console,
    /// The statistics of the public endpoint.
    Statistics,
    /// The public endpoint of all APIs.
    Public,
}

impl PublishKey {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Horizon, Self::Console, Self::Statistics, Self::Public];

    /// As the catalog names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Horizon => "horizon",
            Self::Console => "console",
            Self::Statistics => "statistics",
            Self::Public => "public",
        }
    }

    /// The port of the first cloud in a cluster.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Horizon => 30080,
            Self::Console => 30068,
            Self::Statistics => 30090,
            Self::Public => 30443,
        }
    }

    /// The key that a name of the catalog means.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }
}

/// The addresses and ports of a cloud as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishPlan {
    /// The address in public URLs.
    pub address: String,
    /// Every address that certificates must carry.
    pub addresses: Vec<String>,
    /// The port of each thing that is published.
    pub ports: BTreeMap<PublishKey, u16>,
}

impl PublishPlan {
    /// The base URL of something published, without a trailing slash.
    pub fn url(&self, key: PublishKey) -> String {
        let address = match self.address.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => self.address.clone(),
        };
        format!("https://{address}:{}", self.ports.get(&key).copied().unwrap_or(key.default_port()))
    }
}

/// Choose address and ports. A port that the resource names is taken as it is; otherwise the one that the cloud has
/// already, else the default, else the next free one within the range of NodePorts (30000 to 32767).
pub(crate) fn publish_plan(inputs: &Inputs<'_>, catalog: &CloudCatalog) -> PublishPlan {
    let spec = inputs.spec.publish.clone().unwrap_or_default();
    let controllers = || inputs.nodes.iter().filter(|node| node.has("controller"));
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

    let mut ports = BTreeMap::new();
    for key in PublishKey::ALL {
        let named = match key {
            PublishKey::Horizon => spec.horizon_port,
            PublishKey::Console => spec.console_port,
            PublishKey::Statistics => spec.statistics_port,
            PublishKey::Public => spec.public_port,
        };
        let taken = |port: &u16| {
            inputs.observed.taken_node_ports.contains_key(port) || ports.values().any(|other| other == port)
        };
        let free = || (key.default_port()..=32767).chain(30000..key.default_port()).find(|port| !taken(port));
        let port =
            named.or_else(|| own_port(inputs, catalog, key)).or_else(free).unwrap_or(key.default_port());
        ports.insert(key, port);
    }
    PublishPlan { address, addresses, ports }
}

/// The port that the cloud's own Service for this key has already.
fn own_port(inputs: &Inputs<'_>, catalog: &CloudCatalog, key: PublishKey) -> Option<u16> {
    catalog.services().flat_map(|service| &service.components).find_map(|component| {
        let port = component
            .ports
            .iter()
            .find(|port| matches!(&port.expose, Expose::NodePort(name) if name == key.name()))?;
        inputs.observed.own_node_ports.get(&format!("{}/{}", component.name, port.name)).copied()
    })
}
