//! Building images: what is out of date is made anew, side by side where it can be, the rest is taken from the cache.

mod builder;
mod failure;
mod layers;
mod options;
mod roots;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use futures::future::try_join_all;
use oaas_feedback::Task;
use snafu::{OptionExt as _, ResultExt as _};

use self::builder::{Builder, Result, blocking};
use self::failure::error;
use crate::archive;
use crate::debian::lock::Lock;
use crate::oci::{self, BuiltImages};
use crate::recipe::{self, Recipes, Source};
use crate::store::{self, Cache};

pub use failure::Error;
pub use options::BuildOptions;

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

/// Make the layers of an unpublished recipe and lay out the last one, for what scripts make that is no image. `given` are
/// texts that its scripts find as if they lay below `images/`. It lies in a directory that is removed when dropped.
pub(crate) async fn lay_out(
    options: &BuildOptions,
    mut recipes: Recipes,
    lock: Lock,
    recipe: recipe::Recipe,
    given: BTreeMap<String, String>,
    task: &Task,
) -> Result<tempfile::TempDir> {
    let name = recipe.name.clone();
    recipes.images.insert(name.clone(), recipe);
    let builder = Builder { given, ..Builder::new(options, recipes, lock, BTreeMap::new(), task) };
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
