//! The blueprint: every workload of one cloud, with everything about it decided.

use std::collections::BTreeMap;

use oaas_catalog::{
    Component, Expose, FileFormat, Need, NodeLabel, Provides, Release, Replicas, Resources, Security,
    SelectError, Service, Volume, WorkloadKind,
};
use oaas_feedback::{Explain, Kind};
use serde_json::json;
use sha2::{Digest, Sha256};
use snafu::{OptionExt, ResultExt, Snafu};

use crate::credentials::{certificate_secret, secret_name, user_secret};
use crate::document::{Content, Document, PublicEndpointModel, PublicRoute, Sections};
use crate::fingerprint::{component_hash, hash_secret};
use crate::inputs::{CloudId, Cluster, Image, Inputs};
use crate::jobs::{catalog_job, schema_plan};
use crate::nodes::{NodePlan, node_plans};
use crate::overrides::{ReplicaOwner, apply_options, apply_to_tree, replicas, resources};
use crate::publish::PublishPlan;
use crate::resolve::{AUTHORITY_FILE, Place, World};
use crate::select::cloud_catalog;
use crate::volumes::{Claim, claims};

/// Why there is no blueprint.
#[derive(Debug, Snafu, PartialEq, Eq)]
pub enum PlanError {
    /// The catalog has nothing that fits.
    #[snafu(display("failed to plan"))]
    Catalog {
        /// What is missing.
        source: SelectError,
    },
    /// No image of that name was given.
    #[snafu(display(
        "failed to plan {component}: the image {image} is not built; `oaas up` builds what a resource names"
    ))]
    NoImage {
        /// Whose image.
        component: String,
        /// The image's name.
        image: String,
    },
}

impl Explain for PlanError {
    fn kind(&self) -> Kind {
        match self {
            Self::Catalog { source } => source.kind(),
            Self::NoImage { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog { source } => source.hint(),
            Self::NoImage { .. } => {
                Some("`oaas up` tells the operator the images that it has built".to_owned())
            }
        }
    }
}

/// Every workload of one cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    /// Which cloud.
    pub cloud: CloudId,
    /// The cluster that it runs in.
    pub cluster: Cluster,
    /// The release.
    pub release: String,
    /// Workloads, by component.
    pub components: BTreeMap<String, ComponentPlan>,
    /// One-off work, by name.
    pub jobs: BTreeMap<String, JobPlan>,
    /// What stands in the identity service's catalog.
    pub registrations: Vec<Registration>,
    /// The identity service and its administrator, if the cloud has one.
    pub identity: Option<ApiPlan>,
    /// Where the cloud is reached.
    pub publish: PublishPlan,
    /// What each node is.
    pub nodes: Vec<NodePlan>,
    /// Addresses of the nodes.
    pub node_addresses: Vec<String>,
}

/// How the operator reaches the identity service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiPlan {
    /// The component that serves it.
    pub component: String,
    /// The job that makes the administrator.
    pub job: String,
    /// The internal base URL.
    pub url: String,
    /// The administrator.
    pub user: String,
    /// The Secret with the administrator's password, in the key `password`.
    pub secret: String,
    /// The region.
    pub region: String,
}

/// One workload.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentPlan {
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Which kind of workload.
    pub kind: WorkloadKind,
    /// The image.
    pub image: Image,
    /// How many, and which counts make sense.
    pub replicas: u32,
    /// Which counts make sense.
    pub rule: Replicas,
    /// Who decides the count.
    pub replica_owner: ReplicaOwner,
    /// On which nodes.
    pub nodes: NodeLabel,
    /// What must be so first.
    pub needs: Vec<Need>,
    /// Configuration files, the agent's among them.
    pub documents: Vec<Document>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Password files below `/etc/oaas/accounts`: name → Secret.
    pub accounts: BTreeMap<String, String>,
    /// Secrets mounted as directories: Secret → path.
    pub secret_mounts: BTreeMap<String, String>,
    /// The Secret with its certificate; the authority's alone is mounted where there is none.
    pub certificate: Option<String>,
    /// Ports.
    pub ports: Vec<PortPlan>,
    /// The further Service that leads to one member.
    pub single_writer: Option<String>,
    /// Port of the agent's health server.
    pub health_port: u16,
    /// Does it answer probes?
    pub probes: bool,
    /// Seconds that starting may take.
    pub startup_seconds: u32,
    /// Requests and limits.
    pub resources: Resources,
    /// What is mounted.
    pub volumes: Vec<Volume>,
    /// What its persistent volumes ask for, by the volume's name.
    pub claims: BTreeMap<String, Claim>,
    /// Does it read what its node is?
    pub node_settings: bool,
    /// What it may do.
    pub security: Security,
    /// Seconds to stop.
    pub grace: u32,
    /// Hash of all that a pod of it is made from.
    pub hash: String,
}

impl ComponentPlan {
    /// Do its members choose among themselves the one that the further Service leads to? With one there is no choice.
    pub fn chooses_writer(&self) -> bool {
        self.single_writer.is_some() && self.replicas > 1
    }
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    /// Its name.
    pub name: String,
    /// Its number.
    pub port: u16,
    /// Does the Service carry it?
    pub in_service: bool,
    /// Its NodePort, if it is published.
    pub node_port: Option<u16>,
}

/// One-off work.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPlan {
    /// Its name without the hash.
    pub name: String,
    /// Whose work it is.
    pub service: String,
    /// What it does, for people.
    pub title: String,
    /// The image.
    pub image: Image,
    /// What must be so first.
    pub needs: Vec<Need>,
    /// Configuration files, the agent's among them.
    pub documents: Vec<Document>,
    /// Password files below `/etc/oaas/accounts`: name → Secret.
    pub accounts: BTreeMap<String, String>,
    /// Secrets mounted as directories: Secret → path.
    pub secret_mounts: BTreeMap<String, String>,
    /// Environment variables from Secrets: variable → (Secret, key).
    pub secret_env: BTreeMap<String, (String, String)>,
    /// Hash of all that it is made from; a part of the Job's name.
    pub hash: String,
}

impl JobPlan {
    /// The name of the Kubernetes Job.
    pub fn object_name(&self) -> String {
        format!("{}-{}", self.name, &self.hash[..10])
    }
}

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

/// Resolve the catalog for one cloud.
pub fn blueprint(inputs: &Inputs<'_>) -> Result<Blueprint, PlanError> {
    let catalog = cloud_catalog(inputs).context(CatalogSnafu)?;
    let world = World::new(inputs, &catalog);
    let mut components = BTreeMap::new();
    let mut jobs = BTreeMap::new();
    let mut registrations = Vec::new();
    for service in &world.services {
        for component in &service.components {
            components.insert(component.name.clone(), component_plan(&world, service, component)?);
        }
        if let Some(job) = schema_plan(&world, service)? {
            jobs.insert(job.name.clone(), job);
        }
        for job in &service.jobs {
            jobs.insert(job.name.clone(), catalog_job(&world, service, job)?);
        }
        registrations.extend(registration(&world, service));
    }
    let identity = world.provider(|provides| match provides {
        Provides::Identity { component, job, user, secret } => Some((component, job, user, secret)),
        _ => None,
    });
    let identity = identity.and_then(|(component, job, user, secret)| {
        let (service, _) = world.component(component)?;
        Some(ApiPlan {
            component: component.clone(),
            job: job.clone(),
            url: service.apis.first().map(|api| world.internal_url(&api.name)).unwrap_or_default(),
            user: user.clone(),
            secret: secret_name(secret),
            region: crate::resolve::REGION.to_owned(),
        })
    });
    Ok(Blueprint {
        cloud: inputs.cloud.clone(),
        cluster: inputs.observed.cluster.clone(),
        release: world.release.name.clone(),
        components,
        jobs,
        registrations,
        identity,
        publish: world.publish.clone(),
        nodes: node_plans(inputs),
        node_addresses: inputs
            .nodes
            .iter()
            .filter_map(|node| node.address)
            .map(|address| address.to_string())
            .collect(),
    })
}

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

fn component_plan(
    world: &World<'_>,
    service: &Service,
    component: &Component,
) -> Result<ComponentPlan, PlanError> {
    let mut plan = resolve_component(world, service, component)?;
    if world.new_cloud {
        plan.hash = resolve_component(&world.once_it_lived(), service, component)?.hash;
    }
    Ok(plan)
}

fn resolve_component(
    world: &World<'_>,
    service: &Service,
    component: &Component,
) -> Result<ComponentPlan, PlanError> {
    let inputs = world.inputs;
    let place = Place { service, component: Some(component) };
    let (count, replica_owner) = replicas(inputs, service, component);
    let mut documents = Vec::new();
    if let Some(main) = main_file(world, place, &component.config, Some(component)) {
        documents.push(main);
    }
    for name in component
        .files
        .iter()
        .filter(|name| component.config.is_empty() || service.main.as_ref() != Some(name))
    {
        documents.extend(service.files.get(name).map(|file| further_file(world, place, name, file)));
    }
    let mut role = world.tree(place, &component.role);
    if let Some(wsgi) = role.get("wsgi").cloned() {
        let (role_of_wsgi, settings) = expand_wsgi(world, component, service, &wsgi);
        role = role_of_wsgi;
        documents.push(settings);
    }
    let health = &component.health;
    let checks = |tree| match world.tree(place, tree) {
        serde_json::Value::Null => json!([]),
        list => list,
    };
    let (startup, live, ready) = (checks(&health.startup), checks(&health.live), checks(&health.ready));
    let probes =
        [&startup, &live, &ready].iter().any(|list| list.as_array().is_some_and(|list| !list.is_empty()));
    let probes = probes || role.get("node").is_some();
    let mut agent = json!({"component": component.name, "role": role});
    if probes {
        agent["health"] = json!({"port": health.port, "startup": startup, "live": live, "ready": ready});
    }
    documents.push(agent_document(agent));
    let ports = component
        .ports
        .iter()
        .map(|port| PortPlan {
            name: port.name.clone(),
            port: port.port,
            in_service: port.expose != Expose::None,
            node_port: match &port.expose {
                Expose::NodePort(published) => world.publish.ports.get(&published.key).copied(),
                Expose::Cluster | Expose::None => None,
            },
        })
        .collect();
    let secret_mounts =
        component.secret_mounts.iter().map(|(name, path)| (secret_name(name), path.clone())).collect();
    let mut plan = ComponentPlan {
        name: component.name.clone(),
        service: service.name.clone(),
        kind: component.kind,
        image: image(world, &service.name, &component.name, &component.image)?,
        replicas: count,
        rule: component.replicas,
        replica_owner,
        nodes: component.nodes,
        needs: component.needs.clone(),
        documents,
        env: component.env.clone(),
        accounts: world.account_secrets(&component.accounts),
        secret_mounts,
        certificate: component.certificate.then(|| certificate_secret(&component.name)),
        ports,
        single_writer: component.single_writer.clone(),
        health_port: health.port,
        probes,
        startup_seconds: health.startup_seconds,
        resources: resources(inputs, service, component),
        volumes: component.volumes.clone(),
        claims: claims(inputs, service, component),
        node_settings: component.node_settings,
        security: component.security.clone(),
        grace: component.grace,
        hash: String::new(),
    };
    plan.hash = component_hash(world, &plan);
    Ok(plan)
}

pub(crate) fn agent_document(agent: serde_json::Value) -> Document {
    Document {
        path: AGENT_CONFIG.into(),
        format: FileFormat::Json,
        content: crate::Sensitive::new(Content::Tree(agent)),
    }
}

/// Where the agent finds what it does.
const AGENT_CONFIG: &str = "/etc/oaas/agent/agent.json";

/// The service's main file with the fragments that a component picks and the user's options on top.
pub(crate) fn main_file(
    world: &World<'_>,
    place: Place<'_>,
    fragments: &[String],
    component: Option<&Component>,
) -> Option<Document> {
    if fragments.is_empty() {
        return None;
    }
    let file = place.service.files.get(place.service.main.as_ref()?)?;
    let mut sections = Sections::new();
    for name in fragments {
        let fragment = world.catalog.fragment(place.service, name)?;
        for (section, options) in &fragment.options {
            let into = sections.entry(section.clone()).or_default();
            for (option, value) in options {
                into.insert(option.clone(), world.texts(place, value));
            }
        }
    }
    if let Some(component) = component {
        apply_options(world.inputs, place.service, component, &mut sections);
    }
    Some(Document {
        path: world.text(place, &file.path),
        format: file.format,
        content: crate::Sensitive::new(Content::Sections(sections)),
    })
}

pub(crate) fn further_file(
    world: &World<'_>,
    place: Place<'_>,
    name: &String,
    file: &oaas_catalog::ConfigFile,
) -> Document {
    let content = match file.format {
        FileFormat::PublicEndpoint => public_endpoint(world),
        FileFormat::Lines => Content::Lines(
            world
                .tree(place, &file.content)
                .as_array()
                .into_iter()
                .flatten()
                .map(|line| line.as_str().map_or_else(|| line.to_string(), str::to_owned))
                .collect(),
        ),
        FileFormat::Oslo
        | FileFormat::Properties
        | FileFormat::Python
        | FileFormat::Yaml
        | FileFormat::Json => {
            let mut tree = world.tree(place, &file.content);
            if let (true, Some(component)) = (place.service.main.as_ref() == Some(name), place.component) {
                apply_to_tree(world.inputs, place.service, component, &mut tree);
            }
            Content::Tree(tree)
        }
    };
    Document {
        path: world.text(place, &file.path),
        format: file.format,
        content: crate::Sensitive::new(content),
    }
}

/// What the public endpoint leads to: every API of the cloud.
fn public_endpoint(world: &World<'_>) -> Content {
    // Nothing is published through a service that does not say how.
    let Some(endpoint) = world.public_endpoint() else { return Content::Lines(Vec::new()) };
    let routes = world
        .services
        .iter()
        .flat_map(|service| &service.apis)
        .filter_map(|api| {
            let (_, component) = world.component(&api.component)?;
            let port = component.ports.iter().find(|port| port.name == api.port)?;
            Some(PublicRoute {
                name: api.name.clone(),
                path: api.path.clone(),
                host: world.host(&api.component),
                port: port.port,
            })
        })
        .collect();
    let url = world.publish.url(&endpoint.published.key).unwrap_or_default();
    Content::PublicEndpoint(PublicEndpointModel {
        port: endpoint.port,
        statistics_port: endpoint.statistics_port,
        statistics_user: endpoint.statistics.user.clone(),
        statistics_password: world.secret(&secret_name(&endpoint.statistics.secret), "password"),
        certificate: endpoint.certificate.to_owned(),
        authority: AUTHORITY_FILE.into(),
        host: url.trim_start_matches("https://").to_owned(),
        routes,
    })
}

/// A WSGI application: uWSGI with TLS in front of it, as the agent's role `process`.
///
/// `start-time` is what Neutron's maintenance asks for (neutron, `doc/source/admin/config-wsgi.rst`); it is expanded in
/// an ini file only. `warm_up` is Python that a process runs before it takes requests, after the application is there:
/// what the application would do at its first request, and badly if that comes twice at once. Clients are told to close,
/// since uWSGI's own HTTP does close each connection after its answer.
fn expand_wsgi(
    world: &World<'_>,
    component: &Component,
    service: &Service,
    wsgi: &serde_json::Value,
) -> (serde_json::Value, Document) {
    const SETTINGS: &str = "/etc/oaas/uwsgi.ini";
    let port =
        component.ports.iter().find(|port| wsgi["port"] == port.name.as_str()).map_or(0, |port| port.port);
    let workers = resources(world.inputs, service, component).workers;
    let module = wsgi["module"].as_str().unwrap_or_default().to_owned();
    let entry = match wsgi["warm_up"].as_str() {
        None => ("module", module),
        Some(warm_up) => {
            let (package, name) = module.rsplit_once(':').unwrap_or((&module, "application"));
            ("eval", format!("from {package} import {name}; {warm_up}"))
        }
    };
    let fixed = [
        entry,
        ("virtualenv", "/opt/openstack".to_owned()),
        ("https-socket", format!("0.0.0.0:{port},/etc/oaas/tls/tls.crt,/etc/oaas/tls/tls.key")),
        ("master", "true".to_owned()),
        ("processes", workers.to_string()),
        ("threads", "4".to_owned()),
        ("enable-threads", "true".to_owned()),
        ("lazy-apps", "true".to_owned()),
        ("need-app", "true".to_owned()),
        ("die-on-term", "true".to_owned()),
        ("thunder-lock", "true".to_owned()),
        ("buffer-size", "65535".to_owned()),
        ("disable-logging", "true".to_owned()),
        ("log-4xx", "true".to_owned()),
        ("log-5xx", "true".to_owned()),
        ("add-header", "Connection: close".to_owned()),
        ("set", "start-time=%t".to_owned()),
    ];
    let mut options: BTreeMap<String, Vec<String>> =
        fixed.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect();
    for (name, value) in wsgi["options"].as_object().into_iter().flatten() {
        options.insert(name.clone(), vec![value.as_str().map_or_else(|| value.to_string(), str::to_owned)]);
    }
    let sections = Sections::from([("uwsgi".to_owned(), options)]);
    let settings = Document {
        path: SETTINGS.into(),
        format: FileFormat::Oslo,
        content: crate::Sensitive::new(Content::Sections(sections)),
    };
    let mut program =
        json!({"command": ["uwsgi", "--ini", SETTINGS], "stop": {"signal": "TERM", "drain_seconds": 2}});
    if let Some(env) = wsgi.get("env") {
        program["env"] = env.clone();
    }
    (json!({"process": {"program": program}}), settings)
}

fn registration(world: &World<'_>, service: &Service) -> Option<Registration> {
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

impl Blueprint {
    /// The release of the catalog that it was made from.
    pub fn release<'a>(&self, catalog: &'a oaas_catalog::Catalog) -> Option<&'a Release> {
        catalog.releases().get(&self.release)
    }

    /// A short hash of everything: changes whenever anything would be rendered differently.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for component in self.components.values() {
            hash.update(format!(
                "{} {} {:?} {:?}",
                component.name, component.hash, component.replicas, component.ports
            ));
        }
        for job in self.jobs.values() {
            hash.update(job.object_name());
        }
        for registration in &self.registrations {
            hash.update(&registration.hash);
        }
        hex::encode(hash.finalize())[..16].to_owned()
    }
}
