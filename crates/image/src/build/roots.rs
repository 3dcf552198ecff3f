//! Roots: layers laid out as directories, for what is made on them.

use std::fs;
use std::path::PathBuf;
use std::sync::PoisonError;

use futures::FutureExt as _;
use futures::future::{BoxFuture, try_join_all};
use snafu::ResultExt as _;

use super::builder::{Builder, Result, blocking, cell};
use super::failure::error;
use crate::archive;

impl Builder<'_> {
    /// A new directory below the build's.
    pub(super) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let up = work.map_or_else(|| self.cache().root().join("work"), |w| w.path().to_owned());
        let made = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(&up);
        let path = made.context(error::PrepareSnafu { path: up })?.keep();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .context(error::PrepareSnafu { path: &path })?;
        Ok(path)
    }

    /// The root of an image with all its layers but the files that callers hand over.
    pub(super) async fn whole(&self, image: &str) -> Result<PathBuf> {
        let layers = self.recipes.layers(image).context(error::RecipeSnafu)?;
        let used = (0..layers.len()).filter(|i| !layers[*i].is_artefact()).collect();
        let keys = self.inputs().chain(image).context(error::KeySnafu)?;
        self.root(image, used, keys).await
    }

    /// A root made of some of an image's layers, laid out once. Empty for no layers. Not to be written to.
    pub(super) fn root(
        &self,
        image: &str,
        used: Vec<usize>,
        keys: Vec<String>,
    ) -> BoxFuture<'_, Result<PathBuf>> {
        let image = image.to_owned();
        async move {
            if used.is_empty() {
                return Ok(PathBuf::new());
            }
            let layers =
                try_join_all(used.iter().map(|at| self.layer(image.clone(), *at, keys.clone()))).await?;
            let cell = cell(&self.roots, &root_name(&used, &keys));
            let root = cell.get_or_try_init(|| async {
                let root = self.scratch("root")?;
                for layer in layers {
                    let (blob, into) = (self.cache().blob(&layer.digest), root.clone());
                    let done = blocking(move || archive::unpack(&blob, &layer.digest, &into)).await;
                    done.context(error::ArchiveSnafu { layer: &layer.name })?;
                }
                Ok(root)
            });
            root.await.cloned()
        }
        .boxed()
    }
}

/// Names a root by the keys of its layers.
pub(super) fn root_name(used: &[usize], keys: &[String]) -> String {
    used.iter().map(|at| keys[*at].as_str()).collect::<Vec<_>>().join("+")
}
