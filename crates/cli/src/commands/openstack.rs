//! `oaas openstack`: the real client, in the cloud's own image, beside its APIs.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use oaas_api::names;
use oaas_feedback::{Explain, Kind};
use snafu::{OptionExt, Snafu};

use super::logs::pods;
use crate::client::files::{carried, left_behind};
use crate::client::{exchange, stdin};
use crate::clouds::{self, CloudArgs};
use crate::context::Context;
use crate::kubernetes::Patience;
use crate::report::Failure;

/// The component whose pod holds the client, its `clouds.yaml` and the cloud's CA.
const COMPONENT: &str = "client";

/// Arguments of `oaas openstack`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "Options of oaas itself stand before `openstack`. Files that options name (`--public-key`, `--user-data`, `--file` …)\nare this machine's. OS_CLOUD chooses the user: admin (default) or demo."
)]
pub struct Arguments {
    /// Arguments of the client
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<String>,
}

/// Why the client did not run.
#[derive(Debug, Snafu)]
pub enum Error {
    /// Its pod is not there or not ready.
    #[snafu(display("the pod `{COMPONENT}` of cloud {cloud} is not ready"))]
    NotReady {
        /// The cloud.
        cloud: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::NotReady
    }

    fn hint(&self) -> Option<String> {
        Some(format!("`oaas why {COMPONENT}` says why"))
    }
}

/// Run the client; its exit code.
pub async fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let wanted = CloudArgs::from_environment()?;
    let (client, cloud) = clouds::connect(&context.global, &wanted, Patience::Stream).await?;
    let namespace = cloud.namespace().unwrap_or_default();
    let pod = pods(&client, &namespace, &cloud.name_any())
        .await?
        .into_iter()
        .find(|pod| {
            pod.labels().get(names::LABEL_COMPONENT).is_some_and(|name| name == COMPONENT) && ready(pod)
        })
        .with_context(|| NotReadySnafu { cloud: format!("{namespace}/{}", cloud.name_any()) })?
        .name_any();

    let api: Api<Pod> = Api::namespaced(client, &namespace);
    let is_file = |path: &Path| std::fs::metadata(path).is_ok_and(|about| !about.is_dir());
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let carried = carried(&arguments.arguments, &is_file, home.as_deref());
    let stdin = stdin::wanted(&arguments.arguments, std::io::stdin().is_terminal());
    let command = command(std::env::var_os("OS_CLOUD"), width());
    let code = exchange::run(&api, &pod, command, &carried, stdin).await?;
    if code != 0
        && let Some(file) = left_behind(&carried.arguments, &is_file)
    {
        eprintln!(
            "hint: {file} is on this machine and the client in a pod, which has it only where an option is known to name a \
             file; give it as `/dev/stdin` with `< {file}`"
        );
    }
    Ok(code)
}

/// The client, for the user and the width of the screen that are wanted.
fn command(user: Option<OsString>, width: Option<u16>) -> Vec<String> {
    let mut command = vec!["env".to_owned()];
    command.extend(user.and_then(|user| user.into_string().ok()).map(|user| format!("OS_CLOUD={user}")));
    // Tables are as wide as the reader's screen, though the client has none.
    command.extend(width.map(|width| format!("CLIFF_MAX_TERM_WIDTH={width}")));
    command.push("openstack".to_owned());
    command
}

/// The width of the screen, when stdout is one.
fn width() -> Option<u16> {
    std::io::stdout().is_terminal().then(|| console::Term::stdout().size().1)
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_user_and_the_width_of_the_screen_reach_the_client() {
        assert_eq!(command(None, None), ["env", "openstack"]);
        assert_eq!(
            command(Some("demo".into()), Some(120)),
            ["env", "OS_CLOUD=demo", "CLIFF_MAX_TERM_WIDTH=120", "openstack"]
        );
    }
}
