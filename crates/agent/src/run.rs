//! `oaas agent run`: reads the configuration and runs the role.

use std::path::PathBuf;

use oaas_agent_config::Role;
use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt as _, Snafu};

use crate::config_file::read;
use crate::context::Context;
use crate::error::{Failure, report_failure};
use crate::supervise::supervise;
use crate::tls;

/// What `oaas agent run` is told.
#[derive(Debug, Clone)]
pub struct Args {
    /// The agent's configuration file, `agent.json`.
    pub config: PathBuf,
}

/// What can go wrong before the role runs.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The host has no name.
    #[snafu(display("failed to learn this host's name"))]
    HostName {
        /// Why.
        source: nix::Error,
    },
    /// There is no runtime.
    #[snafu(display("failed to start the agent's runtime"))]
    Runtime {
        /// Why.
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

/// Run the agent to its end and give the exit code: the program's own, 128 + n where signal n ended it, or that of the
/// kind of failure.
pub fn main(args: &Args) -> u8 {
    log_to_stderr();
    tls::install_provider();
    match start(args) {
        Ok(code) => code,
        Err(failure) => report_failure(&failure),
    }
}

fn start(args: &Args) -> Result<u8, Failure> {
    let config = read(&args.config)?;
    let host = nix::unistd::gethostname().context(HostNameSnafu)?.to_string_lossy().into_owned();
    let host = host.split('.').next().unwrap_or_default().to_owned();
    // One thread: the agent shares its CPU and memory with what it serves.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(RuntimeSnafu)?;
    let code = runtime.block_on(async {
        let role = config.role.clone();
        let (context, ended) = Context::new(config, args.config.clone(), host);
        match role {
            Role::Process(role) => supervise(&role, context, ended).await,
            Role::Family(role) => supervise(&role, context, ended).await,
            Role::Mariadb(role) => supervise(&role, context, ended).await,
            Role::Rabbitmq(role) => supervise(&role, context, ended).await,
            Role::LoadSchema(role) => supervise(&role, context, ended).await,
            Role::Node(role) => supervise(&role, context, ended).await,
        }
    });
    // A helper that hangs in the kernel must not keep the pod.
    runtime.shutdown_background();
    Ok(code)
}

/// Log lines on standard error, beside those of the program; `OAAS_LOG` filters. Does nothing where the caller has set
/// up logging already.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("OAAS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,oaas_agent=info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
