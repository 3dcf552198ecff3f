//! What the agent can be.

pub mod family;
pub mod load_schema;
pub mod mariadb;
pub mod node;
pub mod process;
pub mod rabbitmq;
