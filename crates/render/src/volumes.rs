//! Claims of persistent volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use oaas_api::names;
use oaas_catalog::WorkloadKind;
use oaas_plan::{Blueprint, Claim, ComponentPlan, Observed, amount_of_bytes, volume_of};

use crate::labels::metadata;

/// The name of the claim of a volume that a deployment's pods share.
pub(crate) fn shared_claim(component: &str, volume: &str) -> String {
    format!("{component}-{volume}")
}

/// The claims that the pods of a deployment share.
pub(crate) fn shared_claims(blueprint: &Blueprint, plan: &ComponentPlan) -> Vec<PersistentVolumeClaim> {
    let claims = plan.claims.iter().map(|(volume, claim)| PersistentVolumeClaim {
        metadata: data(metadata(blueprint, &shared_claim(&plan.name, volume), Some(&plan.name))),
        spec: Some(whole(claim)),
        status: None,
    });
    claims.collect()
}

/// The claims that a stateful set makes for each member.
pub(crate) fn claim_templates(blueprint: &Blueprint, plan: &ComponentPlan) -> Vec<PersistentVolumeClaim> {
    let claims = plan.claims.iter().map(|(volume, claim)| PersistentVolumeClaim {
        // No namespace: a template's claims are in the set's own.
        metadata: data(ObjectMeta { namespace: None, ..metadata(blueprint, volume, Some(&plan.name)) }),
        spec: Some(whole(claim)),
        status: None,
    });
    claims.collect()
}

/// The claims of members that are smaller than they are wanted now, with nothing but their new size: a stateful set makes
/// its members' claims, and never changes them.
pub fn grown(blueprint: &Blueprint, observed: &Observed) -> Vec<PersistentVolumeClaim> {
    let mut found = Vec::new();
    for plan in blueprint.components.values().filter(|plan| plan.kind == WorkloadKind::StatefulSet) {
        for (name, state) in observed.claims.iter().filter(|(_, state)| state.component == plan.name) {
            let wanted = volume_of(&plan.name, name).and_then(|volume| plan.claims.get(volume));
            let Some(wanted) = wanted else { continue };
            if amount_of_bytes(&state.size) < amount_of_bytes(&wanted.size) {
                found.push(PersistentVolumeClaim {
                    metadata: data(metadata(blueprint, name, Some(&plan.name))),
                    spec: Some(PersistentVolumeClaimSpec {
                        resources: Some(room(wanted)),
                        ..PersistentVolumeClaimSpec::default()
                    }),
                    status: None,
                });
            }
        }
    }
    found
}

fn whole(claim: &Claim) -> PersistentVolumeClaimSpec {
    PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".into()]),
        storage_class_name: claim.class.clone(),
        resources: Some(room(claim)),
        ..PersistentVolumeClaimSpec::default()
    }
}

fn room(claim: &Claim) -> VolumeResourceRequirements {
    VolumeResourceRequirements {
        requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(claim.size.clone()))])),
        limits: None,
    }
}

fn data(mut metadata: ObjectMeta) -> ObjectMeta {
    metadata.labels.get_or_insert_default().insert(names::LABEL_DATA.to_owned(), "true".to_owned());
    metadata
}
