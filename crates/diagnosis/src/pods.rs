//! What a pod says of itself, in the words that causes are looked for in.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod as KubePod};

/// One pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The node that it is on.
    pub node: Option<String>,
    /// Every container is ready.
    pub ready: bool,
    /// It has done all that it was to do, as pods of Jobs do.
    pub done: bool,
    /// It was ready since its containers run, and is not any more.
    pub lost_readiness: bool,
    /// Why no node takes it.
    pub unschedulable: Option<String>,
    /// Why it was ended as a whole, such as an eviction.
    pub ended: Option<String>,
    /// Its containers, those that prepare it too.
    pub containers: Vec<Container>,
    /// Warnings about it, newest last. Not in the object: whoever has read them adds them.
    pub events: Vec<String>,
    /// Checks of the agent that fail, with why. Added by whoever has asked the agent.
    pub failing_checks: Vec<String>,
}

/// One container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its probes pass, or it has done what it was to do.
    pub ready: bool,
    /// It runs now.
    pub running: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// What Kubernetes waits for before it starts it: reason and message.
    pub waiting: Option<(String, String)>,
    /// How it ended last.
    pub ended: Option<Ended>,
    /// Its memory limit.
    pub memory_limit: Option<String>,
    /// The end of its log; of the run before when it is not running. Added by whoever has read it; until then the end that
    /// Kubernetes kept when it ended badly.
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

impl Pod {
    /// What the object says.
    pub fn read(pod: &KubePod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let condition =
            |wanted: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == wanted);
        let ready = condition("Ready");
        let unschedulable = condition("PodScheduled")
            .filter(|condition| condition.status == "False")
            .map(|condition| condition.message.clone().unwrap_or_default());
        let ended = (status.phase.as_deref() == Some("Failed") && status.reason.is_some()).then(|| {
            [status.reason.clone(), status.message.clone()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(": ")
        });
        let prepare = status.init_container_statuses.iter().flatten();
        let run = status.container_statuses.iter().flatten();
        // Before it was ready for the first time, a pod has been unready since before its containers ran.
        let began =
            status.container_statuses.iter().flatten().filter_map(|container| {
                Some(container.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0)
            });
        let unready_since = ready
            .filter(|condition| condition.status == "False")
            .and_then(|condition| condition.last_transition_time.as_ref());
        let lost_readiness = match (unready_since, began.max()) {
            (Some(since), Some(began)) => since.0 > began,
            _ => false,
        };
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            ready: ready.is_some_and(|condition| condition.status == "True"),
            done: status.phase.as_deref() == Some("Succeeded"),
            lost_readiness,
            unschedulable,
            ended,
            containers: prepare.chain(run).map(|status| Container::read(pod, status)).collect(),
            events: Vec::new(),
            failing_checks: Vec::new(),
        }
    }
}

impl Container {
    fn read(pod: &KubePod, status: &ContainerStatus) -> Self {
        let spec = pod.spec.as_ref();
        let specs =
            spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let limit = specs.filter(|spec| spec.name == status.name).find_map(|spec| {
            spec.resources.as_ref()?.limits.as_ref()?.get("memory").map(|limit| limit.0.clone())
        });
        let ContainerState { running, terminated, waiting } = status.state.clone().unwrap_or_default();
        let done = terminated.as_ref().is_some_and(|ended| ended.exit_code == 0);
        let ended =
            terminated.or(status.last_state.clone().and_then(|last| last.terminated)).filter(|_| !done);
        let kept = ended.as_ref().and_then(|ended| ended.message.clone()).unwrap_or_default();
        Self {
            name: status.name.clone(),
            image: status.image.clone(),
            ready: status.ready || done,
            running: running.is_some(),
            restarts: status.restart_count,
            waiting: waiting
                .map(|waiting| (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())),
            ended: ended
                .map(|ended| Ended { reason: ended.reason.unwrap_or_default(), code: ended.exit_code }),
            memory_limit: limit,
            log: kept.lines().map(str::to_owned).collect(),
        }
    }
}
