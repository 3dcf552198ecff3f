//! What `agent.json` holds: written by `render` from catalog data, read by `oaas agent run`.
//!
//! All of it is plain data in snake case; unknown fields are refused. Nothing secret stands here: passwords and keys
//! are named by the path of a mounted file.

mod check;
mod database;
mod messaging;
mod process;
mod schema;

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use check::{
    AmqpProbe, Check, CommandProbe, ConsumerProbe, HttpProbe, MemcachedProbe, MysqlProbe, Probe, TcpProbe,
    TlsTrust, WorkerProbe, WsrepProbe,
};
pub use database::{Mariadb, MysqlServer, Override, ServerAccount, ServerAccountKind, WriterLabel};
pub use messaging::{MessagingAccount, Rabbitmq};
pub use process::{Prepare, Process, Program, Stop, StopSignal};
pub use schema::{LoadSchema, SchemaAccount, SchemaDatabase};

pub use crate::roles::node::config::{NodeProbe, NodeRole};

/// The whole of `agent.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The component's name as people know it, such as `nova-api`; it stands in logs and in `/status`.
    pub component: String,
    /// What the agent runs.
    pub role: Role,
    /// Where and how the agent answers probes. Without it there is no server: right for one-shot roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// What the agent runs.
// The roles differ much in size, but there is one of them per process.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Any process that needs no more than preparation, signals and probes.
    Process(Process),
    /// A MariaDB server, a member of a Galera cluster of any odd size.
    Mariadb(Mariadb),
    /// A `RabbitMQ` server, a member of a cluster of any odd size.
    Rabbitmq(Rabbitmq),
    /// Loads one service's schemas into its databases and ensures its accounts; exits 0 when done.
    LoadSchema(LoadSchema),
    /// A role that works on a node: OVN, Open vSwitch, libvirt, nova-compute.
    Node(NodeRole),
}

/// The probes' server: plain HTTP with `/startup`, `/live`, `/ready` (200 or 503 with a JSON list of failing checks and
/// why) and `/status` (what the role reports, for the operator and for other members).
///
/// Whatever the checks say: `/startup` and `/ready` fail until the role's programs run, `/ready` fails while they stop,
/// and `/live` succeeds as long as the role knowingly prepares, waits or stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// TCP port.
    pub port: u16,
    /// Address to listen on; all addresses (v6 and v4) when not set. A pod on the host network names the node's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<IpAddr>,
    /// Checks that must succeed once before the others count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub startup: Vec<Check>,
    /// Checks whose failure restarts the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live: Vec<Check>,
    /// Checks whose failure only takes the pod out of its Services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ready: Vec<Check>,
}

/// A server's TLS files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The cloud's CA, PEM.
    pub ca: PathBuf,
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

impl Default for TlsFiles {
    /// Where every pod has them: `/etc/oaas/tls/{ca.crt,tls.crt,tls.key}`.
    fn default() -> Self {
        Self {
            ca: "/etc/oaas/tls/ca.crt".into(),
            cert: "/etc/oaas/tls/tls.crt".into(),
            key: "/etc/oaas/tls/tls.key".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AgentConfig, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_process_needs_its_command_alone() {
        let config =
            parse(r#"{"component": "x", "role": {"process": {"program": {"command": ["true"]}}}}"#).unwrap();
        assert_eq!(config.health, None);
        let Role::Process(process) = &config.role else { panic!("{config:?}") };
        assert_eq!(process.program.stop, Stop::default());
        let again = serde_json::to_string(&config).unwrap();
        assert_eq!(
            again,
            r#"{"component":"x","role":{"process":{"program":{"command":["true"],"stop":{"signal":"TERM","grace_seconds":25}}}}}"#
        );
        assert_eq!(parse(&again).unwrap(), config);
    }

    #[test]
    fn unknown_fields_are_named_wherever_they_stand() {
        for (text, wrong) in [
            (
                r#"{"component": "x", "role": {"process": {"program": {"command": []}}}, "helth": {}}"#,
                "helth",
            ),
            (r#"{"component": "x", "role": {"proces": {}}}"#, "proces"),
            (
                r#"{"component": "x", "role": {"rabbitmq": {"members": [], "cookie_file": "/c", "cokie": 1}}}"#,
                "cokie",
            ),
            (
                r#"{"component": "x", "role": {"process": {"program": {"command": []}}},
                    "health": {"port": 1, "live": [{"name": "a", "probe": {"tcp": {"prt": 1}}}]}}"#,
                "prt",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(&format!("`{wrong}`")), "{error}");
        }
    }

    #[test]
    fn checks_are_data() {
        let check = r#"{"name": "api", "probe": {"http": {"url": "https://127.0.0.1:5000/v3",
            "tls": {"ca": "/etc/oaas/tls/ca.crt", "server_name": "keystone.demo.svc"}, "statuses": [200, 300]}}}"#;
        let check: Check = serde_json::from_str(check).unwrap();
        assert_eq!(check.timeout_ms, 3000);
        let Probe::Http(probe) = check.probe else { panic!("an HTTP probe") };
        assert_eq!(probe.statuses, [200, 300]);
        let worker: Probe = serde_json::from_str(r#"{"worker": {"bus_port": 5671}}"#).unwrap();
        assert_eq!(worker, Probe::Worker(WorkerProbe { bus_port: Some(5671), still_seconds: 60 }));
    }
}
