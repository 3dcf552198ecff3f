//! One file per command: its arguments, and what it does with them.

pub mod approve;
pub mod completion;
pub mod credentials;
pub mod down;
pub mod image;
pub mod kubectl;
pub mod logs;
pub mod openstack;
pub mod plan;
pub mod rotate;
pub mod status;
pub mod up;
pub mod version;
pub mod why;
