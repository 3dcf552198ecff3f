//! Keystone's part: the service catalog, service users, and what content declares of domains, projects and users.

mod items;
pub mod spec;

pub use items::items;
pub(crate) use items::{Builder, Target, User, bare, password_key};
pub use spec::{Catalog, ServiceRegistration, ServiceUser};
