//! What the cluster's objects say about a cloud, in the words of planning. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node as ClusterNode, PersistentVolumeClaim, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use oaas_api::{Reason, names};
use oaas_diagnosis::trouble::gravest;
use oaas_feedback::brief;
use oaas_plan::{ClaimState, ComponentState, JobState, Node, PodsMade};
use oaas_render::{ANNOTATION_HASH, ANNOTATION_IMAGE, ANNOTATION_PODS};

use crate::observe::Observed;

/// The objects of one cloud that say how far it is.
#[derive(Debug, Clone, Default)]
pub struct Workloads {
    /// Its deployments.
    pub deployments: Vec<Deployment>,
    /// Its stateful sets.
    pub stateful_sets: Vec<StatefulSet>,
    /// Its daemon sets.
    pub daemon_sets: Vec<DaemonSet>,
    /// Its jobs.
    pub jobs: Vec<Job>,
}

impl Workloads {
    /// Out of everything that is observed.
    pub fn of(observed: &Observed) -> Self {
        fn all<K: Clone>(objects: &[Arc<K>]) -> Vec<K> {
            objects.iter().map(|object| K::clone(object)).collect()
        }
        Self {
            deployments: all(&observed.deployments),
            stateful_sets: all(&observed.stateful_sets),
            daemon_sets: all(&observed.daemon_sets),
            jobs: all(&observed.jobs),
        }
    }
}

fn name(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

fn hash(metadata: &ObjectMeta) -> Option<String> {
    metadata.annotations.as_ref()?.get(ANNOTATION_HASH).cloned()
}

/// How a workload's pods were made, as its annotations say. The template itself is not asked: what somebody else has
/// put there is put back.
fn pods_made(metadata: &ObjectMeta) -> Option<PodsMade> {
    let annotations = metadata.annotations.as_ref()?;
    let (hash, image) = (annotations.get(ANNOTATION_PODS)?, annotations.get(ANNOTATION_IMAGE)?);
    Some(PodsMade { hash: hash.clone(), image: image.clone() })
}

fn count(value: Option<i32>) -> u32 {
    value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0)
}

/// A workload's status is about the spec only once its controller has seen the newest generation.
pub(super) fn seen(metadata: &ObjectMeta, observed: Option<i64>) -> bool {
    observed.unwrap_or(0) >= metadata.generation.unwrap_or(0)
}

/// How far each workload is, by component.
pub fn components(workloads: &Workloads, troubles: &Troubles) -> BTreeMap<String, ComponentState> {
    let mut found = BTreeMap::new();
    let mut add = |metadata: &ObjectMeta, desired: u32, ready: u32, updated: u32| {
        let name = name(metadata);
        let trouble = if ready < desired || updated < desired { troubles.get(&name).cloned() } else { None };
        let (hash, pods) = (hash(metadata), pods_made(metadata));
        found.insert(name, ComponentState { desired, ready, updated, hash, pods, trouble });
    };
    for object in &workloads.deployments {
        let status = object.status.clone().unwrap_or_default();
        let desired = count(object.spec.replicas.or(Some(1)));
        let current = seen(&object.metadata, status.observed_generation);
        // While it rolls there are pods beyond the wanted number, and a new one that is not ready has replaced nothing yet.
        let unready = count(status.replicas).saturating_sub(count(status.ready_replicas));
        let updated = if current { count(status.updated_replicas).saturating_sub(unready) } else { 0 };
        add(&object.metadata, desired, count(status.ready_replicas), updated);
    }
    for object in &workloads.stateful_sets {
        let status = object.status.clone().unwrap_or_default();
        let desired = count(object.spec.replicas.or(Some(1)));
        let current = seen(&object.metadata, status.observed_generation);
        let updated = if current { count(status.updated_replicas) } else { 0 };
        add(&object.metadata, desired, count(status.ready_replicas), updated);
    }
    for object in &workloads.daemon_sets {
        let status = object.status.clone().unwrap_or_default();
        let current = seen(&object.metadata, status.observed_generation);
        let updated = if current { count(status.updated_number_scheduled) } else { 0 };
        // A daemon set that no node runs yet wants at least one pod: it is not ready by having nothing to do.
        let desired = count(Some(status.desired_number_scheduled)).max(1);
        add(&object.metadata, desired, count(Some(status.number_ready)), updated);
    }
    found
}

/// How far each job is, by the Job's name.
pub fn jobs(workloads: &Workloads, troubles: &Troubles) -> BTreeMap<String, JobState> {
    workloads.jobs.iter().map(|job| (name(&job.metadata), job_state(job, troubles))).collect()
}

/// How what is done again and again ended last, by the job's name.
pub fn scheduled(workloads: &Workloads, troubles: &Troubles) -> BTreeMap<String, JobState> {
    let mut ended: Vec<_> = workloads
        .jobs
        .iter()
        .filter_map(|job| {
            let owner =
                job.metadata.owner_references.iter().flatten().find(|owner| owner.kind == "CronJob")?;
            let state = job_state(job, troubles);
            let began = job.status.as_ref()?.start_time.as_ref().map(|time| time.0);
            (state != JobState::Active).then(|| (began, owner.name.clone(), state))
        })
        .collect();
    ended.sort_by_key(|(began, _, _)| *began);
    ended.into_iter().map(|(_, name, state)| (name, state)).collect()
}

fn job_state(job: &Job, troubles: &Troubles) -> JobState {
    let status = job.status.clone().unwrap_or_default();
    let condition = |kind: &str| {
        let conditions = status.conditions.iter().flatten();
        conditions.clone().find(|condition| condition.type_ == kind && condition.status == "True").cloned()
    };
    if condition("Complete").is_some() || count(status.succeeded) > 0 {
        JobState::Succeeded
    } else if let Some(failed) = condition("Failed") {
        let said = job.metadata.labels.as_ref().and_then(|labels| labels.get(names::LABEL_COMPONENT));
        let why = said.and_then(|component| troubles.get(component)).map(|(_, words)| words.clone());
        JobState::Failed(why.or(failed.message).unwrap_or_else(|| "no reason was given".into()))
    } else {
        JobState::Active
    }
}

/// What is wrong with the pods of each component, the worst of each: a typed reason and words.
pub type Troubles = BTreeMap<String, (Reason, String)>;

/// What is wrong, by component; pods that merely start are not in trouble.
pub fn troubles(observed: &Observed) -> Troubles {
    let nodes = oaas_diagnosis::nodes::unready(observed.nodes.iter().map(AsRef::as_ref));
    let mut pods: BTreeMap<String, Vec<oaas_diagnosis::pods::Pod>> = BTreeMap::new();
    for pod in &observed.pods {
        let component = pod.metadata.labels.as_ref().and_then(|labels| labels.get(names::LABEL_COMPONENT));
        let Some(component) = component else { continue };
        let mut read = oaas_diagnosis::pods::Pod::read(pod);
        let warnings = observed.warnings.get(&read.name).into_iter().flatten();
        read.events = warnings.map(|warning| format!("{}: {}", warning.reason, warning.message)).collect();
        pods.entry(component.clone()).or_default().push(read);
    }
    let worst = |(component, pods): (String, Vec<_>)| {
        let (pod, trouble) = gravest(&pods, &nodes)?;
        let line = trouble.line.map(|line| format!(": {line}")).unwrap_or_default();
        let words = format!("{}: {}{line}", pod.name, trouble.says);
        (trouble.reason != Reason::Starting)
            .then(|| (component, (trouble.reason, brief(&words).into_owned())))
    };
    pods.into_iter().filter_map(worst).collect()
}

/// The cluster's nodes as planning sees them.
pub fn nodes<'a>(nodes: impl Iterator<Item = &'a ClusterNode>) -> Vec<Node> {
    let mut found: Vec<Node> = nodes
        .map(|node| {
            let status = node.status.clone().unwrap_or_default();
            let address = status.addresses.iter().flatten().find(|address| address.type_ == "InternalIP");
            let memory = status.allocatable.as_ref().and_then(|amounts| amounts.get("memory"));
            let annotations = node.metadata.annotations.as_ref();
            Node {
                name: name(&node.metadata),
                labels: node.metadata.labels.clone().unwrap_or_default(),
                address: address.and_then(|address| address.address.parse().ok()),
                interfaces: annotations.and_then(|all| all.get(Node::INTERFACES)).cloned(),
                allocatable_memory_mib: memory.and_then(|memory| kibibytes(&memory.0)).unwrap_or(0) / 1024,
                ready: oaas_diagnosis::nodes::is_ready(node),
            }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// A node's memory; kubelets write it in Ki.
fn kibibytes(amount: &str) -> Option<u64> {
    for (unit, factor) in [("Ki", 1), ("Mi", 1024), ("Gi", 1_048_576)] {
        if let Some(number) = amount.strip_suffix(unit) {
            return number.parse::<u64>().ok().map(|number| number * factor);
        }
    }
    amount.parse::<u64>().ok().map(|bytes| bytes / 1024)
}

/// The claims of volumes: name → what it asks for.
pub fn claims<'a>(claims: impl Iterator<Item = &'a PersistentVolumeClaim>) -> BTreeMap<String, ClaimState> {
    let state = |claim: &PersistentVolumeClaim| {
        let spec = claim.spec.clone()?;
        let size = spec.resources?.requests?.remove("storage")?.0;
        let component = claim.metadata.labels.as_ref()?.get(names::LABEL_COMPONENT)?.clone();
        Some((name(&claim.metadata), ClaimState { component, size, class: spec.storage_class_name }))
    };
    claims.filter_map(state).collect()
}

/// `NodePorts` of a cloud's own Services: `component/port name` → number.
pub fn own_node_ports<'a>(services: impl Iterator<Item = &'a Service>) -> BTreeMap<String, u16> {
    let ports = services.flat_map(|service| {
        let component = name(&service.metadata);
        let ports = service.spec.clone().and_then(|spec| spec.ports).unwrap_or_default();
        ports.into_iter().filter_map(move |port| {
            let number = u16::try_from(port.node_port?).ok()?;
            Some((format!("{component}/{}", port.name.unwrap_or_default()), number))
        })
    });
    ports.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_worst_of_a_component_s_pods_is_its_trouble_and_starting_is_none() {
        let resource = json!({
            "apiVersion": "oaas.dev/v1alpha1", "kind": "OpenStack", "metadata": {"name": "demo", "namespace": "demo"},
            "spec": {"release": "2026.1"},
        });
        let mut observed = Observed::of(Arc::new(serde_json::from_value(resource).expect("a cloud")));
        let mut add = |component: &str, name: &str, container: serde_json::Value| {
            let mut status =
                json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 3});
            status.as_object_mut().expect("a map").extend(container.as_object().expect("a map").clone());
            let labels = json!({names::LABEL_COMPONENT: component});
            let pod = json!({"metadata": {"name": name, "labels": labels}, "status": {"containerStatuses": [status]}});
            observed.pods.push(Arc::new(serde_json::from_value(pod).expect("a pod")));
        };
        add("keystone", "keystone-1", json!({"state": {"running": {}}}));
        add("nova-api", "nova-api-1", json!({"state": {"running": {}}}));
        let wrong = "ImportError: Unable to find 'nothing' driver in 'keystone.token.provider'.";
        let ended = json!({"terminated": {"exitCode": 22, "reason": "Error", "message": wrong}});
        add(
            "nova-api",
            "nova-api-2",
            json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}),
        );
        let found = troubles(&observed);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["nova-api"]);
        let words = format!("nova-api-2: ended 3 times with exit code 22: {wrong}");
        assert_eq!(found["nova-api"], (Reason::CrashLoop, words));
    }

    #[test]
    fn what_is_done_again_is_as_it_ended_last() {
        let job = |name: &str, of: &str, began: &str, condition: &str| -> Job {
            let owner = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": of, "uid": "u"}]);
            let conditions = json!([{"type": condition, "status": "True", "message": "it failed"}]);
            serde_json::from_value(json!({
                "metadata": {"name": name, "ownerReferences": owner},
                "status": {"startTime": began, "conditions": conditions},
            }))
            .expect("a job")
        };
        let jobs = vec![
            job("b-2", "b", "2026-01-02T00:00:00Z", "Complete"),
            job("a-3", "a", "2026-01-03T00:00:00Z", "Suspended"),
            job("a-2", "a", "2026-01-02T00:00:00Z", "Failed"),
            job("a-1", "a", "2026-01-01T00:00:00Z", "Complete"),
            job("b-1", "b", "2026-01-01T00:00:00Z", "Failed"),
        ];
        let found = scheduled(&Workloads { jobs, ..Workloads::default() }, &Troubles::new());
        assert_eq!(found["a"], JobState::Failed("it failed".into()), "the third has not ended");
        assert_eq!(found["b"], JobState::Succeeded);
    }

    #[test]
    fn a_status_of_an_older_generation_does_not_count() {
        let deployment = |observed: i64| -> Deployment {
            serde_json::from_value(json!({
                "metadata": {"name": "d", "generation": 2, "annotations": {ANNOTATION_HASH: "h"}},
                "spec": {"replicas": 1, "selector": {}, "template": {}},
                "status": {"observedGeneration": observed, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
            }))
            .expect("a deployment")
        };
        let state = |observed| {
            let workloads = Workloads { deployments: vec![deployment(observed)], ..Workloads::default() };
            components(&workloads, &Troubles::new())["d"].clone()
        };
        assert_eq!(state(1).updated, 0);
        assert_eq!(state(2).updated, 1);
        assert_eq!(state(2).hash.as_deref(), Some("h"));
    }

    #[test]
    fn a_new_pod_that_is_not_ready_has_replaced_nothing() {
        let state = |replicas: i32, ready: i32| {
            let deployment = serde_json::from_value(json!({
                "metadata": {"name": "d", "generation": 2},
                "spec": {"replicas": 1, "selector": {}, "template": {}},
                "status": {"observedGeneration": 2, "replicas": replicas, "readyReplicas": ready, "updatedReplicas": 1}
            }));
            let workloads =
                Workloads { deployments: vec![deployment.expect("a deployment")], ..Workloads::default() };
            components(&workloads, &Troubles::new())["d"].clone()
        };
        assert_eq!((state(2, 1).ready, state(2, 1).updated), (1, 0));
        assert_eq!((state(1, 1).ready, state(1, 1).updated), (1, 1));
    }
}
