//! OCI images without Docker: from recipes and lock files, through a content-addressed cache, to nodes and registries.
//!
//! # Flow
//!
//! ```text
//! images/{recipes,releases,locks} (compiled in) ─► keys ─► cache hit ───────────────────────────────┐
//!                                                 └──► make: mmdebstrap | script | artefact ─► layer ─► OCI image layout
//! ```
//!
//! # Guarantees
//!
//! - A layer is made again only if what it is made of changed (its key), or its file is gone or corrupt.
//! - The same inputs give the same digests; nothing of the machine that builds is in an image.
//! - Every package that goes in matches a sha256 in a lock file.
//! - A build that is killed leaves no mounts and nothing half-made that a later one could take for whole.
//!
//! # Assumptions
//!
//! Root, mmdebstrap, util-linux and apt on a Debian machine; the machine's own mirrors of Debian and of PyPI.

pub mod archive;
pub mod build;
pub mod debian;
pub mod endpoint;
pub mod key;
pub mod lock;
pub mod oci;
pub mod process;
pub mod push;
pub mod python;
pub mod recipe;
pub mod release;
pub mod sandbox;
pub mod sbom;
pub mod store;
pub mod tree;

pub use build::{BuildOptions, artefacts, build, extract, list};
pub use oci::{BuiltImage, BuiltImages, BuiltLayer};
pub use recipe::Recipes;
pub use store::Cache;
