//! `RabbitMQ`: the server's role.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::program::Stop;
use crate::tls::TlsFiles;

/// A `RabbitMQ` server, a member of a cluster of any odd size. AMQP is served over TLS only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rabbitmq {
    /// The stable full DNS names of all members, such as `rabbitmq-0.rabbitmq.cloud.svc.cluster.local`, each with the
    /// pod's name as its first label: the agent knows itself by its host name.
    pub members: Vec<String>,
    /// The AMQP port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// The mounted volume: database and cookie.
    #[serde(default = "default_volume")]
    pub volume: PathBuf,
    /// File that holds the secret the members share.
    pub cookie_file: PathBuf,
    /// Certificate, key and CA.
    #[serde(default)]
    pub tls: TlsFiles,
    /// Accounts and, with them, virtual hosts. The agent follows this list and the password files while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<MessagingAccount>,
    /// File with a list of further accounts, their passwords in it. It is followed, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts_file: Option<PathBuf>,
    /// The container's memory limit in bytes; publishers are held back at 60 % of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Free space of the volume in bytes below which publishers are held back.
    #[serde(default = "default_disk_free")]
    pub disk_free_limit_bytes: u64,
    /// Erlang schedulers; as many as the container has CPUs, at least 1.
    #[serde(default = "one")]
    pub schedulers: u16,
    /// User that the server runs as, where the agent is root.
    #[serde(default = "default_user")]
    pub user: String,
    /// How the server is stopped.
    #[serde(default = "default_stop")]
    pub stop: Stop,
}

const fn default_port() -> u16 {
    5671
}

fn default_volume() -> PathBuf {
    "/var/lib/rabbitmq".into()
}

const fn default_disk_free() -> u64 {
    200 * 1024 * 1024
}

const fn one() -> u16 {
    1
}

fn default_user() -> String {
    "rabbitmq".to_owned()
}

fn default_stop() -> Stop {
    Stop { grace_seconds: 55, ..Stop::default() }
}

/// An account as `accounts_file` lists it. Holds a password: no `Debug`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedAccount {
    /// Name, such as `nova_g1`.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The virtual host in which it may do everything; made when missing.
    pub vhost: String,
}

/// An account of the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessagingAccount {
    /// Name, such as `nova_g1`.
    pub user: String,
    /// File that holds the password and nothing else.
    pub password_file: PathBuf,
    /// The virtual host in which it may do everything; made when missing.
    pub vhost: String,
    /// Whether it may look at everything (`monitoring` tag): for the operator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub monitoring: bool,
}
