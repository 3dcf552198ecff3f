//! What a pass found and did.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::key::{Key, Kind};

/// How an item stands after a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It was as declared.
    Unchanged,
    /// It was missing and was made.
    Created,
    /// These fields were not as declared and were set.
    Corrected(Vec<String>),
    /// It cannot be done yet: for this reason.
    Waiting(String),
    /// It cannot be done.
    Failed {
        /// What went wrong.
        message: String,
        /// What to do, where we know.
        hint: Option<String>,
    },
}

/// One item after a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which.
    pub key: Key,
    /// How it stands.
    pub state: State,
    /// The object's id, if there is one; `present` for what has no id of its own.
    pub id: Option<String>,
    /// What is known of it, such as `id`, `status`, `address`.
    pub facts: BTreeMap<String, String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.key)?;
        match &self.state {
            State::Unchanged => formatter.write_str("unchanged"),
            State::Created => formatter.write_str("created"),
            State::Corrected(fields) => write!(formatter, "corrected {}", fields.join(", ")),
            State::Waiting(reason) => write!(formatter, "waits: {reason}"),
            State::Failed { message, .. } => write!(formatter, "failed: {message}"),
        }
    }
}

/// Every item after a pass, in the order in which they were declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The items.
    pub items: Vec<Outcome>,
}

impl Report {
    /// Whether everything is in place.
    pub fn settled(&self) -> bool {
        self.open().next().is_none()
    }

    /// Whether an item is in place.
    pub fn in_place(outcome: &Outcome) -> bool {
        !matches!(outcome.state, State::Waiting(_) | State::Failed { .. })
    }

    /// Whether this pass wrote nothing.
    pub fn untouched(&self) -> bool {
        !self.items.iter().any(|item| matches!(item.state, State::Created | State::Corrected(_)))
    }

    /// Items that wait or failed.
    pub fn open(&self) -> impl Iterator<Item = &Outcome> {
        self.items.iter().filter(|item| !Self::in_place(item))
    }

    /// Items that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Outcome> {
        self.items.iter().filter(|item| matches!(item.state, State::Failed { .. }))
    }

    /// One item by its kind and its path as people write it.
    pub fn find(&self, kind: Kind, name: &str) -> Option<&Outcome> {
        self.items.iter().find(|item| item.key.kind == kind && item.key.name() == name)
    }

    /// What was made by this pass: to be recorded by a caller that keeps a ledger, see
    /// [`Options::recorded`](super::Options).
    pub fn created(&self) -> impl Iterator<Item = &Key> {
        self.items.iter().filter(|item| item.state == State::Created).map(|item| &item.key)
    }
}
