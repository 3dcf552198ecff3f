//! Two machines with Open vSwitch, OVN's controller and a guest each: traffic through the tunnel, and what restarts cost.

mod node_common;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use node_common::{
    Agent, Echo, Hub, Machine, Meter, Net, best_throughput, certificates, give_certificates, round_trip,
    until,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_mins(1);

/// Megabytes per second that the tunnel must carry; the figure aimed at by the whole cloud.
const ENOUGH: f64 = 10.0;

const NAMES: &str = "127.0.0.1 localhost\n10.85.0.1 ovn-0.ovn-nb.test ovn-0.ovn-sb.test ovn-0\n";

const KEYS: &str =
    "--private-key=/etc/oaas/tls/tls.key --certificate=/etc/oaas/tls/tls.crt --ca-cert=/etc/oaas/tls/ca.crt";

/// The machine with OVN's databases and northd.
struct Central {
    // Agents end before their machine.
    _agents: Vec<Agent>,
    machine: Machine,
}

impl Central {
    fn new(management: &Hub, certificates: &[(&'static str, String)]) -> Self {
        let machine = Machine::new("ovn", "ovn-0");
        management.plug(&machine, "eth0", 1500, Some("10.85.0.1/24"));
        machine.write("/etc/hosts", NAMES);
        give_certificates(&machine, certificates);
        let database = |which: &str| {
            // Both run on one machine here; its host name is that of either pod.
            json!({"ovsdb": {"database": which, "name": "ovn", "service": format!("ovn-{which}.test"), "replicas": 1}})
        };
        let mut agents = vec![
            machine.agent("nb", 9101, &database("nb"), &[]),
            machine.agent("sb", 9102, &database("sb"), &[]),
        ];
        for agent in &mut agents {
            agent.running(LIMIT);
        }
        let northd = format!(
            "ovn-northd --ovnnb-db=ssl:ovn-0.ovn-nb.test:6641 --ovnsb-db=ssl:ovn-0.ovn-sb.test:6642 {KEYS} \
             --unixctl=/run/ovn/ovn-northd.ctl -vconsole:info -vsyslog:off"
        );
        let command: Vec<&str> = northd.split_whitespace().collect();
        let check = json!({"name": "active", "probe": {"node": {"unixctl":
            {"socket": "/run/ovn/ovn-northd.ctl", "command": "status", "expect": ["Status: active", "Status: standby"]}}}});
        let config = json!({"component": "northd", "role": {"process": {"program": {"command": command}}},
            "health": {"port": 9103, "ready": [check]}});
        let mut northd = machine.agent_with("northd", 9103, &config, &[]);
        northd.running(LIMIT);
        until("ready northd", LIMIT, || northd.get("/ready").filter(|(code, _)| *code == 200));
        agents.push(northd);
        Self { machine, _agents: agents }
    }

    fn nbctl(&self, command: &str) -> String {
        self.machine.sh(&format!("ovn-nbctl --timeout=20 {command}"))
    }
}

/// A machine that guests run on.
struct Chassis {
    vswitch: Option<Agent>,
    controller: Option<Agent>,
    machine: Machine,
    guest: Hub,
}

fn vswitch_role() -> Value {
    json!({"open_vswitch": {"southbound": ["ssl:ovn-0.ovn-sb.test:6642"]}})
}

impl Chassis {
    fn new(
        number: u32,
        management: &Hub,
        tunnels: &Hub,
        outside: &Hub,
        certificates: &[(&'static str, String)],
    ) -> Self {
        let name = format!("node{number}");
        let machine = Machine::new("ovn", &name);
        management.plug(&machine, "eth0", 1500, Some(&format!("10.85.0.1{number}/24")));
        tunnels.plug(&machine, "eth1", 1600, Some(&format!("10.86.0.1{number}/24")));
        outside.plug(&machine, "eth2", 1500, None);
        machine.write("/etc/hosts", NAMES);
        give_certificates(&machine, certificates);
        let node = json!({"tunnelInterface": "eth1", "physicalNetworks": {"public": "eth2"}, "gateway": number == 1});
        machine.write(&format!("/etc/oaas/nodes/{name}.json"), &node.to_string());
        let mut chassis = Self { machine, vswitch: None, controller: None, guest: Hub::bare() };
        chassis.start_vswitch();
        chassis.start_controller();
        // The guest: a pair of interfaces in place of a tap, not offered to send large segments, as QEMU is told.
        let pid = chassis.guest.pid();
        chassis.machine.space.in_net(&format!(
            "ip link add tap0 type veth peer name eth0 netns {pid}; ip link set tap0 mtu 1442 up"
        ));
        chassis.guest.in_net(&format!(
            "ethtool -K eth0 tso off gso off >/dev/null; ip link set lo up; ip link set eth0 address 02:00:00:00:00:0{number}; \
             ip link set eth0 mtu 1442 up; ip address add 172.16.0.1{number}/24 dev eth0; ip route add default via 172.16.0.1"
        ));
        chassis.machine.sh(&format!(
            "ovs-vsctl add-port br-int tap0 -- set Interface tap0 external_ids:iface-id=port{number}"
        ));
        chassis
    }

    fn start_vswitch(&mut self) {
        let env = [("NODE_NAME", self.machine.name.as_str())];
        let mut agent = self.machine.agent("openvswitch", 9104, &vswitch_role(), &env);
        agent.running(LIMIT);
        self.vswitch = Some(agent);
    }

    fn start_controller(&mut self) {
        let mut agent = self.machine.agent("ovn-controller", 9105, &json!({"ovn_controller": {}}), &[]);
        agent.running(LIMIT);
        until("connection to the southbound database", LIMIT, || {
            let said = self.machine.output(&[
                "ovn-appctl",
                "-t",
                "/run/ovn/ovn-controller.ctl",
                "connection-status",
            ]);
            (said.stdout.trim_ascii() == b"connected").then_some(())
        });
        self.controller = Some(agent);
    }

    fn guest(&self) -> Net {
        self.guest.net()
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn guests_talk_through_the_tunnel_and_to_the_outside() {
    let certificates = certificates();
    let (management, tunnels, outside) = (Hub::new(), Hub::new(), Hub::new());
    let central = Central::new(&management, &certificates);
    central.nbctl(
        "ls-add net -- lsp-add net port1 -- lsp-set-addresses port1 '02:00:00:00:00:01 172.16.0.11' \
        -- lsp-add net port2 -- lsp-set-addresses port2 '02:00:00:00:00:02 172.16.0.12'",
    );
    let mut first = Chassis::new(1, &management, &tunnels, &outside, &certificates);
    let second = Chassis::new(2, &management, &tunnels, &outside, &certificates);

    let status = first.vswitch.as_ref().unwrap().status();
    println!("switch: {}", status["report"]);
    assert_eq!(status["report"]["tunnel_address"], "10.86.0.11");
    assert_eq!(status["report"]["gateway"], true);

    // East-west.
    let (one, two) = (first.guest(), second.guest());
    let (_echo, to_second) = (Echo::new(&two, 7), address("172.16.0.12"));
    let began = Instant::now();
    until("answer through the tunnel", LIMIT, || round_trip(&one, to_second, 7).then_some(()));
    println!("first answer through the tunnel after {:?}", began.elapsed());
    for (from, to, name, target) in
        [(&one, &two, "1 to 2", "172.16.0.12"), (&two, &one, "2 to 1", "172.16.0.11")]
    {
        let speed = best_throughput(from, to, address(target), 64, ENOUGH);
        println!("TCP {name} through geneve: {speed:.0} MB/s");
        assert!(speed >= ENOUGH, "{speed} MB/s");
    }

    outside.host("192.168.100.1/24");
    // North-south: a router with a gateway on the first machine, and a floating address for the second's guest.
    central.nbctl(
        "lr-add router -- lrp-add router inner 02:00:00:00:01:01 172.16.0.1/24 \
        -- lsp-add net net-router -- lsp-set-type net-router router -- lsp-set-addresses net-router router \
        -- lsp-set-options net-router router-port=inner",
    );
    central.nbctl("ls-add ext -- lsp-add ext ext-net -- lsp-set-type ext-net localnet -- lsp-set-addresses ext-net unknown \
        -- lsp-set-options ext-net network_name=public \
        -- lrp-add router outer 02:00:00:00:01:02 192.168.100.150/24 -- set Logical_Router_Port outer options:gateway_mtu=1500 \
        -- lsp-add ext ext-router -- lsp-set-type ext-router router -- lsp-set-addresses ext-router router \
        -- lsp-set-options ext-router router-port=outer -- lrp-set-gateway-chassis outer node1 10 \
        -- lr-route-add router 0.0.0.0/0 192.168.100.1 \
        -- lr-nat-add router snat 192.168.100.150 172.16.0.0/24 \
        -- lr-nat-add router dnat_and_snat 192.168.100.160 172.16.0.12");
    let (host, floating) = (outside.net(), address("192.168.100.160"));
    until("answer on the floating address", LIMIT, || round_trip(&host, floating, 7).then_some(()));
    let inward = best_throughput(&host, &two, floating, 32, ENOUGH);
    let outward = best_throughput(&two, &host, address("192.168.100.1"), 32, ENOUGH);
    println!("TCP from outside through the floating address {inward:.0} MB/s, outward {outward:.0} MB/s");
    assert!(inward >= ENOUGH && outward >= ENOUGH, "{inward} and {outward} MB/s");

    // ovn-controller goes and comes: the traffic does not notice.
    let meter = Meter::start(&one, to_second, 7);
    first.controller.take().unwrap().stop();
    assert!(
        central.machine.sh("ovn-sbctl --timeout=20 --bare --columns=name list Chassis").contains("node1")
    );
    std::thread::sleep(Duration::from_secs(1));
    first.start_controller();
    std::thread::sleep(Duration::from_secs(3));
    let outage = meter.end();
    println!("ovn-controller restarted: longest silence {outage:?}");
    assert!(outage < Duration::from_secs(1), "{outage:?}");

    // The switch is killed with its agent, and comes back with the same address though the interface has none any more.
    let meter = Meter::start(&one, to_second, 7);
    let began = Instant::now();
    let agent = first.vswitch.take().unwrap();
    agent.signal(Signal::SIGKILL);
    first.machine.sh("pkill -9 ovs-vswitchd; pkill -9 ovsdb-server; while pgrep -r S,R,D 'ovs-vswitchd|ovsdb-server' >/dev/null; do sleep 0.1; done");
    drop(agent);
    first.start_vswitch();
    println!("switch killed: its agent runs again after {:?}", began.elapsed());
    std::thread::sleep(Duration::from_secs(12));
    let outage = meter.end();
    println!("switch killed: longest silence {outage:?}");
    assert!(round_trip(&one, to_second, 7), "the tunnel is dead after a restart of the switch");
    assert!(outage < Duration::from_secs(12), "{outage:?}");
    assert!(!first.machine.sh("ip -4 address show dev eth1").contains("10.86.0.11"));
    assert!(first.machine.sh("ip -4 address show dev br-phy").contains("10.86.0.11/24"));

    // Asked to end in an orderly way.
    let meter = Meter::start(&one, to_second, 7);
    first.vswitch.take().unwrap().stop();
    first.start_vswitch();
    std::thread::sleep(Duration::from_secs(12));
    println!("switch restarted: longest silence {:?}", meter.end());
    assert!(round_trip(&one, to_second, 7));
}

#[test]
fn a_node_without_its_interface_is_told_so() {
    let management = Hub::new();
    let machine = Machine::new("ovn", "node1");
    management.plug(&machine, "eth0", 1500, Some("10.85.0.11/24"));
    machine.write("/etc/oaas/nodes/node1.json", &json!({"tunnelInterface": "eth1"}).to_string());
    let (code, log) =
        machine.agent("openvswitch", 9104, &vswitch_role(), &[("NODE_NAME", "node1")]).ended(LIMIT);
    assert_eq!(code, Some(3), "{log}");
    assert!(log.contains("failed to find the interface eth1 of tunnels on this node"), "{log}");
    assert!(log.contains("the node has eth0"), "{log}");
    assert!(!machine.sh("ps -e -o args").contains("ovsdb-server"), "the agent left its programs behind");
}
