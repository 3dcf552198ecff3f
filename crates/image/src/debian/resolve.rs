//! Making the lock: what apt would install into an empty root, by the signed indices of the suite.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind, Task};
use snafu::{OptionExt as _, ResultExt as _, Snafu};
use tokio::process::Command;

use super::lock::{Archive, Lock, Package};
use super::mirror::Mirrors;
use crate::process;
use crate::recipe::{self, Debian, Extract, Recipes, Source};

/// Where Debian machines keep the archive's keys.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The suite could not be resolved.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// A file of the temporary apt configuration.
    #[snafu(display("failed to write {}", path.display()))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// apt failed.
    #[snafu(display("failed to resolve the packages of {what}"))]
    Apt {
        /// A layer, or the suite's indices.
        what: String,
        /// What went wrong.
        source: process::Error,
    },
    /// A recipe cannot be used.
    #[snafu(display("failed to read the recipes"))]
    Recipe {
        /// What went wrong.
        source: recipe::Error,
    },
    /// apt describes a package without a field we need.
    #[snafu(display("failed to lock the package {name}: apt shows no {field}"))]
    Field {
        /// The package.
        name: String,
        /// The field.
        field: &'static str,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Apt { source, .. } => source.kind(),
            _ => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Apt { source, .. } => source.hint().or_else(|| {
                (!Path::new(KEYRING).exists())
                    .then(|| "the archive's keys are in the Debian package debian-archive-keyring".into())
            }),
            _ => None,
        }
    }
}

/// An apt of its own, in a directory: empty status, the suite's sources, nothing of the machine's packages.
struct Apt {
    root: PathBuf,
    architecture: String,
}

impl Apt {
    fn new(root: &Path, debian: &Debian, mirrors: &Mirrors) -> Result<Self, Error> {
        for dir in ["etc/preferences.d", "state/lists/partial", "cache/archives/partial"] {
            let path = root.join(dir);
            fs::create_dir_all(&path).context(error::WriteSnafu { path })?;
        }
        let suite = &debian.suite;
        let line = |mirror: &str, suite: &str| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
        let sources = line(&mirrors.main, suite)
            + &line(&mirrors.main, &format!("{suite}-updates"))
            + &line(&mirrors.security, &format!("{suite}-security"));
        for (file, text) in [("etc/sources.list", sources.as_str()), ("state/status", "")] {
            let path = root.join(file);
            fs::write(&path, text).context(error::WriteSnafu { path })?;
        }
        Ok(Self { root: root.into(), architecture: debian.architecture.clone() })
    }

    /// apt's program with this configuration. What the machine says about proxies stays in force.
    fn command(&self, program: &str) -> Command {
        let mut command = process::command(program);
        let dir = |option: &str, below: &str| format!("{option}={}", self.root.join(below).display());
        let options = [
            dir("Dir::State", "state"),
            dir("Dir::State::status", "state/status"),
            dir("Dir::Cache", "cache"),
            dir("Dir::Etc::sourcelist", "etc/sources.list"),
            dir("Dir::Etc::preferences", "etc/preferences"),
            dir("Dir::Etc::preferencesparts", "etc/preferences.d"),
            "Dir::Etc::sourceparts=/nonexistent".into(),
            "APT::Install-Recommends=false".into(),
            format!("APT::Architecture={}", self.architecture),
            format!("APT::Architectures={}", self.architecture),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=3".into(),
            "DPkg::Post-Invoke=".into(),
            "APT::Update::Post-Invoke-Success=".into(),
        ];
        command.args(options.iter().flat_map(|o| ["-o", o])).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Names and versions that an installation of these would bring.
    async fn closure(&self, layer: &str, packages: &[String], task: &Task) -> Result<Vec<String>, Error> {
        let mut simulate = self.command("apt-get");
        simulate.args(["install", "--simulate", "-y", "-q"]).args(packages);
        let said = process::run(&format!("resolve the packages of {layer}"), simulate, task).await;
        Ok(installs(&said.context(error::AptSnafu { what: format!("layer {layer}") })?))
    }

    async fn show(&self, names: &[String], task: &Task) -> Result<Vec<Package>, Error> {
        let mut show = self.command("apt-cache");
        show.args(["show", "--no-all-versions"]).args(names);
        let said = process::run("describe packages", show, task)
            .await
            .context(error::AptSnafu { what: "the suite" })?;
        said.split("\n\n").filter(|s| s.starts_with("Package:")).map(describe).collect()
    }
}

/// `name=version` of apt's simulated `Inst name (version suite [arch])` lines.
fn installs(said: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut words = line.strip_prefix("Inst ")?.split(' ');
        let name = words.next()?;
        let version = words.next()?.strip_prefix('(')?;
        Some(format!("{name}={version}"))
    };
    said.lines().filter_map(line).collect()
}

/// A package by its stanza in the suite's index.
fn describe(stanza: &str) -> Result<Package, Error> {
    let value = |field: &str| {
        stanza.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(": ")).map(str::to_owned)
    };
    let name = value("Package").unwrap_or_default();
    let want = |field| value(field).context(error::FieldSnafu { name: &name, field });
    let path = want("Filename")?;
    Ok(Package {
        version: want("Version")?,
        sha256: want("SHA256")?,
        size: want("Size")?.parse().ok().context(error::FieldSnafu { name: &name, field: "Size" })?,
        // The security archive keeps its pool apart from the releases'.
        archive: if path.starts_with("pool/updates/") { Archive::Security } else { Archive::Main },
        path,
        name,
    })
}

/// Resolve every Debian layer of the recipes on the signed suite, in a scratch directory.
pub async fn resolve(
    recipes: &Recipes,
    mirrors: &Mirrors,
    scratch: &Path,
    task: &Task,
) -> Result<Lock, Error> {
    let apt = Apt::new(scratch, &recipes.debian, mirrors)?;
    task.status("reads the suite's indices");
    let mut update = apt.command("apt-get");
    // Otherwise a mirror that cannot be reached is a warning, and then no package can be located.
    update.args(["-o", "APT::Update::Error-Mode=any", "update", "-q"]);
    process::run("read the suite's indices", update, task)
        .await
        .context(error::AptSnafu { what: "the suite's indices" })?;
    let mut lock = Lock::default();
    let mut all = BTreeSet::new();
    for image in recipes.images.keys() {
        for layer in &recipes.images[image].layers {
            let Source::Debian { extract, .. } = &layer.source else { continue };
            // Images of several releases stand on the same packages.
            if lock.sets.contains_key(&layer.name) {
                continue;
            }
            let wanted = packages(recipes, image, &layer.name).context(error::RecipeSnafu)?;
            let closure = apt.closure(&layer.name, &wanted, task).await?;
            let name = |pin: &String| pin.split('=').next().unwrap_or_default().to_owned();
            lock.sets.insert(layer.name.clone(), closure.iter().map(name).collect());
            all.extend(closure);
            if !extract.is_empty() {
                let names: BTreeSet<String> =
                    extract.iter().map(|Extract { package, .. }| package.clone()).collect();
                all.extend(names.iter().cloned());
                lock.sets.insert(format!("{}+extract", layer.name), names);
            }
        }
    }
    let names: Vec<String> = all.into_iter().collect();
    for package in apt.show(&names, task).await? {
        lock.packages.insert(package.name.clone(), package);
    }
    Ok(lock)
}

/// What a Debian layer's root is asked to hold: the packages of the layers up to and including it.
pub fn packages(recipes: &Recipes, image: &str, layer: &str) -> Result<Vec<String>, recipe::Error> {
    let mut wanted = Vec::new();
    for below in recipes.layers(image)? {
        if let Source::Debian { packages, .. } = &below.source {
            wanted.extend(packages.iter().cloned());
        }
        if below.name == layer {
            break;
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_installs_are_read() {
        let said = "NOTE: This is only a simulation!\nInst gcc-14-base (14.2.0-19 Debian:13.3/stable [amd64])\n\
                    Inst libc6 (2.41-12+deb13u2 Debian:13.3/stable [amd64]) []\nConf libc6 (2.41-12 x)";
        assert_eq!(installs(said), ["gcc-14-base=14.2.0-19", "libc6=2.41-12+deb13u2"]);
    }

    #[test]
    fn a_stanza_becomes_a_package() {
        let stanza = "Package: novnc\nVersion: 1:1.6.0-2\nDepends: x\nFilename: pool/main/n/novnc/novnc_1.6.0-2_all.deb\nSize: 280152\nSHA256: ab";
        let package = describe(stanza).unwrap();
        assert_eq!(
            (package.name.as_str(), package.version.as_str(), package.size),
            ("novnc", "1:1.6.0-2", 280_152)
        );
        let error = describe("Package: novnc\nVersion: 1\nFilename: pool/x").unwrap_err();
        assert!(error.to_string().contains("novnc") && error.to_string().contains("SHA256"), "{error}");
    }
}
