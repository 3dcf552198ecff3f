//! What is told of a plan: how far each component is, and why it is not further.

use oaas_api::Reason;
use oaas_api::status::Part;

use crate::blueprint::{Blueprint, ComponentPlan};
use crate::gates::{Gates, Wait, links, of_content, of_registration};
use crate::inputs::{ComponentState, ContentState, JobState, Observed};

/// How far one part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub part: Part,
    /// Pods that are ready; of what has none, whether it is done.
    pub ready: u32,
    /// Pods that are wanted.
    pub wanted: u32,
    /// Why it is not ready: a typed reason and words.
    pub why: Option<(Reason, String)>,
    /// What it waits for of all that is not ready; the next links of the chain of causes. Empty where it is ready.
    pub on: Vec<Part>,
}

impl Progress {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.part.name
    }

    /// Something that is done or not, and has no pods of its own.
    fn once(part: Part, why: Option<(Reason, String)>, on: Vec<Part>) -> Self {
        let on = if why.is_some() { on } else { Vec::new() };
        Self { part, ready: u32::from(why.is_none()), wanted: 1, why, on }
    }
}

/// How far everything is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Components, jobs, the registration and the content, in the order in which they come up.
    pub items: Vec<Progress>,
}

impl Report {
    /// Components that are ready.
    pub fn ready(&self) -> usize {
        self.items.iter().filter(|item| item.why.is_none()).count()
    }

    /// What is waited for first: something that waits for nothing else, in trouble before merely starting.
    pub fn first_wait(&self) -> Option<&Progress> {
        let roots = || self.items.iter().filter(|item| item.why.is_some() && item.on.is_empty());
        let starting = |item: &&Progress| matches!(item.why, Some((Reason::Starting | Reason::Rolling, _)));
        roots()
            .find(|item| !starting(item))
            .or_else(|| roots().next())
            .or_else(|| self.items.iter().find(|i| i.why.is_some()))
    }
}

/// Tell how far everything is.
pub fn report(blueprint: &Blueprint, gates: &Gates, observed: &Observed) -> Report {
    let components = blueprint.components.values().map(|plan| component(plan, blueprint, gates, observed));
    let mut items: Vec<Progress> = components.collect();
    // What is done again and again is never done; it is told of while it fails.
    for job in blueprint.jobs.values().filter(|job| job.schedule.is_some()) {
        if let Some(JobState::Failed(why)) = observed.scheduled.get(&job.name) {
            let why = Some((Reason::JobFailed, format!("failed when it was done last: {why}")));
            items.push(Progress::once(Part::job(&job.name), why, Vec::new()));
        }
    }
    for job in blueprint.jobs.values().filter(|job| job.schedule.is_none()) {
        let first = gates.jobs.get(&job.name).and_then(|gate| gate.waits().first());
        let why = match observed.jobs.get(&job.object_name()) {
            Some(JobState::Succeeded) => None,
            Some(JobState::Failed(why)) => Some((Reason::JobFailed, format!("failed: {why}"))),
            Some(JobState::Active) => Some((Reason::Starting, job.title.clone())),
            None => Some(first.map_or_else(|| (Reason::Starting, job.title.clone()), of_wait)),
        };
        items.push(Progress::once(Part::job(&job.name), why, links(blueprint, observed, &job.needs)));
    }
    if let Some(gate) = &gates.registration {
        let missing: Vec<&str> = blueprint
            .registrations
            .iter()
            .filter(|wanted| observed.registered.get(&wanted.service) != Some(&wanted.hash))
            .map(|wanted| wanted.service.as_str())
            .collect();
        let doing = || match (&observed.locked_out, observed.unregistered.first()) {
            (Some(words), _) => (Reason::LockedOut, words.clone()),
            (None, Some(words)) => (Reason::Acting, words.clone()),
            (None, None) => (Reason::Acting, format!("registers {}", missing.join(", "))),
        };
        let why = (!missing.is_empty()).then(|| gate.waits().first().map_or_else(doing, of_wait));
        let on = links(blueprint, observed, &of_registration(blueprint));
        items.push(Progress::once(Part::registration(), why, on));
    }
    if let Some(gate) = &gates.content {
        let why = match (&observed.content, gate.waits().first()) {
            (ContentState::Settled, _) => None,
            (_, Some(wait)) => Some(of_wait(wait)),
            (ContentState::Missing(what), None) => {
                let words = what.first().cloned().unwrap_or_else(|| "is being made".into());
                Some((Reason::Acting, words))
            }
        };
        items.push(Progress::once(Part::content(), why, links(blueprint, observed, &of_content(blueprint))));
    }
    Report { items }
}

fn component(plan: &ComponentPlan, blueprint: &Blueprint, gates: &Gates, observed: &Observed) -> Progress {
    let state = observed.components.get(&plan.name);
    let wait = gates.components.get(&plan.name).and_then(|gate| gate.waits().first());
    let trouble = state.and_then(|state| state.trouble.clone());
    let why = trouble.or_else(|| wait.map(of_wait)).or_else(|| match state {
        None => Some((Reason::Starting, "is being created".into())),
        Some(state) if lost_quorum(plan, state, observed) => {
            let words = format!("{} of {} members are up, less than a majority", state.ready, state.desired);
            Some((Reason::QuorumLost, words))
        }
        Some(state) if state.ready < state.desired => {
            Some((Reason::Starting, format!("starts ({}/{} ready)", state.ready, state.desired)))
        }
        Some(state) if state.updated < state.desired || state.hash.as_ref() != Some(&plan.hash) => {
            Some((Reason::Rolling, format!("rolls ({}/{} new)", state.updated, state.desired)))
        }
        Some(_) => None,
    });
    // Also what runs already does not become ready without what it needs.
    let on = if why.is_some() { links(blueprint, observed, &plan.needs) } else { Vec::new() };
    Progress {
        part: Part::component(&plan.name),
        ready: state.map_or(0, |state| state.ready),
        wanted: state.map_or(plan.replicas, |state| state.desired),
        why,
        on,
    }
}

/// Are most of several members away in a cloud that was up? While it comes up for the first time they merely start.
fn lost_quorum(plan: &ComponentPlan, state: &ComponentState, observed: &Observed) -> bool {
    let votes = plan.rule.rule == oaas_catalog::ReplicaRule::Odd && state.desired > 1;
    votes && state.ready <= state.desired / 2 && !observed.registered.is_empty()
}

fn of_wait(wait: &Wait) -> (Reason, String) {
    (wait.reason, wait.message.clone())
}
