//! Ensures what lies inside a running cloud: registrations in the identity service and declared content.
//!
//! Each pass is one action of the engine ([`crate::actions`]): asked for at every reconciliation, done once, done again
//! after [`AGAIN`] so that what somebody removes comes back. What the last passes found is kept per cloud ([`Inside`]),
//! since a pass that is under way must not make what was ready look unready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oaas_api::status::ServerSummary;
use oaas_cloud::content::{Content, Given, Qualified};
use oaas_cloud::engine::{self, Item, Key, Kind, Report, State};
use oaas_cloud::identity::{self, Catalog};
use oaas_cloud::session::{Config, Error, Identity, Interface, Limits, Scope, Session, Sessions};
use oaas_cloud::{Secret, content, farewell, retire};
use oaas_feedback::Task;
use oaas_plan::ApiPlan;

/// After how long what is in place is looked at again.
pub const AGAIN: Duration = Duration::from_mins(1);
/// After how long what is not in place is tried again.
pub const SOON: Duration = Duration::from_millis(800);
/// How long a pass may take: uploads of images included.
pub const LIMIT: Duration = Duration::from_mins(30);

/// How the identity service of a cloud is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Where, and as whom.
    pub identity: ApiPlan,
    /// The administrator's password.
    pub password: Secret,
    /// The cloud's authority, PEM.
    pub authority: String,
}

/// What services need of the identity service, with the hash of each service's part.
#[derive(Debug, Clone, PartialEq)]
pub struct Registrations {
    /// What is registered.
    pub catalog: Catalog,
    /// Service → hash of what is wanted of it.
    pub hashes: BTreeMap<String, String>,
    /// Users that services acted as and act as no more.
    pub former: Vec<Qualified>,
}

/// The declared content and what it refers to.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// The content.
    pub content: Content,
    /// Passwords and keys.
    pub given: Given,
}

/// What the last passes found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Services whose registration is in place: name → hash of what was wanted.
    pub registered: BTreeMap<String, String>,
    /// What of the registrations is not in place, and why.
    pub unregistered: Vec<String>,
    /// Does the identity service refuse the administrator's password? What to do, if so.
    pub locked_out: Option<String>,
    /// What of the content is not in place, and why.
    pub missing: Vec<String>,
    /// Is all declared content in place?
    pub content_settled: bool,
    /// Declared servers.
    pub servers: Vec<ServerSummary>,
}

/// What is kept of one cloud between passes.
#[derive(Debug, Default)]
pub struct Inside {
    seen: Mutex<Seen>,
    sessions: Mutex<Option<(Access, Arc<Sessions>)>>,
}

impl Inside {
    /// What the last passes found.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Register services. What is not in place yet is the error.
    pub async fn register(&self, access: &Access, wanted: &Registrations) -> Result<(), String> {
        let mut locked_out = None;
        let result = async {
            let sessions = self.sessions(access)?;
            let report = apply(&identity::items(&wanted.catalog), &sessions).await.map_err(|failed| {
                locked_out = locked(&failed, access);
                failed.line()
            })?;
            if report.settled() {
                let gone = retire::delete_users(sessions.as_ref(), &wanted.former).await;
                gone.map_err(|error| error.line())?;
            }
            Ok(report)
        };
        let result: Result<Report, String> = result.await;
        if result.as_ref().is_ok_and(|report| !report.untouched()) {
            // A token carries the catalog of the moment when it was issued: the next pass needs a new one.
            *self.sessions.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let (open, registered) = match result {
            Ok(report) if report.settled() => (Vec::new(), wanted.hashes.clone()),
            Ok(report) => (report.open().map(ToString::to_string).collect(), BTreeMap::new()),
            Err(error) => (vec![error], BTreeMap::new()),
        };
        self.note(|seen| {
            seen.unregistered.clone_from(&open);
            seen.locked_out = locked_out;
            // What was in place stays so until something else is wanted: an identity service that is away for a moment
            // does not undo it.
            if open.is_empty() {
                seen.registered = registered;
            }
        });
        if open.is_empty() { Ok(()) } else { Err(open.join("; ")) }
    }

    /// Ensure the declared content. What is not in place yet is the error.
    pub async fn furnish(&self, access: &Access, declared: &Declared) -> Result<(), String> {
        let result = async {
            let sessions = self.sessions(access)?;
            sessions.set_passwords(declared.given.passwords.clone());
            let items = content::items(&declared.content, &declared.given).map_err(|problems| {
                problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            })?;
            apply(&items, &sessions).await.map_err(|failed| failed.line())
        };
        let (open, servers) = match result.await {
            Ok(report) => {
                (report.open().map(ToString::to_string).collect(), Some(servers(&declared.content, &report)))
            }
            Err(error) => (vec![error], None),
        };
        self.note(|seen| {
            seen.content_settled = open.is_empty();
            seen.missing.clone_from(&open);
            if let Some(servers) = servers {
                seen.servers = servers;
            }
        });
        if open.is_empty() { Ok(()) } else { Err(open.join("; ")) }
    }

    /// Delete every server. Those that still exist are the error.
    pub async fn farewell(&self, access: &Access) -> Result<(), String> {
        let sessions = self.sessions(access)?;
        match farewell::delete_servers(sessions.as_ref()).await {
            Ok(left) if left.none() => Ok(()),
            Ok(left) => Err(left.to_string()),
            Err(error) => Err(error.line()),
        }
    }

    fn sessions(&self, access: &Access) -> Result<Arc<Sessions>, String> {
        let mut kept = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((same, sessions)) = kept.as_ref()
            && same == access
        {
            return Ok(Arc::clone(sessions));
        }
        let user = Qualified::from(access.identity.user.as_str());
        let session = Session::new(Config {
            auth_url: access.identity.url.clone(),
            identity: Identity {
                scope: Scope::Project(user.clone()),
                user,
                password: access.password.clone(),
            },
            region: Some(access.identity.region.clone()),
            interface: Interface::Internal,
            endpoints: BTreeMap::new(),
            ca_pem: Some(access.authority.clone().into_bytes()),
            limits: Limits::default(),
        });
        let session = session.map_err(|error| error.line())?;
        let sessions = Arc::new(Sessions::new(session, BTreeMap::new()));
        *kept = Some((access.clone(), Arc::clone(&sessions)));
        Ok(sessions)
    }
}

/// What to do when the identity service refuses the administrator's password: somebody changed it.
fn locked(error: &Error, access: &Access) -> Option<String> {
    let Error::Login { .. } = error else { return None };
    let secret = &access.identity.secret;
    let name = secret.rsplit_once("-g").map_or(secret.as_str(), |(name, _)| name);
    Some(format!(
        "the identity service refuses the password of {} that the Secret {secret} holds: was it changed by hand? \
         `oaas rotate {name}` sets a new one, which `oaas credentials` prints",
        access.identity.user
    ))
}

async fn apply(items: &[Item], sessions: &Sessions) -> Result<Report, Error> {
    let report = engine::apply(items, sessions, &engine::Options::default(), &Task::silent()).await?;
    for item in report.items.iter().filter(|item| !matches!(item.state, State::Unchanged)) {
        tracing::info!(%item, "cloud");
    }
    Ok(report)
}

/// Declared servers with their state and addresses, as the pass found them.
fn servers(declared: &Content, report: &Report) -> Vec<ServerSummary> {
    declared
        .servers
        .iter()
        .map(|server| {
            let fact = |kind: Kind, name: &str| {
                let key = Key::new(kind, [server.project.to_string(), server.name.clone()]);
                report.items.iter().find(|item| item.key == key)?.facts.get(name).cloned()
            };
            ServerSummary {
                name: server.name.clone(),
                project: Some(server.project.to_string()),
                status: fact(Kind::Server, "status").unwrap_or_else(|| "absent".into()),
                address: fact(Kind::Server, "address"),
                floating_ip: fact(Kind::FloatingIp, "address"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_has_its_own_addresses_and_no_other_s() {
        let server = |name: &str| json!({"name": name, "user": "demo", "project": "demo", "flavor": "f", "image": "i", "networks": ["n"]});
        let content: Content =
            serde_json::from_value(json!({"servers": [server("vm"), server("vm-2")]})).expect("content");
        let outcome = |kind, name: &str, facts: &[(&str, &str)]| engine::Outcome {
            key: Key::new(kind, ["demo", name]),
            state: State::Unchanged,
            id: None,
            facts: facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        // The one whose name contains the other's comes first.
        let report = Report {
            items: vec![
                outcome(Kind::Server, "vm-2", &[("status", "ACTIVE"), ("address", "172.16.0.2")]),
                outcome(Kind::FloatingIp, "vm-2", &[("address", "192.168.100.2")]),
                outcome(Kind::Server, "vm", &[("status", "SHUTOFF"), ("address", "172.16.0.1")]),
            ],
        };
        let found = servers(&content, &report);
        assert_eq!((found[0].status.as_str(), found[0].address.as_deref()), ("SHUTOFF", Some("172.16.0.1")));
        assert_eq!(found[0].floating_ip, None);
        assert_eq!(found[1].address.as_deref(), Some("172.16.0.2"));
        assert_eq!(found[1].floating_ip.as_deref(), Some("192.168.100.2"));
    }
}
