//! Who may talk to the pods of a cloud.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use oaas_api::names;
use oaas_plan::{Blueprint, Callers, ComponentPlan, PortPlan};

use crate::labels::{label_selector, metadata, selector};

/// Pods of a cloud are reached by the operator and by the nodes (whose address pods on the host's network have); by those pods of the
/// cloud whose files refer to them, and by each other where they are members of one component; published ports by everyone.
pub(crate) fn policies(blueprint: &Blueprint, node_addresses: &[String]) -> Vec<NetworkPolicy> {
    let namespace = blueprint.cluster.operator_namespace.clone();
    let operator = [("kubernetes.io/metadata.name".to_owned(), namespace)].into();
    let from_operator = NetworkPolicyPeer {
        namespace_selector: Some(label_selector(operator)),
        ..NetworkPolicyPeer::default()
    };
    let from_nodes = node_addresses.iter().map(|address| NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: format!("{address}/{}", if address.contains(':') { 128 } else { 32 }),
            except: None,
        }),
        ..NetworkPolicyPeer::default()
    });
    let peers: Vec<_> = [from_operator].into_iter().chain(from_nodes).collect();
    let everywhere = rule(Some(peers), None);
    let mut policies = vec![policy(blueprint, "cloud", None, vec![everywhere])];
    for plan in blueprint.components.values() {
        if let Some(callers) = blueprint.callers.get(&plan.name) {
            let rules = from_cloud(blueprint, plan, callers);
            policies.push(policy(blueprint, &format!("to-{}", plan.name), Some(&plan.name), rules));
        }
        let published = ports(plan, |port| port.node_port.is_some());
        if !published.is_empty() {
            let name = format!("published-{}", plan.name);
            policies.push(policy(blueprint, &name, Some(&plan.name), vec![rule(None, Some(published))]));
        }
    }
    policies
}

/// What the cloud's own pods may: its members all, its callers what is not for its members alone.
fn from_cloud(
    blueprint: &Blueprint,
    plan: &ComponentPlan,
    callers: &Callers,
) -> Vec<NetworkPolicyIngressRule> {
    let pods = |selector| {
        Some(vec![NetworkPolicyPeer { pod_selector: Some(selector), ..NetworkPolicyPeer::default() }])
    };
    let mut rules = vec![rule(pods(label_selector(selector(&blueprint.cloud, &plan.name))), None)];
    let callers = match callers {
        Callers::Everyone => Some(LabelSelector::default()),
        Callers::Only(some) if some.is_empty() => None,
        Callers::Only(some) => Some(LabelSelector {
            match_labels: Some(BTreeMap::from([(
                names::LABEL_CLOUD.to_owned(),
                blueprint.cloud.name.clone(),
            )])),
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: names::LABEL_COMPONENT.to_owned(),
                operator: "In".to_owned(),
                values: Some(some.iter().cloned().collect()),
            }]),
        }),
    };
    let carried = ports(plan, |port| port.for_callers);
    // No ports would be all of them.
    if let (Some(callers), false) = (callers, carried.is_empty()) {
        rules.push(rule(pods(callers), Some(carried)));
    }
    rules
}

fn ports(plan: &ComponentPlan, which: impl Fn(&PortPlan) -> bool) -> Vec<NetworkPolicyPort> {
    let port = |port: &PortPlan| NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(port.port))),
        protocol: Some("TCP".into()),
        end_port: None,
    };
    plan.ports.iter().filter(|port| which(port)).map(port).collect()
}

fn rule(
    from: Option<Vec<NetworkPolicyPeer>>,
    ports: Option<Vec<NetworkPolicyPort>>,
) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from, ports }
}

/// A policy of one component, or of all pods.
fn policy(
    blueprint: &Blueprint,
    name: &str,
    component: Option<&str>,
    ingress: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicy {
    let pods = component.map(|component| label_selector(selector(&blueprint.cloud, component)));
    NetworkPolicy {
        metadata: metadata(blueprint, name, component),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods.unwrap_or_default()),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }
}
