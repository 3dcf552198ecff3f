//! What the agent can be.

pub mod node;
