//! The persistent volumes of a cloud: how large they are, of which class, and what of that may change.

use std::collections::BTreeMap;

use oaas_catalog::{Component, Service, SizeField, Volume, VolumeSource, WorkloadKind};
use oaas_feedback::nearest;

use crate::inputs::Inputs;
use crate::overrides::{amount, wanted};
use crate::problem::Problems;
use crate::select::cloud_catalog;

/// What one volume of a component asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its size, as Kubernetes writes amounts.
    pub size: String,
    /// Its storage class; the cluster's default where absent.
    pub class: Option<String>,
}

/// What the persistent volumes of a component ask for, by the volume's name.
pub(crate) fn claims(
    inputs: &Inputs<'_>,
    service: &Service,
    component: &Component,
) -> BTreeMap<String, Claim> {
    let class = inputs.spec.storage.as_ref().and_then(|storage| storage.class.clone());
    let persistent = component.pod.volumes.iter().filter_map(|volume| match volume.source {
        VolumeSource::PersistentGib(gib) => Some((volume, gib)),
        _ => None,
    });
    persistent
        .map(|(volume, gib)| {
            let size = said(inputs, service, component, volume).unwrap_or_else(|| format!("{gib}Gi"));
            // A claim that exists keeps its class, whether or not the resource still says it.
            let shared = format!("{}-{}", component.name, volume.name);
            let is =
                inputs.observed.claims.get(&shared).filter(|_| component.kind == WorkloadKind::Deployment);
            let class = is.and_then(|is| is.class.clone()).or_else(|| class.clone());
            (volume.name.clone(), Claim { size, class })
        })
        .collect()
}

/// The size that the resource says.
fn said(inputs: &Inputs<'_>, service: &Service, component: &Component, volume: &Volume) -> Option<String> {
    let own = wanted(inputs, service, &component.name).find_map(|wanted| wanted.volume.clone());
    let of_storage = || {
        let storage = inputs.spec.storage.as_ref()?;
        match volume.sized_by? {
            SizeField::Images => storage.images.clone(),
        }
    };
    own.or_else(of_storage).map(|amount| amount.0)
}

/// The volume that a claim of a stateful set's member is of: `data` of `data-galera-0`.
pub fn volume_of<'a>(component: &str, claim: &'a str) -> Option<&'a str> {
    let (rest, ordinal) = claim.rsplit_once('-')?;
    ordinal.parse::<u32>().ok()?;
    rest.strip_suffix(component)?.strip_suffix('-')
}

/// An amount of bytes as Kubernetes writes it, rounded up; `None` where it is not one.
pub fn amount_of_bytes(text: &str) -> Option<u64> {
    amount(text)
}

/// What of the volumes cannot be done.
pub(crate) fn problems(inputs: &Inputs<'_>, problems: &mut Problems) {
    let storage = inputs.spec.storage.as_ref();
    let class = storage.and_then(|storage| storage.class.as_deref());
    if let (Some(class), Some(known)) = (class, &inputs.observed.storage_classes)
        && !known.contains_key(class)
    {
        let hint = match nearest(class, known.keys()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are: {}", known.keys().cloned().collect::<Vec<_>>().join(", ")),
        };
        problems.add("spec.storage.class", format!("there is no StorageClass {class}"), hint);
    }
    if let Some(images) = storage.and_then(|storage| storage.images.as_ref())
        && amount(&images.0).is_none_or(|bytes| bytes < MEBIBYTE)
    {
        problems.add("spec.storage.images", format!("{images} is not a size"), SIZE_HINT.to_owned());
    }
    let Some(release) = inputs.catalog.releases().get(&inputs.spec.release) else { return };
    let selected = cloud_catalog(inputs);
    for service in selected.iter().flat_map(oaas_catalog::CloudCatalog::services) {
        for component in &service.components {
            of_component(inputs, service, component, problems);
        }
    }
    for (name, wanted) in inputs.spec.services.iter().filter(|(_, wanted)| wanted.volume.is_some()) {
        let path = format!("spec.services.{name}.volume");
        let all = || inputs.catalog.services_of(release);
        let keeps = |component: &Component| !claims_of(component).is_empty();
        let whole = all().filter(|service| service.name == *name);
        let part = all().flat_map(|service| &service.components).filter(|component| component.name == *name);
        let mut of_name = whole.flat_map(|service| &service.components).chain(part);
        if !of_name.any(keeps) {
            let with: Vec<&str> = all()
                .flat_map(|service| &service.components)
                .filter(|component| keeps(component))
                .map(|component| component.name.as_str())
                .collect();
            let hint = format!("take it out; these have volumes: {}", with.join(", "));
            problems.add(path, format!("{name} has no volumes of its own"), hint);
        } else if wanted.volume.as_ref().and_then(|size| amount(&size.0)).is_none_or(|bytes| bytes < MEBIBYTE)
        {
            let size = wanted.volume.as_ref().map(ToString::to_string).unwrap_or_default();
            problems.add(path, format!("{size} is not a size"), SIZE_HINT.to_owned());
        }
    }
}

const MEBIBYTE: u64 = 1 << 20;
const SIZE_HINT: &str = "write it like 10Gi";

fn claims_of(component: &Component) -> Vec<&Volume> {
    let persistent = |volume: &&Volume| matches!(volume.source, VolumeSource::PersistentGib(_));
    component.pod.volumes.iter().filter(persistent).collect()
}

/// What of one component's volumes cannot be done: those that exist never shrink and never change their class.
fn of_component(inputs: &Inputs<'_>, service: &Service, component: &Component, problems: &mut Problems) {
    let name = &component.name;
    let claims = claims(inputs, service, component);
    for volume in claims_of(component) {
        let Some(wanted) = claims.get(&volume.name) else { continue };
        let own = wanted_under(inputs, service, component);
        let path = match (own, volume.sized_by) {
            (Some(under), _) => format!("spec.services.{under}.volume"),
            (None, Some(SizeField::Images)) => "spec.storage.images".to_owned(),
            (None, None) => format!("spec.services.{name}.volume"),
        };
        for (claim, state) in inputs.observed.claims.iter().filter(|(_, state)| state.component == *name) {
            let of_volume = match component.kind {
                WorkloadKind::StatefulSet => volume_of(name, claim) == Some(&volume.name),
                _ => *claim == format!("{name}-{}", volume.name),
            };
            let (Some(is), Some(wants)) = (amount(&state.size), amount(&wanted.size)) else { continue };
            if !of_volume {
                continue;
            }
            if wants < is {
                let message = format!(
                    "{} is less than the {} that {claim} has: a volume never shrinks",
                    wanted.size, state.size
                );
                problems.add(&path, message, format!("write {} or more", state.size));
                break;
            }
            let class = state.class.as_deref();
            if wanted.class.is_some() && wanted.class.as_deref() != class {
                let is = class.unwrap_or("none");
                let message =
                    format!("{claim} has the class {is}: a volume keeps the class that it was made with");
                problems.add("spec.storage.class", message, format!("write {is}, or make a new cloud"));
                break;
            }
            let grows = || {
                let classes = inputs.observed.storage_classes.as_ref()?;
                classes.get(class?).copied()
            };
            if wants > is && grows() == Some(false) {
                let class = class.unwrap_or_default();
                let message = format!(
                    "{claim} has {} of the StorageClass {class}, which does not let volumes grow",
                    state.size
                );
                let hint = format!(
                    "write {}, or let it: kubectl patch storageclass {class} -p '{{\"allowVolumeExpansion\": true}}'",
                    state.size
                );
                problems.add(&path, message, hint);
                break;
            }
        }
    }
}

/// Under which name the resource says the size of a component's volumes.
fn wanted_under<'a>(inputs: &Inputs<'_>, service: &'a Service, component: &'a Component) -> Option<&'a str> {
    let says = |name: &&str| inputs.spec.services.get(*name).is_some_and(|wanted| wanted.volume.is_some());
    [component.name.as_str(), service.name.as_str()].into_iter().find(says)
}

#[cfg(test)]
mod tests {
    use super::volume_of;

    #[test]
    fn a_members_claim_names_its_volume() {
        assert_eq!(volume_of("galera", "data-galera-0"), Some("data"));
        assert_eq!(volume_of("ovn-nb", "data-ovn-nb-12"), Some("data"));
        assert_eq!(volume_of("galera", "galera-data"), None);
        assert_eq!(volume_of("galera", "data-galera-x"), None);
    }
}
