//! One-off work: the jobs of the catalog, and those that load databases.

use std::collections::BTreeMap;

use oaas_agent_config::{
    AgentConfig, LoadSchema, MysqlServer, Role as AgentRole, SchemaAccount, SchemaDatabase, TlsTrust,
};
use oaas_catalog::{Need, Provides, Role, Service};
use snafu::ResultExt;

use crate::blueprint::JobPlan;
use crate::components::image;
use crate::credentials::{account, database_secret, secret_name};
use crate::document::Document;
use crate::error::{EndlessJobSnafu, MisfitSnafu, PlanError};
use crate::files::{agent_document, further_file, main_file};
use crate::fingerprint::job_hash;
use crate::health::database_account_file;
use crate::resolve::{ACCOUNTS, AUTHORITY_FILE, Place, World};

/// The name of the job that loads a service's databases.
pub(crate) fn schema_job(service: &str) -> String {
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
    let own_account = SchemaAccount {
        user: account(&service.name),
        password_file: file(&own),
        databases: service.databases.clone(),
    };
    let databases =
        service.databases.iter().map(|name| SchemaDatabase { name: name.clone(), snapshot: None });
    let load = LoadSchema::new(server, databases.collect(), vec![own_account]);
    let agent = |load: &LoadSchema| {
        let component = schema_job(&service.name);
        agent_document(&AgentConfig { component, role: AgentRole::LoadSchema(load.clone()), health: None })
    };
    let accounts =
        BTreeMap::from([(secret.clone(), secret_name(secret)), (own, database_secret(&service.name))]);
    let mut plan = JobPlan {
        name: schema_job(&service.name),
        service: service.name.clone(),
        title: format!("loads the databases of {}", service.name),
        image: image(world, &service.name, "", "openstack")?,
        needs: vec![Need::Ready(component.clone())],
        documents: vec![agent(&load)],
        accounts,
        secret_mounts: BTreeMap::new(),
        secret_env: BTreeMap::new(),
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
    let place = Place { service, component: None };
    let Role::Agent(role) = &job.role else { return EndlessJobSnafu { job: &job.name }.fail() };
    let role = role.fill(&world.at(place)).context(MisfitSnafu { part: &job.name })?;
    let agent = AgentConfig { component: job.name.clone(), role, health: None };
    let mut documents: Vec<Document> = main_file(world, place, &job.config, None).into_iter().collect();
    documents.extend(
        job.files.iter().filter_map(|name| Some(further_file(world, place, name, service.files.get(name)?))),
    );
    documents.push(agent_document(&agent));
    let secret_env = job
        .secret_env
        .iter()
        .map(|(variable, secret)| (variable.clone(), (secret_name(&secret.name), secret.key.clone())))
        .collect();
    let mut plan = JobPlan {
        name: job.name.clone(),
        service: service.name.clone(),
        title: job.title.clone(),
        image: image(world, &service.name, "", &job.image)?,
        needs: job.needs.clone(),
        documents,
        accounts: world.account_secrets(&job.accounts),
        secret_mounts: job
            .secret_mounts
            .iter()
            .map(|(name, path)| (secret_name(name), path.clone()))
            .collect(),
        secret_env,
        hash: String::new(),
    };
    plan.hash = job_hash(world, &plan);
    Ok(plan)
}
