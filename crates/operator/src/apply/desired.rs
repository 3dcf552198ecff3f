//! Typed objects as the requests that make them so.

use std::fmt::Write as _;

use kube::ResourceExt;
use kube::core::ApiResource;
use oaas_api::names;
use oaas_render::objects::{Kind, Visit};
use oaas_render::{ANNOTATION_REPLICAS_APPLIED, ANNOTATION_REPLICAS_GIVEN, Objects};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Annotation about `replicas`. On a desired object `pinned` means [`Replicas::Pinned`] and is not sent; on a live one
/// `set` says that the field manager of replicas has set them once.
pub const ANNOTATION_REPLICAS: &str = "oaas.dev/replicas";

/// Kinds that start pods.
pub(super) const RUN_PODS: [&str; 5] = ["Job", "CronJob", "StatefulSet", "DaemonSet", "Deployment"];

/// Which object: kind and name; the namespace is the cloud's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind, such as `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.kind, self.name)
    }
}

/// How an object is brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Server-side apply whenever it is not as desired.
    Apply,
    /// Created when missing, and never written again: credentials, Jobs.
    Create,
}

/// Whom the count of replicas belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicas {
    /// The object has none.
    None,
    /// Set when the object is created; after that it belongs to whoever scales.
    Initial(i64),
    /// Put back whenever it differs.
    Pinned(i64),
}

/// One object as it shall be.
#[derive(Debug, Clone)]
pub struct Desired {
    /// Which object.
    pub key: Key,
    /// Its API.
    pub resource: ApiResource,
    /// What is applied: without status, without `replicas`, with the hash of all that as an annotation.
    pub body: Value,
    /// The hash in the annotation.
    pub hash: String,
    /// How it is brought about.
    pub mode: Mode,
    /// Its replicas.
    pub replicas: Replicas,
    /// An annotation that is written together with the count, by the same field manager: its name and value.
    pub recorded: Option<(&'static str, String)>,
}

/// Annotations that say something of a count, and are true only together with it.
const RECORDED: [&str; 2] = [ANNOTATION_REPLICAS_APPLIED, ANNOTATION_REPLICAS_GIVEN];

/// Every object as a request, in the order of [`Objects::visit`]. `namespace` and `labels` are put on each.
pub fn desired(objects: &Objects, namespace: &str, labels: &[(&str, &str)]) -> Vec<Desired> {
    let mut collect = Collect { namespace, labels, all: Vec::with_capacity(objects.len()) };
    objects.visit(&mut collect);
    collect.all
}

/// One object as a request, as [`desired`] does for those of a cloud; without a namespace it is of the cluster.
pub fn desired_one<K: Kind>(object: &K, namespace: Option<&str>, labels: &[(&str, &str)]) -> Desired {
    let resource = ApiResource::erase::<K>(&());
    let mut body = serde_json::to_value(object).expect("Kubernetes objects are plain data with text keys");
    let root = body.as_object_mut().expect("a Kubernetes object serialises to an object");
    root.insert("apiVersion".into(), json!(resource.api_version));
    root.insert("kind".into(), json!(resource.kind));
    root.remove("status");
    let name = object.name_any();
    let metadata = root.entry("metadata").or_insert_with(|| json!({}));
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    for (label, value) in labels {
        metadata["labels"][*label] = json!(value);
    }
    let annotations = metadata.as_object_mut().and_then(|metadata| metadata.get_mut("annotations"));
    let take = |annotation: &str| {
        annotations
            .as_ref()
            .and_then(|all| all.get(annotation))
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    let mode = match take(names::ANNOTATION_APPLY).as_deref() {
        Some("create") => Mode::Create,
        _ if resource.kind == "Job" => Mode::Create,
        _ => Mode::Apply,
    };
    let pinned = take(ANNOTATION_REPLICAS).as_deref() == Some("pinned");
    let mut recorded = None;
    if let Some(Value::Object(all)) = annotations {
        all.remove(ANNOTATION_REPLICAS);
        let mut take = |name| Some((name, all.remove(name)?.as_str()?.to_owned()));
        recorded = RECORDED.into_iter().find_map(&mut take);
    }
    let replicas =
        match root.get_mut("spec").and_then(Value::as_object_mut).and_then(|spec| spec.remove("replicas")) {
            Some(Value::Number(count)) if pinned => Replicas::Pinned(count.as_i64().unwrap_or_default()),
            Some(Value::Number(count)) => Replicas::Initial(count.as_i64().unwrap_or_default()),
            _ => Replicas::None,
        };
    encode_string_data(root);
    let hash = hash(&body);
    body["metadata"]["annotations"][names::ANNOTATION_APPLIED] = json!(hash);
    Desired { key: Key { kind: resource.kind.clone(), name }, resource, body, hash, mode, replicas, recorded }
}

struct Collect<'a> {
    namespace: &'a str,
    labels: &'a [(&'a str, &'a str)],
    all: Vec<Desired>,
}

impl Visit for Collect<'_> {
    fn kind<K: Kind>(&mut self, objects: &[K]) {
        self.all.extend(objects.iter().map(|object| desired_one(object, Some(self.namespace), self.labels)));
    }
}

/// `stringData` is write-only: the API server answers with `data`, so `data` is what we send and compare.
fn encode_string_data(root: &mut Map<String, Value>) {
    use base64::Engine as _;
    let Some(Value::Object(texts)) = root.remove("stringData") else { return };
    let data = root.entry("data").or_insert_with(|| json!({}));
    for (key, text) in texts {
        let text = text.as_str().unwrap_or_default();
        data[key] = json!(base64::engine::general_purpose::STANDARD.encode(text));
    }
}

/// Hash of a value that does not depend on the order of its fields.
pub fn hash(value: &Value) -> String {
    fn feed(value: &Value, into: &mut Sha256) {
        match value {
            Value::Object(fields) => {
                let mut sorted: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
                sorted.sort_by_key(|(name, _)| *name);
                into.update(b"{");
                for (name, value) in sorted {
                    into.update(name.as_bytes());
                    into.update(b"\0");
                    feed(value, into);
                }
                into.update(b"}");
            }
            Value::Array(items) => {
                into.update(b"[");
                for item in items {
                    feed(item, into);
                }
                into.update(b"]");
            }
            other => {
                into.update(other.to_string().as_bytes());
                into.update(b"\0");
            }
        }
    }
    let mut hasher = Sha256::new();
    feed(value, &mut hasher);
    let mut text = String::with_capacity(32);
    for byte in hasher.finalize().iter().take(16) {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::api::core::v1::Secret;
    use kube::core::ObjectMeta;

    use super::*;

    fn named(name: &str, annotations: &[(&str, &str)]) -> ObjectMeta {
        let annotations =
            annotations.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<BTreeMap<_, _>>();
        ObjectMeta {
            name: Some(name.into()),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn replicas_are_taken_out_and_say_whom_they_belong_to() {
        let deployment = |annotations: &[(&str, &str)]| Deployment {
            metadata: named("web", annotations),
            spec: DeploymentSpec { replicas: Some(3), ..DeploymentSpec::default() },
            ..Deployment::default()
        };
        let initial = desired_one(&deployment(&[]), Some("ns"), &[]);
        assert_eq!(initial.replicas, Replicas::Initial(3));
        assert!(initial.body["spec"].get("replicas").is_none());
        let pinned = desired_one(&deployment(&[(ANNOTATION_REPLICAS, "pinned")]), Some("ns"), &[]);
        assert_eq!(pinned.replicas, Replicas::Pinned(3));
        assert!(pinned.body["metadata"]["annotations"].get(ANNOTATION_REPLICAS).is_none());
    }

    #[test]
    fn jobs_and_marked_objects_are_created_only() {
        let job = Job { metadata: named("load-1234", &[]), ..Job::default() };
        assert_eq!(desired_one(&job, Some("ns"), &[]).mode, Mode::Create);
        let secret =
            |annotations: &[(&str, &str)]| Secret { metadata: named("s", annotations), ..Secret::default() };
        assert_eq!(desired_one(&secret(&[]), Some("ns"), &[]).mode, Mode::Apply);
        assert_eq!(
            desired_one(&secret(&[(names::ANNOTATION_APPLY, "create")]), Some("ns"), &[]).mode,
            Mode::Create
        );
    }

    #[test]
    fn string_data_becomes_data() {
        let secret = Secret {
            metadata: named("s", &[]),
            string_data: Some(BTreeMap::from([("a".into(), "hello".into())])),
            ..Secret::default()
        };
        let body = desired_one(&secret, Some("ns"), &[("oaas.dev/cloud", "demo")]).body;
        assert_eq!(body["data"]["a"], "aGVsbG8=");
        assert!(body.get("stringData").is_none());
        assert_eq!(body["metadata"]["labels"]["oaas.dev/cloud"], "demo");
        assert_eq!(body["metadata"]["namespace"], "ns");
        assert_eq!((&body["apiVersion"], &body["kind"]), (&json!("v1"), &json!("Secret")));
    }

    #[test]
    fn the_hash_does_not_depend_on_order_but_on_every_value() {
        let a = json!({ "x": 1, "y": ["a", "b"], "z": null });
        assert_eq!(hash(&a), hash(&json!({ "y": ["a", "b"], "x": 1 })));
        assert_ne!(hash(&a), hash(&json!({ "y": ["b", "a"], "x": 1 })));
        assert_ne!(hash(&json!(["ab", "c"])), hash(&json!(["a", "bc"])));
        assert_eq!(hash(&a).len(), 32);
    }
}
