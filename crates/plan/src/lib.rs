//! From a resource, the catalog and what is observed to what shall be: the judgement of OaaS, as pure functions.
//!
//! # Flow
//! [`validate()`] refuses what cannot be done and says the nearest right thing. [`credentials()`] lists the secrets a
//! cloud needs. [`blueprint()`] resolves the catalog for one cloud: every workload with its image, configuration,
//! ports, volumes and checks. [`gates()`] compares the blueprint with what is observed: which workload may be applied
//! now, and what each other one waits for. [`desired_state()`] is all of it as one value that can be
//! stored, and [`changes()`] says what lies between two of them and what each change does. [`roll`] says which pods of the nodes'
//! own workloads are made anew now.
//!
//! # Guarantees
//! No I/O, no clock, no randomness; the same inputs give the same outputs, in the same order. No service's and no
//! release's name stands in this crate: all such knowledge is in `oaas-catalog` (a test of the repository checks it).

mod amounts;
mod assemble;
mod blueprint;
mod callers;
mod capacity;
mod certificate;
mod components;
mod content;
mod credentials;
mod desired;
mod digest;
mod document;
mod error;
mod files;
mod fingerprint;
mod gates;
mod generation;
mod given;
mod health;
mod inputs;
mod jobs;
mod live;
mod network;
mod node_files;
mod nodes;
mod options;
mod overrides;
mod own_files;
mod pace;
mod problem;
mod publish;
mod registrations;
mod report;
mod resolve;
mod roll;
mod secrets;
mod select;
mod sensitive;
mod settled;
mod validate;
mod volumes;
mod voters;
mod warnings;
mod wsgi;

pub use assemble::blueprint;
pub use blueprint::{ApiPlan, Blueprint, Callers, ComponentPlan, JobPlan, PortPlan};
pub use capacity::{Capacity, capacity, too_large};
pub use certificate::{
    AuthorityFacts, AuthorityStep, CertificateFacts, CertificateWanted, IssueReason, MakeReason, Moment,
    RefuseReason, Verdict, authority, certificate, due, own_certificate,
};
pub use content::declared;
pub use credentials::{
    AUTHORITY, CERTIFICATES, CredentialKind, CredentialSpec, Credentials, OWN_AUTHORITY, Rotatable,
    STATE_KEY, credentials, keypair_secret, password_secret, rotatable,
};
pub use desired::{
    Change, ChangeKind, DesiredComponent, DesiredJob, DesiredState, Effect, Part, changes, desired_state,
};
pub use document::LIVE;
pub use document::{Content, Document, PublicEndpointModel, PublicRoute};
pub use error::PlanError;
pub use gates::{Gate, Gates, Wait, gates};
pub use generation::{generations, newest};
pub use given::given;
pub use inputs::{
    ClaimState, CloudId, Cluster, ComponentState, ContentState, Image, Images, Inputs, JobState, Node,
    Observed, PodsMade, RolloutState, StorageClasses, UserSecrets, revision,
};
pub use jobs::{database_lives, schema_job};
pub use nodes::{NodePlan, node_plans, node_selector};
pub use overrides::ReplicaOwner;
pub use pace::pace;
pub use problem::Problem;
pub use publish::{PublishPlan, wanted_ports};
pub use registrations::{Access, RegisteredApi, RegisteredUser, Registration};
pub use report::{Progress, Report, report};
pub use roll::{NodePod, NodeWorkload, roll};
pub use secrets::{OWN_CERTIFICATE, SecretKey, secret_keys};
pub use sensitive::Sensitive;
pub use settled::unsettled;
pub use validate::validate;
pub use volumes::{Claim, amount_of_bytes, volume_of};
pub use warnings::warnings;
