//! The cache on disk: blobs by sha256 in an OCI image layout, layers by the key of what they were made of.
//!
//! ```text
//! <cache>/images/{oci-layout,index.json,blobs/sha256/<digest>}   what endpoints serve and `push` pushes
//! <cache>/layers/<key>/layer.json                                which blob a key gave
//! <cache>/debs/<sha256>, <cache>/wheels/                         what was fetched
//! <cache>/work/<random>/                                         roots while they are built; removed afterwards
//! ```
//!
//! Guarantees: every file appears whole (written aside, synced, renamed). A blob whose stamp (size, inode, change time)
//! is not the one recorded is hashed again before it is used; reading a blob to unpack it always hashes it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use oaas_feedback::{Explain, Kind};
use serde::{Deserialize, Serialize};
use snafu::{OptionExt as _, ResultExt as _, Snafu};

use crate::archive::{self, Packed};
use crate::sbom::Component;

/// The cache directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// What is known of a finished layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// Its name in the recipe.
    pub name: String,
    /// Key of what it was made of.
    pub key: String,
    /// sha256 of the compressed blob, hex.
    pub digest: String,
    /// sha256 of the tar inside, hex.
    pub diff_id: String,
    /// Bytes of the blob.
    pub size: u64,
    /// Bytes of the tar inside.
    pub unpacked: u64,
    /// The software in it.
    pub components: Vec<Component>,
    /// The blob's stamp when it was last seen whole.
    stamp: Stamp,
}

/// Enough to notice that somebody wrote to a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    inode: u64,
    changed: (i64, i64),
}

/// What a look at a cached layer found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Whole.
    Hit(Box<Layer>),
    /// Never made, or removed.
    Miss,
    /// The blob is not what it was; it was removed, and the layer must be made anew.
    Corrupt {
        /// Its digest was to be this.
        wanted: String,
        /// And is this.
        got: String,
    },
}

/// The cache cannot be used.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// No place for it.
    #[snafu(display(
        "failed to find a cache directory: none of OAAS_CACHE_DIR, XDG_CACHE_HOME and HOME is set"
    ))]
    NoHome,
    /// A file or directory of it failed.
    #[snafu(display("failed to use {} in the cache", path.display()))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file of it is not JSON of ours.
    #[snafu(display("failed to read {} in the cache", path.display()))]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NoHome => Kind::Environment,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Kind::Environment,
            Self::Json { .. } => Kind::Integrity,
            Self::Io { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoHome => Some("set OAAS_CACHE_DIR to a directory with 10 GB of room".into()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("the disk is full: make room, or set OAAS_CACHE_DIR to a larger one".into())
            }
            Self::Io { source, path } if source.kind() == io::ErrorKind::PermissionDenied => Some(format!(
                "{} belongs to another user: run as that one, or set OAAS_CACHE_DIR",
                path.display()
            )),
            Self::Json { path, .. } => Some(format!("remove {} and build again", path.display())),
            Self::Io { .. } => None,
        }
    }
}

impl Cache {
    /// The cache at a directory, which is made when first written to.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The user's: `$OAAS_CACHE_DIR`, `$XDG_CACHE_HOME/oaas` or `~/.cache/oaas`.
    pub fn of_user() -> Result<Self, Error> {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = set("OAAS_CACHE_DIR")
            .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("oaas")))
            .or_else(|| set("HOME").map(|d| d.join(".cache/oaas")));
        root.map(Self::at).context(error::NoHomeSnafu)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The OCI image layout.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Where a blob lies, by the hex of its sha256.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.root.join("images/blobs/sha256").join(digest)
    }

    /// Where a fetched package lies, by the hex of its sha256.
    pub fn deb(&self, sha256: &str) -> PathBuf {
        self.root.join("debs").join(sha256)
    }

    /// A directory of the cache, made if need be.
    pub fn directory(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).context(error::IoSnafu { path: &path })?;
        Ok(path)
    }

    /// A new directory for roots under construction, removed when dropped.
    pub fn work(&self) -> Result<tempfile::TempDir, Error> {
        let path = self.directory("work")?;
        tempfile::Builder::new().prefix("build-").tempdir_in(&path).context(error::IoSnafu { path })
    }

    /// Become the only one that builds in this cache; `None` if somebody else does. Only the holder may call
    /// [`Cache::sweep`].
    pub fn try_lock(&self) -> Result<Option<Flock<File>>, Error> {
        let path = self.directory("work")?.join("lock");
        let file = File::create(&path).context(error::IoSnafu { path: &path })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(io::Error::from(errno)).context(error::IoSnafu { path }),
        }
    }

    /// Remove what killed builds left behind.
    pub fn sweep(&self) -> Result<(), Error> {
        let path = self.directory("work")?;
        for entry in fs::read_dir(&path).context(error::IoSnafu { path: &path })? {
            let entry = entry.context(error::IoSnafu { path: &path })?;
            if entry.file_name().to_string_lossy().starts_with("build-") {
                fs::remove_dir_all(entry.path()).context(error::IoSnafu { path: entry.path() })?;
            }
        }
        Ok(())
    }

    /// Put bytes into the layout; hands back the hex of their sha256.
    pub fn put(&self, bytes: &[u8]) -> Result<String, Error> {
        let digest = archive::sha256_of(bytes);
        let path = self.blob(&digest);
        if fs::metadata(&path).is_ok_and(|m| m.len() == bytes.len() as u64) {
            return Ok(digest);
        }
        self.write(&path, bytes)?;
        Ok(digest)
    }

    /// Write a file so that readers see the old one or the whole new one.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let context = || error::IoSnafu { path };
        let directory = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(directory).with_context(|_| context())?;
        let mut file = tempfile::NamedTempFile::new_in(directory).with_context(|_| context())?;
        file.write_all(bytes).with_context(|_| context())?;
        file.as_file().sync_all().with_context(|_| context())?;
        fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .with_context(|_| context())?;
        file.persist(path).map_err(|e| e.error).with_context(|_| context())?;
        Ok(())
    }

    /// Look for the layer of a key.
    pub fn find(&self, key: &str) -> Result<Lookup, Error> {
        let path = self.layer_file(key);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lookup::Miss),
            Err(source) => return Err(source).context(error::IoSnafu { path }),
        };
        let Ok(mut layer) = serde_json::from_slice::<Layer>(&text) else {
            // Written by another revision or torn by a crash of the machine: nothing is lost by making it anew.
            return Ok(Lookup::Miss);
        };
        let blob = self.blob(&layer.digest);
        let now = match stamp(&blob) {
            Ok(now) => now,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lookup::Miss),
            Err(source) => return Err(source).context(error::IoSnafu { path: blob }),
        };
        if now != layer.stamp {
            let got = archive::sha256(&blob).context(error::IoSnafu { path: &blob })?;
            if got != layer.digest {
                fs::remove_file(&blob).context(error::IoSnafu { path: &blob })?;
                return Ok(Lookup::Corrupt { wanted: layer.digest, got });
            }
            layer.stamp = now;
            self.record(&layer)?;
        }
        Ok(Lookup::Hit(Box::new(layer)))
    }

    /// Take a finished layer file (on the cache's file system) in under its key.
    pub fn keep(
        &self,
        name: &str,
        key: &str,
        file: &Path,
        packed: &Packed,
        components: Vec<Component>,
    ) -> Result<Layer, Error> {
        let blob = self.blob(&packed.digest);
        if let Some(directory) = blob.parent() {
            fs::create_dir_all(directory).context(error::IoSnafu { path: directory })?;
        }
        fs::rename(file, &blob).context(error::IoSnafu { path: &blob })?;
        let layer = Layer {
            name: name.into(),
            key: key.into(),
            digest: packed.digest.clone(),
            diff_id: packed.diff_id.clone(),
            size: packed.size,
            unpacked: packed.unpacked,
            components,
            stamp: stamp(&blob).context(error::IoSnafu { path: &blob })?,
        };
        self.record(&layer)?;
        Ok(layer)
    }

    /// Read a JSON file of the cache; `None` if it is not there.
    pub fn read_json<T: serde::de::DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, Error> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).context(error::JsonSnafu { path }).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(source).context(error::IoSnafu { path }),
        }
    }

    fn record(&self, layer: &Layer) -> Result<(), Error> {
        let path = self.layer_file(&layer.key);
        let json = serde_json::to_vec(layer).context(error::JsonSnafu { path: &path })?;
        self.write(&path, &json)
    }

    fn layer_file(&self, key: &str) -> PathBuf {
        self.root.join("layers").join(key).join("layer.json")
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = fs::metadata(path)?;
    Ok(Stamp { size: meta.len(), inode: meta.ino(), changed: (meta.ctime(), meta.ctime_nsec()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_layer() -> (tempfile::TempDir, Cache, Layer) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let file = cache.directory("work").unwrap().join("layer");
        let packed = archive::pack(&[], 0, &file).unwrap();
        let layer = cache.keep("thing", "k1", &file, &packed, vec![]).unwrap();
        (dir, cache, layer)
    }

    #[test]
    fn a_kept_layer_is_found() {
        let (_dir, cache, layer) = with_layer();
        assert_eq!(cache.find("k1").unwrap(), Lookup::Hit(Box::new(layer)));
        assert_eq!(cache.find("k2").unwrap(), Lookup::Miss);
    }

    #[test]
    fn a_blob_that_was_written_to_is_reported_and_removed() {
        let (_dir, cache, layer) = with_layer();
        let blob = cache.blob(&layer.digest);
        let mut bytes = fs::read(&blob).unwrap();
        bytes[0] ^= 1;
        fs::write(&blob, &bytes).unwrap();
        let Lookup::Corrupt { wanted, got } = cache.find("k1").unwrap() else { panic!("not noticed") };
        assert_eq!(wanted, layer.digest);
        assert_ne!(got, layer.digest);
        assert_eq!(cache.find("k1").unwrap(), Lookup::Miss);
    }

    #[test]
    fn a_blob_that_was_only_touched_is_still_good() {
        let (_dir, cache, layer) = with_layer();
        let blob = cache.blob(&layer.digest);
        let bytes = fs::read(&blob).unwrap();
        fs::write(&blob, &bytes).unwrap();
        assert!(matches!(cache.find("k1").unwrap(), Lookup::Hit(_)));
        assert!(matches!(cache.find("k1").unwrap(), Lookup::Hit(_)));
    }

    #[test]
    fn only_one_builds() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let lock = cache.try_lock().unwrap();
        assert!(lock.is_some());
        assert!(cache.try_lock().unwrap().is_none());
        drop(lock);
        assert!(cache.try_lock().unwrap().is_some());
    }

    #[test]
    fn what_a_killed_build_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let left = cache.work().unwrap().keep();
        fs::write(left.join("file"), "").unwrap();
        cache.sweep().unwrap();
        assert!(!left.exists());
    }
}
