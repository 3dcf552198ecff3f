//! What is wrong with a pod: the one classifier, for the operator's status and for `oaas why`.

use std::collections::BTreeMap;

use oaas_api::Reason;

use crate::clues::{Advice, Clue, clue, telling};
use crate::pods::{Container, Pod};

/// What is wrong with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The typed reason. [`Reason::Starting`]: nothing is wrong (yet).
    pub reason: Reason,
    /// What is wrong, as it follows the pod's name and a colon.
    pub says: String,
    /// The log line that tells it.
    pub line: Option<String>,
    /// What to do.
    pub advice: Advice,
    /// The larger, the surer it is the cause of what else is seen.
    gravity: u8,
}

/// The gravest trouble of a component's pods. `nodes`: those that are not ready, and why.
pub fn gravest<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    nodes: &BTreeMap<String, String>,
) -> Option<(&'a Pod, Trouble)> {
    let troubled = pods.into_iter().filter_map(|pod| Some((pod, of_pod(pod, nodes)?)));
    // Of several alike the first is told, so that the words do not change with every look.
    troubled.reduce(|worst, next| if next.1.gravity > worst.1.gravity { next } else { worst })
}

/// What is wrong with a pod; nothing where it is ready or has done its work.
pub fn of_pod(pod: &Pod, nodes: &BTreeMap<String, String>) -> Option<Trouble> {
    if pod.ready || pod.done {
        return None;
    }
    if let Some(message) = &pod.unschedulable {
        let (reason, advice) = room(message);
        return Some(trouble(9, reason, format!("no node takes it: {message}"), None, advice));
    }
    if let Some((node, why)) = pod.node.as_ref().and_then(|node| Some((node, nodes.get(node)?))) {
        let says = format!("its node {node} is not ready: {why}");
        return Some(trouble(8, Reason::NodeNotReady, says, None, Advice::None));
    }
    if let Some(why) = &pod.ended {
        return Some(trouble(7, evicted(why), format!("was ended: {why}"), None, Advice::None));
    }
    let unready = pod.containers.iter().filter(|container| !container.ready);
    let found = unready.map(|container| of_container(container, pod.lost_readiness));
    let worst = found.reduce(|worst, next| if next.gravity > worst.gravity { next } else { worst });
    if let Some(worst) = worst.as_ref().filter(|worst| worst.gravity >= 3) {
        return Some(worst.clone());
    }
    let line = worst.as_ref().and_then(|worst| worst.line.clone());
    let advice = worst.as_ref().map_or(Advice::None, |worst| worst.advice);
    // A full volume or a taken port may also be told by an event (a mount that fails, a pod that cannot start).
    if let Some(event) = pod.events.last().filter(|event| !event.contains("probe failed")) {
        let meant = clue(event);
        let reason = meant.and_then(|clue| clue.reason).unwrap_or(Reason::Starting);
        return Some(trouble(3, reason, event.clone(), line, meant.map_or(advice, |clue| clue.advice)));
    }
    if !pod.failing_checks.is_empty() {
        let says = format!("runs, but {}", pod.failing_checks.join("; "));
        let meant = clue(&says);
        let reason = meant.and_then(|clue| clue.reason).unwrap_or(Reason::NotAnswering);
        let line = line.or_else(|| {
            pod.containers.iter().find_map(|container| telling(&container.log)).map(|told| told.0)
        });
        return Some(trouble(2, reason, says, line, meant.map_or(advice, |clue| clue.advice)));
    }
    worst.or_else(|| {
        pod.events.last().map(|event| trouble(1, Reason::Starting, event.clone(), None, Advice::None))
    })
}

fn trouble(gravity: u8, reason: Reason, says: String, line: Option<String>, advice: Advice) -> Trouble {
    Trouble { reason, says, line, advice, gravity }
}

fn of_container(container: &Container, lost_readiness: bool) -> Trouble {
    if let Some((reason, message)) = &container.waiting {
        match reason.as_str() {
            // Reasons of the kubelet's image manager (`pkg/kubelet/images/types.go`).
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull"
            | "ImageInspectError" => {
                let says = format!("its image {} cannot be pulled: {message}", container.image);
                return trouble(7, Reason::ImageUnavailable, says, None, Advice::CheckImage);
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                let says = format!("its container {} cannot start: {message}", container.name);
                return trouble(6, Reason::CrashLoop, says, None, Advice::None);
            }
            _ => {}
        }
    }
    let (line, meant) = telling(&container.log).unzip();
    let meant: Option<Clue> = meant.flatten();
    let reason = |otherwise: Reason| meant.and_then(|clue| clue.reason).unwrap_or(otherwise);
    let advice = meant.map_or(Advice::None, |clue| clue.advice);
    // A service that refuses to start may say so with exit code 0, and is started again.
    if let Some(ended) = container.ended.as_ref().filter(|ended| ended.code != 0 || container.restarts > 0) {
        let times = match container.restarts {
            0 | 1 => String::new(),
            times => format!(" {times} times"),
        };
        if ended.reason == "OOMKilled" {
            let limit = container.memory_limit.as_deref().unwrap_or("none of its own");
            let says = format!("was killed{times} because it used more memory than its limit ({limit})");
            return trouble(6, Reason::OutOfMemory, says, line, Advice::RaiseMemory);
        }
        let because = meant.map(|clue| format!(": {}", clue.cause)).unwrap_or_default();
        let says = format!("ended{times} with exit code {}{because}", ended.code);
        return trouble(5, reason(Reason::CrashLoop), says, line, advice);
    }
    if let Some(clue) = meant {
        return trouble(
            4,
            reason(Reason::NotAnswering),
            format!("is not ready: {}", clue.cause),
            line,
            advice,
        );
    }
    let starting = ["ContainerCreating", "PodInitializing"];
    match &container.waiting {
        Some((waiting, _)) if starting.contains(&waiting.as_str()) => {
            trouble(1, Reason::Starting, "starts".to_owned(), line, Advice::None)
        }
        _ if container.running && lost_readiness => trouble(
            2,
            Reason::NotAnswering,
            "runs, but its probes do not pass any more".to_owned(),
            line,
            Advice::None,
        ),
        _ => trouble(
            1,
            Reason::Starting,
            "runs, but its probes do not pass yet".to_owned(),
            line,
            Advice::None,
        ),
    }
}

/// Why no node takes a pod, by the words of Kubernetes' scheduler.
fn room(message: &str) -> (Reason, Advice) {
    let says = |words: &str| message.contains(words);
    if says("persistentvolumeclaim") || says("PersistentVolumeClaim") {
        (Reason::VolumePending, Advice::None)
    } else if says("free ports") {
        (Reason::PortTaken, Advice::PortOnEveryNode)
    } else if says("Insufficient memory") || says("Insufficient cpu") {
        (Reason::NotSchedulable, Advice::MakeRoom)
    } else if says("were unschedulable") {
        (Reason::NotSchedulable, Advice::Uncordon)
    } else if says("node affinity") || says("node selector") {
        (Reason::NotSchedulable, Advice::LabelNode)
    } else {
        (Reason::NotSchedulable, Advice::None)
    }
}

/// Why the kubelet ended a pod as a whole (`The node was low on resource: memory`).
fn evicted(why: &str) -> Reason {
    if why.contains("memory") {
        Reason::OutOfMemory
    } else if why.contains("storage") {
        Reason::VolumeFull
    } else {
        Reason::CrashLoop
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod as KubePod;
    use serde_json::{Value, json};

    use super::*;

    fn of(status: &Value) -> Option<Trouble> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": []}, "status": status});
        let pod: KubePod = serde_json::from_value(pod).unwrap();
        of_pod(&Pod::read(&pod), &BTreeMap::new())
    }

    fn container(state: &Value) -> Value {
        let mut status = json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 3});
        status.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
        json!({"containerStatuses": [status]})
    }

    fn reason(status: &Value) -> Option<Reason> {
        of(status).map(|trouble| trouble.reason)
    }

    #[test]
    fn each_trouble_has_its_reason() {
        let waits =
            |reason: &str| container(&json!({"state": {"waiting": {"reason": reason, "message": "m"}}}));
        assert_eq!(reason(&waits("ImagePullBackOff")), Some(Reason::ImageUnavailable));
        assert_eq!(reason(&waits("CreateContainerConfigError")), Some(Reason::CrashLoop));
        assert_eq!(reason(&waits("ContainerCreating")), Some(Reason::Starting));
        let ended = |code: i32, why: &str, message: &str| {
            container(&json!({
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": code, "reason": why, "message": message}}
            }))
        };
        assert_eq!(reason(&ended(137, "OOMKilled", "")), Some(Reason::OutOfMemory));
        assert_eq!(reason(&ended(1, "Error", "")), Some(Reason::CrashLoop));
        // A service that refuses to start says so with exit code 0.
        assert_eq!(reason(&ended(0, "Completed", "")), Some(Reason::CrashLoop));
        assert_eq!(
            reason(&ended(1, "Error", "OSError: [Errno 28] No space left on device")),
            Some(Reason::VolumeFull)
        );
        assert_eq!(reason(&ended(1, "Error", "[Errno 98] Address already in use")), Some(Reason::PortTaken));
        assert_eq!(
            reason(&ended(1, "Error", "(2003, \"Can't connect to MySQL server\")")),
            Some(Reason::DatabaseDown)
        );
        assert_eq!(
            reason(&ended(1, "Error", "AMQP server on x is unreachable")),
            Some(Reason::MessagingDown)
        );
        let unscheduled = |message: &str| json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]});
        assert_eq!(reason(&unscheduled("0/1 nodes match")), Some(Reason::NotSchedulable));
        assert_eq!(
            reason(&unscheduled("unbound immediate PersistentVolumeClaims")),
            Some(Reason::VolumePending)
        );
        assert_eq!(reason(&unscheduled("didn't have free ports")), Some(Reason::PortTaken));
        let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
        assert_eq!(reason(&evicted), Some(Reason::OutOfMemory));
    }

    #[test]
    fn what_is_ready_or_done_has_none() {
        assert_eq!(of(&json!({"phase": "Succeeded"})), None);
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(of(&ready), None);
        // A container that prepares the pod and is through.
        let prepared = json!({"initContainerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true,
            "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}]});
        assert_eq!(of(&prepared), None);
    }

    #[test]
    fn a_pod_that_was_ready_does_not_answer_and_one_that_never_was_starts() {
        let at = |unready: &str| {
            let mut status = container(
                &json!({"restartCount": 0, "state": {"running": {"startedAt": "2026-11-29T10:00:10Z"}}}),
            );
            status["conditions"] =
                json!([{"type": "Ready", "status": "False", "lastTransitionTime": unready}]);
            reason(&status)
        };
        assert_eq!(at("2026-11-29T10:00:05Z"), Some(Reason::Starting));
        assert_eq!(at("2026-11-29T11:00:00Z"), Some(Reason::NotAnswering));
    }

    #[test]
    fn a_node_that_is_away_explains_its_pods() {
        let pod = Pod { name: "p".into(), node: Some("n1".into()), ..Pod::default() };
        let nodes = BTreeMap::from([("n1".to_owned(), "Kubelet stopped posting node status.".to_owned())]);
        let found = of_pod(&pod, &nodes).unwrap();
        assert_eq!(found.reason, Reason::NodeNotReady);
        assert_eq!(found.says, "its node n1 is not ready: Kubelet stopped posting node status.");
        // The gravest of several pods is told.
        let starts = Pod { name: "q".into(), node: Some("n2".into()), ..Pod::default() };
        let crashes = Pod { containers: vec![Container::default()], ..starts.clone() };
        assert_eq!(gravest([&crashes, &pod], &nodes).unwrap().0.name, "p");
        assert!(gravest([&starts], &nodes).is_none());
    }
}
