//! For which releases a piece of catalog data holds.

use serde::Deserialize;

use crate::release::Release;

/// A range of releases, both ends included; an absent end is open. Releases are compared by their date of birth
/// (`order` in `releases.yaml`), so that names from both of OpenStack's naming schemes compare rightly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The first release it holds for.
    pub since: Option<String>,
    /// The last release it holds for.
    pub until: Option<String>,
}

impl When {
    /// Does it hold for this release? `order` gives the place of any release's name.
    pub fn holds(&self, release: &Release, order: impl Fn(&str) -> Option<u32>) -> bool {
        let bound = |name: &Option<String>| name.as_deref().map(|name| order(name).unwrap_or(u32::MAX));
        bound(&self.since).is_none_or(|since| since <= release.order)
            && bound(&self.until).is_none_or(|until| release.order <= until)
    }
}
