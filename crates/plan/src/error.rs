//! Why there is no blueprint.

use oaas_catalog::{Misfit, SelectError};
use oaas_feedback::{Explain, Kind};
use snafu::Snafu;

/// Why there is no blueprint.
#[derive(Debug, Snafu, PartialEq, Eq)]
#[snafu(visibility(pub(crate)))]
pub enum PlanError {
    /// The catalog has nothing that fits.
    #[snafu(display("failed to plan"))]
    Catalog {
        /// What is missing.
        source: SelectError,
    },
    /// No image of that name was given.
    #[snafu(display(
        "failed to plan {component}: the image {image} is not built; `oaas up` builds what a resource names"
    ))]
    NoImage {
        /// Whose image.
        component: String,
        /// The image's name.
        image: String,
    },
    /// What the agent would be told is not what it understands.
    #[snafu(display("failed to plan what the agent of {part} does"))]
    Misfit {
        /// The component or job.
        part: String,
        /// Where and why.
        source: Misfit,
    },
    /// A job that runs for ever.
    #[snafu(display("failed to plan the job {job}: a WSGI application never ends"))]
    EndlessJob {
        /// The job.
        job: String,
    },
}

impl Explain for PlanError {
    fn kind(&self) -> Kind {
        match self {
            Self::Catalog { source } => source.kind(),
            Self::NoImage { .. } => Kind::Environment,
            Self::Misfit { .. } | Self::EndlessJob { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog { source } => source.hint(),
            Self::NoImage { .. } => {
                Some("`oaas up` tells the operator the images that it has built".to_owned())
            }
            Self::Misfit { .. } | Self::EndlessJob { .. } => None,
        }
    }
}
