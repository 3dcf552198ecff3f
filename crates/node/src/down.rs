//! Taking a cluster down and restoring the host.

use oaas_feedback::Task;

use crate::error::Error;
use crate::host;
use crate::ledger::{Change, Ledger};
use crate::lock::Lock;
use crate::options::{Layout, Options};
use crate::sysctl::{Machine, claimant};

/// What becomes of an instance's files: its keys, its etcd, volumes, images in its store, logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// They stay; the next `up` goes on with them.
    Keep,
    /// They are removed.
    Remove,
}

/// Take a cluster down: undo all changes of the host that its ledger names, processes first.
///
/// Returns what was there and was undone. What fails does not keep the rest from being undone; the first failure is
/// returned in the end, and what it concerns stays in the ledger for the next `down`.
pub async fn down(options: &Options, files: Files, task: &Task) -> Result<Vec<Change>, Error> {
    let layout = options.layout();
    if !layout.root().exists() {
        return Ok(Vec::new());
    }
    let _lock = Lock::take(&layout.lock(), &options.instance)?;
    let mut ledger = Ledger::open(&layout.ledger())?;
    let machine = Machine::default();
    let claimant = claimant(layout.root());

    let mut changes = ledger.changes().to_vec();
    changes.sort();
    let mut undone = Vec::new();
    let mut failure = None;
    for change in changes {
        if matches!(change, Change::Directory { .. }) {
            continue;
        }
        let child = task.child(change.to_string());
        match host::undo(&change, &machine, &claimant).await {
            Ok(there) => {
                ledger.strike(&change)?;
                if there {
                    child.done();
                    undone.push(change);
                } else {
                    child.unchanged();
                }
            }
            Err(error) => {
                child.failed(&error);
                failure.get_or_insert(error);
            }
        }
    }
    if let Some(error) = failure {
        return Err(error.into());
    }
    if files == Files::Remove {
        // The ledger and the lock are in there: last of all.
        undone.extend(remove_files(&layout, task)?);
    }
    Ok(undone)
}

fn remove_files(layout: &Layout, task: &Task) -> Result<Option<Change>, Error> {
    let change = Change::Directory { path: layout.root().to_owned() };
    let child = task.child(change.to_string());
    let removed = child.end_with(crate::files::remove(layout.root()))?;
    // The directory of all instances goes with the last of them, if it is empty.
    let _ = layout.root().parent().map(std::fs::remove_dir);
    Ok(removed.then_some(change))
}
