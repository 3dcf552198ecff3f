//! How many of each component there are, and whose word that is. Pure.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::ResourceExt;
use oaas_api::OpenStackComponent;
use oaas_render::{ANNOTATION_REPLICAS_APPLIED, ANNOTATION_REPLICAS_GIVEN};

/// Replica counts that somebody set by scaling: component → count. Scaling the `OpenStackComponent` is the usual way: its
/// count is then another than what resource, profile or catalog gave when it was written. Scaling a deployment directly
/// wins over it, since that is the newer of the two wherever they differ from what was applied last.
pub fn scaled(
    components: &[impl Borrow<OpenStackComponent>],
    deployments: &[Deployment],
) -> BTreeMap<String, u32> {
    let of = |component: &OpenStackComponent| {
        let count = number(component.spec.replicas?)?;
        (recorded(component, ANNOTATION_REPLICAS_GIVEN) != Some(count)).then(|| (component.name_any(), count))
    };
    let mut found: BTreeMap<String, u32> = components.iter().map(Borrow::borrow).filter_map(of).collect();
    for deployment in deployments {
        let live = deployment.spec.replicas.and_then(number);
        if let (Some(applied), Some(live)) = (recorded(deployment, ANNOTATION_REPLICAS_APPLIED), live)
            && applied != live
        {
            found.insert(deployment.name_any(), live);
        }
    }
    found
}

/// What resource, profile or catalog gave each component when its count was written last.
pub fn given(components: &[impl Borrow<OpenStackComponent>]) -> BTreeMap<String, u32> {
    let of = |component: &OpenStackComponent| {
        Some((component.name_any(), recorded(component, ANNOTATION_REPLICAS_GIVEN)?))
    };
    components.iter().map(Borrow::borrow).filter_map(of).collect()
}

/// How many members each stateful set was made with. A live count that differs was set by somebody directly, and is put
/// back.
pub fn members(stateful_sets: &[StatefulSet]) -> BTreeMap<String, u32> {
    let of = |set: &StatefulSet| {
        let live = || set.spec.replicas.and_then(number);
        Some((set.name_any(), recorded(set, ANNOTATION_REPLICAS_APPLIED).or_else(live)?))
    };
    stateful_sets.iter().filter_map(of).collect()
}

fn recorded<K: ResourceExt>(object: &K, annotation: &str) -> Option<u32> {
    object.annotations().get(annotation)?.parse().ok()
}

fn number(count: i32) -> Option<u32> {
    u32::try_from(count).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn component(name: &str, replicas: i32, given: Option<&str>) -> OpenStackComponent {
        let annotations = given.map(|given| json!({ ANNOTATION_REPLICAS_GIVEN: given }));
        serde_json::from_value(json!({
            "apiVersion": "oaas.dev/v1alpha1", "kind": "OpenStackComponent",
            "metadata": { "name": name, "annotations": annotations },
            "spec": { "cloud": "demo", "component": name, "replicas": replicas },
        }))
        .expect("a component")
    }

    fn workload(name: &str, replicas: i32, applied: Option<&str>) -> Value {
        let annotations = applied.map(|applied| json!({ ANNOTATION_REPLICAS_APPLIED: applied }));
        json!({
            "metadata": { "name": name, "annotations": annotations },
            "spec": { "replicas": replicas, "selector": {}, "serviceName": name, "template": {} },
        })
    }

    #[test]
    fn the_operators_own_counts_are_nobodys_scale() {
        let components = [
            component("own", 1, Some("1")),
            component("scaled", 3, Some("1")),
            component("unknown", 3, None),
            component("directly", 2, Some("1")),
        ];
        let deployments = [workload("own", 1, Some("1")), workload("directly", 5, Some("1"))];
        let deployments = deployments.map(|one| serde_json::from_value(one).expect("a deployment"));
        let found = scaled(&components, &deployments);
        let wanted =
            [("directly", 5), ("scaled", 3), ("unknown", 3)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(found, BTreeMap::from(wanted));
    }

    #[test]
    fn members_are_those_that_the_operator_made() {
        let sets = [workload("a", 1, Some("3")), workload("b", 5, None)];
        let sets = sets.map(|one| serde_json::from_value(one).expect("a stateful set"));
        assert_eq!(members(&sets), BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 5)]));
    }
}
