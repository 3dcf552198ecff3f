//! Releases and services of OpenStack as data.
//!
//! Everything OaaS knows about a service (its processes, ports, databases, messaging, configuration, endpoints,
//! volumes, health checks, what it needs first) stands in one YAML file below `data/services/`; everything it knows
//! about a release stands in `data/releases.yaml`; the options that each service understands stand below
//! `data/options/<release>/`, generated from the very image that runs. [`Catalog::built_in`] reads them all;
//! [`Catalog::with_service`] adds one more, which is all that a new service needs.
//!
//! This crate does no I/O: the data is compiled in.

mod component;
mod load;
mod options;
mod release;
mod service;
mod value;
mod when;

pub use component::{
    Component, Expose, Health, Need, NodeLabel, Port, ReplicaRule, Replicas, Resources, Security, Volume,
    VolumeSource, WorkloadKind,
};
pub use load::{Catalog, LoadError};
pub use options::{OlderName, OptionCatalog, OptionIndex, OptionInfo, OptionKind};
pub use release::{Profile, ProfileService, Release};
pub use service::{Api, ConfigFile, FileFormat, Fragment, Job, Provides, SecretKind, SecretSpec, Service};
pub use value::{Reference, Scalar, Segment, Tree, Value};
pub use when::When;
