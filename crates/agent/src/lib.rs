//! The one helper that runs inside pods.
//!
//! The command of every workload is `oaas agent run --config FILE`. The agent is the parent of the real process: it
//! prepares what the process needs, starts it, forwards signals, reaps, answers probes and exits with its exit code.
//! Roles that form clusters (MariaDB, RabbitMQ, OVN) know more; each is a state machine of pure functions.
//!
//! - [`config`]: what `agent.json` holds; it depends on serde alone, so that rendering uses the same types.
//! - `run` (feature `run`, the default): the framework and the roles.

pub mod config;
pub mod roles;

#[cfg(feature = "run")]
pub mod checks;
#[cfg(feature = "run")]
pub mod context;
#[cfg(feature = "run")]
pub mod error;
#[cfg(feature = "run")]
mod health;
#[cfg(feature = "run")]
mod memory;
#[cfg(feature = "run")]
pub mod prepare;
#[cfg(feature = "run")]
pub mod program;
#[cfg(feature = "run")]
mod reap;
#[cfg(feature = "run")]
pub mod run;
#[cfg(feature = "run")]
mod supervise;
#[cfg(feature = "run")]
pub mod tls;
