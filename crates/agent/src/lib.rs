//! The one helper that runs inside pods.
//!
//! The command of every workload is `oaas agent run --config FILE`. The agent is the parent of the real process: it
//! prepares what the process needs, starts it, forwards signals, reaps, answers probes and exits with its exit code.
//! Roles that form clusters (MariaDB, RabbitMQ, OVN) know more; each is a state machine of pure functions.
//!
//! What `agent.json` holds is the crate `oaas-agent-config`, which the catalog and planning share.

pub mod checks;
pub mod config_file;
pub mod context;
pub mod error;
mod follow;
mod health;
mod memory;
pub mod mysql;
pub mod prepare;
pub mod program;
mod python;
mod reap;
pub mod roles;
pub mod run;
mod supervise;
pub mod tls;
