//! `OpenStack`: what a person wants of one cloud.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificates::Certificates;
use crate::content::Content;
use crate::external::Backend;
use crate::network::Network;
use crate::nodes::{Cell, NodeGroup};
use crate::publish::Publish;
use crate::schema::{DNS_LABEL, odd_replicas};
use crate::service::Service;
use crate::status::OpenStackStatus;
use crate::storage::Storage;

/// What is wanted of one cloud. Only `release` is required.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "oaas.dev",
    version = "v1alpha1",
    kind = "OpenStack",
    plural = "openstacks",
    shortname = "oscloud",
    category = "oaas",
    namespaced,
    status = "OpenStackStatus",
    derive = "PartialEq",
    doc = "OpenStack is one OpenStack cloud: what is wanted of it, and how far that is.",
    validation = kube::core::Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name of a cloud becomes part of DNS names: at most 40 lower-case letters, digits and '-', starting with a letter"),
    printcolumn(name = "Release", type_ = "string", json_path = ".spec.release"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "Waiting-For", type_ = "string", json_path = ".status.waitingFor"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenStackSpec {
    /// Release of OpenStack, such as `"2026.1"` (in quotes, else YAML makes a number of it).
    #[schemars(length(min = 1, max = 32))]
    pub release: String,
    /// Revision of the operator whose rendering the cloud keeps to. Default: it follows the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Which components run and how large they are, where nothing else is said.
    #[serde(default)]
    pub profile: Profile,
    /// What differs from the profile: service (such as `keystone`) and what is said about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "x-kubernetes-validations" = [odd_replicas()]))]
    pub services: BTreeMap<String, Service>,
    /// Images by name (such as `openstack`, `mariadb`) to use instead of the release's own, by digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Where images, volumes and disks are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Networks that the cloud is connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Groups of nodes and what is special about them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub nodes: Vec<NodeGroup>,
    /// Cells of Nova. Default: one, `cell1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub cells: Vec<Cell>,
    /// Database of the services. Default: a Galera cluster of the cloud's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Backend>,
    /// Message bus of the services. Default: a RabbitMQ cluster of the cloud's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messaging: Option<Backend>,
    /// Identity service. Default: a Keystone of the cloud's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Backend>,
    /// What the cloud contains when it is up. Default: the demo content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Where people reach the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<Publish>,
    /// How long certificates are valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,
    /// What is rotated: its name, such as `cloud-ca`, and the generation that is wanted. `oaas rotate` writes it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub rotation: BTreeMap<String, Generation>,
    /// What happens to volumes and credentials when the resource is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Which changes wait for approval. A plan is approved by the annotation `oaas.dev/approve: <hash of the plan>`.
    #[serde(default)]
    pub change_policy: ChangePolicy,
    /// While true nothing is changed; status is still reported.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// A generation of a secret; the first is 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Generation(#[schemars(range(min = 1, max = 9999))] pub u32);

/// Which components run, and how large.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Profile {
    /// The core once, on files, for one small machine.
    #[default]
    Tiny,
    /// Each service of the catalog once. For now it is the same as `tiny`: the catalog has the core alone.
    Small,
    /// Everything, three times what can be, for a few nodes.
    Full,
}

/// What happens to volumes and credentials when the resource is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay; a cloud of the same name in the same namespace takes them up again.
    #[default]
    Retain,
    /// They go with the cloud.
    Delete,
}

/// Which changes wait for approval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChangePolicy {
    /// None.
    #[default]
    Auto,
    /// Those that interrupt something.
    ApproveDisruptive,
    /// All.
    ApproveAll,
}

/// Pattern of a cloud's name; the same as the CEL rule on the resource.
pub const NAME_PATTERN: &str = DNS_LABEL;
/// Longest name of a cloud.
pub const NAME_MAX: usize = 40;
