//! One-off work: the jobs of the catalog, and those that load databases.

use std::collections::BTreeMap;

use oaas_catalog::{Need, Provides, Service};
use serde_json::json;

use crate::blueprint::{JobPlan, PlanError, agent_document, further_file, image, main_file};
use crate::credentials::{account, database_secret, secret_name};
use crate::document::Document;
use crate::fingerprint::job_hash;
use crate::resolve::{ACCOUNTS, Place, World};

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
    let own = format!("db-{}", service.name);
    let databases: Vec<_> = service.databases.iter().map(|name| json!({"name": name})).collect();
    let mut agent = json!({
        "component": schema_job(&service.name),
        "role": {"load_schema": {
            "server": {
                "host": host, "port": port, "user": user, "password_file": format!("{ACCOUNTS}/{secret}"),
                "tls": {"ca": "/etc/oaas/tls/ca.crt"},
            },
            "databases": databases,
            "accounts": [{
                "user": account(&service.name), "password_file": format!("{ACCOUNTS}/{own}"),
                "databases": service.databases,
            }],
        }},
    });
    let accounts =
        BTreeMap::from([(secret.clone(), secret_name(secret)), (own, database_secret(&service.name))]);
    let mut plan = JobPlan {
        name: schema_job(&service.name),
        service: service.name.clone(),
        title: format!("loads the databases of {}", service.name),
        image: image(world, &service.name, "", "openstack")?,
        needs: vec![Need::Ready(component.clone())],
        documents: vec![agent_document(agent.clone())],
        accounts,
        secret_mounts: BTreeMap::new(),
        secret_env: BTreeMap::new(),
        hash: String::new(),
    };
    plan.hash = job_hash(world, &plan);
    // How the loading is done; it is no other work by that, and is not done again because somebody scales.
    if world.has_one_member(component) {
        agent["role"]["load_schema"]["single_member"] = json!(true);
        plan.documents = vec![agent_document(agent)];
    }
    Ok(Some(plan))
}

pub(crate) fn catalog_job(
    world: &World<'_>,
    service: &Service,
    job: &oaas_catalog::Job,
) -> Result<JobPlan, PlanError> {
    let place = Place { service, component: None };
    let agent = json!({"component": job.name, "role": world.tree(place, &job.role)});
    let mut documents: Vec<Document> = main_file(world, place, &job.config, None).into_iter().collect();
    documents.extend(
        job.files.iter().filter_map(|name| Some(further_file(world, place, name, service.files.get(name)?))),
    );
    documents.push(agent_document(agent));
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
