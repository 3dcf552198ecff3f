//! Which pods of a cloud may connect to which.

use std::collections::{BTreeMap, BTreeSet};

use crate::blueprint::{Callers, JobPlan};
use crate::resolve::World;

/// The callers of each component with ports.
pub(crate) fn callers(world: &World<'_>, jobs: &BTreeMap<String, JobPlan>) -> BTreeMap<String, Callers> {
    let mut named = world.catalog.callers();
    // The jobs that load databases stand in no catalog file.
    if let Some(database) = world.database_component() {
        let loading = jobs.values().filter(|job| job.loads_database).map(|job| job.name.clone());
        named.entry(database.to_owned()).or_default().extend(loading);
    }
    let apis: BTreeSet<&String> =
        world.services.iter().flat_map(|service| &service.apis).map(|api| &api.component).collect();
    let components = world.services.iter().flat_map(|service| &service.components);
    components
        .filter(|component| !component.ports.is_empty())
        .map(|component| {
            let name = &component.name;
            let callers = if apis.contains(name) {
                Callers::Everyone
            } else {
                Callers::Only(named.remove(name).unwrap_or_default())
            };
            (name.clone(), callers)
        })
        .collect()
}
