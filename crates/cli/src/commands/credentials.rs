//! `oaas credentials`: what OpenStack's clients need to reach a cloud from here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use oaas_api::content::spec::{Content, Qualified, User};
use oaas_api::names;
use oaas_feedback::{Explain, Kind, nearest};
use oaas_plan::{AUTHORITY, OWN_AUTHORITY, declared, keypair_secret, password_secret};
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
/// The name of the administrator's entry there.
const ADMIN: &str = "admin";
/// Whose key opens the demo servers.
const DEMO: &str = "demo";

/// Arguments of `oaas credentials`.
#[derive(Debug, Args)]
#[command(
    after_help = "For example: oaas credentials > ~/.config/openstack/clouds.yaml; openstack --os-cloud admin server list\nThe cloud's CA is written beside it, and its path stands in what is printed."
)]
pub struct Arguments {
    /// The form
    #[arg(value_enum, default_value_t = Form::Clouds)]
    pub form: Form,
    /// Whose: admin, or a user of spec.content (NAME or DOMAIN/NAME)
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
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
    /// The private key that opens a user's servers: the demo servers', where no user is named.
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
    /// The Secret with a user's password is not there.
    #[snafu(display("the password of {user} is not there: the Secret {secret} has no key {key}"))]
    NoPassword {
        /// Who was asked for.
        user: String,
        /// The Secret.
        secret: String,
        /// Its key.
        key: String,
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
            Self::NotYet { .. } | Self::NoPassword { .. } => Kind::NotReady,
            Self::Broken { .. } => Kind::Failed,
            Self::NoUser { .. } => Kind::Input,
            Self::Ca { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotYet { .. } | Self::NoPassword { .. } => {
                Some("`oaas why` says what it waits for".to_owned())
            }
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

impl Clouds {
    /// Adds a declared user, who reaches the cloud as its administrator does.
    fn add(&mut self, user: &User, project: Option<&Qualified>, password: &str) {
        let Some(admin) = self.clouds.get(ADMIN).cloned() else { return };
        let mut auth = BTreeMap::from([
            ("auth_url".to_owned(), admin.auth.get("auth_url").cloned().unwrap_or_default()),
            ("username".to_owned(), user.name.name.clone()),
            ("user_domain_name".to_owned(), user.name.domain.clone()),
            ("password".to_owned(), password.to_owned()),
        ]);
        if let Some(project) = project {
            auth.insert("project_name".to_owned(), project.name.clone());
            auth.insert("project_domain_name".to_owned(), project.domain.clone());
        }
        self.clouds.insert(user.name.to_string(), Entry { auth, more: admin.more });
    }
}

/// The project that a user works in: the declared default, else the first that it has a role in.
fn project_of<'a>(content: &'a Content, user: &'a User) -> Option<&'a Qualified> {
    let mut roles = content.role_assignments.iter().filter(|role| role.user == user.name);
    user.default_project.as_ref().or_else(|| roles.find_map(|role| role.project.as_ref()))
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
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let find = async |secret: &str, key: &str| {
        let doing = || ApiSnafu { doing: format!("read the Secret {secret}") };
        let found = api.get_opt(secret).await.with_context(|_| doing())?;
        let data = found.and_then(|secret| secret.data).unwrap_or_default();
        let value = data.into_iter().find(|(name, _)| name.ends_with(key)).map(|(_, value)| value.0);
        Ok::<_, Failure>(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    };
    let read =
        async |secret: &str, key: &str| Ok::<_, Failure>(find(secret, key).await?.with_context(not_yet)?);
    if arguments.form == Form::SshKey {
        let user = Qualified::from(arguments.user.as_deref().unwrap_or(DEMO));
        let key = read(&keypair_secret(&user), "ssh-privatekey").await?;
        return context.answer(&json!({ "privateKey": key }), |_| key.clone());
    }
    let inside = declared(&cloud.spec);
    let own = cloud.spec.publish.as_ref().is_some_and(|publish| publish.tls.is_some());
    let identity = cloud.status.and_then(|status| status.endpoints).and_then(|endpoints| endpoints.identity);
    let identity = identity.with_context(not_yet)?;
    let deployments: Api<Deployment> = Api::namespaced(client, &namespace);
    let found =
        deployments.get_opt(CLIENT).await.context(ApiSnafu { doing: "read the client's Deployment" })?;
    let files = found.and_then(|found| oaas_render::files_of(found.spec.template.spec.as_ref()?));
    let secret = files.with_context(not_yet)?;
    let yaml = read(&secret, "clouds.yaml").await?;
    let mut clouds: Clouds = serde_yaml_ng::from_str(&yaml).context(BrokenSnafu { secret })?;
    let people: BTreeSet<String> = inside.users.iter().map(|user| user.name.to_string()).collect();
    clouds.clouds.retain(|name, _| name == ADMIN || people.contains(name));
    for user in &inside.users {
        let (secret, key) = match &user.password_secret_ref {
            Some(from) => (from.name.clone(), from.key.clone()),
            None => (password_secret(&user.name), "password".to_owned()),
        };
        // A Secret that is not there yet is said of the user who is asked for.
        if let Some(password) = find(&secret, &key).await? {
            clouds.add(user, project_of(&inside, user), password.trim_end_matches(['\r', '\n']));
        } else if arguments.user.as_deref() == Some(user.name.to_string().as_str()) {
            return Err(NoPasswordSnafu { user: user.name.to_string(), secret, key }.build().into());
        }
    }
    let ca = directories::openstack_config().join(format!("oaas-{namespace}-{name}.ca.crt"));
    let mut trusted = read(AUTHORITY, "ca.crt").await?;
    if own {
        trusted.push_str(&shown(&api).await?);
    }
    write_ca(&ca, &trusted)?;
    let mut clouds = from_outside(clouds, &identity, &ca);
    let user = arguments.user.as_deref().unwrap_or(ADMIN);
    let known: Vec<String> = clouds.clouds.keys().cloned().collect();
    let entry = clouds.clouds.get(user).with_context(|| NoUserSnafu { user, known })?.clone();
    if arguments.user.is_some() {
        clouds.clouds.retain(|name, _| name == user);
    }
    context.answer(&clouds, |clouds| match arguments.form {
        Form::Clouds => serde_yaml_ng::to_string(clouds).unwrap_or_default(),
        Form::Openrc | Form::SshKey => openrc(&entry),
    })
}

/// Who signed the certificate of one's own that a cloud shows, as far as it shows one.
async fn shown(api: &Api<Secret>) -> Result<String, Failure> {
    let of_clouds = ListParams::default().labels(names::LABEL_DATA);
    let found = api.list(&of_clouds).await.with_context(|_| ApiSnafu { doing: "list the Secrets" })?;
    let mut signers = found.into_iter().filter_map(|secret| secret.data?.remove(OWN_AUTHORITY));
    Ok(signers.next().map(|signers| String::from_utf8_lossy(&signers.0).into_owned()).unwrap_or_default())
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
    use super::{Clouds, Content, from_outside, openrc, project_of, quoted};
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
    fn a_declared_user_works_in_the_project_it_has_a_role_in() {
        let inside = "
clouds:
  admin:
    interface: internal
    auth: {auth_url: 'https://keystone.demo.svc:5000/v3', username: admin, password: a, project_name: admin}
";
        let mut clouds: Clouds = serde_yaml_ng::from_str(inside).unwrap();
        let content: Content = serde_yaml_ng::from_str(
            "users: [{name: corp/alice}]\nroleAssignments: [{user: corp/alice, role: member, project: corp/work}]",
        )
        .unwrap();
        let alice = &content.users[0];
        clouds.add(alice, project_of(&content, alice), "b");
        let expected = "export OS_AUTH_URL='https://keystone.demo.svc:5000/v3'\nexport OS_PASSWORD='b'\n\
                        export OS_PROJECT_DOMAIN_NAME='corp'\nexport OS_PROJECT_NAME='work'\n\
                        export OS_USER_DOMAIN_NAME='corp'\nexport OS_USERNAME='alice'\n\
                        export OS_INTERFACE='internal'\n";
        assert_eq!(openrc(&clouds.clouds["corp/alice"]), expected);
    }

    #[test]
    fn a_quote_in_a_password_stays_in_it() {
        assert_eq!(quoted("a'b"), r"'a'\''b'");
    }
}
