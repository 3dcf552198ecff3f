//! Debian roots: locked packages, fetched by the machine's own apt, set up by mmdebstrap from a local repository.

pub mod bootstrap;
pub mod fetch;
pub mod lock;
pub mod mirror;
pub mod resolve;
