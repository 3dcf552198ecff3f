//! What stands inside a cloud, in the words of `oaas-cloud`. Pure.

use std::collections::BTreeMap;

use oaas_catalog::SERVICE_PROJECT;
use oaas_cloud::content::Qualified;
use oaas_cloud::identity::{Catalog, ServiceRegistration, ServiceUser};
use oaas_cloud::{MARKER, Secret};
use oaas_plan::{Access, Blueprint, Credentials, RegisteredUser};

/// What the services need of the identity service.
pub fn registrations(blueprint: &Blueprint, credentials: &Credentials) -> Catalog {
    let region = blueprint.identity.as_ref().map(|identity| identity.region.clone()).unwrap_or_default();
    let mut catalog = Catalog {
        roles: ["admin", "manager", "member", "reader", "service"].map(str::to_owned).to_vec(),
        projects: vec![Qualified::from(SERVICE_PROJECT)],
        regions: vec![region.clone()],
        ..Catalog::default()
    };
    for wanted in &blueprint.registrations {
        for api in &wanted.apis {
            catalog.services.push(ServiceRegistration {
                name: api.name.clone(),
                kind: api.kind.clone(),
                description: Some(format!("{} ({MARKER})", wanted.title)),
                region: region.clone(),
                endpoints: BTreeMap::from([
                    ("internal".to_owned(), api.internal.clone()),
                    ("public".to_owned(), api.public.clone()),
                ]),
            });
        }
        catalog.roles.extend(wanted.roles.iter().cloned());
        catalog.domains.extend(wanted.domains.iter().cloned());
        for user in &wanted.users {
            let password = credentials.get(&user.secret).and_then(|keys| keys.get("password"));
            let password = password.map(|password| password.expose().clone()).unwrap_or_default();
            catalog.users.push(service_user(user, Secret::new(password)));
            if let Access::Project { project, .. } = &user.access {
                catalog.projects.push(Qualified::from(project.as_str()));
            }
        }
    }
    for names in [&mut catalog.roles, &mut catalog.domains] {
        names.sort();
        names.dedup();
    }
    catalog.projects.sort();
    catalog.projects.dedup();
    catalog
}

/// Users that services acted as and act as no more.
pub fn former(blueprint: &Blueprint) -> Vec<Qualified> {
    let all = blueprint.registrations.iter().flat_map(|registration| &registration.former);
    let user = |(domain, name): &(Option<String>, String)| match domain {
        Some(domain) => Qualified::new(domain, name),
        None => Qualified::from(name.as_str()),
    };
    all.map(user).collect()
}

/// A user that a service acts as, in the words of `oaas-cloud`.
fn service_user(wanted: &RegisteredUser, password: Secret) -> ServiceUser {
    let mut user = ServiceUser::new(&wanted.name, password);
    match &wanted.access {
        Access::Project { project, roles, system_roles } => {
            user.project = Qualified::from(project.as_str());
            user.roles.clone_from(roles);
            user.system_roles.clone_from(system_roles);
        }
        Access::DomainAdmin { domain } => {
            user.name = Qualified::new(domain, &wanted.name);
            user.roles.clear();
            user.domain_roles.insert(domain.clone(), vec!["admin".to_owned()]);
        }
    }
    user
}
