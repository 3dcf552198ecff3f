//! A service: what one file below `data/services/` says.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::component::{Component, Need};
use crate::value::{Scalar, Tree, Value};

/// One service of a cloud: an OpenStack service, or one that they need, such as the database.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name, as in `spec.services`.
    pub name: String,
    /// What it is, in a few words.
    pub title: String,
    /// Its REST API, if it has one.
    #[serde(default)]
    pub api: Option<Api>,
    /// The roles its Keystone user has in the project `service`; no user where absent.
    #[serde(default)]
    pub user: Option<Vec<String>>,
    /// Databases that it owns; they are loaded from the image's schema snapshots.
    #[serde(default)]
    pub databases: Vec<String>,
    /// What the other services find in it, if it is one of those that all lean on.
    #[serde(default)]
    pub provides: Option<Provides>,
    /// Does it have a vhost and an account in RabbitMQ?
    #[serde(default)]
    pub messaging: bool,
    /// Secrets that are generated for it once.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSpec>,
    /// Which file takes the fragments and the user's options; a key of `files`.
    #[serde(default)]
    pub main: Option<String>,
    /// Pieces of the main file, by name; components pick theirs.
    #[serde(default)]
    pub fragments: BTreeMap<String, Fragment>,
    /// Configuration files, by name; components pick theirs.
    #[serde(default)]
    pub files: BTreeMap<String, ConfigFile>,
    /// One-off work that needs the service's image, each a Kubernetes Job named by its content.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// Its workloads.
    pub components: Vec<Component>,
    /// Sections of the main file that the option catalog cannot list, since their names are made up at run time: of
    /// stores, of helpers.
    #[serde(default)]
    pub unlisted: Vec<String>,
    /// The option catalog that checks the user's options, if it is not the service's own name.
    #[serde(default)]
    pub options: Option<String>,
}

/// What all services lean on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Provides {
    /// The SQL database.
    Database {
        /// The component that serves it.
        component: String,
        /// The account that loads schemas and makes accounts.
        user: String,
        /// The generated secret with its password.
        secret: String,
    },
    /// The message bus.
    Messaging {
        /// The component that serves it.
        component: String,
    },
    /// The identity service.
    Identity {
        /// The component that serves it.
        component: String,
        /// The job that makes the first administrator.
        job: String,
        /// The first administrator.
        user: String,
        /// The generated secret with the administrator's password.
        secret: String,
    },
    /// What the APIs are published through.
    PublicEndpoint {
        /// The component that serves it.
        component: String,
        /// Its port, by name.
        port: String,
    },
}

/// The REST API of a service and its entry in Keystone's catalog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// The service type, by the Service Types Authority: `identity`, `compute`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The component that answers it.
    pub component: String,
    /// Its port, by name.
    pub port: String,
    /// The path prefix on the public endpoint: `/identity`.
    pub path: String,
    /// What the catalog's URL adds: `/v3`, `/v2.1`.
    #[serde(default)]
    pub suffix: String,
}

/// What kind of secret is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// One random password of letters and digits, in the key `password`.
    Password,
    /// Fernet keys `0` (staged), `1`, … (primary the greatest), each 32 random bytes in URL-safe base64.
    FernetKeys,
    /// An Ed25519 key pair for SSH: `ssh-privatekey`, `ssh-publickey`.
    SshKey,
}

/// A secret that is generated once and kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSpec {
    /// What it is.
    pub kind: SecretKind,
    /// What it is for, in a few words.
    pub purpose: String,
}

/// A piece of a configuration file: sections of options.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fragment {
    /// Section → option → value.
    pub options: BTreeMap<String, BTreeMap<String, Value>>,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// INI as oslo.config reads it: sections, repeated keys for lists.
    Oslo,
    /// `key = value` lines without sections, as RabbitMQ reads them.
    Properties,
    /// `NAME = literal` lines of Python, as Django reads its settings.
    Python,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// Lines as they stand.
    Lines,
    /// The configuration of the public endpoint: haproxy with a path prefix per API, from the cloud's own services.
    PublicEndpoint,
}

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Where it lies in the container; may hold `${python}`.
    pub path: Scalar,
    /// How it is written.
    pub format: FileFormat,
    /// What stands in it; for the formats with sections, section → option → value. Fragments and the user's options
    /// come on top.
    #[serde(default = "empty")]
    pub content: Tree,
}

fn empty() -> Tree {
    Tree::Null
}

/// One-off work in the service's image.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The name; the Job's is this and a hash of its content.
    pub name: String,
    /// What it does, for people: `loads the schema of nova`.
    pub title: String,
    /// The image, by name; `openstack` stands for the release's.
    pub image: String,
    /// What must be so before it starts.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// Fragments of the main file that it reads.
    #[serde(default)]
    pub config: Vec<String>,
    /// Further files that it reads.
    #[serde(default)]
    pub files: Vec<String>,
    /// Passwords it reads as files below `/etc/oaas/accounts/`, by credential.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// Secrets that are mounted as directories: secret → path.
    #[serde(default)]
    pub secret_mounts: BTreeMap<String, String>,
    /// What the agent does in it.
    pub role: Tree,
    /// Environment variables that hold a secret: variable → secret's name.
    #[serde(default)]
    pub secret_env: BTreeMap<String, String>,
}
