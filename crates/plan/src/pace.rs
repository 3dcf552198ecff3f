//! How many workloads roll at the same time.
//!
//! A change may concern every service at once, and each new pod needs a core for some seconds to start. All of them together
//! leave nothing to those that answer meanwhile: their probes fail, and requests with them. So some go first, and the others
//! follow as these are done.

use oaas_api::Reason;
use oaas_api::status::Part;
use oaas_catalog::WorkloadKind;

use crate::blueprint::{Blueprint, ComponentPlan};
use crate::gates::{Gate, Gates, Wait};
use crate::inputs::{ComponentState, Observed};

/// Workloads that roll at once in a cloud of one node; each further node makes room for another one.
const AT_ONCE: usize = 3;

/// Close the gates of what has to wait for its turn. What is new does not roll, and waits for nobody; nor do daemon sets,
/// whose pods the operator replaces one by one ([`crate::roll()`]).
pub fn pace(blueprint: &Blueprint, observed: &Observed, gates: &mut Gates) {
    let state = |plan: &ComponentPlan| observed.components.get(&plan.name);
    let rolling: Vec<&str> = blueprint
        .components
        .values()
        .filter(|plan| state(plan).is_some_and(|state| rolls(plan, state)))
        .map(|plan| plan.name.as_str())
        .collect();
    let mut free = (AT_ONCE + blueprint.nodes.len().saturating_sub(1)).saturating_sub(rolling.len());
    for plan in blueprint.components.values() {
        let Some(state) = state(plan) else { continue };
        let waits = plan.kind != WorkloadKind::DaemonSet
            && state.hash.as_ref() != Some(&plan.hash)
            // What rolls already has its turn, and so has what is broken: another try may heal it.
            && settled(state);
        let gate = gates.components.get_mut(&plan.name).filter(|gate| gate.is_open());
        let (true, Some(gate)) = (waits, gate) else { continue };
        if free > 0 {
            free -= 1;
        } else {
            let on =
                rolling.first().map_or_else(|| Part::component(&plan.name), |name| Part::component(*name));
            let message = "waits for its turn to roll".to_owned();
            *gate = Gate::Held(vec![Wait { reason: Reason::Rolling, message, on }]);
        }
    }
}

/// Are all of its pods there, ready and of the newest template?
fn settled(state: &ComponentState) -> bool {
    state.ready >= state.desired && state.updated >= state.desired
}

/// Does it take a turn? What is in trouble takes none: it may never end.
fn rolls(plan: &ComponentPlan, state: &ComponentState) -> bool {
    plan.kind != WorkloadKind::DaemonSet && state.trouble.is_none() && !settled(state)
}
