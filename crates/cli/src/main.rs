//! `oaas`, the one binary: command line, operator, agent and node.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match oaas_cli::entry::other_self(&arguments) {
        Some(code) => code,
        None => ExitCode::from(oaas_cli::run::main(&arguments)),
    }
}
