//! Reaching a cluster: the embedded one of this machine, or one that was named.

use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use oaas_feedback::{Explain, Kind, nearest};
use oaas_node::Layout;
use snafu::{ResultExt, Snafu};

use crate::directories;
use crate::global::Global;

/// A cluster that does not answer is told quickly.
const CONNECT: Duration = Duration::from_secs(5);

/// A cluster that answers slower than this is told to hang.
const ANSWER: Duration = Duration::from_secs(30);

/// How long the API server may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Questions and answers: not long.
    Answer,
    /// Streams (a log that is followed, a client that is used): for ever.
    Stream,
}

/// Why a cluster could not be reached or refused something.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub))]
pub enum Error {
    /// No embedded cluster was made yet.
    #[snafu(display("there is no embedded Kubernetes `{instance}` on this machine"))]
    NoInstance {
        /// Its name.
        instance: String,
    },
    /// Its kubeconfig belongs to root.
    #[snafu(display("failed to read {}", path.display()))]
    Unreadable {
        /// The kubeconfig.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A kubeconfig that is none.
    #[snafu(display("failed to read the kubeconfig {from}"))]
    Kubeconfig {
        /// Where it was looked for.
        from: String,
        /// What is wrong with it.
        source: KubeconfigError,
    },
    /// A context that the kubeconfig does not have.
    #[snafu(display("the kubeconfig {from} has no context `{context}`"))]
    NoContext {
        /// Where it was looked for.
        from: String,
        /// What was asked for.
        context: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The API server did not answer, or refused.
    #[snafu(display("failed to {doing}"))]
    Api {
        /// What was tried, such as `list clouds`.
        doing: String,
        /// What came of it.
        source: kube::Error,
    },
}

impl Error {
    /// The API server's answer was that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 404)
    }
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Kubeconfig { .. } | Self::NoContext { .. } => Kind::Input,
            Self::Api { source: kube::Error::Api(status), .. } => match status.code {
                400 | 422 => Kind::Input,
                401 | 403 => Kind::Environment,
                409 => Kind::Busy,
                _ => Kind::Failed,
            },
            Self::NoInstance { .. } | Self::Unreadable { .. } | Self::Api { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoInstance { .. } => {
                "`oaas up` makes one; a cluster that exists is used when it is named with `--kubeconfig` or `--context`"
                    .to_owned()
            }
            Self::Unreadable { .. } => "run it as root: the embedded cluster belongs to root".to_owned(),
            Self::Kubeconfig { .. } => "name a kubeconfig with `--kubeconfig FILE`".to_owned(),
            Self::NoContext { context, known, .. } => match nearest(context, known) {
                Some(nearest) => format!("the nearest is `{nearest}`"),
                None => format!("its contexts are: {}", known.join(", ")),
            },
            Self::Api { source: kube::Error::Api(status), .. } => match status.code {
                401 | 403 => "use a kubeconfig whose user may do this".to_owned(),
                _ => return None,
            },
            Self::Api { .. } => {
                "the API server does not answer: is its cluster up? `oaas up` starts the embedded one"
                    .to_owned()
            }
        })
    }
}

/// How to reach the cluster that the global options mean: the kubeconfig and its context.
pub fn kubeconfig(global: &Global) -> Result<(Kubeconfig, KubeConfigOptions), Error> {
    let mut options = KubeConfigOptions::default();
    let (config, from) = match (&global.kubeconfig, &global.context) {
        (None, None) => {
            let path = embedded(global);
            let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
                std::io::ErrorKind::NotFound => Error::NoInstance { instance: global.instance.to_string() },
                _ => Error::Unreadable { path: path.clone(), source },
            })?;
            let from = path.display().to_string();
            (Kubeconfig::from_yaml(&text).context(KubeconfigSnafu { from: &from })?, from)
        }
        (Some(path), _) => {
            let from = path.display().to_string();
            (Kubeconfig::read_from(path).context(KubeconfigSnafu { from: &from })?, from)
        }
        (None, Some(_)) => {
            let from = "of $KUBECONFIG or ~/.kube/config".to_owned();
            (Kubeconfig::read().context(KubeconfigSnafu { from: &from })?, from)
        }
    };
    if let Some(context) = &global.context {
        let known: Vec<String> = config.contexts.iter().map(|context| context.name.clone()).collect();
        if !known.contains(context) {
            return NoContextSnafu { from, context, known }.fail();
        }
        options.context = Some(context.clone());
    }
    Ok((config, options))
}

/// The administrator's kubeconfig of the embedded cluster.
pub fn embedded(global: &Global) -> PathBuf {
    Layout::new(&directories::state(), &global.instance).admin_kubeconfig()
}

/// A client of the cluster that the global options mean.
pub async fn connect(global: &Global, patience: Patience) -> Result<Client, Error> {
    let (config, options) = kubeconfig(global)?;
    let from = || "that was found".to_owned();
    let mut config = kube::Config::from_custom_kubeconfig(config, &options)
        .await
        .with_context(|_| KubeconfigSnafu { from: from() })?;
    config.connect_timeout = Some(CONNECT);
    if !global.names_a_cluster() {
        // Proxies of the environment do not lead to this machine.
        config.proxy_url = None;
    }
    if patience == Patience::Answer {
        config.read_timeout = Some(ANSWER);
    }
    Client::try_from(config).context(ApiSnafu { doing: "prepare the connection to the API server" })
}
