//! A component: one workload of a service.

use serde::Deserialize;

use crate::health::Health;
use crate::pod::Pod;

/// One workload: pods of one template.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// The name of the workload and of its Service.
    pub name: String,
    /// Which kind of workload.
    pub kind: WorkloadKind,
    /// Replicas, where the kind has them.
    pub replicas: Replicas,
    /// The name of a further Service that leads to one chosen member only: the writer of a database.
    pub single_writer: Option<String>,
    /// Ports it listens on.
    pub ports: Vec<Port>,
    /// When it is started, alive, ready: what differs from what suits its role.
    pub health: Health,
    /// Does it have a certificate of its own, mounted at `/etc/oaas/tls`? The authority's is always there.
    pub certificate: bool,
    /// Does it take another certificate, and other authorities, while it runs? Then it does not roll for them.
    pub follows_certificate: bool,
    /// Its pods.
    pub pod: Pod,
}

/// Which Kubernetes workload runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadKind {
    /// Interchangeable pods.
    Deployment,
    /// Pods with stable names and volumes.
    StatefulSet,
    /// One pod on each node of a kind; the operator rolls them.
    DaemonSet,
}

/// How many replicas, and which counts are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Replicas {
    /// The count where neither the profile nor the resource says one.
    pub default: u32,
    /// Which counts make sense.
    pub rule: ReplicaRule,
}

impl Default for Replicas {
    fn default() -> Self {
        Self { default: 1, rule: ReplicaRule::Any }
    }
}

/// Which replica counts make sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicaRule {
    /// Any count.
    Any,
    /// 2n+1, as a quorum needs it.
    Odd,
    /// One only.
    One,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its number.
    pub port: u16,
    /// Does it speak TLS?
    #[serde(default)]
    pub tls: bool,
    /// Who reaches it.
    #[serde(default)]
    pub expose: Expose,
}

/// Who reaches a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expose {
    /// The pods of the cluster, through its Service.
    #[default]
    Cluster,
    /// The outside too.
    NodePort(Published),
    /// Who refers to it, at each member itself: no Service carries it.
    Callers,
    /// The component's own members.
    None,
}

/// Something that is reached from outside, on a NodePort.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Its key: `${publish:KEY}` is its address, and the field `KEYPort` of `spec.publish`, if there is one, its port.
    pub key: String,
    /// The port of the first cloud in a cluster.
    pub default: u16,
}
