//! When a component has started, is alive, is ready: what its file says where it differs from what suits its role.

use oaas_agent_config::Check;
use serde::Deserialize;

use crate::template::Template;

/// What a component's checks are. Where nothing is said, its role knows: the agent's own ones their daemons, a WSGI
/// application its API, and what is on the message bus that.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// The agent's port; each component on the host's network needs its own.
    pub port: u16,
    /// It is asked over HTTP.
    pub get: Option<Get>,
    /// It has no port: it is seen to work.
    pub progress: Option<Progress>,
    /// What all three ask.
    pub all: Option<Template<Vec<Check>>>,
    /// Until these hold, the others are not asked.
    pub startup: Option<Template<Vec<Check>>>,
    /// While these fail, the container is restarted.
    pub live: Option<Template<Vec<Check>>>,
    /// While these fail, no traffic comes.
    pub ready: Option<Template<Vec<Check>>>,
    /// Seconds that starting may take before it counts as hung.
    pub startup_seconds: Option<u32>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            port: 9100,
            get: None,
            progress: None,
            all: None,
            startup: None,
            live: None,
            ready: None,
            startup_seconds: None,
        }
    }
}

impl Health {
    /// The lists of checks that it says, by the name of their field.
    pub fn lists(&self) -> impl Iterator<Item = (&'static str, &Template<Vec<Check>>)> {
        let all =
            [("all", &self.all), ("startup", &self.startup), ("live", &self.live), ("ready", &self.ready)];
        all.into_iter().filter_map(|(name, list)| Some((name, list.as_ref()?)))
    }
}

/// A GET of its own port, over TLS as the port has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Get {
    /// The path.
    pub path: String,
    /// The port, by name; the first where none is named.
    pub port: Option<String>,
    /// Statuses that are good.
    pub statuses: Vec<u16>,
}

impl Default for Get {
    fn default() -> Self {
        Self { path: "/".to_owned(), port: None, statuses: vec![200] }
    }
}

/// Processes without a port of their own: they are not stopped, do something, and are connected to what they need.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Progress {
    /// The component to whose first port they hold a connection.
    pub to: Option<String>,
    /// Seconds without any work after which they count as hung.
    pub still_seconds: u64,
}

impl Default for Progress {
    /// Who is on the message bus wakes up many times within that, for its heart-beat.
    fn default() -> Self {
        Self { to: None, still_seconds: 40 }
    }
}
