//! From the catalog to the blueprint of one cloud.

use std::collections::BTreeMap;

use oaas_catalog::Provides;
use snafu::ResultExt;

use crate::blueprint::{ApiPlan, Blueprint};
use crate::callers::callers;
use crate::components::component_plan;
use crate::error::{CatalogSnafu, PlanError};
use crate::inputs::Inputs;
use crate::jobs::{catalog_job, schema_plan};
use crate::nodes::node_plans;
use crate::registrations::registration;
use crate::resolve::{REGION, World};
use crate::select::cloud_catalog;

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
            secret: world.secret_name(secret),
            region: REGION.to_owned(),
        })
    });
    let callers = callers(&world, &jobs);
    Ok(Blueprint {
        cloud: inputs.cloud.clone(),
        cluster: inputs.observed.cluster.clone(),
        release: world.release.name.clone(),
        components,
        jobs,
        callers,
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
