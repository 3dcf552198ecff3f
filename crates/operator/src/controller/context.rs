//! What every reconciliation is given: the engine's parts, its options, and what it remembers of each cloud.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use oaas_api::OpenStack;
use tokio::sync::mpsc::UnboundedSender;

use super::registry::Registry;
use crate::actions::Actions;
use crate::apply::Applier;
use crate::brain::{Brain, Note};
use crate::cache::{Cache, CloudRef};
use crate::fence::Fence;
use crate::metrics::{Metrics, PhaseLabels};
use crate::observe::{Failure, Warning};

/// How the operator runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its own namespace, where its lease is.
    pub namespace: String,
    /// Its name among candidates for the lease; the pod's name.
    pub identity: String,
    /// Where it answers `/healthz`, `/readyz` and `/metrics`.
    pub listen: std::net::SocketAddr,
    /// How long objects of a deleted cloud are waited for before the resource goes anyway.
    pub deletion_limit: Duration,
    /// Where what the metrics' scrape shows is also written at the end; for tests of footprints.
    pub metrics_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: "oaas-system".into(),
            identity: format!("oaas-operator-{}", std::process::id()),
            listen: ([0, 0, 0, 0], 8080).into(),
            deletion_limit: Duration::from_mins(10),
            metrics_file: None,
        }
    }
}

/// What is remembered of a cloud between reconciliations; lost without harm.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) failures: Vec<Failure>,
    pub(super) failed_in_a_row: u32,
    pub(super) said: Vec<Note>,
    pub(super) warnings: std::collections::BTreeMap<String, Vec<Warning>>,
    pub(super) warnings_at: Option<Instant>,
    pub(super) user_secrets: oaas_plan::UserSecrets,
    pub(super) phase: Option<String>,
}

/// Everything a reconciliation needs.
pub(super) struct Context<B: Brain> {
    pub(super) brain: Arc<B>,
    pub(super) client: Client,
    pub(super) cache: Arc<Cache>,
    pub(super) applier: Applier,
    pub(super) actions: Actions,
    pub(super) registry: Registry,
    pub(super) fence: Fence,
    pub(super) metrics: Arc<Metrics>,
    pub(super) recorder: Recorder,
    pub(super) concerns: UnboundedSender<CloudRef>,
    pub(super) options: Options,
    pub(super) memory: Mutex<HashMap<String, Memory>>,
}

impl<B: Brain> Context<B> {
    pub(super) fn remember<T>(&self, uid: &str, with: impl FnOnce(&mut Memory) -> T) -> T {
        let mut all = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        with(all.entry(uid.to_owned()).or_default())
    }

    pub(super) fn forget(&self, uid: &str) {
        let forgotten = self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        if let Some(phase) = forgotten.and_then(|memory| memory.phase) {
            self.metrics.clouds.get_or_create(&PhaseLabels { phase }).dec();
        }
    }

    /// Counts the cloud under its phase.
    pub(super) fn count_phase(&self, uid: &str, phase: String) {
        let before = self.remember(uid, |memory| memory.phase.replace(phase.clone()));
        if before.as_ref() != Some(&phase) {
            if let Some(before) = before {
                self.metrics.clouds.get_or_create(&PhaseLabels { phase: before }).dec();
            }
            self.metrics.clouds.get_or_create(&PhaseLabels { phase }).inc();
        }
    }

    /// Publishes what was not said the last time.
    pub(super) async fn say(&self, cloud: &OpenStack, notes: Vec<Note>) {
        let uid = cloud.uid().unwrap_or_default();
        let new: Vec<Note> = self.remember(&uid, |memory| {
            let new = notes.iter().filter(|note| !memory.said.contains(note)).cloned().collect();
            memory.said = notes;
            new
        });
        for note in new {
            let event = Event {
                type_: if note.warning { EventType::Warning } else { EventType::Normal },
                reason: note.reason.clone(),
                note: Some(cut(&note.message, 1000)),
                action: "Reconcile".into(),
                secondary: None,
            };
            if let Err(error) = self.recorder.publish(&event, &cloud.object_ref(&())).await {
                tracing::debug!(%error, reason = %note.reason, "event not published");
            }
        }
    }
}

/// The first so many bytes of a text, cut between characters.
fn cut(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_between_characters() {
        assert_eq!(cut("abc", 10), "abc");
        assert_eq!(cut("äöü", 3), "ä");
    }
}
