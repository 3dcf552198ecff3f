//! Keep content in any cloud: `OS_AUTH_URL=… OS_USERNAME=… OS_PASSWORD=… keep [CONTENT.yaml]`.
//!
//! Without a file, the demo content. Also `OS_CACERT` (a file), `OS_REGION_NAME`, `OAAS_ENDPOINTS` (addresses before the
//! catalog's, such as `image=http://127.0.0.1:9292,compute=…`), `OAAS_DEMO_PASSWORD` (the password of each declared
//! user), `OAAS_PUBLIC_KEY` (of each keypair that has none). Prints one line per item; exit code 5 while something
//! waits, 1 when something failed.

use std::collections::BTreeMap;
use std::env::var;
use std::process::ExitCode;
use std::time::Instant;

use oaas_cloud::Secret;
use oaas_cloud::content::{Content, Given, demo, items};
use oaas_cloud::engine::{Options, apply};
use oaas_cloud::service::Service;
use oaas_cloud::session::{Config, Identity, Interface, Limits, Scope, Session, Sessions};
use oaas_feedback::Task;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let content: Content = match std::env::args().nth(1) {
        Some(file) => serde_yaml_ng::from_str(&std::fs::read_to_string(file)?)?,
        None => demo(),
    };
    let mut given = Given::default();
    for user in &content.users {
        given.passwords.insert(user.name.clone(), Secret::new(var("OAAS_DEMO_PASSWORD")?));
    }
    for pair in content.keypairs.iter().filter(|pair| pair.public_key.is_none()) {
        given.public_keys.insert((pair.user.clone(), pair.name.clone()), var("OAAS_PUBLIC_KEY")?);
    }
    let items = items(&content, &given)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let sessions = Sessions::new(Session::new(config()?)?, given.passwords);
    let started = Instant::now();
    let report = apply(&items, &sessions, &Options::default(), &Task::silent()).await?;
    for item in &report.items {
        println!("{item} {:?}", item.facts);
    }
    println!("{} items in {:.2} s", report.items.len(), started.elapsed().as_secs_f32());
    Ok(match (report.failed().count(), report.settled()) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => ExitCode::from(5),
        _ => ExitCode::FAILURE,
    })
}

fn config() -> Result<Config, Failure> {
    let mut endpoints = BTreeMap::new();
    for pair in var("OAAS_ENDPOINTS").unwrap_or_default().split(',').filter(|pair| !pair.is_empty()) {
        let (kind, address) = pair.split_once('=').ok_or("OAAS_ENDPOINTS: write type=address,…")?;
        let service = Service::ALL.into_iter().find(|service| service.catalog_type() == kind);
        endpoints.insert(
            service.ok_or_else(|| format!("OAAS_ENDPOINTS: there is no type {kind}"))?,
            address.to_owned(),
        );
    }
    Ok(Config {
        auth_url: var("OS_AUTH_URL")?,
        identity: Identity {
            user: var("OS_USERNAME")?.into(),
            password: Secret::new(var("OS_PASSWORD")?),
            scope: Scope::Project(var("OS_PROJECT_NAME").unwrap_or_else(|_| "admin".to_owned()).into()),
        },
        region: var("OS_REGION_NAME").ok(),
        interface: Interface::Internal,
        endpoints,
        ca_pem: var("OS_CACERT").ok().map(std::fs::read).transpose()?,
        limits: Limits::default(),
    })
}
