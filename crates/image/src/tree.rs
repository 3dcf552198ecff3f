//! A directory tree as a sorted list of what a layer holds, and the difference of two trees.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt as _, Snafu};
use walkdir::WalkDir;

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Below the image's root, without a leading slash.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u64,
    /// What it is.
    pub content: Content,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A directory.
    Directory,
    /// A file whose bytes lie at this path on our disk.
    File(PathBuf),
    /// A symbolic link to this target.
    Symlink(PathBuf),
    /// Another name of an entry that comes earlier in the layer.
    HardLink(PathBuf),
    /// The entry of this path in the layers below is gone.
    Whiteout,
}

/// A tree that could not be read.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// A directory could not be listed.
    #[snafu(display("failed to list {}", root.display()))]
    Walk {
        /// Where it began.
        root: PathBuf,
        /// What went wrong.
        source: walkdir::Error,
    },
    /// A file could not be read.
    #[snafu(display("failed to read {}", path.display()))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Failed
    }
}

/// Everything below `root`, sorted by path; the paths in the layer begin with `at`, whose own directory and those
/// above it come first.
pub fn list(root: &Path, at: &Path) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    let at = at.strip_prefix("/").unwrap_or(at);
    if at.parent().is_some() {
        let above = at.parent().into_iter().flat_map(Path::ancestors).filter(|p| !p.as_os_str().is_empty());
        entries.extend(above.map(|p| Entry {
            path: p.into(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
            content: Content::Directory,
        }));
        entries.reverse();
    }
    let mut names: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    for found in WalkDir::new(root).sort_by_file_name() {
        let found = found.context(error::WalkSnafu { root })?;
        let below = found.path().strip_prefix(root).unwrap_or(found.path());
        let path = if below.as_os_str().is_empty() { at.to_owned() } else { at.join(below) };
        if path.as_os_str().is_empty() {
            continue;
        }
        let meta = found.metadata().context(error::WalkSnafu { root })?;
        if let Some(entry) = entry(found.path(), path, &meta, &mut names)? {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// What `root` has that `below` has not, or has differently: whole entries with the directories above them, and
/// whiteouts for what is gone. Times do not count as a difference.
pub fn diff(below: &Path, root: &Path) -> Result<Vec<Entry>, Error> {
    let old: BTreeMap<PathBuf, Entry> =
        list(below, Path::new(""))?.into_iter().map(|e| (e.path.clone(), e)).collect();
    let new = list(root, Path::new(""))?;
    let present: BTreeSet<&Path> = new.iter().map(|e| e.path.as_path()).collect();
    let mut wanted = BTreeSet::new();
    for entry in &new {
        let same = match old.get(&entry.path) {
            Some(before) => same(before, entry, &old, &new)?,
            None => false,
        };
        if !same {
            wanted.insert(entry.path.clone());
            // All names of one file travel together, so that a link never points out of its layer.
            if let Content::HardLink(first) = &entry.content {
                wanted.insert(first.clone());
            }
        }
    }
    let links: Vec<_> = new
        .iter()
        .filter(|e| matches!(&e.content, Content::HardLink(first) if wanted.contains(first)))
        .collect();
    wanted.extend(links.iter().map(|e| e.path.clone()));
    let gone: Vec<PathBuf> = old
        .keys()
        .filter(|p| {
            !present.contains(p.as_path())
                && p.parent().is_none_or(|up| up.as_os_str().is_empty() || present.contains(up))
        })
        .cloned()
        .collect();
    let above: Vec<PathBuf> =
        wanted.iter().chain(&gone).flat_map(|p| p.ancestors().skip(1).map(Path::to_owned)).collect();
    wanted.extend(above);
    let mut out: Vec<Entry> = gone
        .into_iter()
        .map(|path| Entry { path, mode: 0, uid: 0, gid: 0, mtime: 0, content: Content::Whiteout })
        .chain(new.into_iter().filter(|e| wanted.contains(&e.path)))
        .collect();
    out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(out)
}

fn entry(
    on_disk: &Path,
    path: PathBuf,
    meta: &Metadata,
    names: &mut BTreeMap<(u64, u64), PathBuf>,
) -> Result<Option<Entry>, Error> {
    let kind = meta.file_type();
    let content = if kind.is_dir() {
        Content::Directory
    } else if kind.is_symlink() {
        Content::Symlink(fs::read_link(on_disk).context(error::ReadSnafu { path: on_disk })?)
    } else if kind.is_file() {
        if let Some(first) = names.get(&(meta.dev(), meta.ino())) {
            Content::HardLink(first.clone())
        } else {
            if meta.nlink() > 1 {
                names.insert((meta.dev(), meta.ino()), path.clone());
            }
            Content::File(on_disk.to_owned())
        }
    } else {
        // Sockets, pipes and devices are made at run time; an image holds none.
        debug_assert!(kind.is_socket() || kind.is_fifo() || kind.is_char_device() || kind.is_block_device());
        return Ok(None);
    };
    let mtime = u64::try_from(meta.mtime()).unwrap_or(0);
    Ok(Some(Entry { path, mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid(), mtime, content }))
}

fn same(before: &Entry, after: &Entry, old: &BTreeMap<PathBuf, Entry>, new: &[Entry]) -> Result<bool, Error> {
    if (before.mode, before.uid, before.gid) != (after.mode, after.uid, after.gid) {
        return Ok(false);
    }
    match (&before.content, &after.content) {
        (Content::Directory, Content::Directory) => Ok(true),
        (Content::Symlink(a), Content::Symlink(b)) => Ok(a == b),
        (Content::File(_) | Content::HardLink(_), Content::File(_) | Content::HardLink(_)) => {
            let first = |entry: &Entry, at: &dyn Fn(&Path) -> Option<PathBuf>| match &entry.content {
                Content::File(path) => Some(path.clone()),
                Content::HardLink(to) => at(to),
                _ => None,
            };
            let file = |e: &Entry| if let Content::File(p) = &e.content { Some(p.clone()) } else { None };
            let a = first(before, &|to| old.get(to).and_then(file));
            let b = first(after, &|to| {
                new.binary_search_by(|e| e.path.as_path().cmp(to)).ok().and_then(|i| file(&new[i]))
            });
            match (a, b) {
                (Some(a), Some(b)) => same_bytes(&a, &b),
                _ => Ok(false),
            }
        }
        _ => Ok(false),
    }
}

fn same_bytes(a: &Path, b: &Path) -> Result<bool, Error> {
    let open = |path: &Path| File::open(path).context(error::ReadSnafu { path });
    let (fa, fb) = (open(a)?, open(b)?);
    let size = |file: &File, path: &Path| file.metadata().map(|m| m.len()).context(error::ReadSnafu { path });
    if size(&fa, a)? != size(&fb, b)? {
        return Ok(false);
    }
    let (mut ra, mut rb) = (BufReader::new(fa), BufReader::new(fb));
    let (mut ba, mut bb) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let n = ra.read(&mut ba).context(error::ReadSnafu { path: a })?;
        if n == 0 {
            return Ok(true);
        }
        rb.read_exact(&mut bb[..n]).context(error::ReadSnafu { path: b })?;
        if ba[..n] != bb[..n] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn paths(entries: &[Entry]) -> Vec<String> {
        let mark = |e: &Entry| match e.content {
            Content::Whiteout => "-",
            Content::HardLink(_) => "=",
            _ => "",
        };
        entries.iter().map(|e| format!("{}{}", mark(e), e.path.display())).collect()
    }

    #[test]
    fn a_listing_is_sorted_and_begins_at_its_place() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::write(dir.path().join("b/x"), "1").unwrap();
        fs::hard_link(dir.path().join("b/x"), dir.path().join("c")).unwrap();
        fs::write(dir.path().join("a"), "2").unwrap();
        let list = list(dir.path(), Path::new("/opt/thing")).unwrap();
        assert_eq!(
            paths(&list),
            ["opt", "opt/thing", "opt/thing/a", "opt/thing/b", "opt/thing/b/x", "=opt/thing/c"]
        );
    }

    #[test]
    fn a_difference_holds_what_changed_and_what_is_gone() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for root in [old.path(), new.path()] {
            fs::create_dir_all(root.join("etc/x")).unwrap();
            fs::create_dir_all(root.join("usr/bin")).unwrap();
            for (file, text) in
                [("etc/same", "same"), ("etc/bytes", "old"), ("etc/mode", "m"), ("usr/bin/a", "a")]
            {
                fs::write(root.join(file), text).unwrap();
            }
            symlink("a", root.join("usr/link")).unwrap();
        }
        fs::create_dir(old.path().join("gone")).unwrap();
        fs::write(old.path().join("gone/file"), "").unwrap();
        fs::write(old.path().join("etc/x/gone"), "").unwrap();
        fs::write(new.path().join("etc/bytes"), "new").unwrap();
        fs::set_permissions(new.path().join("etc/mode"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(new.path().join("usr/bin/a"), new.path().join("usr/bin/b")).unwrap();
        let diff = diff(old.path(), new.path()).unwrap();
        assert_eq!(
            paths(&diff),
            [
                "etc",
                "etc/bytes",
                "etc/mode",
                "etc/x",
                "-etc/x/gone",
                "-gone",
                "usr",
                "usr/bin",
                "usr/bin/a",
                "=usr/bin/b"
            ]
        );
    }

    #[test]
    fn equal_trees_have_no_difference() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for root in [old.path(), new.path()] {
            fs::write(root.join("a"), "a").unwrap();
            fs::hard_link(root.join("a"), root.join("b")).unwrap();
        }
        assert_eq!(diff(old.path(), new.path()).unwrap(), []);
    }
}
