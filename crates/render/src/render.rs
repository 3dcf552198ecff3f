//! The whole of a cloud.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ConfigMap;
use oaas_catalog::WorkloadKind;
use oaas_plan::{Blueprint, Gates};
use serde_json::json;

use crate::labels::{config_secret, metadata};
use crate::objects::Objects;

/// Something that exists or may exist and is to be left as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// The Kubernetes kind: `Deployment`.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

/// What a blueprint becomes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendered {
    /// What is applied now.
    pub objects: Objects,
    /// What a closed gate holds back: neither applied nor pruned.
    pub keep: BTreeSet<Kept>,
}

/// Turn every component and job whose gate is open into objects. Services, policies and the generated
/// `OpenStackComponent`s have no gate: names and addresses come first.
pub fn render(blueprint: &Blueprint, gates: &Gates) -> Rendered {
    let mut rendered = Rendered::default();
    let Rendered { objects, keep } = &mut rendered;
    for plan in blueprint.components.values() {
        objects.services.extend(crate::service::services(blueprint, plan));
        objects.components.push(crate::component::component(blueprint, plan));
        if gates.components.get(&plan.name).is_none_or(oaas_plan::Gate::is_open) {
            crate::workload::workload(blueprint, plan, objects);
        } else {
            let kind = match plan.kind {
                WorkloadKind::Deployment => "Deployment",
                WorkloadKind::StatefulSet => "StatefulSet",
                WorkloadKind::DaemonSet => "DaemonSet",
            };
            keep.insert(Kept { kind, name: plan.name.clone() });
            keep.insert(Kept { kind: "Secret", name: config_secret(&plan.name) });
            keep.insert(Kept { kind: "PodDisruptionBudget", name: plan.name.clone() });
            for volume in &plan.volumes {
                keep.insert(Kept { kind: "PersistentVolumeClaim", name: crate::pod::claim_name(plan, volume) });
            }
        }
    }
    for plan in blueprint.jobs.values() {
        if gates.jobs.get(&plan.name).is_none_or(oaas_plan::Gate::is_open) {
            crate::job::job(blueprint, plan, objects);
        } else {
            keep.insert(Kept { kind: "Job", name: plan.object_name() });
            keep.insert(Kept { kind: "Secret", name: config_secret(&plan.object_name()) });
        }
    }
    objects.config_maps.push(nodes(blueprint));
    objects.network_policies.extend(crate::policy::policies(blueprint, &blueprint.node_addresses));
    rendered
}

/// What the agents on each node are told: a file per node.
fn nodes(blueprint: &Blueprint) -> ConfigMap {
    let files: BTreeMap<String, String> = blueprint
        .nodes
        .iter()
        .filter(|node| !node.labels.is_empty())
        .filter_map(|node| {
            let tunnel = node.tunnel_interface.as_ref()?;
            let settings = json!({
                "tunnelInterface": tunnel,
                "physicalNetworks": node.physical_networks,
                "gateway": node.gateway,
            });
            Some((format!("{}.json", node.name), settings.to_string()))
        })
        .collect();
    ConfigMap {
        metadata: metadata(blueprint, crate::pod::NODES, None),
        data: Some(files),
        ..ConfigMap::default()
    }
}
