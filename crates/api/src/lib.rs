//! The two custom resources of OaaS, and nothing else: no I/O, no judgement that needs the catalog.
//!
//! - [`OpenStack`]: what a person wants, one object per cloud, and in its status how far that is.
//! - [`OpenStackComponent`]: one generated object per component of a cloud, for its status and for `kubectl scale`.
//!
//! # Flow
//! A user's file goes through [`parse_resource`], which lists every problem it has with its line, the nearest
//! right name and a hint, and is the same check that the API server does by the schema of [`crds`]. What the
//! schema allows but this version does not do is listed by [`not_yet()`]. Everything that needs the service
//! catalog (option names, component names, releases) is judged by `oaas-plan`.
//!
//! # Guarantees
//! The schema is structural, each field has a description (`kubectl explain`), and each of the two YAML documents
//! stays below 60 kB, so that kubectl's last-applied annotation and etcd take them.

pub mod amount;
pub mod certificates;
pub mod component;
pub mod config;
pub mod content;
pub mod crds;
pub mod external;
pub mod input;
pub mod names;
pub mod network;
pub mod nodes;
pub mod not_yet;
pub mod openstack;
pub mod publish;
pub mod reason;
pub mod reference;
mod schema;
pub mod service;
pub mod status;
pub mod storage;

pub use amount::Amount;
pub use certificates::{Certificates, Span};
pub use component::{OpenStackComponent, OpenStackComponentSpec, OpenStackComponentStatus, Scaling};
pub use config::{ConfigValue, SecretKeyRef, Sections};
pub use content::{Content, Preset};
pub use crds::crds;
pub use input::{InputErrors, Problem, parse_resource};
pub use network::{ExternalNetwork, Network, NetworkKind};
pub use nodes::NodeGroup;
pub use not_yet::{Refusal, not_yet};
pub use openstack::{ChangePolicy, DeletionPolicy, OpenStack, OpenStackSpec, Profile};
pub use publish::Publish;
pub use reason::Reason;
pub use reference::reference;
pub use service::{Resources, Service};
pub use status::{ComponentSummary, ConditionType, OpenStackStatus, Phase};
pub use storage::{Storage, StorageKind};
