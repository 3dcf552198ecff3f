//! Keys: what a layer is made of, as one hash. Pure.

use std::collections::BTreeMap;

use oaas_feedback::{Explain, Kind};
use serde_json::{Value, json};
use snafu::{ResultExt as _, Snafu};

use crate::archive::sha256_of;
use crate::debian::lock::{self, Lock, Package};
use crate::recipe::{self, Layer, Recipes, Source};

/// Raised when this crate makes other layers of the same inputs.
const REVISION: u32 = 1;

/// A key that cannot be told.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// A recipe names what is not there.
    #[snafu(display("failed to tell what the layers of image {image} are made of"))]
    Recipe {
        /// The image.
        image: String,
        /// What went wrong.
        source: recipe::Error,
    },
    /// A layer's packages are not locked.
    #[snafu(display("failed to tell what layer {layer} is made of"))]
    Lock {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: lock::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Recipe { source, .. } => source.kind(),
            Self::Lock { source, .. } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe { source, .. } => source.hint(),
            Self::Lock { source, .. } => source.hint(),
        }
    }
}

/// What keys are made from.
pub struct Inputs<'a> {
    /// The recipes.
    pub recipes: &'a Recipes,
    /// The Debian lock.
    pub lock: &'a Lock,
    /// sha256 of each artefact that the caller hands over.
    pub artefacts: &'a BTreeMap<String, String>,
    /// Compiled-in files, by path below `images/`.
    pub file: &'a dyn Fn(&str) -> Result<&'static str, recipe::Error>,
    /// Files that a caller hands over for this once, by path as if they lay below `images/`.
    pub given: &'a BTreeMap<String, String>,
}

impl Inputs<'_> {
    /// The text of a file that scripts find in `$INPUTS`, by path below `images/`.
    pub fn text(&self, path: &str) -> Result<&str, recipe::Error> {
        self.given.get(path).map_or_else(|| (self.file)(path), |text| Ok(text))
    }

    /// Keys of all layers of an image, lowest first.
    pub fn chain(&self, image: &str) -> Result<Vec<String>, Error> {
        let layers = self.recipes.layers(image).context(error::RecipeSnafu { image })?;
        let mut keys: Vec<String> = Vec::new();
        for (at, layer) in layers.iter().enumerate() {
            // Files that callers hand over are not part of what other layers are made on.
            let below = layers[..at]
                .iter()
                .zip(&keys)
                .filter(|(l, _)| !l.is_artefact())
                .map(|(l, k)| (l.name.as_str(), k.as_str()));
            let below: Vec<(&str, &str)> = below.collect();
            keys.push(self.key(image, layer, &below)?);
        }
        Ok(keys)
    }

    /// The key of a layer above layers of known names and keys.
    fn key(&self, image: &str, layer: &Layer, below: &[(&str, &str)]) -> Result<String, Error> {
        let made_of = match &layer.source {
            Source::Debian { extract, .. } => {
                let debian = &self.recipes.debian;
                json!({
                    "debian": debian,
                    "epoch": self.lock.epoch,
                    "packages": self.set(&layer.name)?,
                    "extract": extract,
                    "extracted": if extract.is_empty() { vec![] } else { self.set(&format!("{}+extract", layer.name))? },
                    "below": below.iter().map(|(_, key)| key).collect::<Vec<_>>(),
                })
            }
            Source::Script { script, root, on, with, decided_by, inputs, .. } => {
                let mut texts: BTreeMap<&str, String> = BTreeMap::new();
                let path = format!("scripts/{script}");
                for path in inputs.iter().chain([&path]) {
                    texts.insert(
                        path,
                        sha256_of(self.text(path).context(error::RecipeSnafu { image })?.as_bytes()),
                    );
                }
                let roots = match (decided_by, root) {
                    (Some(packages), _) => json!(self.versions(packages)),
                    (None, root) => {
                        let mut roots: Vec<Value> = with
                            .iter()
                            .map(|image| self.chain(image).map(|c| json!(c)))
                            .collect::<Result<_, _>>()?;
                        if let Some(image) = root {
                            roots.push(json!(self.chain(image)?));
                        }
                        let own =
                            |name: &str| on.iter().any(|o| o == name) || root.is_none() && on.is_empty();
                        let own: Vec<_> = below.iter().filter(|(name, _)| own(name)).collect();
                        if root.is_none() || !own.is_empty() {
                            roots.push(json!(own));
                        }
                        json!(roots)
                    }
                };
                json!({"source": layer.source, "texts": texts, "roots": roots})
            }
            Source::Artefact { artefact, .. } => {
                json!({"source": layer.source, "sha256": self.artefacts.get(artefact)})
            }
        };
        Ok(sha256_of(json!({"revision": REVISION, "layer": made_of}).to_string().as_bytes()))
    }

    fn set(&self, set: &str) -> Result<Vec<&Package>, Error> {
        self.lock.set(set).context(error::LockSnafu { layer: set })
    }

    fn versions(&self, packages: &[String]) -> BTreeMap<String, Option<String>> {
        packages
            .iter()
            .map(|name| (name.clone(), self.lock.packages.get(name).map(|p| p.version.clone())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str =
        "suite='t'\narchitecture='amd64'\nlock='l'\nexclude=[]\ninclude=[]\nclean=[]\naccounts=[]\n";
    const IMAGES: [(&str, &str); 3] = [
        (
            "base.toml",
            "name='base'\nabout=''\npublished=false\n[[layers]]\nname='base'\nkind='debian'\npackages=['a']\n",
        ),
        (
            "db.toml",
            "name='db'\nabout=''\nfrom='base'\n[[layers]]\nname='db'\nkind='debian'\npackages=['b']\n",
        ),
        (
            "top.toml",
            "name='top'\nabout=''\nfrom='base'\n\
             [[layers]]\nname='venv'\nkind='script'\nscript='venv'\ninputs=['in']\nkeep=['/v']\n\
             [[layers]]\nname='schema'\nkind='script'\nscript='schema'\nwith=['db']\ndecided_by=['b']\nkeep=['/s']\n\
             [[layers]]\nname='agent'\nkind='artefact'\nartefact='agent'\npath='/a'\n",
        ),
    ];

    struct Case {
        a: &'static str,
        b: &'static str,
        text: &'static str,
        agent: &'static str,
    }

    const SAME: Case = Case { a: "1", b: "1", text: "x", agent: "1" };

    fn chain(case: &Case) -> Vec<String> {
        let files =
            IMAGES.iter().map(|(n, t)| ((*n).to_owned(), *t)).chain([("debian.toml".to_owned(), DEBIAN)]);
        let recipes = Recipes::parse(files).unwrap();
        let line = |name: &str, version: &str, sets: &str| {
            format!("{name} {version} {} 1 main pool/{name} {sets}\n", sha256_of(version.as_bytes()))
        };
        let lock = Lock::parse(&(line("a", case.a, "base,db") + &line("b", case.b, "db"))).unwrap();
        let artefacts = BTreeMap::from([("agent".to_owned(), case.agent.to_owned())]);
        let text = case.text;
        let file = move |path: &str| Ok(if path == "in" { text } else { "script" });
        let given = BTreeMap::new();
        Inputs { recipes: &recipes, lock: &lock, artefacts: &artefacts, file: &file, given: &given }
            .chain("top")
            .unwrap()
    }

    /// Which of base, venv, schema, agent changed.
    fn changed(case: &Case) -> Vec<usize> {
        let (old, new) = (chain(&SAME), chain(case));
        (0..old.len()).filter(|i| old[*i] != new[*i]).collect()
    }

    #[test]
    fn one_more_image_changes_nothing_of_the_others() {
        let more = ("ceph.toml", IMAGES[1].1.replace("'db'", "'ceph'"));
        let with = |more: Option<(&str, String)>| {
            let files = IMAGES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
            let files: Vec<_> = files
                .chain(more.map(|(name, text)| (name.to_owned(), text)))
                .chain([("debian.toml".to_owned(), DEBIAN.to_owned())])
                .collect();
            let recipes =
                Recipes::parse(files.iter().map(|(name, text)| (name.clone(), text.as_str()))).unwrap();
            let line =
                |name: &str, sets: &str| format!("{name} 1 {} 1 main pool/{name} {sets}\n", sha256_of(b"1"));
            let lock = Lock::parse(&(line("a", "base,db,ceph") + &line("b", "db,ceph"))).unwrap();
            let (artefacts, given) = (BTreeMap::new(), BTreeMap::new());
            let inputs = Inputs {
                recipes: &recipes,
                lock: &lock,
                artefacts: &artefacts,
                file: &|_| Ok(""),
                given: &given,
            };
            (inputs.chain("db").unwrap(), inputs.chain("top").unwrap())
        };
        assert_eq!(with(None), with(Some(more)));
    }

    #[test]
    fn the_same_inputs_give_the_same_keys() {
        assert_eq!(changed(&SAME), [0; 0]);
    }

    #[test]
    fn only_what_is_concerned_changes() {
        assert_eq!(changed(&Case { a: "2", ..SAME }), [0, 1], "a package of the base");
        assert_eq!(changed(&Case { text: "y", ..SAME }), [1], "an input of the environment");
        assert_eq!(changed(&Case { b: "2", ..SAME }), [2], "the package that decides on the schema");
        assert_eq!(changed(&Case { agent: "2", ..SAME }), [3], "the agent");
    }
}
