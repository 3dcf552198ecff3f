//! Who may talk to the pods of a cloud.

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use oaas_plan::Blueprint;

use crate::labels::{label_selector, metadata, selector};

/// Pods of a cloud are reached by each other, by the operator and by the nodes; published ports by everyone.
pub(crate) fn policies(blueprint: &Blueprint, node_addresses: &[String]) -> Vec<NetworkPolicy> {
    let from_namespace =
        NetworkPolicyPeer { pod_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() };
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
    let peers: Vec<_> = [from_namespace, from_operator].into_iter().chain(from_nodes).collect();
    let mut policies = vec![NetworkPolicy {
        metadata: metadata(blueprint, "cloud", None),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![NetworkPolicyIngressRule { from: Some(peers), ports: None }]),
            egress: None,
        }),
    }];
    for plan in blueprint.components.values() {
        let published: Vec<NetworkPolicyPort> = plan
            .ports
            .iter()
            .filter(|port| port.node_port.is_some())
            .map(|port| NetworkPolicyPort {
                port: Some(IntOrString::Int(i32::from(port.port))),
                protocol: Some("TCP".into()),
                end_port: None,
            })
            .collect();
        if !published.is_empty() {
            policies.push(NetworkPolicy {
                metadata: metadata(blueprint, &format!("published-{}", plan.name), Some(&plan.name)),
                spec: Some(NetworkPolicySpec {
                    pod_selector: Some(label_selector(selector(&blueprint.cloud, &plan.name))),
                    policy_types: Some(vec!["Ingress".into()]),
                    ingress: Some(vec![NetworkPolicyIngressRule { from: None, ports: Some(published) }]),
                    egress: None,
                }),
            });
        }
    }
    policies
}
