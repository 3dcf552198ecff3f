//! The secrets that a cloud needs, each generated once and then kept.

use std::collections::{BTreeMap, BTreeSet};

use oaas_catalog::{Component, SecretKind, WorkloadKind};
use oaas_cloud::content::Qualified;

use crate::content::{declared, object_name, users_without_key, users_without_password};
use crate::inputs::Inputs;
use crate::publish::publish_plan;
use crate::select::cloud_catalog;
use crate::sensitive::Sensitive;

/// The secrets there are: Secret's name → key → value.
pub type Credentials = BTreeMap<String, BTreeMap<String, Sensitive<String>>>;

/// What is to be generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialKind {
    /// A random password in the key `password`; `username` beside it where there is one.
    Password {
        /// The account's name.
        username: Option<String>,
    },
    /// Fernet keys `0` and `1`.
    FernetKeys,
    /// An SSH key pair in `ssh-privatekey` and `ssh-publickey`.
    SshKey,
    /// The cloud's certificate authority in `ca.crt` and `ca.key`.
    Authority,
    /// A certificate in `tls.crt` and `tls.key`, with the authority's in `ca.crt`.
    Certificate {
        /// Its DNS names.
        names: Vec<String>,
        /// Its addresses.
        addresses: Vec<String>,
    },
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
    /// Volumes that are useless without it, by component: it is never generated anew while one exists.
    pub guards: Vec<String>,
}

/// The Secret of the cloud's certificate authority.
pub const AUTHORITY: &str = "cloud-ca";

/// The generation that account names and Secret names carry, so that a second account can stand beside the first.
pub const GENERATION: u32 = 1;

/// The Secret of a generated secret of the catalog.
pub fn secret_name(name: &str) -> String {
    format!("{name}-g{GENERATION}")
}

/// The Secret of a service's database account.
pub fn database_secret(service: &str) -> String {
    secret_name(&format!("db-{service}"))
}

/// The Secret of a service's account on the message bus.
pub fn messaging_secret(service: &str) -> String {
    secret_name(&format!("mq-{service}"))
}

/// The Secret of a user in the identity service that a service acts as.
pub fn user_secret(user: &str) -> String {
    secret_name(&format!("user-{}", user.replace('_', "-")))
}

/// The Secret with the password that is generated for a declared user, in the key `password`.
pub fn password_secret(user: &Qualified) -> String {
    secret_name(&format!("{}-password", object_name(user)))
}

/// The Secret with the key pair that is generated for a declared user's keypairs: `ssh-privatekey`, `ssh-publickey`.
pub fn keypair_secret(user: &Qualified) -> String {
    secret_name(&format!("{}-keypair", object_name(user)))
}

/// The Secret of a component's certificate.
pub fn certificate_secret(component: &str) -> String {
    format!("tls-{component}")
}

/// The account of a service in the database and on the message bus.
pub fn account(service: &str) -> String {
    format!("{}_g{GENERATION}", service.replace('-', "_"))
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
    let password = |name: String, username: Option<String>, purpose: String| CredentialSpec {
        name,
        kind: CredentialKind::Password { username },
        purpose,
        guards: stateful.clone(),
    };
    let mut specs = vec![CredentialSpec {
        name: AUTHORITY.into(),
        kind: CredentialKind::Authority,
        purpose: "signs the cloud's certificates".into(),
        guards: Vec::new(),
    }];
    for service in &services {
        for (name, secret) in &service.secrets {
            specs.push(CredentialSpec {
                name: secret_name(name),
                kind: match secret.kind {
                    SecretKind::Password => CredentialKind::Password { username: None },
                    SecretKind::FernetKeys => CredentialKind::FernetKeys,
                    SecretKind::SshKey => CredentialKind::SshKey,
                },
                purpose: secret.purpose.clone(),
                guards: stateful.clone(),
            });
        }
        let name = &service.name;
        if !service.databases.is_empty() {
            let purpose = format!("the account of {name} in the database");
            specs.push(password(database_secret(name), Some(account(name)), purpose));
        }
        if service.messaging {
            let purpose = format!("the account of {name} on the message bus");
            specs.push(password(messaging_secret(name), Some(account(name)), purpose));
        }
        for user in service.identity.user_names() {
            let purpose = format!("the user {user} in the identity service");
            specs.push(password(user_secret(user), Some(user.to_owned()), purpose));
        }
    }
    let content = declared(inputs.spec);
    for user in users_without_password(&content) {
        let purpose = format!("the password of the user {user}");
        // Set again when it is made anew, so that nothing is lost with it.
        specs.push(CredentialSpec {
            guards: Vec::new(),
            ..password(password_secret(user), Some(user.name.clone()), purpose)
        });
    }
    for user in users_without_key(&content) {
        specs.push(CredentialSpec {
            name: keypair_secret(user),
            kind: CredentialKind::SshKey,
            purpose: format!("opens the servers of the user {user} by ssh"),
            guards: Vec::new(),
        });
    }
    // What the catalog makes for the same people comes first.
    let mut names = BTreeSet::new();
    specs.retain(|spec| names.insert(spec.name.clone()));
    let publish = publish_plan(inputs, &catalog);
    let public: BTreeSet<String> = publish.addresses.iter().cloned().collect();
    for component in
        services.iter().flat_map(|service| &service.components).filter(|component| component.certificate)
    {
        specs.push(certificate(inputs, component, &public));
    }
    specs
}

fn keeps_data(component: &Component) -> bool {
    component
        .pod
        .volumes
        .iter()
        .any(|volume| matches!(volume.source, oaas_catalog::VolumeSource::PersistentGib(_)))
}

fn certificate(inputs: &Inputs<'_>, component: &Component, public: &BTreeSet<String>) -> CredentialSpec {
    let members = component.kind == WorkloadKind::StatefulSet;
    let mut names = service_names(inputs, &component.name, members);
    if let Some(writer) = &component.single_writer {
        names.extend(service_names(inputs, writer, false));
    }
    names.push("localhost".into());
    let mut addresses = vec!["127.0.0.1".to_owned()];
    if component.ports.iter().any(|port| matches!(port.expose, oaas_catalog::Expose::NodePort(_))) {
        for address in public {
            if address.parse::<std::net::IpAddr>().is_ok() {
                addresses.push(address.clone());
            } else {
                names.push(address.clone());
            }
        }
    }
    CredentialSpec {
        name: certificate_secret(&component.name),
        kind: CredentialKind::Certificate { names, addresses },
        purpose: format!("the certificate of {}", component.name),
        guards: Vec::new(),
    }
}
