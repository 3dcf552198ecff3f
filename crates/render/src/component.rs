//! The generated `OpenStackComponent` of each component.

use oaas_api::{OpenStackComponent, OpenStackComponentSpec, Scaling};
use oaas_catalog::{ReplicaRule, WorkloadKind};
use oaas_plan::{Blueprint, ComponentPlan};

use crate::labels::{ANNOTATION_REPLICAS, metadata};

pub(crate) fn component(blueprint: &Blueprint, plan: &ComponentPlan) -> OpenStackComponent {
    let scaling = match (plan.kind, plan.rule.rule) {
        (WorkloadKind::DaemonSet, _) => Scaling::Nodes,
        (_, ReplicaRule::One) => Scaling::Fixed,
        _ => Scaling::Replicas,
    };
    let mut metadata = metadata(blueprint, &plan.name, Some(&plan.name));
    metadata.annotations = Some([(ANNOTATION_REPLICAS.to_owned(), "pinned".to_owned())].into());
    OpenStackComponent {
        metadata,
        spec: OpenStackComponentSpec {
            cloud: blueprint.cloud.name.clone(),
            component: plan.name.clone(),
            replicas: (scaling == Scaling::Replicas)
                .then(|| i32::try_from(plan.replicas).unwrap_or(i32::MAX)),
            scaling,
            quorum: plan.rule.rule == ReplicaRule::Odd,
        },
        status: None,
    }
}
