//! One build under way: what it knows, and what it has made so far.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use oaas_feedback::Task;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::failure::Error;
use super::options::BuildOptions;
use crate::debian::lock::Lock;
use crate::debian::mirror::Mirrors;
use crate::key::Inputs;
use crate::recipe::{self, Recipes};
use crate::store::{self, Cache};

pub(super) type Result<T, E = Error> = std::result::Result<T, E>;
pub(super) type Cells<T> = Mutex<BTreeMap<String, Arc<OnceCell<T>>>>;

/// Run what computes or waits for the disk off the async threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A build.
pub(super) struct Builder<'a> {
    pub(super) options: &'a BuildOptions,
    pub(super) recipes: Recipes,
    pub(super) lock: Lock,
    pub(super) artefacts: BTreeMap<String, String>,
    /// Files that the caller hands over for this once, by path as if they lay below `images/`.
    pub(super) given: BTreeMap<String, String>,
    /// Layers by key, each made or found once.
    pub(super) made: Cells<store::Layer>,
    /// Roots by the keys of their layers, each laid out once.
    pub(super) roots: Cells<PathBuf>,
    pub(super) mirrors: OnceCell<Mirrors>,
    /// Held while packages are fetched: layers share most of theirs, and each is fetched once.
    pub(super) fetching: tokio::sync::Mutex<()>,
    pub(super) task: Task,
    /// Where roots lie, from the first layer that has to be made until the end.
    pub(super) work: Mutex<Option<Arc<tempfile::TempDir>>>,
    /// The lock on the cache, for as long.
    pub(super) held: tokio::sync::Mutex<Option<nix::fcntl::Flock<fs::File>>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        options: &'a BuildOptions,
        recipes: Recipes,
        lock: Lock,
        artefacts: BTreeMap<String, String>,
        task: &Task,
    ) -> Self {
        Self {
            options,
            recipes,
            lock,
            artefacts,
            given: BTreeMap::new(),
            made: Mutex::default(),
            roots: Mutex::default(),
            mirrors: OnceCell::new(),
            fetching: tokio::sync::Mutex::default(),
            task: task.clone(),
            work: Mutex::default(),
            held: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.options.cache
    }

    pub(super) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            recipes: &self.recipes,
            lock: &self.lock,
            artefacts: &self.artefacts,
            file: &recipe::file,
            given: &self.given,
        }
    }
}

/// The one that is made once under that name.
pub(super) fn cell<T>(cells: &Cells<T>, name: &str) -> Arc<OnceCell<T>> {
    let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(cells.entry(name.to_owned()).or_default())
}
