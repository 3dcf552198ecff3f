//! The checks of a pod, and those that a role knows by itself.

use std::path::{Path, PathBuf};

use crate::check::{
    AmqpProbe, AnsweredProbe, Check, CommandProbe, ConsumerProbe, Probe, WorkerProbe, WsrepProbe,
};
use crate::database::{Mariadb, MysqlServer, ServerAccountKind};
use crate::messaging::Rabbitmq;
use crate::node::{
    BridgeProbe, Content, INTEGRATION_BRIDGE, NodeProbe, NodeRole, OvnClusterProbe, UnixctlProbe,
};
use crate::role::Role;
use crate::tls::TlsTrust;

/// When a pod has started, is alive, is ready.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checks {
    /// Until these hold, the others are not asked.
    pub startup: Vec<Check>,
    /// While these fail, the container is restarted.
    pub live: Vec<Check>,
    /// While these fail, no traffic comes.
    pub ready: Vec<Check>,
    /// Seconds that starting may take before it counts as hung, where the role knows better than others.
    pub startup_seconds: Option<u32>,
}

/// Seconds within which a process that is on the message bus wakes up many times, for its heart-beat.
const AWAKE: u64 = 40;
/// Seconds of silence of a database's server, over the socket and to the agent's own account, that are a hang.
const HEARD: u64 = 30;
/// A start that nobody should cut off.
const A_WEEK: u32 = 7 * 24 * 3600;
/// Milliseconds that a program of a node has to answer before it counts as hung.
const PATIENT: u64 = 8000;

impl Checks {
    /// The same checks for all three.
    pub fn same(checks: &[Check]) -> Self {
        let list = || checks.to_vec();
        Self { startup: list(), live: list(), ready: list(), startup_seconds: None }
    }

    /// Of processes without a port of their own: they are seen to work within so many seconds, and, where a port is
    /// named, to be connected to it. Whoever is connected wakes up often, so that less is enough to take it out.
    pub fn of_worker(still_seconds: u64, bus_port: Option<u16>) -> Self {
        let check = |name: &str, still_seconds, bus_port| {
            vec![Check::new(name, Probe::Worker(WorkerProbe { bus_port, still_seconds }))]
        };
        let (name, ready) =
            if bus_port.is_some() { ("bus", still_seconds / 2) } else { ("progress", still_seconds) };
        Self {
            startup: check(name, still_seconds, bus_port),
            live: check("progress", still_seconds, None),
            ready: check(name, ready, bus_port),
            startup_seconds: None,
        }
    }
}

impl Role {
    /// The checks that suit this role, where it knows its program. `server_name` is the name in the pod's certificate.
    pub fn checks(&self, server_name: &str) -> Option<Checks> {
        match self {
            Self::Process(_) | Self::Family(_) | Self::LoadSchema(_) => None,
            Self::Mariadb(role) => Some(mariadb(role, server_name)),
            Self::Rabbitmq(role) => Some(rabbitmq(role, server_name)),
            Self::Node(role) => Some(node(role)),
        }
    }
}

fn mariadb(role: &Mariadb, server_name: &str) -> Checks {
    // Without an account to ask as there is nothing to ask.
    let monitor = role.accounts.iter().find(|account| account.kind == ServerAccountKind::Monitor);
    let Some(monitor) = monitor else { return Checks::default() };
    let server = MysqlServer {
        host: "127.0.0.1".to_owned(),
        port: 3306,
        tls: Some(trust(&role.tls.ca, server_name)),
        user: monitor.user.clone(),
        password_file: monitor.password_file.clone(),
    };
    // Whether it lives is seen over the agent's own connection, through the socket: a storm of connections, or a
    // certificate that has expired, is no reason to restart a member. Whether it serves is asked as its clients do.
    let heard = Probe::Answered(AnsweredProbe { within_seconds: HEARD });
    let ready = Probe::Wsrep(WsrepProbe { server, donor_is_good: true });
    Checks {
        startup: vec![Check::new("answers", heard.clone())],
        live: vec![Check::new("answers", heard)],
        ready: vec![Check::new("member", ready)],
        // The agent knows what it waits for, which may be another member or a transfer of all data: a restart would
        // begin that anew.
        startup_seconds: Some(A_WEEK),
    }
}

fn rabbitmq(role: &Rabbitmq, server_name: &str) -> Checks {
    let tls = Some(trust(&role.tls.ca, server_name));
    let probe = AmqpProbe { host: "127.0.0.1".to_owned(), port: role.port, tls };
    let answers = vec![Check::new("amqp", Probe::Amqp(probe))];
    // Who has lost the majority pauses by itself and goes on by itself: it makes progress, and takes no clients.
    let lives = Checks::of_worker(AWAKE, None).live;
    Checks {
        startup: answers.clone(),
        live: lives,
        ready: answers,
        // After a crash of all, a member waits for the others.
        startup_seconds: Some(A_WEEK),
    }
}

fn node(role: &NodeRole) -> Checks {
    let unixctl = |name: &str, socket: PathBuf, command: &str, expect: &[&str]| {
        let expect = expect.iter().map(|wanted| (*wanted).to_owned()).collect();
        let probe = UnixctlProbe { socket, command: command.to_owned(), arguments: Vec::new(), expect };
        Check::new(name, Probe::Node(NodeProbe::Unixctl(probe)))
    };
    match role {
        NodeRole::Ovsdb(role) => {
            let (database, run_directory) = (role.database, role.run_directory.clone());
            let socket = database.control_socket(&run_directory);
            let asked = OvnClusterProbe { database, run_directory };
            let member = vec![Check::new("cluster", Probe::Node(NodeProbe::OvnCluster(asked.clone())))];
            let live = unixctl("answers", socket, "version", &[]).within(PATIENT);
            let mut ready = member.clone();
            if role.content == Content::Filler {
                // It has started and is alone: no restart fills it.
                ready.push(Check::new("content", Probe::Node(NodeProbe::OvnContent(asked))));
            }
            Checks { startup: member, live: vec![live], ready, startup_seconds: None }
        }
        NodeRole::OpenVswitch(role) => {
            let run_directory = role.run_directory.clone();
            let socket = run_directory.join("ovs-vswitchd.ctl");
            let name = INTEGRATION_BRIDGE.to_owned();
            let probe = NodeProbe::Bridge(BridgeProbe { name, run_directory });
            let bridge = vec![Check::new("bridge", Probe::Node(probe))];
            let live = unixctl("switch", socket, "version", &[]).within(PATIENT);
            Checks { startup: bridge.clone(), live: vec![live], ready: bridge, startup_seconds: None }
        }
        NodeRole::OvnController(role) => {
            let socket = role.run_directory.join("ovn-controller.ctl");
            Checks {
                startup: vec![unixctl("answers", socket.clone(), "version", &[])],
                live: vec![unixctl("answers", socket.clone(), "version", &[]).within(PATIENT)],
                ready: vec![unixctl("southbound", socket, "connection-status", &["connected"])],
                startup_seconds: None,
            }
        }
        NodeRole::Libvirt(_) => {
            let argv = ["virsh", "-c", "qemu:///system", "version"].map(str::to_owned).to_vec();
            let answers = Check::new("answers", Probe::Command(CommandProbe { argv }));
            let soon = vec![answers.clone().within(5000)];
            Checks {
                startup: soon.clone(),
                live: vec![answers.within(10_000)],
                ready: soon,
                startup_seconds: None,
            }
        }
        // It waits until there is something to do; what it has not done yet the database's own check says.
        NodeRole::OvnFiller(_) => Checks::default(),
        NodeRole::NovaCompute(role) => {
            // Before it consumes its queue it has looked at every guest of the node, and may still refuse to start: a
            // connection to the bus is no sign of either. A start that is refused ends the process; one of a node with
            // many guests is long.
            let probe = ConsumerProbe {
                config: role.config_file(),
                queue: "compute.${node.name}".to_owned(),
                tls: Some(TlsTrust { ca: role.ca.clone(), server_name: None }),
            };
            let startup = vec![Check::new("consumes", Probe::Consumer(probe)).within(10_000)];
            let working = Checks::of_worker(AWAKE, Some(role.bus_port));
            Checks { startup, startup_seconds: Some(3600), ..working }
        }
    }
}

fn trust(ca: &Path, server_name: &str) -> TlsTrust {
    TlsTrust { ca: ca.to_owned(), server_name: Some(server_name.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_connected_is_taken_out_before_it_counts_as_hung() {
        let still = |checks: &[Check]| match &checks[0].probe {
            Probe::Worker(probe) => (probe.still_seconds, probe.bus_port),
            other => panic!("{other:?}"),
        };
        let on_bus = Checks::of_worker(AWAKE, Some(5671));
        assert_eq!((still(&on_bus.live), still(&on_bus.ready)), ((40, None), (20, Some(5671))));
        let alone = Checks::of_worker(90, None);
        assert_eq!(still(&alone.ready), (90, None));
    }

    /// What clients may use up or a clock may spoil must not take a database for dead.
    #[test]
    fn a_database_lives_without_connections_and_certificates() {
        let role = r#"{"mariadb": {"members": [], "peer_port": 9100,
            "accounts": [{"user": "monitor", "password_file": "/p", "kind": "monitor"}]}}"#;
        let role: Role = serde_json::from_str(role).unwrap();
        let checks = role.checks("galera.demo.svc").unwrap();
        assert!(matches!(checks.live[0].probe, Probe::Answered(_)), "{checks:?}");
        assert!(matches!(checks.ready[0].probe, Probe::Wsrep(_)), "{checks:?}");
    }

    /// A member of the bus that pauses in a minority must not be restarted.
    #[test]
    fn a_paused_member_of_the_bus_lives() {
        let role = r#"{"rabbitmq": {"members": [], "cookie_file": "/c"}}"#;
        let role: Role = serde_json::from_str(role).unwrap();
        let checks = role.checks("rabbitmq.demo.svc").unwrap();
        assert!(matches!(checks.live[0].probe, Probe::Worker(_)), "{checks:?}");
        assert!(matches!(checks.ready[0].probe, Probe::Amqp(_)), "{checks:?}");
    }

    /// Whoever is empty after a loss takes no clients, and is not restarted for it.
    #[test]
    fn a_database_that_is_to_be_filled_starts_and_is_not_ready() {
        let checks = |content: &str| {
            let role = format!(
                r#"{{"node": {{"ovsdb": {{"database": "nb", "name": "n", "service": "s", "replicas": 1, "content": "{content}"}}}}}}"#
            );
            let role: Role = serde_json::from_str(&role).unwrap();
            role.checks("ovn-nb.demo.svc").unwrap()
        };
        let names = |checks: &[Check]| checks.iter().map(|check| check.name.clone()).collect::<Vec<_>>();
        let filled = checks("filler");
        assert_eq!(
            (names(&filled.startup), names(&filled.ready)),
            (vec!["cluster".into()], vec!["cluster".into(), "content".into()])
        );
        assert_eq!(names(&checks("northd").ready), ["cluster"]);
    }

    #[test]
    fn a_role_knows_where_its_program_answers() {
        let role: Role = serde_json::from_str(
            r#"{"node": {"ovsdb": {"database": "nb", "name": "n", "service": "s", "replicas": 1}}}"#,
        )
        .unwrap();
        let checks = role.checks("ovn-nb.demo.svc").unwrap();
        let live = serde_json::to_string(&checks.live).unwrap();
        assert!(live.contains("/run/ovn/ovnnb_db.ctl"), "{live}");
    }
}
