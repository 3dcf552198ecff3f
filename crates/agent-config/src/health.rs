//! Where and how the agent answers probes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::check::Check;

/// The probes' server: plain HTTP with `/startup`, `/live`, `/ready` (200 or 503 with a JSON list of failing checks and
/// why) and `/status` (what the role reports, for the operator and for other members).
///
/// Whatever the checks say: `/startup` and `/ready` fail until the role's programs run, `/ready` fails while they stop,
/// and `/live` succeeds as long as the role knowingly prepares, waits or stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// TCP port.
    pub port: u16,
    /// Address to listen on; all addresses (v6 and v4) when not set. A pod on the host network names the node's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<IpAddr>,
    /// Checks that must succeed once before the others count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub startup: Vec<Check>,
    /// Checks whose failure restarts the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live: Vec<Check>,
    /// Checks whose failure only takes the pod out of its Services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ready: Vec<Check>,
}
