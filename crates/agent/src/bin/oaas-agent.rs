//! The agent alone, without the rest of `oaas`: what the daemon tests of this crate run inside a root directory.

use std::process::ExitCode;

use oaas_agent::run::{Args, main as run};

fn main() -> ExitCode {
    match std::env::args_os().nth(1) {
        Some(config) => ExitCode::from(run(&Args { config: config.into() })),
        None => {
            eprintln!("usage: oaas-agent AGENT_JSON");
            ExitCode::from(2)
        }
    }
}
