//! `oaas completion`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::context::Context;
use crate::report::Failure;

/// Arguments of `oaas completion`.
#[derive(Debug, Args)]
#[command(after_help = "For bash: oaas completion bash > /etc/bash_completion.d/oaas")]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Print the script.
pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "oaas", &mut script);
    context.print(&String::from_utf8_lossy(&script))
}
