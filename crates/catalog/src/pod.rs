//! What the pods of components and of jobs have in common.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::role::Role;
use crate::value::{Scalar, SecretKey};

/// A pod: an image, what the agent runs in it, what it reads, what it may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    /// The image, by name; `openstack` stands for the release's.
    pub image: String,
    /// On which nodes.
    pub nodes: NodeLabel,
    /// What must be so before it is started for the first time or rolled.
    pub needs: Vec<Need>,
    /// Fragments of the service's main file; `common/NAME` picks one that all services share.
    pub config: Vec<String>,
    /// Further files of the service.
    pub files: Vec<String>,
    /// Passwords it reads as files below `/etc/oaas/accounts/`, by secret.
    pub accounts: Vec<String>,
    /// Secrets that are mounted as directories: secret → path.
    pub secret_mounts: BTreeMap<String, String>,
    /// Environment variables that hold a secret: variable → `NAME` or `NAME/KEY`.
    pub secret_env: BTreeMap<String, SecretKey>,
    /// Environment of the agent, its child and whoever looks around in the container.
    pub env: BTreeMap<String, Scalar>,
    /// What the agent runs.
    pub role: Role,
    /// How much of a node it takes.
    pub resources: Resources,
    /// Does it read what its node is, from `/etc/oaas/nodes/<node>.json`?
    pub node_settings: bool,
    /// What is mounted.
    pub volumes: Vec<Volume>,
    /// Users, capabilities, namespaces.
    pub security: Security,
    /// Seconds it is given to stop.
    pub grace: u32,
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

impl Resources {
    /// Of a job that says nothing. Without a request it would get next to nothing beside others, and everything waits for
    /// the jobs of a new cloud while its services start.
    pub fn of_job() -> Self {
        Self { cpu_millis: 50, memory_mib: 64, memory_limit_mib: 1024, cpu_limit_millis: None, workers: 1 }
    }
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
