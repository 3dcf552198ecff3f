//! What planning knows of a cloud, from what is observed of it. Pure, and the same for the operator and for whoever asks
//! beforehand.

use std::collections::{BTreeMap, BTreeSet};

use oaas_api::{OpenStackSpec, names};
use oaas_catalog::Catalog;
use oaas_plan::{CloudId, Cluster, ContentState, Credentials, Images, Inputs, Node, Sensitive, UserSecrets};
use oaas_render::Stored;

use super::acting::Seen;
use super::counts;
use super::credentials::read;
use super::facts::{self, Workloads};
use crate::observe::Observed;

/// The entry of the ledger that says that the cloud's database has run.
pub const DATABASE_LIVED: &str = "database-lived";

/// What planning knows of a cloud.
#[derive(Debug, Clone)]
pub struct Known {
    /// Which cloud.
    pub id: CloudId,
    /// The cluster's nodes.
    pub nodes: Vec<Node>,
    /// What runs.
    pub observed: oaas_plan::Observed,
    /// The secrets there are.
    pub credentials: Credentials,
    /// What stands in the Secrets that the resource refers to; nothing where no cluster was asked.
    pub user_secrets: Option<UserSecrets>,
}

impl Known {
    /// From what is observed, and what the last passes found inside the cloud.
    pub fn of(observed: &Observed, seen: &Seen, cluster: &Cluster) -> Self {
        let metadata = &observed.cloud.metadata;
        let workloads = Workloads::of(observed);
        let troubles = facts::troubles(observed);
        Self {
            id: CloudId {
                name: metadata.name.clone().unwrap_or_default(),
                namespace: metadata.namespace.clone().unwrap_or_default(),
                uid: metadata.uid.clone().unwrap_or_default(),
            },
            nodes: facts::nodes(observed.nodes.iter().map(AsRef::as_ref)),
            credentials: credentials(observed),
            user_secrets: Some(observed.user_secrets.clone()),
            observed: oaas_plan::Observed {
                components: facts::components(&workloads, &troubles),
                jobs: facts::jobs(&workloads, &troubles),
                scheduled: facts::scheduled(&workloads, &troubles),
                registered: seen.registered.clone(),
                unregistered: seen.unregistered.clone(),
                locked_out: seen.locked_out.clone(),
                content: if seen.content_settled {
                    ContentState::Settled
                } else {
                    ContentState::Missing(seen.missing.clone())
                },
                read_secrets: read(observed),
                volumes: volumes(observed),
                claims: facts::claims(observed.volumes.iter().map(AsRef::as_ref)),
                storage_classes: observed.storage_classes.clone(),
                database_lived: observed.ledger.entries.contains_key(DATABASE_LIVED),
                own_node_ports: facts::own_node_ports(observed.services.iter().map(AsRef::as_ref)),
                taken_node_ports: taken_node_ports(observed),
                scaled: counts::scaled(&observed.components, &workloads.deployments),
                given: counts::given(&observed.components),
                members: counts::members(&workloads.stateful_sets),
                namespace_clouds: older_clouds(observed),
                cluster: cluster.clone(),
            },
        }
    }

    /// What a resource is planned from.
    pub fn inputs<'a>(
        &'a self,
        spec: &'a OpenStackSpec,
        catalog: &'a Catalog,
        images: &'a Images,
    ) -> Inputs<'a> {
        Inputs {
            cloud: &self.id,
            spec,
            catalog,
            images,
            credentials: &self.credentials,
            user_secrets: self.user_secrets.as_ref(),
            nodes: &self.nodes,
            observed: &self.observed,
        }
    }
}

/// What was accepted last of this cloud: what the status names, else the newest.
pub fn accepted(observed: &Observed) -> Option<Stored> {
    let cloud = &observed.cloud;
    let named = cloud.status.as_ref().and_then(|status| status.plan_hash.clone());
    let own = |labels: &BTreeMap<String, String>| {
        labels.contains_key(names::LABEL_STATE)
            && labels.get(names::LABEL_OWNER) == cloud.metadata.uid.as_ref()
    };
    let states = observed.secrets.iter().filter(|secret| secret.metadata.labels.as_ref().is_some_and(own));
    let newest = states.max_by_key(|secret| {
        let hash = secret.metadata.labels.as_ref().and_then(|labels| labels.get(names::LABEL_STATE));
        (
            hash.is_some() && hash == named.as_ref(),
            secret.metadata.creation_timestamp.clone().map(|time| time.0),
        )
    });
    newest.and_then(|secret| Stored::read(secret))
}

fn credentials(observed: &Observed) -> Credentials {
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
