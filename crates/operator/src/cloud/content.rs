//! What a cloud is declared to contain, in the words of `oaas-cloud`. Pure.

use std::collections::BTreeMap;

use oaas_api::{ExternalNetwork, OpenStackSpec, Preset};
use oaas_catalog::SERVICE_PROJECT;
use oaas_cloud::content::spec::{Content, Network};
use oaas_cloud::content::{Given, Qualified, demo};
use oaas_cloud::identity::{Catalog, ServiceRegistration, ServiceUser};
use oaas_cloud::{MARKER, Secret};
use oaas_plan::{Access, Blueprint, Credentials, RegisteredUser, secret_name};
use serde_json::json;

/// The declared content: the preset with what the resource declares on top, and the resource's external networks in the
/// place of the preset's own.
pub fn declared(spec: &OpenStackSpec) -> Content {
    let said = spec.content.clone().unwrap_or_default();
    let preset = match said.preset {
        Preset::Demo => demo(),
        Preset::None => Content::default(),
    };
    let mut content = said.over(preset);
    if let Some(external) = spec.network.as_ref().and_then(|network| network.external.as_ref()) {
        content.networks.retain(|network| !network.external);
        content.networks.splice(0..0, external.iter().map(network));
        let first = external.first().map(|network| network.name.clone());
        for router in &mut content.routers {
            router.gateway.clone_from(&first);
        }
        for server in &mut content.servers {
            server.floating_ip_from.clone_from(&first);
        }
    }
    content
}

/// An external network as the content has it. What the API server let pass has the fields that this one needs.
fn network(external: &ExternalNetwork) -> Network {
    let pools: Vec<_> = external
        .pool
        .iter()
        .chain(external.pools.iter().flatten())
        .filter_map(|pool| pool.split_once('-'))
        .map(|(start, end)| json!({"start": start.trim(), "end": end.trim()}))
        .collect();
    let mut subnet = json!({
        "name": format!("{}-subnet", external.name.trim_end_matches("-net")),
        "cidr": external.cidr,
        "pools": pools,
        "dhcp": false,
    });
    if let Some(gateway) = &external.gateway {
        subnet["gateway"] = json!(gateway);
    }
    let mut network = json!({
        "name": external.name,
        "external": true,
        "provider": {"networkType": "flat", "physicalNetwork": external.physical_network.as_deref().unwrap_or("public")},
        "subnets": [subnet],
    });
    if let Some(mtu) = external.mtu {
        network["mtu"] = json!(mtu);
    }
    serde_json::from_value(network)
        .expect("every field is one of the type, and validation read the addresses before")
}

/// The passwords and keys that the content refers to: a user's is in the Secret `<user>-password-g1`, a keypair's in
/// `demo-keypair-g1`, both made with the cloud.
pub fn given(content: &Content, credentials: &Credentials) -> Given {
    let value =
        |secret: String, key: &str| credentials.get(&secret)?.get(key).map(|value| value.expose().clone());
    let passwords = content.users.iter().filter_map(|user| {
        let password = value(secret_name(&format!("{}-password", user.name.name)), "password")?;
        Some((user.name.clone(), Secret::new(password)))
    });
    let keys = content.keypairs.iter().filter_map(|keypair| {
        let key = value(secret_name(&format!("{}-keypair", keypair.user.name)), "ssh-publickey")?;
        Some(((keypair.user.clone(), keypair.name.clone()), key))
    });
    Given { passwords: passwords.collect(), public_keys: keys.collect() }
}

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
