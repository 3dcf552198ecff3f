//! One-off work: the jobs of the catalog, and those that load databases.

use std::collections::BTreeMap;

use oaas_agent_config::{
    AgentConfig, LoadSchema, MysqlServer, Role as AgentRole, SchemaAccount, SchemaDatabase, TlsTrust,
};
use oaas_catalog::{Need, NodeLabel, Provides, Resources, Role, Security, Service};
use snafu::ResultExt;

use crate::blueprint::{Blueprint, JobPlan};
use crate::components::{image, secret_env, secret_mounts};
use crate::credentials::account;
use crate::error::{EndlessJobSnafu, MisfitSnafu, PlanError};
use crate::files::{agent_document, documents};
use crate::fingerprint::job_hash;
use crate::generation::{kept, newest, retired, secret_of};
use crate::health::database_account_file;
use crate::inputs::{JobState, Observed};
use crate::overrides::resources;
use crate::resolve::{ACCOUNTS, AUTHORITY_FILE, Place, World};

/// The name of the job that loads a service's databases.
pub fn schema_job(service: &str) -> String {
    format!("load-schema-{service}")
}

/// The job that loads a service's databases and makes its account.
pub(crate) fn schema_plan(world: &World<'_>, service: &Service) -> Result<Option<JobPlan>, PlanError> {
    let database = world.provider(|provides| match provides {
        Provides::Database { component, user, secret } => Some((component, user, secret)),
        _ => None,
    });
    let (Some((component, user, secret)), Some((host, port))) = (database, world.database_server()) else {
        return Ok(None);
    };
    if service.databases.is_empty() {
        return Ok(None);
    }
    let own = database_account_file(&service.name);
    let file = |account: &str| format!("{ACCOUNTS}/{account}").into();
    let server = MysqlServer {
        host,
        port,
        tls: Some(TlsTrust { ca: AUTHORITY_FILE.into(), server_name: None }),
        user: user.clone(),
        password_file: file(secret),
    };
    let newest = newest(world.inputs, &own);
    // The account that is in use keeps its file's name, whatever generation it is.
    let name = |generation| if generation == newest { own.clone() } else { secret_of(&own, generation) };
    let one = |generation| SchemaAccount {
        user: account(&service.name, generation),
        password_file: file(&name(generation)),
        databases: service.databases.clone(),
    };
    let kept = kept(world.inputs, &own);
    let databases =
        service.databases.iter().map(|name| SchemaDatabase { name: name.clone(), snapshot: None });
    let mut load = LoadSchema::new(server, databases.collect(), kept.iter().copied().map(one).collect());
    load.retired = retired(world.inputs, &own).map(|generation| account(&service.name, generation)).collect();
    let agent = |load: &LoadSchema| {
        let component = schema_job(&service.name);
        agent_document(&AgentConfig {
            component,
            role: AgentRole::LoadSchema(load.clone()),
            follows: None,
            health: None,
        })
    };
    let mut accounts: BTreeMap<String, String> =
        kept.iter().map(|generation| (name(*generation), secret_of(&own, *generation))).collect();
    accounts.insert(secret.clone(), world.secret_name(secret));
    let mut plan = JobPlan {
        name: schema_job(&service.name),
        service: service.name.clone(),
        title: format!("loads the databases of {}", service.name),
        schedule: None,
        loads_database: true,
        image: image(world, &service.name, "", "openstack")?,
        nodes: NodeLabel::default(),
        needs: vec![Need::Ready(component.clone())],
        documents: vec![agent(&load)],
        env: BTreeMap::new(),
        accounts,
        secret_mounts: BTreeMap::new(),
        secret_env: BTreeMap::new(),
        resources: Resources::of_job(),
        volumes: Vec::new(),
        node_settings: false,
        security: Security::default(),
        grace: 30,
        hash: String::new(),
    };
    plan.hash = job_hash(world, &plan);
    // How the loading is done; it is no other work by that, and is not done again because somebody scales.
    if world.has_one_member(component) {
        plan.documents = vec![agent(&LoadSchema { single_member: true, ..load })];
    }
    Ok(Some(plan))
}

pub(crate) fn catalog_job(
    world: &World<'_>,
    service: &Service,
    job: &oaas_catalog::Job,
) -> Result<JobPlan, PlanError> {
    let (place, pod) = (Place::job(service, job), &job.pod);
    let Role::Agent(role) = &pod.role else { return EndlessJobSnafu { job: &job.name }.fail() };
    let role = role.fill(&world.at(place)).context(MisfitSnafu { part: &job.name })?;
    let agent = AgentConfig { component: job.name.clone(), role, follows: None, health: None };
    let mut documents = documents(world, place);
    documents.push(agent_document(&agent));
    let mut plan = JobPlan {
        name: job.name.clone(),
        service: service.name.clone(),
        title: job.title.clone(),
        schedule: job.schedule.clone(),
        loads_database: false,
        image: image(world, &service.name, "", &pod.image)?,
        nodes: pod.nodes,
        needs: pod.needs.clone(),
        documents,
        env: world.environment(place),
        accounts: world.account_secrets(&pod.accounts),
        secret_mounts: secret_mounts(world, pod),
        secret_env: secret_env(world, pod),
        resources: resources(world.inputs, service, &job.name, &pod.resources),
        volumes: pod.volumes.clone(),
        node_settings: pod.node_settings,
        security: pod.security.clone(),
        grace: pod.grace,
        hash: String::new(),
    };
    plan.hash = job_hash(world, &plan);
    Ok(plan)
}

/// Has this cloud's database been loaded? What it holds from then on is never made anew.
pub fn database_lives(blueprint: &Blueprint, observed: &Observed) -> bool {
    let loads = blueprint.jobs.values().filter(|job| job.loads_database);
    loads.map(JobPlan::object_name).any(|name| observed.jobs.get(&name) == Some(&JobState::Succeeded))
}
