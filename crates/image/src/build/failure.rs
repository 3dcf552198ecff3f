//! Why an image could not be built.

use std::io;
use std::path::PathBuf;

use oaas_feedback::{Explain, Kind};
use snafu::Snafu;

use crate::debian::mirror;
use crate::debian::{bootstrap, fetch, lock};
use crate::{archive, key, oci, recipe, sandbox, store, tree};

/// An image could not be built.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// The recipes.
    #[snafu(display("failed to read the image recipes"))]
    Recipe {
        /// What went wrong.
        source: recipe::Error,
    },
    /// What layers are made of.
    #[snafu(display("failed to tell what is out of date"))]
    Key {
        /// What went wrong.
        source: key::Error,
    },
    /// The Debian lock.
    #[snafu(display("failed to use the Debian lock"))]
    Lock {
        /// What went wrong.
        source: lock::Error,
    },
    /// The cache.
    #[snafu(display("failed to use the image cache"))]
    Store {
        /// What went wrong.
        source: store::Error,
    },
    /// The mirror.
    #[snafu(display("failed to choose a Debian mirror"))]
    Mirror {
        /// What went wrong.
        source: mirror::Error,
    },
    /// Fetching packages.
    #[snafu(display("failed to fetch the packages of layer {layer}"))]
    Fetch {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: fetch::Error,
    },
    /// A Debian root.
    #[snafu(display("failed to build layer {layer}"))]
    Bootstrap {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: bootstrap::Error,
    },
    /// A script.
    #[snafu(display("failed to build layer {layer}"))]
    Script {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: sandbox::Error,
    },
    /// A script made nothing.
    #[snafu(display("failed to build layer {layer}: its script left nothing in {path}"))]
    Nothing {
        /// The layer.
        layer: String,
        /// The directory it was to fill.
        path: String,
    },
    /// A tree.
    #[snafu(display("failed to read what was built for layer {layer}"))]
    Tree {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: tree::Error,
    },
    /// A layer file.
    #[snafu(display("failed to pack or unpack layer {layer}"))]
    Archive {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: archive::Error,
    },
    /// An image.
    #[snafu(display("failed to put together the image {image}"))]
    Assemble {
        /// The image.
        image: String,
        /// What went wrong.
        source: oci::Error,
    },
    /// A file under construction.
    #[snafu(display("failed to prepare {}", path.display()))]
    Prepare {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A recipe names an artefact that the caller did not hand over.
    #[snafu(display("failed to find the artefact {artefact}, which a recipe puts into an image"))]
    ArtefactMissing {
        /// Its name.
        artefact: String,
    },
    /// An artefact cannot be read.
    #[snafu(display("failed to read the artefact {artefact} at {}", path.display()))]
    Artefact {
        /// Its name.
        artefact: String,
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// An image that is not in the cache.
    #[snafu(display("failed to find the image {image} in the cache"))]
    NotBuilt {
        /// The image.
        image: String,
    },
    /// We do not know what we are.
    #[snafu(display("failed to find our own binary, which goes into images as the agent"))]
    OwnBinary {
        /// What the kernel says.
        source: io::Error,
    },
    /// Roots have owners and mounts.
    #[snafu(display("failed to build images as an ordinary user"))]
    NotRoot,
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Recipe { source } => source.kind(),
            Self::Key { source } => source.kind(),
            Self::Lock { source } => source.kind(),
            Self::Store { source } => source.kind(),
            Self::Mirror { source } => source.kind(),
            Self::Fetch { source, .. } => source.kind(),
            Self::Bootstrap { source, .. } => source.kind(),
            Self::Script { source, .. } => source.kind(),
            Self::Archive { source, .. } => source.kind(),
            Self::Assemble { source, .. } => source.kind(),
            Self::NotRoot => Kind::Environment,
            Self::ArtefactMissing { .. } | Self::Artefact { .. } | Self::NotBuilt { .. } => Kind::Input,
            Self::Nothing { .. } | Self::Tree { .. } | Self::Prepare { .. } | Self::OwnBinary { .. } => {
                Kind::Failed
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe { source } => source.hint(),
            Self::Key { source } => source.hint(),
            Self::Lock { source } => source.hint(),
            Self::Store { source } => source.hint(),
            Self::Mirror { source } => source.hint(),
            Self::Fetch { source, .. } => source.hint(),
            Self::Bootstrap { source, .. } => source.hint(),
            Self::Script { source, .. } => source.hint(),
            Self::Archive { source, .. } => source.hint(),
            Self::Assemble { source, .. } => source.hint(),
            Self::NotBuilt { image } => Some(format!("build it first: oaas image build {image}")),
            Self::NotRoot => Some("run it as root: files in images have owners, and packages are configured in a root of their own".into()),
            Self::ArtefactMissing { artefact } => Some(format!("hand it over: --artefact {artefact}=FILE")),
            _ => None,
        }
    }
}
