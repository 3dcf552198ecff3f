//! What each node is and what its agents are told.

use std::collections::BTreeMap;
use std::net::IpAddr;

use oaas_catalog::NodeLabel;
use serde::{Deserialize, Serialize};

use crate::inputs::{CloudId, Inputs, Node};
use crate::node_files::groups;

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
pub(crate) struct Interfaces {
    /// The interface that carries tunnels.
    pub(crate) tunnel: Option<String>,
    /// Physical networks and their interfaces.
    pub(crate) physical_networks: BTreeMap<String, String>,
    /// Whom the node itself asks for names, as far as guests reach them.
    pub(crate) name_servers: Vec<IpAddr>,
}

/// What a node's annotation tells; nothing where it has none.
pub(crate) fn told(node: &Node) -> Interfaces {
    node.interfaces.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// What a label of the catalog means on nodes.
struct Meaning {
    label: NodeLabel,
    /// Labels of the user's, with the value `true`; one of them is enough.
    users: &'static [&'static str],
    /// The label of ours on such nodes, whose value names the cloud. Controllers are any cloud's and have none.
    ours: Option<&'static str>,
}

/// All labels there are.
const MEANINGS: [Meaning; 4] = [
    Meaning { label: NodeLabel::Controller, users: &["controller"], ours: None },
    Meaning { label: NodeLabel::Compute, users: &["compute"], ours: Some("oaas.dev/compute") },
    Meaning { label: NodeLabel::Network, users: &["network"], ours: Some("oaas.dev/network") },
    Meaning { label: NodeLabel::Chassis, users: &["compute", "network"], ours: Some("oaas.dev/chassis") },
];

impl Meaning {
    fn of(label: NodeLabel) -> &'static Self {
        let found = MEANINGS.iter().find(|meaning| meaning.label == label);
        found.expect("every label of the catalog stands in the table above; a test looks")
    }

    fn on(&self, node: &Node) -> bool {
        self.users.iter().any(|label| node.has(label))
    }
}

/// The label and value by which a cloud's pods find the nodes that they may run on.
pub fn node_selector(cloud: &CloudId, label: NodeLabel) -> (String, String) {
    let meaning = Meaning::of(label);
    match meaning.ours {
        Some(ours) => (ours.to_owned(), mark(cloud)),
        None => (meaning.users[0].to_owned(), "true".to_owned()),
    }
}

/// Has a node what the user marks such nodes with?
pub(crate) fn is_labelled(node: &Node, label: NodeLabel) -> bool {
    Meaning::of(label).on(node)
}

/// The labels of which every cluster needs a node: those that the user sets.
pub(crate) fn user_labels() -> impl Iterator<Item = &'static str> {
    MEANINGS.iter().filter(|meaning| meaning.users.len() == 1).map(|meaning| meaning.users[0])
}

/// What the labels of ours say of a cloud's nodes.
fn mark(cloud: &CloudId) -> String {
    format!("{}.{}", cloud.namespace, cloud.name)
}

/// What each node is for this cloud. A node belongs to one cloud: one that carries another cloud's label is left out.
pub fn node_plans(inputs: &Inputs<'_>) -> Vec<NodePlan> {
    let mark = mark(inputs.cloud);
    let foreign = |node: &Node| {
        let mut ours = MEANINGS.iter().filter_map(|meaning| meaning.ours);
        ours.any(|label| node.labels.get(label).is_some_and(|owner| *owner != mark))
    };
    inputs
        .nodes
        .iter()
        .filter(|node| !foreign(node))
        .map(|node| {
            let mut plan = NodePlan {
                name: node.name.clone(),
                gateway: is_labelled(node, NodeLabel::Network),
                ..NodePlan::default()
            };
            for meaning in MEANINGS.iter().filter(|meaning| meaning.on(node)) {
                plan.labels.extend(meaning.ours.map(|ours| (ours.to_owned(), mark.clone())));
            }
            let told = told(node);
            let tunnel = inputs.spec.network.as_ref().and_then(|network| network.tunnel.as_ref());
            plan.tunnel_interface = tunnel.and_then(|tunnel| tunnel.interface.clone()).or(told.tunnel);
            plan.physical_networks = told.physical_networks;
            for group in groups(inputs, node) {
                plan.physical_networks.extend(group.physical_networks.clone());
                plan.tunnel_interface = group.tunnel_interface.clone().or(plan.tunnel_interface);
            }
            plan
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_has_a_meaning() {
        let all = [NodeLabel::Controller, NodeLabel::Compute, NodeLabel::Network, NodeLabel::Chassis];
        assert_eq!(all.map(|label| Meaning::of(label).label), all);
        assert_eq!(user_labels().collect::<Vec<_>>(), ["controller", "compute", "network"]);
    }
}
