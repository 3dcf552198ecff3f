//! From a resource, the catalog and what is observed to what shall be: the judgement of OaaS, as pure functions.
//!
//! # Flow
//! [`validate()`] refuses what cannot be done and says the nearest right thing. [`credentials()`] lists the secrets a
//! cloud needs. [`blueprint()`] resolves the catalog for one cloud: every workload with its image, configuration,
//! ports, volumes and checks. [`gates()`] compares the blueprint with what is observed: which workload may be applied
//! now, and what each other one waits for. [`diff()`] says what a change changes, option by option. [`roll`] says which pods of the nodes'
//! own workloads are made anew now.
//!
//! # Guarantees
//! No I/O, no clock, no randomness; the same inputs give the same outputs, in the same order. No service's and no
//! release's name stands in this crate: all such knowledge is in `oaas-catalog` (a test of the repository checks it).

mod blueprint;
mod credentials;
mod diff;
mod document;
mod fingerprint;
mod gates;
mod inputs;
mod jobs;
mod nodes;
mod overrides;
mod publish;
mod report;
mod resolve;
mod roll;
mod select;
mod sensitive;
mod validate;

pub use blueprint::{
    Access, ApiPlan, Blueprint, ComponentPlan, JobPlan, PlanError, PortPlan, RegisteredApi, RegisteredUser,
    Registration, blueprint,
};
pub use credentials::{AUTHORITY, CredentialKind, CredentialSpec, Credentials, credentials, secret_name};
pub use diff::{Change, ChangeKind, diff};
pub use document::{Content, Document, PublicEndpointModel, PublicRoute};
pub use gates::{Gate, Gates, Wait, gates};
pub use inputs::{
    CloudId, Cluster, ComponentState, Image, Images, Inputs, JobState, Node, Observed, PodsMade,
    RolloutState, revision,
};
pub use nodes::{NodePlan, node_plans, node_selector};
pub use overrides::ReplicaOwner;
pub use publish::{PublishPlan, wanted_ports};
pub use report::{Progress, Report, report};
pub use roll::{NodePod, NodeWorkload, roll};
pub use sensitive::Sensitive;
pub use validate::{Problem, capacity, validate};
