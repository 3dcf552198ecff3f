//! The operator as a process: reads its settings, connects, runs until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;

use kube::Client;
use oaas_catalog::Catalog;
use oaas_feedback::{Explain, Kind};
use oaas_plan::{Cluster, Images};
use snafu::{ResultExt, Snafu};
use tokio::signal::unix::{SignalKind, signal};

use crate::cloud::CloudBrain;
use crate::controller::{Options, RunError, run};

/// What an operator is told when it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its own namespace.
    pub namespace: String,
    /// Its name among candidates for the lease.
    pub identity: String,
    /// Where it answers probes and gives metrics.
    pub listen: SocketAddr,
    /// File with the images there are: JSON, name → `{reference, closure}`.
    pub images: PathBuf,
}

/// The operator could not run.
#[derive(Debug, Snafu)]
pub enum ProcessError {
    /// The file with the images cannot be read.
    #[snafu(display("failed to read the images in {}", path.display()))]
    Images {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file with the images is not what it should be.
    #[snafu(display("failed to understand the images in {}", path.display()))]
    ImagesForm {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The catalog that is compiled in is wrong.
    #[snafu(display("failed to read the service catalog"))]
    Catalog {
        /// Why.
        source: oaas_catalog::LoadError,
    },
    /// There is no way to the API server.
    #[snafu(display("failed to set up the connection to the API server"))]
    Connect {
        /// Why.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// The runtime does not start.
    #[snafu(display("failed to start"))]
    Start {
        /// Why.
        source: std::io::Error,
    },
    /// It ended.
    #[snafu(transparent)]
    Run {
        /// Why.
        source: RunError,
    },
}

impl Explain for ProcessError {
    fn kind(&self) -> Kind {
        match self {
            Self::Images { .. } | Self::Connect { .. } => Kind::Environment,
            Self::ImagesForm { .. } | Self::Catalog { .. } | Self::Start { .. } => Kind::Failed,
            Self::Run { source } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Images { .. } | Self::ImagesForm { .. } => {
                Some("`oaas up` writes it into the ConfigMap oaas-images".into())
            }
            Self::Connect { .. } => {
                Some("in a pod it needs a service account, elsewhere a kubeconfig".into())
            }
            Self::Run { source } => source.hint(),
            Self::Catalog { .. } | Self::Start { .. } => None,
        }
    }
}

/// Run until SIGTERM or SIGINT. Logs are lines of JSON on standard error, their level set by `OAAS_LOG`.
pub fn main(settings: Settings) -> Result<(), ProcessError> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("OAAS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    // Little is computed and much is waited for: one thread does, and keeps the memory small.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(StartSnafu)?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), ProcessError> {
    // A second provider would be an error; ours is the only one there is.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let path = &settings.images;
    let text = std::fs::read_to_string(path).context(ImagesSnafu { path })?;
    let images: Images = serde_json::from_str(&text).context(ImagesFormSnafu { path })?;
    let catalog = Catalog::built_in().context(CatalogSnafu)?;
    let client = Client::try_default().await.context(ConnectSnafu)?;
    // A pod's resolver is told the domain. Elsewhere, in tests, it is the usual one.
    let resolver = std::fs::read_to_string(RESOLVER).unwrap_or_default();
    let cluster = Cluster {
        domain: cluster_domain(&resolver, &settings.namespace).unwrap_or(Cluster::default().domain),
        operator_namespace: settings.namespace.clone(),
    };
    let brain = CloudBrain::new(catalog, images, cluster, client.clone());
    let options = Options {
        namespace: settings.namespace,
        identity: settings.identity,
        listen: settings.listen,
        ..Options::default()
    };
    run(client, brain, options, stopped()).await?;
    Ok(())
}

/// What a pod's resolver is told.
const RESOLVER: &str = "/etc/resolv.conf";

/// The domain of the cluster's names, from a pod's resolver: `search NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN`
/// (Kubernetes, "DNS for Services and Pods").
fn cluster_domain(resolver: &str, namespace: &str) -> Option<String> {
    let search = resolver.lines().filter_map(|line| line.trim().strip_prefix("search "));
    let own = format!("{namespace}.svc.");
    search.flat_map(str::split_whitespace).find_map(|name| name.strip_prefix(&own)).map(str::to_owned)
}

async fn stopped() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without signals there is nothing to wait for: it runs until it is killed.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::cluster_domain;

    #[test]
    fn the_domain_is_what_the_resolver_is_told() {
        let told =
            "nameserver 10.96.0.10\nsearch oaas-system.svc.example.org svc.example.org example.org lan\n";
        assert_eq!(cluster_domain(told, "oaas-system").as_deref(), Some("example.org"));
        assert_eq!(cluster_domain("search lan\n", "oaas-system"), None);
    }
}
