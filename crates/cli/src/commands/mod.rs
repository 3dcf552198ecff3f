//! One file per command: its arguments, and what it does with them.

pub mod completion;
pub mod credentials;
pub mod image;
pub mod logs;
pub mod openstack;
pub mod plan;
pub mod status;
pub mod version;
pub mod why;
