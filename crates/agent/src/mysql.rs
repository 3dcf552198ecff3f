//! Databases as a client: one connection per use, TLS verified by the cloud's CA, the password from a mounted file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Row, SslOpts, Value};
use oaas_agent_config::MysqlServer;
use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt as _, Snafu};
use tokio::time::timeout;

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

impl Error {
    /// Did the server answer, if only to refuse? Then it lives.
    pub fn is_an_answer(&self) -> bool {
        let (Self::Connect { source, .. } | Self::Query { source, .. }) = self else { return false };
        matches!(source, mysql_async::Error::Server(_))
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
