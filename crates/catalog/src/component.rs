//! A component: one workload of a service.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::health::Health;
use crate::role::Role;

/// One workload: pods of one template.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// The name of the workload and of its Service.
    pub name: String,
    /// Which kind of workload.
    pub kind: WorkloadKind,
    /// The image, by name; `openstack` stands for the release's.
    pub image: String,
    /// Replicas, where the kind has them.
    #[serde(default)]
    pub replicas: Replicas,
    /// On which nodes.
    #[serde(default)]
    pub nodes: NodeLabel,
    /// What must be so before it is started for the first time or rolled.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Fragments of the service's main file; `common/NAME` picks one that all services share.
    #[serde(default)]
    pub config: Vec<String>,
    /// Further files of the service.
    #[serde(default)]
    pub files: Vec<String>,
    /// Passwords it reads as files below `/etc/oaas/accounts/`, by secret; `messaging:*` stands for those of all
    /// services with messaging.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// The name of a further Service that leads to one chosen member only: the writer of a database.
    #[serde(default)]
    pub single_writer: Option<String>,
    /// Secrets that are mounted as directories: secret → path.
    #[serde(default)]
    pub secret_mounts: BTreeMap<String, String>,
    /// Ports it listens on.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Does it have a certificate of its own, mounted at `/etc/oaas/tls`? The authority's is always there.
    #[serde(default = "yes")]
    pub certificate: bool,
    /// What the agent runs.
    pub role: Role,
    /// Environment of the agent and its child.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// When it is started, alive, ready: what differs from what suits its role.
    #[serde(default)]
    pub health: Health,
    /// How much of a node it takes.
    pub resources: Resources,
    /// Does it read what its node is, from `/etc/oaas/nodes/<node>.json`?
    #[serde(default)]
    pub node_settings: bool,
    /// What is mounted.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Users, capabilities, namespaces.
    #[serde(default)]
    pub security: Security,
    /// Seconds it is given to stop.
    #[serde(default = "thirty")]
    pub grace: u32,
}

fn yes() -> bool {
    true
}

fn thirty() -> u32 {
    30
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

/// Which nodes it may run on: a label of the user's with the value `true`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeLabel {
    /// `controller=true`.
    #[default]
    Controller,
    /// `compute=true`.
    Compute,
    /// `network=true`.
    Network,
    /// `compute=true` or `network=true`.
    Chassis,
}

/// What must be so before something starts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// `ready:COMPONENT`: it has a ready replica.
    Ready(String),
    /// `job:NAME`: that job has succeeded.
    Job(String),
    /// `schema:SERVICE`: the databases of that service are loaded.
    Schema(String),
    /// `registered:SERVICE`: user, service and endpoints stand in Keystone.
    Registered(String),
}

impl<'de> Deserialize<'de> for Need {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (kind, name) =
            text.split_once(':').ok_or_else(|| de::Error::custom(format!("need {text} lacks a colon")))?;
        let name = name.to_owned();
        match kind {
            "ready" => Ok(Self::Ready(name)),
            "job" => Ok(Self::Job(name)),
            "schema" => Ok(Self::Schema(name)),
            "registered" => Ok(Self::Registered(name)),
            _ => Err(de::Error::custom(format!("unknown need {text}: ready:, job:, schema: or registered:"))),
        }
    }
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
    /// Nobody through a Service.
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

/// How much of a node it takes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Requested processor time, in thousandths of a core: a share beside the others more than a need. The sum is small
    /// on purpose, so that a node of two cores has room for the new pods of a roll beside the old ones.
    pub cpu_millis: u32,
    /// Requested memory in MiB.
    pub memory_mib: u32,
    /// Memory limit in MiB.
    pub memory_limit_mib: u32,
    /// Processor time at the most, in thousandths of a core; none where absent.
    #[serde(default)]
    pub cpu_limit_millis: Option<u32>,
    /// Worker processes at the most, each core of the limit giving one.
    #[serde(default = "one")]
    pub workers: u32,
}

fn one() -> u32 {
    1
}

/// A volume and where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Where it is mounted.
    pub mount: String,
    /// Where it comes from.
    pub source: VolumeSource,
    /// Is it mounted read-only?
    #[serde(default)]
    pub read_only: bool,
    /// The field of `spec.storage` that says its size, where nothing is said of the service itself.
    #[serde(default)]
    pub sized_by: Option<SizeField>,
}

/// A field of `spec.storage` that is a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SizeField {
    /// `images`: of the image store.
    Images,
}

/// Where a volume comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeSource {
    /// A persistent volume of that many GiB, one per replica of a stateful set, one shared by a deployment.
    PersistentGib(u32),
    /// A directory of the node; both sides see each other's mounts where `shared` says so.
    Host {
        /// The path on the node.
        path: String,
        /// `DirectoryOrCreate` unless it must exist.
        #[serde(default)]
        must_exist: bool,
        /// A file or socket rather than a directory?
        #[serde(default)]
        file: bool,
        /// Are mounts propagated both ways?
        #[serde(default)]
        shared: bool,
    },
    /// An empty directory that lives as long as the pod; in memory where so.
    Scratch {
        /// In memory, not on disk.
        #[serde(default)]
        memory: bool,
    },
}

/// What the pod may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// The user that it runs as.
    pub user: i64,
    /// The group, also of its volumes.
    pub group: i64,
    /// All capabilities and devices.
    pub privileged: bool,
    /// Capabilities beyond none.
    pub capabilities: Vec<String>,
    /// In the node's network namespace.
    pub host_network: bool,
    /// In the node's PID namespace.
    pub host_pid: bool,
    /// May it write to its root file system?
    pub writable_root: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            user: 42424,
            group: 42424,
            privileged: false,
            capabilities: Vec::new(),
            host_network: false,
            host_pid: false,
            writable_root: true,
        }
    }
}
