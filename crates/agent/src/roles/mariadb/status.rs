//! What a running server says of itself, and what of that is remembered.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{LastView, Position, Serving};

/// The status variables read.
pub const QUERY: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_connected', 'wsrep_cluster_status', \
    'wsrep_local_state_comment', 'wsrep_local_state_uuid', 'wsrep_last_committed', 'wsrep_incoming_addresses')";

/// How many transactions may pass until the position on the volume is brought up to date.
const REFRESH_AFTER: i64 = 10_000;

/// Understand the status variables.
pub fn understand(pairs: &BTreeMap<String, String>) -> Serving {
    let value = |name: &str| pairs.get(name).map_or("", String::as_str);
    let position = value("wsrep_last_committed")
        .parse()
        .ok()
        .map(|seqno| Position { uuid: value("wsrep_local_state_uuid").to_owned(), seqno })
        .filter(Position::is_defined);
    let connected = value("wsrep_connected") == "ON";
    let primary = value("wsrep_cluster_status") == "Primary";
    let state = value("wsrep_local_state_comment");
    let synced = primary && value("wsrep_ready") == "ON" && matches!(state, "Synced" | "Donor/Desynced");
    let members = value("wsrep_incoming_addresses")
        .split(',')
        .filter_map(|address| address.rsplit_once(':').map(|(host, _)| host.to_owned()))
        .collect();
    Serving { connected, primary, synced, position, members }
}

/// The view to remember, if it differs from the remembered one enough to be written.
///
/// A member that only just joins is left out until it is synced: it has taken no writes and holds nothing that another
/// one has not.
pub fn to_remember(
    remembered: Option<&LastView>,
    position: Position,
    view: &BTreeSet<String>,
    synced: &BTreeSet<String>,
) -> Option<LastView> {
    let before = |member: &&String| remembered.is_some_and(|last| last.members.contains(*member));
    let members: BTreeSet<String> =
        view.iter().filter(|member| synced.contains(*member) || before(member)).cloned().collect();
    if members.is_empty() {
        return None;
    }
    let fresh = LastView { position, members };
    match remembered {
        Some(last)
            if last.members == fresh.members
                && last.position.uuid == fresh.position.uuid
                && fresh.position.seqno - last.position.seqno < REFRESH_AFTER =>
        {
            None
        }
        _ => Some(fresh),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6c5cf6fd-c2b1-11ef-8a4e-0242ac110002";

    fn pairs(status: &str, state: &str) -> BTreeMap<String, String> {
        [
            ("wsrep_ready", "ON"),
            ("wsrep_connected", "ON"),
            ("wsrep_cluster_status", status),
            ("wsrep_local_state_comment", state),
            ("wsrep_local_state_uuid", UUID),
            ("wsrep_last_committed", "7"),
            ("wsrep_incoming_addresses", "mariadb-0.db.svc:3306,mariadb-1.db.svc:3306"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn at(seqno: i64) -> Position {
        Position { uuid: UUID.to_owned(), seqno }
    }

    #[test]
    fn the_status_is_understood() {
        let serving = understand(&pairs("Primary", "Synced"));
        let members = names(&["mariadb-0.db.svc", "mariadb-1.db.svc"]);
        assert_eq!(
            serving,
            Serving { connected: true, primary: true, synced: true, position: Some(at(7)), members }
        );
        assert!(!understand(&pairs("Primary", "Joining")).synced);
        assert!(!understand(&pairs("non-Primary", "Synced")).synced);
        assert_eq!(understand(&BTreeMap::new()).position, None);
    }

    #[test]
    fn a_view_is_written_when_it_changes_and_now_and_then() {
        let (two, one) = (names(&["a", "b"]), names(&["a"]));
        let first = to_remember(None, at(1), &two, &one).unwrap();
        assert_eq!(first.members, one, "b only joins");
        assert_eq!(to_remember(Some(&first), at(2), &two, &one), None);
        let second = to_remember(Some(&first), at(2), &two, &two).unwrap();
        assert_eq!(second.members, two);
        // A member that is synced and whose agent does not answer for a moment stays.
        assert_eq!(to_remember(Some(&second), at(3), &two, &one), None);
        assert_eq!(to_remember(Some(&second), at(3), &one, &one).unwrap().members, one);
        assert!(to_remember(Some(&second), at(20_000), &two, &two).is_some());
        assert_eq!(to_remember(None, at(1), &two, &names(&[])), None);
    }
}
