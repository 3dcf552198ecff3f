//! What a declaration refers to.

use std::collections::BTreeMap;

use super::spec::Qualified;
use crate::Secret;

/// What a declaration refers to and does not hold: the caller reads it out of Secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Passwords of users.
    pub passwords: BTreeMap<Qualified, Secret>,
    /// Public keys of keypairs that hold none themselves, by user and keypair name.
    pub public_keys: BTreeMap<(Qualified, String), String>,
}
