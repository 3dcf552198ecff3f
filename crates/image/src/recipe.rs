//! What images are made of, as data: `images/recipes`, compiled in.

use std::collections::{BTreeMap, BTreeSet};

use include_dir::{Dir, include_dir};
use oaas_feedback::{Explain, Kind, nearest};
use serde::{Deserialize, Serialize};
use snafu::{OptionExt as _, ResultExt as _, Snafu, ensure};

static RECIPES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../images/recipes");
static LOCKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../images/locks");
static SCRIPTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../images/scripts");
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../images/files");

/// Files among the recipes that do not describe an image.
const NOT_IMAGES: [&str; 2] = ["debian.toml", "options.toml"];

/// One image: its layers above those of another, and what the container runtime is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The image's name, the last part of its reference.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// The image whose layers come first.
    #[serde(default)]
    pub from: Option<String>,
    /// Whether it becomes an image; `false` for roots that only others are built on or in.
    #[serde(default = "yes")]
    pub published: bool,
    /// What the container runtime is told.
    #[serde(default)]
    pub config: Config,
    /// Its own layers, lowest first.
    pub layers: Vec<Layer>,
}

/// The image configuration as containers see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `NAME=value` lines.
    #[serde(default)]
    pub env: Vec<String>,
    /// What a container starts when its pod names no command.
    #[serde(default)]
    pub entrypoint: Vec<String>,
}

/// One layer: a name, unique over all images (but for artefacts, which may be in several), and where its files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Names the layer in messages and in the lock file.
    pub name: String,
    /// Where its files come from.
    #[serde(flatten)]
    pub source: Source,
}

/// Where a layer's files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// Debian packages: what a root with them has that the image below has not.
    Debian {
        /// Packages or apt patterns, beyond those of the images below.
        packages: Vec<String>,
        /// Parts of packages that are taken without their dependencies and without running anything.
        #[serde(default)]
        extract: Vec<Extract>,
    },
    /// Files that a script leaves at `keep`. It runs with everything else read-only, without network unless asked for.
    Script {
        /// Its name below `images/scripts`.
        script: String,
        /// The image in whose root it runs; without one, the image's own layers so far.
        #[serde(default)]
        root: Option<String>,
        /// Which of the image's own layers below it the root is made of; without any, all of them.
        #[serde(default)]
        on: Vec<String>,
        /// Other images' roots, to be found at `/mnt/<image>`.
        #[serde(default)]
        with: Vec<String>,
        /// If given, only the script, its inputs and the versions of these Debian packages decide whether the layer is
        /// out of date, not all that its roots hold.
        #[serde(default)]
        decided_by: Option<Vec<String>>,
        /// Whether it reaches package registries.
        #[serde(default)]
        network: bool,
        /// Files of `images/` that it finds by their base name in `$INPUTS`.
        #[serde(default)]
        inputs: Vec<String>,
        /// Its arguments.
        #[serde(default)]
        arguments: Vec<String>,
        /// The directories that make the layer.
        keep: Vec<String>,
        /// Where the content of the only kept directory lands in the image, if not at its own path.
        #[serde(default)]
        at: Option<String>,
    },
    /// One file that the caller hands over, such as the agent.
    Artefact {
        /// What the caller calls it.
        artefact: String,
        /// Where it lies in the image.
        path: String,
        /// Its mode, 0755 if not given.
        #[serde(default = "executable")]
        mode: u32,
    },
}

/// Parts of one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extract {
    /// The package.
    pub package: String,
    /// Directories or files of it, absolute.
    pub paths: Vec<String>,
}

/// What all Debian roots have in common (`images/recipes/debian.toml`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    /// The suite, such as `trixie`; `-updates` and `-security` of it are read as well.
    pub suite: String,
    /// Debian's name of the architecture.
    pub architecture: String,
    /// The lock file's name below `images/locks`.
    pub lock: String,
    /// Path patterns that are never unpacked (dpkg's `path-exclude`).
    pub exclude: Vec<String>,
    /// Exceptions from `exclude`.
    pub include: Vec<String>,
    /// Paths removed, or emptied if they end in a slash, when the packages are set up.
    pub clean: Vec<String>,
    /// Accounts added to every root.
    pub accounts: Vec<Account>,
}

/// An account with a group of the same name and number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// User and group name.
    pub name: String,
    /// User and group number.
    pub id: u32,
    /// Home directory, made with mode 0750.
    pub home: String,
}

fn yes() -> bool {
    true
}

fn executable() -> u32 {
    0o755
}

/// A recipe that cannot be used.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// The file is not what a recipe looks like.
    #[snafu(display("failed to read the recipe {file}"))]
    Parse {
        /// Below `images/recipes`.
        file: String,
        /// What the parser says.
        source: Box<toml::de::Error>,
    },
    /// A file that a recipe names is not there.
    #[snafu(display("failed to find images/{path}, which the image recipes name"))]
    Missing {
        /// Below `images/`.
        path: String,
    },
    /// Two layers, or two images, of one name.
    #[snafu(display("failed to tell apart two {what} named {name:?}"))]
    Twice {
        /// Layers or images.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An image that no recipe describes.
    #[snafu(display("failed to find an image named {name:?}"))]
    Unknown {
        /// As given.
        name: String,
        /// All that there are.
        known: Vec<String>,
    },
    /// An image that stands on itself.
    #[snafu(display("failed to order the layers of image {name}: it stands on itself"))]
    Cycle {
        /// The image.
        name: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Unknown { .. } => Kind::Input,
            _ => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { name, known } => Some(match nearest(name, known) {
                Some(near) => format!("did you mean {near:?}? There are: {}", known.join(", ")),
                None => format!("there are: {}", known.join(", ")),
            }),
            _ => None,
        }
    }
}

/// All recipes, by image name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipes {
    /// What Debian roots have in common.
    pub debian: Debian,
    /// By image name.
    pub images: BTreeMap<String, Recipe>,
}

impl Recipes {
    /// The recipes that are compiled in.
    pub fn embedded() -> Result<Self, Error> {
        let files = RECIPES.files().filter_map(|file| {
            let name = file.path().to_string_lossy().into_owned();
            let toml = file.path().extension().is_some_and(|kind| kind == "toml");
            file.contents_utf8().filter(|_| toml).map(|text| (name, text))
        });
        Self::parse(files)
    }

    /// Read recipes from `(file name, text)` pairs, one of which is `debian.toml`.
    pub fn parse<'a>(files: impl Iterator<Item = (String, &'a str)>) -> Result<Self, Error> {
        let mut debian = None;
        let mut images = BTreeMap::new();
        for (file, text) in files {
            if file == "debian.toml" {
                debian = Some(toml::from_str(text).map_err(Box::new).context(error::ParseSnafu { file })?);
            } else if !NOT_IMAGES.contains(&file.as_str()) {
                let recipe: Recipe =
                    toml::from_str(text).map_err(Box::new).context(error::ParseSnafu { file })?;
                let name = recipe.name.clone();
                ensure!(
                    images.insert(name.clone(), recipe).is_none(),
                    error::TwiceSnafu { what: "images", name }
                );
            }
        }
        let debian = debian.context(error::MissingSnafu { path: "recipes/debian.toml" })?;
        let recipes = Self { debian, images };
        recipes.check()?;
        Ok(recipes)
    }

    /// Names of the images that are published, sorted.
    pub fn published(&self) -> Vec<String> {
        self.images.values().filter(|r| r.published).map(|r| r.name.clone()).collect()
    }

    /// The recipe of an image.
    pub fn get(&self, name: &str) -> Result<&Recipe, Error> {
        self.images.get(name).with_context(|| error::UnknownSnafu { name, known: self.published() })
    }

    /// The image's layers with those of the images below it, lowest first.
    pub fn layers(&self, name: &str) -> Result<Vec<&Layer>, Error> {
        let mut chain = Vec::new();
        let mut next = Some(name);
        let mut seen = BTreeSet::new();
        while let Some(current) = next {
            ensure!(seen.insert(current), error::CycleSnafu { name });
            let recipe = self.get(current)?;
            chain.push(recipe);
            next = recipe.from.as_deref();
        }
        // An image on another takes everything but the other's agent: it has its own, or none.
        Ok(chain
            .iter()
            .rev()
            .flat_map(|r| r.layers.iter().filter(|l| r.name == name || !l.is_thin()))
            .collect())
    }

    fn check(&self) -> Result<(), Error> {
        let mut names = BTreeSet::new();
        for recipe in self.images.values() {
            self.layers(&recipe.name)?;
            for layer in recipe.layers.iter().filter(|l| !l.is_artefact()) {
                ensure!(names.insert(&layer.name), error::TwiceSnafu { what: "layers", name: &layer.name });
            }
        }
        Ok(())
    }
}

impl Layer {
    /// Whether it is a file that the caller hands over.
    pub fn is_artefact(&self) -> bool {
        matches!(self.source, Source::Artefact { .. })
    }

    /// Whether it is the thin top layer with our own binary, whose change must not roll pods.
    pub fn is_thin(&self) -> bool {
        matches!(&self.source, Source::Artefact { artefact, .. } if artefact == "agent")
    }
}

/// Names of the compiled-in files of a room with this ending, sorted.
pub fn names(room: &str, ending: &str) -> Vec<String> {
    let Some(dir) = directory(room) else { return Vec::new() };
    let mut names: Vec<String> = dir
        .files()
        .map(|f| f.path().to_string_lossy().into_owned())
        .filter(|n| n.ends_with(ending))
        .collect();
    names.sort();
    names
}

fn directory(room: &str) -> Option<&'static Dir<'static>> {
    match room {
        "recipes" => Some(&RECIPES),
        "locks" => Some(&LOCKS),
        "scripts" => Some(&SCRIPTS),
        "files" => Some(&FILES),
        _ => None,
    }
}

/// The text of a compiled-in file, by its path below `images/` (`locks/…`, `scripts/…`, `recipes/…`, `files/…`).
pub fn file(path: &str) -> Result<&'static str, Error> {
    let (room, rest) = path.split_once('/').unwrap_or(("", path));
    let dir = directory(room).context(error::MissingSnafu { path })?;
    dir.get_file(rest).and_then(include_dir::File::contents_utf8).context(error::MissingSnafu { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str =
        "suite='t'\narchitecture='amd64'\nlock='l'\nexclude=[]\ninclude=[]\nclean=[]\naccounts=[]\n";

    fn parse(files: &[(&str, &str)]) -> Result<Recipes, Error> {
        Recipes::parse(
            files.iter().map(|(n, t)| ((*n).to_owned(), *t)).chain([("debian.toml".to_owned(), DEBIAN)]),
        )
    }

    #[test]
    fn embedded_recipes_are_whole() {
        let recipes = Recipes::embedded().unwrap();
        assert!(recipes.published().contains(&"infra".to_owned()));
        for recipe in recipes.images.values() {
            for layer in &recipe.layers {
                if let Source::Script { script, inputs, root, with, .. } = &layer.source {
                    file(&format!("scripts/{script}")).unwrap();
                    for input in inputs {
                        file(input).unwrap();
                    }
                    root.iter().chain(with).for_each(|r| {
                        recipes.get(r).unwrap();
                    });
                }
            }
        }
    }

    #[test]
    fn layers_below_come_first_without_their_agent() {
        let recipes = parse(&[
            ("a.toml", "name='a'\nabout=''\n[[layers]]\nname='x'\nkind='debian'\npackages=[]\n[[layers]]\nname='agent'\nkind='artefact'\nartefact='agent'\npath='/a'\n"),
            ("b.toml", "name='b'\nabout=''\nfrom='a'\n[[layers]]\nname='y'\nkind='debian'\npackages=[]\n"),
        ])
        .unwrap();
        let names: Vec<_> = recipes.layers("b").unwrap().iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["x", "y"]);
        assert_eq!(recipes.layers("a").unwrap().len(), 2);
    }

    #[test]
    fn an_image_on_itself_is_refused() {
        let error = parse(&[("a.toml", "name='a'\nabout=''\nfrom='a'\nlayers=[]\n")]).unwrap_err();
        assert!(matches!(error, Error::Cycle { .. }), "{error}");
    }

    #[test]
    fn an_unknown_image_names_the_nearest() {
        let error = parse(&[("a.toml", "name='openstack-1'\nabout=''\nlayers=[]\n")])
            .unwrap()
            .get("openstack")
            .unwrap_err()
            .hint();
        assert_eq!(error.as_deref(), Some("did you mean \"openstack-1\"? There are: openstack-1"));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let error = parse(&[("a.toml", "name='a'\nabout=''\nlayrs=[]\n")]).unwrap_err();
        assert!(matches!(error, Error::Parse { .. }), "{error}");
    }
}
