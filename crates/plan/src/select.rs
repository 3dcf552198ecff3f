//! The catalog of the cloud that a resource asks for.

use oaas_api::{OpenStackSpec, StorageKind as Wanted};
use oaas_catalog::{Catalog, CloudCatalog, Facts, SelectError, StorageKind};

use crate::inputs::Inputs;

/// Evaluate every condition of the catalog for the cloud that is wanted.
pub(crate) fn cloud_catalog(inputs: &Inputs<'_>) -> Result<CloudCatalog, SelectError> {
    catalog_for(inputs.catalog, inputs.spec)
}

/// The catalog of the cloud that a resource describes.
pub(crate) fn catalog_for(catalog: &Catalog, spec: &OpenStackSpec) -> Result<CloudCatalog, SelectError> {
    let switched = spec.services.iter().filter_map(|(name, wanted)| Some((name.as_str(), wanted.enabled?)));
    let storage = match spec.storage.as_ref().map(|storage| storage.kind).unwrap_or_default() {
        Wanted::File => StorageKind::File,
        Wanted::Ceph => StorageKind::Ceph,
        Wanted::Nfs => StorageKind::Nfs,
    };
    catalog.select(&Facts {
        release: &spec.release,
        profile: profile_name(spec.profile),
        switched: switched.collect(),
        storage,
    })
}

/// The name of a profile as the catalog has it.
pub(crate) fn profile_name(profile: oaas_api::Profile) -> &'static str {
    match profile {
        oaas_api::Profile::Tiny => "tiny",
        oaas_api::Profile::Small => "small",
        oaas_api::Profile::Full => "full",
    }
}
