//! What is in a Debian package, held in memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oaas_feedback::{Explain, Kind};
use snafu::{IntoError, OptionExt, ResultExt, Snafu, ensure};

/// Why a package cannot be read.
#[derive(Debug, Snafu)]
pub enum DebError {
    /// The program that opens packages does not start.
    #[snafu(display("failed to run dpkg-deb, which opens Debian packages"))]
    Start {
        /// Why it did not start.
        source: std::io::Error,
    },
    /// The program that opens packages does not like this one.
    #[snafu(display("failed to open the Debian package {}: {said}", file.display()))]
    Open {
        /// The package's file.
        file: PathBuf,
        /// What `dpkg-deb` said.
        said: String,
    },
    /// The archive in the package is not whole.
    #[snafu(display("failed to read the files of the Debian package {}", file.display()))]
    Archive {
        /// The package's file.
        file: PathBuf,
        /// What the archive reader said.
        source: std::io::Error,
    },
    /// A file that the recipe wants is not in the package.
    #[snafu(display("failed to find {path} in the Debian package {package}"))]
    Missing {
        /// The package's name.
        package: String,
        /// The path that was looked for.
        path: String,
    },
}

impl Explain for DebError {
    fn kind(&self) -> Kind {
        match self {
            Self::Start { .. } => Kind::Environment,
            Self::Open { .. } | Self::Archive { .. } | Self::Missing { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::Start { .. }).then(|| "install the Debian package dpkg".to_owned())
    }
}

/// The files and links of one package; paths have no leading slash.
#[derive(Debug, Default)]
pub(crate) struct Package {
    name: String,
    files: BTreeMap<String, Vec<u8>>,
    links: BTreeMap<String, String>,
}

impl Package {
    /// Read the package `name` from its file.
    pub(crate) fn read(name: &str, file: &Path) -> Result<Self, DebError> {
        let mut child = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(file)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(StartSnafu)?;
        let archive = child.stdout.take().expect("standard output was piped");
        let package = Self::from_archive(name, tar::Archive::new(archive));
        let end = child.wait_with_output().context(StartSnafu)?;
        // What dpkg-deb says tells more than the archive it then cut short.
        ensure!(
            end.status.success(),
            OpenSnafu { file, said: String::from_utf8_lossy(&end.stderr).trim().to_owned() }
        );
        package.map_err(|source| ArchiveSnafu { file }.into_error(source))
    }

    fn from_archive(name: &str, mut archive: tar::Archive<impl Read>) -> std::io::Result<Self> {
        let mut package = Self { name: name.to_owned(), ..Self::default() };
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = normal(&entry.path()?.to_string_lossy());
            match entry.header().entry_type() {
                tar::EntryType::Regular => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    package.files.insert(path, content);
                }
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    let target = entry.link_name()?.map(|target| target.to_string_lossy().into_owned());
                    package.links.insert(path, target.unwrap_or_default());
                }
                _ => {}
            }
        }
        // Let dpkg-deb write all it has, so that it does not end by a closed pipe.
        std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
        Ok(package)
    }

    /// The content of a file; a link to one in the same package is followed.
    pub(crate) fn file(&self, path: &str) -> Result<&[u8], DebError> {
        let target = self.links.get(path).map_or_else(|| path.to_owned(), |target| beside(path, target));
        self.files.get(&target).map(Vec::as_slice).context(MissingSnafu { package: self.name.as_str(), path })
    }

    /// The only file whose path begins and ends so.
    pub(crate) fn only(&self, begin: &str, end: &str) -> Result<(&str, &[u8]), DebError> {
        let mut found = self.all(begin, end);
        match (found.next(), found.next()) {
            (Some(file), None) => Ok(file),
            _ => MissingSnafu { package: self.name.as_str(), path: format!("exactly one {begin}*{end}") }
                .fail(),
        }
    }

    /// The paths of the links that lead to a file.
    pub(crate) fn links_to(&self, path: &str) -> impl Iterator<Item = &str> {
        self.links
            .iter()
            .filter(move |(link, target)| beside(link, target) == path)
            .map(|(link, _)| link.as_str())
    }

    /// All files whose path begins and ends so, by path.
    pub(crate) fn all<'a>(&'a self, begin: &str, end: &str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.files
            .iter()
            .filter(move |(path, _)| path.starts_with(begin) && path.ends_with(end))
            .map(|(path, content)| (path.as_str(), content.as_slice()))
    }
}

/// `./usr/bin/x` and `usr/bin/x` are the same.
fn normal(path: &str) -> String {
    path.trim_start_matches("./").trim_end_matches('/').to_owned()
}

/// Where a link leads: a target without a slash lies beside the link.
fn beside(link: &str, target: &str) -> String {
    match link.rsplit_once('/') {
        Some((directory, _)) if !target.contains('/') => format!("{directory}/{target}"),
        _ => normal(target).trim_start_matches('/').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Make a small package with the host's own `dpkg-deb`.
    fn package(directory: &Path) -> PathBuf {
        let root = directory.join("root");
        fs::create_dir_all(root.join("DEBIAN")).unwrap();
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::write(
            root.join("DEBIAN/control"),
            "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: tiny\n",
        )
        .unwrap();
        fs::write(root.join("usr/lib/libx.so.1.0"), "x").unwrap();
        std::os::unix::fs::symlink("libx.so.1.0", root.join("usr/lib/libx.so.1")).unwrap();
        let file = directory.join("tiny.deb");
        let built = Command::new("dpkg-deb").arg("--build").arg(&root).arg(&file).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        file
    }

    #[test]
    fn files_are_found_through_links() {
        let directory = tempfile::tempdir().unwrap();
        let package = Package::read("tiny", &package(directory.path())).unwrap();
        assert_eq!(package.file("usr/lib/libx.so.1.0").unwrap(), b"x");
        assert_eq!(package.file("usr/lib/libx.so.1").unwrap(), b"x");
        assert_eq!(package.only("usr/lib/", ".0").unwrap().0, "usr/lib/libx.so.1.0");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let package = Package::read("tiny", &package(directory.path())).unwrap();
        let error = package.file("usr/bin/y").unwrap_err();
        assert_eq!(error.to_string(), "failed to find usr/bin/y in the Debian package tiny");
        let error = package.only("boot/", "").unwrap_err();
        assert_eq!(error.to_string(), "failed to find exactly one boot/* in the Debian package tiny");
    }

    #[test]
    fn a_broken_package_says_which() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("broken.deb");
        fs::write(&file, "not a package").unwrap();
        let error = Package::read("broken", &file).unwrap_err().to_string();
        assert!(error.contains("broken.deb") && error.contains("dpkg-deb"), "{error}");
    }
}
