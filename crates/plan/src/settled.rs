//! Whether everything runs with what the Secrets hold now.

use crate::assemble::blueprint;
use crate::blueprint::ComponentPlan;
use crate::inputs::{Inputs, JobState};

/// What does not run with the configuration and the Secrets as they are now, or is not done with them; nothing where
/// all is. What depends on every pod's having read something waits for this.
pub fn unsettled(inputs: &Inputs<'_>) -> Option<String> {
    let Ok(blueprint) = blueprint(inputs) else { return Some("a plan".to_owned()) };
    let runs = |name: &String, hash: &String| {
        inputs.observed.components.get(name).is_some_and(|state| {
            state.hash.as_ref() == Some(hash)
                && state.updated >= state.desired
                && state.ready >= state.desired
        })
    };
    let done = |name: &String| inputs.observed.jobs.get(name) == Some(&JobState::Succeeded);
    // Whoever follows its certificate runs with it a while after it was written.
    let follows = |plan: &ComponentPlan| {
        plan.follows_certificate
            && plan.certificate.as_ref().is_some_and(|name| !inputs.observed.read_secrets.contains(name))
    };
    let component = blueprint.components.values().find(|plan| !runs(&plan.name, &plan.hash) || follows(plan));
    // What is done again and again is never done, and reads the newest Secrets the next time.
    let once = || blueprint.jobs.values().filter(|job| job.schedule.is_none());
    let job = || once().find(|job| !done(&job.object_name()));
    let registration = || {
        let registered = &inputs.observed.registered;
        blueprint.registrations.iter().find(|wanted| registered.get(&wanted.service) != Some(&wanted.hash))
    };
    component
        .map(|plan| plan.name.clone())
        .or_else(|| job().map(|job| format!("the job {}", job.name)))
        .or_else(|| registration().map(|wanted| format!("the registration of {}", wanted.service)))
}
