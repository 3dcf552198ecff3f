//! What may be applied now, and what everything else waits for.

use std::collections::{BTreeMap, BTreeSet};

use oaas_api::Reason;
use oaas_api::status::Part;
use oaas_catalog::Need;

use crate::blueprint::{ApiPlan, Blueprint, ComponentPlan};
use crate::inputs::{JobState, Observed};
use crate::jobs::schema_job;

/// Why something waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The typed reason.
    pub reason: Reason,
    /// For what, in a few words: `waits for keystone`.
    pub message: String,
    /// What it waits for; the next link of the chain of causes.
    pub on: Part,
}

/// May something be applied now?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// No; what exists of it is left as it is.
    Held(Vec<Wait>),
}

impl Gate {
    /// Is it open?
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// What it waits for.
    pub fn waits(&self) -> &[Wait] {
        match self {
            Self::Open => &[],
            Self::Held(waits) => waits,
        }
    }
}

/// The gate of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gates {
    /// Of each component.
    pub components: BTreeMap<String, Gate>,
    /// Of each job, by its name without the hash.
    pub jobs: BTreeMap<String, Gate>,
    /// Of the registration of services in the identity service.
    pub registration: Option<Gate>,
    /// Of the declared content.
    pub content: Option<Gate>,
}

/// Compare a blueprint with what is observed.
///
/// A component that is not as the blueprint has it may be applied when all its needs hold. One that is as the blueprint
/// has it is open: applying it again changes nothing, and puts back what somebody else changed.
pub fn gates(blueprint: &Blueprint, observed: &Observed) -> Gates {
    let components = blueprint
        .components
        .values()
        .map(|plan| {
            let same = observed
                .components
                .get(&plan.name)
                .is_some_and(|state| state.hash.as_ref() == Some(&plan.hash));
            let gate = if same { Gate::Open } else { gate(blueprint, observed, &plan.needs) };
            (plan.name.clone(), gate)
        })
        .collect();
    let jobs = blueprint
        .jobs
        .values()
        .map(|job| {
            let exists = job.schedule.is_none() && observed.jobs.contains_key(&job.object_name());
            (job.name.clone(), if exists { Gate::Open } else { gate(blueprint, observed, &job.needs) })
        })
        .collect();
    let identity = blueprint.identity.as_ref();
    let registration = identity.map(|_| gate(blueprint, observed, &of_registration(blueprint)));
    let content = identity.map(|_| gate(blueprint, observed, &of_content(blueprint)));
    Gates { components, jobs, registration, content }
}

/// What the registration of services needs.
pub(crate) fn of_registration(blueprint: &Blueprint) -> Vec<Need> {
    let needs =
        |identity: &ApiPlan| vec![Need::Ready(identity.component.clone()), Need::Job(identity.job.clone())];
    blueprint.identity.as_ref().map(needs).unwrap_or_default()
}

/// What the declared content needs.
pub(crate) fn of_content(blueprint: &Blueprint) -> Vec<Need> {
    blueprint.registrations.iter().map(|wanted| Need::Registered(wanted.service.clone())).collect()
}

/// The parts that are not ready and that something with these needs has to wait for, or cannot work without.
///
/// What was done once (a database loaded, a service registered) is of use only while that runs in which it was done: the
/// need of it becomes the needs of the doing.
pub(crate) fn links(blueprint: &Blueprint, observed: &Observed, needs: &[Need]) -> Vec<Part> {
    fn go(
        blueprint: &Blueprint,
        observed: &Observed,
        needs: &[Need],
        seen: &mut BTreeSet<Part>,
        found: &mut Vec<Part>,
    ) {
        for need in needs {
            if let Some(wait) = unmet(blueprint, observed, need) {
                if !found.contains(&wait.on) {
                    found.push(wait.on);
                }
                continue;
            }
            let (part, below) = match need {
                Need::Ready(_) => continue,
                Need::Schema(service) => of_job(blueprint, &schema_job(service)),
                Need::Job(name) => of_job(blueprint, name),
                Need::Registered(_) => (Part::registration(), of_registration(blueprint)),
            };
            if seen.insert(part) {
                go(blueprint, observed, &below, seen, found);
            }
        }
    }
    let mut found = Vec::new();
    go(blueprint, observed, needs, &mut BTreeSet::new(), &mut found);
    found
}

fn of_job(blueprint: &Blueprint, name: &str) -> (Part, Vec<Need>) {
    (Part::job(name), blueprint.jobs.get(name).map(|job| job.needs.clone()).unwrap_or_default())
}

fn gate(blueprint: &Blueprint, observed: &Observed, needs: &[Need]) -> Gate {
    let waits: Vec<Wait> = needs.iter().filter_map(|need| unmet(blueprint, observed, need)).collect();
    if waits.is_empty() { Gate::Open } else { Gate::Held(waits) }
}

/// What is missing for a need; nothing where it holds. A need of something that this cloud does not run holds.
fn unmet(blueprint: &Blueprint, observed: &Observed, need: &Need) -> Option<Wait> {
    let wait = |on: Part, message: String| Some(Wait { reason: Reason::WaitsForDependency, message, on });
    match need {
        Need::Ready(name) => {
            let plan = blueprint.components.get(name)?;
            let state = observed.components.get(name);
            if state.is_some_and(|state| usable(plan, state.ready)) {
                return None;
            }
            wait(Part::component(name), format!("waits for {name}"))
        }
        Need::Schema(service) => {
            job_wait(blueprint, observed, &schema_job(service), &format!("the databases of {service}"))
        }
        Need::Job(name) => {
            let title = blueprint.jobs.get(name).map(|job| job.title.clone()).unwrap_or_default();
            job_wait(blueprint, observed, name, &format!("the job {name}, which {title}"))
        }
        Need::Registered(service) => {
            let wanted =
                blueprint.registrations.iter().find(|registration| registration.service == *service)?;
            if observed.registered.get(service) == Some(&wanted.hash) {
                return None;
            }
            wait(Part::registration(), format!("waits for {service} to stand in the identity service"))
        }
    }
}

fn usable(plan: &ComponentPlan, ready: u32) -> bool {
    match plan.rule.rule {
        // A quorum: a majority must be there.
        oaas_catalog::ReplicaRule::Odd => ready > plan.replicas / 2,
        oaas_catalog::ReplicaRule::Any | oaas_catalog::ReplicaRule::One => ready > 0,
    }
}

fn job_wait(blueprint: &Blueprint, observed: &Observed, name: &str, what: &str) -> Option<Wait> {
    let job = blueprint.jobs.get(name)?;
    let (reason, message) = match observed.jobs.get(&job.object_name()) {
        Some(JobState::Succeeded) => return None,
        Some(JobState::Failed(why)) => {
            (Reason::JobFailed, format!("waits for {what}: the job failed: {why}"))
        }
        Some(JobState::Active) | None => (Reason::WaitsForDependency, format!("waits for {what}")),
    };
    Some(Wait { reason, message, on: Part::job(name) })
}
