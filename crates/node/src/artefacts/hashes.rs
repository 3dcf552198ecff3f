//! Hashes of what was built: recorded, and compared before it is used.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use snafu::ResultExt;

use super::failure::{ArtefactError, KeepSnafu};
use super::programs::PROGRAMS;
use crate::command::{self, CommandError};
use crate::files::{self, Access};

/// Hashes of the files of one directory.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    sha256: BTreeMap<String, String>,
}

pub(super) const MANIFEST: &str = "manifest.json";

/// What the files looked like when they were last compared with their hashes.
pub(super) const VERIFIED: &str = "verified.json";

/// Enough of a file to notice that somebody wrote to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    size: u64,
    inode: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Stamp {
    /// Of a file, if it is there.
    pub fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(path).ok()?;
        Some(Self { size: found.size(), inode: found.ino(), modified: (found.mtime(), found.mtime_nsec()) })
    }
}

/// Compare every file with its recorded hash. Fails with the name of what does not match.
pub(super) async fn verify(directory: &Path) -> Result<(), String> {
    let manifest = fs::read(directory.join(MANIFEST)).map_err(|_| MANIFEST.to_owned())?;
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|_| MANIFEST.to_owned())?;
    for program in &PROGRAMS {
        if !manifest.sha256.contains_key(program.name) {
            return Err(program.name.to_owned());
        }
    }
    let stamps = || -> Option<BTreeMap<String, Stamp>> {
        manifest.sha256.keys().map(|name| Some((name.clone(), Stamp::of(&directory.join(name))?))).collect()
    };
    let before = stamps().ok_or("a file is missing")?;
    let record = directory.join(VERIFIED);
    let verified = fs::read(&record).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if verified.as_ref() == Some(&before) {
        return Ok(());
    }
    let names: Vec<&str> = manifest.sha256.keys().map(String::as_str).collect();
    let found = hashes(directory, &names).await.map_err(|error| error.to_string())?;
    if let Some((name, _)) = manifest.sha256.iter().find(|(name, hash)| found.get(*name) != Some(*hash)) {
        return Err(name.clone());
    }
    // Those from before: a write meanwhile makes the next look compare again. Only a record: without it, too.
    let _ = files::write(&record, &serde_json::to_vec(&before).unwrap_or_default(), Access::Public);
    Ok(())
}

pub(super) async fn write_manifest(directory: &Path) -> Result<(), ArtefactError> {
    let names: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
    let sha256 = hashes(directory, &names)
        .await
        .map_err(|error| ArtefactError::Build { program: "the manifest", said: error.to_string() })?;
    let text = serde_json::to_vec_pretty(&Manifest { sha256 }).unwrap_or_default();
    files::write(&directory.join(MANIFEST), &text, Access::Public).context(KeepSnafu)?;
    Ok(())
}

/// Hashes of files. By coreutils: a third of a gigabyte on every `up` wants the fastest code there is.
async fn hashes(directory: &Path, names: &[&str]) -> Result<BTreeMap<String, String>, CommandError> {
    let halves = names.split_at(names.iter().position(|name| *name == "kube").unwrap_or(names.len() / 2));
    let hash = async |names: &[&str]| -> Result<String, CommandError> {
        if names.is_empty() {
            return Ok(String::new());
        }
        let paths: Vec<PathBuf> = names.iter().map(|name| directory.join(name)).collect();
        command::run("sha256sum", &paths).await
    };
    let (first, second) = tokio::try_join!(hash(halves.0), hash(halves.1))?;
    Ok((first + &second)
        .lines()
        .filter_map(|line| line.split_once("  "))
        .filter_map(|(hash, path)| Some((Path::new(path).file_name()?.to_str()?.to_owned(), hash.to_owned())))
        .collect())
}

/// The hash of one file, in hex. `memory` is a file that holds what was last said, for a file that did not change.
pub(crate) async fn sha256_remembered(path: &Path, memory: &Path) -> Result<String, CommandError> {
    let stamp = Stamp::of(path);
    let remembered: Option<(Option<Stamp>, String)> =
        fs::read(memory).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if let Some((Some(known), hash)) = remembered
        && stamp.as_ref() == Some(&known)
    {
        return Ok(hash);
    }
    let hash = sha256(path).await?;
    let text = serde_json::to_vec(&(stamp, &hash)).unwrap_or_default();
    // Only a memory: without it the hash is computed again.
    let _ = files::write(memory, &text, Access::Public);
    Ok(hash)
}

/// The hash of one file, in hex.
async fn sha256(path: &Path) -> Result<String, CommandError> {
    let text = command::run("sha256sum", &["--zero".as_ref(), path]).await?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}
