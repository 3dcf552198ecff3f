//! What can be written on the command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, ColorChoice, Parser, Subcommand, ValueEnum};

use crate::commands::{
    completion, credentials, down, image, kubectl, logs, openstack, plan, status, up, version, why,
};
use oaas_feedback::Explain;
use oaas_node::Instance;

/// OpenStack as a Service on Kubernetes: from a bare machine to a virtual machine with one command.
#[derive(Debug, Parser)]
#[command(name = "oaas", bin_name = "oaas", version, propagate_version = false, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The embedded Kubernetes on this machine that is meant
    #[arg(
        long,
        global = true,
        env = "OAAS_INSTANCE",
        hide_env_values = true,
        value_name = "NAME",
        default_value = "oaas",
        value_parser = instance
    )]
    pub instance: Instance,
    /// Use the cluster of this kubeconfig instead of an embedded one
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Use the cluster of this context of the kubeconfig instead of an embedded one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Form of the answer on stdout, and of progress and errors on stderr
    #[arg(long, global = true, value_name = "FORM", value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// Log what is done to stderr (-vv: in detail)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

impl Global {
    /// Whether a cluster that exists is meant, not an embedded one.
    pub const fn names_a_cluster(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }
}

/// Form of answers, progress and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs: one document on stdout, one object per line on stderr.
    Json,
}

/// The commands, each in a file of its own under `commands`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring up a cloud on this machine, from nothing to a virtual machine
    Up(up::Arguments),
    /// Take the embedded cluster with its clouds away, and restore this machine
    Down(down::Arguments),
    /// Print how far a cloud is
    Status(status::Arguments),
    /// Print what a resource would change, before it is applied
    Plan(plan::Arguments),
    /// Print why a cloud, or one component of it, is not ready
    Why(why::Arguments),
    /// Print what OpenStack's clients need to reach a cloud
    Credentials(credentials::Arguments),
    /// Run the OpenStack client
    Openstack(openstack::Arguments),
    /// Print what a component wrote
    Logs(logs::Arguments),
    /// Run kubectl for the cluster
    Kubectl(kubectl::Arguments),
    /// Build, list and lock images
    Image(image::Arguments),
    /// Print the version of OaaS
    Version(version::Arguments),
    /// Print a script that completes `oaas` in a shell
    Completion(completion::Arguments),
}

/// An instance's name; a refusal says the nearest right one.
fn instance(given: &str) -> Result<Instance, String> {
    given.parse().map_err(|error: oaas_node::NameError| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}
