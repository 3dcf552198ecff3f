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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::key::Kind;
    use crate::identity::bare;

    fn item(name: &str, needs: &[&str]) -> Item {
        let key = |name: &str| Key::new(Kind::Network, [name]);
        Item { needs: needs.iter().map(|name| key(name)).collect(), ..bare(key(name)) }
    }

    #[test]
    fn each_comes_after_what_it_needs_and_otherwise_in_the_order_given() {
        assert_eq!(order(&[item("a", &["c"]), item("b", &[]), item("c", &["b"])]), Ok(vec![1, 2, 0]));
    }

    #[test]
    fn what_cannot_be_ordered_is_named() {
        let said = |items: &[Item]| order(items).map_err(|error| error.to_string());
        assert_eq!(
            said(&[item("a", &["b"])]),
            Err("failed to plan network a: it needs network b, which is not declared".to_owned())
        );
        assert_eq!(
            said(&[item("a", &["b"]), item("b", &["a"])]),
            Err("failed to plan network a: it needs itself through others".to_owned())
        );
        assert_eq!(
            said(&[item("a", &[]), item("a", &[])]),
            Err("failed to plan network a: it is declared twice".to_owned())
        );
    }
}
