//! Hashes of what pods and jobs are made from.

use std::collections::BTreeSet;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::blueprint::{ComponentPlan, JobPlan};
use crate::credentials::AUTHORITY;
use crate::digest::hash_secret;
use crate::document::Document;
use crate::resolve::World;

/// A pod rolls on what it uses: its documents, the secrets it mounts, its image's closure, its place; not on its replica
/// count, and not because its image has another thin layer on top.
pub(crate) fn component_hash(world: &World<'_>, plan: &ComponentPlan) -> String {
    let from_env = plan.secret_env.values().map(|(secret, _)| secret);
    let mounted = plan.accounts.values().chain(plan.secret_mounts.keys()).chain(from_env);
    let rolls = plan.certificate.as_ref().filter(|_| !plan.follows_certificate);
    let secrets: BTreeSet<&String> = mounted.chain(rolls).collect();
    let mut hash = Sha256::new();
    for secret in secrets {
        hash_secret(world, &mut hash, secret);
    }
    if plan.certificate.is_none() {
        // Whom it trusts is read from the authority's Secret.
        let authorities = world.inputs.credentials.get(AUTHORITY).and_then(|keys| keys.get("ca.crt"));
        hash.update(authorities.map_or("", |text| text.expose().as_str()));
    }
    hash_documents(&mut hash, &plan.documents);
    for (node, document) in &plan.node_documents {
        hash.update(node);
        hash_documents(&mut hash, std::slice::from_ref(document));
    }
    // Where a port is published is the Service's affair: pods do not restart for it.
    let ports: Vec<_> = plan.ports.iter().map(|port| (&port.name, port.port)).collect();
    let rest = json!([
        plan.image.closure,
        plan.env,
        plan.accounts,
        plan.secret_mounts,
        plan.secret_env,
        format!(
            "{:?}",
            (ports, &plan.resources, &plan.volumes, &plan.security, plan.grace, plan.health_port)
        ),
    ]);
    hash.update(rest.to_string());
    hex::encode(hash.finalize())[..16].to_owned()
}

fn hash_documents(hash: &mut Sha256, documents: &[Document]) {
    for document in documents.iter().filter(|document| !document.is_live()) {
        hash.update(&document.path);
        // What can be serialised to be written can be serialised to be hashed.
        hash.update(serde_json::to_vec(document.content.expose()).unwrap_or_default());
    }
}

/// A job is done again when what it uses is another; another thin layer on top of its image does not count.
pub(crate) fn job_hash(world: &World<'_>, plan: &JobPlan) -> String {
    let mut hash = Sha256::new();
    let from_env = plan.secret_env.values().map(|(secret, _)| secret);
    for secret in
        plan.accounts.values().chain(plan.secret_mounts.keys()).chain(from_env).collect::<BTreeSet<_>>()
    {
        hash_secret(world, &mut hash, secret);
    }
    hash_documents(&mut hash, &plan.documents);
    hash.update(&plan.image.closure);
    hash.update(format!(
        "{:?}",
        (&plan.env, &plan.secret_env, &plan.secret_mounts, &plan.accounts, &plan.volumes, &plan.security)
    ));
    hex::encode(hash.finalize())[..16].to_owned()
}
