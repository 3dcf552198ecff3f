//! What services have in the identity service.

use oaas_catalog::Service;
use sha2::{Digest, Sha256};

use crate::credentials::{user_account, user_base};
use crate::digest::hash_secret;
use crate::generation::{kept, retired, secret_of};
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
    /// Users that it acted as and acts as no more: the domain, where it is not the default one, and the name.
    pub former: Vec<(Option<String>, String)>,
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
    let accounts = |name: &str, access: &Access| {
        let base = user_base(name);
        let one = |generation| RegisteredUser {
            name: user_account(name, generation),
            secret: secret_of(&base, generation),
            access: access.clone(),
        };
        kept(world.inputs, &base).into_iter().map(one).collect::<Vec<_>>()
    };
    let users = identity.users.iter().flat_map(|wanted| {
        let (project, roles) = (wanted.project.clone(), wanted.roles.clone());
        accounts(&wanted.name, &Access::Project { project, roles, system_roles: wanted.system_roles.clone() })
    });
    let admins = identity.domains.iter().flat_map(|domain| {
        let access = Access::DomainAdmin { domain: domain.name.clone() };
        domain.admin.iter().flat_map(|admin| accounts(admin, &access)).collect::<Vec<_>>()
    });
    let former = identity.user_names().flat_map(|name| {
        let domain = identity.domains.iter().find(|domain| domain.admin.as_deref() == Some(name));
        let domain = domain.map(|domain| domain.name.clone());
        retired(world.inputs, &user_base(name))
            .map(move |generation| (domain.clone(), user_account(name, generation)))
    });
    let mut registration = Registration {
        service: service.name.clone(),
        title: service.title.clone(),
        apis: apis.collect(),
        users: users.chain(admins).collect(),
        former: former.collect(),
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
