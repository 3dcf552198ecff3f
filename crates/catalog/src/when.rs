//! For which clouds a piece of catalog data holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::release::Release;

/// A condition. All that it says must hold; what it leaves out does not matter.
///
/// Releases are compared by their place in time (`order` in `releases.yaml`), so that names from both of OpenStack's
/// naming schemes compare rightly; both ends are included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The first release it holds for.
    pub since: Option<String>,
    /// The last release it holds for.
    pub until: Option<String>,
    /// Services that the cloud runs, every one of them.
    #[serde(default)]
    pub with: Vec<String>,
    /// Services that the cloud does not run, none of them.
    #[serde(default)]
    pub without: Vec<String>,
    /// The kind of storage of images, volumes and disks.
    pub storage: Option<StorageKind>,
}

/// Kinds of storage, as `spec.storage.kind` has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageKind {
    /// A volume per store, disks on the compute nodes.
    #[default]
    File,
    /// Ceph's block devices.
    Ceph,
    /// An NFS export.
    Nfs,
}

impl StorageKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::File, Self::Ceph, Self::Nfs];
}

/// What conditions are held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    /// The release of the cloud.
    pub release: &'a Release,
    /// All releases.
    pub releases: &'a BTreeMap<String, Release>,
    /// What else is known of the cloud; without it whatever a cloud of this release may be holds.
    pub cloud: Option<(&'a BTreeSet<String>, StorageKind)>,
}

impl When {
    /// Does it hold?
    pub(crate) fn holds(&self, of: &Circumstances<'_>) -> bool {
        let order = |name: &String| of.releases.get(name).map(|release| release.order);
        let since = self.since.as_ref().and_then(order).is_none_or(|since| since <= of.release.order);
        let until = self.until.as_ref().and_then(order).is_none_or(|until| of.release.order <= until);
        since
            && until
            && of.cloud.is_none_or(|(services, storage)| {
                self.with.iter().all(|name| services.contains(name))
                    && !self.without.iter().any(|name| services.contains(name))
                    && self.storage.is_none_or(|wanted| wanted == storage)
            })
    }

    /// The names in it that nothing has: a condition on them would never, or always, hold.
    pub(crate) fn unknown<'a>(
        &'a self,
        releases: &'a BTreeMap<String, Release>,
        services: &'a BTreeSet<String>,
    ) -> impl Iterator<Item = String> + 'a {
        let bounds = self.since.iter().chain(&self.until);
        let no_release = bounds.filter(|name| !releases.contains_key(*name));
        let no_service = self.with.iter().chain(&self.without).filter(|name| !services.contains(*name));
        no_release.map(|name| format!("a condition names the release {name}, which does not exist")).chain(
            no_service.map(|name| format!("a condition names the service {name}, which does not exist")),
        )
    }
}
