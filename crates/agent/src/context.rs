//! What a role works with: the one place that knows the agent's phase, its programs and its report.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::error::Failure;
use crate::program::{self, Ended, Finished};
use crate::python;
use oaas_agent_config::{AgentConfig, Program};

/// What the agent runs. One value per process; its future is dropped when the agent is asked to end.
///
/// # Flow
/// `run` prepares, starts programs with [`Context::start`], says [`Context::running`], and then either watches over
/// them for ever or returns. The end of any started program ends the agent with that program's exit code. When the
/// agent is asked to end, `run` is dropped, `before_stop` is awaited, and the programs are stopped in reverse order.
pub trait Role {
    /// Do the role's work.
    fn run(&self, context: &Context) -> impl Future<Output = Result<Outcome, Failure>>;

    /// What must be done while the programs still run, such as handing over leadership. Keep it short: it counts
    /// against the pod's grace period.
    fn before_stop(&self, context: &Context) -> impl Future<Output = ()> {
        let _ = context;
        async {}
    }
}

/// How a role's own work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The agent goes on until one of the programs ends.
    Supervise,
    /// All is done: the agent stops its programs and exits with this code.
    Exit(u8),
}

/// Where the agent is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before the role's programs run: preparing, or waiting for something it names.
    Preparing,
    /// The role's programs run.
    Running,
    /// Asked to end.
    Stopping,
}

/// One of the role's running programs.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Name within the role.
    pub name: String,
    /// Process id, which is its process group's id too.
    pub pid: i32,
    /// How it was started and is stopped.
    pub program: Program,
}

/// The answer of `/status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The component's name.
    pub component: String,
    /// This member's host name.
    pub host: String,
    /// Where the agent is in its life.
    pub phase: Phase,
    /// What it waits for and why, while it does.
    pub waits_for: Option<String>,
    /// What is wrong though it serves, such as a disk that is nearly full.
    pub alarms: Vec<String>,
    /// What the role reports; its shape is the role's.
    pub report: Value,
}

struct State {
    phase: Phase,
    waits_for: Option<String>,
    alarms: Vec<String>,
    answered: Option<Instant>,
    report: Value,
    programs: Vec<Running>,
}

struct Inner {
    config: AgentConfig,
    config_path: PathBuf,
    host: String,
    state: Mutex<State>,
    ended: mpsc::UnboundedSender<Ended>,
    phase: watch::Sender<Phase>,
}

/// A handle on the running agent; clones are the same agent.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

impl Context {
    /// A context and the receiver of its programs' ends.
    pub(crate) fn new(
        config: AgentConfig,
        config_path: PathBuf,
        host: String,
    ) -> (Self, mpsc::UnboundedReceiver<Ended>) {
        let (ended, receiver) = mpsc::unbounded_channel();
        let state = State {
            phase: Phase::Preparing,
            waits_for: None,
            alarms: Vec::new(),
            answered: None,
            report: Value::Null,
            programs: Vec::new(),
        };
        let phase = watch::Sender::new(Phase::Preparing);
        let inner = Inner { config, config_path, host, state: Mutex::new(state), ended, phase };
        (Self { inner: Arc::new(inner) }, receiver)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The lock is held for plain assignments only; a panic within would end the agent anyway.
        self.inner.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The configuration the agent started with.
    pub fn config(&self) -> &AgentConfig {
        &self.inner.config
    }

    /// The configuration's file, for roles that follow changes of it.
    pub fn config_path(&self) -> &Path {
        &self.inner.config_path
    }

    /// This pod's or node's host name: the first label alone.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// Say what is waited for and why; logged when it changes, shown by `/status` and by failing probes.
    pub fn waits_for(&self, reason: impl Into<String>) {
        let reason = reason.into();
        let mut state = self.state();
        if state.waits_for.as_ref() != Some(&reason) {
            info!(target: "oaas_agent", component = self.inner.config.component, "waits for {reason}");
            state.waits_for = Some(reason);
        }
    }

    /// Say that nothing is waited for any more.
    pub fn waits_no_more(&self) {
        self.state().waits_for = None;
    }

    /// Say what is wrong though the role goes on; logged when it changes, shown by `/status` and by the probes.
    pub fn alarms(&self, alarms: Vec<String>) {
        let mut state = self.state();
        for fresh in alarms.iter().filter(|alarm| !state.alarms.contains(alarm)) {
            warn!(target: "oaas_agent", component = self.inner.config.component, "{fresh}");
        }
        for gone in state.alarms.iter().filter(|alarm| !alarms.contains(alarm)) {
            info!(target: "oaas_agent", component = self.inner.config.component, "no longer: {gone}");
        }
        state.alarms = alarms;
    }

    /// Say that the role's server has answered, whatever it said.
    pub fn answered(&self) {
        self.state().answered = Some(Instant::now());
    }

    /// How long ago the role's server has answered; nothing where it never did.
    pub fn silence(&self) -> Option<Duration> {
        self.state().answered.map(|at| at.elapsed())
    }

    /// Replace what the role reports in `/status`.
    pub fn report(&self, report: &impl Serialize) {
        // Reports are plain data with string keys; should one not be, that is worth seeing in /status.
        let value = serde_json::to_value(report).unwrap_or_else(|error| Value::String(error.to_string()));
        self.state().report = value;
    }

    /// Where the agent is in its life.
    pub fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Say that the role's programs run: from now on the configured checks decide.
    pub fn running(&self) {
        self.state().waits_for = None;
        self.enter(Phase::Running);
    }

    /// Phases go forward only.
    pub(crate) fn enter(&self, phase: Phase) {
        let mut state = self.state();
        if state.phase != Phase::Stopping && state.phase != phase {
            state.phase = phase;
            self.inner.phase.send_replace(phase);
        }
    }

    /// Resolves once the agent was asked to end.
    pub async fn stopping(&self) {
        let mut phase = self.inner.phase.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = phase.wait_for(|phase| *phase == Phase::Stopping).await;
    }

    /// The answer of `/status` now.
    pub fn status(&self) -> Status {
        let state = self.state();
        Status {
            component: self.inner.config.component.clone(),
            host: self.inner.host.clone(),
            phase: state.phase,
            waits_for: state.waits_for.clone(),
            alarms: state.alarms.clone(),
            report: state.report.clone(),
        }
    }

    /// Start a program whose end ends the agent; gives its process id.
    ///
    /// It gets its own process group, and the container's standard output and error.
    pub fn start(&self, name: &str, program: &Program) -> Result<i32, program::Error> {
        let child = match &self.inner.config.follows {
            None => program::spawn(name, program)?,
            Some(directory) => {
                let mut following = program.clone();
                python::environment(directory, &mut following.env);
                program::spawn(name, &following)?
            }
        };
        let pid = child.pid();
        info!(target: "oaas_agent", program = name, pid, "started");
        let running = Running { name: name.to_owned(), pid, program: program.clone() };
        self.state().programs.push(running);
        let (context, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let status = child.wait().await;
            context.state().programs.retain(|running| running.pid != pid);
            // The receiver is gone only when the agent is at its end already.
            let _ = context.inner.ended.send(Ended { name, pid, status });
        });
        Ok(pid)
    }

    /// Run a helper to its end, with its output captured; killed with its process group after `limit`.
    pub async fn finish(
        &self,
        name: &str,
        program: &Program,
        limit: Duration,
    ) -> Result<Finished, program::Error> {
        program::finish(name, program, None, limit).await
    }

    /// The running programs in the order they were started.
    pub fn programs(&self) -> Vec<Running> {
        self.state().programs.clone()
    }

    /// Send a signal to the started program of this name; says whether it was running.
    pub fn signal(&self, name: &str, signal: Signal) -> bool {
        let found = self.programs().into_iter().find(|running| running.name == name);
        found.is_some_and(|running| program::signal(running.pid, signal))
    }
}
