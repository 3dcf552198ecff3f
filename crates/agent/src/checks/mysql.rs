//! Databases as a client: one connection per use, TLS verified by the cloud's CA, the password from a mounted file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Row, SslOpts, Value};
use oaas_feedback::{Explain, Kind};
use snafu::{OptionExt as _, ResultExt as _, Snafu};

use tokio::time::timeout;

use super::UnwellSnafu;
use crate::config::{MysqlProbe, MysqlServer, WsrepProbe};

/// How long a server may take to let someone in.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What can go wrong with a database.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub))]
pub enum Error {
    /// The password cannot be read.
    #[snafu(display("failed to read the password of {user} in {}", path.display()))]
    Password {
        /// The account.
        user: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No connection.
    #[snafu(display("failed to connect to the database at {target} as {user}"))]
    Connect {
        /// Host and port, or socket.
        target: String,
        /// The account.
        user: String,
        /// Why.
        source: mysql_async::Error,
    },
    /// The server accepted the connection, or nobody refused it, and then said nothing.
    #[snafu(display("failed to connect to the database at {target}: no answer within {} s", CONNECT_LIMIT.as_secs()))]
    Silent {
        /// Host and port.
        target: String,
    },
    /// A query failed.
    #[snafu(display("failed to {what}"))]
    Query {
        /// What the query is for: never its text, which may hold a password.
        what: String,
        /// Why.
        source: mysql_async::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Password { .. } => Kind::Environment,
            Self::Connect { .. } | Self::Silent { .. } => Kind::NotReady,
            Self::Query { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Password { path, .. } => {
                Some(format!("check that the account's Secret is mounted at {}", path.display()))
            }
            Self::Connect { source: mysql_async::Error::Server(server), user, .. } if server.code == 1045 => {
                Some(format!(
                    "the server knows another password of {user} than the mounted one, or wants TLS"
                ))
            }
            Self::Connect { .. } | Self::Silent { .. } | Self::Query { .. } => None,
        }
    }
}

/// A mounted password; a final newline is not part of it.
pub fn read_password(user: &str, path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path).context(PasswordSnafu { user, path })?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// How to connect to a server.
pub fn options(server: &MysqlServer) -> Result<Opts, Error> {
    let password = read_password(&server.user, &server.password_file)?;
    let mut options = OptsBuilder::default()
        .ip_or_hostname(server.host.clone())
        .tcp_port(server.port)
        .user(Some(server.user.clone()))
        .pass(Some(password))
        // A TCP server is meant; the driver would move on to a socket of that name.
        .prefer_socket(false);
    options = without_questions(options);
    if let Some(trust) = &server.tls {
        let tls = SslOpts::default()
            .with_root_certs(vec![trust.ca.clone().into()])
            .with_disable_built_in_roots(true)
            .with_danger_tls_hostname_override(trust.server_name.clone());
        options = options.ssl_opts(tls);
    }
    Ok(options.into())
}

/// The driver asks the server for these when they are not set; a Galera member outside of a primary component refuses.
fn without_questions(options: OptsBuilder) -> OptsBuilder {
    options.max_allowed_packet(Some(16 * 1024 * 1024)).wait_timeout(Some(28_800))
}

/// Connect to a server.
pub async fn connect(server: &MysqlServer) -> Result<Conn, Error> {
    let target = format!("{}:{}", server.host, server.port);
    match timeout(CONNECT_LIMIT, Conn::new(options(server)?)).await {
        Ok(conn) => conn.context(ConnectSnafu { target, user: &server.user }),
        Err(_) => SilentSnafu { target }.fail(),
    }
}

/// Connect as root through a server's unix socket, where the server knows the caller by its uid.
pub async fn connect_socket(socket: &Path, user: &str) -> Result<Conn, Error> {
    let options = OptsBuilder::default().socket(Some(socket.display().to_string())).user(Some(user));
    let options = without_questions(options);
    Conn::new(options).await.context(ConnectSnafu { target: socket.display().to_string(), user })
}

/// A value as text; an empty one for NULL.
pub fn text(value: Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::NULL => String::new(),
        other => other.as_sql(true).trim_matches('\'').to_owned(),
    }
}

/// The first column of every row, as text.
pub async fn column(conn: &mut Conn, what: &str, query: &str) -> Result<Vec<String>, Error> {
    let rows: Vec<Row> = conn.query(query).await.context(QuerySnafu { what })?;
    Ok(rows.into_iter().filter_map(|row| row.unwrap().into_iter().next().map(text)).collect())
}

/// The first two columns of every row, as a map of text.
pub async fn pairs(conn: &mut Conn, what: &str, query: &str) -> Result<BTreeMap<String, String>, Error> {
    let rows: Vec<Row> = conn.query(query).await.context(QuerySnafu { what })?;
    let pair = |row: Row| {
        let mut values = row.unwrap().into_iter().map(text);
        Some((values.next()?, values.next()?))
    };
    Ok(rows.into_iter().filter_map(pair).collect())
}

pub(super) async fn ask(probe: &MysqlProbe) -> Result<(), super::Error> {
    let mut conn = connect(&probe.server).await?;
    let answers = column(&mut conn, &format!("ask {:?}", probe.query), &probe.query).await?;
    // A connection that ends without a word counts as aborted in the server's log; but a lost goodbye is no failure.
    let _ = conn.disconnect().await;
    let Some(wanted) = &probe.expect else { return Ok(()) };
    let answer =
        answers.first().with_context(|| UnwellSnafu { what: format!("{:?} gave no row", probe.query) })?;
    if answer == wanted {
        return Ok(());
    }
    UnwellSnafu { what: format!("{:?} gave {answer:?}, not {wanted:?}", probe.query) }.fail()
}

/// The status variables that say whether a member takes queries.
const WSREP_STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN \
    ('wsrep_ready', 'wsrep_connected', 'wsrep_cluster_status', 'wsrep_local_state_comment')";

pub(super) async fn ask_wsrep(probe: &WsrepProbe) -> Result<(), super::Error> {
    let mut conn = connect(&probe.server).await?;
    let status = pairs(&mut conn, "ask for the state of Galera", WSREP_STATUS).await?;
    let _ = conn.disconnect().await;
    judge_wsrep(&status, probe.donor_is_good).map_or_else(|what| UnwellSnafu { what }.fail(), Ok)
}

/// Whether a Galera member takes queries, by its status variables.
pub fn judge_wsrep(status: &BTreeMap<String, String>, donor_is_good: bool) -> Result<(), String> {
    let value = |name: &str| status.get(name).map_or("", String::as_str);
    if status.is_empty() {
        return Err("Galera is not loaded: the server has no wsrep status".to_owned());
    }
    let cluster = value("wsrep_cluster_status");
    if cluster != "Primary" {
        return Err(format!(
            "the member is not part of the primary component: wsrep_cluster_status is {cluster:?}"
        ));
    }
    let state = value("wsrep_local_state_comment");
    match state {
        "Synced" => {}
        "Donor/Desynced" if donor_is_good => {}
        _ => {
            return Err(format!(
                "the member does not follow the cluster: wsrep_local_state_comment is {state:?}"
            ));
        }
    }
    if value("wsrep_ready") != "ON" {
        return Err("the member refuses queries: wsrep_ready is not ON".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(cluster: &str, state: &str, ready: &str) -> BTreeMap<String, String> {
        [("wsrep_cluster_status", cluster), ("wsrep_local_state_comment", state), ("wsrep_ready", ready)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn a_synced_member_of_the_primary_component_is_good() {
        assert_eq!(judge_wsrep(&status("Primary", "Synced", "ON"), false), Ok(()));
    }

    #[test]
    fn a_donor_is_good_where_wanted() {
        let donor = status("Primary", "Donor/Desynced", "ON");
        assert_eq!(judge_wsrep(&donor, true), Ok(()));
        assert!(judge_wsrep(&donor, false).unwrap_err().contains("Donor/Desynced"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(judge_wsrep(&BTreeMap::new(), true).unwrap_err().contains("not loaded"));
        assert!(
            judge_wsrep(&status("non-Primary", "Initialized", "OFF"), true)
                .unwrap_err()
                .contains("non-Primary")
        );
        assert!(judge_wsrep(&status("Primary", "Joining", "OFF"), true).unwrap_err().contains("Joining"));
        assert!(judge_wsrep(&status("Primary", "Synced", "OFF"), true).unwrap_err().contains("wsrep_ready"));
    }
}
