//! One workload, with everything about it decided.

use std::collections::BTreeMap;

use oaas_agent_config::AgentConfig;
use oaas_catalog::{Component, Expose, Need, Pod, Role, Service};
use snafu::{OptionExt, ResultExt};

use crate::blueprint::{ComponentPlan, PortPlan};
use crate::credentials::{certificate_secret, user_base};
use crate::error::{MisfitSnafu, NoImageSnafu, PlanError};
use crate::files::{agent_document, documents};
use crate::fingerprint::component_hash;
use crate::generation::newest;
use crate::health::database_account_file;
use crate::inputs::Image;
use crate::live;
use crate::node_files;
use crate::overrides::{given_replicas, replicas, resources, voting_members};
use crate::own_files;
use crate::resolve::{Place, World};
use crate::volumes::claims;

/// The image of a component or job.
pub(crate) fn image(
    world: &World<'_>,
    service: &str,
    component: &str,
    name: &str,
) -> Result<Image, PlanError> {
    let (spec, images) = (world.inputs.spec, world.inputs.images);
    // The release's own image goes by two names: the catalog's word for it, and its own.
    let (said, name) = (name, if name == "openstack" { &world.release.image } else { name });
    let own = [component, service].into_iter().find_map(|key| spec.services.get(key)?.image.as_ref());
    // What somebody names may well be one of those that are known.
    let known = |reference: &String| {
        let found = images.values().find(|image| image.reference == *reference);
        found.cloned().unwrap_or_else(|| Image::opaque(reference))
    };
    own.or_else(|| spec.images.get(said).or_else(|| spec.images.get(name)))
        .map(known)
        .or_else(|| images.get(name).cloned())
        .with_context(|| NoImageSnafu { component, image: name })
}

/// A component, with the hash that it has once its cloud has run.
pub(crate) fn component_plan(
    world: &World<'_>,
    service: &Service,
    component: &Component,
) -> Result<ComponentPlan, PlanError> {
    let mut plan = resolve_component(world, service, component)?;
    if world.new_cloud {
        let lived = resolve_component(&world.once_it_lived(), service, component)?;
        plan.first_start = lived.documents != plan.documents;
        plan.hash = lived.hash;
    }
    Ok(plan)
}

fn resolve_component(
    world: &World<'_>,
    service: &Service,
    component: &Component,
) -> Result<ComponentPlan, PlanError> {
    let inputs = world.inputs;
    let (place, pod) = (Place::component(service, component), &component.pod);
    let (count, replica_owner) = replicas(inputs, service, component);
    let mut documents = documents(world, place);
    let main = service.main.as_ref().and_then(|main| service.files.get(main));
    let main = main.map(|main| world.text(place, &main.path)).unwrap_or_default();
    let of_main = documents.iter_mut().find(|document| document.path == main);
    let live = of_main.and_then(|document| live::split(inputs, service, component, document));
    let of_main = documents.iter().find(|document| document.path == main);
    let node_documents = node_files::variants(inputs, service, component, of_main);
    let (live_options, of_live) = live.unzip();
    documents.extend(of_live);
    if !main.is_empty() {
        documents.extend(own_files::documents(inputs, service, component, &main));
    }
    let role = match &pod.role {
        Role::Wsgi(wsgi) => {
            let (role, settings) = crate::wsgi::expand(world, place, component, wsgi)
                .context(MisfitSnafu { part: &component.name })?;
            documents.push(settings);
            role
        }
        Role::Agent(role) => role.fill(&world.at(place)).context(MisfitSnafu { part: &component.name })?,
    };
    let checked = crate::health::health(world, service, component, &role)
        .context(MisfitSnafu { part: &component.name })?;
    let probes = checked.health.is_some();
    let follows = live_options.as_ref().map(Into::into);
    let agent = AgentConfig { component: component.name.clone(), role, follows, health: checked.health };
    documents.push(agent_document(&agent));
    let ports = component
        .ports
        .iter()
        .map(|port| PortPlan {
            name: port.name.clone(),
            port: port.port,
            in_service: matches!(port.expose, Expose::Cluster | Expose::NodePort(_)),
            for_callers: port.expose != Expose::None,
            node_port: match &port.expose {
                Expose::NodePort(published) => world.publish.ports.get(&published.key).copied(),
                Expose::Cluster | Expose::Callers | Expose::None => None,
            },
        })
        .collect();
    let mut accounts = world.account_secrets(&pod.accounts);
    if checked.asks_database {
        accounts.extend(world.account_secrets(&[database_account_file(&service.name)]));
    }
    let mut plan = ComponentPlan {
        name: component.name.clone(),
        service: service.name.clone(),
        kind: component.kind,
        image: image(world, &service.name, &component.name, &pod.image)?,
        replicas: count,
        rule: component.replicas,
        given_replicas: given_replicas(inputs, service, component).0,
        voting_members: voting_members(inputs, component),
        replica_owner,
        nodes: pod.nodes,
        needs: needs(world, service, pod),
        documents,
        node_documents,
        live_options,
        env: world.environment(place),
        accounts,
        secret_mounts: secret_mounts(world, pod),
        secret_env: secret_env(world, pod),
        certificate: component.certificate.then(|| certificate_secret(&component.name)),
        follows_certificate: component.follows_certificate,
        ports,
        single_writer: component.single_writer.clone(),
        health_port: component.health.port,
        probes,
        startup_seconds: checked.startup_seconds,
        resources: resources(inputs, service, &component.name, &pod.resources),
        volumes: pod.volumes.clone(),
        claims: claims(inputs, service, component),
        node_settings: pod.node_settings,
        security: pod.security.clone(),
        grace: pod.grace,
        first_start: false,
        hash: String::new(),
    };
    plan.hash = component_hash(world, &plan);
    Ok(plan)
}

/// What must be so first. A service's second account in the identity service is made by its registration, which the
/// first start need not wait for: whoever starts meets it within seconds.
fn needs(world: &World<'_>, service: &Service, pod: &Pod) -> Vec<Need> {
    let mut needs = pod.needs.clone();
    let another = |user: &str| newest(world.inputs, &user_base(user)) > 1;
    let registered = Need::Registered(service.name.clone());
    if service.identity.user_names().any(another) && !needs.contains(&registered) {
        needs.push(registered);
    }
    needs
}

/// Secrets that are mounted as directories: Secret → path.
pub(crate) fn secret_mounts(world: &World<'_>, pod: &Pod) -> BTreeMap<String, String> {
    pod.secret_mounts.iter().map(|(name, path)| (world.secret_name(name), path.clone())).collect()
}

/// Environment variables from Secrets: variable → (Secret, key).
pub(crate) fn secret_env(world: &World<'_>, pod: &Pod) -> BTreeMap<String, (String, String)> {
    let variables = pod.secret_env.iter();
    variables
        .map(|(variable, secret)| (variable.clone(), (world.secret_name(&secret.name), secret.key.clone())))
        .collect()
}
