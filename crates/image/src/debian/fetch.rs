//! Fetching locked packages into the cache, by the machine's own apt.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind, Task};
use snafu::{ResultExt as _, Snafu};

use super::lock::{Archive, Package};
use super::mirror::Mirrors;
use crate::archive;
use crate::process;
use crate::store::{self, Cache};

/// How many packages one run of apt fetches, so that progress shows and a broken run loses little.
const BATCH: usize = 40;

/// A package could not be had.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// The mirror serves it no longer.
    #[snafu(display("failed to fetch {file}: the mirror {mirror} no longer has {name} {version}"))]
    Gone {
        /// The package.
        name: String,
        /// The locked version.
        version: String,
        /// The file's path below the mirror.
        file: String,
        /// The mirror.
        mirror: String,
    },
    /// It is not what was locked.
    #[snafu(display("failed to verify {file}: its sha256 is {got}, the lock wants {wanted}"))]
    Hash {
        /// The file.
        file: String,
        /// Hex.
        wanted: String,
        /// Hex.
        got: String,
    },
    /// The mirror cannot be spoken to.
    #[snafu(display("failed to reach the Debian mirror {mirror}: {said}"))]
    Unreachable {
        /// The mirror.
        mirror: String,
        /// What apt says.
        said: String,
    },
    /// apt failed otherwise.
    #[snafu(display("failed to fetch {count} Debian packages"))]
    Apt {
        /// How many were asked for.
        count: usize,
        /// What went wrong.
        source: process::Error,
    },
    /// A file of the cache.
    #[snafu(display("failed to keep {}", path.display()))]
    Keep {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The cache.
    #[snafu(display("failed to make room for Debian packages"))]
    Cache {
        /// What went wrong.
        source: store::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Gone { .. } | Self::Unreachable { .. } => Kind::Environment,
            Self::Hash { .. } => Kind::Integrity,
            Self::Apt { source, .. } => source.kind(),
            Self::Cache { source } => source.kind(),
            Self::Keep { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Gone { .. } => Some("the mirror has moved on: oaas image lock --refresh takes its signed, current versions and prints the difference".into()),
            Self::Unreachable { .. } => Some("look at this machine's network and proxy settings, or name another mirror with OAAS_DEBIAN_MIRROR; the same command goes on".into()),
            Self::Hash { .. } => Some("the mirror or a proxy hands out another file under this name: try another mirror (OAAS_DEBIAN_MIRROR), or oaas image lock --refresh and read the difference".into()),
            Self::Apt { source, .. } => source.hint(),
            Self::Cache { source } => source.hint(),
            Self::Keep { .. } => None,
        }
    }
}

/// A package to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Of the .deb, hex.
    pub sha256: &'a str,
    /// Which archive serves it.
    pub archive: Archive,
    /// Path below the archive.
    pub path: &'a str,
}

impl<'a> From<&'a Package> for Wanted<'a> {
    fn from(package: &'a Package) -> Self {
        let Package { name, version, sha256, archive, path, .. } = package;
        Self { name, version, sha256, archive: *archive, path }
    }
}

/// See that every package lies in the cache as locked. What lies there and is something else is fetched again.
pub async fn fetch(
    cache: &Cache,
    packages: &[Wanted<'_>],
    mirrors: &Mirrors,
    task: &Task,
) -> Result<(), Error> {
    let mut missing: Vec<&Wanted<'_>> = Vec::new();
    for (package, found) in packages.iter().zip(look(cache, packages).await?) {
        if found == Found::Corrupt {
            let Wanted { name, sha256, .. } = package;
            task.status(format!(
                "the cached package {name} is corrupt (its sha256 is not {sha256}); fetches it again"
            ));
            tracing::warn!(name, sha256, "corrupt cache entry");
        }
        if found != Found::Whole {
            missing.push(package);
        }
    }
    let total = missing.len() as u64;
    cache.directory("debs").context(error::CacheSnafu)?;
    let scratch = cache.work().context(error::CacheSnafu)?;
    let mut done = 0;
    for batch in missing.chunks(BATCH) {
        task.progress(done, total, "packages");
        let mut apt = process::command("/usr/lib/apt/apt-helper");
        apt.args(["-o", "Acquire::Retries=3", "download-file"]).env("LC_ALL", "C.UTF-8");
        for package in batch {
            let uri = format!("{}/{}", mirrors.of(package.archive), package.path);
            apt.args([
                uri,
                target(scratch.path(), package).display().to_string(),
                format!("SHA256:{}", package.sha256),
            ]);
        }
        let result = process::run("fetch Debian packages", apt, &Task::silent()).await;
        // What did arrive is kept, whatever became of the others.
        for package in batch {
            let file = target(scratch.path(), package);
            match (sum(&file).await, &result) {
                (Ok(got), _) if got == package.sha256 => {
                    let path = cache.deb(package.sha256);
                    fs::rename(&file, &path).context(error::KeepSnafu { path })?;
                }
                (Ok(got), Ok(_)) => {
                    return error::HashSnafu { file: package.path, wanted: package.sha256, got }.fail();
                }
                _ => {}
            }
        }
        if let Err(source) = result {
            return Err(explain(source, batch, mirrors));
        }
        done += batch.len() as u64;
    }
    match missing.iter().find(|p| !cache.deb(p.sha256).exists()) {
        None => Ok(()),
        Some(p) => {
            error::GoneSnafu { name: p.name, version: p.version, file: p.path, mirror: mirrors.of(p.archive) }
                .fail()
        }
    }
}

fn target(scratch: &Path, package: &Wanted<'_>) -> PathBuf {
    scratch.join(package.sha256)
}

/// What the cache has of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Whole,
    Corrupt,
    Nothing,
}

/// Compare what the cache has with the hashes.
async fn look(cache: &Cache, packages: &[Wanted<'_>]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for package in packages {
        let path = cache.deb(package.sha256);
        found.push(match sum(&path).await {
            Ok(got) if got == package.sha256 => Found::Whole,
            Ok(_) => Found::Corrupt,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
            Err(source) => return Err(source).context(error::KeepSnafu { path }),
        });
    }
    Ok(found)
}

/// sha256 of a file, computed off the async threads.
async fn sum(path: &Path) -> io::Result<String> {
    let path = path.to_owned();
    match tokio::task::spawn_blocking(move || archive::sha256(&path)).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Which of the packages apt's failure is about, if it says so.
fn explain(source: process::Error, batch: &[&Wanted<'_>], mirrors: &Mirrors) -> Error {
    let said = source.to_string();
    let about = |marks: &[&str]| {
        let base = |p: &Wanted<'_>| {
            p.path.rsplit('/').next().unwrap_or_default().replace('+', "%2b").replace('~', "%7e")
        };
        batch.iter().find(|p| {
            let names = [base(p), p.path.rsplit('/').next().unwrap_or_default().to_owned()];
            said.lines().any(|l| names.iter().any(|n| l.contains(n)) && marks.iter().any(|m| l.contains(m)))
        })
    };
    // With what apt puts around it: a port may have these digits too.
    if let Some(p) = about(&["  404 "]) {
        return Error::Gone {
            name: p.name.into(),
            version: p.version.into(),
            file: p.path.into(),
            mirror: mirrors.of(p.archive).into(),
        };
    }
    if let Some(p) = about(&["Hash Sum mismatch", "File has unexpected size"]) {
        let got = said
            .split_once("received file:")
            .and_then(|(_, rest)| rest.split_once("SHA256:"))
            .map_or("another", |(_, sha)| sha.get(..64).unwrap_or(sha));
        return Error::Hash { file: p.path.into(), wanted: p.sha256.into(), got: got.into() };
    }
    // What apt says of a mirror that does not answer; a line is `E: Failed to fetch URL  reason`.
    let silent = [
        "Could not connect",
        "Unable to connect",
        "Could not resolve",
        "Temporary failure resolving",
        "Connection failed",
        "timed out",
    ];
    let line = said.lines().find(|l| l.starts_with("E:") && silent.iter().any(|mark| l.contains(mark)));
    if let Some((line, p)) = line.zip(batch.first()) {
        let of_line =
            [Archive::Main, Archive::Security].map(|a| mirrors.of(a)).into_iter().find(|m| line.contains(*m));
        let reason = line.split_once("  ").map_or(line, |(_, reason)| reason.trim().trim_end_matches(':'));
        let mirror = of_line.unwrap_or_else(|| mirrors.of(p.archive)).into();
        return Error::Unreachable { mirror, said: reason.into() };
    }
    Error::Apt { count: batch.len(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mirror on the loopback that serves one file, by the real apt.
    async fn mirror(file: &'static str, body: &'static [u8]) -> (Mirrors, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/debian", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route(&format!("/debian/{file}"), axum::routing::get(move || async move { body }));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (Mirrors { main: url.clone(), security: url }, task)
    }

    fn package(path: &str, body: &[u8]) -> Package {
        Package {
            name: "thing".into(),
            version: "1.0+x~1".into(),
            sha256: archive::sha256_of(body),
            size: body.len() as u64,
            archive: Archive::Main,
            path: path.into(),
        }
    }

    const FILE: &str = "pool/main/t/thing/thing_1.0_amd64.deb";

    #[tokio::test]
    async fn a_locked_package_is_fetched_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let wanted = package(FILE, b"content");
        let (mirrors, server) = mirror(FILE, b"content").await;
        fetch(&cache, &[(&wanted).into()], &mirrors, &Task::silent()).await.unwrap();
        assert_eq!(fs::read(cache.deb(&wanted.sha256)).unwrap(), b"content");
        server.abort();
        fetch(&cache, &[(&wanted).into()], &mirrors, &Task::silent()).await.unwrap();
    }

    #[tokio::test]
    async fn a_cached_package_that_is_corrupt_is_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let wanted = package(FILE, b"content");
        let (mirrors, server) = mirror(FILE, b"content").await;
        let cached = cache.directory("debs").unwrap().join(&wanted.sha256);
        fs::write(&cached, b"CONTENT").unwrap();
        fetch(&cache, &[(&wanted).into()], &mirrors, &Task::silent()).await.unwrap();
        server.abort();
        assert_eq!(fs::read(cached).unwrap(), b"content");
    }

    #[tokio::test]
    async fn a_mirror_that_does_not_answer_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let silent = "http://127.0.0.1:1/debian".to_owned();
        let mirrors = Mirrors { main: silent.clone(), security: silent };
        let wanted = package(FILE, b"content");
        let error = fetch(&Cache::at(dir.path()), &[(&wanted).into()], &mirrors, &Task::silent()).await;
        let error = error.unwrap_err();
        assert!(
            error.to_string().starts_with("failed to reach the Debian mirror http://127.0.0.1:1/debian: "),
            "{error}"
        );
        assert_eq!(error.kind(), Kind::Environment);
        assert!(error.hint().unwrap().contains("OAAS_DEBIAN_MIRROR"));
    }

    #[tokio::test]
    async fn a_package_that_the_mirror_dropped_says_how_to_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let gone = package("pool/main/t/thing/thing_0.9+a~b_amd64.deb", b"content");
        let (mirrors, server) = mirror(FILE, b"content").await;
        let error =
            fetch(&Cache::at(dir.path()), &[(&gone).into()], &mirrors, &Task::silent()).await.unwrap_err();
        server.abort();
        assert!(matches!(error, Error::Gone { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("lock --refresh"));
    }

    #[tokio::test]
    async fn a_package_with_other_content_names_both_hashes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let wanted = package(FILE, b"content");
        let (mirrors, server) = mirror(FILE, b"CONTENT").await;
        let error = fetch(&cache, &[(&wanted).into()], &mirrors, &Task::silent()).await.unwrap_err();
        server.abort();
        let Error::Hash { file, wanted: w, got } = &error else { panic!("{error:?}") };
        assert_eq!((file.as_str(), w, got), (FILE, &wanted.sha256, &archive::sha256_of(b"CONTENT")));
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(!cache.deb(&wanted.sha256).exists());
    }
}
