//! What is told of a plan: how far each component is, and why it is not further.

use oaas_api::Reason;

use crate::blueprint::Blueprint;
use crate::gates::Gates;
use crate::inputs::{JobState, Observed};

/// How far one component or job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Its name.
    pub name: String,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods that are wanted.
    pub wanted: u32,
    /// Why it is not ready: a typed reason and words.
    pub why: Option<(Reason, String)>,
    /// What it waits for; the next link of the chain of causes.
    pub on: Option<String>,
}

/// How far everything is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Components and unfinished jobs, in the order in which they come up.
    pub items: Vec<Progress>,
}

impl Report {
    /// Components that are ready.
    pub fn ready(&self) -> usize {
        self.items.iter().filter(|item| item.why.is_none()).count()
    }

    /// What is waited for first: something that waits for nothing else, in trouble before merely starting.
    pub fn first_wait(&self) -> Option<&Progress> {
        let roots = || self.items.iter().filter(|item| item.why.is_some() && item.on.is_none());
        let starting = |item: &&Progress| matches!(item.why, Some((Reason::Starting | Reason::Rolling, _)));
        roots()
            .find(|item| !starting(item))
            .or_else(|| roots().next())
            .or_else(|| self.items.iter().find(|i| i.why.is_some()))
    }

    /// The chain of causes of a component, from itself to the root.
    pub fn chain(&self, name: &str) -> Vec<&Progress> {
        let mut chain = Vec::new();
        let mut next = self.items.iter().find(|item| item.name == name);
        while let Some(item) = next {
            if chain.iter().any(|seen: &&Progress| seen.name == item.name) {
                break;
            }
            chain.push(item);
            next = item
                .on
                .as_ref()
                .and_then(|on| self.items.iter().find(|other| other.name == *on && other.why.is_some()));
        }
        chain
    }
}

/// Tell how far everything is.
pub fn report(blueprint: &Blueprint, gates: &Gates, observed: &Observed) -> Report {
    let mut items = Vec::new();
    for plan in blueprint.components.values() {
        let state = observed.components.get(&plan.name);
        let waits = gates.components.get(&plan.name).map(crate::Gate::waits).unwrap_or_default();
        let mut item = Progress {
            name: plan.name.clone(),
            ready: state.map_or(0, |state| state.ready),
            wanted: state.map_or(plan.replicas, |state| state.desired),
            why: None,
            on: None,
        };
        if let Some(trouble) = state.and_then(|state| state.trouble.clone()) {
            item.why = Some(trouble);
        } else if let Some(wait) = waits.first() {
            item.why = Some((wait.reason, wait.message.clone()));
            item.on.clone_from(&wait.on);
        } else {
            match state {
                None => item.why = Some((Reason::Starting, "is being created".into())),
                Some(state) if state.ready < state.desired => {
                    item.why =
                        Some((Reason::Starting, format!("starts ({}/{} ready)", state.ready, state.desired)));
                }
                Some(state) if state.updated < state.desired || state.hash.as_ref() != Some(&plan.hash) => {
                    item.why =
                        Some((Reason::Rolling, format!("rolls ({}/{} new)", state.updated, state.desired)));
                }
                Some(_) => {}
            }
        }
        items.push(item);
    }
    // What is done again and again is never done.
    for job in blueprint.jobs.values().filter(|job| job.schedule.is_none()) {
        let waits = gates.jobs.get(&job.name).map(crate::Gate::waits).unwrap_or_default();
        let (why, on) = match observed.jobs.get(&job.object_name()) {
            Some(JobState::Succeeded) => (None, None),
            Some(JobState::Failed(why)) => (Some((Reason::JobFailed, format!("failed: {why}"))), None),
            Some(JobState::Active) => (Some((Reason::Starting, job.title.clone())), None),
            None => match waits.first() {
                Some(wait) => (Some((wait.reason, wait.message.clone())), wait.on.clone()),
                None => (Some((Reason::Starting, job.title.clone())), None),
            },
        };
        let done = u32::from(why.is_none());
        items.push(Progress { name: job.name.clone(), ready: done, wanted: 1, why, on });
    }
    if let Some(gate) = &gates.registration {
        let missing: Vec<&str> = blueprint
            .registrations
            .iter()
            .filter(|wanted| observed.registered.get(&wanted.service) != Some(&wanted.hash))
            .map(|wanted| wanted.service.as_str())
            .collect();
        let why = (!missing.is_empty()).then(|| match gate.waits().first() {
            Some(wait) => (wait.reason, wait.message.clone()),
            None => (Reason::Acting, format!("registers {}", missing.join(", "))),
        });
        let on = if why.is_some() { gate.waits().first().and_then(|wait| wait.on.clone()) } else { None };
        items.push(Progress {
            name: "registration".into(),
            ready: u32::from(why.is_none()),
            wanted: 1,
            why,
            on,
        });
    }
    Report { items }
}
