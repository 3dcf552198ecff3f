//! Checks: one question with a time limit each, and the reason when the answer is not good.

mod answered;
mod consumer;
mod database;
mod error;
mod http;
mod node;
mod processes;
mod uwsgi;
mod wire;
mod worker;

use std::time::Duration;

pub use error::Error;
pub(crate) use http::get;
use oaas_agent_config::{Check, Probe, Program, Role};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::context::Context;
use crate::error::chain;
use crate::program;

/// A check with what it remembers between two questions.
pub struct Checker {
    check: Check,
    context: Context,
    worker: Mutex<worker::Memory>,
    uwsgi: Mutex<uwsgi::Memory>,
}

impl Checker {
    /// A check of the agent's programs or of anything reachable.
    pub fn new(check: Check, context: Context) -> Self {
        Self { check, context, worker: Mutex::default(), uwsgi: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.check.name
    }

    /// How long it may take.
    pub fn time_limit(&self) -> Duration {
        Duration::from_millis(self.check.timeout_ms)
    }

    /// Ask once; the error says in words why the answer is not good.
    pub async fn ask(&self) -> Result<(), String> {
        match timeout(self.time_limit(), self.question()).await {
            Ok(answer) => answer.map_err(|error| chain(&error)),
            Err(_) => Err(format!("no answer within {} ms", self.check.timeout_ms)),
        }
    }

    /// The role's own processes.
    fn roots(&self) -> Vec<i32> {
        self.context.programs().iter().map(|running| running.pid).collect()
    }

    async fn question(&self) -> Result<(), Error> {
        match &self.check.probe {
            Probe::Http(probe) => http::ask(probe).await,
            Probe::Tcp(probe) => wire::tcp(probe).await,
            Probe::Amqp(probe) => wire::amqp(probe).await,
            Probe::Consumer(probe) => consumer::ask(probe).await,
            Probe::Memcached(probe) => wire::memcached(probe).await,
            Probe::Mysql(probe) => database::ask(probe).await,
            Probe::Wsrep(probe) => database::ask_wsrep(probe).await,
            Probe::Worker(probe) => {
                let family = match &self.context.config().role {
                    Role::Family(family) => Some(family.programs.len()),
                    _ => None,
                };
                let roots = processes::Roots { started: &self.roots(), family };
                worker::ask(probe, roots, &mut *self.worker.lock().await)
            }
            Probe::Uwsgi(probe) => uwsgi::ask(probe, &self.roots(), &mut *self.uwsgi.lock().await).await,
            Probe::Answered(probe) => answered::ask(probe, &self.roots(), self.context.silence()),
            Probe::Command(probe) => {
                let program = Program::new(probe.argv.iter().cloned());
                program::finish(&self.check.name, &program, None, self.time_limit())
                    .await?
                    .success(&self.check.name)?;
                Ok(())
            }
            Probe::Node(probe) => node::ask(probe).await,
        }
    }
}
