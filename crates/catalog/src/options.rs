//! Which options each service understands, read out of the image that runs it.
//!
//! `data/options/<release>/<service>.json` is generated with oslo.config's own generator
//! (`oslo-config-generator --format json`, see its documentation) in the image and reduced to what checking needs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use include_dir::{Dir, include_dir};
use oaas_feedback::nearest;
use serde::Deserialize;

static DATA: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/data/options");
/// By release: what was read of it.
static READ: LazyLock<BTreeMap<String, OnceLock<OptionCatalog>>> =
    LazyLock::new(|| DATA.dirs().map(|release| (stem(release.path()), OnceLock::new())).collect());

/// What kind of value an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// Text, a host name, a URL, anything.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// True or false.
    Bool,
    /// A comma-separated list.
    List,
    /// An option that may stand several times.
    Multi,
    /// A comma-separated list of `key:value`.
    Dict,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OptionInfo {
    /// oslo.config's name of the type: `string`, `integer`, `list`, …
    #[serde(rename = "type")]
    pub type_name: String,
    /// The default.
    #[serde(default)]
    pub default: serde_json::Value,
    /// The least number allowed.
    #[serde(default)]
    pub min: Option<f64>,
    /// The greatest number allowed.
    #[serde(default)]
    pub max: Option<f64>,
    /// The values allowed, where these are listed.
    #[serde(default)]
    pub choices: Vec<serde_json::Value>,
    /// May it stand several times?
    #[serde(default)]
    pub multi: bool,
    /// May it be changed without a restart?
    #[serde(default)]
    pub mutable: bool,
    /// Does it hold a secret?
    #[serde(default)]
    pub secret: bool,
    /// What it is for, in a sentence.
    #[serde(default)]
    pub help: String,
    /// Older names.
    #[serde(default)]
    pub was: Vec<OlderName>,
    /// Is it to go away?
    #[serde(default)]
    pub deprecated: bool,
}

/// An older name of an option.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OlderName {
    /// The section, where it was another one.
    #[serde(default)]
    pub group: Option<String>,
    /// The name, where it was another one.
    #[serde(default)]
    pub name: Option<String>,
}

impl OptionInfo {
    /// Is it taken while the service runs, and can a value of it be judged in full by what is known here? All pods take
    /// another value at once; what is plain text, such as the name of a file, is shown to be right by a start alone.
    pub fn is_live(&self) -> bool {
        let judged = matches!(self.kind(), OptionKind::Bool | OptionKind::Integer | OptionKind::Float);
        self.mutable && (judged || !self.choices.is_empty() && self.kind() == OptionKind::Text)
    }

    /// What kind of value it takes.
    pub fn kind(&self) -> OptionKind {
        match self.type_name.as_str() {
            _ if self.multi => OptionKind::Multi,
            "boolean" => OptionKind::Bool,
            "integer" | "port" => OptionKind::Integer,
            "float" => OptionKind::Float,
            "list" => OptionKind::List,
            "dict" => OptionKind::Dict,
            _ => OptionKind::Text,
        }
    }
}

/// The file of one service, as `oaas image` writes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct OptionFile {
    pub(crate) groups: BTreeMap<String, BTreeMap<String, OptionInfo>>,
}

/// All options of one service in one release.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OptionIndex {
    sections: BTreeMap<String, BTreeMap<String, OptionInfo>>,
}

/// The options of all services of one release.
pub type OptionCatalog = BTreeMap<String, OptionIndex>;

/// The options of a release's services, as they were generated from its image. They are many, and few programs ask for
/// those of more than one release: each release's are read when they are asked for first.
pub(crate) fn of_release(release: &str) -> Option<&'static OptionCatalog> {
    READ.get(release).map(|read| {
        read.get_or_init(|| {
            self::read(release).expect("it is compiled in, and a test reads that of every release")
        })
    })
}

fn read(release: &str) -> Result<OptionCatalog, serde_json::Error> {
    let files = DATA.get_dir(release).into_iter().flat_map(Dir::files);
    files
        .filter(|file| file.path().extension().is_some_and(|kind| kind == "json"))
        .map(|file| {
            let list: OptionFile = serde_json::from_slice(file.contents())?;
            Ok((stem(file.path()), OptionIndex::new(list.groups)))
        })
        .collect()
}

/// The last part of a path; a file's without its ending.
fn stem(path: &Path) -> String {
    let part = if path.extension().is_some_and(|ending| ending == "json") {
        path.file_stem()
    } else {
        path.file_name()
    };
    part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
}

impl OptionIndex {
    /// From the generated groups.
    pub fn new(groups: BTreeMap<String, BTreeMap<String, OptionInfo>>) -> Self {
        let dashed = |options: BTreeMap<String, OptionInfo>| {
            options.into_iter().map(|(name, info)| (name.replace('-', "_"), info)).collect()
        };
        Self { sections: groups.into_iter().map(|(group, options)| (group, dashed(options))).collect() }
    }

    /// Does it know any option?
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// The option of that section and name.
    pub fn get(&self, section: &str, option: &str) -> Option<&OptionInfo> {
        self.sections.get(section)?.get(option)
    }

    /// The names of the sections.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// The names of the options in a section.
    pub fn options(&self, section: &str) -> impl Iterator<Item = &str> {
        self.sections.get(section).into_iter().flat_map(|options| options.keys().map(String::as_str))
    }

    /// Is that name an older one of an option? Then its present section and name.
    fn renamed(&self, section: &str, option: &str) -> Option<(&str, &str)> {
        self.sections.iter().find_map(|(group, options)| {
            options.iter().find_map(|(name, info)| {
                let matches = info.was.iter().any(|old| {
                    old.group.as_deref().unwrap_or(group) == section
                        && old.name.as_deref().unwrap_or(name) == option
                });
                matches.then_some((group.as_str(), name.as_str()))
            })
        })
    }

    /// The present section and name of an option, which may be written under an older one. Nothing where it is neither.
    pub fn present<'a>(&'a self, section: &str, option: &str) -> Option<(&'a str, &'a str)> {
        let own = self.sections.get_key_value(section).and_then(|(section, options)| {
            options.get_key_value(option).map(|(option, _)| (section.as_str(), option.as_str()))
        });
        own.or_else(|| self.renamed(section, option))
    }

    /// The nearest right thing for an option that is not known: its new name, one that is spelt alike, its section.
    /// `None` where nothing is near, as with the options of a plugin.
    pub fn instead_of(&self, section: &str, option: &str) -> Option<String> {
        if let Some((section, name)) = self.renamed(section, option) {
            Some(format!("it is now [{section}] {name}"))
        } else if let Some(near) = nearest(option, self.options(section)) {
            Some(format!("did you mean {near}?"))
        } else if let Some((other, _)) = self.sections.iter().find(|(_, has)| has.contains_key(option)) {
            Some(format!("the option {option} is in the section [{other}]"))
        } else if self.sections.contains_key(section) {
            None
        } else {
            nearest(section, self.sections()).map(|near| format!("did you mean {near}?"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_every_release_are_read() {
        assert!(!READ.is_empty());
        for release in READ.keys() {
            let read = read(release).unwrap_or_else(|error| panic!("{release}: {error}"));
            assert!(read.len() > 5 && read.values().all(|index| !index.is_empty()), "{release}");
        }
        assert!(of_release("2018.2").is_none());
    }
}
