//! The agent's loop: the role's own work, its programs' ends, and the signals that the container gets.

use std::time::Duration;

use nix::sys::signal::Signal;
use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt as _, Snafu};
use tokio::signal::unix::{SignalKind, signal as listen};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::context::{Context, Outcome, Phase, Role, Running};
use crate::error::{Failure, report_failure};
use crate::program::{self, Ended};
use crate::{follow, health, reap};
use oaas_agent_config::StopSignal;

/// How long a role's hand-over before the stop may take.
const BEFORE_STOP: Duration = Duration::from_secs(10);

#[derive(Debug, Snafu)]
#[snafu(display("failed to listen for signals"))]
struct SignalsError {
    source: std::io::Error,
}

impl Explain for SignalsError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

/// Why the agent ends, with an exit code.
enum End {
    /// The role was done, or a program ended.
    Itself(u8),
    /// A signal came.
    Asked(u8),
}

/// Run a role to its end; gives the agent's exit code.
pub(crate) async fn supervise<R: Role>(
    role: &R,
    context: Context,
    mut ended: UnboundedReceiver<Ended>,
) -> u8 {
    match work(role, &context, &mut ended).await {
        Ok(code) => code,
        Err(failure) => {
            let code = report_failure(&failure);
            stop(&context, &mut ended).await;
            code
        }
    }
}

async fn work<R: Role>(
    role: &R,
    context: &Context,
    ended: &mut UnboundedReceiver<Ended>,
) -> Result<u8, Failure> {
    let mut terminate = listen(SignalKind::terminate()).context(SignalsSnafu)?;
    let mut interrupt = listen(SignalKind::interrupt()).context(SignalsSnafu)?;
    let mut hangup = listen(SignalKind::hangup()).context(SignalsSnafu)?;
    if std::process::id() == 1 {
        tokio::spawn(reap::orphans());
    }
    if let Some(health) = &context.config().health {
        health::serve(health, context).await?;
    }
    if let Some(directory) = &context.config().follows {
        follow::serve(directory, context)?;
    }

    let end = {
        let mut own = Box::pin(role.run(context));
        let mut own_done = false;
        loop {
            tokio::select! {
                outcome = &mut own, if !own_done => match outcome? {
                    Outcome::Exit(code) => break End::Itself(code),
                    Outcome::Supervise => {
                        own_done = true;
                        context.running();
                    }
                },
                Some(end) = ended.recv() => break End::Itself(program_ended(&end)),
                _ = terminate.recv() => break End::Asked(asked(context, Signal::SIGTERM)),
                _ = interrupt.recv() => break End::Asked(asked(context, Signal::SIGINT)),
                _ = hangup.recv() => {
                    for running in context.programs() {
                        program::signal(running.pid, Signal::SIGHUP);
                    }
                }
            }
        }
        // The role's own work ends here, before its programs are stopped.
    };
    context.enter(Phase::Stopping);
    if !context.programs().is_empty() && timeout(BEFORE_STOP, role.before_stop(context)).await.is_err() {
        warn!(target: "oaas_agent", "the hand-over before the stop took longer than {} s", BEFORE_STOP.as_secs());
    }
    let stopped = stop(context, ended).await;
    Ok(match end {
        End::Itself(code) => code,
        // The first program's own exit code says how well it did.
        End::Asked(signal) => stopped.unwrap_or(signal),
    })
}

fn program_ended(end: &Ended) -> u8 {
    let how = end.status.as_ref().map_or_else(ToString::to_string, |status| program::describe(*status));
    error!(target: "oaas_agent", program = end.name, pid = end.pid, "the program ended: {how}");
    program::signal_group(end.pid, Signal::SIGKILL);
    end.exit_code()
}

fn asked(context: &Context, signal: Signal) -> u8 {
    info!(target: "oaas_agent", component = context.config().component, "asked to end by {signal}");
    // Numbers of signals are small.
    128 + u8::try_from(signal as i32).unwrap_or(0)
}

/// Stop all programs, the last started first; gives the exit code of the first started one.
async fn stop(context: &Context, ended: &mut UnboundedReceiver<Ended>) -> Option<u8> {
    context.enter(Phase::Stopping);
    let programs = context.programs();
    let drain = programs.iter().map(|running| running.program.stop.drain_seconds).max().unwrap_or(0);
    sleep(Duration::from_secs(drain)).await;
    let mut ends: Vec<Ended> = Vec::new();
    for running in programs.iter().rev() {
        stop_one(running, ended, &mut ends).await;
    }
    let first = programs.first()?;
    ends.iter().find(|end| end.pid == first.pid).map(Ended::exit_code)
}

async fn stop_one(running: &Running, ended: &mut UnboundedReceiver<Ended>, ends: &mut Vec<Ended>) {
    let stop = &running.program.stop;
    let number = match stop.signal {
        StopSignal::Term => Signal::SIGTERM,
        StopSignal::Int => Signal::SIGINT,
        StopSignal::Quit => Signal::SIGQUIT,
        StopSignal::Hup => Signal::SIGHUP,
    };
    let here = |ends: &[Ended]| ends.iter().any(|end| end.pid == running.pid);
    if !here(ends) {
        if stop.group {
            program::signal_group(running.pid, number);
        } else {
            program::signal(running.pid, number);
        }
        // A stopped program cannot take the signal before it is continued.
        program::signal_group(running.pid, Signal::SIGCONT);
    }
    let wait = async {
        while !here(ends) {
            match ended.recv().await {
                Some(end) => ends.push(end),
                None => break,
            }
        }
    };
    if timeout(Duration::from_secs(stop.grace_seconds), wait).await.is_err() {
        warn!(target: "oaas_agent", program = running.name, "still there after {} s: killed", stop.grace_seconds);
        program::signal_group(running.pid, Signal::SIGKILL);
        let killed = async {
            while !here(ends) {
                match ended.recv().await {
                    Some(end) => ends.push(end),
                    None => break,
                }
            }
        };
        if timeout(Duration::from_secs(5), killed).await.is_err() {
            error!(target: "oaas_agent", program = running.name, "does not die: it hangs in the kernel");
        }
    }
    // What the program left behind in its group goes with it.
    program::signal_group(running.pid, Signal::SIGKILL);
}
