//! `oaas credentials`: what OpenStack's clients need to reach a cloud from here.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use oaas_feedback::{Explain, Kind, nearest};
use oaas_plan::AUTHORITY;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_yaml_ng::Value;
use snafu::{OptionExt, ResultExt, Snafu};

use crate::clouds::{self, CloudArgs};
use crate::context::Context;
use crate::directories;
use crate::kubernetes::{ApiSnafu, Patience};
use crate::report::Failure;

/// The component whose configuration is the clients' `clouds.yaml`.
const CLIENT: &str = "client";
/// The Secret of the demo servers' keypair.
const SSH_KEY: &str = "demo-keypair-g1";

/// Arguments of `oaas credentials`.
#[derive(Debug, Args)]
#[command(
    after_help = "For example: oaas credentials > ~/.config/openstack/clouds.yaml; openstack --os-cloud admin server list\nThe cloud's CA is written beside it, and its path stands in what is printed."
)]
pub struct Arguments {
    /// The form
    #[arg(value_enum, default_value_t = Form::Clouds)]
    pub form: Form,
    /// Whose, in the form openrc
    #[arg(long, value_name = "USER", default_value = "admin")]
    pub user: String,
    #[command(flatten)]
    cloud: CloudArgs,
}

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For clients and SDKs: one entry per user.
    #[value(name = "clouds.yaml")]
    Clouds,
    /// Environment variables for a shell.
    Openrc,
    /// The private key that opens the demo servers.
    SshKey,
}

/// Why there are no credentials.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The cloud is not that far yet.
    #[snafu(display("cloud {cloud} has no credentials yet"))]
    NotYet {
        /// The cloud.
        cloud: String,
    },
    /// What is stored is not what it should be.
    #[snafu(display("failed to read `clouds.yaml` in the Secret {secret}"))]
    Broken {
        /// The Secret.
        secret: String,
        /// What is wrong.
        source: serde_yaml_ng::Error,
    },
    /// No such user.
    #[snafu(display("the credentials have no user `{user}`"))]
    NoUser {
        /// Who was asked for.
        user: String,
        /// Who there is.
        known: Vec<String>,
    },
    /// The CA cannot be written.
    #[snafu(display("failed to write the cloud's CA to {}", path.display()))]
    Ca {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NotYet { .. } => Kind::NotReady,
            Self::Broken { .. } => Kind::Failed,
            Self::NoUser { .. } => Kind::Input,
            Self::Ca { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotYet { .. } => Some("`oaas why` says what it waits for".to_owned()),
            Self::Broken { .. } => None,
            Self::NoUser { user, known } => Some(match nearest(user, known) {
                Some(nearest) => format!("the nearest is `{nearest}`"),
                None => format!("the users are: {}", known.join(", ")),
            }),
            Self::Ca { .. } => Some("set XDG_CONFIG_HOME to a directory that you may write to".to_owned()),
        }
    }
}

/// `clouds.yaml`, as much of it as matters here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clouds {
    clouds: BTreeMap<String, Entry>,
}

/// One user of the cloud.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    auth: BTreeMap<String, String>,
    #[serde(flatten)]
    more: BTreeMap<String, Value>,
}

/// Without the password.
impl std::fmt::Debug for Entry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Entry {{ auth: (hidden), {:?} }}", self.more)
    }
}

/// Print the credentials.
pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let (client, cloud) = clouds::connect(&context.global, &arguments.cloud, Patience::Answer).await?;
    let (namespace, name) = (cloud.namespace().unwrap_or_default(), cloud.name_any());
    let not_yet = || NotYetSnafu { cloud: format!("{namespace}/{name}") };
    let api: Api<Secret> = Api::namespaced(client, &namespace);
    let read = async |secret: &str, key: &str| {
        let doing = || ApiSnafu { doing: format!("read the Secret {secret}") };
        let found = api.get_opt(secret).await.with_context(|_| doing())?;
        let data = found.and_then(|secret| secret.data).unwrap_or_default();
        let value = data.into_iter().find(|(name, _)| name.ends_with(key)).map(|(_, value)| value.0);
        let text = value.map(|value| String::from_utf8_lossy(&value).into_owned());
        Ok::<_, Failure>(text.with_context(not_yet)?)
    };
    if arguments.form == Form::SshKey {
        let key = read(SSH_KEY, "ssh-privatekey").await?;
        return context.answer(&json!({ "privateKey": key }), |_| key.clone());
    }
    let identity = cloud.status.and_then(|status| status.endpoints).and_then(|endpoints| endpoints.identity);
    let identity = identity.with_context(not_yet)?;
    let secret = oaas_render::config_secret(CLIENT);
    let yaml = read(&secret, "clouds.yaml").await?;
    let clouds: Clouds = serde_yaml_ng::from_str(&yaml).context(BrokenSnafu { secret })?;
    let ca = directories::openstack_config().join(format!("oaas-{namespace}-{name}.ca.crt"));
    write_ca(&ca, &read(AUTHORITY, "ca.crt").await?)?;
    let clouds = from_outside(clouds, &identity, &ca);
    let known: Vec<String> = clouds.clouds.keys().cloned().collect();
    let entry =
        clouds.clouds.get(&arguments.user).with_context(|| NoUserSnafu { user: &arguments.user, known })?;
    context.answer(&clouds, |clouds| match arguments.form {
        Form::Clouds => serde_yaml_ng::to_string(clouds).unwrap_or_default(),
        Form::Openrc | Form::SshKey => openrc(entry),
    })
}

/// What pods use, changed to what reaches the cloud from outside: its public address, and the CA at its place here.
fn from_outside(mut clouds: Clouds, identity: &str, ca: &Path) -> Clouds {
    for entry in clouds.clouds.values_mut() {
        entry.auth.insert("auth_url".to_owned(), versioned(identity));
        entry.more.insert("interface".to_owned(), Value::from("public"));
        entry.more.insert("cacert".to_owned(), Value::from(ca.display().to_string()));
    }
    clouds
}

/// The URL of version 3 of the identity API.
fn versioned(identity: &str) -> String {
    let identity = identity.trim_end_matches('/');
    if identity.ends_with("/v3") { identity.to_owned() } else { format!("{identity}/v3") }
}

/// One user's entry as environment variables.
fn openrc(entry: &Entry) -> String {
    let auth = entry.auth.iter().map(|(key, value)| (format!("OS_{}", key.to_uppercase()), value.clone()));
    let more = entry.more.iter().filter_map(|(key, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let name = match key.as_str() {
            "interface" => "OS_INTERFACE",
            "region_name" => "OS_REGION_NAME",
            "cacert" => "OS_CACERT",
            "identity_api_version" => "OS_IDENTITY_API_VERSION",
            _ => return None,
        };
        Some((name.to_owned(), value))
    });
    auth.chain(more).map(|(name, value)| format!("export {name}={}\n", quoted(&value))).collect()
}

/// `value` as one word of a POSIX shell, whatever characters it has.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn write_ca(path: &Path, pem: &str) -> Result<(), Error> {
    let write = || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::File::create(path)?.write_all(pem.as_bytes())
    };
    write().context(CaSnafu { path })
}

#[cfg(test)]
mod tests {
    use super::{Clouds, from_outside, openrc, quoted};
    use std::path::Path;

    #[test]
    fn what_pods_use_becomes_what_reaches_the_cloud_from_outside() {
        let inside = "
clouds:
  admin:
    region_name: RegionOne
    interface: internal
    identity_api_version: 3
    cacert: /etc/oaas/tls/ca.crt
    auth: {auth_url: 'https://keystone.demo.svc:5000/v3', username: admin, password: \"it's $ecret\", project_name: admin, user_domain_name: Default, project_domain_name: Default}
";
        let clouds: Clouds = serde_yaml_ng::from_str(inside).unwrap();
        assert!(!format!("{clouds:?}").contains("ecret"));
        let url = "https://192.168.100.1:30443/identity/";
        let outside = from_outside(clouds, url, Path::new("/home/me/.config/openstack/ca.crt"));
        insta::assert_snapshot!(serde_yaml_ng::to_string(&outside).unwrap());
        insta::assert_snapshot!(openrc(&outside.clouds["admin"]));
    }

    #[test]
    fn a_quote_in_a_password_stays_in_it() {
        assert_eq!(quoted("a'b"), r"'a'\''b'");
    }
}
