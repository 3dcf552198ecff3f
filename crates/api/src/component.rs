//! `OpenStackComponent`: generated, one per component of a cloud; for status and for `kubectl scale`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reason::Reason;
use crate::schema::{conditions, rule};

/// One component of a cloud. The operator makes it; people change `replicas` alone, best with `kubectl scale`.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "oaas.dev",
    version = "v1alpha1",
    kind = "OpenStackComponent",
    plural = "openstackcomponents",
    shortname = "oscomp",
    category = "oaas",
    namespaced,
    status = "OpenStackComponentStatus",
    derive = "PartialEq",
    doc = "OpenStackComponent is one component of an OpenStack cloud: its status, and its scale. The operator makes it.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Cloud", type_ = "string", json_path = ".spec.cloud"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Waiting-For", type_ = "string", json_path = ".status.waitingFor"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!self.quorum || !has(self.replicas) || self.replicas % 2 == 1",
        "the members of this component vote: replicas must be odd (1, 3, 5), else a half split stops the cloud"),
    rule("!has(self.replicas) || self.scaling != 'Nodes'",
        "this component runs once on each node that has its label; label or unlabel nodes instead"),
    rule("!has(self.replicas) || self.scaling != 'Fixed' || self.replicas <= 1",
        "this component runs once and cannot be scaled"),
    rule("!has(self.members) || !has(self.replicas) || self.replicas == self.members || \
        (has(oldSelf.replicas) && self.replicas == oldSelf.replicas)",
        "the members of this component vote, and it runs: members join and leave one at a time, which this version does \
        not do yet, and pods alone would split the cluster or lose it; their count stays as it is"),
    rule("self.cloud == oldSelf.cloud && self.component == oldSelf.component", "cloud and component cannot change"),
]))]
pub struct OpenStackComponentSpec {
    /// Name of the cloud.
    #[schemars(length(max = 63))]
    pub cloud: String,
    /// Name of the component, such as `rabbitmq`.
    #[schemars(length(max = 63))]
    pub component: String,
    /// How many instances run. The operator prepares before it adds and drains before it removes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 99))]
    pub replicas: Option<i32>,
    /// How the count of instances comes about.
    #[serde(default)]
    pub scaling: Scaling,
    /// Whether the instances vote, so that their count must be odd.
    #[serde(default)]
    pub quorum: bool,
    /// How many members vote in it since it has started: `replicas` stays at this. The operator writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 99))]
    pub members: Option<i32>,
}

/// How the count of a component's instances comes about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Scaling {
    /// By `replicas`.
    #[default]
    Replicas,
    /// One on each node with the component's label.
    Nodes,
    /// Always one.
    Fixed,
}

/// How far a component is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackComponentStatus {
    /// Generation of the object that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Instances that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Instances that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Instances that run what is wanted now.
    #[serde(default)]
    pub updated_replicas: i32,
    /// Label selector of the component's pods, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Release that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Image that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Hash of the configuration that it runs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub reason: Option<Reason>,
    /// What it waits for, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Conditions: `Progressing`, `Ready`, `Degraded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}
