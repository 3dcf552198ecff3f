//! What a cluster is doing, without asking its API server.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Error;
use crate::files;
use crate::host;
use crate::instance::Node;
use crate::ledger::Change;
use crate::options::{Options, PortMap};
use crate::process::Process;
use crate::services::Service;
use crate::supervise::{self, Record, State};

/// A cluster as seen from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its nodes, those that were ever started.
    pub nodes: Vec<NodeStatus>,
    /// How an administrator reaches it.
    pub kubeconfig: PathBuf,
    /// Ports published on the host.
    pub ports: Vec<PortMap>,
    /// What is changed on the host for it.
    pub host_changes: Vec<Change>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its first process, by the host's process ids; none if it is off.
    pub process: Option<Process>,
    /// Its services. Process ids are the node's own.
    pub services: Vec<Record>,
    /// The directory of its logs.
    pub logs: PathBuf,
}

impl Status {
    /// Do all nodes run?
    pub fn is_running(&self) -> bool {
        !self.nodes.is_empty() && self.nodes.iter().all(|node| node.process.is_some())
    }
}

/// Look at a cluster.
pub fn status(options: &Options) -> Result<Status, Error> {
    let layout = options.layout();
    let nodes = Node::all(Node::MOST)
        .map(|node| (node, layout.node(node)))
        .filter(|(_, layout)| layout.root().exists())
        .map(|(node, layout)| {
            let process = host::first_process(&layout.process());
            let services = process.map(records).unwrap_or_default();
            NodeStatus { name: node.to_string(), process, services, logs: layout.logs() }
        })
        .collect();
    Ok(Status {
        nodes,
        kubeconfig: layout.admin_kubeconfig(),
        ports: crate::outside::published(options)?,
        host_changes: crate::ledger::host_changes(options)?,
    })
}

/// Do all services of a node run as configured? If not, the first that does not.
pub(crate) fn settled(options: &Options, node: Node) -> Result<(), String> {
    let layout = options.layout().node(node);
    let wanted =
        files::read(&layout.config().join(supervise::SERVICES)).map_err(|error| error.to_string())?;
    let wanted: Vec<Service> = serde_json::from_str(&wanted).map_err(|error| error.to_string())?;
    let records = host::first_process(&layout.process()).map(records).unwrap_or_default();
    for service in wanted {
        let runs =
            |record: &Record| record.service == service && matches!(record.state, State::Running { .. });
        if !records.iter().any(runs) {
            return Err(format!("{} does not run yet", service.name));
        }
    }
    Ok(())
}

fn records(first: Process) -> Vec<Record> {
    files::read_if_there(&supervise::state_file(first))
        .ok()
        .flatten()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// The first service that does not run as it should, and the last it said.
pub(crate) fn trouble(options: &Options) -> Option<String> {
    let status = status(options).ok()?;
    for node in &status.nodes {
        for record in &node.services {
            let name = &record.service.name;
            let said = || last_line(&node.logs.join(format!("{name}.log"))).unwrap_or_default();
            match &record.state {
                State::Resting { how } => {
                    return Some(format!("{name} on {} ended ({how}): {}", node.name, said()));
                }
                State::Running { .. } if record.restarts > 0 => {
                    return Some(format!(
                        "{name} on {} was restarted {} times: {}",
                        node.name,
                        record.restarts,
                        said()
                    ));
                }
                State::Running { .. } | State::Waiting { .. } => {}
            }
        }
    }
    None
}

/// The last line of a log that is not empty.
pub(crate) fn last_line(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4096))).ok()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok()?;
    String::from_utf8_lossy(&text)
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("x.log");
        std::fs::write(&log, "a\nwhy\n\n").unwrap();
        assert_eq!(last_line(&log).as_deref(), Some("why"));
        assert_eq!(last_line(&directory.path().join("none")), None);
    }
}
