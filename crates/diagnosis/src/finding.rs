//! What is wrong with one part of a cloud, in full: with the log line and what to do.

use std::collections::BTreeMap;

use oaas_api::Reason;
use oaas_api::status::PartKind;
use serde::Serialize;

use crate::clues::Advice;
use crate::facts::Component;
use crate::pods::Pod;
use crate::trouble::gravest;

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

/// What is wrong with a part that waits for no other; the gravest first looked for. `nodes`: those that are not ready.
pub fn of_component(nodes: &BTreeMap<String, String>, name: &str, component: &Component) -> Finding {
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
    if let Some(finding) = of_pods(nodes, &component.service, &component.pods) {
        return finding;
    }
    if let Some(event) = component.events.last().filter(|_| component.pods.is_empty()) {
        return Finding {
            object: object(name, component),
            says: format!("has no pod: {event}"),
            log: None,
            advice: None,
        };
    }
    says_operator(name, component)
}

/// What is wrong with the worst of some pods; `service`: whose section of the resource has their settings.
pub fn of_pods(nodes: &BTreeMap<String, String>, service: &str, pods: &[Pod]) -> Option<Finding> {
    let (pod, trouble) = gravest(pods, nodes)?;
    Some(Finding {
        object: format!("pod {}", pod.name),
        says: trouble.says,
        log: trouble.line,
        advice: advise(trouble.advice, service),
    })
}

/// Reasons that the operator alone can know; what pods say would only lead astray.
fn decided_by_operator(name: &str, component: &Component) -> Option<Finding> {
    match component.reason? {
        Reason::CredentialsLost
        | Reason::LockedOut
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
    Finding { object: object(name, component), says, log: None, advice: None }
}

/// A part as people name it.
fn object(name: &str, component: &Component) -> String {
    match component.kind {
        PartKind::Component => format!("component {name}"),
        PartKind::Job => format!("job {name}"),
        PartKind::Registration => "the registration of services".to_owned(),
        PartKind::Content => "the declared content".to_owned(),
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
        Advice::CheckImage => Some(format!(
            "check `spec.images` and `spec.services.{service}.image`; `oaas image list` shows what there is"
        )),
        Advice::MakeRoom => {
            Some("make room on the nodes, add a node, or choose a smaller profile".to_owned())
        }
        Advice::PortOnEveryNode => Some(
            "another pod has the port on every node: `oaas kubectl get pods --all-namespaces --output wide`"
                .to_owned(),
        ),
        Advice::Uncordon => Some(
            "a node takes no new pods: `oaas kubectl get nodes`, then `oaas kubectl uncordon NODE`"
                .to_owned(),
        ),
        Advice::LabelNode => {
            Some("label a node, such as `oaas kubectl label node NODE controller=true`".to_owned())
        }
        Advice::None => None,
    }
}
