//! The options of every command. They stand below the commands, which all take them.

use std::path::PathBuf;

use clap::{ArgAction, Args, ColorChoice, ValueEnum};
use oaas_feedback::Explain;
use oaas_node::Instance;

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

/// An instance's name; a refusal says the nearest right one.
fn instance(given: &str) -> Result<Instance, String> {
    given.parse().map_err(|error: oaas_node::NameError| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}
