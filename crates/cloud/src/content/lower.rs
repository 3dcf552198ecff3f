//! Content as items.

use std::collections::BTreeMap;

use super::check::{Problem, check};
use super::compute;
use super::given::Given;
use super::image;
use super::network;
use super::spec::{self, Content, PasswordRule, RoleAssignment};
use crate::engine::{
    Absent, CallTemplate, Correction, Fields, Item, Key, Kind, Look, Method, Piece, Shape, Template,
};
use crate::identity::{Builder, Target, User, bare};
use crate::service::Service;

/// What is to be kept for this content.
///
/// # Errors
/// Everything that is wrong with the declaration.
pub fn items(content: &Content, given: &Given) -> Result<Vec<Item>, Vec<Problem>> {
    let problems = check(content);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut builder = Builder::default();
    people(content, given, &mut builder);
    for quota in &content.quotas {
        quotas(quota, &mut builder);
    }
    for flavor in &content.flavors {
        builder.push(compute::flavor(flavor));
    }
    for network in &content.networks {
        network::network(network, &mut builder);
    }
    for router in &content.routers {
        network::router(router, content, &mut builder);
    }
    for group in &content.security_groups {
        network::security_group(group, &mut builder);
    }
    for keypair in &content.keypairs {
        compute::keypair(keypair, given, &mut builder);
    }
    for image in &content.images {
        builder.push(image::image(image));
    }
    for server in &content.servers {
        compute::server(server, content, &mut builder);
    }
    Ok(builder.finish())
}

fn people(content: &Content, given: &Given, builder: &mut Builder) {
    for domain in &content.domains {
        builder.domain(&domain.name, domain.description.as_deref());
    }
    for role in &content.roles {
        builder.role(role);
    }
    for project in &content.projects {
        builder.project(&project.name, project.description.as_deref());
    }
    for user in &content.users {
        let password = given.passwords.get(&user.name);
        builder.user(&User {
            name: &user.name,
            password,
            project: user.default_project.as_ref(),
            email: user.email.as_deref(),
            service: false,
        });
        if let (Some(password), PasswordRule::Keep) = (password, user.password_rule) {
            builder.password(&user.name, password);
        }
    }
    for assignment in &content.role_assignments {
        if let Some(target) = target(assignment) {
            builder.assignment(&assignment.user, &assignment.role, &target);
        }
    }
}

fn target(assignment: &RoleAssignment) -> Option<Target> {
    match (&assignment.project, &assignment.domain, assignment.system) {
        (Some(project), None, false) => Some(Target::Project(project.clone())),
        (None, Some(domain), false) => Some(Target::Domain(domain.clone())),
        (None, None, true) => Some(Target::System),
        // Refused by `check`.
        _ => None,
    }
}

/// Quotas. Sources: Compute API "Quota sets", Networking API "Quotas extension".
fn quotas(quota: &spec::Quota, builder: &mut Builder) {
    let project = builder.project_ref(&quota.project);
    let mut one = |kind, service, path: &str, field: &'static str, limits: &BTreeMap<String, i64>| {
        if limits.is_empty() {
            return;
        }
        let call = |method| CallTemplate::new(service, method, [path.into(), Piece::from(&project)]);
        let fields: Fields =
            limits.iter().map(|(name, limit)| (name.clone(), Template::from(*limit))).collect();
        builder.push(Item {
            look: Look::List { call: call(Method::Get), field, inner: None },
            declared: vec![Correction { fields, call: call(Method::Put), shape: Shape::Wrapped(field) }],
            absent: Absent::Missing("there is no quota of this project".to_owned()),
            ..bare(Key::new(kind, [quota.project.to_string()]))
        });
    };
    one(Kind::ComputeQuota, Service::Compute, "/v2.1/os-quota-sets/", "quota_set", &quota.compute);
    one(Kind::NetworkQuota, Service::Network, "/v2.0/quotas/", "quota", &quota.network);
}
