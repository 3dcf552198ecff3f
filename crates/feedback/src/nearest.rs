//! The nearest right name.

/// The candidate nearest to `wrong`, when one is near enough to be meant. Case, `-` and `_` count for nothing.
///
/// Every hint that names the nearest right thing takes it from here, so that all judge alike.
pub fn nearest<'a, S: AsRef<str> + ?Sized + 'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a S>,
) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
    let wrong = plain(wrong);
    let limit = (wrong.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(AsRef::as_ref)
        .map(|candidate| (distance(&wrong, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two names; leaving off the end (`repl` for `replicas`, `img` no) counts as one.
fn distance(wrong: &str, right: &str) -> usize {
    if wrong.len() >= 3 && right.starts_with(wrong) { 1 } else { strsim::damerau_levenshtein(wrong, right) }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let names = ["services", "storage", "release", "revision", "replicas", "mechanismDrivers"];
        assert_eq!(nearest("servces", names), Some("services"));
        assert_eq!(nearest("relaese", names), Some("release"));
        assert_eq!(nearest("mechanism_drivers", names), Some("mechanismDrivers"));
        assert_eq!(nearest("repl", names), Some("replicas"));
        assert_eq!(nearest("xyz", names), None);
        assert_eq!(nearest("", names), None);
        let options = ["rabbit_quorum_queue".to_owned(), "rabbit_ha_queues".to_owned(), "ssl".to_owned()];
        assert_eq!(nearest("rabbit_quorum_queues", &options), Some("rabbit_quorum_queue"));
        let components = ["keystone", "nova-api", "nova-compute"];
        assert_eq!(nearest("keyston", components), Some("keystone"));
        assert_eq!(nearest("nova-comptue", components), Some("nova-compute"));
        assert_eq!(nearest("zaqar", components), None);
    }

    #[test]
    fn an_equal_distance_is_decided_by_name() {
        assert_eq!(nearest("bat", ["car", "cat", "bar"]), Some("bar"));
    }
}
