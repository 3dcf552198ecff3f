//! Status of a cloud: written by the operator alone.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reason::Reason;
use crate::schema::conditions;

/// How far a cloud is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackStatus {
    /// Generation of the resource that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The word of the annotation `oaas.dev/asked` that the status answers: it is newer than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
    /// How far the cloud is, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Components that are ready, of how many, such as `12/15`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// What it waits for first, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Hash of the plan that is being made or was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_hash: Option<String>,
    /// Revision of the operator that rendered the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Conditions: `Accepted`, `Progressing`, `Ready`, `Degraded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Each component, in the order of their dependencies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub components: Vec<ComponentSummary>,
    /// Where people reach the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// Virtual machines of the declared content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerSummary>,
    /// The last plan in short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanReport>,
    /// Certificates, and secrets that are being rotated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub credentials: Vec<CredentialSummary>,
}

/// How far a secret of a cloud is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialSummary {
    /// What it is: a name that `oaas rotate` takes.
    pub name: String,
    /// Its generation.
    pub generation: u32,
    /// Until when it is valid; of several certificates the first that ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// What is being done, or what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far a cloud is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The resource is refused, and no earlier plan runs.
    Refused,
    /// The plan waits for approval.
    WaitingForApproval,
    /// Objects are made, components start.
    Deploying,
    /// A cloud that was ready is being changed.
    Changing,
    /// Every component is ready.
    Ready,
    /// Something that was ready is not.
    Degraded,
    /// The resource is paused.
    Paused,
    /// The cloud is being deleted.
    Deleting,
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, out)
    }
}

/// Types of the conditions of both resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// The resource is valid and done as written.
    Accepted,
    /// Something is being changed.
    Progressing,
    /// Everything works.
    Ready,
    /// Something that should work does not.
    Degraded,
}

impl ConditionType {
    /// The type as conditions write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Progressing => "Progressing",
            Self::Ready => "Ready",
            Self::Degraded => "Degraded",
        }
    }
}

/// What a part of a cloud is.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum PartKind {
    /// A component.
    #[default]
    Component,
    /// A job that is done once.
    Job,
    /// The registration of services in the identity service.
    Registration,
    /// The declared content.
    Content,
}

/// One part of a cloud: what the operator brings up, and what other parts may wait for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// What it is.
    #[serde(default)]
    pub kind: PartKind,
    /// Its name.
    pub name: String,
}

impl Part {
    /// A component.
    pub fn component(name: impl Into<String>) -> Self {
        Self { kind: PartKind::Component, name: name.into() }
    }

    /// A job.
    pub fn job(name: impl Into<String>) -> Self {
        Self { kind: PartKind::Job, name: name.into() }
    }

    /// The registration of services, of which each cloud has one.
    pub fn registration() -> Self {
        Self { kind: PartKind::Registration, name: "registration".to_owned() }
    }

    /// The declared content, of which each cloud has one.
    pub fn content() -> Self {
        Self { kind: PartKind::Content, name: "content".to_owned() }
    }
}

/// One part of a cloud in short.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentSummary {
    /// Name of the component or job.
    pub name: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: PartKind,
    /// Instances that are ready, of how many, such as `2/3`.
    pub ready: String,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub reason: Option<Reason>,
    /// What it waits for, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// The parts that have to be ready before it, of those that are not: the links of a chain of causes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_on: Vec<Part>,
    /// Since when it is as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// Where people reach a cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// URL of Horizon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<String>,
    /// URL of Keystone, from which clients learn the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// URL of the web console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// URL of the load balancer's statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<String>,
    /// Secret with the administrator's `clouds.yaml` and the CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret: Option<String>,
}

/// One virtual machine in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerSummary {
    /// Name of the virtual machine.
    pub name: String,
    /// Project that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Its state in Nova, such as `ACTIVE`.
    pub status: String,
    /// Its address in its own network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its address in the external network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floating_ip: Option<String>,
}

/// A plan in short.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// Hash of the plan; the annotation `oaas.dev/approve` names it.
    #[serde(default)]
    pub hash: String,
    /// What the plan changes, or has changed, and what each change does; a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// What is said about the resource though it can be done, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Wait>,
    /// What in the resource is refused, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<String>,
}

/// One wait of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// Component that waits.
    pub component: String,
    /// Why.
    #[schemars(with = "String")]
    pub reason: Reason,
    /// For what, in a few words.
    pub message: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
