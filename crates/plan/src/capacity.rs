//! What a cloud takes of its nodes.

use oaas_api::Reason;
use oaas_catalog::WorkloadKind;

use crate::blueprint::{Blueprint, ComponentPlan};
use crate::inputs::Inputs;
use crate::nodes::node_selector;
use crate::problem::Problem;
use crate::select::profile_name;

/// The profile that needs least.
const SMALLEST: &str = "tiny";

/// What the pods of a cloud take together. Jobs, which end, do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Pods.
    pub pods: u64,
    /// Requested processor time, in thousandths of a core.
    pub cpu_millis: u64,
    /// Requested memory, in MiB.
    pub memory_mib: u64,
    /// The sum of the memory limits, in MiB.
    pub memory_limit_mib: u64,
}

/// Pods of a component: one on each node that it may run on, where it runs on nodes.
fn pods(blueprint: &Blueprint, plan: &ComponentPlan) -> u64 {
    if plan.kind != WorkloadKind::DaemonSet {
        return u64::from(plan.replicas);
    }
    let (label, value) = node_selector(&blueprint.cloud, plan.nodes);
    let nodes = blueprint.nodes.iter().filter(|node| node.labels.get(&label) == Some(&value)).count();
    // A cloud that is planned before there are nodes has one at least.
    u64::try_from(nodes).unwrap_or(u64::MAX).max(1)
}

/// What a cloud takes together.
pub fn capacity(blueprint: &Blueprint) -> Capacity {
    blueprint.components.values().fold(Capacity::default(), |sum, plan| {
        let pods = pods(blueprint, plan);
        Capacity {
            pods: sum.pods + pods,
            cpu_millis: sum.cpu_millis + pods * u64::from(plan.resources.cpu_millis),
            memory_mib: sum.memory_mib + pods * u64::from(plan.resources.memory_mib),
            memory_limit_mib: sum.memory_limit_mib + pods * u64::from(plan.resources.memory_limit_mib),
        }
    })
}

impl std::fmt::Display for Capacity {
    /// `26 pods that ask for 0.5 cores and 4.1 GiB of memory, and may take up to 18.5 GiB`.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} pods that ask for {} cores and {} GiB of memory, and may take up to {} GiB",
            self.pods,
            tenths(self.cpu_millis, 1000),
            tenths(self.memory_mib, 1024),
            tenths(self.memory_limit_mib, 1024)
        )
    }
}

/// An amount in a larger unit, rounded up to a tenth.
fn tenths(amount: u64, unit: u64) -> String {
    let tenths = (amount * 10).div_ceil(unit);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// What of a blueprint does not fit into the nodes. Only for clouds that do not run yet: one that runs has its place.
pub fn too_large(inputs: &Inputs<'_>, blueprint: &Blueprint) -> Vec<Problem> {
    let wanted = capacity(blueprint).memory_mib;
    let there: u64 = inputs.nodes.iter().map(|node| node.allocatable_memory_mib).sum();
    if inputs.nodes.is_empty() || wanted <= there {
        return Vec::new();
    }
    let smaller = match profile_name(inputs.spec.profile) {
        larger if inputs.catalog.profiles().get(larger) == inputs.catalog.profiles().get(SMALLEST) => {
            String::new()
        }
        larger => format!("profile {SMALLEST} instead of {larger}, "),
    };
    vec![Problem {
        reason: Reason::NotSchedulable,
        path: "spec".into(),
        message: format!("the cloud wants {wanted} MiB of memory, but the nodes have {there} MiB"),
        hint: Some(format!("take {smaller}fewer replicas, or more or larger nodes")),
    }]
}

#[cfg(test)]
mod tests {
    use super::{Capacity, tenths};

    #[test]
    fn amounts_are_told_in_tenths_and_never_too_small() {
        assert_eq!(tenths(0, 1000), "0.0");
        assert_eq!(tenths(501, 1000), "0.6");
        assert_eq!(tenths(4096, 1024), "4.0");
        let one = Capacity { pods: 1, cpu_millis: 100, memory_mib: 512, memory_limit_mib: 1024 };
        assert_eq!(
            one.to_string(),
            "1 pods that ask for 0.1 cores and 0.5 GiB of memory, and may take up to 1.0 GiB"
        );
    }
}
