//! What images are made of, as data: `images/recipes`, compiled in.

use std::collections::{BTreeMap, BTreeSet};

use include_dir::{Dir, include_dir};
use oaas_feedback::{Explain, Kind, nearest};
use serde::{Deserialize, Serialize};
use snafu::{OptionExt as _, ResultExt as _, Snafu, ensure};

use crate::release::Release;

static RECIPES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../images/recipes");
static RELEASES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../images/releases");
static LOCKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../images/locks");
static SCRIPTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../images/scripts");
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../images/files");

/// Files among the recipes that do not describe an image.
const NOT_IMAGES: [&str; 2] = ["debian.toml", "services.toml"];
/// Stands in the name of a recipe's file that describes an image of each release.
const PER_RELEASE: &str = "RELEASE";

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

/// One layer: a name, unique in its image, and where its files come from. A Debian layer's packages are locked by its
/// name: where several images have one of the same name, it is the same layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Names the layer in its image and, if it is a Debian layer, in the lock file.
    pub name: String,
    /// The release that it belongs to alone.
    #[serde(skip)]
    pub release: Option<String>,
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
        /// Which of the image's own layers below it the root is made of; without any, all of them. With `root`, these
        /// are to be found at `/mnt/image`.
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
    /// An image that no recipe describes, or a release that has no file.
    #[snafu(display("failed to find {what} named {name:?}"))]
    Unknown {
        /// An image or a release.
        what: &'static str,
        /// As given.
        name: String,
        /// All that there are.
        known: Vec<String>,
    },
    /// A release on a suite that no lock is for.
    #[snafu(display(
        "failed to make an image for the release {release}: it wants Debian {suite}, and what is locked is {locked}"
    ))]
    Suite {
        /// The release.
        release: String,
        /// What its file says.
        suite: String,
        /// The suite of the roots.
        locked: String,
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
            Self::Unknown { name, known, .. } => Some(match nearest(name, known) {
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
    /// By name.
    pub releases: BTreeMap<String, Release>,
}

impl Recipes {
    /// The recipes and releases that are compiled in.
    pub fn embedded() -> Result<Self, Error> {
        Self::parse(texts("", &RECIPES).chain(texts("releases/", &RELEASES)))
    }

    /// Read recipes and releases from `(file name, text)` pairs: one is `debian.toml`, those of releases begin with
    /// `releases/`, the others describe images. One with `RELEASE` in its file's name describes one of each release.
    pub fn parse<'a>(files: impl Iterator<Item = (String, &'a str)>) -> Result<Self, Error> {
        let (of_releases, of_images): (Vec<_>, Vec<_>) =
            files.partition(|(file, _)| file.starts_with("releases/"));
        let mut releases = BTreeMap::new();
        for (file, text) in of_releases {
            let release: Release = read(file, text)?;
            let name = release.name.clone();
            ensure!(
                releases.insert(name.clone(), release).is_none(),
                error::TwiceSnafu { what: "releases", name }
            );
        }
        let mut debian: Option<Debian> = None;
        let mut recipes: Vec<Recipe> = Vec::new();
        for (file, text) in of_images {
            if file == "debian.toml" {
                debian = Some(read(file, text)?);
            } else if file.contains(PER_RELEASE) {
                for release in releases.values() {
                    recipes.push(read::<Recipe>(file.clone(), &release.fill(text))?.of(&release.name));
                }
            } else if !NOT_IMAGES.contains(&file.as_str()) {
                recipes.push(read(file, text)?);
            }
        }
        let mut images = BTreeMap::new();
        for recipe in recipes {
            let name = recipe.name.clone();
            ensure!(
                images.insert(name.clone(), recipe).is_none(),
                error::TwiceSnafu { what: "images", name }
            );
        }
        let debian = debian.context(error::MissingSnafu { path: "recipes/debian.toml" })?;
        let recipes = Self { debian, images, releases };
        recipes.check()?;
        Ok(recipes)
    }

    /// A release.
    pub fn release(&self, name: &str) -> Result<&Release, Error> {
        self.releases.get(name).with_context(|| error::UnknownSnafu {
            what: "a release",
            name,
            known: self.releases.keys().cloned().collect::<Vec<_>>(),
        })
    }

    /// Names of the images that are published, sorted.
    pub fn published(&self) -> Vec<String> {
        self.images.values().filter(|r| r.published).map(|r| r.name.clone()).collect()
    }

    /// The recipe of an image.
    pub fn get(&self, name: &str) -> Result<&Recipe, Error> {
        self.images.get(name).with_context(|| error::UnknownSnafu {
            what: "an image",
            name,
            known: self.published(),
        })
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
        for Release { name, suite, .. } in self.releases.values() {
            let locked = &self.debian.suite;
            ensure!(suite == locked, error::SuiteSnafu { release: name, suite, locked });
        }
        let mut locked: BTreeMap<&str, (&Option<String>, &Layer)> = BTreeMap::new();
        for recipe in self.images.values() {
            let mut names = BTreeSet::new();
            for layer in self.layers(&recipe.name)? {
                ensure!(names.insert(&layer.name), error::TwiceSnafu { what: "layers", name: &layer.name });
            }
            for layer in recipe.layers.iter().filter(|layer| matches!(layer.source, Source::Debian { .. })) {
                let (from, other) = locked.entry(&layer.name).or_insert((&recipe.from, layer));
                ensure!(
                    *from == &recipe.from && other.source == layer.source,
                    error::TwiceSnafu { what: "different layers", name: &layer.name }
                );
            }
        }
        Ok(())
    }
}

impl Recipe {
    /// The recipe as that of a release: what it makes by scripts is this release's alone.
    fn of(mut self, release: &str) -> Self {
        for layer in self.layers.iter_mut().filter(|l| matches!(l.source, Source::Script { .. })) {
            layer.release = Some(release.to_owned());
        }
        self
    }
}

impl Layer {
    /// What people call it: its name, and the release that it belongs to.
    pub fn title(&self) -> String {
        match &self.release {
            Some(release) => format!("{} of {release}", self.name),
            None => self.name.clone(),
        }
    }

    /// Whether it is a file that the caller hands over.
    pub fn is_artefact(&self) -> bool {
        matches!(self.source, Source::Artefact { .. })
    }

    /// Whether it is the thin top layer with our own binary, whose change must not roll pods.
    pub fn is_thin(&self) -> bool {
        matches!(&self.source, Source::Artefact { artefact, .. } if artefact == "agent")
    }
}

/// The TOML files of a room, each with its name after `prefix`.
fn texts(prefix: &'static str, room: &'static Dir<'static>) -> impl Iterator<Item = (String, &'static str)> {
    let toml = |file: &&include_dir::File<'_>| file.path().extension().is_some_and(|kind| kind == "toml");
    room.files().filter(toml).filter_map(move |file| {
        let name = format!("{prefix}{}", file.path().display());
        file.contents_utf8().map(|text| (name, text))
    })
}

fn read<T: serde::de::DeserializeOwned>(file: String, text: &str) -> Result<T, Error> {
    toml::from_str(text).map_err(Box::new).context(error::ParseSnafu { file })
}

fn directory(room: &str) -> Option<&'static Dir<'static>> {
    match room {
        "recipes" => Some(&RECIPES),
        "releases" => Some(&RELEASES),
        "locks" => Some(&LOCKS),
        "scripts" => Some(&SCRIPTS),
        "files" => Some(&FILES),
        _ => None,
    }
}

/// The text of a compiled-in file, by its path below `images/` (`locks/…`, `scripts/…`, `recipes/…`,
/// `releases/…`, `files/…`).
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
        assert!(recipes.published().contains(&"mariadb".to_owned()));
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

    const PER_RELEASE_IMAGE: &str = "name='os-{release}'\nabout=''\n[[layers]]\nname='system'\nkind='debian'\npackages=['python{python}']\n\
         [[layers]]\nname='venv'\nkind='script'\nscript='s'\narguments=['{release}']\nkeep=['/v']\n";

    fn release(name: &str, python: &str) -> String {
        format!("name='{name}'\nsuite='t'\npython='{python}'\ndate='2026-01-01'\nrequirements=[]\n")
    }

    #[test]
    fn one_recipe_describes_an_image_of_each_release() {
        let (one, two) = (release("1", "3"), release("2", "3"));
        let files = [
            ("releases/1.toml", one.as_str()),
            ("releases/2.toml", &two),
            ("os-RELEASE.toml", PER_RELEASE_IMAGE),
        ];
        let recipes = parse(&files).unwrap();
        assert_eq!(recipes.published(), ["os-1", "os-2"]);
        let [first, second] = ["os-1", "os-2"].map(|name| recipes.layers(name).unwrap());
        assert_eq!(first[0], second[0], "Debian's packages are the same layer");
        assert_eq!((first[1].title(), second[1].title()), ("venv of 1".to_owned(), "venv of 2".to_owned()));
        let Source::Script { arguments, .. } = &second[1].source else { panic!("no script") };
        assert_eq!(arguments, &["2"]);
    }

    #[test]
    fn packages_of_one_name_cannot_be_two_layers() {
        let (one, two) = (release("1", "3"), release("2", "4"));
        let files = [
            ("releases/1.toml", one.as_str()),
            ("releases/2.toml", &two),
            ("os-RELEASE.toml", PER_RELEASE_IMAGE),
        ];
        let error = parse(&files).unwrap_err();
        assert!(matches!(&error, Error::Twice { name, .. } if name == "system"), "{error}");
    }

    #[test]
    fn a_release_on_another_suite_is_refused_by_name() {
        let text = release("1", "3").replace("'t'", "'bullseye'");
        let error = parse(&[("releases/1.toml", &text)]).unwrap_err().to_string();
        assert!(error.contains("release 1") && error.contains("bullseye"), "{error}");
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
