//! Refreshing lock files: the newest that the signed suites and the package index have, and what that changes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use oaas_feedback::{Explain, Kind, Task};
use serde::Serialize;
use snafu::{ResultExt as _, Snafu};

use crate::build;
use crate::debian::lock::{self as debian_lock, Change, Lock};
use crate::debian::mirror::{self, Mirrors};
use crate::debian::resolve;
use crate::recipe::{self, Recipes};
use crate::store::{self, Cache};

/// What the lock file says of itself.
const ABOUT: &str = "Debian packages of every root: name version sha256 size archive path layers.\n\
                     Made by `oaas image lock --refresh` from the signed suite; not edited by hand.";

/// A lock could not be made.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// The recipes.
    #[snafu(display("failed to read the image recipes"))]
    Recipe {
        /// What went wrong.
        source: recipe::Error,
    },
    /// The cache.
    #[snafu(display("failed to use the image cache"))]
    Store {
        /// What went wrong.
        source: store::Error,
    },
    /// The mirror.
    #[snafu(display("failed to choose a Debian mirror"))]
    Mirror {
        /// What went wrong.
        source: mirror::Error,
    },
    /// The suite.
    #[snafu(display("failed to resolve the Debian packages of the images"))]
    Resolve {
        /// What went wrong.
        source: resolve::Error,
    },
    /// The Python lock.
    #[snafu(display("failed to lock Python packages"))]
    Python {
        /// What went wrong.
        source: Box<build::Error>,
    },
    /// The old lock.
    #[snafu(display("failed to read the lock {}", path.display()))]
    Old {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: debian_lock::Error,
    },
    /// The file.
    #[snafu(display("failed to read or write {}", path.display()))]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Recipe { source } => source.kind(),
            Self::Store { source } => source.kind(),
            Self::Mirror { source } => source.kind(),
            Self::Resolve { source } => source.kind(),
            Self::Python { source } => source.kind(),
            Self::Old { source, .. } => source.kind(),
            Self::File { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe { source } => source.hint(),
            Self::Store { source } => source.hint(),
            Self::Mirror { source } => source.hint(),
            Self::Resolve { source } => source.hint(),
            Self::Python { source } => source.hint(),
            Self::Old { source, .. } => source.hint(),
            Self::File { .. } => Some("name the images/locks directory of a checkout, to which the new lock is written".into()),
        }
    }
}

/// What a refresh found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Refreshed {
    /// Per lock file, what changed; a file without changes is not written.
    pub changes: BTreeMap<String, Vec<Change>>,
}

/// Resolve the Debian layers anew and write the lock below `directory` (a checkout's `images/locks`) if anything
/// changed.
pub async fn debian(cache: &Cache, directory: &Path, task: &Task) -> Result<Refreshed, Error> {
    let recipes = Recipes::embedded().context(error::RecipeSnafu)?;
    let path = directory.join(&recipes.debian.lock);
    let old = match fs::read_to_string(&path) {
        Ok(text) => Lock::parse(&text).context(error::OldSnafu { path: &path })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Lock::default(),
        Err(source) => return Err(source).context(error::FileSnafu { path }),
    };
    let mirrors = Mirrors::of_machine(task).await.context(error::MirrorSnafu)?;
    let scratch = cache.work().context(error::StoreSnafu)?;
    let mut new = resolve::resolve(&recipes, &mirrors, scratch.path(), task).await.context(error::ResolveSnafu)?;
    let changes = old.changes(&new);
    new.epoch = old.epoch;
    if new != old || new.epoch == 0 {
        if !changes.is_empty() || new.epoch == 0 {
            // Later than every package, earlier than every build from this lock.
            new.epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        }
        let text = new.render(ABOUT);
        cache.write(&path, text.as_bytes()).context(error::StoreSnafu)?;
    }
    Ok(Refreshed { changes: BTreeMap::from([(recipes.debian.lock, changes)]) })
}
