//! Everything that may explain why a cloud is not ready.

use std::collections::BTreeMap;

use oaas_api::status::{Part, PartKind};
use oaas_api::{ComponentSummary, Phase, Reason};

use crate::pods::Pod;

/// Everything that is known about a cloud that may explain why it is not ready.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The cloud, `NAMESPACE/NAME`.
    pub cloud: String,
    /// How far it is.
    pub phase: Option<Phase>,
    /// What in the resource is refused.
    pub refusals: Vec<String>,
    /// Hash of a plan that waits for approval.
    pub unapproved: Option<String>,
    /// How long the operator has been silent, in words, where that is longer than it ever is.
    pub silence: Option<String>,
    /// Whether the operator answers; `None` when it could not be found out.
    pub operator: Option<Operator>,
    /// The parts of the cloud by name: components, jobs, the registration of services, the declared content.
    pub components: BTreeMap<String, Component>,
    /// Nodes that are not ready, and why.
    pub nodes: BTreeMap<String, String>,
}

/// The operator's workload.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Pods that are ready.
    pub ready: usize,
    /// Its pods.
    pub pods: Vec<Pod>,
}

/// One part of a cloud.
#[derive(Debug, Clone, Default)]
pub struct Component {
    /// What it is.
    pub kind: PartKind,
    /// The service that it belongs to, as in `spec.services`.
    pub service: String,
    /// Everything that should be ready is.
    pub ready: bool,
    /// What the operator says why not.
    pub reason: Option<Reason>,
    /// What the operator says it waits for, in words.
    pub waiting_for: Option<String>,
    /// The parts that have to be ready first, as the operator says.
    pub waits_on: Vec<Part>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Its volume claims that are not bound, with the newest event about each.
    pub pending_volumes: Vec<(String, Option<String>)>,
    /// Warnings about its workload (a StatefulSet that may not make pods), newest last.
    pub events: Vec<String>,
}

impl Component {
    /// What the operator says of a part.
    pub fn told(summary: &ComponentSummary) -> Self {
        Self {
            kind: summary.kind,
            service: summary.name.clone(),
            ready: summary.reason.is_none(),
            reason: summary.reason,
            waiting_for: summary.waiting_for.clone(),
            waits_on: summary.waits_on.clone(),
            ..Self::default()
        }
    }
}
