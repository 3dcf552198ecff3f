//! Speaks to a running OpenStack cloud (Keystone, Glance, Nova, Neutron, Placement) and keeps there what is
//! declared.
//!
//! # Flow
//! A declaration ([`content::spec`], [`identity`]) is lowered to a list of [`engine::Item`]s: plain data that says
//! how to look for a thing, what must be true of it and which calls make it so. [`engine::apply`] takes the items in
//! order of need, several at a time; for each it looks, asks the pure [`engine::decide`] and does what that says.
//!
//! # Guarantees
//! - A second pass over an unchanged cloud writes nothing.
//! - Killing the process at any point and running again converges: nothing trusts a state of its own.
//! - What somebody else created at the same moment is adopted, not duplicated and not an error.
//! - Only declared fields are corrected. Nothing is deleted but what carries our [`MARKER`] and must be made anew
//!   (a half-uploaded image, a flavor whose size changed).
//!
//! # Caveats
//! Taking something out of the declaration does not delete it.
//!
//! Without the default feature `client` the crate does no I/O: declaration, checks and planning alone.

pub mod content;
pub mod engine;
#[cfg(feature = "client")]
pub mod farewell;
pub mod identity;
#[cfg(feature = "client")]
pub mod retire;
mod secret;
pub mod service;

#[cfg(feature = "client")]
pub mod health;
#[cfg(feature = "client")]
pub mod session;

pub use secret::Secret;

/// What marks objects as made by OaaS: a tag where the API takes tags at creation, else a part of the description.
/// It is a condition for deleting, never for looking.
pub const MARKER: &str = "managed-by: oaas";
