//! Releases and services of OpenStack as data.
//!
//! Everything OaaS knows about a service (its processes, ports, databases, messaging, configuration, endpoints,
//! volumes, health checks, what it needs first) stands in one YAML file below `data/services/`; everything it knows
//! about a release stands in `data/releases.yaml`; the options that each service understands stand below
//! `data/options/<release>/`, generated from the very image that runs. [`Catalog::built_in`] reads them all;
//! [`Catalog::with_service`] adds one more, which is all that a new service needs.
//!
//! [`Catalog::select`] evaluates every condition (`when`) of the data for one cloud, once; what comes of it, a
//! [`CloudCatalog`], has none. How conditions are written is told in `source.rs`.
//!
//! This crate does no I/O: the data is compiled in.

mod component;
mod described;
mod health;
mod job;
mod load;
mod names;
mod options;
mod place;
mod pod;
mod release;
mod role;
mod select;
mod service;
mod source;
mod template;
mod value;
mod when;

pub use component::{Component, Expose, Port, Published, ReplicaRule, Replicas, WorkloadKind};
pub use health::{Get, Health, Progress};
pub use job::{Job, Schedule};
pub use load::{Catalog, LoadError};
pub use options::{OlderName, OptionCatalog, OptionIndex, OptionInfo, OptionKind};
pub use pod::{Need, NodeLabel, Pod, Resources, Security, SizeField, Volume, VolumeSource};
pub use release::{Profile, ProfileService, Release};
pub use role::{Role, Wsgi};
pub use select::{CloudCatalog, Facts, Missing, SelectError};
pub use service::{
    Api, ConfigFile, Contribution, FileFormat, Fragment, Identity, OptionRule, Provides, Rotation,
    SERVICE_PROJECT, SecretKind, SecretSpec, Service, ServiceDomain, ServiceUser, Statistics,
};
pub use source::Wrong;
pub use template::{Fill, Misfit, Template};
pub use value::{NetworkFact, Reference, Scalar, SecretKey, Segment, Tree, Value};
pub use when::{StorageKind, When};
