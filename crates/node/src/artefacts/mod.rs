//! The programs of the embedded Kubernetes, built from pinned sources and kept in the cache.
//!
//! # Flow
//! The recipes (`embedded/kubernetes`) are compiled into this crate. Their content, the Go version and the flags
//! make a key; what was built under a key lies in `<cache>/kubernetes/<key>` with a manifest of hashes.
//!
//! # Guarantees
//! A directory under its key is complete: it is built beside and renamed into place. Every file is compared with
//! its hash before it is used, unless nobody wrote to it since the last comparison (its size, inode and time of
//! change say so); a directory that does not match is reported and built again.

mod compile;
mod failure;
mod hashes;
mod programs;

use std::fs;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use oaas_feedback::Task;
use snafu::ResultExt;

use crate::files::{self, Access};
use compile::{build, go_version};
use failure::{KeepSnafu, MismatchSnafu};
use hashes::{MANIFEST, VERIFIED, verify, write_manifest};
use programs::{PROGRAMS, RECIPES, extract, key};

pub use failure::ArtefactError;
pub(crate) use hashes::sha256_remembered;

/// The built programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefacts {
    directory: PathBuf,
    key: String,
}

impl Artefacts {
    /// The directory that holds them.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What names their content, in hex.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The static program for the image that holds a pod's namespaces open.
    pub fn pause(&self) -> PathBuf {
        self.directory.join("pause")
    }

    /// All programs of Kubernetes in one; the first argument says which.
    pub fn kube(&self) -> PathBuf {
        self.directory.join("kube")
    }
}

/// Build the programs, or take them from the cache.
pub async fn ensure(cache_dir: &Path, task: &Task) -> Result<Artefacts, ArtefactError> {
    let version = go_version().await?;
    let key = key(&version);
    let root = cache_dir.join("kubernetes");
    let directory = root.join(&key);
    let artefacts = Artefacts { directory: directory.clone(), key: key.clone() };
    files::make_directory(&root, Access::Public).context(KeepSnafu)?;
    // Two instances that come up together build once.
    let lock = root.join(".lock");
    task.status("waits for another build");
    let _lock = tokio::task::spawn_blocking(move || lock_file(&lock))
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;

    if directory.exists() {
        task.status("compares with recorded hashes");
        match verify(&directory).await {
            Ok(()) => return Ok(artefacts),
            Err(damage) => {
                task.status(format!("the cache entry is damaged ({damage}); builds it again"));
                files::remove(&directory).context(KeepSnafu)?;
            }
        }
    }

    let work = root.join(format!(".build-{key}"));
    files::remove(&work).context(KeepSnafu)?;
    let (sources, out) = (work.join("sources"), work.join("out"));
    extract(&RECIPES, &sources).context(KeepSnafu)?;
    files::make_directory(&out, Access::Public).context(KeepSnafu)?;
    for program in &PROGRAMS {
        let child = task.child(program.name);
        child.end_with(build(program, &sources, &out, &child).await)?;
    }
    write_manifest(&out).await?;
    if let Err(damage) = verify(&out).await {
        return MismatchSnafu { path: out.join(damage) }.fail();
    }
    fs::rename(&out, &directory)
        .context(files::FileSnafu { verb: "put into place", path: &directory })
        .context(KeepSnafu)?;
    files::remove(&work).context(KeepSnafu)?;
    Ok(artefacts)
}

/// Are the programs in the cache? Does not compare hashes.
pub(crate) async fn is_built(cache_dir: &Path) -> bool {
    match go_version().await {
        Ok(version) => cache_dir.join("kubernetes").join(key(&version)).join(MANIFEST).exists(),
        Err(_) => false,
    }
}

fn lock_file(path: &Path) -> Result<Flock<fs::File>, ArtefactError> {
    let file = fs::File::create(path).context(files::FileSnafu { verb: "open", path }).context(KeepSnafu)?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno.into())
        .context(files::FileSnafu { verb: "lock", path })
        .context(KeepSnafu)
}

/// Put the programs where an instance runs them from, so that it survives a cleaned cache: as hard links, or copies
/// where the file systems differ. What older versions left there is removed if no one says it is in use.
pub async fn install(artefacts: &Artefacts, to: &Path) -> Result<PathBuf, ArtefactError> {
    let place = to.join(artefacts.key());
    if place.exists() && verify(&place).await.is_ok() {
        return Ok(place);
    }
    let new = to.join(format!(".new-{}", artefacts.key()));
    files::remove(&new).context(KeepSnafu)?;
    files::make_directory(&new, Access::Public).context(KeepSnafu)?;
    for name in PROGRAMS.iter().map(|program| program.name).chain([MANIFEST, VERIFIED]) {
        let (from, into) = (artefacts.directory.join(name), new.join(name));
        if fs::hard_link(&from, &into).is_err() {
            fs::copy(&from, &into)
                .context(files::FileSnafu { verb: "copy", path: &from })
                .context(KeepSnafu)?;
        }
    }
    files::remove(&place).context(KeepSnafu)?;
    fs::rename(&new, &place)
        .context(files::FileSnafu { verb: "put into place", path: &place })
        .context(KeepSnafu)?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use oaas_feedback::{Explain, Kind};

    use super::programs::{RECIPES, sources};
    use super::*;
    use crate::versions::{KUBERNETES, parse_go_version};

    #[test]
    fn the_recipes_pin_what_the_flags_say() {
        let text = |path: &str| RECIPES.get_file(path).unwrap().contents_utf8().unwrap();
        assert!(text("kube/go.mod").contains(&format!("k8s.io/kubernetes {KUBERNETES}")));
        assert!(text("containerd/go.mod").contains("github.com/containerd/containerd/v2 v2.4.2"));
        assert!(text("runc/go.mod").contains("github.com/opencontainers/runc v1.5.2"));
        for recipe in ["kube", "containerd", "runc", "cni"] {
            assert!(RECIPES.get_file(format!("{recipe}/go.sum")).is_some(), "{recipe} has no hashes");
        }
    }

    #[test]
    fn the_key_tells_compilers_apart_and_nothing_else() {
        assert_eq!(key("go1.26.8 linux amd64"), key("go1.26.8 linux amd64"));
        assert_ne!(key("go1.26.8 linux amd64"), key("go1.26.9 linux amd64"));
        assert!(!sources(&RECIPES).keys().any(|path| path.ends_with("_test.go")));
    }

    #[test]
    fn versions_of_go() {
        assert_eq!(parse_go_version("go1.26.8 linux amd64"), Some((1, 26)));
        assert_eq!(parse_go_version("go1.27rc1 linux amd64"), Some((1, 27)));
        assert_eq!(parse_go_version("devel"), None);
    }

    fn fake(directory: &Path) {
        for program in &PROGRAMS {
            fs::write(directory.join(program.name), program.name).unwrap();
        }
    }

    #[tokio::test]
    async fn a_changed_or_missing_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        fake(directory.path());
        assert_eq!(verify(directory.path()).await.unwrap_err(), "manifest.json");
        write_manifest(directory.path()).await.unwrap();
        assert_eq!(verify(directory.path()).await, Ok(()));
        fs::write(directory.path().join("runc"), "changed").unwrap();
        assert_eq!(verify(directory.path()).await.unwrap_err(), "runc");
        fs::remove_file(directory.path().join("runc")).unwrap();
        assert!(verify(directory.path()).await.is_err());
    }

    #[tokio::test]
    async fn an_instance_has_its_own_links_to_the_programs() {
        let (cache, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fake(cache.path());
        write_manifest(cache.path()).await.unwrap();
        assert_eq!(verify(cache.path()).await, Ok(()));
        let artefacts = Artefacts { directory: cache.path().into(), key: "abc".into() };
        let place = install(&artefacts, state.path()).await.unwrap();
        assert_eq!(place, install(&artefacts, state.path()).await.unwrap());
        assert_eq!(verify(&place).await, Ok(()));
    }

    #[test]
    fn a_wrong_hash_of_a_module_is_a_matter_of_integrity() {
        let said = "verifying k8s.io/api@v0.37.2: checksum mismatch\nSECURITY ERROR".to_owned();
        let error = ArtefactError::Build { program: "kube", said };
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(error.hint().unwrap().contains("GOPROXY"));
    }
}
