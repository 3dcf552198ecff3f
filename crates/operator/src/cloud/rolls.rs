//! The nodes' own workloads as [`oaas_plan::roll`] looks at them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use oaas_catalog::Need;
use oaas_plan::{ComponentPlan, Node, NodePod, NodeWorkload};
use oaas_render::ANNOTATION_PODS;

use super::facts::seen;
use crate::brain::Doomed;
use crate::observe::{Observed, is_ready};

/// The pods that are made anew now. `wanted` are the daemon sets as they are applied, made from these
/// components.
pub fn rolls(
    observed: &Observed,
    wanted: &[DaemonSet],
    components: &BTreeMap<String, ComponentPlan>,
    nodes: &[Node],
) -> Vec<Doomed> {
    let carries = |name: &String| {
        let on_nodes = wanted.iter().filter_map(|other| components.get(&other.name_any()));
        on_nodes
            .flat_map(|other| &other.needs)
            .any(|need| matches!(need, Need::Ready(needed) if needed == name))
    };
    let workloads: Vec<NodeWorkload> = wanted
        .iter()
        .filter_map(|wanted| {
            let live = observed.daemon_sets.iter().find(|live| live.name_any() == wanted.name_any())?;
            let status = live.status.as_ref()?;
            let hash = settled(live.as_ref(), wanted, status.observed_generation)?;
            let carries = carries(&live.name_any());
            let found = workload(observed, live, hash, status.desired_number_scheduled, nodes);
            Some(NodeWorkload { carries, ..found })
        })
        .collect();
    oaas_plan::roll(&workloads).into_iter().map(|pod| doomed(pod.name.clone(), pod.uid.clone())).collect()
}

/// Members' pods that no program runs in and that were made from an older template: their controller waits for ever for
/// them to become ready before it takes the newer one (kubernetes/kubernetes issue 67250), so that what was wrong with a
/// resource would stay wrong after it was mended. Nothing is lost with them; their volumes stay.
pub fn stuck(observed: &Observed, wanted: &[StatefulSet]) -> Vec<Doomed> {
    let of = |wanted: &StatefulSet| -> Option<Vec<Doomed>> {
        let live = observed.stateful_sets.iter().find(|live| live.name_any() == wanted.name_any())?;
        let hash = settled(live.as_ref(), wanted, live.status.as_ref()?.observed_generation)?;
        let is_stuck = |pod: &&Pod| {
            pod.annotations().get(ANNOTATION_PODS).map(String::as_str) != Some(hash)
                && pod.metadata.deletion_timestamp.is_none()
                && !runs(pod)
        };
        let stuck = pods_of(observed, live.uid()?).filter(is_stuck);
        Some(stuck.map(|pod| doomed(pod.name_any(), pod.uid().unwrap_or_default())).collect())
    };
    wanted.iter().filter_map(of).flatten().collect()
}

/// The hash of the template that new pods get, once it is applied and its controller has seen it: until then a deleted
/// pod would only come back as it was.
fn settled<'a, K: ResourceExt>(live: &K, wanted: &'a K, observed_generation: Option<i64>) -> Option<&'a str> {
    let hash = wanted.annotations().get(ANNOTATION_PODS)?;
    let same = live.annotations().get(ANNOTATION_PODS) == Some(hash);
    (same && seen(live.meta(), observed_generation)).then_some(hash)
}

/// The pods that the workload of that unique id made.
fn pods_of(observed: &Observed, uid: String) -> impl Iterator<Item = &Pod> {
    let own = move |pod: &&Pod| pod.owner_references().iter().any(|owner| owner.uid == uid);
    observed.pods.iter().map(AsRef::as_ref).filter(own)
}

fn doomed(name: String, uid: String) -> Doomed {
    Doomed { kind: "Pod".into(), name, uid }
}

/// Does any container of it run?
fn runs(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.filter_map(|status| status.state.as_ref()).any(|state| state.running.is_some())
}

fn workload(observed: &Observed, live: &DaemonSet, hash: &str, desired: i32, nodes: &[Node]) -> NodeWorkload {
    let all: Vec<NodePod> =
        pods_of(observed, live.uid().unwrap_or_default()).map(|pod| node_pod(pod, observed.now)).collect();
    // The controller alone knows every reason why a node gets no pod; which nodes lack theirs is asked only if some do.
    let lacking = usize::try_from(desired).is_ok_and(|desired| desired > all.len());
    let there: BTreeSet<&String> = all.iter().map(|pod| &pod.node).collect();
    let selector = live.spec.template.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    let missing = nodes
        .iter()
        .filter(|node| lacking && node.ready && !there.contains(&node.name))
        .filter(|node| selector.is_none_or(|selector| selects(selector, &node.labels)))
        .map(|node| node.name.clone())
        .collect();
    let lives = |pod: &NodePod| nodes.iter().any(|node| node.name == pod.node && node.ready);
    let pods = all.iter().filter(|pod| lives(pod)).cloned().collect();
    NodeWorkload { name: live.name_any(), wanted: hash.to_owned(), missing, pods, ..NodeWorkload::default() }
}

fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(label, value)| labels.get(label) == Some(value))
}

/// A pod's node; one that is not scheduled yet names the node that it is for in its affinity.
fn node_of(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let affinity = || {
        let wanted = spec.affinity.as_ref()?.node_affinity.as_ref()?;
        let terms = &wanted.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
        let mut fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
        fields.find(|field| field.key == "metadata.name")?.values.as_ref()?.first().cloned()
    };
    spec.node_name.clone().or_else(affinity)
}

fn node_pod(pod: &Pod, now: Timestamp) -> NodePod {
    let age = pod.creation_timestamp().map(|made| now.duration_since(made.0));
    NodePod {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        node: node_of(pod).unwrap_or_default(),
        hash: pod.annotations().get(ANNOTATION_PODS).cloned(),
        ready: is_ready(pod),
        leaving: pod.metadata.deletion_timestamp.is_some(),
        age: age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn daemon_set(hash: &str, generation: i64) -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": { "name": "switch", "uid": "ds", "generation": generation, "annotations": { ANNOTATION_PODS: hash } },
            "spec": { "selector": {}, "template": { "spec": { "containers": [], "nodeSelector": { "role": "yes" } } } },
            "status": { "observedGeneration": 2, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
                        "numberMisscheduled": 0, "numberReady": 2 },
        }))
        .unwrap()
    }

    fn pod(node: &str, scheduled: bool) -> Pod {
        let affinity = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": [node] }] }],
        }}});
        serde_json::from_value(json!({
            "metadata": { "name": format!("switch-{node}"), "uid": format!("uid-{node}"),
                          "annotations": { ANNOTATION_PODS: "old" },
                          "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "switch", "uid": "ds" }] },
            "spec": { "containers": [], "nodeName": scheduled.then_some(node), "affinity": affinity },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        }))
        .unwrap()
    }

    fn observed(live: DaemonSet, pods: Vec<Pod>) -> Observed {
        Observed {
            now: Timestamp::UNIX_EPOCH,
            daemon_sets: vec![Arc::new(live)],
            pods: pods.into_iter().map(Arc::new).collect(),
            ..Observed::of(Arc::new(oaas_api::OpenStack::new("demo", oaas_api::OpenStackSpec::default())))
        }
    }

    fn nodes() -> Vec<Node> {
        let labels = BTreeMap::from([("role".to_owned(), "yes".to_owned())]);
        let node =
            |name: &str| Node { name: name.into(), ready: true, labels: labels.clone(), ..Node::default() };
        vec![
            node("node1"),
            node("node2"),
            Node { ready: false, ..node("node3") },
            Node { name: "other".into(), ready: true, ..Node::default() },
        ]
    }

    fn rolled(live: DaemonSet, pods: Vec<Pod>) -> Vec<String> {
        let doomed = rolls(&observed(live, pods), &[daemon_set("new", 1)], &BTreeMap::new(), &nodes());
        doomed.into_iter().map(|one| format!("{} {} {}", one.kind, one.name, one.uid)).collect()
    }

    #[test]
    fn a_pod_of_another_template_is_deleted() {
        let pods = vec![pod("node1", true), pod("node2", true)];
        assert_eq!(rolled(daemon_set("new", 2), pods), ["Pod switch-node1 uid-node1"]);
    }

    #[test]
    fn none_is_deleted_before_its_successor_is_sure_to_be_another() {
        let pods = || vec![pod("node1", true), pod("node2", true)];
        assert_eq!(rolled(daemon_set("old", 2), pods()), [""; 0], "not applied yet");
        assert_eq!(rolled(daemon_set("new", 3), pods()), [""; 0], "not seen by its controller yet");
    }

    #[test]
    fn a_node_without_its_pod_holds_the_others_up() {
        assert_eq!(rolled(daemon_set("new", 2), vec![pod("node1", true)]), [""; 0]);
        let mut starts = pod("node2", false);
        starts.metadata.annotations = Some(BTreeMap::from([(ANNOTATION_PODS.to_owned(), "new".to_owned())]));
        starts.status = None;
        assert_eq!(
            rolled(daemon_set("new", 2), vec![pod("node1", true), starts]),
            [""; 0],
            "not scheduled yet"
        );
    }

    #[test]
    fn what_is_on_a_dead_node_is_left_alone() {
        let pods = vec![pod("node2", true), pod("node3", true)];
        assert_eq!(rolled(daemon_set("new", 2), pods), ["Pod switch-node2 uid-node2"]);
    }

    #[test]
    fn a_member_that_runs_nothing_does_not_keep_the_newer_template_away() {
        let set = |hash: &str| -> StatefulSet {
            serde_json::from_value(json!({
                "metadata": { "name": "db", "uid": "ss", "generation": 2, "annotations": { ANNOTATION_PODS: hash } },
                "spec": { "selector": {}, "serviceName": "db", "template": {} },
                "status": { "observedGeneration": 2, "replicas": 1 },
            }))
            .unwrap()
        };
        let member = |hash: &str, state: serde_json::Value| -> Pod {
            let status = json!({ "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state });
            serde_json::from_value(json!({
                "metadata": { "name": "db-0", "uid": "uid-0", "annotations": { ANNOTATION_PODS: hash },
                              "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "ss" }] },
                "status": { "containerStatuses": [status] },
            }))
            .unwrap()
        };
        let doomed = |live: &str, member: Pod| {
            let observed = Observed {
                stateful_sets: vec![Arc::new(set(live))],
                ..observed(daemon_set("new", 2), vec![member])
            };
            stuck(&observed, &[set("new")]).len()
        };
        let waits = || json!({ "waiting": { "reason": "ImagePullBackOff" } });
        assert_eq!(doomed("new", member("old", waits())), 1);
        assert_eq!(doomed("new", member("new", waits())), 0, "it is the newest");
        assert_eq!(doomed("old", member("old", waits())), 0, "not applied yet");
        assert_eq!(doomed("new", member("old", json!({ "running": {} }))), 0, "its controller replaces it");
    }
}
