//! The few Kubernetes objects that an embedded cluster needs before anyone can use it.
//!
//! Applied on every `up` by server-side apply, which writes nothing when nothing changed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node as KubeNode, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, Resource};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use oaas_feedback::{Explain, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use snafu::{ResultExt, Snafu};

use crate::instance::{Network, Node};
use crate::pki::KUBELET_CLIENT;
use crate::subnets::Subnets;
use crate::{config, observe};

/// The name under which this crate owns fields of objects.
const MANAGER: &str = "oaas-node";
/// The provisioner's name in `embedded/kubernetes/kube/volumes.go`.
const PROVISIONER: &str = "oaas.dev/local-volumes";
/// How long a new API server may take to make its own namespaces and roles.
const PATIENCE: Duration = Duration::from_secs(20);

/// An object could not be applied.
#[derive(Debug, Snafu)]
#[snafu(display("failed to apply {kind} {name}"))]
pub struct BootstrapError {
    kind: &'static str,
    name: String,
    source: kube::Error,
}

impl Explain for BootstrapError {
    fn kind(&self) -> Kind {
        Kind::Failed
    }

    fn hint(&self) -> Option<String> {
        Some("see what the API server says: `oaas logs kube-apiserver`".into())
    }
}

/// Apply all of it for a cluster.
pub(crate) async fn apply(client: &Client, subnets: &Subnets, nodes: u8) -> Result<(), BootstrapError> {
    cluster(client, &storage_class()).await?;
    for (role, binding) in roles() {
        if let Some(role) = role {
            cluster(client, &role).await?;
        }
        cluster(client, &binding).await?;
    }
    let dns = dns_service(subnets.dns_service().to_string());
    namespaced(client, &dns).await?;
    namespaced(client, &dns_endpoints(subnets.node(Node::FIRST).to_string())).await?;
    for node in Node::all(nodes) {
        annotate(client, node).await?;
    }
    Ok(())
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn storage_class() -> StorageClass {
    let default = ("storageclass.kubernetes.io/is-default-class".to_owned(), "true".to_owned());
    StorageClass {
        metadata: ObjectMeta { annotations: Some(BTreeMap::from([default])), ..named("local") },
        provisioner: PROVISIONER.into(),
        reclaim_policy: Some("Delete".into()),
        // A directory is on one node: the pod that uses it decides which.
        volume_binding_mode: Some("WaitForFirstConsumer".into()),
        ..StorageClass::default()
    }
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

fn binding(name: &str, role: &str, user: &str) -> ClusterRoleBinding {
    let group = "rbac.authorization.k8s.io";
    ClusterRoleBinding {
        metadata: named(name),
        role_ref: RoleRef { api_group: Some(group.into()), kind: "ClusterRole".into(), name: role.into() },
        subjects: Some(vec![Subject {
            api_group: Some(group.into()),
            kind: "User".into(),
            name: user.into(),
            namespace: None,
        }]),
    }
}

/// Roles of the processes that speak to the API server, as far as Kubernetes does not have them itself.
fn roles() -> Vec<(Option<ClusterRole>, ClusterRoleBinding)> {
    let role = |name: &str, rules| {
        let role = ClusterRole { metadata: named(name), rules: Some(rules), ..ClusterRole::default() };
        (Some(role), binding(name, name, name))
    };
    let (look, change) =
        (["get", "list", "watch"], ["get", "list", "watch", "create", "update", "patch", "delete"]);
    vec![
        role(
            "oaas:coredns",
            vec![
                rule("", &["services", "namespaces"], &look[1..]),
                rule("discovery.k8s.io", &["endpointslices"], &look[1..]),
            ],
        ),
        role(
            "oaas:node-controllers",
            vec![
                rule("", &["persistentvolumes"], &change),
                rule("", &["persistentvolumeclaims"], &["get", "list", "watch", "update", "patch"]),
                rule("storage.k8s.io", &["storageclasses"], &look),
                rule("", &["events"], &["create", "update", "patch"]),
                rule("", &["pods", "namespaces"], &look[1..]),
                rule("networking.k8s.io", &["networkpolicies"], &look[1..]),
            ],
        ),
        (None, binding("oaas:kubelet-api", "system:kubelet-api-admin", KUBELET_CLIENT)),
    ]
}

/// Cluster DNS under the address that every pod is told. It has no selector: the server is a process of the first
/// node, not a pod.
fn dns_service(address: String) -> Service {
    let port = |name: &str, protocol: &str| ServicePort {
        name: Some(name.into()),
        port: 53,
        protocol: Some(protocol.into()),
        ..ServicePort::default()
    };
    Service {
        metadata: ObjectMeta { namespace: Some("kube-system".into()), ..named("kube-dns") },
        spec: Some(ServiceSpec {
            cluster_ip: Some(address),
            ports: Some(vec![port("dns", "UDP"), port("dns-tcp", "TCP")]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn dns_endpoints(address: String) -> EndpointSlice {
    let port = |name: &str, protocol: &str| EndpointPort {
        name: Some(name.into()),
        port: Some(53),
        protocol: Some(protocol.into()),
        ..EndpointPort::default()
    };
    let labels =
        [("kubernetes.io/service-name", "kube-dns"), ("endpointslice.kubernetes.io/managed-by", MANAGER)];
    EndpointSlice {
        metadata: ObjectMeta {
            namespace: Some("kube-system".into()),
            labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
            ..named("kube-dns-node")
        },
        address_type: "IPv4".into(),
        endpoints: Some(vec![Endpoint {
            addresses: vec![address],
            conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
            ..Endpoint::default()
        }]),
        ports: Some(vec![port("dns", "UDP"), port("dns-tcp", "TCP")]),
    }
}

/// What agents on a node must know of its interfaces, and guests of whom to ask for names.
fn interfaces(name_servers: &[Ipv4Addr]) -> String {
    json!({
        "nameServers": name_servers,
        "tunnel": Network::Tunnel.interface(),
        "physicalNetworks": { "public": Network::External.interface() },
    })
    .to_string()
}

async fn annotate(client: &Client, node: Node) -> Result<(), BootstrapError> {
    let name = node.to_string();
    let name_servers = config::reachable_servers(&observe::resolv_conf());
    let mut metadata = json!({ "annotations": { "oaas.dev/interfaces": interfaces(&name_servers) } });
    if node.is_first() {
        metadata["labels"] = json!({ "node-role.kubernetes.io/control-plane": "" });
    }
    let nodes: Api<KubeNode> = Api::all(client.clone());
    retry("Node", &name, async || {
        // A merge, not an apply: an apply would make the node, which is the kubelet's to do.
        nodes
            .patch_metadata(&name, &PatchParams::default(), &Patch::Merge(json!({ "metadata": metadata })))
            .await
    })
    .await
}

async fn cluster<K>(client: &Client, object: &K) -> Result<(), BootstrapError>
where
    K: Resource<Scope = ClusterResourceScope>
        + kube::Resource<DynamicType = (), Scope = ClusterResourceScope>,
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    put(&api, object).await
}

async fn namespaced<K>(client: &Client, object: &K) -> Result<(), BootstrapError>
where
    K: Resource<Scope = NamespaceResourceScope>
        + kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), "kube-system");
    put(&api, object).await
}

async fn put<K>(api: &Api<K>, object: &K) -> Result<(), BootstrapError>
where
    K: Resource + kube::Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let name = object.meta().name.clone().unwrap_or_default();
    let parameters = PatchParams::apply(MANAGER).force();
    retry(K::KIND, &name, async || api.patch(&name, &parameters, &Patch::Apply(object)).await).await
}

/// Try until it works. A new API server answers before its own namespaces and roles are there.
async fn retry<T>(
    kind: &'static str,
    name: &str,
    attempt: impl AsyncFn() -> Result<T, kube::Error>,
) -> Result<(), BootstrapError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= until => {
                return Err(error).context(BootstrapSnafu { kind, name });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_takes_everything() {
        for (role, _) in roles() {
            for rule in role.and_then(|role| role.rules).unwrap_or_default() {
                assert!(!format!("{rule:?}").contains('*'));
            }
        }
    }

    #[test]
    fn the_objects() {
        insta::assert_yaml_snapshot!((
            storage_class(),
            roles(),
            dns_service("10.96.0.10".into()),
            dns_endpoints("10.87.0.11".into()),
            interfaces(&["192.0.2.53".parse().unwrap()]),
        ));
    }
}
