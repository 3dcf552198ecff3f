//! What services have in the identity service.

use oaas_catalog::Service;
use sha2::{Digest, Sha256};

use crate::credentials::user_secret;
use crate::fingerprint::hash_secret;
use crate::resolve::World;

/// What one service has in the identity service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The service.
    pub service: String,
    /// What it is, in a few words.
    pub title: String,
    /// Its APIs.
    pub apis: Vec<RegisteredApi>,
    /// The users that it acts as, those with a domain of the service in it among them.
    pub users: Vec<RegisteredUser>,
    /// Roles that it gives to others.
    pub roles: Vec<String>,
    /// Domains of its own.
    pub domains: Vec<String>,
    /// Hash of the above, and of the users' passwords.
    pub hash: String,
}

/// An API in the identity service's catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredApi {
    /// Its name.
    pub name: String,
    /// The service type.
    pub kind: String,
    /// The URL inside the cluster.
    pub internal: String,
    /// The URL outside.
    pub public: String,
}

/// A user that a service acts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredUser {
    /// Its name.
    pub name: String,
    /// The Secret with its password, in the key `password`.
    pub secret: String,
    /// Its roles, and on what.
    pub access: Access,
}

/// What a service's user may do, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// A user of the domain `Default`.
    Project {
        /// The project.
        project: String,
        /// Its roles there.
        roles: Vec<String>,
        /// Its roles on the whole system.
        system_roles: Vec<String>,
    },
    /// The administrator of a domain, and a user of it.
    DomainAdmin {
        /// The domain.
        domain: String,
    },
}

/// What a service has in the identity service, if it has anything there.
pub(crate) fn registration(world: &World<'_>, service: &Service) -> Option<Registration> {
    let identity = &service.identity;
    if service.apis.is_empty() && identity.is_empty() {
        return None;
    }
    let apis = service.apis.iter().map(|api| RegisteredApi {
        name: api.name.clone(),
        kind: api.kind.clone(),
        internal: format!("{}{}", world.internal_url(&api.name), api.suffix),
        public: format!("{}{}", world.public_url(&api.name), api.suffix),
    });
    let user =
        |name: &str, access| RegisteredUser { name: name.to_owned(), secret: user_secret(name), access };
    let users = identity.users.iter().map(|wanted| {
        let (project, roles) = (wanted.project.clone(), wanted.roles.clone());
        user(&wanted.name, Access::Project { project, roles, system_roles: wanted.system_roles.clone() })
    });
    let admins = identity.domains.iter().filter_map(|domain| {
        Some(user(domain.admin.as_ref()?, Access::DomainAdmin { domain: domain.name.clone() }))
    });
    let mut registration = Registration {
        service: service.name.clone(),
        title: service.title.clone(),
        apis: apis.collect(),
        users: users.chain(admins).collect(),
        roles: identity.roles.clone(),
        domains: identity.domains.iter().map(|domain| domain.name.clone()).collect(),
        hash: String::new(),
    };
    let mut hash = Sha256::new();
    hash.update(format!("{registration:?}"));
    for user in &registration.users {
        hash_secret(world, &mut hash, &user.secret);
    }
    hex::encode(hash.finalize())[..16].clone_into(&mut registration.hash);
    Some(registration)
}
