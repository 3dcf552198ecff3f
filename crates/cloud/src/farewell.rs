//! What a cloud has on its nodes goes through its own services, before those go: a server that nobody deletes runs on,
//! and the next cloud's nova-compute refuses a node with servers that are not its own.
//!
//! Sources: Compute API ("List Servers Detailed", "Delete Server", "List Compute Services"); `nova/compute/api.py`
//! (`_delete`: a server whose compute does not report is deleted in the database alone, and its guest runs on).

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::engine::{Actor, Api, Call, Method, list};
use crate::health::{Computes, NovaService};
use crate::service::Service;
use crate::session::Error;

/// The servers that still exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// How many are being deleted.
    pub going: usize,
    /// How many wait for their compute.
    pub waiting: usize,
    /// The hosts whose nova-compute does not report: deleted now, their servers would run on.
    pub silent: BTreeSet<String>,
}

impl Left {
    /// Whether there is no server any more.
    pub fn none(&self) -> bool {
        self.going + self.waiting == 0
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.going > 0 {
            write!(f, "servers being deleted: {}", self.going)?;
        }
        if self.waiting > 0 {
            let and = if self.going > 0 { "; " } else { "" };
            let hosts = self.silent.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            write!(f, "{and}servers that wait until nova-compute reports from {hosts}: {}", self.waiting)?;
        }
        Ok(())
    }
}

/// Ask for the deletion of every server of every project whose compute can do it; returns what there still is.
///
/// # Errors
/// Nova does not answer, or refuses.
pub async fn delete_servers<A: Api>(api: &A) -> Result<Left, Error> {
    let all = Call::get(Service::Compute, "/v2.1/servers/detail").query("all_tenants", "1");
    let servers = list(api, &Actor::Admin, &all, "servers").await?;
    let mut left = Left::default();
    if servers.is_empty() {
        return Ok(left);
    }
    let services = Computes::services(api).await?;
    for server in &servers {
        if let Some(host) = silent_host(server, &services) {
            left.waiting += 1;
            left.silent.insert(host.to_owned());
            continue;
        }
        left.going += 1;
        let Some(id) = server.get("id").and_then(Value::as_str) else { continue };
        let delete = Call::new(Service::Compute, Method::Delete, format!("/v2.1/servers/{id}"));
        match api.send(&Actor::Admin, &delete).await {
            // It went meanwhile.
            Err(error) if error.status() == Some(404) => {}
            answer => {
                answer?;
            }
        }
    }
    Ok(left)
}

/// The host of a server, if its nova-compute does not report. A server that no host has yet needs none.
fn silent_host<'a>(server: &'a Value, services: &[NovaService]) -> Option<&'a str> {
    let host = server.get("OS-EXT-SRV-ATTR:host")?.as_str()?;
    let reports = services.iter().any(|service| service.host == host && service.state == "up");
    (!reports).then_some(host)
}
