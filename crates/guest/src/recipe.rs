//! The recipe of `images/guest`, compiled in and parsed.

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use crate::cpio::Mode;

/// Our own files in the guest.
pub(crate) static ROOTFS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../images/guest/rootfs");

/// What GRUB does, as commands of its rescue shell, which knows no comments.
pub(crate) fn grub_commands() -> String {
    include_str!("../../../images/guest/grub.cfg")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// What names everything that the image is made from, in hex: the compiled-in recipe and the revision of this crate's
/// code. Packages are part of it by their hashes.
pub fn key() -> String {
    /// Raised when the code makes another image from the same recipe.
    const REVISION: u32 = 3;
    let mut hash = Sha256::new();
    hash.update(REVISION.to_le_bytes());
    let texts = [
        include_str!("../../../images/guest/grub.cfg"),
        include_str!("../../../images/guest/contents"),
        include_str!("../../../images/guest/modules"),
        include_str!("../../../images/guest/packages.lock"),
    ];
    for text in texts {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    hash_directory(&ROOTFS, &mut hash);
    hex::encode(hash.finalize())
}

fn hash_directory(directory: &Dir<'_>, hash: &mut Sha256) {
    for file in directory.files() {
        hash.update(file.path().to_string_lossy().as_bytes());
        hash.update(file.contents().len().to_le_bytes());
        hash.update(file.contents());
    }
    directory.dirs().for_each(|inner| hash_directory(inner, hash));
}

/// A file that goes from a package into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackagedFile {
    pub package: &'static str,
    /// Its path in the package, without a leading slash.
    pub from: &'static str,
    /// Its path in the guest, without a leading slash.
    pub to: &'static str,
    /// What may be done with it there.
    pub mode: Mode,
}

/// When the guest loads a kernel module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// At once.
    Boot,
    /// When something asks for it.
    Demand,
}

/// The files of `contents`.
pub(crate) fn contents() -> impl Iterator<Item = PackagedFile> {
    words(include_str!("../../../images/guest/contents")).filter_map(|words| match words[..] {
        [package, from, to] => Some(PackagedFile { package, from, to, mode: Mode::Program }),
        [package, from, to, "as-root"] => Some(PackagedFile { package, from, to, mode: Mode::AsRoot }),
        _ => None,
    })
}

/// The kernel modules of `modules`.
pub(crate) fn modules() -> impl Iterator<Item = (Load, &'static str)> {
    words(include_str!("../../../images/guest/modules")).filter_map(|words| match words[..] {
        ["boot", name] => Some((Load::Boot, name)),
        ["demand", name] => Some((Load::Demand, name)),
        _ => None,
    })
}

/// The words of each line; lines that are empty or begin with `#` are left out.
fn words(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| line.split_ascii_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_the_recipe_is_lost() {
        assert_eq!(contents().count(), words(include_str!("../../../images/guest/contents")).count());
        assert_eq!(modules().count(), words(include_str!("../../../images/guest/modules")).count());
    }

    #[test]
    fn grub_gets_commands_and_no_comments() {
        let commands = grub_commands();
        let words: Vec<_> = commands.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(words, ["linux16", "initrd16", "boot"]);
        // The kernel takes 2047 bytes, and messages end on the serial console, which Nova logs.
        assert!(commands.len() < 2047);
        assert!(commands.rfind("console=ttyS0") > commands.rfind("console=tty0"));
    }
}
