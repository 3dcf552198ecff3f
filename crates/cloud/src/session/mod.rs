//! Calls to a cloud as somebody: login, tokens, endpoints, time-outs, retries.
//!
//! A [`Session`] is one identity on one cloud. It logs in on first use, renews its token before it expires or when a
//! service says 401, finds endpoints in the token's catalog (or in overrides, while the catalog is not there yet),
//! repeats idempotent calls over broken connections and 502-504 with growing pauses, and gives every call a time-out.
//! Nothing follows redirects or takes a proxy from the environment.

mod auth;
mod catalog;
mod client;
mod download;
mod error;
mod retry;
mod sessions;
mod source;
mod tls;
mod upload;

pub use auth::{Identity, Scope, Token};
pub use catalog::{Endpoint, Interface, root};
pub use client::{Config, Limits, Reply, Session};
pub use error::{Error, fault_message};
pub use retry::Retry;
pub use sessions::Sessions;
pub use upload::{Digests, digest_of_file};
