//! What each node is and what its agents are told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::inputs::{Inputs, Node};

/// What the agents on one node are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodePlan {
    /// The node's name.
    pub name: String,
    /// Labels of ours that it gets: the workloads of a node select by them.
    pub labels: BTreeMap<String, String>,
    /// The interface that carries tunnels.
    pub tunnel_interface: Option<String>,
    /// Physical networks and their interfaces.
    pub physical_networks: BTreeMap<String, String>,
    /// Does it connect external networks?
    pub gateway: bool,
}

/// A node's annotation with its interfaces.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Interfaces {
    tunnel: Option<String>,
    physical_networks: BTreeMap<String, String>,
}

/// The label of ours on nodes that run virtual machines; its value names the cloud.
pub const COMPUTE: &str = "oaas.dev/compute";
/// The label of ours on nodes that connect external networks; its value names the cloud.
pub const NETWORK: &str = "oaas.dev/network";
/// The label of ours on nodes that carry virtual networks at all; its value names the cloud.
pub const CHASSIS: &str = "oaas.dev/chassis";

/// What each node is for this cloud. A node belongs to one cloud: one that carries another cloud's label is left out.
pub fn node_plans(inputs: &Inputs<'_>) -> Vec<NodePlan> {
    let mark = format!("{}.{}", inputs.cloud.namespace, inputs.cloud.name);
    let foreign = |node: &Node| {
        [COMPUTE, NETWORK, CHASSIS]
            .iter()
            .any(|label| node.labels.get(*label).is_some_and(|owner| *owner != mark))
    };
    inputs
        .nodes
        .iter()
        .filter(|node| !foreign(node))
        .map(|node| {
            let mut plan =
                NodePlan { name: node.name.clone(), gateway: node.has("network"), ..NodePlan::default() };
            let mut label = |name: &str, wanted: bool| {
                if wanted {
                    plan.labels.insert(name.to_owned(), mark.clone());
                }
            };
            label(COMPUTE, node.has("compute"));
            label(NETWORK, node.has("network"));
            label(CHASSIS, node.has("compute") || node.has("network"));
            let told: Interfaces = node
                .interfaces
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default();
            let tunnel = inputs.spec.network.as_ref().and_then(|network| network.tunnel.as_ref());
            plan.tunnel_interface = tunnel.and_then(|tunnel| tunnel.interface.clone()).or(told.tunnel);
            plan.physical_networks = told.physical_networks;
            for group in &inputs.spec.nodes {
                let selected = group.selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
                if selected {
                    plan.physical_networks.extend(group.physical_networks.clone());
                    plan.tunnel_interface = group.tunnel_interface.clone().or(plan.tunnel_interface);
                }
            }
            plan
        })
        .collect()
}
