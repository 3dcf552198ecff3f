//! Why a cloud is not ready, as chains of causes down to the log line.
//!
//! # Flow
//! [`gather`] asks the cluster once for everything that may matter ([`Facts`]); [`chain`] finds, purely, which
//! components are not ready because of themselves and who waits for them; [`finding`] says, purely, what is wrong with
//! one such component; [`clues`] knows what log lines mean.
//!
//! # Assumptions
//! What a component needs comes from the service catalog, so that a chain follows what the operator waits for.

pub mod chain;
pub mod clues;
pub mod finding;
pub mod gather;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use oaas_api::{Phase, Reason};

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
    /// Whether the operator answers; `None` when it could not be found out.
    pub operator: Option<Operator>,
    /// The components by name.
    pub components: BTreeMap<String, Component>,
    /// What the operator waits for beyond components: jobs, registrations, content.
    pub waits: Vec<(String, String)>,
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

/// One component.
#[derive(Debug, Clone, Default)]
pub struct Component {
    /// The service that it belongs to, as in `spec.services`.
    pub service: String,
    /// Everything that should be ready is.
    pub ready: bool,
    /// What the operator says why not.
    pub reason: Option<Reason>,
    /// What the operator says it waits for.
    pub waiting_for: Option<String>,
    /// Components that have to be ready first.
    pub needs: Vec<String>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Its volume claims that are not bound, with the newest event about each.
    pub pending_volumes: Vec<(String, Option<String>)>,
    /// Warnings about its workload (a StatefulSet that may not make pods), newest last.
    pub events: Vec<String>,
}

/// One pod.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The node that it is on.
    pub node: Option<String>,
    /// Every container is ready.
    pub ready: bool,
    /// Why no node takes it.
    pub unschedulable: Option<String>,
    /// Why it was ended as a whole, such as an eviction.
    pub ended: Option<String>,
    /// Its containers, those that prepare it too.
    pub containers: Vec<Container>,
    /// Warnings about it, newest last.
    pub events: Vec<String>,
    /// Checks of the agent that fail, with why.
    pub failing_checks: Vec<String>,
}

/// One container.
#[derive(Debug, Clone, Default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its probes pass, or it has done what it was to do.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// What Kubernetes waits for before it starts it: reason and message.
    pub waiting: Option<(String, String)>,
    /// How it ended last.
    pub ended: Option<Ended>,
    /// Its memory limit.
    pub memory_limit: Option<String>,
    /// The end of its log; of the run before when it is not running.
    pub log: Vec<String>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What Kubernetes calls it, such as `OOMKilled`.
    pub reason: String,
    /// Its exit code.
    pub code: i32,
}
