//! Generations of secrets: which there are, and which one is in use.
//!
//! A Secret's name carries its generation (`db-nova-g2`), and so does an account's (`nova_g2`), so that a second one
//! stands beside the first while whoever uses them goes over. A rotation is nothing but another generation: its Secret
//! is made, its account is ensured by the same work that ensured the first, whoever uses it rolls, and when everything
//! runs with it the former Secret goes, and its account with it. Each step is seen in what is there.

use std::collections::BTreeSet;

use crate::inputs::Inputs;

/// The Secret of a generation.
pub(crate) fn secret_of(base: &str, generation: u32) -> String {
    format!("{base}-g{generation}")
}

/// The generations whose Secrets are there.
pub fn generations(inputs: &Inputs<'_>, base: &str) -> BTreeSet<u32> {
    let prefix = format!("{base}-g");
    let from = inputs.credentials.range(prefix.clone()..);
    from.map_while(|(name, _)| name.strip_prefix(&prefix)).filter_map(|rest| rest.parse().ok()).collect()
}

/// The newest generation: one that is there, or one that is asked for. While two are there, what is asked for waits
/// until everybody has come to the newer one.
pub fn newest(inputs: &Inputs<'_>, base: &str) -> u32 {
    let wish = inputs.spec.rotation.get(base).map_or(1, |wish| wish.0).max(1);
    let there = generations(inputs, base);
    match (there.len(), there.last().copied()) {
        (0, _) | (_, None) => wish,
        (1, Some(only)) => only.max(wish),
        (_, Some(newest)) => newest,
    }
}

/// The generation that is in use: the newest, unless whoever has to know it may not have read it yet.
pub(crate) fn used(inputs: &Inputs<'_>, base: &str) -> u32 {
    let is_read = |generation: &u32| inputs.observed.read_secrets.contains(&secret_of(base, *generation));
    let read = generations(inputs, base).into_iter().rev().find(is_read);
    // Of a new cloud nobody has read anything.
    read.unwrap_or_else(|| newest(inputs, base))
}

/// Every generation whose account is kept: those that are there, and the newest.
pub(crate) fn kept(inputs: &Inputs<'_>, base: &str) -> BTreeSet<u32> {
    let mut kept = generations(inputs, base);
    kept.insert(newest(inputs, base));
    kept
}

/// Former generations whose accounts are kept no longer.
pub(crate) fn retired(inputs: &Inputs<'_>, base: &str) -> impl Iterator<Item = u32> + use<> {
    let kept = kept(inputs, base);
    let newest = kept.last().copied().unwrap_or(1);
    (1..newest).filter(move |generation| !kept.contains(generation))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use oaas_api::OpenStackSpec;
    use oaas_api::openstack::Generation;
    use oaas_catalog::Catalog;

    use super::*;
    use crate::inputs::{CloudId, Observed};
    use crate::sensitive::Credentials;

    /// What is found with these Secrets, this wish, and these Secrets that have been read.
    fn with<T>(secrets: &[&str], wish: u32, read: &[&str], found: impl Fn(&Inputs<'_>) -> T) -> T {
        let catalog = Catalog::built_in().expect("the catalog");
        let mut spec = OpenStackSpec { release: "r".into(), ..OpenStackSpec::default() };
        spec.rotation.insert("db-nova".into(), Generation(wish));
        let credentials: Credentials =
            secrets.iter().map(|name| ((*name).to_owned(), BTreeMap::new())).collect();
        let observed = Observed {
            read_secrets: read.iter().map(|name| (*name).to_owned()).collect(),
            ..Observed::default()
        };
        let cloud = CloudId { name: "c".into(), namespace: "c".into(), uid: "u".into() };
        found(&Inputs {
            cloud: &cloud,
            spec: &spec,
            catalog: &catalog,
            images: &BTreeMap::new(),
            credentials: &credentials,
            user_secrets: None,
            nodes: &[],
            observed: &observed,
        })
    }

    #[test]
    fn the_newest_is_what_is_there_or_asked_for() {
        let newest = |secrets: &[&str], wish| with(secrets, wish, &[], |inputs| newest(inputs, "db-nova"));
        assert_eq!(newest(&[], 1), 1);
        assert_eq!(newest(&["db-nova-g1"], 2), 2);
        assert_eq!(newest(&["db-nova-g1", "db-nova-g10", "db-nova-g9"], 1), 10);
        assert_eq!(newest(&["db-nova-g1", "db-nova-g2"], 3), 2, "one after the other");
        assert_eq!(newest(&["db-nova-api-g7", "db-novax-g3"], 1), 1, "those are others'");
    }

    #[test]
    fn what_nobody_may_have_read_yet_is_not_used() {
        let used = |secrets: &[&str], wish, read: &[&str]| {
            with(secrets, wish, read, |inputs| used(inputs, "db-nova"))
        };
        assert_eq!(used(&["db-nova-g1"], 2, &["db-nova-g1"]), 1, "it is only asked for");
        assert_eq!(used(&["db-nova-g1", "db-nova-g2"], 2, &["db-nova-g1"]), 1);
        assert_eq!(used(&["db-nova-g1", "db-nova-g2"], 2, &["db-nova-g1", "db-nova-g2"]), 2);
        assert_eq!(used(&["db-nova-g1"], 1, &[]), 1, "a new cloud");
        assert_eq!(used(&[], 2, &[]), 2, "the former one is lost");
    }

    #[test]
    fn accounts_are_kept_as_long_as_their_secrets() {
        let retired = |secrets: &[&str], wish| {
            with(secrets, wish, &[], |inputs| retired(inputs, "db-nova").collect::<Vec<_>>())
        };
        assert_eq!(retired(&["db-nova-g1"], 1), [0; 0]);
        assert_eq!(retired(&["db-nova-g1"], 2), [0; 0]);
        assert_eq!(retired(&["db-nova-g2"], 2), [1]);
        assert_eq!(retired(&["db-nova-g2", "db-nova-g4"], 1), [1, 3]);
    }
}
