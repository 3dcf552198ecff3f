//! What one database needs: a pure function of what is in it and of what the image knows.

use std::collections::BTreeSet;
use std::fmt;

/// The table that is there while a load goes on, and only then: what a service does with all tables of its database
/// (`nova-manage db archive_deleted_rows`) meets its own alone.
pub const MARKER: &str = "oaas_schema_loading";

/// What a database holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Its tables, the marker apart.
    pub tables: BTreeSet<String>,
    /// Was a load begun that did not end?
    pub loading: bool,
    /// The revisions recorded in it, where it has the table for them.
    pub revisions: Option<BTreeSet<String>>,
}

/// What to do with a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is empty: load the snapshot.
    Load,
    /// A load was cut off: drop it, and load again.
    Reload,
    /// Its schema is the image's.
    Done,
    /// Its schema is another one: the service's own migration has to run.
    Migrate {
        /// The revisions in it.
        found: BTreeSet<String>,
        /// The image's.
        wanted: BTreeSet<String>,
    },
    /// It holds tables of unknown making: nothing is touched.
    Foreign {
        /// Some of the tables.
        tables: Vec<String>,
    },
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        match self {
            Self::Load => formatter.write_str("empty: loads the snapshot"),
            Self::Reload => formatter.write_str("a load was cut off: drops it and loads the snapshot again"),
            Self::Done => formatter.write_str("has the image's schema"),
            Self::Migrate { found, wanted } => {
                write!(formatter, "is at revision {}, the image's is {}", list(found), list(wanted))
            }
            Self::Foreign { tables } => {
                write!(formatter, "holds tables without a revision: {}", tables.join(", "))
            }
        }
    }
}

/// Decide by what is in a database and the heads that the image knows.
pub fn decide(found: &Found, heads: &BTreeSet<String>) -> Decision {
    match (found.loading, found.tables.is_empty()) {
        (true, _) => Decision::Reload,
        (false, true) => Decision::Load,
        (false, false) => match &found.revisions {
            Some(revisions) if revisions == heads => Decision::Done,
            Some(revisions) => Decision::Migrate { found: revisions.clone(), wanted: heads.clone() },
            None => Decision::Foreign { tables: found.tables.iter().take(5).cloned().collect() },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    fn found(tables: &[&str], loading: bool, revisions: Option<&[&str]>) -> Found {
        Found { tables: set(tables), loading, revisions: revisions.map(set) }
    }

    #[test]
    fn an_empty_database_is_loaded_and_a_half_loaded_one_again() {
        let heads = set(&["h1"]);
        assert_eq!(decide(&found(&[], false, None), &heads), Decision::Load);
        // Killed between making the marker and the first table, and anywhere later.
        assert_eq!(decide(&found(&[], true, None), &heads), Decision::Reload);
        assert_eq!(decide(&found(&["a"], true, Some(&["h1"])), &heads), Decision::Reload);
    }

    #[test]
    fn revisions_are_compared_as_sets() {
        let heads = set(&["contract", "expand"]);
        assert_eq!(decide(&found(&["a"], false, Some(&["expand", "contract"])), &heads), Decision::Done);
        let older = decide(&found(&["a"], false, Some(&["old"])), &heads);
        assert_eq!(older, Decision::Migrate { found: set(&["old"]), wanted: heads.clone() });
        assert_eq!(older.to_string(), "is at revision old, the image's is contract, expand");
    }

    #[test]
    fn tables_of_unknown_making_are_left_alone() {
        let decision = decide(&found(&["wp_posts"], false, None), &set(&["h1"]));
        assert_eq!(decision, Decision::Foreign { tables: vec!["wp_posts".to_owned()] });
    }
}
