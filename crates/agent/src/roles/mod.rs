//! What the agent can be.

pub mod node;

#[cfg(feature = "run")]
pub mod load_schema;
#[cfg(feature = "run")]
pub mod mariadb;
#[cfg(feature = "run")]
pub mod process;
#[cfg(feature = "run")]
pub mod rabbitmq;
