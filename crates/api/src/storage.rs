//! Where images, volumes and disks are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::schema::rule;

/// Storage of a cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("self.kind == oldSelf.kind", "storage.kind cannot change: images and volumes live there; make a new cloud and move them"),
]))]
pub struct Storage {
    /// Kind of storage of Glance, Cinder and Nova. It cannot change later.
    #[serde(default)]
    pub kind: StorageKind,
    /// StorageClass of the volumes of databases, queues and images. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Size of the image store with kind `file`. Default: what the profile says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Amount>,
    /// The NFS server, with kind `nfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nfs: Option<Nfs>,
    /// The Ceph cluster, with kind `ceph`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceph: Option<Ceph>,
}

/// Kinds of storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StorageKind {
    /// A volume per store, disks on the compute nodes.
    #[default]
    File,
    /// An NFS export.
    Nfs,
    /// Ceph RBD.
    Ceph,
}

/// An NFS export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nfs {
    /// Server's name or address. Without it the cloud runs its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Exported path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A Ceph cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ceph {
    /// Secret of this namespace with `ceph.conf` and `keyring` of a cluster that exists. Without it the cloud runs
    /// its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Prefix of the pools' names. Default: the cloud's namespace and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_prefix: Option<String>,
}
