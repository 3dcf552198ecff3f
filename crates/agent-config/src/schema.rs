//! Loading schemas.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::database::MysqlServer;
use crate::program::Program;

/// Brings one service's databases to the schema that its image was built with, and ensures its accounts.
///
/// An empty database is loaded from the snapshot inside a marker table, a half-loaded one is dropped and loaded again,
/// a loaded one is compared by its recorded revision with the heads known when the image was built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSchema {
    /// The server, as an account that may do everything.
    pub server: MysqlServer,
    /// What the image knows of its snapshots: `/usr/share/oaas/schema/index.json`.
    #[serde(default = "default_index")]
    pub index: PathBuf,
    /// The databases.
    pub databases: Vec<SchemaDatabase>,
    /// The service's accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<SchemaAccount>,
    /// Accounts that the service had and uses no more: they are removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<String>,
    /// The service's own migration, run when a revision differs from the image's heads. Without it the role exits with
    /// code 5 and says that a migration is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<Program>,
    /// Whether the database has one member, and no volumes of former ones are kept. Then a snapshot is loaded without
    /// replicating each of its statements: a member added later gets the whole database anyway, but a former one that
    /// comes back with its old volume would miss the tables. The role sees for itself that no other member is there.
    /// Seven databases at once: 2.1 to 6.4 s instead of 5.6 to 12.5 s (three runs, 2 busy cores).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_member: bool,
    /// Seconds to wait for the server before giving up.
    #[serde(default = "default_wait_seconds")]
    pub wait_seconds: u64,
}

impl LoadSchema {
    /// Loads the snapshots that lie in the image, and migrates nothing.
    pub fn new(server: MysqlServer, databases: Vec<SchemaDatabase>, accounts: Vec<SchemaAccount>) -> Self {
        Self {
            server,
            index: default_index(),
            databases,
            accounts,
            retired: Vec::new(),
            sync: None,
            single_member: false,
            wait_seconds: default_wait_seconds(),
        }
    }
}

fn default_index() -> PathBuf {
    "/usr/share/oaas/schema/index.json".into()
}

const fn default_wait_seconds() -> u64 {
    300
}

/// One database of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaDatabase {
    /// The database's name in the server.
    pub name: String,
    /// The snapshot's name in the index; the same as `name` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// An account of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaAccount {
    /// Name with its generation, such as `nova_g1`.
    pub user: String,
    /// File that holds the password and nothing else.
    pub password_file: PathBuf,
    /// The databases in which it may do everything.
    pub databases: Vec<String>,
}
