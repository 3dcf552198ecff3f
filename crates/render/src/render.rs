//! The whole of a cloud.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use oaas_plan::{Blueprint, Gates};
use serde_json::json;

use crate::labels::metadata;
use crate::objects::Objects;

/// What a blueprint becomes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendered {
    /// What is applied now.
    pub apply: Objects,
    /// What a closed gate holds back: neither applied nor pruned.
    pub held: Objects,
}

/// Turn every component and job into objects: those whose gate is open to be applied, the others to be held. Services,
/// policies and the generated `OpenStackComponent`s have no gate: names and addresses come first.
pub fn render(blueprint: &Blueprint, gates: &Gates) -> Rendered {
    let mut rendered = Rendered::default();
    let Rendered { apply, held } = &mut rendered;
    for plan in blueprint.components.values() {
        apply.services.extend(crate::service::services(blueprint, plan));
        apply.components.push(crate::component::component(blueprint, plan));
        let open = gates.components.get(&plan.name).is_none_or(oaas_plan::Gate::is_open);
        crate::workload::workload(blueprint, plan, if open { &mut *apply } else { &mut *held });
    }
    for plan in blueprint.jobs.values() {
        let open = gates.jobs.get(&plan.name).is_none_or(oaas_plan::Gate::is_open);
        crate::job::job(blueprint, plan, if open { &mut *apply } else { &mut *held });
    }
    apply.config_maps.push(nodes(blueprint));
    apply.network_policies.extend(crate::policy::policies(blueprint, &blueprint.node_addresses));
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
