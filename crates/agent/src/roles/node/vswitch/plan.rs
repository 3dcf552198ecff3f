//! How a node's switch is to be set up: a pure function of the node's wiring and of what is there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use snafu::{OptionExt as _, ensure};

use super::super::error::{Error, UnfitSnafu};
use oaas_agent_config::{Datapath, DatapathChoice, INTEGRATION_BRIDGE, NodeNetwork};

/// The bridge that takes the tunnel interface's addresses over, with the userspace datapath.
pub const TUNNEL_BRIDGE: &str = "br-phy";

/// The key of `external_ids` that marks bridges and ports as made here.
pub const MARK: &str = "oaas";

/// Interface names hold at most this many characters.
const LONGEST_NAME: usize = 15;

/// Something about an interface that must be put back on the bridge that takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// The interface.
    pub interface: String,
    /// Its addresses with prefix lengths, such as `10.86.0.11/24`.
    pub addresses: Vec<String>,
    /// Bytes.
    pub mtu: u32,
    /// Routes through it, as `ip route` takes them, such as `10.86.1.0/24 via 10.86.0.1`.
    pub routes: Vec<String>,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Why the kernel cannot move the packets; nothing if it can.
    pub kernel_lacks: Option<String>,
    /// Interfaces by name.
    pub links: BTreeMap<String, Link>,
    /// What was taken over from the tunnel interface earlier.
    pub taken_over: Option<Tunnel>,
    /// Bridges marked as made here.
    pub bridges: Vec<String>,
    /// Ports marked as made here, with their bridge's name where it is known.
    pub ports: Vec<String>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Bytes.
    pub mtu: u32,
    /// Global addresses with prefix lengths.
    pub addresses: Vec<String>,
    /// Routes through it that did not come with an address, as `ip route` takes them.
    pub routes: Vec<String>,
}

/// What the switch is to be told by others' configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The node's name: OVN knows the node by it.
    pub node: &'a str,
    /// Its wiring.
    pub network: &'a NodeNetwork,
    /// How the datapath is chosen.
    pub datapath: DatapathChoice,
    /// Every member of the southbound database.
    pub southbound: &'a [String],
    /// Further `external-ids`.
    pub external_ids: &'a BTreeMap<String, String>,
}

/// A command line.
pub type Command = Vec<String>;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What moves packets.
    pub datapath: Datapath,
    /// Why.
    pub reason: String,
    /// The address that other nodes send tunnels to.
    pub address: IpAddr,
    /// What must be remembered before anything is done: once the interface gave its addresses up, it is the only trace.
    pub take_over: Option<Tunnel>,
    /// Arguments of `ovs-vsctl`, one transaction, before the switch runs.
    pub database: Vec<String>,
    /// Commands before the switch runs.
    pub before: Vec<Command>,
    /// Commands before the switch runs that not every interface understands.
    pub offloads: Vec<Command>,
    /// Commands once the switch has made its bridges.
    pub after: Vec<Command>,
    /// Bridge of each physical network.
    pub bridges: BTreeMap<String, String>,
}

/// The bridge of a physical network.
pub fn bridge_of(physical_network: &str) -> Result<String, Error> {
    let name = format!("br-{physical_network}");
    ensure!(
        name.len() <= LONGEST_NAME && ![INTEGRATION_BRIDGE, TUNNEL_BRIDGE].contains(&name.as_str()),
        UnfitSnafu {
            what: format!(
                "failed to name the bridge of the physical network {physical_network}: {name} is too long or taken"
            ),
            hint: "give the physical network a name of at most 12 characters, other than `int` and `phy`",
        }
    );
    Ok(name)
}

/// Decide how the switch is set up.
pub fn plan(wanted: &Wanted, observed: &Observed) -> Result<Plan, Error> {
    let (datapath, reason) = choose(wanted.datapath, observed.kernel_lacks.as_deref())?;
    check_interfaces(wanted.network, observed)?;
    let tunnel = find_tunnel(wanted.network, observed)?;
    let address = tunnel_address(wanted.network, &tunnel)?;
    let mut bridges = BTreeMap::new();
    for network in wanted.network.physical_networks.keys() {
        bridges.insert(network.clone(), bridge_of(network)?);
    }

    let mut database = settings(wanted, datapath, address, &bridges);
    database.extend(remove_unwanted(wanted.network, datapath, &bridges, observed));
    database.extend(add_bridge(INTEGRATION_BRIDGE, datapath));
    set(
        &mut database,
        "Bridge",
        INTEGRATION_BRIDGE,
        &["fail_mode=secure", "other_config:disable-in-band=true"],
    );
    for (network, interface) in &wanted.network.physical_networks {
        database.extend(add_bridge(&bridges[network], datapath));
        database.extend(add_port(&bridges[network], interface));
    }
    let mut before: Vec<Command> = Vec::new();
    for interface in wanted.network.physical_networks.values().chain([&wanted.network.tunnel_interface]) {
        before.push(words(&["ip", "link", "set", "dev", interface, "up"]));
    }
    let mut offloads: Vec<Command> = Vec::new();
    if datapath == Datapath::Netdev {
        // Segments that were put together on the way in are larger than the network's, and routers drop them.
        for interface in wanted.network.physical_networks.values().chain([&wanted.network.tunnel_interface]) {
            for feature in ["gro", "lro"] {
                offloads.push(words(&["ethtool", "--features", interface, feature, "off"]));
            }
        }
    }
    let mut after: Vec<Command> = Vec::new();
    let owner = match datapath {
        Datapath::Netdev => {
            database.extend(add_bridge(TUNNEL_BRIDGE, datapath));
            database.extend(add_port(TUNNEL_BRIDGE, &tunnel.interface));
            let mtu = format!("mtu_request={}", tunnel.mtu);
            set(&mut database, "Interface", TUNNEL_BRIDGE, &[&mtu]);
            before.push(words(&["ip", "address", "flush", "dev", &tunnel.interface, "scope", "global"]));
            TUNNEL_BRIDGE
        }
        Datapath::System => &tunnel.interface,
    };
    if observed.links.get(owner).is_none_or(|link| link.addresses != tunnel.addresses)
        || datapath == Datapath::Netdev
    {
        after.push(words(&["ip", "link", "set", "dev", owner, "up"]));
        for address in &tunnel.addresses {
            // Without `nodad` a v6 address is not usable for a second or more after each restart.
            let mut command = words(&["ip", "address", "replace", address, "dev", owner]);
            command.extend(address.contains(':').then(|| "nodad".to_owned()));
            after.push(command);
        }
        for route in &tunnel.routes {
            let mut command = words(&["ip", "route", "replace"]);
            command.extend(route.split(' ').map(str::to_owned));
            command.extend(words(&["dev", owner]));
            after.push(command);
        }
    }
    let take_over =
        (datapath == Datapath::Netdev && observed.taken_over.as_ref() != Some(&tunnel)).then_some(tunnel);
    Ok(Plan { datapath, reason, address, take_over, database, before, offloads, after, bridges })
}

fn choose(choice: DatapathChoice, kernel_lacks: Option<&str>) -> Result<(Datapath, String), Error> {
    match (choice, kernel_lacks) {
        (DatapathChoice::Netdev, _) => Ok((Datapath::Netdev, "configured".to_owned())),
        (DatapathChoice::System, None) => Ok((Datapath::System, "configured".to_owned())),
        (DatapathChoice::System, Some(lacks)) => UnfitSnafu {
            what: format!("failed to use the kernel's datapath, as configured: {lacks}"),
            hint: "load the modules openvswitch and geneve on the node, or choose the datapath `auto`",
        }
        .fail(),
        (DatapathChoice::Auto, None) => {
            Ok((Datapath::System, "the kernel has openvswitch and geneve".to_owned()))
        }
        (DatapathChoice::Auto, Some(lacks)) => Ok((Datapath::Netdev, lacks.to_owned())),
    }
}

/// Every interface is there, and none is used twice.
fn check_interfaces(network: &NodeNetwork, observed: &Observed) -> Result<(), Error> {
    let mut used: BTreeMap<&str, String> = BTreeMap::new();
    used.insert(&network.tunnel_interface, "tunnels".to_owned());
    for (name, interface) in &network.physical_networks {
        if let Some(other) = used.insert(interface, format!("the physical network {name}")) {
            return UnfitSnafu {
                what: format!("failed to use the interface {interface} for the physical network {name}: it is that of {other}"),
                hint: "give each its own interface",
            }
            .fail();
        }
    }
    for (interface, what) in used {
        let names: Vec<&str> =
            observed.links.keys().map(String::as_str).filter(|name| *name != "lo").collect();
        ensure!(
            observed.links.contains_key(interface),
            UnfitSnafu {
                what: format!("failed to find the interface {interface} of {what} on this node"),
                hint: format!("the node has {}", names.join(", ")),
            }
        );
    }
    Ok(())
}

/// The tunnel interface with its addresses: those it has now, or those taken over from it before.
fn find_tunnel(network: &NodeNetwork, observed: &Observed) -> Result<Tunnel, Error> {
    let interface = &network.tunnel_interface;
    let link = &observed.links[interface];
    if !link.addresses.is_empty() {
        let (addresses, routes) = (link.addresses.clone(), link.routes.clone());
        return Ok(Tunnel { interface: interface.clone(), addresses, mtu: link.mtu, routes });
    }
    let taken_over = observed.taken_over.as_ref().filter(|tunnel| tunnel.interface == *interface);
    let tunnel = taken_over.with_context(|| UnfitSnafu {
        what: format!("failed to find an address on the tunnel interface {interface}"),
        hint: format!("give {interface} an address that the other nodes reach"),
    })?;
    // The interface may have another MTU since.
    Ok(Tunnel { mtu: link.mtu, ..tunnel.clone() })
}

fn tunnel_address(network: &NodeNetwork, tunnel: &Tunnel) -> Result<IpAddr, Error> {
    let mut addresses: Vec<IpAddr> =
        tunnel.addresses.iter().filter_map(|address| address.split('/').next()?.parse().ok()).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    match network.tunnel_address {
        None => addresses.first().copied(),
        Some(wanted) => addresses.into_iter().find(|address| *address == wanted),
    }
    .with_context(|| UnfitSnafu {
        what: match network.tunnel_address {
            Some(wanted) => format!("failed to find the tunnel address {wanted} on {}", tunnel.interface),
            None => format!("failed to find an address on {}", tunnel.interface),
        },
        hint: format!("it has {}", tunnel.addresses.join(", ")),
    })
}

fn settings(
    wanted: &Wanted,
    datapath: Datapath,
    address: IpAddr,
    bridges: &BTreeMap<String, String>,
) -> Vec<String> {
    let mappings: Vec<String> =
        bridges.iter().map(|(network, bridge)| format!("{network}:{bridge}")).collect();
    let mut ids: BTreeMap<&str, String> = BTreeMap::from([
        ("system-id", wanted.node.to_owned()),
        ("hostname", wanted.node.to_owned()),
        ("ovn-remote", wanted.southbound.join(",")),
        ("ovn-encap-type", "geneve".to_owned()),
        ("ovn-encap-ip", address.to_string()),
        ("ovn-bridge", INTEGRATION_BRIDGE.to_owned()),
        ("ovn-bridge-datapath-type", name(datapath).to_owned()),
        // A node with few ports of a large cloud would better not see everything, but for up to a few hundred nodes
        // the southbound database has less work this way.
        ("ovn-monitor-all", "true".to_owned()),
    ]);
    if !mappings.is_empty() {
        ids.insert("ovn-bridge-mappings", mappings.join(","));
    }
    if wanted.network.gateway {
        ids.insert("ovn-cms-options", "enable-chassis-as-gw".to_owned());
    }
    for (key, value) in wanted.external_ids {
        ids.insert(key, value.clone());
    }
    let mut arguments = words(&["--", "set", "Open_vSwitch", "."]);
    arguments.extend(ids.iter().map(|(key, value)| format!("external_ids:{key}={}", quoted(value))));
    // Without it the guests' unfinished checksums are dropped by connection tracking. Read when the switch starts.
    arguments.push(format!("other_config:userspace-tso-enable={}", datapath == Datapath::Netdev));
    for key in ["ovn-bridge-mappings", "ovn-cms-options"] {
        if !ids.contains_key(key) {
            arguments.extend(words(&["--", "remove", "Open_vSwitch", ".", "external_ids", key]));
        }
    }
    arguments
}

/// Bridges and ports that were made for an earlier wiring.
fn remove_unwanted(
    network: &NodeNetwork,
    datapath: Datapath,
    bridges: &BTreeMap<String, String>,
    observed: &Observed,
) -> Vec<String> {
    let mut arguments = Vec::new();
    let tunnel = datapath == Datapath::Netdev;
    let wanted_bridge = |bridge: &String| {
        bridge == INTEGRATION_BRIDGE
            || bridges.values().any(|name| name == bridge)
            || tunnel && bridge == TUNNEL_BRIDGE
    };
    for bridge in observed.bridges.iter().filter(|bridge| !wanted_bridge(bridge)) {
        arguments.extend(words(&["--", "--if-exists", "del-br", bridge]));
    }
    let wanted_port = |port: &String| {
        network.physical_networks.values().any(|name| name == port)
            || tunnel && *port == network.tunnel_interface
    };
    for port in observed.ports.iter().filter(|port| !wanted_port(port)) {
        arguments.extend(words(&["--", "--if-exists", "del-port", port]));
    }
    arguments
}

fn add_bridge(bridge: &str, datapath: Datapath) -> Vec<String> {
    let mut arguments = words(&["--", "--may-exist", "add-br", bridge]);
    let datapath = format!("datapath_type={}", name(datapath));
    set(&mut arguments, "Bridge", bridge, &[&datapath, &format!("external_ids:{MARK}=bridge")]);
    arguments
}

fn add_port(bridge: &str, interface: &str) -> Vec<String> {
    let mut arguments = words(&["--", "--may-exist", "add-port", bridge, interface]);
    set(&mut arguments, "Port", interface, &[&format!("external_ids:{MARK}=uplink")]);
    arguments
}

fn set(arguments: &mut Vec<String>, table: &str, record: &str, columns: &[&str]) {
    arguments.extend(words(&["--", "set", table, record]));
    arguments.extend(columns.iter().map(|column| (*column).to_owned()));
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A string as `ovs-vsctl` reads it whatever it holds.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// The datapath's name in Open vSwitch.
pub const fn name(datapath: Datapath) -> &'static str {
    match datapath {
        Datapath::System => "system",
        Datapath::Netdev => "netdev",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> NodeNetwork {
        NodeNetwork {
            tunnel_interface: "eth1".to_owned(),
            tunnel_address: None,
            physical_networks: BTreeMap::from([("public".to_owned(), "eth2".to_owned())]),
            gateway: true,
        }
    }

    fn observed() -> Observed {
        let link = |addresses: &[&str]| Link { mtu: 1600, addresses: words(addresses), routes: Vec::new() };
        Observed {
            kernel_lacks: Some("no module".to_owned()),
            links: BTreeMap::from([
                ("eth0".to_owned(), link(&["10.87.0.11/24"])),
                ("eth1".to_owned(), link(&["10.86.0.11/24"])),
                ("eth2".to_owned(), link(&[])),
            ]),
            ..Observed::default()
        }
    }

    fn planned(network: &NodeNetwork, observed: &Observed) -> Result<Plan, Error> {
        let southbound = ["ssl:sb-0:6642".to_owned(), "ssl:sb-1:6642".to_owned()];
        let external_ids = BTreeMap::new();
        let datapath = DatapathChoice::Auto;
        plan(
            &Wanted {
                node: "node1",
                network,
                datapath,
                southbound: &southbound,
                external_ids: &external_ids,
            },
            observed,
        )
    }

    fn lines(commands: &[Command]) -> Vec<String> {
        commands.iter().map(|command| command.join(" ")).collect()
    }

    #[test]
    fn the_userspace_datapath_takes_the_tunnel_interface_over() {
        let plan = planned(&network(), &observed()).unwrap();
        assert_eq!((plan.datapath, plan.reason.as_str()), (Datapath::Netdev, "no module"));
        assert_eq!(plan.address.to_string(), "10.86.0.11");
        assert_eq!(plan.take_over.as_ref().unwrap().addresses, ["10.86.0.11/24"]);
        let database = plan.database.join(" ");
        for part in [
            "external_ids:ovn-remote=\"ssl:sb-0:6642,ssl:sb-1:6642\"",
            "external_ids:ovn-bridge-mappings=\"public:br-public\"",
            "external_ids:ovn-cms-options=\"enable-chassis-as-gw\"",
            "other_config:userspace-tso-enable=true",
            "--may-exist add-port br-phy eth1",
            "--may-exist add-port br-public eth2",
            "set Interface br-phy mtu_request=1600",
        ] {
            assert!(database.contains(part), "{part} is not in {database}");
        }
        assert!(lines(&plan.before).contains(&"ip address flush dev eth1 scope global".to_owned()));
        assert!(lines(&plan.offloads).contains(&"ethtool --features eth2 gro off".to_owned()));
        assert_eq!(
            lines(&plan.after),
            ["ip link set dev br-phy up", "ip address replace 10.86.0.11/24 dev br-phy"]
        );
    }

    #[test]
    fn a_restart_uses_what_was_taken_over() {
        let first = planned(&network(), &observed()).unwrap();
        let mut later = observed();
        later.links.get_mut("eth1").unwrap().addresses.clear();
        later.taken_over = first.take_over;
        let second = planned(&network(), &later).unwrap();
        assert_eq!((second.address, &second.after), (first.address, &first.after));
        assert_eq!(second.take_over, None);
    }

    #[test]
    fn the_kernels_datapath_moves_nothing() {
        let plan = planned(&network(), &Observed { kernel_lacks: None, ..observed() }).unwrap();
        assert_eq!(plan.datapath, Datapath::System);
        assert_eq!((plan.take_over, plan.after), (None, Vec::new()));
        assert!(!plan.database.join(" ").contains("br-phy"));
        assert!(plan.database.contains(&"other_config:userspace-tso-enable=false".to_owned()));
    }

    #[test]
    fn a_kernel_that_gained_the_module_gives_the_addresses_back() {
        let taken_over = planned(&network(), &observed()).unwrap().take_over;
        let mut later =
            Observed { kernel_lacks: None, taken_over, bridges: words(&["br-int", "br-phy"]), ..observed() };
        later.links.get_mut("eth1").unwrap().addresses.clear();
        let plan = planned(&network(), &later).unwrap();
        assert!(plan.database.join(" ").contains("--if-exists del-br br-phy"));
        assert_eq!(
            lines(&plan.after),
            ["ip link set dev eth1 up", "ip address replace 10.86.0.11/24 dev eth1"]
        );
    }

    #[test]
    fn an_earlier_wiring_goes() {
        let observed = Observed {
            bridges: words(&["br-int", "br-old"]),
            ports: words(&["eth3", "eth1", "eth2"]),
            ..observed()
        };
        let plan = planned(&NodeNetwork { gateway: false, ..network() }, &observed).unwrap();
        let database = plan.database.join(" ");
        assert!(database.contains("del-br br-old") && database.contains("del-port eth3"));
        assert!(!database.contains("del-br br-int") && !database.contains("del-port eth1"));
        assert!(database.contains("remove Open_vSwitch . external_ids ovn-cms-options"));
    }

    #[test]
    fn refuses_what_the_node_has_not() {
        let said = |network: &NodeNetwork| planned(network, &observed()).unwrap_err().to_string();
        let missing = NodeNetwork { tunnel_interface: "eth9".to_owned(), ..network() };
        assert_eq!(said(&missing), "failed to find the interface eth9 of tunnels on this node");
        let twice = NodeNetwork { tunnel_interface: "eth2".to_owned(), ..network() };
        assert!(said(&twice).contains("it is that of tunnels"));
        let elsewhere = NodeNetwork { tunnel_address: Some([10, 0, 0, 1].into()), ..network() };
        assert_eq!(said(&elsewhere), "failed to find the tunnel address 10.0.0.1 on eth1");
        let bare = NodeNetwork {
            tunnel_interface: "eth2".to_owned(),
            physical_networks: BTreeMap::new(),
            ..network()
        };
        assert_eq!(said(&bare), "failed to find an address on the tunnel interface eth2");
        let long = BTreeMap::from([("a-long-name-for-it".to_owned(), "eth2".to_owned())]);
        assert!(said(&NodeNetwork { physical_networks: long, ..network() }).contains("is too long or taken"));
    }

    #[test]
    fn the_kernels_datapath_can_be_insisted_on() {
        let error = choose(DatapathChoice::System, Some("no module")).unwrap_err();
        assert_eq!(error.to_string(), "failed to use the kernel's datapath, as configured: no module");
        assert_eq!(choose(DatapathChoice::Netdev, None).unwrap().0, Datapath::Netdev);
    }
}
