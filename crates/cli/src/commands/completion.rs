//! `oaas completion`.

use clap::{Args, Command};
use clap_complete::Shell;

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

/// Print the script that completes `program`.
pub fn run(arguments: &Arguments, program: &mut Command, context: &Context) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, program, "oaas", &mut script);
    context.print(&String::from_utf8_lossy(&script))
}
