//! `oaas-traffic --clouds FILE -- COMMAND…`: steady traffic on a cloud while a command runs, and what its users would have noticed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use oaas_feedback::Explain;
use oaas_traffic::{Cloud, Report, Until, run};

/// Asks a cloud's APIs steadily, and says what its users would have noticed: failures, the longest time without an answer per kind of
/// request, and whether every acknowledged write is there.
///
/// Exit code 0: no more failures and no longer gap than allowed, nothing lost, and COMMAND succeeded. 1: it was not so. 2: wrong
/// arguments. 3: the cloud cannot be asked.
#[derive(Parser)]
#[command(name = "oaas-traffic", version)]
struct Arguments {
    /// A clouds.yaml, as `oaas credentials` prints it.
    #[arg(long, value_name = "FILE")]
    clouds: PathBuf,
    /// Which cloud of it.
    #[arg(long, value_name = "NAME", default_value = "demo")]
    cloud: String,
    /// Ends after so many seconds, also when COMMAND has not.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Goes on for so many seconds after COMMAND has ended.
    #[arg(long, value_name = "N", default_value_t = 5)]
    after: u64,
    /// So many failures are allowed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    failures: u64,
    /// So many seconds without a success of any kind are allowed.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    gap: f64,
    /// Writes the report as JSON too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What runs meanwhile; without one the traffic ends by --seconds or an interrupt.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cloud = match Cloud::open(&arguments.clouds, &arguments.cloud).await {
        Ok(cloud) => cloud,
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            eprintln!("error: {error}{}", source.unwrap_or_default());
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            return ExitCode::from(error.kind().exit_code());
        }
    };
    let until = Until::default();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let traffic = tokio::spawn(run(cloud, until.clone(), move || {
        // Nobody waits any more where the program ends.
        let _ = begun.send(());
    }));
    let mut succeeded = true;
    if begins.await.is_ok() {
        eprintln!("traffic began");
        let limit = arguments.seconds.map_or(Duration::MAX, Duration::from_secs);
        tokio::select! {
            ended = command(&arguments.command) => {
                succeeded = ended;
                tokio::time::sleep(Duration::from_secs(arguments.after)).await;
            }
            () = tokio::time::sleep(limit) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        until.now();
    }
    let report = match traffic.await {
        Ok(Ok(report)) => report,
        Ok(Err(why)) => {
            eprintln!("error: the cloud does not answer: {why}");
            return ExitCode::from(3);
        }
        Err(error) => {
            eprintln!("error: the traffic ended by itself: {error}");
            return ExitCode::from(3);
        }
    };
    print!("{report}");
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("error: failed to write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if !succeeded {
        eprintln!("error: the command failed");
    }
    if succeeded && allowed(&report, &arguments) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the command; whether it succeeded. Without one it never ends.
async fn command(words: &[OsString]) -> bool {
    let Some((program, arguments)) = words.split_first() else { return std::future::pending().await };
    match tokio::process::Command::new(program).args(arguments).kill_on_drop(true).status().await {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("error: failed to start {}: {error}", program.to_string_lossy());
            false
        }
    }
}

fn allowed(report: &Report, arguments: &Arguments) -> bool {
    let checks = [
        (report.failed() <= arguments.failures, format!("{} requests failed", report.failed())),
        (report.longest_gap() <= arguments.gap, format!("{:.2} s without a success", report.longest_gap())),
        (report.lost.is_empty(), format!("{} acknowledged writes are lost", report.lost.len())),
    ];
    for (_, broken) in checks.iter().filter(|(holds, _)| !holds) {
        eprintln!("error: {broken}");
    }
    checks.iter().all(|(holds, _)| *holds)
}
