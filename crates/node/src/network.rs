//! The links, addresses and packet rules of an instance, as data.
//!
//! Each network is a bridge on the host with one veth pair into every node. The host is the gateway of the
//! management network and the router of the external networks, and masquerades both towards its other interfaces. Rules
//! stand in one nftables table that is replaced as a whole.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::instance::{Instance, Network, Node};
use crate::ledger::Change;
use crate::options::{ExternalNetwork, PortMap};
use crate::subnets::Subnets;

/// One command and what it changes on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What to write down before.
    pub change: Option<Change>,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// What stands already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Links of the host.
    pub links: BTreeSet<String>,
    /// Named network namespaces.
    pub namespaces: BTreeSet<String>,
}

fn step(change: Option<Change>, command: &str) -> Step {
    Step { change, command: command.split_whitespace().map(str::to_owned).collect() }
}

/// The commands that make the host's bridges, without those that stand.
pub fn bridges(instance: &Instance, subnets: &Subnets, standing: &Standing) -> Vec<Step> {
    let mut steps = Vec::new();
    for network in Network::ALL {
        let name = instance.bridge(network);
        if !standing.links.contains(&name) {
            let change = Some(Change::Link { name: name.clone() });
            // A bridge without an address of its own takes that of a port, and changes it when the port goes.
            let mac = hardware_address(&name);
            steps.push(step(change, &format!("ip link add {name} address {mac} type bridge")));
        }
        if network == Network::Management {
            let (address, length) = (subnets.gateway(), subnets.management.prefix_len());
            steps.push(step(None, &format!("ip address replace {address}/{length} dev {name}")));
        }
        steps.push(step(None, &format!("ip link set {name} up")));
    }
    // Guests see the external network: its bridge has no address there but those that are declared (no kernel need know IPv6).
    let external = instance.bridge(Network::External);
    steps.push(step(None, &format!("sysctl -qew net.ipv6.conf.{external}.disable_ipv6=1")));
    // Connections from the loopback address leave by the bridge once their destination is translated.
    let management = instance.bridge(Network::Management);
    steps.push(step(None, &format!("sysctl -qw net.ipv4.conf.{management}.route_localnet=1")));
    steps
}

/// The host's link to an external network.
fn link_of(instance: &Instance, network: ExternalNetwork) -> String {
    network.vlan.map_or_else(|| instance.bridge(Network::External), |vlan| instance.tagged(vlan))
}

/// The host's links to these external networks; the bridge is always among them.
pub fn external_links(instance: &Instance, networks: &[ExternalNetwork]) -> BTreeSet<String> {
    let bridge = instance.bridge(Network::External);
    networks.iter().map(|network| link_of(instance, *network)).chain([bridge]).collect()
}

/// The commands that make the host the router of external networks, and of none of the former ones that are not among
/// them. Bridges must stand.
pub fn external(
    instance: &Instance,
    former: &[ExternalNetwork],
    networks: &[ExternalNetwork],
    standing: &Standing,
) -> Vec<Step> {
    let bridge = instance.bridge(Network::External);
    let mut steps = Vec::new();
    let (before, wanted) = (external_links(instance, former), external_links(instance, networks));
    for link in before.iter().filter(|link| standing.links.contains(*link)) {
        if !wanted.contains(link) {
            steps.push(step(None, &format!("ip link delete {link}")));
        } else if former.iter().any(|one| link_of(instance, *one) == *link && !networks.contains(one)) {
            // Its other addresses come back at once, and nobody but this host knows them.
            steps.push(step(None, &format!("ip address flush dev {link}")));
        }
    }
    for network in networks {
        let link = link_of(instance, *network);
        if let Some(vlan) = network.vlan {
            if !standing.links.contains(&link) {
                let change = Some(Change::Link { name: link.clone() });
                steps.push(step(
                    change,
                    &format!("ip link add link {bridge} name {link} type vlan id {vlan}"),
                ));
                steps.push(step(None, &format!("sysctl -qew net.ipv6.conf.{link}.disable_ipv6=1")));
            }
            steps.push(step(None, &format!("ip link set {link} up")));
        }
        steps.push(step(None, &format!("ip address replace {} dev {link}", network.router)));
    }
    steps
}

/// A locally administered hardware address that is always the same for a name.
fn hardware_address(name: &str) -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(name.as_bytes());
    format!("0a:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", hash[0], hash[1], hash[2], hash[3], hash[4])
}

/// The commands that make a node's network anew. What is left of a killed node goes first, so that a node starts
/// with as clean a network as a machine that was switched on.
pub fn node(instance: &Instance, subnets: &Subnets, node: Node, nodes: u8, standing: &Standing) -> Vec<Step> {
    let namespace = instance.network_namespace(node);
    let mut steps = Vec::new();
    for network in Network::ALL {
        let end = instance.host_end(node, network);
        if standing.links.contains(&end) {
            steps.push(step(None, &format!("ip link delete {end}")));
        }
    }
    // After its links: they would go with it, but some time later.
    if standing.namespaces.contains(&namespace) {
        steps.push(step(None, &format!("ip netns delete {namespace}")));
    }
    let change = Change::NetworkNamespace { name: namespace.clone() };
    steps.push(step(Some(change), &format!("ip netns add {namespace}")));
    for network in Network::ALL {
        let end = instance.host_end(node, network);
        let inner = network.interface();
        let mac = hardware_address(&format!("{instance} {node} {inner}"));
        steps.push(step(
            Some(Change::Link { name: end.clone() }),
            &format!("ip link add {end} type veth peer name {inner} address {mac} netns {namespace}"),
        ));
        if network != Network::Management {
            // Frames of these two pass a switch in user space, which takes no checksum for "will be filled in
            // later": TCP would be dropped while ping works.
            steps.push(step(None, &format!("ethtool -K {end} tx off")));
            steps.push(step(None, &format!("ip netns exec {namespace} ethtool -K {inner} tx off")));
        }
        let bridge = instance.bridge(network);
        steps.push(step(None, &format!("ip link set {end} master {bridge} up")));
        let address = match network {
            Network::Management => {
                Some(format!("{}/{}", subnets.node(node), subnets.management.prefix_len()))
            }
            Network::Tunnel => Some(format!("{}/{}", subnets.tunnel_end(node), subnets.tunnel.prefix_len())),
            Network::External => None,
        };
        if let Some(address) = address {
            steps.push(step(None, &format!("ip -n {namespace} address add {address} dev {inner}")));
        }
        steps.push(step(None, &format!("ip -n {namespace} link set {inner} up")));
    }
    steps.push(step(None, &format!("ip -n {namespace} link set lo up")));
    steps.push(step(None, &format!("ip -n {namespace} route add default via {}", subnets.gateway())));
    steps.extend(routes(instance, subnets, node, nodes));
    steps
}

/// The commands that lead a node to the pods of the others. May be run again, when nodes were added.
pub fn routes(instance: &Instance, subnets: &Subnets, node: Node, nodes: u8) -> Vec<Step> {
    let namespace = instance.network_namespace(node);
    Node::all(nodes)
        .filter(|other| *other != node)
        .map(|other| {
            let (pods, via) = (subnets.pods_of(other), subnets.node(other));
            step(None, &format!("ip -n {namespace} route replace {pods} via {via}"))
        })
        .collect()
}

/// The rules of the host's table for an instance whose clouds have these external networks.
pub fn host_table(
    instance: &Instance,
    subnets: &Subnets,
    networks: &[ExternalNetwork],
    ports: &[PortMap],
) -> String {
    let management = instance.bridge(Network::Management);
    let quoted = |links: &BTreeSet<String>| {
        links.iter().map(|link| format!("\"{link}\"")).collect::<Vec<_>>().join(", ")
    };
    let mut links = external_links(instance, networks);
    let external = format!("{{ {} }}", quoted(&links));
    links.insert(management.clone());
    let inside = quoted(&links);
    // Networks that overlap are one to a set of nftables.
    let mut masqueraded: Vec<Ipv4Net> = networks.iter().map(|network| network.router.trunc()).collect();
    masqueraded.push(subnets.management);
    let masqueraded =
        Ipv4Net::aggregate(&masqueraded).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let first = subnets.node(Node::FIRST);
    let routers: BTreeSet<Ipv4Addr> = networks.iter().map(|network| network.router.addr()).collect();
    let own: Vec<Ipv4Addr> = [subnets.gateway()].into_iter().chain(routers).collect();
    let published: BTreeSet<String> = ports.iter().map(|port| port.node_port.to_string()).collect();
    let mut rules = String::new();
    for port in ports {
        let listen = *port.listen.ip();
        let (from, to) = (port.listen.port(), port.node_port);
        let target = format!("tcp dport {from} dnat to {first}:{to}");
        if listen == Ipv4Addr::UNSPECIFIED {
            let _ = writeln!(rules, "    fib daddr type local {target}");
        } else {
            let _ = writeln!(rules, "    ip daddr {listen} {target}");
        }
        // Guests, pods and the host reach the same port under the bridges' addresses.
        for own in own.iter().filter(|own| **own != listen && listen != Ipv4Addr::UNSPECIFIED) {
            let _ = writeln!(rules, "    ip daddr {own} {target}");
        }
    }
    // What guests may reach on a node: what is published, under the node's own address too.
    let to_nodes = if published.is_empty() {
        String::new()
    } else {
        let published = published.into_iter().collect::<Vec<_>>().join(", ");
        format!(
            "    oifname \"{management}\" ip daddr {} tcp dport {{ {published} }} accept\n",
            subnets.management
        )
    };
    // Guests come in by the external bridge, behind their router's address: nothing of the host and of the nodes is
    // theirs but what is published. A chain for packets that come in and one for those of the host itself, with the same translations. The guard
    // keeps nodes from the host's loopback services, which route_localnet alone would open to them.
    let table = instance.table();
    format!(
        "table ip {table} {{}}
delete table ip {table}
table ip {table} {{
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname \"{management}\" ip daddr 127.0.0.0/8 drop
    iifname \"{management}\" ip saddr 127.0.0.0/8 drop
  }}
  chain published {{
{rules}  }}
  chain from_guests {{
    ct state established,related accept
    ct status dnat accept
{to_nodes}    oifname \"{management}\" drop
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname {external} ct state established,related accept
    iifname {external} icmp type echo-request accept
    iifname {external} drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname {external} jump from_guests
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump published
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump published
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname \"{management}\" ip saddr {{ 127.0.0.0/8, {management_net} }} ct status dnat masquerade
    oifname != {{ {inside} }} ip saddr {{ {masqueraded} }} masquerade
  }}
}}
",
        management_net = subnets.management,
    )
}

/// The rules inside a node: what its pods send elsewhere leaves under the node's address.
pub fn node_table(subnets: &Subnets) -> String {
    let Subnets { management, pods, .. } = subnets;
    let gateway = subnets.gateway();
    format!(
        "table ip oaas {{}}
delete table ip oaas
table ip oaas {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {pods} ip daddr {gateway} masquerade
    ip saddr {pods} ip daddr != {{ {pods}, {management}, 224.0.0.0/4 }} oifname \"eth0\" masquerade
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddrV4;

    fn subnets() -> Subnets {
        Subnets::of(&Instance::default(), None)
    }

    fn commands(steps: &[Step]) -> String {
        steps.iter().map(|step| step.command.join(" ") + "\n").collect()
    }

    #[test]
    fn bridges_of_a_bare_host() {
        insta::assert_snapshot!(commands(&bridges(&Instance::default(), &subnets(), &Standing::default())));
    }

    #[test]
    fn bridges_that_stand_are_not_made_again() {
        let oaas = Instance::default();
        let links = Network::ALL.iter().map(|network| oaas.bridge(*network)).collect();
        let steps = bridges(&oaas, &subnets(), &Standing { links, ..Standing::default() });
        assert!(steps.iter().all(|step| step.change.is_none()));
        assert!(!commands(&steps).contains("link add"));
    }

    #[test]
    fn the_host_follows_the_external_networks() {
        let oaas = Instance::default();
        let network = |router: &str, vlan| ExternalNetwork { router: router.parse().unwrap(), vlan };
        let first = [network("192.168.100.1/24", None), network("203.0.113.1/24", Some(100))];
        let steps = external(&oaas, &[], &first, &Standing::default());
        insta::assert_snapshot!(commands(&steps));
        let links = ["oaas-ext", "oaas-x100"].map(str::to_owned).into();
        let standing = Standing { links, ..Standing::default() };
        // The same again takes nothing away.
        let again = commands(&external(&oaas, &first, &first, &standing));
        assert!(
            !again.contains("flush") && !again.contains("delete") && !again.contains("link add"),
            "{again}"
        );
        let second = [network("198.51.100.1/25", None)];
        assert_eq!(
            commands(&external(&oaas, &first, &second, &standing)),
            "ip address flush dev oaas-ext\nip link delete oaas-x100\nip address replace 198.51.100.1/25 dev oaas-ext\n"
        );
    }

    #[test]
    fn a_node_of_three() {
        let oaas = Instance::default();
        let second = Node::all(3).nth(1).unwrap();
        insta::assert_snapshot!(commands(&node(&oaas, &subnets(), second, 3, &Standing::default())));
    }

    #[test]
    fn what_a_killed_node_left_goes_first() {
        let oaas = Instance::default();
        let standing = Standing {
            links: BTreeSet::from(["oaas-1m".into()]),
            namespaces: BTreeSet::from(["oaas-node1".into()]),
        };
        let text = commands(&node(&oaas, &subnets(), Node::FIRST, 1, &standing));
        assert!(text.starts_with("ip link delete oaas-1m\nip netns delete oaas-node1\nip netns add"));
    }

    #[test]
    fn every_link_and_namespace_is_written_down_before_it_is_made() {
        let oaas = Instance::default();
        let mut steps = bridges(&oaas, &subnets(), &Standing::default());
        steps.extend(node(&oaas, &subnets(), Node::FIRST, 1, &Standing::default()));
        for step in steps {
            let makes = step.command.iter().any(|word| word == "add")
                && ["link", "netns"].contains(&step.command[1].as_str());
            assert_eq!(makes, step.change.is_some(), "{:?}", step.command);
        }
    }

    #[test]
    fn rules_of_the_host_and_of_a_node() {
        let ports = [
            PortMap::loopback(30080),
            PortMap { listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 8443), node_port: 30443 },
            PortMap { listen: "192.0.2.7:30068".parse().unwrap(), node_port: 30068 },
        ];
        let networks = [
            ExternalNetwork { router: "192.168.100.1/24".parse().unwrap(), vlan: None },
            ExternalNetwork { router: "203.0.113.1/24".parse().unwrap(), vlan: Some(100) },
        ];
        insta::assert_snapshot!(host_table(&Instance::default(), &subnets(), &networks, &ports));
        insta::assert_snapshot!(node_table(&subnets()));
    }
}
