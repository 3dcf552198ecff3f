//! What planning starts from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use oaas_api::OpenStackSpec;
use oaas_api::names;
use oaas_catalog::Catalog;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::secrets::SecretKey;
use crate::sensitive::{Credentials, Sensitive};

/// Which cloud it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudId {
    /// The resource's name.
    pub name: String,
    /// Its namespace, which holds this one cloud.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
}

/// An image, and what it is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its full reference, by digest.
    pub reference: String,
    /// Digest of its layers without the thin one on top: what pods roll on.
    pub closure: String,
}

impl Image {
    /// An image of which nothing but the reference is known: another reference is another image.
    pub fn opaque(reference: impl Into<String>) -> Self {
        let reference = reference.into();
        Self { closure: reference.clone(), reference }
    }
}

/// The images there are, by name.
pub type Images = BTreeMap<String, Image>;

/// A short hash that names an operator by the images that it was given. The agent on top of each is the same program
/// as the operator, so that another operator has other images.
pub fn revision(images: &Images) -> String {
    let mut hash = Sha256::new();
    for (name, image) in images {
        hash.update(format!("{name} {} {}\n", image.reference, image.closure));
    }
    hex::encode(hash.finalize())[..16].to_owned()
}

/// Everything that planning knows.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Which cloud.
    pub cloud: &'a CloudId,
    /// What is wanted.
    pub spec: &'a OpenStackSpec,
    /// What is known of services and releases.
    pub catalog: &'a Catalog,
    /// The images there are.
    pub images: &'a Images,
    /// The secrets there are.
    pub credentials: &'a Credentials,
    /// What stands in the Secrets that the resource refers to; nothing where no cluster was asked.
    pub user_secrets: Option<&'a UserSecrets>,
    /// The cluster's nodes.
    pub nodes: &'a [Node],
    /// What runs.
    pub observed: &'a Observed,
}

/// Values of Secrets that a resource refers to ([`crate::secret_keys`]): those that are there.
pub type UserSecrets = BTreeMap<SecretKey, Sensitive<String>>;

/// A node of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its address inside the cluster.
    pub address: Option<IpAddr>,
    /// Its interfaces, from the annotation [`names::ANNOTATION_INTERFACES`].
    pub interfaces: Option<String>,
    /// Memory that pods may take, in MiB.
    pub allocatable_memory_mib: u64,
    /// Is it ready?
    pub ready: bool,
}

impl Node {
    /// Does it have that label of the user's, with the value `true`?
    pub fn has(&self, label: &str) -> bool {
        self.labels.get(label).is_some_and(|value| value == "true")
    }

    /// The annotation that tells its interfaces.
    pub const INTERFACES: &'static str = names::ANNOTATION_INTERFACES;
}

/// What is observed of a cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Workloads that exist, by component.
    pub components: BTreeMap<String, ComponentState>,
    /// Jobs that exist, by the name of the Kubernetes Job.
    pub jobs: BTreeMap<String, JobState>,
    /// How what is done again and again ended last, by the job's name.
    pub scheduled: BTreeMap<String, JobState>,
    /// Services whose registration in Keystone was seen to be as wanted: name → hash of what was wanted.
    pub registered: BTreeMap<String, String>,
    /// What of the registrations was seen not to be in place, and why.
    pub unregistered: Vec<String>,
    /// Why the identity service no longer lets the operator in, if it does not.
    pub locked_out: Option<String>,
    /// How far the declared content was seen to be.
    pub content: ContentState,
    /// Secrets that have been as they are for so long that whoever follows them has read them.
    pub read_secrets: BTreeSet<String>,
    /// How many volumes of each component exist; those of members that are gone are kept.
    pub volumes: BTreeMap<String, usize>,
    /// The claims of volumes that exist, by their name.
    pub claims: BTreeMap<String, ClaimState>,
    /// The cluster's storage classes; nothing where it was not asked.
    pub storage_classes: Option<StorageClasses>,
    /// Did this cloud's database ever run (from the ledger)?
    pub database_lived: bool,
    /// NodePorts of this cloud's own Services: `component/port name` → number.
    pub own_node_ports: BTreeMap<String, u16>,
    /// NodePorts that others have: number → who (`namespace/name`).
    pub taken_node_ports: BTreeMap<u16, String>,
    /// Replicas set on the `OpenStackComponent`s by whoever scales.
    pub scaled: BTreeMap<String, u32>,
    /// Replicas that resource, profile or catalog gave when a count was written last, by component.
    pub given: BTreeMap<String, u32>,
    /// How many members each workload has whose pods have names and volumes of their own.
    pub members: BTreeMap<String, u32>,
    /// Other clouds in the same namespace.
    pub namespace_clouds: BTreeSet<String>,
    /// The cluster that it runs in.
    pub cluster: Cluster,
}

/// What planning knows of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// The domain of the names of its Services, without dots around it.
    pub domain: String,
    /// The namespace of the operator, which reaches into every cloud.
    pub operator_namespace: String,
}

impl Default for Cluster {
    /// Kubernetes' own default domain, and the namespace that `oaas up` installs the operator in.
    fn default() -> Self {
        Self { domain: "cluster.local".into(), operator_namespace: "oaas-system".into() }
    }
}

/// A claim that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimState {
    /// The component whose it is.
    pub component: String,
    /// The size that it asks for, as Kubernetes writes amounts.
    pub size: String,
    /// Its storage class.
    pub class: Option<String>,
}

/// The cluster's storage classes: name → whether their volumes may grow.
pub type StorageClasses = BTreeMap<String, bool>;

/// How far a roll-out is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RolloutState {
    /// All wanted pods run what is wanted and are ready.
    #[default]
    Complete,
    /// Pods are being replaced or started.
    Underway,
}

/// What is observed of one workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComponentState {
    /// Pods wanted.
    pub desired: u32,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods that run the newest template.
    pub updated: u32,
    /// The hash of what was applied last.
    pub hash: Option<String>,
    /// How its pods were made when it was applied last.
    pub pods: Option<PodsMade>,
    /// What is wrong with a pod of it, if anything: a typed reason and words.
    pub trouble: Option<(oaas_api::Reason, String)>,
}

/// How the pods of a workload were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodsMade {
    /// The hash of all of their template but the image's reference, for which its closure stands.
    pub hash: String,
    /// The reference of their image.
    pub image: String,
}

/// What is observed of the declared content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentState {
    /// All of it is in place.
    Settled,
    /// What of it is not, and why; empty before it was looked at.
    Missing(Vec<String>),
}

impl Default for ContentState {
    fn default() -> Self {
        Self::Missing(Vec::new())
    }
}

/// What is observed of one Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// It runs or will run.
    Active,
    /// It ended well.
    Succeeded,
    /// It ended for good without success.
    Failed(String),
}
