//! The configuration of the roles that work on a node, and of the checks that ask their daemons.

use serde::{Deserialize, Serialize};

/// A role that works on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {}

/// A question to a daemon of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeProbe {}
