//! The Debian lock: name, version, sha256 of every package of every root. One text line each.
//!
//! ```text
//! # comment
//! epoch 1795392000
//! bash 5.2.37-2+b8 <sha256> 1499572 main pool/main/b/bash/bash_5.2.37-2+b8_amd64.deb base,build,mariadb
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use oaas_feedback::{Explain, Kind};
use serde::Serialize;
use snafu::{OptionExt as _, Snafu, ensure};

/// One locked package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, with epoch.
    pub version: String,
    /// Of the .deb, hex.
    pub sha256: String,
    /// Bytes of the .deb.
    pub size: u64,
    /// Which archive serves it.
    pub archive: Archive,
    /// Path below the archive.
    pub path: String,
}

/// The two archives of Debian, each with its mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Archive {
    /// Releases and updates.
    Main,
    /// Security updates.
    Security,
}

/// All locked packages, and which roots each is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// When it was made, in seconds since 1970. Nothing in an image is younger, so that digests repeat; no locked
    /// package is, so that Python's caches of Debian's modules, which know their age, stay valid.
    pub epoch: u64,
    /// By name.
    pub packages: BTreeMap<String, Package>,
    /// Layer name → package names. A name with `+extract` holds what is only unpacked.
    pub sets: BTreeMap<String, BTreeSet<String>>,
}

/// The lock file cannot be used.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// A line is not a package.
    #[snafu(display("failed to read line {line} of the Debian lock: {why}: {text:?}"))]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
        /// The line.
        text: String,
    },
    /// A layer has no packages in it.
    #[snafu(display("failed to find the packages of layer {set} in the Debian lock"))]
    NoSet {
        /// The layer.
        set: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Failed
    }

    fn hint(&self) -> Option<String> {
        Some("oaas image lock --refresh makes the lock anew".into())
    }
}

/// What one lock has other than another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Came.
    Added {
        /// The package.
        name: String,
        /// Its version.
        version: String,
    },
    /// Went.
    Removed {
        /// The package.
        name: String,
        /// The version it had.
        version: String,
    },
    /// Another version, or another build of the same one.
    Changed {
        /// The package.
        name: String,
        /// The version it had.
        from: String,
        /// The version it has.
        to: String,
    },
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Added { name, version } => write!(f, "+ {name} {version}"),
            Self::Removed { name, version } => write!(f, "- {name} {version}"),
            Self::Changed { name, from, to } if from == to => write!(f, "~ {name} {from} (other content)"),
            Self::Changed { name, from, to } => write!(f, "~ {name} {from} -> {to}"),
        }
    }
}

impl Lock {
    /// Read a lock file.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut lock = Self::default();
        for (index, text) in text.lines().enumerate() {
            let fail = |why| error::LineSnafu { line: index + 1, why, text };
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if let Some(epoch) = text.strip_prefix("epoch ") {
                lock.epoch = epoch.parse().ok().with_context(|| fail("the epoch is not a number"))?;
                continue;
            }
            let fields: Vec<&str> = text.split(' ').collect();
            let [name, version, sha256, size, archive, path, sets] = fields[..] else {
                return fail("seven fields are wanted").fail();
            };
            ensure!(
                sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()),
                fail("the third field is not a sha256")
            );
            ensure!(path.starts_with("pool/") && !path.contains(".."), fail("the path is not below pool/"));
            let package = Package {
                name: name.into(),
                version: version.into(),
                sha256: sha256.into(),
                size: size.parse().ok().with_context(|| fail("the size is not a number"))?,
                archive: match archive {
                    "main" => Archive::Main,
                    "security" => Archive::Security,
                    _ => return fail("the archive is neither main nor security").fail(),
                },
                path: path.into(),
            };
            for set in sets.split(',') {
                lock.sets.entry(set.into()).or_default().insert(name.into());
            }
            ensure!(lock.packages.insert(name.into(), package).is_none(), fail("the package is there twice"));
        }
        Ok(lock)
    }

    /// The lock as text, sorted; `about` are its first comment lines.
    pub fn render(&self, about: &str) -> String {
        let mut text: String = about.lines().map(|line| format!("# {line}\n")).collect();
        let _ = writeln!(text, "epoch {}", self.epoch);
        for (name, p) in &self.packages {
            let sets: Vec<&str> = self
                .sets
                .iter()
                .filter(|(_, names)| names.contains(name))
                .map(|(set, _)| set.as_str())
                .collect();
            let archive = match p.archive {
                Archive::Main => "main",
                Archive::Security => "security",
            };
            let _ = writeln!(
                text,
                "{name} {} {} {} {archive} {} {}",
                p.version,
                p.sha256,
                p.size,
                p.path,
                sets.join(",")
            );
        }
        text
    }

    /// The packages of a layer's root, sorted by name.
    pub fn set(&self, set: &str) -> Result<Vec<&Package>, Error> {
        let names = self.sets.get(set).context(error::NoSetSnafu { set })?;
        Ok(names.iter().filter_map(|name| self.packages.get(name)).collect())
    }

    /// What `new` has other than this.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let pins = |lock: &Self| -> Pins {
            lock.packages
                .iter()
                .map(|(name, p)| (name.clone(), (p.version.clone(), p.sha256.clone())))
                .collect()
        };
        changes(&pins(self), &pins(new))
    }
}

/// Package name → version and hash.
pub type Pins = BTreeMap<String, (String, String)>;

/// What one set of pins has other than another, sorted by name.
pub fn changes(old: &Pins, new: &Pins) -> Vec<Change> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |name: &String| match (old.get(name), new.get(name)) {
        (None, Some((version, _))) => Some(Change::Added { name: name.clone(), version: version.clone() }),
        (Some((version, _)), None) => Some(Change::Removed { name: name.clone(), version: version.clone() }),
        (Some((from, a)), Some((to, b))) if a != b => {
            Some(Change::Changed { name: name.clone(), from: from.clone(), to: to.clone() })
        }
        _ => None,
    };
    names.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, version: &str, digit: char, sets: &str) -> String {
        let sha = digit.to_string().repeat(64);
        format!("{name} {version} {sha} 10 main pool/main/{name}_{version}_amd64.deb {sets}\n")
    }

    #[test]
    fn a_lock_reads_back_as_it_was_written() {
        let text = format!(
            "# two roots\nepoch 7\n{}{}",
            line("bash", "1:5.2-1~deb13u1", 'a', "base,infra"),
            line("haproxy", "3", 'b', "infra")
        );
        let lock = Lock::parse(&text).unwrap();
        assert_eq!(lock.set("infra").unwrap().len(), 2);
        assert_eq!(lock.set("base").unwrap()[0].name, "bash");
        assert_eq!(lock.render("two roots"), text);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (bad, why) in [
            ("bash 1\n".to_owned(), "seven fields"),
            (line("bash", "1", 'x', "base"), "not a sha256"),
            (line("bash", "1", 'a', "base").replace("pool/", "../"), "below pool/"),
            (line("bash", "1", 'a', "base").replace(" 10 ", " ten "), "not a number"),
            (line("bash", "1", 'a', "base").replace(" main ", " contrib "), "neither"),
        ] {
            let error = Lock::parse(&format!("# c\n{bad}")).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_layer_that_is_not_locked_says_how_to_lock_it() {
        let error = Lock::default().set("infra").unwrap_err();
        assert!(error.to_string().contains("infra"));
        assert!(error.hint().unwrap().contains("--refresh"));
    }

    #[test]
    fn changes_are_what_a_person_wants_to_read() {
        let old =
            Lock::parse(&(line("a", "1", 'a', "x") + &line("b", "1", 'b', "x") + &line("c", "1", 'c', "x")))
                .unwrap();
        let new =
            Lock::parse(&(line("b", "2", 'd', "x") + &line("c", "1", 'e', "x") + &line("d", "1", 'f', "x")))
                .unwrap();
        let said: Vec<String> = old.changes(&new).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["- a 1", "~ b 1 -> 2", "~ c 1 (other content)", "+ d 1"]);
        assert!(old.changes(&old).is_empty());
    }
}
