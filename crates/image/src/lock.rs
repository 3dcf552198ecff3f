//! Refreshing lock files: the newest that the signed suites and the package index have, and what that changes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use oaas_feedback::{Explain, Kind, Task};
use serde::Serialize;
use snafu::{ResultExt as _, Snafu};

use crate::archive::sha256_of;
use crate::build::{self, BuildOptions};
use crate::debian::lock::{self as debian_lock, Change, Lock, Pins};
use crate::debian::mirror::{self, Mirrors};
use crate::debian::resolve;
use crate::recipe::{self, Config, Layer, Recipe, Recipes, Source};
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
            Self::File { .. } => {
                Some("name the images/locks directory of a checkout, to which the new lock is written".into())
            }
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
    let mut new =
        resolve::resolve(&recipes, &mirrors, scratch.path(), task).await.context(error::ResolveSnafu)?;
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

/// Lock the Python environments anew, each from `<name>.in` under `<name>.constraints` and with nothing uploaded after
/// today, and write the locks below `directory` (a checkout's `images/locks`) where anything changed.
pub async fn python(options: &BuildOptions, directory: &Path, task: &Task) -> Result<Refreshed, Error> {
    let recipes = Recipes::embedded().context(error::RecipeSnafu)?;
    let text = recipe::file(&format!("locks/{}", recipes.debian.lock)).context(error::RecipeSnafu)?;
    let lock = Lock::parse(text).context(error::OldSnafu { path: &recipes.debian.lock })?;
    let wanted = recipe::names("locks", ".in");
    let constraints = recipe::names("locks", ".constraints");
    let inputs = wanted
        .iter()
        .chain(&constraints)
        .map(|name| format!("locks/{name}"))
        .chain(["locks/build-tools.txt".to_owned()]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let script = Source::Script {
        script: "lock.sh".into(),
        root: Some("build".into()),
        on: vec![],
        with: vec![],
        decided_by: None,
        network: true,
        inputs: inputs.collect(),
        arguments: vec![crate::sbom::rfc3339(now)],
        keep: vec!["/out".into()],
        at: Some("/".into()),
    };
    let recipe = Recipe {
        name: "python-locks".into(),
        about: "Python locks".into(),
        from: None,
        published: false,
        config: Config::default(),
        layers: vec![Layer { name: "python-locks".into(), source: script }],
    };
    let made = build::lay_out(options, recipes, lock, recipe, task)
        .await
        .map_err(Box::new)
        .context(error::PythonSnafu)?;
    let mut refreshed = Refreshed::default();
    for name in wanted {
        let name = name.replace(".in", ".txt");
        let from = made.path().join(&name);
        let new = fs::read_to_string(&from).context(error::FileSnafu { path: from })?;
        let path = directory.join(&name);
        let old = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.context(error::FileSnafu { path: &path })?,
        };
        let changes = debian_lock::changes(&pins(&old), &pins(&new));
        if !changes.is_empty() {
            options.cache.write(&path, new.as_bytes()).context(error::StoreSnafu)?;
        }
        refreshed.changes.insert(name, changes);
    }
    Ok(refreshed)
}

/// The pins of a requirements file: `name==version`, then its hashes on lines of their own.
fn pins(text: &str) -> Pins {
    let mut pins = Pins::new();
    let whole = text.replace("\\\n", " ");
    for line in whole.lines().filter(|l| !l.trim_start().starts_with('#')) {
        let Some((name, rest)) = line.split_once("==") else { continue };
        let mut words = rest.split_whitespace();
        let version = words.next().unwrap_or_default().to_owned();
        let mut hashes: Vec<&str> = words.filter_map(|w| w.strip_prefix("--hash=")).collect();
        hashes.sort_unstable();
        pins.insert(name.to_owned(), (version, sha256_of(hashes.join(" ").as_bytes())));
    }
    pins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_with_all_their_hashes() {
        let text = "# made by\nnova==33.0.2 \\\n    --hash=sha256:b \\\n    --hash=sha256:a\n    # via x\nzipp==3.23.0 \\\n    --hash=sha256:c\n";
        let found = pins(text);
        assert_eq!(found["nova"], ("33.0.2".to_owned(), sha256_of(b"sha256:a sha256:b")));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn another_hash_of_the_same_version_is_a_change() {
        let old = pins("a==1 \\\n    --hash=sha256:a\n");
        let new = pins("a==1 \\\n    --hash=sha256:b\n");
        assert_eq!(debian_lock::changes(&old, &new)[0].to_string(), "~ a 1 (other content)");
        assert_eq!(debian_lock::changes(&old, &old), []);
    }

    #[test]
    fn the_locks_that_are_compiled_in_pin_every_package_by_hash() {
        for name in recipe::names("locks", ".in") {
            let text = recipe::file(&format!("locks/{}", name.replace(".in", ".txt"))).unwrap();
            let found = pins(text);
            assert!(found.len() > 3, "{name}");
            assert!(
                found.values().all(|(version, hashes)| !version.is_empty() && *hashes != sha256_of(b"")),
                "{name}"
            );
        }
    }
}
