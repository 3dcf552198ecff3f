//! What is wrong with one component, from its pods and their logs.

use oaas_api::Reason;
use serde::Serialize;

use super::clues::{Advice, clue, telling};
use super::{Component, Container, Facts, Pod};

/// What is wrong with one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The thing, such as `pod galera-0`.
    pub object: String,
    /// What is wrong with it.
    pub says: String,
    /// The log line that tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What is wrong with a component that waits for no other; the gravest first looked for.
pub fn of_component(facts: &Facts, name: &str, component: &Component) -> Finding {
    let by_operator = || says_operator(name, component);
    if let Some(finding) = decided_by_operator(name, component) {
        return finding;
    }
    if let Some((claim, event)) = component.pending_volumes.first() {
        let why = event.as_ref().map(|event| format!(": {event}")).unwrap_or_default();
        return Finding {
            object: format!("volume claim {claim}"),
            says: format!("is not bound{why}"),
            log: None,
            advice: Some("look at the storage classes: `oaas kubectl get storageclass`".to_owned()),
        };
    }
    let unready = component.pods.iter().filter(|pod| !pod.ready);
    let worst = unready.filter_map(|pod| of_pod(facts, component, pod)).max_by_key(|(weight, _)| *weight);
    if let Some((_, finding)) = worst {
        return finding;
    }
    if let Some(event) = component.events.last().filter(|_| component.pods.is_empty()) {
        return Finding {
            object: format!("component {name}"),
            says: format!("has no pod: {event}"),
            log: None,
            advice: None,
        };
    }
    by_operator()
}

/// Reasons that the operator alone can know; what pods say would only lead astray.
fn decided_by_operator(name: &str, component: &Component) -> Option<Finding> {
    match component.reason? {
        Reason::CredentialsLost
        | Reason::QuorumGuard
        | Reason::VirtualMachinesRunning
        | Reason::Conflict
        | Reason::ApiFailed
        | Reason::WaitsForApproval
        | Reason::Paused
        | Reason::NotYet => Some(says_operator(name, component)),
        Reason::Valid
        | Reason::Invalid
        | Reason::Applying
        | Reason::Acting
        | Reason::UpToDate
        | Reason::AllReady
        | Reason::WaitsForDependency
        | Reason::Starting
        | Reason::Rolling
        | Reason::NotSchedulable
        | Reason::ImageUnavailable
        | Reason::OutOfMemory
        | Reason::VolumeFull
        | Reason::VolumePending
        | Reason::PortTaken
        | Reason::CrashLoop
        | Reason::NotAnswering
        | Reason::DatabaseDown
        | Reason::MessagingDown
        | Reason::JobFailed
        | Reason::QuorumLost
        | Reason::NodeNotReady
        | Reason::Deleting => None,
    }
}

fn says_operator(name: &str, component: &Component) -> Finding {
    let meaning = component.reason.map(|reason| reason.meaning().trim().trim_end_matches('.').to_owned());
    let says = match (&component.waiting_for, meaning) {
        (Some(words), _) => words.clone(),
        (None, Some(meaning)) => meaning,
        (None, None) => "is not ready, and nothing says why yet".to_owned(),
    };
    Finding { object: format!("component {name}"), says, log: None, advice: None }
}

/// What is wrong with a pod, and how grave it is.
pub fn of_pod(facts: &Facts, component: &Component, pod: &Pod) -> Option<(u8, Finding)> {
    let object = format!("pod {}", pod.name);
    let finding = |says: String, log: Option<String>, advice: Option<String>| Finding {
        object: object.clone(),
        says,
        log,
        advice,
    };
    if let Some(message) = &pod.unschedulable {
        return Some((9, finding(format!("no node takes it: {message}"), None, room(message))));
    }
    if let Some((node, why)) = pod.node.as_ref().and_then(|node| Some((node, facts.nodes.get(node)?))) {
        return Some((8, finding(format!("its node {node} is not ready: {why}"), None, None)));
    }
    if let Some(why) = &pod.ended {
        return Some((7, finding(format!("was ended: {why}"), None, None)));
    }
    let of_containers = pod.containers.iter().filter(|container| !container.ready);
    let worst = of_containers.map(|container| of_container(component, container)).max_by_key(|(w, ..)| *w);
    let (weight, says, log, advice) = worst.unwrap_or((0, String::new(), None, None));
    if weight >= 3 {
        return Some((weight, finding(says, log, advice)));
    }
    // A full volume or a taken port may also be told by an event (a mount that fails, a pod that cannot start).
    if let Some(event) = pod.events.last().filter(|event| !event.contains("probe failed")) {
        return Some((3, finding(event.clone(), log, advice)));
    }
    if !pod.failing_checks.is_empty() {
        let says = format!("runs, but {}", pod.failing_checks.join("; "));
        let meant = clue(&says).and_then(|clue| advise(clue.advice, &component.service));
        let log = log.or_else(|| telling_of(pod));
        return Some((2, finding(says, log, meant.or(advice))));
    }
    if weight > 0 {
        return Some((weight, finding(says, log, advice)));
    }
    pod.events.last().map(|event| (1, finding(event.clone(), None, None)))
}

fn telling_of(pod: &Pod) -> Option<String> {
    pod.containers.iter().find_map(|container| telling(&container.log)).map(|(line, _)| line)
}

type Told = (u8, String, Option<String>, Option<String>);

fn of_container(component: &Component, container: &Container) -> Told {
    let service = &component.service;
    let (line, clue) = telling(&container.log).unzip();
    let clue = clue.flatten();
    let advice = clue.and_then(|clue| advise(clue.advice, service));
    let because = clue.map(|clue| format!(": {}", clue.cause)).unwrap_or_default();
    if let Some((reason, message)) = &container.waiting {
        match reason.as_str() {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull"
            | "ImageInspectError" => {
                return (
                    7,
                    format!("its image {} cannot be pulled: {message}", container.image),
                    None,
                    Some(format!(
                        "check `spec.images` and `spec.services.{service}.image`; `oaas image list` shows what there is"
                    )),
                );
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                return (6, format!("its container {} cannot start: {message}", container.name), None, None);
            }
            _ => {}
        }
    }
    if let Some(ended) = &container.ended {
        let times = match container.restarts {
            0 | 1 => String::new(),
            times => format!(" {times} times"),
        };
        if ended.reason == "OOMKilled" {
            let limit = container.memory_limit.as_deref().unwrap_or("none of its own");
            return (
                6,
                format!("was killed{times} because it used more memory than its limit ({limit})"),
                line,
                advise(Advice::RaiseMemory, service),
            );
        }
        return (5, format!("ended{times} with exit code {}{because}", ended.code), line, advice);
    }
    if let Some(clue) = clue {
        return (4, format!("is not ready: {}", clue.cause), line, advice);
    }
    let starting = ["ContainerCreating", "PodInitializing"];
    match &container.waiting {
        Some((reason, _)) if starting.contains(&reason.as_str()) => (1, "starts".to_owned(), line, None),
        _ => (1, "runs, but its probes do not pass yet".to_owned(), line, None),
    }
}

/// What to do when no node takes a pod.
fn room(message: &str) -> Option<String> {
    let says = |words: &str| message.contains(words);
    if says("Insufficient memory") || says("Insufficient cpu") {
        Some("make room on the nodes, add a node, or choose a smaller profile".to_owned())
    } else if says("free ports") {
        Some(
            "another pod has the port on every node: `oaas kubectl get pods --all-namespaces --output wide`"
                .to_owned(),
        )
    } else if says("were unschedulable") {
        Some(
            "a node takes no new pods: `oaas kubectl get nodes`, then `oaas kubectl uncordon NODE`"
                .to_owned(),
        )
    } else if says("node affinity") || says("node selector") {
        Some("label a node, such as `oaas kubectl label node NODE controller=true`".to_owned())
    } else {
        None
    }
}

fn advise(advice: Advice, service: &str) -> Option<String> {
    match advice {
        Advice::GrowVolume => {
            Some(format!("raise `spec.services.{service}.volume`, or remove what is not needed"))
        }
        Advice::RaiseMemory => Some(format!("raise `spec.services.{service}.memory`")),
        Advice::FreePort => Some("find out who has it, on the node: `ss -ltnp`".to_owned()),
        Advice::Database => Some("`oaas why galera` looks at the database".to_owned()),
        Advice::MessageBus => Some("`oaas why rabbitmq` looks at the message bus".to_owned()),
        Advice::None => None,
    }
}
