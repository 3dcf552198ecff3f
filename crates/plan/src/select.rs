//! The catalog of the cloud that a resource asks for.

use oaas_api::StorageKind as Wanted;
use oaas_catalog::{CloudCatalog, Facts, SelectError, StorageKind};

use crate::inputs::Inputs;
use crate::overrides::profile_name;

/// Evaluate every condition of the catalog for the cloud that is wanted.
pub(crate) fn cloud_catalog(inputs: &Inputs<'_>) -> Result<CloudCatalog, SelectError> {
    let spec = inputs.spec;
    let switched = spec.services.iter().filter_map(|(name, wanted)| Some((name.as_str(), wanted.enabled?)));
    let storage = match spec.storage.as_ref().map(|storage| storage.kind).unwrap_or_default() {
        Wanted::File => StorageKind::File,
        Wanted::Ceph => StorageKind::Ceph,
        Wanted::Nfs => StorageKind::Nfs,
    };
    inputs.catalog.select(&Facts {
        release: &spec.release,
        profile: profile_name(inputs),
        switched: switched.collect(),
        storage,
    })
}
