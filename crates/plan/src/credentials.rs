//! The secrets that a cloud needs: which there are, what is in each, what can be rotated.

use std::collections::BTreeSet;
use std::time::Duration;

use oaas_catalog::{Component, Rotation, SecretKind, WorkloadKind};
use oaas_cloud::content::Qualified;

use crate::content::{declared, object_name, users_without_key, users_without_password};
use crate::generation::{newest, secret_of};
use crate::inputs::Inputs;
use crate::publish::{PublishPlan, publish_plan};
use crate::select::cloud_catalog;

pub use crate::sensitive::Credentials;

/// What is to be generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialKind {
    /// A random password in the key `password`; `username` beside it where there is one.
    Password {
        /// The account's name.
        username: Option<String>,
    },
    /// Fernet keys: `0` is the next one to encrypt by, which everybody knows already; the greatest number encrypts now;
    /// those between open what was encrypted before.
    FernetKeys {
        /// Do former keys stay for good?
        keeps: bool,
    },
    /// An SSH key pair in `ssh-privatekey` and `ssh-publickey`.
    SshKey,
    /// The cloud's certificate authority: its key in `ca.key`, its certificate in `ca.crt`, first of those that pods
    /// trust.
    Authority {
        /// How long it is valid.
        life: Duration,
    },
    /// A certificate in `tls.crt` and `tls.key`, with those of the trusted authorities in `ca.crt`.
    Certificate {
        /// How long it is valid.
        life: Duration,
        /// Its DNS names.
        names: Vec<String>,
        /// Its addresses.
        addresses: Vec<String>,
        /// The Secret with one of the user's own that takes its place, and the name that it must be made for.
        own: Option<(String, String)>,
    },
}

impl CredentialKind {
    /// The keys of its Secret.
    pub const fn keys(&self) -> &'static [&'static str] {
        match self {
            Self::Password { username: Some(_) } => &["username", "password"],
            Self::Password { username: None } => &["password"],
            Self::FernetKeys { .. } => &["0", "1"],
            Self::SshKey => &["ssh-privatekey", "ssh-publickey"],
            Self::Authority { .. } => &["ca.crt", "ca.key"],
            Self::Certificate { .. } => &["tls.crt", "tls.key", "ca.crt"],
        }
    }
}

/// One secret that a cloud needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSpec {
    /// The name of the Secret.
    pub name: String,
    /// What is in it.
    pub kind: CredentialKind,
    /// What it is for, in a few words.
    pub purpose: String,
    /// The generation that is wanted at least.
    pub generation: u32,
    /// Volumes that are useless without it, by component: it is never generated anew while one exists.
    pub guards: Vec<String>,
}

/// The Secret of the key that digests of secrets are made with, where a cloud's desired state is stored.
pub const STATE_KEY: &str = "state-key-g1";

/// The Secret of the cloud's certificate authority.
pub const AUTHORITY: &str = "cloud-ca";

/// The key beside a certificate of the user's own with those who signed it.
pub const OWN_AUTHORITY: &str = "own-ca.crt";

/// The name by which all components' certificates are rotated together.
pub const CERTIFICATES: &str = "certificates";

/// The generation of what is not rotated.
const FIRST: u32 = 1;

/// The account of a service in the database: the name of its Secret without the generation.
pub(crate) fn database_base(service: &str) -> String {
    format!("db-{service}")
}

/// The account of a service on the message bus: the name of its Secret without the generation.
pub(crate) fn messaging_base(service: &str) -> String {
    format!("mq-{service}")
}

/// A user in the identity service that a service acts as: the name of its Secret without the generation.
pub(crate) fn user_base(user: &str) -> String {
    format!("user-{}", user.replace('_', "-"))
}

/// The name of such a user: the service's own, until it is rotated.
pub(crate) fn user_account(user: &str, generation: u32) -> String {
    if generation > FIRST { format!("{user}_g{generation}") } else { user.to_owned() }
}

/// The Secret with the password that is generated for a declared user, in the key `password`.
pub fn password_secret(user: &Qualified) -> String {
    secret_of(&format!("{}-password", object_name(user)), FIRST)
}

/// The Secret with the key pair that is generated for a declared user's keypairs: `ssh-privatekey`, `ssh-publickey`.
pub fn keypair_secret(user: &Qualified) -> String {
    secret_of(&format!("{}-keypair", object_name(user)), FIRST)
}

/// The Secret of a component's certificate.
pub fn certificate_secret(component: &str) -> String {
    format!("tls-{component}")
}

/// The account of a service in the database and on the message bus.
pub(crate) fn account(service: &str, generation: u32) -> String {
    format!("{}_g{generation}", service.replace('-', "_"))
}

/// All DNS names by which pods reach a Service, and with `members` its pods.
fn service_names(inputs: &Inputs<'_>, service: &str, members: bool) -> Vec<String> {
    let (namespace, domain) = (&inputs.cloud.namespace, &inputs.observed.cluster.domain);
    let mut names = vec![
        service.to_owned(),
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.{domain}"),
    ];
    if members {
        names.push(format!("*.{service}"));
        names.push(format!("*.{service}.{namespace}"));
        names.push(format!("*.{service}.{namespace}.svc"));
        names.push(format!("*.{service}.{namespace}.svc.{domain}"));
    }
    names
}

/// The secrets that this cloud needs, in the order in which they are to be made.
pub fn credentials(inputs: &Inputs<'_>) -> Vec<CredentialSpec> {
    let Ok(catalog) = cloud_catalog(inputs) else { return Vec::new() };
    let services: Vec<_> = catalog.services().collect();
    let stateful: Vec<String> = services
        .iter()
        .flat_map(|service| &service.components)
        .filter(|component| component.kind == WorkloadKind::StatefulSet && keeps_data(component))
        .map(|component| component.name.clone())
        .collect();
    let password = |base: &str, username: &dyn Fn(u32) -> String, purpose: String| {
        let generation = newest(inputs, base);
        CredentialSpec {
            name: secret_of(base, generation),
            kind: CredentialKind::Password { username: Some(username(generation)) },
            purpose,
            generation,
            guards: stateful.clone(),
        }
    };
    let lives = inputs.spec.certificates.clone().unwrap_or_default();
    let mut specs = vec![CredentialSpec {
        name: AUTHORITY.into(),
        kind: CredentialKind::Authority { life: lives.ca_duration() },
        purpose: "signs the cloud's certificates".into(),
        generation: wish(inputs, AUTHORITY),
        guards: Vec::new(),
    }];
    specs.push(CredentialSpec {
        name: STATE_KEY.into(),
        kind: CredentialKind::Password { username: None },
        purpose: "the key of digests of secrets in the stored state".into(),
        generation: 1,
        guards: Vec::new(),
    });
    for service in &services {
        for (name, secret) in &service.secrets {
            let generation = newest(inputs, name);
            specs.push(CredentialSpec {
                name: secret_of(name, generation),
                kind: match secret.kind {
                    SecretKind::Password => CredentialKind::Password { username: None },
                    SecretKind::FernetKeys => {
                        CredentialKind::FernetKeys { keeps: secret.rotation == Rotation::KeepsKeys }
                    }
                    SecretKind::SshKey => CredentialKind::SshKey,
                },
                purpose: secret.purpose.clone(),
                generation,
                guards: stateful.clone(),
            });
        }
        let name = &service.name;
        let of_service = |generation| account(name, generation);
        if !service.databases.is_empty() {
            let purpose = format!("the account of {name} in the database");
            specs.push(password(&database_base(name), &of_service, purpose));
        }
        if service.messaging {
            let purpose = format!("the account of {name} on the message bus");
            specs.push(password(&messaging_base(name), &of_service, purpose));
        }
        for user in service.identity.user_names() {
            let purpose = format!("the user {user} in the identity service");
            specs.push(password(&user_base(user), &|generation| user_account(user, generation), purpose));
        }
    }
    let content = declared(inputs.spec);
    for user in users_without_password(&content) {
        // Set again when it is made anew, so that nothing is lost with it.
        specs.push(CredentialSpec {
            name: password_secret(user),
            kind: CredentialKind::Password { username: Some(user.name.clone()) },
            purpose: format!("the password of the user {user}"),
            generation: FIRST,
            guards: Vec::new(),
        });
    }
    for user in users_without_key(&content) {
        specs.push(CredentialSpec {
            name: keypair_secret(user),
            kind: CredentialKind::SshKey,
            purpose: format!("opens the servers of the user {user} by ssh"),
            generation: FIRST,
            guards: Vec::new(),
        });
    }
    // What the catalog makes for the same people comes first.
    let mut names = BTreeSet::new();
    specs.retain(|spec| names.insert(spec.name.clone()));
    let publish = publish_plan(inputs, &catalog);
    for component in
        services.iter().flat_map(|service| &service.components).filter(|component| component.certificate)
    {
        specs.push(certificate(inputs, component, &publish));
    }
    specs
}

/// The generation of something that is asked for.
pub(crate) fn wish(inputs: &Inputs<'_>, name: &str) -> u32 {
    inputs.spec.rotation.get(name).map_or(1, |wish| wish.0.max(1))
}

/// Something that can be rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotatable {
    /// Its name in `spec.rotation`.
    pub name: String,
    /// What it is, in a few words.
    pub what: String,
}

/// What can be rotated.
pub fn rotatable(inputs: &Inputs<'_>) -> Vec<Rotatable> {
    let one = |name: &str, what: String| Rotatable { name: name.to_owned(), what };
    let mut found = vec![
        one(AUTHORITY, "the authority that signs the cloud's certificates".to_owned()),
        one(CERTIFICATES, "the certificates of all components".to_owned()),
    ];
    let Ok(catalog) = cloud_catalog(inputs) else { return found };
    for service in catalog.services() {
        let name = &service.name;
        let secrets = service.secrets.iter().filter(|(_, secret)| secret.rotation != Rotation::Fixed);
        found.extend(secrets.map(|(name, secret)| one(name, secret.purpose.clone())));
        if !service.databases.is_empty() {
            found.push(one(&database_base(name), format!("the account of {name} in the database")));
        }
        if service.messaging {
            found.push(one(&messaging_base(name), format!("the account of {name} on the message bus")));
        }
        let users = service.identity.user_names();
        found.extend(
            users.map(|user| one(&user_base(user), format!("the user {user} in the identity service"))),
        );
    }
    found
}

/// Is something of it reached from outside?
pub(crate) fn is_published(component: &Component) -> bool {
    component.ports.iter().any(|port| matches!(port.expose, oaas_catalog::Expose::NodePort(_)))
}

fn keeps_data(component: &Component) -> bool {
    component
        .pod
        .volumes
        .iter()
        .any(|volume| matches!(volume.source, oaas_catalog::VolumeSource::PersistentGib(_)))
}

fn certificate(inputs: &Inputs<'_>, component: &Component, publish: &PublishPlan) -> CredentialSpec {
    let members = component.kind == WorkloadKind::StatefulSet;
    let mut names = service_names(inputs, &component.name, members);
    if let Some(writer) = &component.single_writer {
        names.extend(service_names(inputs, writer, false));
    }
    names.push("localhost".into());
    let mut addresses = vec!["127.0.0.1".to_owned()];
    let mut own = None;
    if is_published(component) {
        let tls = inputs.spec.publish.as_ref().and_then(|publish| publish.tls.as_ref());
        own = tls.map(|tls| (tls.secret_name.clone(), publish.address.clone()));
        for address in &publish.addresses {
            if address.parse::<std::net::IpAddr>().is_ok() {
                addresses.push(address.clone());
            } else {
                names.push(address.clone());
            }
        }
    }
    CredentialSpec {
        name: certificate_secret(&component.name),
        kind: CredentialKind::Certificate {
            life: inputs.spec.certificates.clone().unwrap_or_default().duration(),
            names,
            addresses,
            own,
        },
        purpose: format!("the certificate of {}", component.name),
        generation: wish(inputs, CERTIFICATES),
        guards: Vec::new(),
    }
}
