//! A service: what one file below `data/services/` says.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::component::Component;
use crate::job::Job;
use crate::value::{Scalar, Tree, Value};

/// One service of a cloud: an OpenStack service, or one that they need, such as the database.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name, as in `spec.services`.
    pub name: String,
    /// What it is, in a few words.
    pub title: String,
    /// Its REST APIs.
    #[serde(default)]
    pub apis: Vec<Api>,
    /// What it needs of the identity service.
    #[serde(default)]
    pub identity: Identity,
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
    /// Work that needs the service's image, done once or again and again.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// What it adds to the main files of other services: what these are told of it.
    #[serde(default)]
    pub contributes: Vec<Contribution>,
    /// Sections of the main file, or single options of them as `SECTION.OPTION`, that some of its components alone read: it → these.
    /// What the user says of such a one under the service's name goes to them alone; what is said of any other goes to all.
    #[serde(default)]
    pub read_by: BTreeMap<String, Vec<String>>,
    /// What the user's options must not be, or need beside them.
    #[serde(default)]
    pub rules: Vec<OptionRule>,
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
        /// Its port, by name; what it is published as is the address of all APIs.
        port: String,
        /// The file with its certificate and key.
        certificate: String,
        /// Where it tells how it fares.
        statistics: Statistics,
    },
}

impl Provides {
    /// The component that serves it.
    pub fn component(&self) -> &str {
        match self {
            Self::Database { component, .. }
            | Self::Messaging { component }
            | Self::Identity { component, .. }
            | Self::PublicEndpoint { component, .. } => component,
        }
    }
}

/// The page with the public endpoint's statistics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// Its port, by name.
    pub port: String,
    /// Who may look.
    pub user: String,
    /// The generated secret with the password.
    pub secret: String,
}

/// The REST API of a service and its entry in Keystone's catalog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Its name, one of a kind in a cloud. The service's own where the file says none.
    #[serde(default)]
    pub name: String,
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

/// What a service needs of the identity service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Users that its processes act as.
    pub users: Vec<ServiceUser>,
    /// Roles that it gives to others, by name.
    pub roles: Vec<String>,
    /// Domains of its own.
    pub domains: Vec<ServiceDomain>,
}

/// A user that a service's processes act as, in the domain `Default`. Its password is generated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceUser {
    /// Its name, one of a kind in a cloud.
    pub name: String,
    /// Its roles in the project.
    pub roles: Vec<String>,
    /// The project.
    #[serde(default = "service_project")]
    pub project: String,
    /// Its roles on the whole system.
    #[serde(default)]
    pub system_roles: Vec<String>,
}

fn service_project() -> String {
    SERVICE_PROJECT.to_owned()
}

/// The project that services' users work in.
pub const SERVICE_PROJECT: &str = "service";

/// A domain of a service, such as Heat's for the users of stacks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceDomain {
    /// Its name.
    pub name: String,
    /// A user in it with the role `admin` on it, by a name that is one of a kind in a cloud. Its password is generated.
    #[serde(default)]
    pub admin: Option<String>,
}

impl Identity {
    /// Does it need nothing?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The names of all users with a password, those of domains among them.
    pub fn user_names(&self) -> impl Iterator<Item = &str> {
        let users = self.users.iter().map(|user| user.name.as_str());
        users.chain(self.domains.iter().filter_map(|domain| domain.admin.as_deref()))
    }
}

/// Options that a service adds to the main files of others. References in them are the receiver's: `${service}` is whose
/// file it is. Where the receiver does not run, nothing is added.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    /// The services that receive it.
    pub to: Vec<String>,
    /// Which of their components and jobs; all components that read the main file where none is named.
    #[serde(default)]
    pub only: Vec<String>,
    /// Section → option → value.
    pub options: BTreeMap<String, BTreeMap<String, Value>>,
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
    /// How it is rotated.
    #[serde(default)]
    pub rotation: Rotation,
}

/// How a secret is rotated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rotation {
    /// Another one is made, and whoever uses it rolls. Of keys the former stay for as long as they may be needed.
    #[default]
    Anew,
    /// As `anew`, and former keys stay for good: what they encrypted is stored.
    KeepsKeys,
    /// Not by this version: whoever shares it would stop, or somebody else sets it.
    Fixed,
}

/// A piece of a configuration file: sections of options.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fragment {
    /// Section → option → value.
    pub options: BTreeMap<String, BTreeMap<String, Value>>,
    /// Sections that say as whom the service speaks to another: they get what all such sections have.
    #[serde(default)]
    pub as_itself: Vec<String>,
}

/// A rule about options that the user sets. Options are written `SECTION.OPTION`, with `=VALUE` where only that value is
/// meant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptionRule {
    /// The option that it is about.
    pub option: String,
    /// What must be said beside it. Where absent, the option is refused.
    #[serde(default)]
    pub needs: Option<String>,
    /// What to do, for people.
    pub hint: String,
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
    /// Where it lies in the container; may hold `${python}`. What lies in `/etc/oaas/live/` is followed by whoever reads
    /// it: it changes under running pods, which do not roll for it.
    pub path: Scalar,
    /// How it is written.
    pub format: FileFormat,
    /// A directory whose files the service reads beside this one, its main one. Options that it takes while it runs are
    /// written there, and its programs are made to take what changes. oslo.config reads
    /// `/etc/PROJECT/PROJECT.conf.d/*.conf` of itself (`find_config_dirs()` of its `cfg.py`).
    #[serde(default)]
    pub live: Option<String>,
    /// What stands in it; for the formats with sections, section → option → value. Fragments and the user's options
    /// come on top.
    #[serde(default = "empty")]
    pub content: Tree,
}

fn empty() -> Tree {
    Tree::Null
}
