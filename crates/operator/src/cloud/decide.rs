//! What is to be done for one cloud, from everything that is known of it. Pure but for [`generate`]'s randomness, which
//! is passed in as a function.
//!
//! [`generate`]: super::generate::generate

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use oaas_api::status::CredentialSummary;
use oaas_api::{Reason, names};
use oaas_catalog::Catalog;
use oaas_cloud::Secret;
use oaas_plan::{
    Blueprint, CloudId, Cluster, CredentialSpec, Credentials, Gate, Gates, Images, Inputs, Problem, Report,
    Sensitive,
};
use oaas_render::Rendered;

use super::acting::{Access, Declared, Registrations, Seen};
use super::content;
use super::credentials::{Unsecured, read, secure};
use super::facts::{self, Workloads};
use super::generate::{GenerateError, Values};
use super::rolls;
use crate::brain::Doomed;
use crate::observe::Observed;

/// The entry of the ledger that says that the cloud's database has run.
pub const DATABASE_LIVED: &str = "database-lived";

/// What is to be done.
#[derive(Debug)]
pub enum Plan {
    /// The resource cannot be done; nothing is changed.
    Refused(Vec<Problem>),
    /// Secrets are gone that volumes need; nothing is changed.
    CredentialsLost(Vec<String>),
    /// A secret could not be made; nothing is changed.
    Failed(String),
    /// This is applied, wanted, reported.
    Make(Box<Make>),
}

/// What is applied, wanted and reported.
#[derive(Debug)]
pub struct Make {
    /// The blueprint.
    pub blueprint: Blueprint,
    /// What may be applied now.
    pub gates: Gates,
    /// How far everything is.
    pub report: Report,
    /// The objects.
    pub rendered: Rendered,
    /// How the identity service is reached.
    pub access: Option<Access>,
    /// What is registered there, once its gate is open.
    pub registrations: Option<Registrations>,
    /// The declared content, once its gate is open.
    pub declared: Option<Declared>,
    /// Pods to delete, so that their successors come.
    pub rolls: Vec<Doomed>,
    /// Labels that nodes lack: node → labels.
    pub node_labels: BTreeMap<String, BTreeMap<String, String>>,
    /// Has a database of this cloud come to life?
    pub database_lives: bool,
    /// What the ledger shall remember beside that.
    pub remember: BTreeMap<String, String>,
    /// What is said of the cloud's secrets.
    pub credentials: Vec<CredentialSummary>,
    /// Secrets of former generations that nobody uses any more.
    pub former: Vec<Doomed>,
    /// When there is something to do, if nothing happens before.
    pub due: Option<Timestamp>,
}

/// Makes the values of a missing secret; certificates are signed by the authority, which is given.
pub type Generate<'a> = &'a dyn Fn(&CredentialSpec, Option<&Values>) -> Result<Values, GenerateError>;

/// Decide.
pub fn decide(
    catalog: &Catalog,
    images: &Images,
    cluster: &Cluster,
    observed: &Observed,
    seen: &Seen,
    generate: Generate<'_>,
) -> Plan {
    let resource = &observed.cloud;
    let id = CloudId {
        name: resource.metadata.name.clone().unwrap_or_default(),
        namespace: resource.metadata.namespace.clone().unwrap_or_default(),
        uid: resource.metadata.uid.clone().unwrap_or_default(),
    };
    let nodes: Vec<oaas_plan::Node> = facts::nodes(observed.nodes.iter().map(AsRef::as_ref));
    let workloads = Workloads::of(observed);
    let troubles = facts::troubles(observed);
    let known = oaas_plan::Observed {
        components: facts::components(&workloads, &troubles),
        jobs: facts::jobs(&workloads, &troubles),
        registered: seen.registered.clone(),
        unregistered: seen.unregistered.clone(),
        locked_out: seen.locked_out.clone(),
        content: if seen.content_settled {
            oaas_plan::ContentState::Settled
        } else {
            oaas_plan::ContentState::Missing(seen.missing.clone())
        },
        read_secrets: read(observed),
        volumes: volumes(observed),
        claims: facts::claims(observed.volumes.iter().map(AsRef::as_ref)),
        storage_classes: observed.storage_classes.clone(),
        database_lived: observed.ledger.entries.contains_key(DATABASE_LIVED),
        own_node_ports: facts::own_node_ports(observed.services.iter().map(AsRef::as_ref)),
        taken_node_ports: taken_node_ports(observed),
        scaled: facts::scaled(&observed.components, &workloads.deployments),
        namespace_clouds: older_clouds(observed),
        cluster: cluster.clone(),
    };
    let spec = &resource.spec;
    let existing = credentials_of(observed);
    let inputs = Inputs {
        cloud: &id,
        spec,
        catalog,
        images,
        credentials: &existing,
        user_secrets: Some(&observed.user_secrets),
        nodes: &nodes,
        observed: &known,
    };
    let problems = oaas_plan::validate(&inputs);
    if !problems.is_empty() {
        return Plan::Refused(problems);
    }
    let secured = match secure(&inputs, observed, generate) {
        Ok(secured) => secured,
        Err(Unsecured::Lost(lost)) => return Plan::CredentialsLost(lost),
        Err(Unsecured::Failed(why)) => return Plan::Failed(why),
    };
    let credentials = &secured.credentials;
    let inputs = Inputs { credentials, ..inputs };
    let mut blueprint = match oaas_plan::blueprint(&inputs) {
        Ok(blueprint) => blueprint,
        Err(error) => {
            return Plan::Refused(vec![Problem {
                reason: Reason::Invalid,
                path: "spec".into(),
                message: error.to_string(),
                hint: None,
            }]);
        }
    };
    if known.components.is_empty() {
        let problems = oaas_plan::too_large(&inputs, &blueprint);
        if !problems.is_empty() {
            return Plan::Refused(problems);
        }
    }
    oaas_render::keep_images(&mut blueprint, &known);
    let gates = oaas_plan::gates(&blueprint, &known);
    let report = oaas_plan::report(&blueprint, &gates, &known);
    let mut rendered = oaas_render::render(&blueprint, &gates);
    rendered.apply.persistent_volume_claims.extend(oaas_render::grown(&blueprint, &known));
    rendered.apply.secrets.splice(0..0, secured.objects(&blueprint));
    let access = access(&blueprint, credentials);
    let open = |gate: &Option<Gate>| gate.as_ref().is_some_and(Gate::is_open);
    let registrations = open(&gates.registration).then(|| Registrations {
        catalog: content::registrations(&blueprint, credentials),
        hashes: blueprint
            .registrations
            .iter()
            .map(|wanted| (wanted.service.clone(), wanted.hash.clone()))
            .collect(),
        former: content::former(&blueprint),
    });
    let declared = open(&gates.content).then(|| {
        let content = oaas_plan::declared(spec);
        let given = oaas_plan::given(&content, credentials, &observed.user_secrets);
        Declared { content, given }
    });
    let mut rolls = rolls::rolls(observed, &rendered.apply.daemon_sets, &nodes);
    rolls.extend(rolls::stuck(observed, &rendered.apply.stateful_sets));
    let node_labels = node_labels(&blueprint, &nodes);
    let database_lives = oaas_plan::database_lives(&blueprint, &known);
    Plan::Make(Box::new(Make {
        blueprint,
        gates,
        report,
        rendered,
        access,
        registrations,
        declared,
        rolls,
        node_labels,
        database_lives,
        remember: secured.remember,
        credentials: secured.told,
        former: secured.former,
        due: secured.due,
    }))
}

fn credentials_of(observed: &Observed) -> Credentials {
    let text = |bytes: &k8s_openapi::ByteString| String::from_utf8_lossy(&bytes.0).into_owned();
    observed
        .secrets
        .iter()
        .filter(|secret| {
            let labels = secret.metadata.labels.as_ref();
            labels.is_some_and(|labels| labels.contains_key(names::LABEL_DATA))
        })
        .filter_map(|secret| {
            let values = secret.data.as_ref()?.iter();
            let values = values.map(|(key, bytes)| (key.clone(), Sensitive::new(text(bytes)))).collect();
            Some((secret.metadata.name.clone()?, values))
        })
        .collect()
}

/// How many volumes each component has.
fn volumes(observed: &Observed) -> BTreeMap<String, usize> {
    let mut volumes = BTreeMap::new();
    let labels = observed.volumes.iter().filter_map(|volume| volume.metadata.labels.as_ref());
    for component in labels.filter_map(|labels| labels.get(names::LABEL_COMPONENT)) {
        *volumes.entry(component.clone()).or_default() += 1;
    }
    volumes
}

/// Ports that other clouds have published, by what their status says.
fn taken_node_ports(observed: &Observed) -> BTreeMap<u16, String> {
    let mut taken = BTreeMap::new();
    for other in &observed.others {
        let Some(endpoints) = other.status.as_ref().and_then(|status| status.endpoints.as_ref()) else {
            continue;
        };
        let urls = [&endpoints.horizon, &endpoints.identity, &endpoints.console, &endpoints.statistics];
        let owner = format!(
            "{}/{}",
            other.metadata.namespace.clone().unwrap_or_default(),
            other.metadata.name.clone().unwrap_or_default()
        );
        for port in urls.into_iter().flatten().filter_map(|url| port_of(url)) {
            taken.insert(port, owner.clone());
        }
    }
    taken
}

fn port_of(url: &str) -> Option<u16> {
    let authority = url.split("//").nth(1)?.split('/').next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

/// Clouds of the same namespace that were there before this one.
fn older_clouds(observed: &Observed) -> BTreeSet<String> {
    let own = &observed.cloud.metadata;
    let age = |metadata: &kube::core::ObjectMeta| {
        (metadata.creation_timestamp.clone().map(|time| time.0), metadata.uid.clone())
    };
    observed
        .others
        .iter()
        .map(|other| &other.metadata)
        .filter(|other| other.namespace == own.namespace && age(other) < age(own))
        .filter_map(|other| other.name.clone())
        .collect()
}

fn access(blueprint: &Blueprint, credentials: &Credentials) -> Option<Access> {
    let identity = blueprint.identity.clone()?;
    let value =
        |secret: &str, key: &str| credentials.get(secret)?.get(key).map(|value| value.expose().clone());
    Some(Access {
        password: Secret::new(value(&identity.secret, "password")?),
        authority: value(oaas_plan::AUTHORITY, "ca.crt")?,
        identity,
    })
}

fn node_labels(
    blueprint: &Blueprint,
    nodes: &[oaas_plan::Node],
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut missing = BTreeMap::new();
    for plan in &blueprint.nodes {
        let Some(node) = nodes.iter().find(|node| node.name == plan.name) else { continue };
        let lacks = |(key, value): &(&String, &String)| node.labels.get(*key) != Some(*value);
        let lacking: BTreeMap<String, String> =
            plan.labels.iter().filter(lacks).map(|(key, value)| (key.clone(), value.clone())).collect();
        if !lacking.is_empty() {
            missing.insert(plan.name.clone(), lacking);
        }
    }
    missing
}
