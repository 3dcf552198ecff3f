//! The recipe of `images/guest`, compiled in and parsed.

use include_dir::{Dir, include_dir};

/// Our own files in the guest.
pub(crate) static ROOTFS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../images/guest/rootfs");

/// What GRUB does, as commands of its rescue shell.
pub(crate) const GRUB_CFG: &str = include_str!("../../../images/guest/grub.cfg");

/// A file that goes from a package into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackagedFile {
    pub package: &'static str,
    /// Its path in the package, without a leading slash.
    pub from: &'static str,
    /// Its path in the guest, without a leading slash.
    pub to: &'static str,
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
        [package, from, to] => Some(PackagedFile { package, from, to }),
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
    fn grub_gets_whole_commands() {
        assert!(GRUB_CFG.lines().all(|line| !line.starts_with(' ')));
        assert!(GRUB_CFG.ends_with("boot\n"));
    }
}
