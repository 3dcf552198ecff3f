//! The pass: look, ask, do. Several items at a time, each after what it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{FuturesUnordered, StreamExt};
use oaas_feedback::{Explain, Kind as ErrorKind, Task};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::api::{Api, list};
use super::decide::{Action, Decision, Verdict, decide};
use super::item::{Actor, Call, Gate, Item, Judge, Look, Step};
use super::key::{Ids, Key};
use super::order::order;
use super::report::{Outcome, Report, State};
use super::template::Unknown;
use crate::health;
use crate::service::Service;
use crate::session::Error;

/// How a pass is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many items are looked at or made at a time.
    pub concurrency: usize,
    /// Things that a ledger says were made by us ([`Report::created`] of earlier passes), for kinds that carry no
    /// mark of ours, such as keypairs. Without it those are never replaced.
    pub recorded: BTreeSet<Key>,
    /// An earlier report whose items, as far as they were in place, are taken to be so still, without looking: for
    /// short rounds while something waits (a server that boots). Leave it empty for a whole pass.
    pub trusted: Report,
}

impl Default for Options {
    fn default() -> Self {
        Self { concurrency: 8, recorded: BTreeSet::new(), trusted: Report::default() }
    }
}

/// Make one pass over the items: what is missing is made, what differs is corrected, what cannot be done is reported
/// with its reason. Failures of single items are in the report; they do not stop items that do not need them. A
/// service that does not answer is asked once: its other items wait.
///
/// # Errors
/// The administrator cannot log in, or the items contradict each other, so that there is no order to take them in.
pub async fn apply<A: Api>(items: &[Item], api: &A, options: &Options, task: &Task) -> Result<Report, Error> {
    let mut waiting = order(items)?;
    api.begin().await?;
    let pass = Pass::new(api, options, task);
    let mut outcomes: BTreeMap<&Key, Outcome> = BTreeMap::new();
    let mut running = FuturesUnordered::new();
    loop {
        waiting.retain(|at| {
            let item = &items[*at];
            let ready = item.all_needs().iter().all(|need| outcomes.contains_key(need));
            if running.len() >= options.concurrency.max(1) || !ready {
                return true;
            }
            let blocked = pass.blocked(item, &outcomes);
            let pass = &pass;
            running.push(async move {
                match blocked {
                    Some(reason) => Outcome::new(item, State::Waiting(reason)),
                    None => pass.item(item).await,
                }
            });
            false
        });
        let Some(outcome) = running.next().await else { break };
        let Some(item) = items.iter().find(|item| item.key == outcome.key) else { continue };
        if !matches!(outcome.state, State::Unchanged) {
            task.status(outcome.to_string());
        }
        outcomes.insert(&item.key, outcome);
        task.progress(outcomes.len() as u64, items.len() as u64, "items");
    }
    drop(running);
    Ok(Report { items: items.iter().filter_map(|item| outcomes.remove(&item.key)).collect() })
}

impl Outcome {
    fn new(item: &Item, state: State) -> Self {
        Self { key: item.key.clone(), state, id: None, facts: BTreeMap::new() }
    }
}

type Listed = Arc<OnceCell<Arc<Vec<Value>>>>;

struct Pass<'a, A> {
    api: &'a A,
    options: &'a Options,
    task: &'a Task,
    ids: Mutex<Ids>,
    created: Mutex<BTreeSet<Key>>,
    /// Lists that several items look at are fetched once in a pass.
    lists: Mutex<BTreeMap<(Actor, String), Listed>>,
    /// Services that did not answer, and how.
    silent: Mutex<BTreeMap<Service, String>>,
}

impl<'a, A: Api> Pass<'a, A> {
    fn new(api: &'a A, options: &'a Options, task: &'a Task) -> Self {
        Self {
            api,
            options,
            task,
            ids: Mutex::default(),
            created: Mutex::default(),
            lists: Mutex::default(),
            silent: Mutex::default(),
        }
    }

    /// Why an item cannot even be looked for: something that it needs is not there.
    fn blocked(&self, item: &Item, outcomes: &BTreeMap<&Key, Outcome>) -> Option<String> {
        let ids = guard(&self.ids);
        let missing = item.all_needs().into_iter().find(|need| !ids.contains_key(need))?;
        Some(match outcomes.get(&missing).map(|outcome| &outcome.state) {
            Some(State::Waiting(reason)) => format!("needs {missing}, which waits: {reason}"),
            Some(State::Failed { message, .. }) => format!("needs {missing}, which failed: {message}"),
            _ => format!("needs {missing}"),
        })
    }

    async fn item(&self, item: &Item) -> Outcome {
        let mut outcome = match self.trusted(item) {
            Some(outcome) => outcome,
            None => self.look_and_keep(item).await,
        };
        outcome.id = guard(&self.ids).get(&item.key).cloned();
        outcome
    }

    /// What an earlier pass said of an item, if that is to be believed.
    fn trusted(&self, item: &Item) -> Option<Outcome> {
        let earlier = self.options.trusted.items.iter().find(|outcome| outcome.key == item.key)?;
        let id = earlier.id.as_ref().filter(|_| Report::in_place(earlier))?;
        self.know(item, id);
        Some(Outcome { state: State::Unchanged, ..earlier.clone() })
    }

    async fn look_and_keep(&self, item: &Item) -> Outcome {
        let service = item.look.service();
        if let Some(reason) = guard(&self.silent).get(&service) {
            return Outcome::new(item, State::Waiting(reason.clone()));
        }
        let error = match self.keep(item).await {
            Ok(outcome) => return outcome,
            Err(error) => error,
        };
        if error.kind() != ErrorKind::NotReady {
            return Outcome::new(item, State::Failed { message: error.line(), hint: error.hint() });
        }
        if let Error::Connect { service, .. } | Error::TimedOut { service, .. } = &error {
            guard(&self.silent).insert(*service, error.line());
        }
        Outcome::new(item, State::Waiting(error.line()))
    }

    async fn keep(&self, item: &Item) -> Result<Outcome, Error> {
        let bytes = match &item.judge {
            Judge::Image(source) => self.api.checksum(source).await,
            Judge::Fields | Judge::Server => None,
        };
        let mut failed: Option<Error> = None;
        for round in 0..ROUNDS {
            let candidates = self.look(item, round > 0).await?;
            let decision = decide(item, &candidates, &self.ids(), &self.options.recorded, bytes.as_ref());
            if decision.verdict == Verdict::Create {
                match failed.take() {
                    // It was refused and is still not to be seen.
                    Some(error) if error.status() == Some(409) && item.conflict_is_presence => {
                        self.know(item, "present");
                        return Ok(Outcome::new(item, State::Unchanged));
                    }
                    Some(error) if !error.ambiguous() => return Err(error),
                    _ => {}
                }
                if let Some(reason) = self.closed(item).await? {
                    return Ok(Outcome::new(item, State::Waiting(reason)));
                }
            }
            let creates = decision.verdict == Verdict::Create;
            match self.perform(item, decision).await {
                Ok(outcome) if creates => return self.alone(item, outcome).await,
                Ok(outcome) => return Ok(outcome),
                // Somebody else may have made it at the same moment (Neutron says 400 to some of these), or the
                // answer was lost: look again, and adopt what is there.
                Err(error) if creates && round + 1 < ROUNDS && may_exist(&error) => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last round returns")
    }

    async fn look(&self, item: &Item, afresh: bool) -> Result<Arc<Vec<Value>>, Error> {
        match &item.look {
            Look::Password { user, password, of } => {
                let fresh = guard(&self.created).contains(of);
                let works = fresh || self.api.password_works(user, password).await?;
                Ok(Arc::new(if works { vec![Value::Object(serde_json::Map::new())] } else { Vec::new() }))
            }
            Look::List { call, field, inner } => {
                let call = call.resolve(&self.ids()).map_err(|unknown| unresolved(item, &unknown))?;
                let fetch = async || {
                    let objects = list(self.api, &item.actor, &call, field).await?;
                    let open = |mut object: Value| match inner {
                        Some(inner) => object.get_mut(*inner).map(Value::take).unwrap_or(object),
                        None => object,
                    };
                    Ok(Arc::new(objects.into_iter().map(open).collect()))
                };
                if afresh {
                    return fetch().await;
                }
                let name = (item.actor.clone(), format!("{call:?}"));
                let slot = Arc::clone(guard(&self.lists).entry(name).or_default());
                slot.get_or_try_init(fetch).await.cloned()
            }
        }
    }

    /// Why an item must not be created yet.
    async fn closed(&self, item: &Item) -> Result<Option<String>, Error> {
        for gate in &item.gates {
            let Gate::Room { vcpus, ram_mib, disk_gib } = gate;
            let closed = health::room(self.api, *vcpus, *ram_mib, *disk_gib).await?;
            if closed.is_some() {
                return Ok(closed);
            }
        }
        Ok(None)
    }

    /// Somebody else may have made the same at the same moment, and the service took both: all pick the same one,
    /// and who made the other takes it back before anything uses it.
    async fn alone(&self, item: &Item, outcome: Outcome) -> Result<Outcome, Error> {
        let (Some(delete), Some(made)) = (&item.sole, self.ids().remove(&item.key)) else {
            return Ok(outcome);
        };
        let candidates = self.look(item, true).await?;
        let seen = decide(item, &candidates, &self.ids(), &self.options.recorded, None);
        let Some(picked) = seen.id.filter(|id| *id != made) else { return Ok(outcome) };
        let call = delete.resolve(&self.ids()).map_err(|unknown| unresolved(item, &unknown))?;
        self.api.send(&item.actor, &call).await?;
        self.know(item, &picked);
        Ok(Outcome { state: State::Unchanged, facts: seen.facts, ..outcome })
    }

    async fn perform(&self, item: &Item, decision: Decision) -> Result<Outcome, Error> {
        let mut facts = decision.facts;
        if let Some(id) = &decision.id {
            self.know(item, id);
        }
        let state = match decision.verdict {
            Verdict::Keep => State::Unchanged,
            Verdict::Create => State::Created,
            Verdict::Correct(names) => State::Corrected(names),
            Verdict::Wait(reason) => State::Waiting(reason),
            Verdict::Refuse { message, hint } => State::Failed { message, hint },
        };
        let mut made = decision.id.clone();
        for action in &decision.actions {
            // A step about an object other than the item's own (a stale image) says so.
            let own = action.own.clone().or_else(|| made.clone());
            if let Some((id, answer)) = self.step(item, action, own.as_deref()).await? {
                let object = answer.as_object().and_then(|fields| fields.values().next()).unwrap_or(&answer);
                for (name, pointer) in &item.facts {
                    let found = object.pointer(pointer).or_else(|| answer.pointer(pointer));
                    if let Some(Value::String(text)) = found {
                        facts.insert((*name).to_owned(), text.clone());
                    }
                }
                made = Some(id);
            }
        }
        if !matches!(state, State::Waiting(_) | State::Failed { .. }) {
            self.know(item, made.as_deref().unwrap_or("present"));
        }
        if state == State::Created {
            guard(&self.created).insert(item.key.clone());
        }
        Ok(Outcome { facts, ..Outcome::new(item, state) })
    }

    /// Do one step; returns the id of the object that it made, if it made the item's object, and the answer.
    async fn step(
        &self,
        item: &Item,
        action: &Action,
        own: Option<&str>,
    ) -> Result<Option<(String, Value)>, Error> {
        let mut ids = self.ids();
        match own {
            Some(own) => drop(ids.insert(item.key.clone(), own.to_owned())),
            None => drop(ids.remove(&item.key)),
        }
        match &action.step {
            Step::Call { call, id } => {
                let call = call.resolve(&ids).map_err(|unknown| unresolved(item, &unknown))?;
                let answer = self.api.send(&item.actor, &call).await?;
                let Some(pointer) = id else { return Ok(None) };
                match answer.pointer(pointer) {
                    Some(Value::String(id)) => Ok(Some((id.clone(), answer))),
                    _ => Err(no_id(&call, pointer)),
                }
            }
            Step::Upload { call, source, undo } => {
                let call = call.resolve(&ids).map_err(|unknown| unresolved(item, &unknown))?;
                let undo = undo.resolve(&ids).map_err(|unknown| unresolved(item, &unknown))?;
                let upload = self.task.child(format!("upload of {}", item.key));
                let result = self.api.upload(&item.actor, &call, source, &upload).await;
                if let Err(error) = upload.end_with(result) {
                    // If this fails too, the next pass finds the half-uploaded image and removes it.
                    let _ = self.api.send(&item.actor, &undo).await;
                    return Err(error);
                }
                Ok(None)
            }
        }
    }

    fn know(&self, item: &Item, id: &str) {
        guard(&self.ids).insert(item.key.clone(), id.to_owned());
    }

    fn ids(&self) -> Ids {
        guard(&self.ids).clone()
    }
}

/// Create, look again and adopt or create again, look a last time.
const ROUNDS: usize = 3;

fn may_exist(error: &Error) -> bool {
    matches!(error.status(), Some(400 | 409)) || error.ambiguous()
}

fn unresolved(item: &Item, unknown: &Unknown) -> Error {
    Error::Configure { what: format!("{} was taken before {}, which it needs", item.key, unknown.0) }
}

fn no_id(call: &Call, pointer: &str) -> Error {
    Error::Answer {
        service: call.service,
        method: call.method.as_str(),
        path: call.path.clone(),
        what: format!("it has no {pointer}"),
    }
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
