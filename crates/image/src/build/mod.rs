//! Building images: what is out of date is made anew, side by side where it can be, the rest is taken from the cache.

mod failure;
mod layers;
mod roots;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use oaas_feedback::Task;
use snafu::{OptionExt as _, ResultExt as _};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::archive;
use crate::debian::lock::Lock;
use crate::debian::mirror::Mirrors;
use crate::key::Inputs;
use crate::oci::{self, BuiltImages};
use crate::recipe::{self, Recipes, Source};
use crate::store::{self, Cache};

pub use failure::Error;
pub(crate) use failure::error;

/// What a build needs to know beyond the recipes.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The cache to build in.
    pub cache: Cache,
    /// Files that recipes name as artefacts. `agent` is the `oaas` binary.
    pub artefacts: BTreeMap<String, PathBuf>,
}

impl BuildOptions {
    /// The user's cache, and the running program as the agent.
    pub fn of_user() -> Result<Self, Error> {
        let agent = std::env::current_exe().context(error::OwnBinarySnafu)?;
        let cache = Cache::of_user().context(error::StoreSnafu)?;
        Ok(Self { cache, artefacts: BTreeMap::from([("agent".into(), agent)]) })
    }
}
type Result<T, E = Error> = std::result::Result<T, E>;
type Cells<T> = Mutex<BTreeMap<String, Arc<OnceCell<T>>>>;

/// Build the named images, or all that are published. Nothing is done for what is up to date.
pub async fn build(options: &BuildOptions, names: &[String], task: &Task) -> Result<BuiltImages> {
    let recipes = Recipes::embedded().context(error::RecipeSnafu)?;
    let text = recipe::file(&format!("locks/{}", recipes.debian.lock)).context(error::RecipeSnafu)?;
    let lock = Lock::parse(text).context(error::LockSnafu)?;
    build_with(options, recipes, lock, names, task).await
}

/// Names of the artefacts that these images, or all that are published, are made of. Fails for an image that no recipe
/// describes.
pub fn artefacts(names: &[String]) -> Result<BTreeSet<String>> {
    let recipes = Recipes::embedded().context(error::RecipeSnafu)?;
    let names = if names.is_empty() { recipes.published() } else { names.to_vec() };
    let mut found = BTreeSet::new();
    for name in &names {
        let layers = recipes.layers(name).context(error::RecipeSnafu)?;
        found.extend(layers.iter().filter_map(|layer| match &layer.source {
            Source::Artefact { artefact, .. } => Some(artefact.clone()),
            _ => None,
        }));
    }
    Ok(found)
}

/// Build by these recipes and this lock.
pub async fn build_with(
    options: &BuildOptions,
    recipes: Recipes,
    lock: Lock,
    names: &[String],
    task: &Task,
) -> Result<BuiltImages> {
    let names = if names.is_empty() { recipes.published() } else { names.to_vec() };
    for name in &names {
        recipes.get(name).context(error::RecipeSnafu)?;
    }
    let artefacts = hash_artefacts(options, &recipes, &names).await?;
    let builder = Builder::new(options, recipes, lock, artefacts, task);
    let images = try_join_all(names.iter().map(|name| builder.image(name))).await?;
    // The index is one file: images are entered one after the other.
    let mut built = BuiltImages::default();
    for (name, layers) in names.iter().zip(images) {
        let recipe = builder.recipes.get(name).context(error::RecipeSnafu)?;
        let image = oci::assemble(&options.cache, recipe, &layers, builder.lock.epoch)
            .context(error::AssembleSnafu { image: name })?;
        built.images.insert(name.clone(), image);
    }
    let path = options.cache.images().join("built.json");
    record(&options.cache, &path, &built)?;
    Ok(built)
}

/// Make the layers of an unpublished recipe and lay out the last one, for what scripts make that is no image. It lies in
/// a directory that is removed when dropped.
pub(crate) async fn lay_out(
    options: &BuildOptions,
    mut recipes: Recipes,
    lock: Lock,
    recipe: recipe::Recipe,
    task: &Task,
) -> Result<tempfile::TempDir> {
    let name = recipe.name.clone();
    recipes.images.insert(name.clone(), recipe);
    let builder = Builder::new(options, recipes, lock, BTreeMap::new(), task);
    let layers = builder.image(&name).await?;
    let into = options.cache.work().context(error::StoreSnafu)?;
    if let Some((layer, _)) = layers.into_iter().next_back() {
        let (blob, root) = (options.cache.blob(&layer.digest), into.path().to_owned());
        let done = blocking(move || archive::unpack(&blob, &layer.digest, &root)).await;
        done.context(error::ArchiveSnafu { layer: &layer.name })?;
    }
    Ok(into)
}

/// Copy the files below a path out of a built image into a directory, under their names there. Hands back how many.
pub async fn extract(cache: &Cache, image: &str, path: &str, into: &Path) -> Result<usize> {
    let built = list(cache)?.images.remove(image);
    let built = built.context(error::NotBuiltSnafu { image })?;
    fs::create_dir_all(into).context(error::PrepareSnafu { path: into })?;
    let mut copied = 0;
    for layer in built.layers {
        let digest = layer.digest.trim_start_matches("sha256:").to_owned();
        let (blob, from, to) =
            (cache.blob(&digest), path.trim_start_matches('/').to_owned(), into.to_owned());
        let done = blocking(move || archive::copy_out(&blob, &digest, Path::new(&from), &to)).await;
        copied += done.context(error::ArchiveSnafu { layer: layer.name })?;
    }
    Ok(copied)
}

/// What was built last, by image name.
pub fn list(cache: &Cache) -> Result<BuiltImages> {
    let path = cache.images().join("built.json");
    Ok(cache.read_json(&path).context(error::StoreSnafu)?.unwrap_or_default())
}

fn record(cache: &Cache, path: &Path, built: &BuiltImages) -> Result<()> {
    let mut all = list(cache)?;
    let before = all.clone();
    all.images.extend(built.images.clone());
    if all != before {
        let json = serde_json::to_vec_pretty(&all)
            .map_err(|source| store::Error::Json { path: path.into(), source });
        cache.write(path, &json.context(error::StoreSnafu)?).context(error::StoreSnafu)?;
    }
    Ok(())
}

/// sha256 of the artefacts that these images need.
async fn hash_artefacts(
    options: &BuildOptions,
    recipes: &Recipes,
    names: &[String],
) -> Result<BTreeMap<String, String>> {
    let mut hashes = BTreeMap::new();
    for name in names {
        for layer in recipes.layers(name).context(error::RecipeSnafu)? {
            let Source::Artefact { artefact, .. } = &layer.source else { continue };
            if hashes.contains_key(artefact) {
                continue;
            }
            let path =
                options.artefacts.get(artefact).context(error::ArtefactMissingSnafu { artefact })?.clone();
            let hash = blocking({
                let path = path.clone();
                move || archive::sha256(&path)
            })
            .await;
            hashes.insert(artefact.clone(), hash.context(error::ArtefactSnafu { artefact, path })?);
        }
    }
    Ok(hashes)
}

/// Run what computes or waits for the disk off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

struct Builder<'a> {
    options: &'a BuildOptions,
    recipes: Recipes,
    lock: Lock,
    artefacts: BTreeMap<String, String>,
    /// Layers by key, each made or found once.
    made: Cells<store::Layer>,
    /// Roots by the keys of their layers, each laid out once.
    roots: Cells<PathBuf>,
    mirrors: OnceCell<Mirrors>,
    task: Task,
    /// Where roots lie, from the first layer that has to be made until the end.
    work: Mutex<Option<Arc<tempfile::TempDir>>>,
    /// The lock on the cache, for as long.
    held: tokio::sync::Mutex<Option<nix::fcntl::Flock<fs::File>>>,
}

impl<'a> Builder<'a> {
    fn new(
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
            made: Mutex::default(),
            roots: Mutex::default(),
            mirrors: OnceCell::new(),
            task: task.clone(),
            work: Mutex::default(),
            held: tokio::sync::Mutex::default(),
        }
    }

    fn cache(&self) -> &Cache {
        &self.options.cache
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs { recipes: &self.recipes, lock: &self.lock, artefacts: &self.artefacts, file: &recipe::file }
    }
}

fn cell<T>(cells: &Cells<T>, name: &str) -> Arc<OnceCell<T>> {
    let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(cells.entry(name.to_owned()).or_default())
}
