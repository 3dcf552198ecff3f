//! `oaas`, the command line: one file per command, one reporter for every error, one tree for all progress.
//!
//! # Flow
//! [`entry`] looks whether the program was started as one of its other selves (a node's first process, the agent in a
//! pod); else [`args`] parses, [`run`] runs the command and [`report`] tells how it went wrong.
//!
//! # Guarantees
//! stdout carries the answer, stderr progress and errors, in text and in JSON alike. The exit code is
//! [`oaas_feedback::Kind::exit_code`]. An interrupt ends the command with 130 at its next waiting point, and the same
//! command goes on where it stopped.

pub mod args;
pub mod bringup;
pub mod client;
pub mod clouds;
pub mod commands;
pub mod context;
pub mod directories;
pub mod entry;
pub mod external;
pub mod fit;
pub mod global;
pub mod guest;
pub mod host;
pub mod kubernetes;
pub mod lock;
pub mod names;
pub mod progress;
pub mod reach;
pub mod report;
pub mod run;
pub mod silence;
pub mod table;
pub mod wanted;
pub mod why;
