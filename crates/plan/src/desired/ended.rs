//! A cloud as if every rotation of its secrets had ended, and its database had run.
//!
//! What the operator does of itself — a certificate made anew, a rotation that goes from one generation to the next — changes
//! nothing that anybody wants, so that it is no part of the desired state: nobody is asked to approve it, and what was
//! accepted before stays what it was. A rotation that is asked for is one change, from one generation to another.

use std::collections::BTreeMap;

use crate::credentials::{CredentialKind, CredentialSpec, Credentials, credentials, wish};
use crate::generation::secret_of;
use crate::inputs::{Inputs, Observed};
use crate::sensitive::Sensitive;

/// Secrets and what is observed, as if all that is asked for were done.
pub(super) struct Ended {
    credentials: Credentials,
    observed: Observed,
}

impl Ended {
    /// From what there is.
    pub(super) fn of(inputs: &Inputs<'_>) -> Self {
        let observed = Observed { database_lived: true, ..inputs.observed.clone() };
        let generation =
            |spec: &CredentialSpec| match spec.name.strip_suffix(&format!("-g{}", spec.generation)) {
                Some(base) => secret_of(base, spec.generation.max(wish(inputs, base))),
                None => spec.name.clone(),
            };
        let empty = credentials(inputs).iter().map(|spec| (generation(spec), BTreeMap::new())).collect();
        let named = Self { credentials: empty, observed };
        let specs = credentials(&named.inputs(inputs));
        let credentials: Credentials = specs.iter().map(|spec| (spec.name.clone(), values(spec))).collect();
        let read_secrets = credentials.keys().cloned().collect();
        Self { credentials, observed: Observed { read_secrets, ..named.observed } }
    }

    /// The same of it.
    pub(super) fn inputs<'a>(&'a self, inputs: &Inputs<'a>) -> Inputs<'a> {
        Inputs { credentials: &self.credentials, observed: &self.observed, ..*inputs }
    }
}

/// Values that say which generation it is, and nothing of what is in it.
fn values(spec: &CredentialSpec) -> BTreeMap<String, Sensitive<String>> {
    let value = |key: &str| match (key, &spec.kind) {
        ("username", CredentialKind::Password { username: Some(name) }) => name.clone(),
        _ => format!("{key} of {} in generation {}", spec.name, spec.generation),
    };
    spec.kind.keys().iter().map(|key| ((*key).to_owned(), Sensitive::new(value(key)))).collect()
}
