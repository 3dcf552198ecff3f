//! Layers as files: a deterministic tar under zstd, and back.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind};
use sha2::{Digest as _, Sha256};
use snafu::{ResultExt as _, Snafu, ensure};
use tar::{EntryType, Header};

use crate::tree::{Content, Entry};

/// zstd's level: the time is spent on packages, not here, and nodes unpack any level equally fast.
const LEVEL: i32 = 3;
/// Compressing threads. More or fewer give the same bytes, as long as it is not zero.
const THREADS: u32 = 2;
/// What a whiteout's name begins with (OCI image layer specification).
const WHITEOUT: &str = ".wh.";

/// A layer that lies in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// sha256 of the file, hex.
    pub digest: String,
    /// sha256 of the tar inside, hex.
    pub diff_id: String,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of the tar inside.
    pub unpacked: u64,
}

/// A layer that could not be written or read.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// Writing it.
    #[snafu(display("failed to write the layer {}", path.display()))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Adding one of its entries.
    #[snafu(display("failed to add {} to the layer", entry.display()))]
    Add {
        /// Path in the layer.
        entry: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Unpacking it.
    #[snafu(display("failed to unpack the layer {} into {}", path.display(), root.display()))]
    Unpack {
        /// The file.
        path: PathBuf,
        /// Where to.
        root: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// It is not what it was.
    #[snafu(display("failed to verify the layer {}: its sha256 is {got}, wanted {wanted}", path.display()))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What its name says.
        wanted: String,
        /// What it holds.
        got: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Corrupt { .. } => Kind::Integrity,
            Self::Write { source, .. } | Self::Unpack { source, .. }
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                Kind::Environment
            }
            _ => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Corrupt { path, .. } => {
                Some(format!("remove {} and build again: it is made anew", path.display()))
            }
            Self::Write { source, .. } | Self::Unpack { source, .. }
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                Some("the disk is full: make room, or set OAAS_CACHE_DIR to a larger one".into())
            }
            _ => None,
        }
    }
}

/// Hashes and counts what passes.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.take(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.take(&buffer[..n]);
        Ok(n)
    }
}

/// Write entries in their order to a new file. Times later than `epoch` become `epoch`; names of owners are left out.
/// The same entries give the same bytes.
pub fn pack(entries: &[Entry], epoch: u64, path: &Path) -> Result<Packed, Error> {
    let write = || error::WriteSnafu { path };
    let file = Hashing::new(BufWriter::with_capacity(1 << 20, File::create(path).with_context(|_| write())?));
    let mut zstd = zstd::Encoder::new(file, LEVEL).with_context(|_| write())?;
    zstd.multithread(THREADS).with_context(|_| write())?;
    let mut tar = tar::Builder::new(Hashing::new(zstd));
    for entry in entries {
        add(&mut tar, entry, epoch).context(error::AddSnafu { entry: &entry.path })?;
    }
    let plain = tar.into_inner().with_context(|_| write())?;
    let (diff_id, unpacked) = (hex::encode(plain.hash.finalize()), plain.bytes);
    let mut packed = plain.inner.finish().with_context(|_| write())?;
    packed.flush().with_context(|_| write())?;
    let file = packed.inner.into_inner().map_err(io::IntoInnerError::into_error).with_context(|_| write())?;
    file.sync_all().with_context(|_| write())?;
    Ok(Packed { digest: hex::encode(packed.hash.finalize()), diff_id, size: packed.bytes, unpacked })
}

fn add(tar: &mut tar::Builder<impl Write>, entry: &Entry, epoch: u64) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(entry.uid.into());
    header.set_gid(entry.gid.into());
    header.set_mtime(entry.mtime.min(epoch));
    header.set_size(0);
    match &entry.content {
        Content::Directory => {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, entry.path.join(""), io::empty())
        }
        Content::File(from) => {
            let file = File::open(from)?;
            let size = file.metadata()?.len();
            header.set_entry_type(EntryType::Regular);
            header.set_size(size);
            tar.append_data(&mut header, &entry.path, file.take(size))
        }
        Content::Symlink(target) => {
            header.set_entry_type(EntryType::Symlink);
            tar.append_link(&mut header, &entry.path, target)
        }
        Content::HardLink(first) => {
            header.set_entry_type(EntryType::Link);
            tar.append_link(&mut header, &entry.path, first)
        }
        Content::Whiteout => {
            let name = entry
                .path
                .file_name()
                .map(|n| format!("{WHITEOUT}{}", n.to_string_lossy()))
                .unwrap_or_default();
            header.set_entry_type(EntryType::Regular);
            header.set_mtime(0);
            tar.append_data(&mut header, entry.path.with_file_name(name), io::empty())
        }
    }
}

/// Unpack a layer file whose sha256 is known over a root. Owners are kept where we may set them.
pub fn unpack(path: &Path, wanted: &str, root: &Path) -> Result<(), Error> {
    let into = || error::UnpackSnafu { path, root };
    let file = Hashing::new(File::open(path).with_context(|_| into())?);
    let zstd = zstd::Decoder::new(file).with_context(|_| into())?;
    let mut archive = tar::Archive::new(zstd);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_preserve_ownerships(nix::unistd::geteuid().is_root());
    archive.set_overwrite(true);
    // Directories get their modes and times last, or files could not be put into a read-only one.
    let mut directories = Vec::new();
    for entry in archive.entries().with_context(|_| into())? {
        let mut entry = entry.with_context(|_| into())?;
        let name = entry.path().with_context(|_| into())?.into_owned();
        let hidden = name.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix(WHITEOUT));
        if let Some(gone) = hidden {
            remove(&root.join(name.with_file_name(gone))).with_context(|_| into())?;
            continue;
        }
        if entry.header().entry_type().is_dir() {
            directories.push(entry);
            continue;
        }
        // Never write through a link or into another name of an old file.
        let target = root.join(&name);
        if target.symlink_metadata().is_ok_and(|m| !m.is_dir()) {
            remove(&target).with_context(|_| into())?;
        }
        entry.unpack_in(root).with_context(|_| into())?;
    }
    for mut directory in directories {
        directory.unpack_in(root).with_context(|_| into())?;
    }
    let mut zstd = archive.into_inner();
    io::copy(&mut zstd, &mut io::sink()).with_context(|_| into())?;
    let mut file = zstd.finish().into_inner();
    io::copy(&mut file, &mut io::sink()).with_context(|_| into())?;
    let got = hex::encode(file.hash.finalize());
    ensure!(got == wanted, error::CorruptSnafu { path, wanted, got });
    Ok(())
}

/// Copy the plain files below a path of a layer file whose sha256 is known into a directory. Hands back how many.
pub fn copy_out(path: &Path, wanted: &str, below: &Path, into: &Path) -> Result<usize, Error> {
    let context = || error::UnpackSnafu { path, root: into };
    let got = sha256(path).with_context(|_| context())?;
    ensure!(got == wanted, error::CorruptSnafu { path, wanted, got });
    let zstd =
        zstd::Decoder::new(File::open(path).with_context(|_| context())?).with_context(|_| context())?;
    let mut archive = tar::Archive::new(zstd);
    let mut copied = 0;
    for entry in archive.entries().with_context(|_| context())? {
        let mut entry = entry.with_context(|_| context())?;
        let name = entry.path().with_context(|_| context())?.into_owned();
        let Ok(rest) = name.strip_prefix(below) else { continue };
        if !entry.header().entry_type().is_file()
            || rest.components().any(|c| !matches!(c, std::path::Component::Normal(_)))
        {
            continue;
        }
        let to = if rest.as_os_str().is_empty() {
            into.join(name.file_name().unwrap_or_default())
        } else {
            into.join(rest)
        };
        if let Some(up) = to.parent() {
            fs::create_dir_all(up).with_context(|_| context())?;
        }
        let mut file = File::create(&to).with_context(|_| context())?;
        io::copy(&mut entry, &mut file).with_context(|_| context())?;
        copied += 1;
    }
    Ok(copied)
}

/// sha256 of a file, hex.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut file = Hashing::new(File::open(path)?);
    let mut buffer = vec![0; 1 << 18];
    while file.read(&mut buffer)? > 0 {}
    Ok(hex::encode(file.hash.finalize()))
}

/// sha256 of bytes, hex.
pub fn sha256_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::tree;

    fn sample(root: &Path) {
        let long = "d".repeat(120);
        fs::create_dir_all(root.join("usr").join(&long)).unwrap();
        fs::write(root.join("usr").join(&long).join("f".repeat(130)), vec![7; 300_000]).unwrap();
        fs::write(root.join("usr/tool"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("usr/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::hard_link(root.join("usr/tool"), root.join("usr/utensil")).unwrap();
        symlink("tool", root.join("usr/alias")).unwrap();
        fs::create_dir(root.join("locked")).unwrap();
        fs::write(root.join("locked/file"), "x").unwrap();
        fs::set_permissions(root.join("locked"), fs::Permissions::from_mode(0o555)).unwrap();
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes_whenever_it_was_made() {
        let (a, b, out) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        sample(a.path());
        sample(b.path());
        let later = SystemTime::now() + Duration::from_secs(100);
        File::open(b.path().join("usr/tool")).unwrap().set_modified(later).unwrap();
        let one = pack(&tree::list(a.path(), Path::new("")).unwrap(), 1000, &out.path().join("1")).unwrap();
        let two = pack(&tree::list(b.path(), Path::new("")).unwrap(), 1000, &out.path().join("2")).unwrap();
        assert_eq!(one, two);
        assert_eq!(one.digest, sha256(&out.path().join("1")).unwrap());
        assert!(one.size < one.unpacked);
    }

    #[test]
    fn what_is_packed_unpacks_to_the_same_tree() {
        let (a, b, out) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        sample(a.path());
        let file = out.path().join("layer");
        let packed = pack(&tree::list(a.path(), Path::new("")).unwrap(), 1000, &file).unwrap();
        unpack(&file, &packed.digest, b.path()).unwrap();
        assert_eq!(tree::diff(a.path(), b.path()).unwrap(), []);
        let tool = b.path().join("usr/tool").metadata().unwrap();
        assert_eq!((tool.mode() & 0o7777, tool.mtime(), tool.nlink()), (0o4755, 1000, 2));
    }

    #[test]
    fn a_difference_applied_to_the_old_tree_gives_the_new_one() {
        let dir = |_| tempfile::tempdir().unwrap();
        let [old, new, target, out] = [0; 4].map(dir);
        sample(old.path());
        sample(target.path());
        sample(new.path());
        fs::remove_file(new.path().join("usr/alias")).unwrap();
        fs::write(new.path().join("usr/alias"), "a file now").unwrap();
        fs::remove_dir_all(new.path().join("locked")).unwrap();
        fs::write(new.path().join("usr/tool"), "other").unwrap();
        let file = out.path().join("layer");
        let packed = pack(&tree::diff(old.path(), new.path()).unwrap(), 1000, &file).unwrap();
        unpack(&file, &packed.digest, target.path()).unwrap();
        assert_eq!(tree::diff(new.path(), target.path()).unwrap(), []);
    }

    #[test]
    fn single_files_can_be_copied_out() {
        let (a, b, out) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        sample(a.path());
        let file = out.path().join("layer");
        let packed = pack(&tree::list(a.path(), Path::new("")).unwrap(), 1000, &file).unwrap();
        assert_eq!(copy_out(&file, &packed.digest, Path::new("locked"), b.path()).unwrap(), 1);
        assert_eq!(copy_out(&file, &packed.digest, Path::new("usr/tool"), b.path()).unwrap(), 1);
        assert_eq!(fs::read_to_string(b.path().join("file")).unwrap(), "x");
        assert_eq!(fs::read_to_string(b.path().join("tool")).unwrap(), "#!/bin/sh\n");
        assert_eq!(copy_out(&file, &packed.digest, Path::new("nothing"), b.path()).unwrap(), 0);
    }

    #[test]
    fn a_changed_layer_is_refused() {
        let (a, b, out) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        sample(a.path());
        let file = out.path().join("layer");
        pack(&tree::list(a.path(), Path::new("")).unwrap(), 1000, &file).unwrap();
        let error = unpack(&file, "00", b.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(error.to_string().contains("wanted 00"), "{error}");
    }
}
