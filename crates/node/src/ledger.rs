//! What was changed on the host, written down before each change, so that `down` can undo it after any crash.
//!
//! # Guarantees
//! A change is in the ledger before it is made and until it is undone. So a change in the ledger may not have been
//! made (the process was killed in between): undoing it then finds nothing to undo.

use std::fmt;
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};

use crate::files::{self, Access, FileError};
use crate::instance::Node;
use crate::options::Options;

/// The ledger could not be read or written.
#[derive(Debug, Snafu)]
pub enum LedgerError {
    /// The file itself.
    #[snafu(display("failed to keep the ledger of host changes"))]
    Keep {
        /// Why.
        source: FileError,
    },
    /// Its content.
    #[snafu(display("failed to understand the ledger of host changes {}", path.display()))]
    Understand {
        /// Where it lies.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Explain for LedgerError {
    fn kind(&self) -> Kind {
        match self {
            Self::Keep { source } => source.kind(),
            Self::Understand { .. } => Kind::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Keep { source } => source.hint(),
            Self::Understand { path, .. } => Some(format!(
                "it was written by another version or damaged; move {} away, then `oaas up` and `oaas down` once",
                path.display()
            )),
        }
    }
}

/// One change to the host. Ordered as they are undone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "change")]
pub enum Change {
    /// The processes of a node, all below its first one.
    Processes {
        /// The node.
        node: Node,
        /// The file that says which process is the first one.
        file: PathBuf,
    },
    /// A table of nftables, family `ip`.
    Table {
        /// Its name.
        name: String,
    },
    /// A named network namespace.
    NetworkNamespace {
        /// Its name in `/run/netns`.
        name: String,
    },
    /// A mount.
    Mount {
        /// Where.
        path: PathBuf,
    },
    /// A network link.
    Link {
        /// Its name.
        name: String,
    },
    /// A cgroup and all below it.
    Cgroup {
        /// Its directory.
        path: PathBuf,
    },
    /// A kernel setting of the whole machine.
    Sysctl {
        /// Its name with dots, such as `net.ipv4.ip_forward`.
        key: String,
        /// What it was before any instance changed it.
        was: String,
        /// What it was set to.
        is: String,
    },
    /// A kernel module that was loaded.
    Module {
        /// Its name.
        name: String,
    },
    /// A directory with its files: data, keys, logs.
    Directory {
        /// Where.
        path: PathBuf,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processes { node, .. } => write!(f, "processes of {node}"),
            Self::Table { name } => write!(f, "nftables table ip {name}"),
            Self::NetworkNamespace { name } => write!(f, "network namespace {name}"),
            Self::Mount { path } => write!(f, "mount {}", path.display()),
            Self::Link { name } => write!(f, "link {name}"),
            Self::Cgroup { path } => write!(f, "cgroup {}", path.display()),
            Self::Sysctl { key, was, is } => write!(f, "sysctl {key} = {is} (was {was})"),
            Self::Module { name } => write!(f, "kernel module {name}"),
            Self::Directory { path } => write!(f, "directory {}", path.display()),
        }
    }
}

/// The changes of one instance, kept in a file.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    changes: Vec<Change>,
}

impl Ledger {
    /// Open the ledger at this path; it is empty if the file does not exist.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let changes = match files::read_if_there(path).context(KeepSnafu)? {
            Some(text) => serde_json::from_str(&text).context(UnderstandSnafu { path })?,
            None => Vec::new(),
        };
        Ok(Self { path: path.to_owned(), changes })
    }

    /// All changes, in the order they were made.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Write down changes that are about to be made. Those written down already are not repeated; of a setting the
    /// first old value stays.
    pub fn record(&mut self, changes: impl IntoIterator<Item = Change>) -> Result<(), LedgerError> {
        let before = self.changes.len();
        for change in changes {
            if !self.changes.iter().any(|known| same_object(known, &change)) {
                self.changes.push(change);
            }
        }
        if self.changes.len() > before { self.save() } else { Ok(()) }
    }

    /// Strike out a change that was undone.
    pub fn strike(&mut self, change: &Change) -> Result<(), LedgerError> {
        let before = self.changes.len();
        self.changes.retain(|known| known != change);
        if self.changes.len() < before { self.save() } else { Ok(()) }
    }

    fn save(&self) -> Result<(), LedgerError> {
        let text = serde_json::to_vec_pretty(&self.changes).context(UnderstandSnafu { path: &self.path })?;
        files::write(&self.path, &text, Access::Public).context(KeepSnafu)?;
        Ok(())
    }
}

fn same_object(a: &Change, b: &Change) -> bool {
    match (a, b) {
        (Change::Sysctl { key: a, .. }, Change::Sysctl { key: b, .. }) => a == b,
        _ => a == b,
    }
}

/// What is changed on the host for an instance, as its ledger has it.
pub fn host_changes(options: &Options) -> Result<Vec<Change>, LedgerError> {
    let path = options.layout().ledger();
    if !path.exists() {
        return Ok(Vec::new());
    }
    Ok(Ledger::open(&path)?.changes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysctl(was: &str) -> Change {
        Change::Sysctl { key: "net.ipv4.ip_forward".into(), was: was.into(), is: "1".into() }
    }

    #[test]
    fn the_first_old_value_of_a_setting_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.json");
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.record([sysctl("0")]).unwrap();
        ledger.record([sysctl("1"), Change::Link { name: "a".into() }]).unwrap();
        let again = Ledger::open(&path).unwrap();
        assert_eq!(again.changes(), [sysctl("0"), Change::Link { name: "a".into() }]);
    }

    #[test]
    fn what_is_undone_is_struck_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.json");
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.record([sysctl("0")]).unwrap();
        ledger.strike(&sysctl("0")).unwrap();
        assert!(Ledger::open(&path).unwrap().changes().is_empty());
    }

    #[test]
    fn a_damaged_ledger_is_named_with_a_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.json");
        std::fs::write(&path, "[{").unwrap();
        let error = Ledger::open(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(error.hint().unwrap().contains("ledger.json"));
    }

    #[test]
    fn undoing_goes_from_processes_to_directories() {
        let mut changes = [
            Change::Directory { path: "/s".into() },
            Change::Link { name: "b".into() },
            Change::NetworkNamespace { name: "n".into() },
            sysctl("0"),
            Change::Processes { node: Node::FIRST, file: "/p".into() },
        ];
        changes.sort();
        let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "processes of node1",
                "network namespace n",
                "link b",
                "sysctl net.ipv4.ip_forward = 1 (was 0)",
                "directory /s"
            ]
        );
    }
}
