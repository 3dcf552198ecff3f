//! Everything that is known of one cloud at one moment: the input of all judgement.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use oaas_api::{OpenStack, OpenStackComponent};

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
        cloud: Arc::clone(cloud),
    }
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
