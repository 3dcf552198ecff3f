//! Questions about a running cloud: does an API answer, is a compute host up, is a server up, what is on its console.
//!
//! Sources: Compute API ("Compute services", "Hypervisors", "Servers", "Server consoles", "Servers - run an action":
//! `os-getConsoleOutput`), Networking API ("Network agents"), Placement API ("Allocation candidates").

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::content::spec::Qualified;
use crate::engine::{Actor, Api, Call, Method, list};
use crate::service::Service;
use crate::session::{Error, Session};

/// An API that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The newest version that it offers, such as `v3.14` or `v2.1`.
    pub id: String,
    /// The newest microversion, if it has those.
    pub microversion: Option<String>,
}

/// Ask an API for its version document, without a token and without retries.
///
/// # Errors
/// It does not answer, or something else answers at its address.
pub async fn api(session: &Session, service: Service) -> Result<Version, Error> {
    let root = session.endpoint(service).await?;
    let reply = session.ask(service, &root, "/").await?;
    newest(&reply.body).ok_or_else(|| Error::Answer {
        service,
        method: Method::Get.as_str(),
        path: "/".to_owned(),
        what: "it is not a version document".to_owned(),
    })
}

/// The newest version in a version document: `versions` is a list (Nova, Glance, Neutron, Placement) or has `values`
/// (Keystone).
fn newest(document: &Value) -> Option<Version> {
    let versions = document.get("versions")?;
    let list = versions.as_array().or_else(|| versions.get("values")?.as_array())?;
    let current = list.iter().find(|version| version.get("status").is_some_and(|status| status == "CURRENT"));
    let version = current.or_else(|| list.first())?;
    let text = |name: &str| version.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let microversion = text("max_version").or_else(|| text("version"));
    Some(Version { id: text("id")?.to_owned(), microversion: microversion.map(str::to_owned) })
}

/// A service of Nova on a host (`GET /os-services`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NovaService {
    /// Such as `nova-compute`.
    pub binary: String,
    /// The host's name.
    pub host: String,
    /// `up` or `down`: whether it reported lately.
    pub state: String,
    /// `enabled` or `disabled`.
    pub status: String,
    /// Why it is disabled.
    #[serde(default)]
    pub disabled_reason: Option<String>,
}

/// An agent of Neutron on a host (`GET /v2.0/agents`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Agent {
    /// Such as `OVN Controller agent`.
    pub agent_type: String,
    /// The host's name.
    pub host: String,
    /// Whether it reported lately.
    pub alive: bool,
}

/// What is known of the compute hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Computes {
    /// Services of Nova.
    pub services: Vec<NovaService>,
    /// Hosts that are mapped to a cell: Nova lists no hypervisor of a host that is not.
    pub mapped: BTreeSet<String>,
    /// Agents of Neutron.
    pub agents: Vec<Agent>,
}

/// How one compute host stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compute {
    /// It takes servers.
    Ready,
    /// It does not, for this reason.
    NotReady(String),
}

impl Computes {
    /// Look at all of them.
    pub async fn observe<A: Api>(api: &A) -> Result<Self, Error> {
        let get = |service, path: &str| Call::get(service, path);
        let (hypervisors, agents) =
            (get(Service::Compute, "/v2.1/os-hypervisors/detail"), get(Service::Network, "/v2.0/agents"));
        let (services, hypervisors, agents) = futures::try_join!(
            Self::services(api),
            list(api, &Actor::Admin, &hypervisors, "hypervisors"),
            list(api, &Actor::Admin, &agents, "agents"),
        )?;
        let host = |hypervisor: &Value| Some(hypervisor.pointer("/service/host")?.as_str()?.to_owned());
        Ok(Self {
            services,
            mapped: hypervisors.iter().filter_map(host).collect(),
            agents: agents.into_iter().filter_map(|agent| serde_json::from_value(agent).ok()).collect(),
        })
    }

    /// The nova-computes alone.
    pub async fn services<A: Api>(api: &A) -> Result<Vec<NovaService>, Error> {
        let call = Call::get(Service::Compute, "/v2.1/os-services").query("binary", "nova-compute");
        let services = list(api, &Actor::Admin, &call, "services").await?;
        Ok(services.into_iter().filter_map(|service| serde_json::from_value(service).ok()).collect())
    }

    /// How one host stands.
    pub fn host(&self, host: &str) -> Compute {
        let service =
            self.services.iter().find(|service| service.binary == "nova-compute" && service.host == host);
        let reason = match service {
            None => format!("nova-compute on {host} has not reported yet"),
            Some(service) if service.state != "up" => format!("nova-compute on {host} is down"),
            Some(service) if service.status != "enabled" => {
                let why = service.disabled_reason.as_deref().unwrap_or("no reason given");
                format!("nova-compute on {host} is disabled ({why})")
            }
            Some(_) if !self.mapped.contains(host) => format!("{host} is not mapped to a cell yet"),
            Some(_) => match self.binder(host) {
                None => format!("no network agent on {host} has reported yet"),
                Some(agent) if !agent.alive => format!("{} on {host} is down", agent.agent_type),
                Some(_) => return Compute::Ready,
            },
        };
        Compute::NotReady(reason)
    }

    /// The hosts that take servers, or why none does.
    ///
    /// # Errors
    /// The reasons of all hosts.
    pub fn ready(&self) -> Result<Vec<String>, String> {
        let mut ready = Vec::new();
        let mut reasons = Vec::new();
        for service in &self.services {
            match self.host(&service.host) {
                Compute::Ready => ready.push(service.host.clone()),
                Compute::NotReady(reason) => reasons.push(reason),
            }
        }
        match (ready.is_empty(), reasons.is_empty()) {
            (false, _) => Ok(ready),
            (true, false) => Err(reasons.join("; ")),
            (true, true) => Err("no nova-compute has reported yet".to_owned()),
        }
    }

    /// The agent that binds ports on a host: without it a server's network fails and the server with it.
    fn binder(&self, host: &str) -> Option<&Agent> {
        let binds = |agent: &&Agent| {
            agent.host == host
                && (agent.agent_type.starts_with("OVN Controller")
                    || agent.agent_type == "Open vSwitch agent")
        };
        self.agents.iter().filter(binds).max_by_key(|agent| agent.alive)
    }
}

/// Why no server of this size can be made now; none when one can. Asked before a server is created, because a server
/// that finds no host ends in error for good.
pub async fn room<A: Api>(api: &A, vcpus: u32, ram_mib: u32, disk_gib: u32) -> Result<Option<String>, Error> {
    if let Err(reason) = Computes::observe(api).await?.ready() {
        return Ok(Some(reason));
    }
    // What the scheduler asks, too. Placement refuses amounts of 0.
    let amounts = [("VCPU", vcpus), ("MEMORY_MB", ram_mib), ("DISK_GB", disk_gib)];
    let wanted: Vec<String> = amounts
        .iter()
        .filter(|(_, amount)| *amount > 0)
        .map(|(class, amount)| format!("{class}:{amount}"))
        .collect();
    let call = Call::get(Service::Placement, "/allocation_candidates")
        .query("resources", wanted.join(","))
        .query("limit", "1");
    let found = list(api, &Actor::Admin, &call, "allocation_requests").await?;
    Ok(found.is_empty().then(|| format!("no compute host has room for {}", wanted.join(", "))))
}

/// A server as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// Its id.
    pub id: String,
    /// `ACTIVE`, `BUILD`, `ERROR`, `SHUTOFF` ...
    pub status: String,
    /// Why it is in error.
    pub fault: Option<String>,
    /// Its addresses, fixed and floating.
    pub addresses: Vec<String>,
}

/// Look for a server by name in the session's project.
pub async fn server(session: &Session, name: &str) -> Result<Option<ServerStatus>, Error> {
    let call = Call::get(Service::Compute, "/v2.1/servers/detail").query("name", exactly(name));
    let body = session.send(&call).await?.body;
    let servers = body.get("servers").and_then(Value::as_array);
    let found =
        servers.into_iter().flatten().find(|server| server.get("name").is_some_and(|found| found == name));
    Ok(found.map(|server| {
        let text = |pointer: &str| server.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let networks = server.get("addresses").and_then(Value::as_object);
        let addresses =
            networks.into_iter().flat_map(|networks| networks.values()).filter_map(Value::as_array).flatten();
        ServerStatus {
            id: text("/id").unwrap_or_default(),
            status: text("/status").unwrap_or_default(),
            fault: text("/fault/message"),
            addresses: addresses
                .filter_map(|address| Some(address.get("addr")?.as_str()?.to_owned()))
                .collect(),
        }
    }))
}

/// The last lines of a server's console.
pub async fn console_log(session: &Session, server: &str, lines: u32) -> Result<String, Error> {
    let call = Call::new(Service::Compute, Method::Post, format!("/v2.1/servers/{server}/action"))
        .body(json!({"os-getConsoleOutput": {"length": lines}}));
    let body = session.send(&call).await?.body;
    text_of(&call, &body, "/output")
}

/// An address at which a browser sees a server's screen, for as long as Nova's token lasts.
pub async fn console_url(session: &Session, server: &str) -> Result<String, Error> {
    let call = Call::new(Service::Compute, Method::Post, format!("/v2.1/servers/{server}/remote-consoles"))
        .body(json!({"remote_console": {"protocol": "vnc", "type": "novnc"}}));
    let body = session.send(&call).await?.body;
    text_of(&call, &body, "/remote_console/url")
}

fn text_of(call: &Call, body: &Value, pointer: &str) -> Result<String, Error> {
    body.pointer(pointer).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| Error::Answer {
        service: call.service,
        method: call.method.as_str(),
        path: call.path.clone(),
        what: format!("it has no {pointer}"),
    })
}

/// Nova takes the filter `name` as a regular expression.
fn exactly(name: &str) -> String {
    crate::content::exact_pattern(name)
}

/// Which project a user acts in, for callers that build a session of a user.
pub fn actor(user: &Qualified, project: &Qualified) -> Actor {
    Actor::User { user: user.clone(), project: project.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn computes(state: &str, status: &str, mapped: bool, alive: Option<bool>) -> Computes {
        Computes {
            services: vec![NovaService {
                binary: "nova-compute".to_owned(),
                host: "node1".to_owned(),
                state: state.to_owned(),
                status: status.to_owned(),
                disabled_reason: None,
            }],
            mapped: mapped.then(|| "node1".to_owned()).into_iter().collect(),
            agents: alive
                .map(|alive| Agent {
                    agent_type: "OVN Controller Gateway agent".to_owned(),
                    host: "node1".to_owned(),
                    alive,
                })
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn a_host_is_ready_when_all_of_it_is() {
        assert_eq!(computes("up", "enabled", true, Some(true)).ready(), Ok(vec!["node1".to_owned()]));
        let reason = |computes: Computes| computes.ready().unwrap_err();
        assert_eq!(reason(Computes::default()), "no nova-compute has reported yet");
        assert_eq!(reason(computes("down", "enabled", true, Some(true))), "nova-compute on node1 is down");
        assert!(reason(computes("up", "disabled", true, Some(true))).contains("disabled"));
        assert_eq!(reason(computes("up", "enabled", false, Some(true))), "node1 is not mapped to a cell yet");
        assert!(reason(computes("up", "enabled", true, None)).contains("no network agent on node1"));
        assert_eq!(
            reason(computes("up", "enabled", true, Some(false))),
            "OVN Controller Gateway agent on node1 is down"
        );
        assert_eq!(
            Computes::default().host("node2"),
            Compute::NotReady("nova-compute on node2 has not reported yet".to_owned())
        );
    }

    #[test]
    fn version_documents_of_all_services_are_read() {
        let id = |document: Value| newest(&document).map(|version| version.id);
        assert_eq!(
            id(json!({"versions": {"values": [{"id": "v3.14", "status": "stable"}]}})),
            Some("v3.14".to_owned())
        );
        let nova = json!({"versions": [{"id": "v2.0", "status": "SUPPORTED", "version": ""},
            {"id": "v2.1", "status": "CURRENT", "version": "2.100"}]});
        assert_eq!(
            newest(&nova),
            Some(Version { id: "v2.1".to_owned(), microversion: Some("2.100".to_owned()) })
        );
        let placement = json!({"versions": [{"id": "v1.0", "max_version": "1.39", "status": "CURRENT"}]});
        assert_eq!(newest(&placement).and_then(|version| version.microversion), Some("1.39".to_owned()));
        assert_eq!(newest(&json!({"hello": 1})), None);
    }
}
