//! What the agent in a pod is told: roles, checks and preparation as data. `agent.json` holds an [`AgentConfig`]: the catalog
//! says the most of it, planning fills in what one cloud is, the agent reads it.
//!
//! All of it is plain data in snake case; unknown fields are refused. Nothing secret stands here: passwords and keys
//! are named by the path of a mounted file.

mod check;
mod checks;
mod database;
mod health;
mod messaging;
mod node;
mod process;
mod program;
mod role;
mod schema;
mod tls;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use check::{
    AmqpProbe, AnsweredProbe, Check, CommandProbe, ConsumerProbe, HttpProbe, MemcachedProbe, MysqlProbe,
    Probe, TcpProbe, UwsgiProbe, WorkerProbe, WsrepProbe,
};
pub use checks::Checks;
pub use database::{Mariadb, MysqlServer, Override, ServerAccount, ServerAccountKind, WriterLabel};
pub use health::Health;
pub use messaging::{ListedAccount, MessagingAccount, Rabbitmq};
pub use node::{
    BridgeProbe, Content, Datapath, DatapathChoice, INTEGRATION_BRIDGE, Libvirt, Migration, NodeNetwork,
    NodeProbe, NodeRole, NovaCompute, OpenVswitch, OvnClusterProbe, OvnController, OvnDatabase, OvnFiller,
    OvnInStepProbe, Ovsdb, UnixctlProbe, VirtType, VirtTypeChoice,
};
pub use process::{Family, Prepare, Process};
pub use program::{Program, Stop, StopSignal};
pub use role::Role;
pub use schema::{LoadSchema, SchemaAccount, SchemaDatabase};
pub use tls::{TlsFiles, TlsTrust};

/// The whole of `agent.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The component's name as people know it, such as `nova-api`; it stands in logs and in `/status`.
    pub component: String,
    /// What the agent runs.
    pub role: Role,
    /// The directory of options that change while the role's programs run, a mounted Secret. Programs in Python that read
    /// their options by oslo.config from there take what changes; others do not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<PathBuf>,
    /// Where and how the agent answers probes. Without it there is no server: right for one-shot roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
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
