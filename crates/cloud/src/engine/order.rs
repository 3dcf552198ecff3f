//! The order of need.

use std::collections::{BTreeMap, BTreeSet};

use oaas_feedback::{Explain, Kind as ErrorKind};
use snafu::Snafu;

use super::item::Item;
use super::key::Key;

/// Items that cannot be put in order.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
pub enum OrderError {
    /// Something needs what is not among the items.
    #[snafu(display("failed to plan {by}: it needs {needed}, which is not declared"))]
    Undeclared {
        /// What needs it.
        by: Key,
        /// What is needed.
        needed: Key,
    },
    /// Things need each other.
    #[snafu(display("failed to plan {key}: it needs itself through others"))]
    Cycle {
        /// One of them.
        key: Key,
    },
    /// The same thing is there twice.
    #[snafu(display("failed to plan {key}: it is declared twice"))]
    Twice {
        /// Which.
        key: Key,
    },
}

impl Explain for OrderError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Input
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Undeclared { needed, .. } => format!("declare {needed} in the content"),
            Self::Cycle { .. } => "take one of the references out".to_owned(),
            Self::Twice { .. } => "keep one of the two, or give the other a name of its own".to_owned(),
        })
    }
}

/// The indices of the items, each after all that it needs; otherwise in the order given.
///
/// # Errors
/// A need that is not among the items, a circle, or the same key twice.
pub fn order(items: &[Item]) -> Result<Vec<usize>, OrderError> {
    let mut index = BTreeMap::new();
    for (position, item) in items.iter().enumerate() {
        if index.insert(&item.key, position).is_some() {
            return Err(OrderError::Twice { key: item.key.clone() });
        }
    }
    let mut needs: Vec<BTreeSet<usize>> = Vec::new();
    for item in items {
        let mut positions = BTreeSet::new();
        for needed in item.all_needs() {
            let Some(position) = index.get(&needed) else {
                return Err(OrderError::Undeclared { by: item.key.clone(), needed });
            };
            positions.insert(*position);
        }
        needs.push(positions);
    }
    let mut done = vec![false; items.len()];
    let mut sequence = Vec::with_capacity(items.len());
    while sequence.len() < items.len() {
        let ready = (0..items.len()).find(|at| !done[*at] && needs[*at].iter().all(|need| done[*need]));
        let Some(at) = ready else {
            let stuck = done.iter().position(|done| !done).unwrap_or_default();
            return Err(OrderError::Cycle { key: items[stuck].key.clone() });
        };
        done[at] = true;
        sequence.push(at);
    }
    Ok(sequence)
}
