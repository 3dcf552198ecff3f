//! Checks that ask a database.

use std::collections::BTreeMap;

use oaas_agent_config::{MysqlProbe, WsrepProbe};
use snafu::OptionExt as _;

use super::error::{Error, UnwellSnafu};
use crate::mysql::{column, connect, pairs};

pub(super) async fn ask(probe: &MysqlProbe) -> Result<(), Error> {
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

pub(super) async fn ask_wsrep(probe: &WsrepProbe) -> Result<(), Error> {
    let mut conn = connect(&probe.server).await?;
    let status = pairs(&mut conn, "ask for the state of Galera", WSREP_STATUS).await?;
    let _ = conn.disconnect().await;
    judge_wsrep(&status, probe.donor_is_good).map_or_else(|what| UnwellSnafu { what }.fail(), Ok)
}

/// Whether a Galera member takes queries, by its status variables.
fn judge_wsrep(status: &BTreeMap<String, String>, donor_is_good: bool) -> Result<(), String> {
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
