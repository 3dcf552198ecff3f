//! From the arguments to the exit code.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use anstream::AutoStream;
use clap::{ColorChoice, CommandFactory, Parser};
use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt, Snafu};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::commands::{
    approve, completion, credentials, down, image, kubectl, logs, openstack, plan, rotate, status, up,
    version, why,
};
use crate::context::{Context, colors_on_stderr, stream_choice};
use crate::global::{Global, Output};
use crate::progress::Style;
use crate::report::{ArgumentError, Failure, Interrupted, Report};

/// How long work that cannot be cut short (a write to disk) may take after an interrupt.
const LINGER: Duration = Duration::from_secs(5);

/// Why a command could not begin.
#[derive(Debug, Snafu)]
pub enum Error {
    /// No threads.
    #[snafu(display("failed to start the threads of oaas"))]
    Threads {
        /// What the system said.
        source: std::io::Error,
    },
    /// No signals.
    #[snafu(display("failed to listen for interrupts"))]
    Signals {
        /// What the system said.
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hint(&self) -> Option<String> {
        Some("look at the limits of this shell: `ulimit -a`".to_owned())
    }
}

/// Parse, run, report; the exit code.
pub fn main(arguments: &[OsString]) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error)
            if error.use_stderr()
                && error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            let (output, color) = wanted_form(arguments);
            return tell(&ArgumentError::new(&error), output, color);
        }
        Err(help) => {
            // A closed stdout is the reader's wish.
            let _ = help.print();
            return u8::try_from(help.exit_code()).unwrap_or(Kind::Input.exit_code());
        }
    };
    log(&cli.global);
    let (output, color) = (cli.global.output, cli.global.color);
    match run(cli) {
        Ok(code) => code,
        Err(failure) => tell(failure.error(), output, color),
    }
}

/// Say on stderr what went wrong; the exit code.
fn tell(error: &dyn Explain, output: Output, color: ColorChoice) -> u8 {
    let report = Report::of(error);
    let text = match output {
        Output::Json => format!("{}\n", report.json()),
        Output::Text => report.text(Style::from_environment(colors_on_stderr(color))),
    };
    // Nobody is left to tell when stderr is closed; the exit code still says it.
    let _ = AutoStream::new(std::io::stderr(), stream_choice(color)).write_all(text.as_bytes());
    error.kind().exit_code()
}

/// The form that was asked for in arguments that could not be parsed.
fn wanted_form(arguments: &[OsString]) -> (Output, ColorChoice) {
    let value = |name: &str| {
        let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
        let joined = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let apart = words.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
        joined.or(apart).map(str::to_owned)
    };
    let output = if value("--output").as_deref() == Some("json") { Output::Json } else { Output::Text };
    let color = value("--color").and_then(|word| word.parse().ok()).unwrap_or(ColorChoice::Auto);
    (output, color)
}

/// Log to stderr at the level that `-v` asks for, or `OAAS_LOG` in tracing's syntax.
fn log(global: &Global) {
    let level = match global.verbose {
        // An API server that does not answer is told by the error itself.
        0 => "warn,kube_client=off",
        1 => "info,kube=warn",
        2 => "debug,h2=info,hyper_util=info,rustls=info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("OAAS_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match global.output {
        Output::Json => subscriber.json().init(),
        Output::Text => subscriber.with_ansi(colors_on_stderr(global.color)).with_target(false).init(),
    }
}

/// Run the command on tokio until it ends or is interrupted.
fn run(cli: Cli) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context(ThreadsSnafu)?;
    let result = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context(SignalsSnafu)?;
        let mut terminate = signal(SignalKind::terminate()).context(SignalsSnafu)?;
        let context = Context::new(cli.global);
        tokio::select! {
            result = dispatch(cli.command, &context) => result,
            _ = interrupt.recv() => Err(Interrupted { by: "SIGINT" }.into()),
            _ = terminate.recv() => Err(Interrupted { by: "SIGTERM" }.into()),
        }
    });
    runtime.shutdown_timeout(LINGER);
    result
}

/// Each command to its file.
async fn dispatch(command: Command, context: &Context) -> Result<u8, Failure> {
    match command {
        Command::Up(arguments) => up::run(&arguments, context).await.map(|()| 0),
        Command::Down(arguments) => down::run(&arguments, context).await.map(|()| 0),
        Command::Kubectl(arguments) => kubectl::run(&arguments, context),
        Command::Status(arguments) => status::run(&arguments, context).await.map(|()| 0),
        Command::Plan(arguments) => plan::run(&arguments, context).await.map(|()| 0),
        Command::Approve(arguments) => approve::run(&arguments, context).await.map(|()| 0),
        Command::Credentials(arguments) => credentials::run(&arguments, context).await.map(|()| 0),
        Command::Rotate(arguments) => rotate::run(&arguments, context).await.map(|()| 0),
        Command::Image(arguments) => image::run(arguments, context).await.map(|()| 0),
        Command::Why(arguments) => why::run(&arguments, context).await.map(|()| 0),
        Command::Openstack(arguments) => openstack::run(&arguments, context).await,
        Command::Logs(arguments) => logs::run(&arguments, context).await.map(|()| 0),
        Command::Version(arguments) => version::run(&arguments, context).map(|()| 0),
        Command::Completion(arguments) => {
            completion::run(&arguments, &mut Cli::command(), context).map(|()| 0)
        }
    }
}
