//! The addresses of an embedded cluster: those that its name gives it, or those of a prefix that somebody chose because
//! the machine has others in their place.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use oaas_feedback::{Explain, Kind};
use serde::{Deserialize, Serialize};
use snafu::Snafu;

use crate::instance::{Instance, Node};

/// The length of a prefix that all subnets of an instance are cut out of.
const LENGTH: u8 = 16;

/// A text that is no prefix for an instance's addresses.
#[derive(Debug, Snafu)]
#[snafu(display("{given:?} is no range of addresses for a cluster: {why}"))]
pub struct PrefixError {
    given: String,
    why: &'static str,
}

impl Explain for PrefixError {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        let address = self.given.split('/').next().and_then(|address| address.parse::<Ipv4Addr>().ok());
        let near = address.and_then(|address| Ipv4Net::new(address, LENGTH).ok()).map(|net| net.trunc());
        let near =
            near.and_then(|net| Prefix::try_from(net.to_string()).ok()).unwrap_or(Prefix::SUGGESTED[0]);
        Some(format!("write a private /{LENGTH}, such as `{near}`"))
    }
}

/// A private /16 that all addresses of an instance are cut out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(Ipv4Net);

impl Prefix {
    /// What is proposed to somebody whose machine uses an instance's own addresses, in this order. Those that Docker and
    /// other tools take by themselves (172.17.0.0/16 and on, 10.88.0.0/16, 192.168.122.0/24) are not among them.
    pub const SUGGESTED: [Self; 6] = [
        Self::of(10, 200),
        Self::of(10, 201),
        Self::of(10, 210),
        Self::of(10, 66),
        Self::of(172, 30),
        Self::of(172, 31),
    ];

    const fn of(first: u8, second: u8) -> Self {
        Self(Ipv4Net::new_assert(Ipv4Addr::new(first, second, 0, 0), LENGTH))
    }

    /// The range itself.
    pub fn net(self) -> Ipv4Net {
        self.0
    }

    /// A part of it: the /`length` that begins at this third octet.
    fn part(self, third: u8, length: u8) -> Ipv4Net {
        let [first, second, ..] = self.0.addr().octets();
        Ipv4Net::new_assert(Ipv4Addr::new(first, second, third, 0), length)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(given: String) -> Result<Self, PrefixError> {
        let why = match given.parse::<Ipv4Net>() {
            Err(_) => "it is no IPv4 network",
            Ok(net) if net.prefix_len() != LENGTH => "it must be a /16",
            Ok(net) if net.trunc() != net => "its address has bits behind the prefix",
            Ok(net) if !net.addr().is_private() => "its addresses are not private ones",
            Ok(net) => return Ok(Self(net)),
        };
        Err(PrefixError { given, why })
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(given: &str) -> Result<Self, PrefixError> {
        given.to_owned().try_into()
    }
}

/// Another prefix was asked for than the one that an instance stands with.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
#[snafu(display("the embedded cluster {instance} has its addresses {}, and {asked} was asked for", of(*stands)))]
pub struct OtherPrefix {
    /// The cluster.
    pub instance: Instance,
    /// What it stands with; none for those that its name gives it.
    pub stands: Option<Prefix>,
    /// What was asked for.
    pub asked: Prefix,
}

fn of(prefix: Option<Prefix>) -> String {
    prefix.map_or_else(|| "by its name".to_owned(), |prefix| format!("out of {prefix}"))
}

impl Explain for OtherPrefix {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        let Self { instance, .. } = self;
        Some(format!(
            "leave out --prefix to go on with it; its addresses change only with a new cluster: oaas --instance {instance} down"
        ))
    }
}

/// Which prefix an instance gets. `stands` is the one that it was made with, if it was made: that one stays.
pub fn chosen(
    instance: &Instance,
    stands: Option<Option<Prefix>>,
    asked: Option<Prefix>,
) -> Result<Option<Prefix>, OtherPrefix> {
    match (stands, asked) {
        (None, asked) => Ok(asked),
        (Some(stands), Some(asked)) if stands != Some(asked) => {
            Err(OtherPrefix { instance: instance.clone(), stands, asked })
        }
        (Some(stands), _) => Ok(stands),
    }
}

/// The subnets of an instance. Pods' and Services' live inside the nodes' network namespaces only, so instances whose
/// addresses come from their names share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnets {
    /// Of [`crate::Network::Management`].
    pub management: Ipv4Net,
    /// Of [`crate::Network::Tunnel`].
    pub tunnel: Ipv4Net,
    /// Of all pods; each node has a /24 of it.
    pub pods: Ipv4Net,
    /// Of the Services' virtual addresses.
    pub services: Ipv4Net,
}

impl Subnets {
    /// Those of an instance.
    pub fn of(instance: &Instance, prefix: Option<Prefix>) -> Self {
        if let Some(prefix) = prefix {
            return Self {
                management: prefix.part(0, 24),
                tunnel: prefix.part(1, 24),
                pods: prefix.part(64, 18),
                services: prefix.part(128, 17),
            };
        }
        let number = instance.number();
        let net = |a, b, c, prefix| Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix);
        Self {
            management: net(10, 87, number, 24),
            tunnel: net(10, 86, number, 24),
            pods: net(10, 88, 0, 16),
            services: net(10, 96, 0, 16),
        }
    }

    /// The host's address on the management network, the nodes' gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        host(self.management, 1)
    }

    /// A node's address on the management network, which is its address in Kubernetes.
    pub fn node(&self, node: Node) -> Ipv4Addr {
        host(self.management, 10 + node.number())
    }

    /// A node's address on the tunnel network.
    pub fn tunnel_end(&self, node: Node) -> Ipv4Addr {
        host(self.tunnel, 10 + node.number())
    }

    /// The subnet of a node's pods.
    pub fn pods_of(&self, node: Node) -> Ipv4Net {
        let [a, b, c, _] = self.pods.addr().octets();
        Ipv4Net::new_assert(Ipv4Addr::new(a, b, c + node.number(), 0), 24)
    }

    /// The virtual address of the API server.
    pub fn api_service(&self) -> Ipv4Addr {
        host(self.services, 1)
    }

    /// The virtual address of the cluster's DNS.
    pub fn dns_service(&self) -> Ipv4Addr {
        host(self.services, 10)
    }

    /// All of them, each with what it is for.
    pub fn all(&self) -> [(&'static str, Ipv4Net); 4] {
        [
            ("the nodes", self.management),
            ("the tunnels between nodes", self.tunnel),
            ("pods", self.pods),
            ("Services", self.services),
        ]
    }
}

fn host(net: Ipv4Net, number: u8) -> Ipv4Addr {
    let [a, b, c, _] = net.network().octets();
    Ipv4Addr::new(a, b, c, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn the_default_instance_has_the_well_known_addresses() {
        let subnets = Subnets::of(&Instance::default(), None);
        let node = |number: usize| Node::all(3).nth(number - 1).unwrap();
        assert_eq!(subnets.node(Node::FIRST).to_string(), "10.87.0.11");
        assert_eq!(subnets.tunnel_end(node(3)).to_string(), "10.86.0.13");
        assert_eq!(subnets.pods_of(node(2)).to_string(), "10.88.2.0/24");
        assert_eq!(subnets.dns_service().to_string(), "10.96.0.10");
        let other = Subnets::of(&"side-by-side".parse().unwrap(), None);
        assert_ne!(other.management, subnets.management);
    }

    #[test]
    fn a_prefix_holds_all_addresses_and_none_twice() {
        let chosen = prefix("10.200.0.0/16");
        let subnets = Subnets::of(&Instance::default(), Some(chosen));
        let all = subnets.all().map(|(_, net)| net);
        for (index, one) in all.iter().enumerate() {
            assert!(chosen.net().contains(one), "{one}");
            assert!(
                all[index + 1..].iter().all(|other| !other.contains(one) && !one.contains(other)),
                "{one}"
            );
        }
        assert_eq!(subnets.node(Node::FIRST).to_string(), "10.200.0.11");
        let last = Node::all(Node::MOST).next_back().unwrap();
        assert!(subnets.pods.contains(&subnets.pods_of(last)));
        assert_eq!(subnets.pods_of(Node::FIRST).to_string(), "10.200.65.0/24");
        assert_eq!(subnets.dns_service().to_string(), "10.200.128.10");
    }

    #[test]
    fn what_is_no_prefix_is_told_with_one() {
        for (given, why, near) in [
            ("10.200.0.0/24", "it must be a /16", "10.200.0.0/16"),
            ("10.200.3.0/16", "its address has bits behind the prefix", "10.200.0.0/16"),
            ("8.8.0.0/16", "its addresses are not private ones", "10.200.0.0/16"),
            ("172.30.1.1", "it is no IPv4 network", "172.30.0.0/16"),
            ("fd00::/16", "it is no IPv4 network", "10.200.0.0/16"),
        ] {
            let error = given.parse::<Prefix>().unwrap_err();
            assert_eq!(error.to_string(), format!("{given:?} is no range of addresses for a cluster: {why}"));
            assert_eq!(error.hint().unwrap(), format!("write a private /16, such as `{near}`"));
        }
        for suggested in Prefix::SUGGESTED {
            assert_eq!(prefix(&suggested.to_string()), suggested);
        }
    }

    #[test]
    fn what_stands_keeps_its_addresses() {
        let oaas = Instance::default();
        let (one, other) = (prefix("10.200.0.0/16"), prefix("10.201.0.0/16"));
        assert_eq!(chosen(&oaas, None, Some(one)), Ok(Some(one)));
        assert_eq!(chosen(&oaas, None, None), Ok(None));
        assert_eq!(chosen(&oaas, Some(Some(one)), None), Ok(Some(one)));
        assert_eq!(chosen(&oaas, Some(Some(one)), Some(one)), Ok(Some(one)));
        let error = chosen(&oaas, Some(Some(one)), Some(other)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the embedded cluster oaas has its addresses out of 10.200.0.0/16, and 10.201.0.0/16 was asked for"
        );
        let error = chosen(&oaas, Some(None), Some(other)).unwrap_err();
        assert!(error.to_string().contains("has its addresses by its name"));
    }
}
