//! Brings one service's databases to its image's schema and ensures its accounts; then exits 0.
//!
//! # Guarantees
//! Killed at any moment and run again it converges: a load happens inside a marker table, and what was cut off is
//! dropped and loaded again. Two of them at once take turns by a lock in the server. A database with data in it is
//! never dropped.

pub mod decide;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use oaas_feedback::{Explain, Kind};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use snafu::{OptionExt as _, ResultExt as _, Snafu, ensure};
use tokio::time::{Instant, sleep};
use tracing::info;

use self::decide::{Decision, Found, MARKER, decide};
use crate::context::{Context, Outcome, Role};
use crate::error::Failure;
use crate::mysql::{self, QuerySnafu, column, read_password};
use crate::roles::mariadb::accounts::{Account, ensure_grant, quote, quote_name};
use crate::{prepare, program};
use oaas_agent_config::{LoadSchema, MysqlServer, Program, SchemaDatabase};

/// How long another loader of the same database is waited for, in seconds.
const LOCK_SECONDS: u32 = 600;
/// How long a load may take.
const LOAD_LIMIT: Duration = Duration::from_mins(15);
/// How long the service's own migration may take: it touches every row in the worst case.
const SYNC_LIMIT: Duration = Duration::from_hours(24);
/// Between two tries to reach the server.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Snafu)]
enum Error {
    #[snafu(display("failed to read {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    #[snafu(display("failed to understand {}", path.display()))]
    Index { path: PathBuf, source: serde_json::Error },
    #[snafu(display("failed to find the snapshot {name} in {}: it holds {}", path.display(), known.join(", ")))]
    NoSnapshot { name: String, path: PathBuf, known: Vec<String> },
    #[snafu(display("failed to verify the snapshot {}: its SHA-256 is {found}, not {wanted}", path.display()))]
    Corrupt { path: PathBuf, found: String, wanted: String },
    #[snafu(display("failed to reach the database within {seconds} s"))]
    Unreachable { seconds: u64, source: mysql::Error },
    #[snafu(display("failed to get hold of the database {database}: another loader holds it"))]
    Locked { database: String },
    #[snafu(display("failed to load the schema of {database}: it {what}"))]
    Foreign { database: String, what: String },
    #[snafu(display("failed to bring {database} to the image's schema: it {what}"))]
    NeedsMigration { database: String, what: String },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Environment,
            Self::Index { .. } | Self::Corrupt { .. } => Kind::Integrity,
            Self::NoSnapshot { .. } | Self::Foreign { .. } => Kind::Input,
            Self::Unreachable { .. } | Self::NeedsMigration { .. } => Kind::NotReady,
            Self::Locked { .. } => Kind::Busy,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => {
                Some("this role runs in the service's own image, which holds the snapshots".to_owned())
            }
            Self::Index { .. } | Self::Corrupt { .. } => {
                Some("the image is damaged: build it again".to_owned())
            }
            Self::NoSnapshot { .. } => Some("the image was built for another set of services".to_owned()),
            Self::Unreachable { source, .. } => source.hint(),
            Self::Locked { .. } => Some("look for a second load job of the same service".to_owned()),
            Self::Foreign { database, .. } => Some(format!(
                "{database} belongs to someone else, or was made by hand: name another database, or drop it"
            )),
            Self::NeedsMigration { .. } => Some(
                "run the service's own migration: an upgrade does it by the role's `sync` program".to_owned(),
            ),
        }
    }
}

/// One entry of the image's `index.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Snapshot {
    /// The revisions that the finished schema has.
    heads: BTreeSet<String>,
    /// The table that holds them.
    table: String,
    /// SHA-256 of the snapshot's file, in hexadecimal digits.
    sha256: String,
    /// The character set of the database.
    #[serde(default = "default_charset")]
    charset: String,
    /// Its collation; the character set's own one when not set.
    #[serde(default)]
    collation: Option<String>,
}

fn default_charset() -> String {
    "utf8mb4".to_owned()
}

impl Role for LoadSchema {
    async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let index = read_index(&self.index)?;
        let loader = Loader(self);
        let mut conn = loader.connect(context).await?;
        let mut behind = None;
        for database in &self.databases {
            context.waits_for(format!("the schema of {}", database.name));
            let snapshot = snapshot(&index, database, &self.index)?;
            if let Some(what) = loader.bring_up(&mut conn, database, snapshot, context).await? {
                behind.get_or_insert((database.name.clone(), what));
            }
        }
        for account in &self.accounts {
            loader.ensure_account(&mut conn, account).await?;
        }
        for user in &self.retired {
            let what = format!("remove the account {user}");
            let drop = format!("DROP USER IF EXISTS {}", Account { user, password: "" }.quoted());
            conn.query_drop(drop).await.context(QuerySnafu { what })?;
        }
        if let Some((database, what)) = behind {
            let sync = self.sync.as_ref().context(NeedsMigrationSnafu { database, what })?;
            loader.migrate(&mut conn, sync, &index, context).await?;
        }
        // All is committed; a lost goodbye is no failure.
        let _ = conn.disconnect().await;
        info!(target: "oaas_agent", component = context.config().component, "the schema is as the image has it");
        Ok(Outcome::Exit(0))
    }
}

/// The work of the role.
struct Loader<'a>(&'a LoadSchema);

impl Loader<'_> {
    /// Connect, waiting for the server as long as allowed.
    async fn connect(&self, context: &Context) -> Result<Conn, Failure> {
        let start = Instant::now();
        loop {
            match mysql::connect(&self.0.server).await {
                Ok(conn) => return Ok(conn),
                Err(source) if start.elapsed() > Duration::from_secs(self.0.wait_seconds) => {
                    return Err(source)
                        .context(UnreachableSnafu { seconds: self.0.wait_seconds })
                        .map_err(Into::into);
                }
                Err(error) => context.waits_for(format!("the database: {}", crate::error::chain(&error))),
            }
            sleep(AGAIN).await;
        }
    }

    /// One database: gives what is in the way where a migration is needed.
    async fn bring_up(
        &self,
        conn: &mut Conn,
        database: &SchemaDatabase,
        snapshot: &Snapshot,
        context: &Context,
    ) -> Result<Option<String>, Failure> {
        let name = &database.name;
        let locked: Option<Option<u8>> = conn
            .exec_first("SELECT GET_LOCK(?, ?)", (format!("oaas-schema-{name}"), LOCK_SECONDS))
            .await
            .context(QuerySnafu { what: format!("lock the database {name}") })?;
        ensure!(locked == Some(Some(1)), LockedSnafu { database: name });
        let found = look(conn, name, &snapshot.table).await?;
        let decision = decide(&found, &snapshot.heads);
        info!(target: "oaas_agent", database = name, "{decision}");
        let behind = match decision {
            Decision::Done => None,
            Decision::Load | Decision::Reload => {
                self.load(conn, database, snapshot, context).await?;
                let loaded = look(conn, name, &snapshot.table).await?;
                let after = decide(&loaded, &snapshot.heads);
                // A snapshot that does not give the heads it was recorded with is no snapshot of this image.
                ensure!(
                    after == Decision::Done,
                    ForeignSnafu { database: name, what: format!("was loaded and {after}") }
                );
                None
            }
            Decision::Migrate { .. } => Some(decision.to_string()),
            Decision::Foreign { .. } => {
                return ForeignSnafu { database: name, what: decision.to_string() }
                    .fail()
                    .map_err(Into::into);
            }
        };
        conn.exec_drop("DO RELEASE_LOCK(?)", (format!("oaas-schema-{name}"),))
            .await
            .context(QuerySnafu { what: format!("unlock the database {name}") })?;
        Ok(behind)
    }

    /// Load a snapshot inside the marker. Only called for a database without data.
    async fn load(
        &self,
        conn: &mut Conn,
        database: &SchemaDatabase,
        snapshot: &Snapshot,
        context: &Context,
    ) -> Result<(), Failure> {
        let name = &database.name;
        let file = snapshot_file(&self.0.index, database);
        let dump = read_snapshot(&file, &snapshot.sha256)?;
        let (quoted, marker) = (quote_name(name), quote_name(MARKER));
        let collation = snapshot.collation.as_deref();
        let collation = collation.map_or_else(String::new, |name| format!(" COLLATE {}", quote(name)));
        let steps = [
            format!("DROP DATABASE IF EXISTS {quoted}"),
            format!("CREATE DATABASE {quoted} CHARACTER SET {}{collation}", quote(&snapshot.charset)),
            format!("CREATE TABLE {quoted}.{marker} (snapshot CHAR(64) NOT NULL PRIMARY KEY) ENGINE=InnoDB"),
        ];
        for step in steps {
            conn.query_drop(step)
                .await
                .context(QuerySnafu { what: format!("prepare the database {name}") })?;
        }
        let options = ClientOptions::write(&self.0.server)?;
        let mut client = Program::new([
            "mariadb".to_owned(),
            format!("--defaults-file={}", options.path.display()),
            "--batch".to_owned(),
            format!("--database={name}"),
        ]);
        if self.0.single_member && is_alone(conn).await? {
            client.command.push("--init-command=SET SESSION wsrep_on = OFF".to_owned());
        }
        let what = format!("mariadb (loads {name})");
        let start = Instant::now();
        program::finish(&what, &client, Some(dump), LOAD_LIMIT).await?.success(&what)?;
        drop(options);
        conn.query_drop(format!("DROP TABLE {quoted}.{marker}"))
            .await
            .context(QuerySnafu { what: format!("note that the database {name} is loaded") })?;
        info!(target: "oaas_agent", component = context.config().component, database = name, "loaded in {} ms", start.elapsed().as_millis());
        Ok(())
    }

    /// The service's own migration, and whether it did what it should.
    async fn migrate(
        &self,
        conn: &mut Conn,
        sync: &Program,
        index: &BTreeMap<String, Snapshot>,
        context: &Context,
    ) -> Result<(), Failure> {
        context.waits_for("the service's own migration");
        context.finish("migration", sync, SYNC_LIMIT).await?.success("migration")?;
        for database in &self.0.databases {
            let snapshot = snapshot(index, database, &self.0.index)?;
            let after = decide(&look(conn, &database.name, &snapshot.table).await?, &snapshot.heads);
            let what = format!("{after}, after its migration");
            ensure!(after == Decision::Done, NeedsMigrationSnafu { database: &database.name, what });
        }
        Ok(())
    }

    async fn ensure_account(
        &self,
        conn: &mut Conn,
        account: &oaas_agent_config::SchemaAccount,
    ) -> Result<(), Failure> {
        let password = read_password(&account.user, &account.password_file)?;
        let wanted = Account { user: &account.user, password: &password };
        wanted.ensure(conn).await?;
        for database in &account.databases {
            // In a grant the name is a pattern: an underscore would stand for any character.
            let object = format!("{}.*", quote_name(&database.replace('_', "\\_").replace('%', "\\%")));
            let grant = format!("GRANT ALL PRIVILEGES ON {object} TO {}", wanted.quoted());
            ensure_grant(conn, &wanted, &object, &grant).await?;
        }
        Ok(())
    }
}

/// Whether the server's cluster has no other member at this moment.
async fn is_alone(conn: &mut Conn) -> Result<bool, mysql::Error> {
    let query = "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'";
    let size = mysql::pairs(conn, "count the members of the cluster", query).await?;
    Ok(size.get("wsrep_cluster_size").is_some_and(|size| size == "1"))
}

/// What a database holds; an empty one where there is none.
async fn look(conn: &mut Conn, database: &str, revisions: &str) -> Result<Found, mysql::Error> {
    let what = format!("look into the database {database}");
    let tables: Vec<String> = conn
        .exec("SELECT table_name FROM information_schema.tables WHERE table_schema = ?", (database,))
        .await
        .context(QuerySnafu { what: &what })?;
    let mut tables: BTreeSet<String> = tables.into_iter().collect();
    let loading = tables.remove(MARKER);
    let revisions = if tables.contains(revisions) {
        let query = format!("SELECT version_num FROM {}.{}", quote_name(database), quote_name(revisions));
        Some(column(conn, &what, &query).await?.into_iter().collect())
    } else {
        None
    };
    Ok(Found { tables, loading, revisions })
}

fn read_index(path: &Path) -> Result<BTreeMap<String, Snapshot>, Error> {
    let text = std::fs::read_to_string(path).context(ReadSnafu { path })?;
    serde_json::from_str(&text).context(IndexSnafu { path })
}

fn snapshot_name(database: &SchemaDatabase) -> &str {
    database.snapshot.as_deref().unwrap_or(&database.name)
}

fn snapshot<'a>(
    index: &'a BTreeMap<String, Snapshot>,
    database: &SchemaDatabase,
    path: &Path,
) -> Result<&'a Snapshot, Error> {
    let name = snapshot_name(database);
    index.get(name).with_context(|| NoSnapshotSnafu {
        name,
        path,
        known: index.keys().cloned().collect::<Vec<_>>(),
    })
}

fn snapshot_file(index: &Path, database: &SchemaDatabase) -> PathBuf {
    index.with_file_name(format!("{}.sql.zst", snapshot_name(database)))
}

/// A snapshot's statements; the file must be the one that the index names.
fn read_snapshot(path: &Path, wanted: &str) -> Result<Vec<u8>, Error> {
    let packed = std::fs::read(path).context(ReadSnafu { path })?;
    let found = Sha256::digest(&packed).iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    ensure!(found == wanted, CorruptSnafu { path, found, wanted });
    let mut statements = Vec::new();
    let mut decoder = zstd::Decoder::new(packed.as_slice()).context(ReadSnafu { path })?;
    decoder.read_to_end(&mut statements).context(ReadSnafu { path })?;
    Ok(statements)
}

/// The client's options with the password, in a file that only this user can read, for as long as it is needed.
struct ClientOptions {
    path: PathBuf,
}

impl ClientOptions {
    fn write(server: &MysqlServer) -> Result<Self, Failure> {
        let password = read_password(&server.user, &server.password_file)?;
        let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
        let mut text = format!(
            "[client]\nprotocol=tcp\nhost={}\nport={}\nuser={}\npassword=\"{quoted}\"\ndefault-character-set=utf8mb4\n",
            server.host, server.port, server.user
        );
        match &server.tls {
            Some(trust) => {
                use std::fmt::Write as _;
                // Writing to a String cannot fail.
                let _ = write!(text, "ssl-ca={}\nssl-verify-server-cert\n", trust.ca.display());
            }
            None => text.push_str("skip-ssl\n"),
        }
        let path = std::env::temp_dir().join(format!("oaas-client-{}.cnf", std::process::id()));
        prepare::write_file(&path, text.as_bytes(), 0o600, None)?;
        Ok(Self { path })
    }
}

impl Drop for ClientOptions {
    fn drop(&mut self) {
        // The file dies with the pod at the latest.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_snapshot_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nova.sql.zst");
        std::fs::write(&path, zstd::encode_all(&b"SELECT 1;\n"[..], 1).unwrap()).unwrap();
        let error = read_snapshot(&path, "00").unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        let Error::Corrupt { found, .. } = error else { panic!("{error}") };
        assert_eq!(read_snapshot(&path, &found).unwrap(), b"SELECT 1;\n");
    }

    #[test]
    fn an_unknown_snapshot_names_the_known_ones() {
        let index: BTreeMap<String, Snapshot> = serde_json::from_str(
            r#"{"nova": {"heads": ["a"], "table": "alembic_version", "sha256": "0", "mariadb": "11.8"}}"#,
        )
        .unwrap();
        let database = SchemaDatabase { name: "n".to_owned(), snapshot: Some("novae".to_owned()) };
        let error = snapshot(&index, &database, Path::new("/i/index.json")).unwrap_err();
        assert!(error.to_string().contains("it holds nova"));
        assert_eq!(snapshot_file(Path::new("/i/index.json"), &database), Path::new("/i/novae.sql.zst"));
    }
}
