//! MariaDB: the server's role, and how to reach one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::program::Stop;
use crate::tls::{TlsFiles, TlsTrust};

/// A MariaDB server to talk to, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MysqlServer {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// How the server is verified; without it the connection is plain TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsTrust>,
    /// Account.
    pub user: String,
    /// File that holds the account's password and nothing else (a final newline is dropped).
    pub password_file: PathBuf,
}

const fn default_port() -> u16 {
    3306
}

/// A MariaDB server, a member of a Galera cluster of any odd size.
///
/// `options_file` has everything that is known when a cloud is rendered, `wsrep_on`, `wsrep_provider`,
/// `wsrep_sst_method` and the sizes among it. The agent adds what depends on the moment or on the member (data directory,
/// socket, TLS files, provider options, cluster address, start position, the member's name and address, and state transfers'
/// encryption and account: the server's own system user over the socket, without a password): none of these may stand in `options_file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mariadb {
    /// The stable DNS names of all members, such as `mariadb-0.mariadb.cloud.svc`, each with the pod's name as its
    /// first label: the agent knows itself by its host name.
    pub members: Vec<String>,
    /// Port of the other members' agents, where `/status` is asked.
    pub peer_port: u16,
    /// The mounted volume. The data directory is `data` below it, what the agent remembers is `oaas` below it.
    #[serde(default = "default_volume")]
    pub volume: PathBuf,
    /// The server's options, rendered.
    #[serde(default = "default_options_file")]
    pub options_file: PathBuf,
    /// The unix socket through which the agent ensures accounts as root.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// User that the server runs as, where the agent is root.
    #[serde(default = "default_user")]
    pub user: String,
    /// Whether the operator's ledger knows no earlier life of this cloud's database: only then may an empty volume
    /// become a new database.
    #[serde(default)]
    pub new_cloud: bool,
    /// Accounts ensured at each start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<ServerAccount>,
    /// Options of the replication provider (`wsrep_provider_options`), such as `gcache.size`; the agent adds those of TLS.
    /// The default ones make a killed member's absence known within 3 s instead of 6 (measured).
    #[serde(default = "default_provider_options")]
    pub provider_options: BTreeMap<String, String>,
    /// Certificate, key and CA, for clients, replication and state transfers.
    #[serde(default)]
    pub tls: TlsFiles,
    /// The label on the pod of the one member that takes the writes, which the members choose among themselves. With one
    /// member alone there is nothing to choose, and nothing is labelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<WriterLabel>,
    /// A person's decision where the agent refuses.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_: Option<Override>,
    /// How the server is stopped.
    #[serde(default = "default_stop")]
    pub stop: Stop,
}

fn default_volume() -> PathBuf {
    "/var/lib/mysql".into()
}

fn default_options_file() -> PathBuf {
    "/etc/mysql/oaas.cnf".into()
}

fn default_socket() -> PathBuf {
    "/run/mysqld/mysqld.sock".into()
}

fn default_user() -> String {
    "mysql".to_owned()
}

/// The provider checks them against each other: change them together.
fn default_provider_options() -> BTreeMap<String, String> {
    [
        ("evs.inactive_check_period", "PT0.25S"),
        ("evs.inactive_timeout", "PT6S"),
        ("evs.install_timeout", "PT6S"),
        ("evs.keepalive_period", "PT0.5S"),
        ("evs.suspect_timeout", "PT2S"),
        ("gcache.size", "64M"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

fn default_stop() -> Stop {
    Stop { grace_seconds: 55, ..Stop::default() }
}

/// The label of the member that takes the writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriterLabel {
    /// The label; its value is `true`.
    pub label: String,
    /// The pod's identity, which may patch the pods of all members.
    #[serde(default = "default_identity")]
    pub identity_directory: PathBuf,
    /// The API server's URL; as every pod is told by its environment when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

fn default_identity() -> PathBuf {
    "/var/run/secrets/kubernetes.io/serviceaccount".into()
}

/// A person's decision where the agent refuses to bootstrap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The member whose data is to be taken, by its name in `members`.
    pub bootstrap_from: String,
    /// The position that the person saw on it (`uuid:seqno`): the override is for that state and no later one.
    pub position: String,
}

/// An account of the server itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerAccount {
    /// Name.
    pub user: String,
    /// File that holds the password and nothing else.
    pub password_file: PathBuf,
    /// What it may do.
    pub kind: ServerAccountKind,
}

/// What an account of the server itself may do. All but root over the socket must use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerAccountKind {
    /// Everything, from anywhere: the operator and the schema loader.
    Operator,
    /// Read the status, from the pod itself and from the operator.
    Monitor,
}
