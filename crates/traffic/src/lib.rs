//! Steady traffic on a cloud's public APIs, and what its users would have noticed meanwhile.
//!
//! # Flow
//! clouds.yaml → [`Cloud`] (log in, find the APIs) → [`run`] (a request of each [`Kind`] at its rate) → [`Tally`] per kind → [`Report`].
//!
//! # What is asked
//! - `get`: an API's versions without a token, each 50 ms, one API after the other;
//! - `list`: networks, each 250 ms, on a token that was fetched before;
//! - `write`: an image record, each 250 ms; in the end every acknowledged one must be there, then they are deleted;
//! - `compute`: a line of a server's console, each 250 ms: through the API, the message bus, nova-compute and libvirt;
//! - `token`: a new token each second.
//!
//! # Guarantees
//! Nothing is tried again: what fails once is a failure that a user would have seen. A request waits for nobody: one that hangs does not
//! keep the next one from being sent. Every request has a connection of its own.

mod cloud;
mod run;
mod tally;

pub use cloud::{Cloud, CloudError};
pub use run::{Kind, Report, Until, run};
pub use tally::Tally;
