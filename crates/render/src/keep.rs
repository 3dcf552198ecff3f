//! Which image pods are given when there is a newer one.

use oaas_api::Reason;
use oaas_plan::{Blueprint, Observed};

use crate::workload::pods;

/// Leave the image of every workload as it runs, as long as nothing else about its pods changes: an image that differs
/// in its thin top layer alone comes with the next roll, and is no reason for one. An image that is nowhere to be had any more is not held on to.
pub fn keep_images(blueprint: &mut Blueprint, observed: &Observed) {
    let kept: Vec<(String, String)> = blueprint
        .components
        .values()
        .filter_map(|plan| {
            let state = observed.components.get(&plan.name)?;
            let gone = matches!(state.trouble, Some((Reason::ImageUnavailable, _)));
            let made = state.pods.as_ref().filter(|_| !gone)?;
            let same = pods(blueprint, plan).0 == made.hash;
            same.then(|| (plan.name.clone(), made.image.clone()))
        })
        .collect();
    for (name, image) in kept {
        if let Some(plan) = blueprint.components.get_mut(&name) {
            plan.image.reference = image;
        }
    }
}
