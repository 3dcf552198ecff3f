//! Layers: each found in the cache or made, once.

use std::fs;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, try_join_all};
use oaas_feedback::Task;
use snafu::{ResultExt as _, ensure};

use super::builder::{Builder, Result, blocking, cell};
use super::failure::error;
use crate::archive::{self, Packed};
use crate::recipe::{Layer, Source};
use crate::store::{self, Lookup};

/// How often a second build looks whether the first is done.
const LOCK_PAUSE: Duration = Duration::from_millis(500);

impl Builder<'_> {
    /// All layers of an image, each with whether it is the agent's.
    pub(super) async fn image(&self, name: &str) -> Result<Vec<(store::Layer, bool)>> {
        let keys = self.inputs().chain(name).context(error::KeySnafu)?;
        let layers = self.recipes.layers(name).context(error::RecipeSnafu)?;
        let made =
            try_join_all((0..layers.len()).map(|at| self.layer(name.to_owned(), at, keys.clone()))).await?;
        Ok(made.into_iter().zip(layers).map(|(made, layer)| (made, layer.is_thin())).collect())
    }

    /// One layer of an image, from the cache or made.
    pub(super) fn layer(
        &self,
        image: String,
        at: usize,
        keys: Vec<String>,
    ) -> BoxFuture<'_, Result<store::Layer>> {
        async move {
            let cell = cell(&self.made, &keys[at]);
            let made = cell.get_or_try_init(|| async {
                let layers = self.recipes.layers(&image).context(error::RecipeSnafu)?;
                let (name, key) = (&layers[at].title(), &keys[at]);
                if let Some(layer) = self.find(name, key)? {
                    return Ok(layer);
                }
                self.begin().await?;
                if let Some(layer) = self.find(name, key)? {
                    return Ok(layer);
                }
                let task = self.task.child(format!("layer {name}"));
                let made = self.make(&image, at, &keys, layers[at], &task).await;
                task.end_with(made)
            });
            made.await.cloned()
        }
        .boxed()
    }

    /// Look in the cache; a corrupt entry is reported and counts as missing.
    fn find(&self, name: &str, key: &str) -> Result<Option<store::Layer>> {
        match self.cache().find(key).context(error::StoreSnafu)? {
            Lookup::Hit(layer) => Ok(Some(*layer)),
            Lookup::Miss => Ok(None),
            Lookup::Corrupt { wanted, got } => {
                let task = self.task.child(format!("layer {name}"));
                task.failed(format!(
                    "its file in the cache is corrupt (sha256 {got}, wanted {wanted}); it is made anew"
                ));
                tracing::warn!(layer = name, wanted, got, "corrupt cache entry removed");
                Ok(None)
            }
        }
    }

    /// Become the one that builds, before the first layer is made.
    async fn begin(&self) -> Result<()> {
        let mut held = self.held.lock().await;
        if held.is_some() {
            return Ok(());
        }
        ensure!(nix::unistd::geteuid().is_root(), error::NotRootSnafu);
        loop {
            *held = self.cache().try_lock().context(error::StoreSnafu)?;
            if held.is_some() {
                break;
            }
            self.task.status("waits for another build in the same cache");
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        self.cache().sweep().context(error::StoreSnafu)?;
        let work = Arc::new(self.cache().work().context(error::StoreSnafu)?);
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
        Ok(())
    }

    async fn make(
        &self,
        image: &str,
        at: usize,
        keys: &[String],
        layer: &Layer,
        task: &Task,
    ) -> Result<store::Layer> {
        let name = layer.title();
        let scratch = self.scratch(&layer.name)?;
        let (entries, components) = match &layer.source {
            Source::Debian { .. } => self.debian(image, at, keys, layer, &scratch, task).await?,
            Source::Script { .. } => self.script(image, at, keys, layer, &scratch, task).await?,
            Source::Artefact { artefact, path, mode } => self.artefact(artefact, path, *mode)?,
        };
        task.status("packs");
        let (file, epoch) = (scratch.join("layer.tar.zst"), self.lock.epoch);
        let packed = blocking({
            let file = file.clone();
            move || archive::pack(&entries, epoch, &file)
        })
        .await;
        let packed: Packed = packed.context(error::ArchiveSnafu { layer: &name })?;
        let kept = self
            .cache()
            .keep(&layer.name, &keys[at], &file, &packed, components)
            .context(error::StoreSnafu)?;
        // What is not wanted as a root any more makes room.
        blocking(move || fs::remove_dir_all(&scratch).ok()).await;
        Ok(kept)
    }
}
