//! The server's own accounts, ensured: what is as wanted is not touched, since each change stops the whole cluster for a
//! moment.

use std::collections::BTreeSet;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use snafu::ResultExt as _;
use tracing::info;

use crate::mysql::{Error, QuerySnafu, column, read_password};
use oaas_agent_config::{ServerAccount, ServerAccountKind};

/// What an account may do: the privileges, and what stands behind the name in GRANT.
const fn grant(kind: ServerAccountKind) -> (&'static str, &'static str) {
    match kind {
        ServerAccountKind::Operator => ("ALL PRIVILEGES", " WITH GRANT OPTION"),
        ServerAccountKind::Monitor => ("PROCESS, BINLOG MONITOR", ""),
    }
}

/// Ensure the accounts, and that nobody else came with the installation.
pub async fn ensure(conn: &mut Conn, accounts: &[ServerAccount]) -> Result<(), Error> {
    for account in accounts {
        let password = read_password(&account.user, &account.password_file)?;
        let (privileges, option) = grant(account.kind);
        let wanted = Account { user: &account.user, password: &password };
        wanted.ensure(conn).await?;
        let grant = format!("GRANT {privileges} ON *.* TO {}{option}", wanted.quoted());
        ensure_grant(conn, &wanted, "*.*", &grant).await?;
    }
    let foreign = "SELECT CONCAT(QUOTE(User), '@', QUOTE(Host)) FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost')";
    for name in column(conn, "look for accounts of the installation", foreign).await? {
        info!(target: "oaas_agent", "removes the account {name} that came with the installation");
        let what = format!("remove the account {name}");
        conn.query_drop(format!("DROP USER {name}")).await.context(QuerySnafu { what })?;
    }
    Ok(())
}

/// An account as wanted: from any address, over TLS alone.
pub struct Account<'a> {
    /// Name.
    pub user: &'a str,
    /// Password.
    pub password: &'a str,
}

impl Account<'_> {
    /// `'user'@'%'`.
    pub fn quoted(&self) -> String {
        format!("{}@'%'", quote(self.user))
    }

    /// The account exists with this password, and must use TLS; gives whether something was changed.
    pub async fn ensure(&self, conn: &mut Conn) -> Result<bool, Error> {
        let what = || format!("ensure the account {}", self.quoted());
        // The server's word for "any TLS" is 1.
        let is_right = "SELECT JSON_VALUE(Priv, '$.authentication_string') = PASSWORD(?) AND JSON_VALUE(Priv, '$.ssl_type') <=> '1' \
            FROM mysql.global_priv WHERE User = ? AND Host = '%'";
        let right: Option<Option<bool>> = conn
            .exec_first(is_right, (self.password, self.user))
            .await
            .with_context(|_| QuerySnafu { what: what() })?;
        if right == Some(Some(true)) {
            return Ok(false);
        }
        info!(target: "oaas_agent", "sets the account {}", self.quoted());
        let identity = format!("{} IDENTIFIED BY {} REQUIRE SSL", self.quoted(), quote(self.password));
        for statement in [format!("CREATE USER IF NOT EXISTS {identity}"), format!("ALTER USER {identity}")] {
            conn.query_drop(statement).await.with_context(|_| QuerySnafu { what: what() })?;
        }
        Ok(true)
    }
}

/// The account has a grant: run `grant` unless the server shows one for that object already.
pub async fn ensure_grant(
    conn: &mut Conn,
    account: &Account<'_>,
    object: &str,
    grant: &str,
) -> Result<(), Error> {
    let what = || format!("ensure what {} may do on {object}", account.quoted());
    let shown = column(conn, &what(), &format!("SHOW GRANTS FOR {}", account.quoted())).await?;
    if grants_cover(&shown, grant) {
        return Ok(());
    }
    conn.query_drop(grant).await.with_context(|_| QuerySnafu { what: what() })
}

/// Whether one of the grants shown holds all that is granted: the same object, and every privilege.
fn grants_cover(shown: &[String], grant: &str) -> bool {
    let parts = |text: &str| -> Option<(BTreeSet<String>, String, bool)> {
        let (privileges, rest) = text.strip_prefix("GRANT ")?.split_once(" ON ")?;
        let (object, rest) = rest.split_once(" TO ")?;
        let privileges = privileges.split(", ").map(|name| name.trim().to_owned()).collect();
        Some((privileges, object.to_owned(), rest.contains("WITH GRANT OPTION")))
    };
    let Some((wanted, object, option)) = parts(grant) else { return false };
    shown
        .iter()
        .filter_map(|line| parts(line))
        .any(|(have, on, with)| on == object && wanted.is_subset(&have) && (with || !option))
}

/// An SQL string.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// An SQL name.
pub fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted() {
        assert_eq!(quote(r"it's \"), r"'it\'s \\'");
        assert_eq!(quote_name("a`b"), "`a``b`");
    }

    #[test]
    fn a_grant_that_is_there_is_seen() {
        let shown = [
            "GRANT USAGE ON *.* TO `nova_g1`@`%` IDENTIFIED BY PASSWORD '*0' REQUIRE SSL".to_owned(),
            "GRANT ALL PRIVILEGES ON `nova`.* TO `nova_g1`@`%`".to_owned(),
        ];
        assert!(grants_cover(&shown, "GRANT ALL PRIVILEGES ON `nova`.* TO 'nova_g1'@'%'"));
        assert!(!grants_cover(&shown, "GRANT ALL PRIVILEGES ON `nova_api`.* TO 'nova_g1'@'%'"));
        assert!(!grants_cover(&shown, "GRANT ALL PRIVILEGES ON *.* TO 'nova_g1'@'%' WITH GRANT OPTION"));
        let operator = ["GRANT ALL PRIVILEGES ON *.* TO `op`@`%` IDENTIFIED BY PASSWORD '*0' REQUIRE SSL WITH GRANT OPTION".to_owned()];
        assert!(grants_cover(&operator, "GRANT ALL PRIVILEGES ON *.* TO 'op'@'%' WITH GRANT OPTION"));
        let monitor = ["GRANT PROCESS, BINLOG MONITOR ON *.* TO `m`@`%`".to_owned()];
        assert!(grants_cover(&monitor, "GRANT PROCESS, BINLOG MONITOR ON *.* TO 'm'@'%'"));
        assert!(!grants_cover(&monitor, "GRANT PROCESS, RELOAD ON *.* TO 'm'@'%'"));
    }
}
