//! From a blueprint to Kubernetes objects, as pure functions.
//!
//! # Flow
//! [`render`] turns every component of a [`Blueprint`](oaas_plan::Blueprint) whose gate is open into typed objects:
//! configuration as Secrets ([`text`] writes the files), workloads, Services, budgets, policies. What a closed gate
//! holds back is in [`Rendered::held`], so that pruning leaves it as it is.
//!
//! [`keep_images`] comes before it, so that a newer image that differs in its thin top layer alone rolls nothing.
//!
//! # Guarantees
//! The same blueprint gives the same objects, byte for byte. Nothing secret is put anywhere but into Secrets.

pub mod objects;
pub mod text;

mod component;
mod haproxy;
mod identity;
mod job;
mod keep;
mod labels;
mod pod;
mod policy;
mod render;
mod secret;
mod service;
mod stored;
mod volumes;
mod workload;

pub use keep::keep_images;
pub use labels::{
    ANNOTATION_HASH, ANNOTATION_IMAGE, ANNOTATION_LIVE, ANNOTATION_PODS, ANNOTATION_REPLICAS,
    ANNOTATION_REPLICAS_APPLIED, ANNOTATION_REPLICAS_GIVEN, config_secret, labels, selector,
};
pub use objects::Objects;
pub use pod::files_of;
pub use render::{Rendered, render};
pub use secret::credential;
pub use stored::Stored;
pub use volumes::grown;
pub use workload::templates;
