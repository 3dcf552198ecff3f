//! What is desired of a cloud, as one value that can be stored and compared: nothing in it but what people may read.
//!
//! Secrets are in it as digests alone, made with a key that is itself a secret of the cloud, so that a change of one is
//! seen and its value cannot be guessed.

mod changes;
mod conceal;
mod ended;
mod flatten;
mod state;

pub use changes::{Change, ChangeKind, Effect, Part, changes};
pub use state::{DesiredComponent, DesiredJob, DesiredState, desired_state};
