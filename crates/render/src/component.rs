//! The generated `OpenStackComponent` of each component.

use std::collections::BTreeMap;

use oaas_api::{OpenStackComponent, OpenStackComponentSpec, Scaling};
use oaas_catalog::{ReplicaRule, WorkloadKind};
use oaas_plan::{Blueprint, ComponentPlan};

use crate::labels::{ANNOTATION_REPLICAS, ANNOTATION_REPLICAS_GIVEN, metadata};

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(crate) fn component(blueprint: &Blueprint, plan: &ComponentPlan) -> OpenStackComponent {
    let scaling = match (plan.kind, plan.rule.rule) {
        (WorkloadKind::DaemonSet, _) => Scaling::Nodes,
        (_, ReplicaRule::One) => Scaling::Fixed,
        _ => Scaling::Replicas,
    };
    let mut metadata = metadata(blueprint, &plan.name, Some(&plan.name));
    metadata.annotations = Some(BTreeMap::from([
        (ANNOTATION_REPLICAS.to_owned(), "pinned".to_owned()),
        (ANNOTATION_REPLICAS_GIVEN.to_owned(), plan.given_replicas.to_string()),
    ]));
    OpenStackComponent {
        metadata,
        spec: OpenStackComponentSpec {
            cloud: blueprint.cloud.name.clone(),
            component: plan.name.clone(),
            replicas: (scaling == Scaling::Replicas).then(|| count(plan.replicas)),
            members: plan.voting_members.map(count),
            scaling,
            quorum: plan.rule.rule == ReplicaRule::Odd,
        },
        status: None,
    }
}
