//! Names, labels and annotations of rendered objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use oaas_api::names;
use oaas_plan::{Blueprint, CloudId};

/// Annotation on workloads and pods: the hash of all that the pods are made from.
pub const ANNOTATION_HASH: &str = "oaas.dev/config-hash";
/// Annotation on workloads and pods: the hash of the pods' whole template, in which the image's closure stands for its
/// reference.
pub const ANNOTATION_PODS: &str = "oaas.dev/pods-hash";
/// Annotation on workloads: the reference of the image that the pods were given.
pub const ANNOTATION_IMAGE: &str = "oaas.dev/image";
/// Annotation on the Secret of files that change under running pods, and on these pods: which content the pod was told of.
/// The kubelet looks at a pod that changes, and at its Secrets, at once; else it does so about once in a minute.
pub const ANNOTATION_LIVE: &str = "oaas.dev/live";
/// Annotation that has the operator put a count of replicas back when it differs; the count itself follows whoever
/// scales, unless the resource sets it.
pub const ANNOTATION_REPLICAS: &str = "oaas.dev/replicas";
/// Annotation on an `OpenStackComponent`, written together with its count: what resource, profile or catalog gave then.
/// A count that differs was set by somebody who scaled.
pub const ANNOTATION_REPLICAS_GIVEN: &str = "oaas.dev/replicas-given";
/// Annotation on workloads, written together with their count: the count that was applied last. A live count that differs
/// was set by somebody directly.
pub const ANNOTATION_REPLICAS_APPLIED: &str = "oaas.dev/replicas-applied";

/// The labels of every object of a cloud.
pub fn labels(cloud: &CloudId, component: Option<&str>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (names::LABEL_CLOUD.to_owned(), cloud.name.clone()),
        (names::LABEL_OWNER.to_owned(), cloud.uid.clone()),
        (names::LABEL_MANAGED_BY.to_owned(), names::MANAGED_BY.to_owned()),
    ]);
    if let Some(component) = component {
        labels.insert(names::LABEL_COMPONENT.to_owned(), component.to_owned());
    }
    labels
}

/// What selects the pods of a component. It never changes, since Kubernetes does not let it change.
pub fn selector(cloud: &CloudId, component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::LABEL_CLOUD.to_owned(), cloud.name.clone()),
        (names::LABEL_COMPONENT.to_owned(), component.to_owned()),
    ])
}

/// The Secret with the configuration files of what is made from the content of that hash. Other content is another
/// Secret, so that a pod that starts again finds what it was made with.
pub fn config_secret(component: &str, hash: &str) -> String {
    format!("config-{component}-{}", &hash[..hash.len().min(10)])
}

/// The Secret with a component's files that change under running pods.
pub(crate) fn live_secret(component: &str) -> String {
    format!("live-{component}")
}

/// Label on the one member of a component that a single-writer Service leads to.
pub(crate) const LABEL_WRITER: &str = "oaas.dev/writer";

pub(crate) fn metadata(blueprint: &Blueprint, name: &str, component: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(blueprint.cloud.namespace.clone()),
        labels: Some(labels(&blueprint.cloud, component)),
        ..ObjectMeta::default()
    }
}

pub(crate) fn label_selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}
