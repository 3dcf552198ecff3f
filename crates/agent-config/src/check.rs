//! Checks as data: what is asked, and what answer is good.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::database::MysqlServer;
use crate::node::NodeProbe;
use crate::tls::TlsTrust;

/// One named check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What people read when it fails, such as `api` or `bus`; unique within its list.
    pub name: String,
    /// How long it may take, in milliseconds; longer counts as failed. Keep it below the kubelet's `timeoutSeconds`.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// What is asked.
    pub probe: Probe,
}

const fn default_timeout_ms() -> u64 {
    3000
}

impl Check {
    /// A check with the default time-out (3 s).
    pub fn new(name: impl Into<String>, probe: Probe) -> Self {
        Self { name: name.into(), timeout_ms: default_timeout_ms(), probe }
    }

    /// The same check with another time-out, in milliseconds.
    #[must_use]
    pub fn within(self, timeout_ms: u64) -> Self {
        Self { timeout_ms, ..self }
    }
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// An HTTP GET.
    Http(HttpProbe),
    /// A TCP connection is accepted.
    Tcp(TcpProbe),
    /// An AMQP 0-9-1 server answers the protocol header with `Connection.Start`.
    Amqp(AmqpProbe),
    /// Some process consumes a queue of the bus.
    Consumer(ConsumerProbe),
    /// A query succeeds.
    Mysql(MysqlProbe),
    /// A Galera member is part of the primary component and takes queries.
    Wsrep(WsrepProbe),
    /// A memcached answers `version`.
    Memcached(MemcachedProbe),
    /// The role's processes are not stopped, make progress, and are connected to the bus.
    Worker(WorkerProbe),
    /// A command exits 0.
    Command(CommandProbe),
    /// The role has heard from its own server lately, over the connection that it keeps.
    Answered(AnsweredProbe),
    /// uWSGI's master answers, and its workers do what they have to do, however long one request takes.
    Uwsgi(UwsgiProbe),
    /// A question to a daemon of a node.
    Node(NodeProbe),
}

/// An HTTP GET that must give one of some statuses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// `http://` or `https://` URL; a host of `127.0.0.1` or `localhost` is the pod itself.
    pub url: String,
    /// How the server is verified; needed for `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsTrust>,
    /// Statuses that are good; redirects are not followed.
    #[serde(default = "default_statuses")]
    pub statuses: Vec<u16>,
    /// Text that must stand in the body's first 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

fn default_statuses() -> Vec<u16> {
    vec![200]
}

/// A TCP connection is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpProbe {
    /// Host name or address.
    #[serde(default = "localhost")]
    pub host: String,
    /// TCP port.
    pub port: u16,
}

fn localhost() -> String {
    "127.0.0.1".to_owned()
}

/// An AMQP server begins the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmqpProbe {
    /// Host name or address.
    #[serde(default = "localhost")]
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the server is verified; without it the connection is plain TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsTrust>,
}

/// Some process consumes a queue of the bus. It is a log-in each time: a check for the start, not for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerProbe {
    /// The service's configuration, whose `transport_url` says where the bus is and as whom to ask.
    pub config: PathBuf,
    /// The queue; `${node.name}` in it stands for the node's name.
    pub queue: String,
    /// How the servers are verified; without it the connection is plain TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsTrust>,
}

/// A query succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MysqlProbe {
    /// The server and the account.
    pub server: MysqlServer,
    /// The query; its first column of its first row is what `expect` is compared with.
    pub query: String,
    /// The answer wanted, as text; any answer is good when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
}

/// A Galera member takes queries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WsrepProbe {
    /// The server and the account.
    pub server: MysqlServer,
    /// Whether a member that feeds another one (`Donor/Desynced`) counts as good.
    #[serde(default = "yes")]
    pub donor_is_good: bool,
}

const fn yes() -> bool {
    true
}

/// A memcached answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemcachedProbe {
    /// Host name or address.
    #[serde(default = "localhost")]
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the server is verified; without it the connection is plain TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsTrust>,
}

/// The role's processes work: for services without a port of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerProbe {
    /// The remote TCP port of the message bus; at least one process of the tree must hold an established connection
    /// to it. Not asked when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus_port: Option<u16>,
    /// For how many seconds the processes may neither use CPU nor be scheduled before they count as hung. A service
    /// with a heart-beat to the bus wakes up many times within the default of 60 s.
    #[serde(default = "default_still_seconds")]
    pub still_seconds: u64,
}

const fn default_still_seconds() -> u64 {
    60
}

/// The role has heard from its own server lately: any answer counts, a refusal too. It needs neither a free connection
/// nor a valid certificate, so that neither is a reason for a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnsweredProbe {
    /// Seconds of silence after which it counts as hung. A stopped process does so at once.
    pub within_seconds: u64,
}

/// uWSGI's statistics are answered by its master and not by a worker: the question never waits behind work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UwsgiProbe {
    /// Where the statistics are answered: address and port (uWSGI's option `stats`).
    #[serde(default = "default_stats")]
    pub stats: String,
    /// Seconds in which a server with free threads must answer somebody where somebody waits.
    #[serde(default = "default_still_seconds")]
    pub idle_seconds: u64,
    /// Seconds in which a server all of whose threads are taken must do anything at all. Longer than the longest time
    /// for which a request may wait for its client.
    #[serde(default = "default_busy_seconds")]
    pub busy_seconds: u64,
}

impl Default for UwsgiProbe {
    fn default() -> Self {
        Self {
            stats: default_stats(),
            idle_seconds: default_still_seconds(),
            busy_seconds: default_busy_seconds(),
        }
    }
}

fn default_stats() -> String {
    "127.0.0.1:9191".to_owned()
}

const fn default_busy_seconds() -> u64 {
    330
}

/// A command exits 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandProbe {
    /// Program and arguments; no shell. Never put a secret here.
    pub argv: Vec<String>,
}
