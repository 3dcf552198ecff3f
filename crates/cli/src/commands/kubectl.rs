//! `oaas kubectl`: the kubectl of the embedded Kubernetes, for the cluster that is meant.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use kube::config::NamedCluster;
use oaas_feedback::{Explain, Kind};
use oaas_node::Layout;
use snafu::{OptionExt, Snafu};

use crate::context::Context;
use crate::report::Failure;
use crate::{directories, kubernetes};

/// The variable that says where kubectl keeps what it learns of a cluster (`--cache-dir` of `kubectl options`).
const CACHE: &str = "KUBECACHEDIR";

/// The variables that name hosts which are reached without a proxy; Go's clients take the first that is not empty
/// (`golang.org/x/net/http/httpproxy`).
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Arguments of `oaas kubectl`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = "Options of oaas itself stand before `kubectl`.")]
pub struct Arguments {
    /// Arguments of kubectl
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<String>,
}

/// Why kubectl does not run.
#[derive(Debug, Snafu)]
pub enum Error {
    /// It was never built here.
    #[snafu(display("the programs of the embedded Kubernetes are not built on this machine"))]
    NotBuilt,
    /// It cannot be executed.
    #[snafu(display("failed to run {}", program.display()))]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hint(&self) -> Option<String> {
        let other = "any other kubectl does as well, with the kubeconfig that `oaas status --host` names";
        Some(format!("`oaas up` builds them; {other}"))
    }
}

/// Become kubectl.
pub fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let global = &context.global;
    // Errors about the kubeconfig are ours to tell, with their hints.
    let (config, _) = kubernetes::kubeconfig(global)?;
    let layout = Layout::new(&directories::state(), &global.instance);
    let places = [layout.kubernetes(), directories::cache().join("kubernetes")];
    let program = places.iter().find_map(|place| newest(place)).context(NotBuiltSnafu)?;
    let mut command = Command::new(&program);
    command.arg("kubectl");
    if let Some(path) = &global.kubeconfig {
        command.env("KUBECONFIG", path);
    } else if !global.names_a_cluster() {
        command.env("KUBECONFIG", kubernetes::embedded(global));
        // Proxies of the environment do not lead to this machine; what kubectl fetches elsewhere still needs them.
        let hosts: Vec<String> = config.clusters.iter().filter_map(host).collect();
        let given =
            NO_PROXY.iter().find_map(|name| std::env::var(name).ok().filter(|given| !given.is_empty()));
        let without = without_proxy(given.as_deref(), &hosts);
        command.envs(NO_PROXY.map(|name| (name, &without)));
        // What kubectl keeps goes with the cluster, and is not left in somebody's home.
        if std::env::var_os(CACHE).is_none() {
            command.env(CACHE, layout.root().join("kubectl"));
        }
    }
    if let Some(context) = &global.context {
        command.args(["--context", context]);
    }
    let source = command.args(&arguments.arguments).exec();
    Err(Error::Run { program, source }.into())
}

/// The host of a cluster's API server.
fn host(cluster: &NamedCluster) -> Option<String> {
    let server: http::Uri = cluster.cluster.as_ref()?.server.as_ref()?.parse().ok()?;
    server.host().map(|host| host.trim_matches(['[', ']']).to_owned())
}

/// Hosts that are reached without a proxy: those that were given, and these.
fn without_proxy(given: Option<&str>, hosts: &[String]) -> String {
    given.into_iter().map(str::to_owned).chain(hosts.iter().cloned()).collect::<Vec<_>>().join(",")
}

/// The multi-call binary that was built last below `place`, where each build has a directory of its own.
fn newest(place: &Path) -> Option<PathBuf> {
    let builds = std::fs::read_dir(place).ok()?.flatten().map(|entry| entry.path().join("kube"));
    builds
        .filter_map(|program| Some((std::fs::metadata(&program).ok()?.modified().ok()?, program)))
        .max()
        .map(|(_, program)| program)
}

#[cfg(test)]
mod tests {
    use super::{host, without_proxy};

    #[test]
    fn the_cluster_is_reached_without_a_proxy_and_so_is_what_was_before() {
        let cluster = |server: &str| {
            let text = format!("{{name: c, cluster: {{server: '{server}'}}}}");
            host(&serde_yaml_ng::from_str(&text).unwrap())
        };
        assert_eq!(cluster("https://10.87.0.11:6443").as_deref(), Some("10.87.0.11"));
        assert_eq!(cluster("https://[fd00::1]:6443").as_deref(), Some("fd00::1"));
        let hosts = ["10.87.0.11".to_owned()];
        assert_eq!(without_proxy(None, &hosts), "10.87.0.11");
        assert_eq!(
            without_proxy(Some("localhost,.example.com"), &hosts),
            "localhost,.example.com,10.87.0.11"
        );
    }
}
