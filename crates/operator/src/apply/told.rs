//! Which pods have to be told that files of theirs have changed while they run. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use oaas_api::names;
use oaas_render::ANNOTATION_LIVE;

use super::desired::{Desired, Key};

/// Is it a Secret of files that change under running pods?
pub(super) fn is_followed(object: &Desired) -> bool {
    object.key.kind == "Secret" && object.body["metadata"]["annotations"][ANNOTATION_LIVE].is_string()
}

/// Pods that run and were not told of what a Secret that they follow holds now: their names, and what to tell them. One
/// that is not started yet finds it by itself, and one whose Secret is in `broken` could not be written finds nothing new.
pub(super) fn untold(
    followed: &[Desired],
    broken: &BTreeSet<Key>,
    pods: &[impl AsRef<Pod>],
) -> Vec<(String, String)> {
    let of = |pod: &Pod| {
        let component = pod.labels().get(names::LABEL_COMPONENT)?;
        let object = followed.iter().find(|object| {
            object.body["metadata"]["labels"][names::LABEL_COMPONENT].as_str() == Some(component)
        })?;
        let told = pod.annotations().get(ANNOTATION_LIVE) == Some(&object.hash);
        let runs = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let stays = pod.metadata.deletion_timestamp.is_none();
        let tell = runs && stays && !told && !broken.contains(&object.key);
        tell.then(|| (pod.name_any(), object.hash.clone()))
    };
    pods.iter().filter_map(|pod| of(pod.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Secret;
    use serde_json::json;

    use super::*;
    use crate::apply::desired_one;

    fn secret(text: &str) -> Desired {
        let object: Secret = serde_json::from_value(json!({
            "metadata": { "name": "live-api", "labels": { names::LABEL_COMPONENT: "api" },
                          "annotations": { ANNOTATION_LIVE: "followed" } },
            "stringData": { "api.conf": text },
        }))
        .unwrap();
        desired_one(&object, Some("ns"), &[])
    }

    fn pod(component: &str, phase: &str, told: Option<&str>) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": { "name": "p", "labels": { names::LABEL_COMPONENT: component },
                              "annotations": told.map(|told| json!({ ANNOTATION_LIVE: told })) },
                "status": { "phase": phase },
            }))
            .unwrap(),
        )
    }

    #[test]
    fn a_running_pod_is_told_once_of_each_content() {
        let (before, now) = (secret("a = 1"), secret("a = 2"));
        assert!(is_followed(&now));
        assert_ne!(before.hash, now.hash);
        let untold = |component: &str, phase: &str, told: Option<&str>| {
            !untold(std::slice::from_ref(&now), &BTreeSet::new(), &[pod(component, phase, told)]).is_empty()
        };
        assert!(untold("api", "Running", Some(&before.hash)));
        assert!(untold("api", "Running", None));
        assert!(!untold("api", "Running", Some(&now.hash)));
        assert!(!untold("api", "Pending", None), "it starts with what is there");
        assert!(!untold("other", "Running", None));
    }

    #[test]
    fn a_pod_is_not_told_of_what_could_not_be_written() {
        let now = secret("a = 2");
        let broken = BTreeSet::from([now.key.clone()]);
        assert!(untold(&[now], &broken, &[pod("api", "Running", None)]).is_empty());
    }
}
