//! What pods still need that is desired no more. Pure.
//!
//! A workload goes on making pods from its former template until the newer one has replaced all of them, and pods that end
//! may still read what they were given. So what carries a component's label stays for as long as the component has pods
//! that are not of its newest template.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use oaas_api::names;
use oaas_render::ANNOTATION_PODS;
use serde_json::Value;

use super::desired::{Desired, Key, RUN_PODS};

/// Kinds that pods are given something by.
const GIVE: [&str; 5] = ["ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Secret"];

/// Is it of a kind that pods are given something by?
pub(super) fn gives(key: &Key) -> bool {
    GIVE.contains(&key.kind.as_str())
}

/// Components whose pods may still need what they were made with: those whose workload is not settled, and those with a
/// pod of another template than the newest, or of a workload that is gone.
pub(super) fn unsettled(
    desired: &[Desired],
    held: &[Desired],
    live: impl Fn(&Key) -> Option<Value>,
    pods: &[impl AsRef<Pod>],
) -> BTreeSet<String> {
    let workloads = || desired.iter().filter(|object| RUN_PODS.contains(&object.resource.kind.as_str()));
    // What is held back runs on as it was.
    let mut found: BTreeSet<String> =
        held.iter().filter_map(|object| component(&object.body)).map(str::to_owned).collect();
    for workload in workloads().filter(|object| !object.resource.kind.ends_with("Job")) {
        if !live(&workload.key).is_some_and(|live| settled(&live)) {
            found.insert(component(&workload.body).unwrap_or(&workload.key.name).to_owned());
        }
    }
    for pod in pods.iter().map(AsRef::as_ref) {
        let Some(of) = pod.labels().get(names::LABEL_COMPONENT) else { continue };
        let newest = workloads().filter(|object| component(&object.body) == Some(of)).any(|object| {
            let hash = object.body["metadata"]["annotations"][ANNOTATION_PODS].as_str();
            hash.is_none() || hash == pod.annotations().get(ANNOTATION_PODS).map(String::as_str)
        });
        if !newest {
            found.insert(of.clone());
        }
    }
    found
}

fn component(body: &Value) -> Option<&str> {
    body["metadata"]["labels"][names::LABEL_COMPONENT].as_str()
}

/// Has its controller seen the newest template, and are all its pods of it?
fn settled(live: &Value) -> bool {
    let (metadata, status) = (&live["metadata"], &live["status"]);
    let seen = status["observedGeneration"].as_i64() >= metadata["generation"].as_i64();
    let of = |field: &str| status[field].as_i64().unwrap_or(0);
    let (all, updated) = match live["spec"]["replicas"].as_i64() {
        Some(wanted) => (wanted.max(of("replicas")), of("updatedReplicas")),
        None => (of("desiredNumberScheduled"), of("updatedNumberScheduled")),
    };
    let revisions = (status["currentRevision"].as_str(), status["updateRevision"].as_str());
    seen && updated >= all && revisions.0 == revisions.1
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::apply::desired_one;

    fn set(hash: &str) -> Desired {
        let object: k8s_openapi::api::apps::v1::StatefulSet = serde_json::from_value(json!({
            "metadata": { "name": "db", "labels": { names::LABEL_COMPONENT: "db" }, "annotations": { ANNOTATION_PODS: hash } },
            "spec": { "replicas": 1, "selector": {}, "serviceName": "db", "template": {} },
        }))
        .unwrap();
        desired_one(&object, Some("ns"), &[])
    }

    fn live(updated: i64, revisions: (&str, &str)) -> Value {
        json!({
            "metadata": { "name": "db", "generation": 2 }, "spec": { "replicas": 1 },
            "status": { "observedGeneration": 2, "replicas": 1, "updatedReplicas": updated,
                        "currentRevision": revisions.0, "updateRevision": revisions.1 },
        })
    }

    fn pod(component: &str, hash: &str) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": { "name": "p", "labels": { names::LABEL_COMPONENT: component },
                              "annotations": { ANNOTATION_PODS: hash } },
            }))
            .unwrap(),
        )
    }

    fn found(live: Option<&Value>, pods: &[Arc<Pod>]) -> Vec<String> {
        unsettled(&[set("new")], &[], |_| live.cloned(), pods).into_iter().collect()
    }

    #[test]
    fn a_former_template_keeps_what_it_names() {
        let done = live(1, ("b", "b"));
        assert_eq!(found(Some(&done), &[pod("db", "new")]), [""; 0]);
        assert_eq!(found(None, &[]), ["db"], "not made yet, or made anew");
        assert_eq!(found(Some(&live(0, ("a", "b"))), &[]), ["db"], "the former template makes pods");
        assert_eq!(found(Some(&done), &[pod("db", "old")]), ["db"], "a pod that ends");
        assert_eq!(found(Some(&done), &[pod("gone", "x")]), ["gone"], "a workload that is gone");
    }
}
