//! Why a cloud is not ready: pure functions of what its status, pods, nodes, events and logs say.
//!
//! # Flow
//! [`pods`] and [`nodes`] read what Kubernetes' objects say. [`trouble`] is the one classifier of what is wrong with a pod:
//! the operator puts its reason and words into the status, `oaas why` puts a log line and advice beside it ([`finding`]).
//! [`clues`] knows what lines of logs mean. [`chain`] follows what the operator publishes (on what each part of a cloud waits)
//! down to the parts that are not ready because of themselves.
//!
//! # Guarantees
//! No I/O and no clock; nobody but the operator decides on what a part waits, and it says so in the status.

pub mod chain;
pub mod clues;
pub mod facts;
pub mod finding;
pub mod nodes;
pub mod pods;
pub mod trouble;
