//! `oaas logs`: what a component wrote.

use clap::Args;
use futures::io::{AsyncBufReadExt, Lines};
use futures::{AsyncBufRead, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::{Api, Client, ResourceExt};
use oaas_api::names;
use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt, Snafu};

use crate::clouds::{self, CloudArgs};
use crate::commands::why::no_component_hint;
use crate::context::Context;
use crate::kubernetes::{self, ApiSnafu, Patience};
use crate::report::Failure;

/// Arguments of `oaas logs`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The component, such as `keystone`
    pub component: String,
    /// Go on as long as it writes
    #[arg(short, long)]
    pub follow: bool,
    /// What the run before the last restart wrote
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    pub tail: Option<i64>,
    #[command(flatten)]
    cloud: CloudArgs,
}

/// Why there are no logs.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The cloud has no pod of such a component.
    #[snafu(display("cloud {cloud} has no pod of a component `{component}`"))]
    NoPod {
        /// The cloud.
        cloud: String,
        /// What was asked for.
        component: String,
        /// Components that have pods.
        known: Vec<String>,
    },
    /// The connection broke.
    #[snafu(display("failed to go on reading the log of pod {pod}"))]
    Broken {
        /// The pod.
        pod: String,
        /// How.
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NoPod { .. } => Kind::Input,
            Self::Broken { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoPod { component, known, .. } => Some(no_component_hint(component, known)),
            Self::Broken { .. } => Some(
                "the API server or the pod went away: `oaas status` shows what runs; the same command reads on"
                    .to_owned(),
            ),
        }
    }
}

/// Print the logs of all pods of the component, each line with its pod's name where there are several.
pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let (client, cloud) = clouds::connect(&context.global, &arguments.cloud, Patience::Stream).await?;
    let namespace = cloud.namespace().unwrap_or_default();
    let pods = pods(&client, &namespace, &cloud.name_any()).await?;
    let component_of = |pod: &Pod| pod.labels().get(names::LABEL_COMPONENT).cloned();
    let (own, others): (Vec<_>, Vec<_>) =
        pods.into_iter().partition(|pod| component_of(pod).as_deref() == Some(&arguments.component));
    if own.is_empty() {
        let mut known: Vec<String> = others.iter().filter_map(component_of).collect();
        known.sort_unstable();
        known.dedup();
        let cloud = format!("{namespace}/{}", cloud.name_any());
        return Err(NoPodSnafu { cloud, component: &arguments.component, known }.build().into());
    }

    let api: Api<Pod> = Api::namespaced(client, &namespace);
    let several = own.len() > 1;
    let mut streams = Vec::new();
    for pod in &own {
        let name = pod.name_any();
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first()).map(|c| c.name.clone());
        let parameters = LogParams {
            container,
            follow: arguments.follow,
            previous: arguments.previous,
            tail_lines: arguments.tail,
            ..LogParams::default()
        };
        let reader = api
            .log_stream(&name, &parameters)
            .await
            .with_context(|_| ApiSnafu { doing: format!("read the log of pod {name}") })?;
        streams.push(lines(reader.lines(), name, several).boxed());
    }
    let mut lines = stream::select_all(streams);
    while let Some(line) = lines.try_next().await? {
        context.print(&line)?;
    }
    Ok(())
}

fn lines<R: AsyncBufRead + Unpin>(
    lines: Lines<R>,
    pod: String,
    several: bool,
) -> impl stream::Stream<Item = Result<String, Error>> {
    lines.map(move |line| match line {
        Ok(line) if several => Ok(format!("{pod}  {line}\n")),
        Ok(line) => Ok(format!("{line}\n")),
        Err(source) => Err(Error::Broken { pod: pod.clone(), source }),
    })
}

/// The pods of a cloud.
pub async fn pods(client: &Client, namespace: &str, cloud: &str) -> Result<Vec<Pod>, kubernetes::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = ListParams::default().labels(&format!("{}={cloud}", names::LABEL_CLOUD));
    Ok(api.list(&parameters).await.context(ApiSnafu { doing: "list the cloud's pods" })?.items)
}
