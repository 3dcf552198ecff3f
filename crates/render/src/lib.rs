//! OaaS: render.

pub mod objects;

pub use objects::Objects;
