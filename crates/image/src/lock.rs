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

/// What the Python packages that build images are called beside releases.
pub const BUILD_TOOLS: &str = "build-tools";
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

/// Lock the Python packages of a release, or of [`BUILD_TOOLS`], anew and write the lock below `directory` (a checkout's
/// `images/locks`) if anything changed. `constraints` is the text of the release's upper constraints; without it what is
/// locked stays as it is wherever the release's file allows.
pub async fn python(
    options: &BuildOptions,
    directory: &Path,
    of: &str,
    constraints: Option<String>,
    task: &Task,
) -> Result<Refreshed, Error> {
    let recipes = Recipes::embedded().context(error::RecipeSnafu)?;
    let text = recipe::file(&format!("locks/{}", recipes.debian.lock)).context(error::RecipeSnafu)?;
    let lock = Lock::parse(text).context(error::OldSnafu { path: &recipes.debian.lock })?;
    let tools = format!("{BUILD_TOOLS}.txt");
    let mut inputs =
        vec![format!("locks/{BUILD_TOOLS}.in"), format!("locks/{tools}"), "scripts/release.py".into()];
    let name = if of == BUILD_TOOLS {
        tools
    } else {
        inputs.push(format!("releases/{of}.toml"));
        recipes.release(of).context(error::RecipeSnafu)?.lock()
    };
    let path = directory.join(&name);
    let old = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read.context(error::FileSnafu { path: &path })?),
    };
    let mut given = BTreeMap::new();
    given.extend(old.clone().map(|text| (format!("locks/{name}"), text)));
    given.extend(constraints.map(|text| ("constraints.txt".to_owned(), text)));
    inputs.extend(given.keys().cloned());
    inputs.sort();
    inputs.dedup();
    let script = Source::Script {
        script: "lock.py".into(),
        root: Some("build".into()),
        on: vec![],
        with: vec![],
        decided_by: None,
        network: true,
        inputs,
        arguments: vec![of.to_owned(), name.clone()],
        keep: vec!["/out".into()],
        at: Some("/".into()),
    };
    let recipe = Recipe {
        name: "python-lock".into(),
        about: "A lock of Python packages".into(),
        from: None,
        published: false,
        config: Config::default(),
        layers: vec![Layer { name: "python-lock".into(), release: None, source: script }],
    };
    let made = build::lay_out(options, recipes, lock, recipe, given, task)
        .await
        .map_err(Box::new)
        .context(error::PythonSnafu)?;
    let from = made.path().join(&name);
    let new = fs::read_to_string(&from).context(error::FileSnafu { path: from })?;
    let changes = debian_lock::changes(&pins(&old.unwrap_or_default()), &pins(&new));
    if !changes.is_empty() {
        options.cache.write(&path, new.as_bytes()).context(error::StoreSnafu)?;
    }
    Ok(Refreshed { changes: BTreeMap::from([(name, changes)]) })
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
    use crate::release::Release;

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
        let releases = Recipes::embedded().unwrap().releases;
        for name in releases.values().map(Release::lock).chain([format!("{BUILD_TOOLS}.txt")]) {
            let text = recipe::file(&format!("locks/{name}")).unwrap();
            let found = pins(text);
            assert!(found.len() > 3, "{name}");
            assert!(
                found.values().all(|(version, hashes)| !version.is_empty() && *hashes != sha256_of(b"")),
                "{name}"
            );
        }
    }

    /// The major version, or what else a release's file bounds, is what is locked.
    #[test]
    fn every_release_is_locked_as_its_file_says() {
        for release in Recipes::embedded().unwrap().releases.values() {
            let locked = pins(recipe::file(&format!("locks/{}", release.lock())).unwrap());
            for requirement in &release.requirements {
                let end = requirement.find(['<', '>', '=']).unwrap_or(requirement.len());
                let (name, bounds) = requirement.split_at(end);
                let version = &locked.get(name).unwrap_or_else(|| panic!("{}: no {name}", release.name)).0;
                if let Some(least) = bounds.strip_prefix(">=").and_then(|b| b.split(',').next()) {
                    assert!(version.starts_with(&format!("{least}.")), "{}: {name} {version}", release.name);
                }
            }
        }
    }
}
