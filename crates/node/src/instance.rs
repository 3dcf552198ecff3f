//! What an embedded cluster is called, and everything that derives from its name.
//!
//! Two clusters stand side by side on one machine because every name and address that the host can see (links,
//! subnets, the nftables table, network namespaces, cgroups, directories) derives from the instance's name.

use std::fmt;
use std::str::FromStr;

use oaas_feedback::{Explain, Kind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use snafu::Snafu;

/// The longest name of a network link that Linux takes (`IFNAMSIZ` less its final zero).
const LONGEST_LINK: usize = 15;
/// The name of the instance that someone gets who names none; it has the well-known addresses.
const DEFAULT: &str = "oaas";

/// A text that cannot be an instance's name.
#[derive(Debug, Snafu)]
#[snafu(display("{name:?} cannot name an instance: {why}"))]
pub struct NameError {
    name: String,
    why: &'static str,
}

impl Explain for NameError {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        let near: String = self
            .name
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect::<String>()
            .trim_matches(|c: char| c == '-' || c.is_ascii_digit())
            .chars()
            .take(30)
            .collect();
        let near = near.trim_end_matches('-');
        (!near.is_empty()).then(|| format!("use a name such as `{near}`"))
    }
}

/// The name of one embedded cluster: 1 to 30 lower-case letters, digits and hyphens, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Instance(String);

impl Default for Instance {
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Instance> for String {
    fn from(instance: Instance) -> Self {
        instance.0
    }
}

impl TryFrom<String> for Instance {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        let why = if name.is_empty() {
            "it is empty"
        } else if name.len() > 30 {
            "it is longer than 30 characters"
        } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            "it must start with a lower-case letter"
        } else if name.ends_with('-') {
            "it must not end with a hyphen"
        } else if name.contains(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')) {
            "it may hold lower-case letters, digits and hyphens only"
        } else {
            return Ok(Self(name));
        };
        Err(NameError { name, why })
    }
}

impl FromStr for Instance {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        name.to_owned().try_into()
    }
}

impl Instance {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// At most eight characters that stand for the name where room is short: the name, or its start and four
    /// digits of its hash.
    pub fn tag(&self) -> String {
        if self.0.len() <= 8 {
            self.0.clone()
        } else {
            format!("{}{}", &self.0[..4], hex::encode(&self.hash()[..2]))
        }
    }

    /// Which of the /24 subnets are this instance's: 0 for the default instance, else 1 to 250 by the name's hash.
    /// Two names may share a number; `preflight` then finds the other's bridge in the way.
    pub fn number(&self) -> u8 {
        if self.0 == DEFAULT {
            return 0;
        }
        let hash = self.hash();
        1 + u8::try_from(u16::from_be_bytes([hash[2], hash[3]]) % 250).unwrap_or(0)
    }

    /// The host's bridge of one of the networks.
    pub fn bridge(&self, network: Network) -> String {
        self.link(network.word())
    }

    /// The host's link to an external network that is tagged, on its bridge.
    pub fn tagged(&self, vlan: u16) -> String {
        self.link(&format!("x{vlan}"))
    }

    /// The host's end of a node's link to one of the networks.
    pub fn host_end(&self, node: Node, network: Network) -> String {
        self.link(&format!("{}{}", node.0, network.letter()))
    }

    /// The name under which a node's network namespace stands in `/run/netns`.
    pub fn network_namespace(&self, node: Node) -> String {
        format!("{}-{node}", self.0)
    }

    /// The one nftables table (family `ip`) of this instance on the host. nftables allows no hyphen in names.
    pub fn table(&self) -> String {
        if self.0 == DEFAULT { DEFAULT.to_owned() } else { format!("oaas_{}", self.0.replace('-', "_")) }
    }

    /// The cgroup of a node, below the root of each hierarchy.
    pub fn cgroup(&self, node: Node) -> String {
        format!("oaas-{}-{node}", self.0)
    }

    fn link(&self, end: &str) -> String {
        let name = format!("{}-{end}", self.tag());
        debug_assert!(name.len() <= LONGEST_LINK, "{name} is too long for a link");
        name
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

/// A layer-2 network of an instance: a bridge on the host and a link into every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Kubernetes, its nodes' traffic and the way out; the host is its gateway.
    Management,
    /// The tunnels of the virtual networks; the host has no address there.
    Tunnel,
    /// The provider network of floating IPs; the host is its router, the nodes have no address there. Its addresses are those
    /// that the clouds declare.
    External,
}

impl Network {
    /// All of them, in the order of a node's interfaces.
    pub const ALL: [Self; 3] = [Self::Management, Self::Tunnel, Self::External];

    /// The interface inside a node.
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Management => "eth0",
            Self::Tunnel => "eth1",
            Self::External => "eth2",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Management => "mgmt",
            Self::Tunnel => "tun",
            Self::External => "ext",
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::Management => 'm',
            Self::Tunnel => 't',
            Self::External => 'x',
        }
    }
}

/// One node of a cluster, by its number from 1. The first one runs the control plane as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Node(u8);

impl Node {
    /// The node that runs the control plane.
    pub const FIRST: Self = Self(1);
    /// How many nodes a cluster on one machine can have; more would not fit the machine long before.
    pub const MOST: u8 = 20;

    /// The nodes of a cluster of this many.
    pub fn all(count: u8) -> impl DoubleEndedIterator<Item = Self> + Clone {
        (1..=count.min(Self::MOST)).map(Self)
    }

    /// Does it run the control plane?
    pub fn is_first(self) -> bool {
        self == Self::FIRST
    }

    /// Its number, from 1.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_instance_has_the_well_known_names() {
        let oaas = Instance::default();
        assert_eq!(oaas.bridge(Network::External), "oaas-ext");
        assert_eq!(oaas.host_end(Node::FIRST, Network::Tunnel), "oaas-1t");
        assert_eq!(oaas.table(), "oaas");
    }

    #[test]
    fn another_instance_shares_nothing_the_host_can_see() {
        let (a, b) = (Instance::default(), Instance::from_str("side-by-side").unwrap());
        assert_ne!(a.bridge(Network::Management), b.bridge(Network::Management));
        assert_ne!(a.table(), b.table());
        assert_ne!(a.cgroup(Node::FIRST), b.cgroup(Node::FIRST));
    }

    #[test]
    fn a_bad_name_is_refused_with_the_nearest_good_one() {
        let error = Instance::from_str("My Cloud!").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""My Cloud!" cannot name an instance: it must start with a lower-case letter"#
        );
        assert_eq!(error.hint().unwrap(), "use a name such as `my-cloud`");
        assert_eq!(error.kind(), Kind::Input);
        for bad in ["", "-a", "a-", "9a", "a_b", "a/b", "abcdefghijklmnopqrstuvwxyzabcdefg"] {
            assert!(Instance::from_str(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn names_of_links_always_fit(name in "[a-z][a-z0-9-]{0,28}[a-z0-9]", node in 1..=Node::MOST) {
            let instance = Instance::from_str(&name).unwrap();
            for network in Network::ALL {
                prop_assert!(instance.bridge(network).len() <= LONGEST_LINK);
                prop_assert!(instance.host_end(Node(node), network).len() <= LONGEST_LINK);
            }
            prop_assert!(instance.tagged(4094).len() <= LONGEST_LINK);
            prop_assert!(instance.table().chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        }
    }
}
