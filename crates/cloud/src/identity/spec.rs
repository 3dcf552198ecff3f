//! What a cloud's services need of Keystone, as data.

use std::collections::BTreeMap;

use crate::Secret;
use crate::content::spec::{DEFAULT_DOMAIN, Qualified};

/// Everything that a cloud's services need of Keystone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Regions by id.
    pub regions: Vec<String>,
    /// Domains by name, beside `Default`.
    pub domains: Vec<String>,
    /// Roles by name. Keystone's own (admin, manager, member, reader, service) may be named, too: releases before
    /// theirs lack some of them.
    pub roles: Vec<String>,
    /// Projects, such as `service`.
    pub projects: Vec<Qualified>,
    /// Services with their endpoints.
    pub services: Vec<ServiceRegistration>,
    /// Users that services act as.
    pub users: Vec<ServiceUser>,
}

/// A service in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRegistration {
    /// Its name, such as `nova`.
    pub name: String,
    /// Its type, such as `compute`.
    pub kind: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// The region of its endpoints.
    pub region: String,
    /// Addresses by interface (`internal`, `public`, `admin`).
    pub endpoints: BTreeMap<String, String>,
}

/// A user that a service acts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUser {
    /// Who.
    pub name: Qualified,
    /// The password; set again when it no longer works.
    pub password: Secret,
    /// The project that its roles are on.
    pub project: Qualified,
    /// Its roles there.
    pub roles: Vec<String>,
    /// Its roles on the whole system.
    pub system_roles: Vec<String>,
    /// Domains, by name, with its roles on each.
    pub domain_roles: BTreeMap<String, Vec<String>>,
}

impl ServiceUser {
    /// A user in the domain `Default` with the roles admin and service on the project `service`, as every service of
    /// OpenStack expects.
    pub fn new(name: &str, password: Secret) -> Self {
        Self {
            name: Qualified::new(DEFAULT_DOMAIN, name),
            password,
            project: Qualified::new(DEFAULT_DOMAIN, "service"),
            roles: vec!["admin".to_owned(), "service".to_owned()],
            system_roles: Vec::new(),
            domain_roles: BTreeMap::new(),
        }
    }
}
