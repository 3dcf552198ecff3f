//! Components whose members vote: how many there are stays as it is while they run.

use crate::inputs::Inputs;
use crate::overrides::{ReplicaOwner, replicas, voting_members, wanted};
use crate::problem::Problems;
use crate::select::{cloud_catalog, profile_name};

/// Why the count of members stays.
const REASON: &str = "members that vote join and leave one at a time, each after the one before is seen to be in or out; \
                      this version does not do that yet, and pods alone would split the cluster or lose it";

/// Says so if the resource wants another count of members than runs.
pub(crate) fn problems(inputs: &Inputs<'_>, problems: &mut Problems) {
    // Whatever keeps the catalog from being selected is told elsewhere.
    let Ok(catalog) = cloud_catalog(inputs) else { return };
    for service in catalog.services() {
        for component in &service.components {
            let name = &component.name;
            let Some(members) = voting_members(inputs, component) else { continue };
            let (count, owner) = replicas(inputs, service, component);
            if count == members {
                continue;
            }
            let runs = if members == 1 { "1 member".to_owned() } else { format!("{members} members") };
            let message = format!("{name} runs with {runs} and cannot become {count}: {REASON}");
            let (path, hint) = if owner == ReplicaOwner::Resource {
                let own = wanted(inputs, service, name).next().is_some_and(|own| own.replicas.is_some());
                let under = if own && inputs.spec.services.contains_key(name) { name } else { &service.name };
                (format!("spec.services.{under}.replicas"), format!("write {members}"))
            } else {
                let profile = profile_name(inputs.spec.profile);
                (
                    "spec.profile".to_owned(),
                    format!("{profile} goes with services.{name}.replicas: {members} beside it"),
                )
            };
            problems.add(path, message, hint);
        }
    }
}
