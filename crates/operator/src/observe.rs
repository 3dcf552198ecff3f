//! Everything that is known of one cloud at one moment: the input of all judgement.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ListParams};
use kube::{Client, Resource, ResourceExt};
use oaas_api::{OpenStack, OpenStackComponent, OpenStackSpec, names};
use oaas_feedback::{Explain, Kind};
use oaas_plan::{SecretKey, Sensitive, StorageClasses, UserSecrets};
use serde::de::DeserializeOwned;
use snafu::Snafu;

use crate::actions::Outcome;
use crate::apply::Key;
use crate::cache::Cache;
use crate::ledger::{Ledger, name_of};

/// One cloud at one moment. Objects are those that carry the cloud's label, also of an earlier cloud of its name.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The resource.
    pub cloud: Arc<OpenStack>,
    /// The moment. Judgement takes the time from here alone.
    pub now: Timestamp,
    /// Every other cloud of the cluster.
    pub others: Vec<Arc<OpenStack>>,
    /// The generated objects for status and scale.
    pub components: Vec<Arc<OpenStackComponent>>,
    /// Files without secrets, and the ledger.
    pub config_maps: Vec<Arc<ConfigMap>>,
    /// Credentials and files with secrets.
    pub secrets: Vec<Arc<Secret>>,
    /// What stands in the user's Secrets that the resource refers to.
    pub user_secrets: UserSecrets,
    /// The cluster's storage classes, where the resource says something of volumes.
    pub storage_classes: Option<StorageClasses>,
    /// Services.
    pub services: Vec<Arc<Service>>,
    /// Members of Services, also those that Kubernetes lists itself.
    pub endpoint_slices: Vec<Arc<EndpointSlice>>,
    /// Volumes.
    pub volumes: Vec<Arc<PersistentVolumeClaim>>,
    /// Jobs.
    pub jobs: Vec<Arc<Job>>,
    /// Stateful sets.
    pub stateful_sets: Vec<Arc<StatefulSet>>,
    /// Daemon sets.
    pub daemon_sets: Vec<Arc<DaemonSet>>,
    /// Deployments.
    pub deployments: Vec<Arc<Deployment>>,
    /// Pods.
    pub pods: Vec<Arc<Pod>>,
    /// Every node of the cluster.
    pub nodes: Vec<Arc<Node>>,
    /// Warnings about pods that are not ready, by the pod's name.
    pub warnings: BTreeMap<String, Vec<Warning>>,
    /// What is remembered.
    pub ledger: Ledger,
    /// How the actions asked for so far went, by their key.
    pub outcomes: BTreeMap<String, Outcome>,
    /// What failed when objects were applied the last time.
    pub failures: Vec<Failure>,
}

impl Observed {
    /// A cloud of which nothing is there yet, at the beginning of time.
    pub fn of(cloud: Arc<OpenStack>) -> Self {
        Self {
            cloud,
            now: Timestamp::UNIX_EPOCH,
            others: Vec::new(),
            components: Vec::new(),
            config_maps: Vec::new(),
            secrets: Vec::new(),
            user_secrets: UserSecrets::new(),
            storage_classes: None,
            services: Vec::new(),
            endpoint_slices: Vec::new(),
            volumes: Vec::new(),
            jobs: Vec::new(),
            stateful_sets: Vec::new(),
            daemon_sets: Vec::new(),
            deployments: Vec::new(),
            pods: Vec::new(),
            nodes: Vec::new(),
            warnings: BTreeMap::new(),
            ledger: Ledger::default(),
            outcomes: BTreeMap::new(),
            failures: Vec::new(),
        }
    }
}

/// A warning that Kubernetes gave about a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// In one word, such as `FailedMount`.
    pub reason: String,
    /// In full.
    pub message: String,
    /// How often.
    pub count: i32,
    /// The last time.
    pub last: Option<Timestamp>,
}

/// An object that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub key: Key,
    /// Why, in full.
    pub message: String,
}

/// What the operator adds to what Kubernetes knows.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Warnings by pod.
    pub warnings: BTreeMap<String, Vec<Warning>>,
    /// Outcomes of actions by key.
    pub outcomes: BTreeMap<String, Outcome>,
    /// Failures of the last application.
    pub failures: Vec<Failure>,
    /// Values of the user's Secrets.
    pub user_secrets: UserSecrets,
    /// The storage classes.
    pub storage_classes: Option<StorageClasses>,
}

/// Puts together what the watches have brought. Makes no request.
pub fn observe(cache: &Cache, cloud: &Arc<OpenStack>, now: Timestamp, known: Known) -> Observed {
    let (namespace, name) = (cloud.namespace().unwrap_or_default(), cloud.name_any());
    let config_maps: Vec<Arc<ConfigMap>> = cache.of_cloud(&namespace, &name);
    let ledger = config_maps.iter().find(|map| map.name_any() == name_of(&name));
    let mut others = cache.clouds.state();
    others.retain(|other| other.uid() != cloud.uid());
    others.sort_by_key(|other| (other.creation_timestamp(), other.namespace(), other.name_any()));
    let mut pods = cache.pods_of(&namespace, &name);
    pods.sort_by_key(|pod| pod.name_any());
    let mut nodes = cache.nodes.state();
    nodes.sort_by_key(|node| node.name_any());
    Observed {
        now,
        others,
        components: cache.of_cloud(&namespace, &name),
        secrets: cache.of_cloud(&namespace, &name),
        services: cache.of_cloud(&namespace, &name),
        endpoint_slices: cache.of_cloud(&namespace, &name),
        volumes: cache.of_cloud(&namespace, &name),
        jobs: cache.of_cloud(&namespace, &name),
        stateful_sets: cache.of_cloud(&namespace, &name),
        daemon_sets: cache.of_cloud(&namespace, &name),
        deployments: cache.of_cloud(&namespace, &name),
        pods,
        nodes,
        ledger: Ledger::read(ledger.map(AsRef::as_ref)),
        config_maps,
        warnings: known.warnings,
        outcomes: known.outcomes,
        failures: known.failures,
        user_secrets: known.user_secrets,
        storage_classes: known.storage_classes,
        cloud: Arc::clone(cloud),
    }
}

/// Asking for what the watches would bring did not succeed.
#[derive(Debug, Snafu)]
#[snafu(display("failed to list {what}"))]
pub struct LookError {
    /// What was asked for, such as `Pods`.
    pub what: String,
    /// Why not.
    pub source: kube::Error,
}

impl Explain for LookError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hint(&self) -> Option<String> {
        None
    }
}

/// Asks the API server once for all that [`observe`] puts together, for whoever watches nothing and wants to know what
/// `wanted` would change. A cloud that is not there is taken to be that; definitions that are not installed have no
/// objects.
pub async fn look(client: &Client, wanted: &OpenStack, now: Timestamp) -> Result<Observed, LookError> {
    let (namespace, name) = (wanted.namespace().unwrap_or_default(), wanted.name_any());
    let clouds: Vec<Arc<OpenStack>> = all_of(Api::all(client.clone()), "").await?;
    let (own, others): (Vec<_>, Vec<_>) = clouds
        .into_iter()
        .partition(|one| one.name_any() == name && one.namespace().as_deref() == Some(&namespace));
    let of_cloud = format!("{}={name}", names::LABEL_CLOUD);
    let there = own.into_iter().next().unwrap_or_else(|| Arc::new(wanted.clone()));
    let keys = oaas_plan::secret_keys(&wanted.spec);
    let config_maps: Vec<Arc<ConfigMap>> = in_namespace(client, &namespace, &of_cloud).await?;
    let ledger = config_maps.iter().find(|map| map.name_any() == name_of(&name));
    Ok(Observed {
        now,
        others,
        components: in_namespace(client, &namespace, &of_cloud).await?,
        secrets: in_namespace(client, &namespace, &of_cloud).await?,
        services: in_namespace(client, &namespace, &of_cloud).await?,
        volumes: in_namespace(client, &namespace, &of_cloud).await?,
        jobs: in_namespace(client, &namespace, &of_cloud).await?,
        stateful_sets: in_namespace(client, &namespace, &of_cloud).await?,
        daemon_sets: in_namespace(client, &namespace, &of_cloud).await?,
        deployments: in_namespace(client, &namespace, &of_cloud).await?,
        pods: in_namespace(client, &namespace, &of_cloud).await?,
        nodes: nodes(client).await?,
        ledger: Ledger::read(ledger.map(AsRef::as_ref)),
        user_secrets: user_secrets(client, &namespace, &keys, &UserSecrets::new()).await,
        storage_classes: storage_classes(client, &wanted.spec).await,
        config_maps,
        ..Observed::of(there)
    })
}

/// Nodes by name, as the watches keep them.
async fn nodes(client: &Client) -> Result<Vec<Arc<Node>>, LookError> {
    let mut nodes: Vec<Arc<Node>> = all_of(Api::all(client.clone()), "").await?;
    nodes.sort_by_key(|node| node.name_any());
    Ok(nodes)
}

async fn in_namespace<K>(client: &Client, namespace: &str, labels: &str) -> Result<Vec<Arc<K>>, LookError>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    all_of(Api::namespaced(client.clone(), namespace), labels).await
}

async fn all_of<K>(api: Api<K>, labels: &str) -> Result<Vec<Arc<K>>, LookError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let mut found = match api.list(&ListParams::default().labels(labels)).await {
        Ok(found) => found.items,
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(source) => return Err(LookError { what: K::plural(&()).into_owned(), source }),
    };
    found.sort_by_key(|one| (one.creation_timestamp(), one.name_any()));
    Ok(found.into_iter().map(Arc::new).collect())
}

/// Whether a pod runs and all its containers are ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether a pod ended well, as those of Jobs do.
pub fn is_done(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded")
}

/// Asks for the user's Secrets that a cloud refers to. What is not there is left out; what the API server does not tell
/// stays as it was `before`.
pub async fn user_secrets(
    client: &Client,
    namespace: &str,
    wanted: &BTreeSet<SecretKey>,
    before: &UserSecrets,
) -> UserSecrets {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let names: BTreeSet<&String> = wanted.iter().map(|wanted| &wanted.name).collect();
    let mut found = UserSecrets::new();
    for name in names {
        let keys = wanted.iter().filter(|wanted| wanted.name == *name);
        match api.get_opt(name).await {
            Ok(secret) => {
                let data = secret.and_then(|secret| secret.data).unwrap_or_default();
                found.extend(keys.filter_map(|key| {
                    let text = String::from_utf8_lossy(&data.get(&key.key)?.0).into_owned();
                    // Editors and `echo` end a file with a new line, which nobody means.
                    Some((key.clone(), Sensitive::new(text.trim_end_matches(['\r', '\n']).to_owned())))
                }));
            }
            Err(error) => {
                tracing::warn!(%error, secret = %name, "Secret not read");
                found.extend(keys.filter_map(|key| Some((key.clone(), before.get(key)?.clone()))));
            }
        }
    }
    found
}

/// Asks for the storage classes, if a cloud says something of its volumes. Nothing where the API server does not tell.
pub async fn storage_classes(client: &Client, spec: &OpenStackSpec) -> Option<StorageClasses> {
    let of_storage = spec.storage.as_ref().is_some_and(|said| said.class.is_some() || said.images.is_some());
    if !of_storage && spec.services.values().all(|wanted| wanted.volume.is_none()) {
        return None;
    }
    let api: Api<StorageClass> = Api::all(client.clone());
    match api.list(&ListParams::default()).await {
        Ok(classes) => Some(growing(classes)),
        Err(error) => {
            tracing::warn!(%error, "storage classes not read");
            None
        }
    }
}

/// Whether the volumes of each storage class may grow.
pub fn growing(classes: impl IntoIterator<Item = StorageClass>) -> StorageClasses {
    let grows = |class: StorageClass| (class.name_any(), class.allow_volume_expansion == Some(true));
    classes.into_iter().map(grows).collect()
}

/// Asks for the warnings about pods of a namespace, by the pod's name, newest last.
pub async fn warnings(
    client: &Client,
    namespace: &str,
) -> Result<BTreeMap<String, Vec<Warning>>, kube::Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let wanted = ListParams::default().fields("type=Warning,involvedObject.kind=Pod").limit(500);
    let mut by_pod: BTreeMap<String, Vec<Warning>> = BTreeMap::new();
    for event in api.list(&wanted).await? {
        let times = [
            event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0),
            event.last_timestamp.as_ref().map(|time| time.0),
            event.event_time.as_ref().map(|time| time.0),
        ];
        let count = event.series.as_ref().and_then(|series| series.count).or(event.count).unwrap_or(1);
        by_pod.entry(event.involved_object.name.unwrap_or_default()).or_default().push(Warning {
            reason: event.reason.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
            count,
            last: times.into_iter().flatten().next(),
        });
    }
    for warnings in by_pod.values_mut() {
        warnings.sort_by_key(|warning| warning.last);
    }
    Ok(by_pod)
}
