//! What must not be shown.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The secrets there are: Secret's name → key → value.
pub type Credentials = BTreeMap<String, BTreeMap<String, Sensitive<String>>>;

/// Something secret: it can be used, but not printed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Hide it.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Use it. The name is there to be seen in reviews.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}
