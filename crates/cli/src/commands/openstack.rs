//! `oaas openstack`: the real client, in the cloud's own image, beside its APIs.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::AttachParams;
use kube::{Api, ResourceExt};
use oaas_api::names;
use oaas_feedback::{Explain, Kind};
use snafu::{OptionExt, ResultExt, Snafu};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::logs::pods;
use crate::clouds::{self, CloudArgs};
use crate::context::Context;
use crate::kubernetes::{ApiSnafu, Patience};
use crate::report::Failure;

/// The component whose pod holds the client, its `clouds.yaml` and the cloud's CA.
const COMPONENT: &str = "client";
/// Bytes in flight: images are uploaded through stdin.
const BUFFER: usize = 256 * 1024;

/// Arguments of `oaas openstack`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "Options of oaas itself stand before `openstack`. A file is given on stdin, as in\n`oaas openstack image create --disk-format qcow2 NAME < FILE`. OS_CLOUD chooses the user: admin (default) or demo."
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
    /// The connection to the pod broke.
    #[snafu(display("failed to pass data to and from pod {pod}"))]
    Broken {
        /// The pod.
        pod: String,
        /// How.
        source: std::io::Error,
    },
    /// The pod did not say how the client ended.
    #[snafu(display("pod {pod} did not say how the client ended: {why}"))]
    NoStatus {
        /// The pod.
        pod: String,
        /// What is known.
        why: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NotReady { .. } => Kind::NotReady,
            Self::Broken { .. } | Self::NoStatus { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotReady { .. } => Some(format!("`oaas why {COMPONENT}` says why")),
            Self::Broken { .. } | Self::NoStatus { .. } => None,
        }
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
    let parameters = AttachParams::default()
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .max_stdin_buf_size(BUFFER)
        .max_stdout_buf_size(BUFFER);
    let command = command(&arguments.arguments, std::env::var_os("OS_CLOUD"), width());
    let mut process = api
        .exec(&pod, command, &parameters)
        .await
        .with_context(|_| ApiSnafu { doing: format!("start the client in pod {pod}") })?;

    let broken = |source| Error::Broken { pod: pod.clone(), source };
    let status = process.take_status();
    if let Some(stdin) = process.stdin() {
        // Not waited for: the client may end without reading, and a terminal never ends.
        tokio::spawn(pump(tokio::io::stdin(), stdin));
    }
    let stdout = process.stdout().map(|from| pump(from, tokio::io::stdout()));
    let stderr = process.stderr().map(|from| pump(from, tokio::io::stderr()));
    let (out, err) = tokio::join!(maybe(stdout), maybe(stderr));
    out.map_err(broken)?;
    err.map_err(broken)?;
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    Ok(exit_code(status.as_ref()).map_err(|why| NoStatusSnafu { pod: &pod, why }.build())?)
}

/// The client with its arguments, for the user and the width of the screen that are wanted.
fn command(arguments: &[String], user: Option<OsString>, width: Option<u16>) -> Vec<String> {
    let mut command = vec!["env".to_owned()];
    command.extend(user.and_then(|user| user.into_string().ok()).map(|user| format!("OS_CLOUD={user}")));
    // Tables are as wide as the reader's screen, though the client has none.
    command.extend(width.map(|width| format!("CLIFF_MAX_TERM_WIDTH={width}")));
    command.push("openstack".to_owned());
    command.extend(arguments.iter().cloned());
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

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    match tokio::io::copy(&mut from, &mut to).await {
        // The reader has seen enough (`oaas openstack … | head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
        result => result?,
    };
    to.shutdown().await
}

async fn maybe(pump: Option<impl Future<Output = std::io::Result<()>>>) -> std::io::Result<()> {
    match pump {
        Some(pump) => pump.await,
        None => Ok(()),
    }
}

/// The exit code in the status that ends an `exec` (protocol v4 and later of Kubernetes' remote command).
fn exit_code(status: Option<&Status>) -> Result<u8, String> {
    let status = status.ok_or("the connection ended early")?;
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    causes
        .filter(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .find_map(|cause| cause.message.as_deref()?.parse().ok())
        .ok_or_else(|| status.message.clone().unwrap_or_else(|| "it gave no reason".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Status, command, exit_code};

    #[test]
    fn arguments_reach_the_client_as_they_are() {
        let arguments = ["server".to_owned(), "create".to_owned(), "--help".to_owned(), "a b; c".to_owned()];
        assert_eq!(
            command(&arguments, None, None),
            ["env", "openstack", "server", "create", "--help", "a b; c"]
        );
        assert_eq!(
            command(&[], Some("demo".into()), Some(120)),
            ["env", "OS_CLOUD=demo", "CLIFF_MAX_TERM_WIDTH=120", "openstack"]
        );
    }

    #[test]
    fn the_exit_code_is_the_clients() {
        let status = |text: &str| serde_json::from_str::<Status>(text).unwrap();
        assert_eq!(exit_code(Some(&status(r#"{"status":"Success"}"#))), Ok(0));
        let failed = r#"{"status":"Failure","reason":"NonZeroExitCode","message":"command terminated",
            "details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        assert_eq!(exit_code(Some(&status(failed))), Ok(3));
        let broken = r#"{"status":"Failure","reason":"InternalError","message":"no such container"}"#;
        assert_eq!(exit_code(Some(&status(broken))), Err("no such container".to_owned()));
        assert!(exit_code(None).is_err());
    }
}
