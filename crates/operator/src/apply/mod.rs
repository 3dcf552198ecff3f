//! Makes the API server have what is desired, with as few writes as possible.
//!
//! # Flow
//! objects → requests ([`desired()`]) → compared with the newest known state → server-side apply of what differs →
//! deletion of what is ours and no longer desired.
//!
//! # Guarantees
//! - What is as desired is not written, nor compared again before one of both is another: each desired field has its value *and* the annotation holds the hash of all of
//!   them. (The hash alone would miss what others changed; the fields alone would miss one that was taken away.)
//! - `replicas` is never applied by the main field manager; a second one sets it when the object is created and while
//!   it is pinned, and never lets go of it.
//! - Credentials and Jobs are created, never patched. Data is never pruned, nor what pods of a former template need.
//! - One object that cannot be applied stops only the workloads whose pods name it: they stay as they are, with what
//!   their former revision uses.
//! - Nothing is written while the fence is closed.
//!
//! # Caveats
//! Fields that cannot change (a Service's cluster IP) fail with the API server's words, and the object is left as it is.
//! Role bindings, which hold nothing, are made anew; so are stateful sets whose volume templates are others, and their
//! pods run on.

mod desired;
mod in_use;
mod quantity;
mod subset;
mod told;
mod uses;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::core::ApiResource;
use oaas_api::names;
use oaas_feedback::{Explain, Kind};
use oaas_render::{ANNOTATION_LIVE, Objects};
use serde_json::{Value, json};
use snafu::{IntoError, Snafu};

use crate::cache::{Cache, LiveMeta, Watched};
use crate::fence::{Fence, NotLeader};
use crate::metrics::Metrics;
use desired::RUN_PODS;
pub use desired::{ANNOTATION_REPLICAS, Desired, Key, Mode, Replicas, desired, desired_one, hash};
pub use subset::first_difference;
pub use uses::uses;

/// Requests at once. The API server answers one in about 5 ms; more of them only queue there.
const AT_ONCE: usize = 16;
/// Longest wait for the answer to a write; the lease's duration is chosen against it.
const ANSWER: Duration = Duration::from_secs(5);
// A write that began while the lease was surely ours has been answered or given up before somebody else may take it.
const _: () = assert!(ANSWER.as_millis() < crate::leader::MARGIN.as_millis());

/// One write failed.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum WriteError {
    /// The API server refused or did not understand.
    #[snafu(display("failed to {verb} {key}"))]
    Request {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        key: Key,
        /// What the API server or the connection says.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[snafu(display("failed to {verb} {key}: no answer in {} s", ANSWER.as_secs()))]
    NoAnswer {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        key: Key,
    },
    /// Another operator is the leader.
    #[snafu(display("failed to {verb} {key}"))]
    Fenced {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        key: Key,
        /// Why.
        source: NotLeader,
    },
}

impl Explain for WriteError {
    fn kind(&self) -> Kind {
        match self {
            Self::Fenced { source, .. } => source.kind(),
            Self::Request { .. } | Self::NoAnswer { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Fenced { source, .. } => source.hint(),
            Self::Request { .. } if self.code() == Some(403) => {
                Some("`oaas up` gives the operator the rights that it needs".to_owned())
            }
            Self::Request { .. } | Self::NoAnswer { .. } => None,
        }
    }
}

impl WriteError {
    /// The object that was not written.
    pub fn key(&self) -> &Key {
        match self {
            Self::Request { key, .. } | Self::NoAnswer { key, .. } | Self::Fenced { key, .. } => key,
        }
    }

    /// The API server's code for it, if it answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::NoAnswer { .. } | Self::Fenced { .. } => None,
        }
    }

    /// The error and its causes in one line.
    pub fn in_full(&self) -> String {
        match self {
            Self::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => format!("{self}: {}", status.message),
                other => format!("{self}: {other}"),
            },
            Self::NoAnswer { .. } => self.to_string(),
            Self::Fenced { source, .. } => format!("{self}: {source}"),
        }
    }
}

/// Whose objects they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Namespace of the cloud and of all its objects.
    pub namespace: String,
    /// Name of the cloud.
    pub name: String,
    /// Unique id of the `OpenStack` object.
    pub uid: String,
}

impl Owner {
    /// The labels that every object of the cloud carries.
    pub fn labels(&self) -> [(&str, &str); 3] {
        [
            (names::LABEL_MANAGED_BY, names::MANAGED_BY),
            (names::LABEL_CLOUD, &self.name),
            (names::LABEL_OWNER, &self.uid),
        ]
    }
}

/// What an application came to.
#[derive(Debug, Default)]
pub struct Applied {
    /// Objects that were written.
    pub written: Vec<Key>,
    /// How many were as desired already.
    pub unchanged: usize,
    /// Objects that were deleted because nothing desires them any more.
    pub pruned: Vec<Key>,
    /// What failed; the next reconciliation tries it again.
    pub failed: Vec<WriteError>,
    /// Workloads that were left as they are, because something that their pods name could not be applied.
    pub left: Vec<Key>,
}

/// Brings objects about.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    cache: Arc<Cache>,
    fence: Fence,
    metrics: Arc<Metrics>,
    as_desired: Arc<Mutex<BTreeMap<(String, Key), Seen>>>,
}

/// What was compared and found to be as desired: what was desired of an object, and the version that it had.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    hash: String,
    replicas: Replicas,
    recorded: Option<(&'static str, String)>,
    version: u64,
}

impl Applier {
    /// An applier that reads from `cache` and writes while `fence` is open.
    pub fn new(client: Client, cache: Arc<Cache>, fence: Fence, metrics: Arc<Metrics>) -> Self {
        Self { client, cache, fence, metrics, as_desired: Arc::default() }
    }

    /// Applies `objects`; then deletes what carries the owner's labels and is neither in `objects` nor in `held` (what exists and shall
    /// stay as it is for now), nor named by the pods of a workload that could not be applied.
    pub async fn apply(&self, owner: &Owner, objects: &Objects, held: &Objects) -> Applied {
        let labels = owner.labels();
        let all = desired(objects, &owner.namespace, &labels);
        let mut keep: BTreeSet<Key> = all.iter().map(|object| object.key.clone()).collect();
        let held = desired(held, &owner.namespace, &[]);
        keep.extend(held.iter().map(|object| object.key.clone()));
        self.as_desired().retain(|(namespace, key), _| *namespace != owner.namespace || keep.contains(key));
        let mut applied = Applied::default();
        // Pods start when their workload exists, so what they mount and whom they call comes first.
        let (runs, rest): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|object| RUN_PODS.contains(&object.resource.kind.as_str()));
        let workloads = runs.clone();
        let followed: Vec<Desired> =
            rest.iter().filter(|object| told::is_followed(object)).cloned().collect();
        self.bring_all_about(owner, rest, &mut applied).await;
        let broken: BTreeSet<Key> = applied.failed.iter().map(|error| error.key().clone()).collect();
        // With a new template its pods would start from what the object that failed was before.
        let (left, runs): (Vec<_>, Vec<_>) =
            runs.into_iter().partition(|object| !uses(&object.body).is_disjoint(&broken));
        applied.left = left.into_iter().map(|object| object.key).collect();
        self.bring_all_about(owner, runs, &mut applied).await;
        self.metrics.unchanged.inc_by(applied.unchanged as u64);
        let former = applied.failed.iter().map(WriteError::key).chain(&applied.left);
        keep.extend(former.flat_map(|key| self.used_by_live(owner, key)).collect::<Vec<_>>());
        let live = |key: &Key| self.cache.kind(&key.kind)?.live(&owner.namespace, &key.name);
        let pods = self.cache.pods_of(&owner.namespace, &owner.name);
        let unsettled = in_use::unsettled(&workloads, &held, live, &pods);
        let in_use = |key: &Key, meta: &LiveMeta| {
            let component = meta.labels.get(names::LABEL_COMPONENT);
            in_use::gives(key) && component.is_some_and(|component| unsettled.contains(component))
        };
        let superfluous = |_: &dyn Watched, key: &Key, meta: &LiveMeta| {
            !keep.contains(key)
                && !in_use(key, meta)
                && meta.labels.get(names::LABEL_OWNER) == Some(&owner.uid)
                && !outlives(key, meta)
        };
        let (pruned, failed) = self.delete_where(owner, superfluous).await;
        applied.pruned = pruned;
        applied.failed.extend(failed);
        self.tell(owner, &told::untold(&followed, &broken, &pods)).await;
        applied
    }

    /// Has the kubelet look at pods whose files have changed. It comes to look by itself, so one that cannot be told is no
    /// failure.
    async fn tell(&self, owner: &Owner, pods: &[(String, String)]) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &owner.namespace);
        let tell = |(name, content): &(String, String)| {
            let (api, key) = (api.clone(), Key { kind: "Pod".into(), name: name.clone() });
            let body = json!({ "metadata": { "annotations": { ANNOTATION_LIVE: content } } });
            async move {
                let patch = Patch::Merge(&body);
                // What went wrong stands in the log.
                let _ = self.write("tell", &key, api.patch(&key.name, &PatchParams::default(), &patch)).await;
            }
        };
        stream::iter(pods.iter().map(tell)).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// Brings each of `objects` about, several at once, and notes what came of it.
    async fn bring_all_about(&self, owner: &Owner, objects: Vec<Desired>, applied: &mut Applied) {
        let results: Vec<_> = stream::iter(objects)
            .map(|object| async move { (self.bring_about(owner, &object).await, object.key) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (result, key) in results {
            match result {
                Ok(true) => applied.written.push(key),
                Ok(false) => applied.unchanged += 1,
                Err(error) => applied.failed.push(error),
            }
        }
    }

    /// What the pods of a live object name.
    fn used_by_live(&self, owner: &Owner, key: &Key) -> BTreeSet<Key> {
        let live = self.cache.kind(&key.kind).and_then(|kind| kind.live(&owner.namespace, &key.name));
        live.map(|live| uses(&live)).unwrap_or_default()
    }

    /// Deletes everything of a cloud; what holds data only if `data`. Returns what still existed, and what failed.
    pub async fn delete_all(&self, owner: &Owner, data: bool) -> (Vec<Key>, Vec<WriteError>) {
        self.delete_where(owner, |_, key, meta| {
            // Data belongs to the cloud of this name, whichever incarnation made it.
            if outlives(key, meta) { data } else { meta.labels.get(names::LABEL_OWNER) == Some(&owner.uid) }
        })
        .await
    }

    /// Deletes one object, such as a pod that shall be made anew.
    pub async fn delete(
        &self,
        namespace: &str,
        resource: &ApiResource,
        name: &str,
        uid: &str,
    ) -> Result<(), WriteError> {
        let key = Key { kind: resource.kind.clone(), name: name.to_owned() };
        let parameters = DeleteParams::background()
            .preconditions(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let api = self.api(namespace, resource);
        let request = async { api.delete(name, &parameters).await.map(|_| ()) };
        let result = self.write("delete", &key, request).await;
        match result {
            // Gone, or made anew already.
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
            other => other,
        }
    }

    async fn delete_where(
        &self,
        owner: &Owner,
        which: impl Fn(&dyn Watched, &Key, &LiveMeta) -> bool,
    ) -> (Vec<Key>, Vec<WriteError>) {
        let mut doomed = Vec::new();
        // In the opposite order of creation: what runs goes before what it needs.
        for kind in self.cache.kinds().iter().rev() {
            for meta in kind.metas(&owner.namespace, &owner.name) {
                let key = Key { kind: kind.resource().kind.clone(), name: meta.name.clone() };
                if !meta.controlled && which(kind.as_ref(), &key, &meta) {
                    doomed.push((Arc::clone(kind), key, meta));
                }
            }
        }
        let results: Vec<_> = stream::iter(doomed)
            .map(|(kind, key, meta)| async move {
                if !meta.deleting {
                    self.delete(&owner.namespace, kind.resource(), &meta.name, &meta.uid).await?;
                    if !has_finalizers(kind.as_ref(), &owner.namespace, &meta.name) {
                        kind.deleted(&owner.namespace, &meta.name, &meta.uid);
                    }
                }
                Ok(key)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let (mut gone, mut failed) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(key) => gone.push(key),
                Err(error) => failed.push(error),
            }
        }
        (gone, failed)
    }

    /// Whether something was written.
    async fn bring_about(&self, owner: &Owner, object: &Desired) -> Result<bool, WriteError> {
        let Some(kind) = self.cache.kind(&object.resource.kind) else { return Ok(false) };
        let seen = kind.version(&owner.namespace, &object.key.name).map(|version| Seen {
            hash: object.hash.clone(),
            replicas: object.replicas,
            recorded: object.recorded.clone(),
            version,
        });
        let place = (owner.namespace.clone(), object.key.clone());
        let known = |seen: &Seen| self.as_desired().get(&place) == Some(seen);
        if seen.as_ref().is_some_and(known) {
            return Ok(false);
        }
        let live = kind.live(&owner.namespace, &object.key.name);
        let answer = self.write_one(Some(&owner.namespace), object, live.as_ref()).await?;
        let wrote = answer.is_some();
        if let Some(answer) = answer {
            kind.wrote(&answer);
            self.as_desired().remove(&place);
        } else if let Some(seen) = seen {
            self.as_desired().insert(place, seen);
        }
        Ok(wrote)
    }

    fn as_desired(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, Key), Seen>> {
        self.as_desired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one object if it is not as desired in `live`; the answer if something was written.
    pub(crate) async fn write_one(
        &self,
        namespace: Option<&str>,
        object: &Desired,
        live: Option<&Value>,
    ) -> Result<Option<Value>, WriteError> {
        write_one(&self.client, &self.fence, &self.metrics, namespace, object, live).await
    }

    fn api(&self, namespace: &str, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, resource)
    }

    async fn write<T>(
        &self,
        verb: &'static str,
        key: &Key,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, WriteError> {
        write(&self.fence, &self.metrics, verb, key, request).await
    }
}

/// Volumes and whatever is marked outlive their cloud, unless its deletion policy says otherwise.
fn outlives(key: &Key, meta: &LiveMeta) -> bool {
    key.kind == "PersistentVolumeClaim" || meta.labels.contains_key(names::LABEL_DATA)
}

fn has_finalizers(kind: &dyn Watched, namespace: &str, name: &str) -> bool {
    let live = kind.live(namespace, name);
    live.is_some_and(|live| live["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty()))
}

/// What has to be done so that a live object is as desired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    Create,
    Adopt,
    Apply {
        replicas: Option<i64>,
    },
    Scale {
        replicas: i64,
    },
    /// To be deleted and made anew, its pods left as they are.
    Replace,
    /// On its way out: what comes next waits for the end of it.
    Wait,
}

/// The judgement of the engine, pure: what to do about one object.
fn step(object: &Desired, live: Option<&Value>) -> Step {
    let Some(live) = live else {
        return match object.mode {
            Mode::Create => Step::Create,
            Mode::Apply => Step::Apply {
                replicas: match object.replicas {
                    Replicas::Initial(count) | Replicas::Pinned(count) => Some(count),
                    Replicas::None => None,
                },
            },
        };
    };
    if object.mode == Mode::Create {
        // Kept from an earlier cloud of the same name: only its labels follow.
        let labels = json!({ "metadata": { "labels": object.body["metadata"]["labels"] } });
        let same = object.resource.kind == "Job" || first_difference(&labels, live).is_none();
        return if same { Step::Nothing } else { Step::Adopt };
    }
    if live["immutable"] == json!(true) {
        // Named by what is in it, and nobody may change it.
        return Step::Nothing;
    }
    if object.resource.kind == "StatefulSet" && claims_differ(&object.body, live) {
        return if live["metadata"]["deletionTimestamp"].is_null() { Step::Replace } else { Step::Wait };
    }
    let annotations = &live["metadata"]["annotations"];
    let recorded = object.recorded.as_ref().is_none_or(|(name, value)| annotations[*name] == json!(value));
    let replicas = match object.replicas {
        Replicas::Pinned(count) if live["spec"]["replicas"].as_i64() != Some(count) || !recorded => {
            Some(count)
        }
        // Created, but the operator was stopped before it set the count.
        Replicas::Initial(count) if annotations[ANNOTATION_REPLICAS].is_null() => Some(count),
        _ => None,
    };
    if first_difference(&object.body, live).is_some() {
        return Step::Apply { replicas };
    }
    replicas.map_or(Step::Nothing, |replicas| Step::Scale { replicas })
}

/// Whether the claims that a stateful set makes are others: the API server lets nobody change them.
fn claims_differ(body: &Value, live: &Value) -> bool {
    let of = |object: &Value| {
        let claims = object["spec"]["volumeClaimTemplates"].as_array().cloned().unwrap_or_default();
        let claims = claims.into_iter().map(|claim| {
            let (name, spec) = (&claim["metadata"]["name"], &claim["spec"]);
            json!({ "name": name, "class": spec["storageClassName"], "requests": spec["resources"]["requests"] })
        });
        claims.collect::<Value>()
    };
    let (wanted, live) = (of(body), of(live));
    first_difference(&wanted, &live).is_some() || first_difference(&live, &wanted).is_some()
}

/// Writes one object if it is not as desired in `live`.
pub(crate) async fn write_one(
    client: &Client,
    fence: &Fence,
    metrics: &Metrics,
    namespace: Option<&str>,
    object: &Desired,
    live: Option<&Value>,
) -> Result<Option<Value>, WriteError> {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &object.resource),
        None => Api::all_with(client.clone(), &object.resource),
    };
    let (key, name) = (&object.key, object.key.name.as_str());
    let apply = |verb: &'static str, manager: &'static str, body: Value| {
        let parameters = PatchParams::apply(manager).force();
        let api = &api;
        async move {
            write(fence, metrics, verb, key, async {
                api.patch(name, &parameters, &Patch::Apply(body)).await
            })
            .await
        }
    };
    let identity = || json!({ "apiVersion": object.resource.api_version, "kind": object.resource.kind });
    let scale = |count: i64| {
        let mut body = identity();
        body["metadata"] = json!({ "name": name, "annotations": { ANNOTATION_REPLICAS: "set" } });
        if let Some((annotation, value)) = &object.recorded {
            body["metadata"]["annotations"][*annotation] = json!(value);
        }
        body["spec"] = json!({ "replicas": count });
        apply("scale", names::MANAGER_SCALE, body)
    };
    let answer = match step(object, live) {
        Step::Nothing | Step::Wait => return Ok(None),
        Step::Replace => {
            // The pods and their volumes stay, and the new one takes them up: their template is the same.
            let parameters = DeleteParams::orphan();
            let request = async { api.delete(name, &parameters).await.map(|_| ()) };
            write(fence, metrics, "replace", key, request).await?;
            return Ok(None);
        }
        Step::Create => {
            let parameters =
                PostParams { field_manager: Some(names::MANAGER.into()), ..PostParams::default() };
            let body: DynamicObject = match serde_json::from_value(object.body.clone()) {
                Ok(body) => body,
                Err(error) => {
                    return Err(RequestSnafu { verb: "create", key: key.clone() }
                        .into_error(kube::Error::SerdeError(error)));
                }
            };
            match write(fence, metrics, "create", key, api.create(&parameters, &body)).await {
                Ok(answer) => answer,
                // Somebody was faster, or the watch is behind: it exists, and that is all that is wanted.
                Err(error) if error.code() == Some(409) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Step::Adopt => {
            let mut body = identity();
            body["metadata"] = json!({ "name": name, "labels": object.body["metadata"]["labels"] });
            apply("adopt", names::MANAGER, body).await?
        }
        Step::Apply { replicas } => {
            let mut body = object.body.clone();
            if let (None, Some(count), "StatefulSet") = (live, replicas, object.resource.kind.as_str()) {
                // It may take up pods that are there, and with the default of one it would end the others.
                body["spec"]["replicas"] = json!(count);
            }
            let first = apply("apply", names::MANAGER, body).await;
            let answer = match first {
                Err(error) if object.resource.kind == "RoleBinding" && error.code() == Some(422) => {
                    remake(&api, fence, metrics, object).await?
                }
                other => other?,
            };
            match replicas {
                Some(count) => scale(count).await?,
                None => answer,
            }
        }
        Step::Scale { replicas } => scale(replicas).await?,
    };
    Ok(Some(serde_json::to_value(answer).expect("an object that was read as JSON is JSON")))
}

/// What a role binding refers to cannot change; it holds nothing, so it is made anew.
async fn remake(
    api: &Api<DynamicObject>,
    fence: &Fence,
    metrics: &Metrics,
    object: &Desired,
) -> Result<DynamicObject, WriteError> {
    let (key, name) = (&object.key, object.key.name.as_str());
    let parameters = DeleteParams::default();
    write(fence, metrics, "delete", key, async { api.delete(name, &parameters).await.map(|_| ()) }).await?;
    let parameters = PatchParams::apply(names::MANAGER).force();
    write(fence, metrics, "apply", key, api.patch(name, &parameters, &Patch::Apply(&object.body))).await
}

/// Makes one write: behind the fence, with a time limit, counted.
pub(crate) async fn write<T>(
    fence: &Fence,
    metrics: &Metrics,
    verb: &'static str,
    key: &Key,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, WriteError> {
    fence.check().map_err(|source| FencedSnafu { verb, key: key.clone() }.into_error(source))?;
    let result = match tokio::time::timeout(ANSWER, request).await {
        Ok(result) => result.map_err(|source| RequestSnafu { verb, key: key.clone() }.into_error(source)),
        Err(_) => NoAnswerSnafu { verb, key: key.clone() }.fail(),
    };
    metrics.wrote(&key.kind, verb, result.is_ok());
    match &result {
        Ok(_) => tracing::info!(kind = %key.kind, name = %key.name, verb, "wrote"),
        Err(error) => {
            tracing::warn!(kind = %key.kind, name = %key.name, verb, error = %error.in_full(), "write failed");
        }
    }
    result
}

#[cfg(test)]
mod tests;
