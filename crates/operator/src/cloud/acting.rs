//! Ensures what lies inside a running cloud: registrations in the identity service and declared content.
//!
//! # Flow
//! A reconciliation says what it wants ([`Acting::want`]) and reads what was found the last time ([`Acting::seen`]);
//! it never waits. A task of the cloud's own makes the passes, one at a time, and calls for a reconciliation after each
//! that found something new. What is in place is looked at again every [`AGAIN`], so that what somebody removes comes back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oaas_api::status::ServerSummary;
use oaas_cloud::content::{Content, Given, Qualified};
use oaas_cloud::engine::{self, Item, Kind, Report, State};
use oaas_cloud::identity::{self, Catalog};
use oaas_cloud::session::{Config, Identity, Interface, Limits, Scope, Session, Sessions};
use oaas_cloud::{Secret, content};
use oaas_feedback::Task;
use oaas_plan::ApiPlan;
use tokio::sync::{mpsc::UnboundedSender, watch};
use tokio::task::JoinHandle;

/// After how long what is in place is looked at again.
pub const AGAIN: Duration = Duration::from_secs(60);
/// After how long what is not in place is tried again.
const SOON: Duration = Duration::from_millis(1500);

/// What is wanted inside a cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// How the identity service is reached.
    pub identity: ApiPlan,
    /// The administrator's password.
    pub password: Secret,
    /// The cloud's authority, PEM.
    pub authority: String,
    /// What services need of the identity service, with the hash of each service's part; nothing while its gate is shut.
    pub registrations: Option<(Catalog, BTreeMap<String, String>)>,
    /// The declared content; nothing while its gate is shut.
    pub content: Option<(Content, Given)>,
}

/// What the last passes found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Services whose registration is in place: name → hash of what was wanted.
    pub registered: BTreeMap<String, String>,
    /// What of the registrations or the content is not in place, and why.
    pub open: Vec<String>,
    /// Is all declared content in place?
    pub content_settled: bool,
    /// Declared servers.
    pub servers: Vec<ServerSummary>,
}

/// The task that acts in one cloud.
pub struct Acting {
    wanted: watch::Sender<Option<Wanted>>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Acting {
    /// Start the task; each pass with news sends `concern`.
    pub fn start<C: Clone + Send + Sync + 'static>(concern: C, concerns: UnboundedSender<C>) -> Self {
        let (wanted, receiver) = watch::channel(None);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let result = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            run(receiver, &result, || {
                // The receiver ends only with the operator.
                let _ = concerns.send(concern.clone());
            })
            .await;
        });
        Self { wanted, seen, task }
    }

    /// Say what is wanted now.
    pub fn want(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|held| {
            let changed = held.as_ref() != Some(&wanted);
            if changed {
                *held = Some(wanted);
            }
            changed
        });
    }

    /// What the last passes found.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut wanted: watch::Receiver<Option<Wanted>>, result: &Mutex<Seen>, news: impl Fn()) {
    let mut sessions: Option<(ApiPlan, Secret, Arc<Sessions>)> = None;
    loop {
        let now = wanted.borrow_and_update().clone();
        let pause = match now {
            None => None,
            Some(now) => {
                let before = result.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let seen = pass(&now, &mut sessions, &before).await;
                let settled = seen.open.is_empty();
                if seen != before {
                    *result.lock().unwrap_or_else(PoisonError::into_inner) = seen;
                    news();
                }
                Some(if settled { AGAIN } else { SOON })
            }
        };
        let changed = async {
            match pause {
                Some(pause) => tokio::time::timeout(pause, wanted.changed()).await.unwrap_or(Ok(())),
                None => wanted.changed().await,
            }
        };
        if changed.await.is_err() {
            return;
        }
    }
}

async fn pass(wanted: &Wanted, kept: &mut Option<(ApiPlan, Secret, Arc<Sessions>)>, before: &Seen) -> Seen {
    let mut seen = Seen { registered: before.registered.clone(), servers: before.servers.clone(), ..Seen::default() };
    if wanted.registrations.is_none() && wanted.content.is_none() {
        return seen;
    }
    let sessions = match sessions(wanted, kept) {
        Ok(sessions) => sessions,
        Err(error) => {
            seen.open.push(error);
            return seen;
        }
    };
    if let Some((catalog, hashes)) = &wanted.registrations {
        match apply(&identity::items(catalog), &sessions).await {
            Ok(report) if report.settled() => seen.registered.clone_from(hashes),
            Ok(report) => {
                seen.open.extend(report.open().map(ToString::to_string));
                return seen;
            }
            Err(error) => {
                seen.open.push(error);
                return seen;
            }
        }
    }
    if let Some((declared, given)) = &wanted.content {
        sessions.set_passwords(given.passwords.clone());
        let items = match content::items(declared, given) {
            Ok(items) => items,
            Err(problems) => {
                seen.open.extend(problems.iter().map(ToString::to_string));
                return seen;
            }
        };
        match apply(&items, &sessions).await {
            Ok(report) => {
                seen.content_settled = report.settled();
                seen.open.extend(report.open().map(ToString::to_string));
                seen.servers = servers(declared, &report);
            }
            Err(error) => seen.open.push(error),
        }
    }
    seen
}

async fn apply(items: &[Item], sessions: &Sessions) -> Result<Report, String> {
    let report = engine::apply(items, sessions, &engine::Options::default(), &Task::silent()).await;
    let report = report.map_err(|error| error.line())?;
    for item in report.items.iter().filter(|item| !matches!(item.state, State::Unchanged)) {
        tracing::info!(%item, "cloud");
    }
    Ok(report)
}

fn sessions(
    wanted: &Wanted,
    kept: &mut Option<(ApiPlan, Secret, Arc<Sessions>)>,
) -> Result<Arc<Sessions>, String> {
    if let Some((identity, password, sessions)) = kept
        && *identity == wanted.identity
        && *password == wanted.password
    {
        return Ok(Arc::clone(sessions));
    }
    let user = Qualified::from(wanted.identity.user.as_str());
    let session = Session::new(Config {
        auth_url: wanted.identity.url.clone(),
        identity: Identity {
            scope: Scope::Project(user.clone()),
            user,
            password: wanted.password.clone(),
        },
        region: Some(wanted.identity.region.clone()),
        interface: Interface::Internal,
        endpoints: BTreeMap::new(),
        ca_pem: Some(wanted.authority.clone().into_bytes()),
        limits: Limits::default(),
    });
    let session = session.map_err(|error| error.line())?;
    let sessions = Arc::new(Sessions::new(session, BTreeMap::new()));
    *kept = Some((wanted.identity.clone(), wanted.password.clone(), Arc::clone(&sessions)));
    Ok(sessions)
}

/// Declared servers with their state and addresses, as the pass found them.
fn servers(declared: &Content, report: &Report) -> Vec<ServerSummary> {
    declared
        .servers
        .iter()
        .map(|server| {
            let fact = |kind: Kind, name: &str| {
                let of_server = |item: &&engine::Outcome| item.key.kind == kind && item.key.name().contains(&server.name);
                report.items.iter().find(of_server).and_then(|item| item.facts.get(name).cloned())
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

