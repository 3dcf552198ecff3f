//! `oaas kubectl`: the kubectl of the embedded Kubernetes, for the cluster that is meant.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use oaas_feedback::{Explain, Kind};
use oaas_node::Layout;
use snafu::{OptionExt, Snafu};

use crate::context::Context;
use crate::report::Failure;
use crate::{directories, kubernetes};

/// The variable that says where kubectl keeps what it learns of a cluster (`--cache-dir` of `kubectl options`).
const CACHE: &str = "KUBECACHEDIR";

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
    kubernetes::kubeconfig(global)?;
    let layout = Layout::new(&directories::state(), &global.instance);
    let places = [layout.kubernetes(), directories::cache().join("kubernetes")];
    let program = places.iter().find_map(|place| newest(place)).context(NotBuiltSnafu)?;
    let mut command = Command::new(&program);
    command.arg("kubectl");
    if let Some(path) = &global.kubeconfig {
        command.env("KUBECONFIG", path);
    } else if !global.names_a_cluster() {
        command.env("KUBECONFIG", kubernetes::embedded(global));
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

/// The multi-call binary that was built last below `place`, where each build has a directory of its own.
fn newest(place: &Path) -> Option<PathBuf> {
    let builds = std::fs::read_dir(place).ok()?.flatten().map(|entry| entry.path().join("kube"));
    builds
        .filter_map(|program| Some((std::fs::metadata(&program).ok()?.modified().ok()?, program)))
        .max()
        .map(|(_, program)| program)
}
