//! The packages the guest is made from: `images/guest/packages.lock`.

use std::sync::LazyLock;

/// One Debian package, pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockedPackage {
    /// Its name, such as `busybox`.
    pub name: &'static str,
    /// Its Debian version, epoch included.
    pub version: &'static str,
    /// The SHA-256 of the `.deb`, in lower-case hexadecimal.
    pub sha256: &'static str,
    /// Where the `.deb` lies below an archive's root, such as `pool/main/b/busybox/…`.
    pub pool_path: &'static str,
}

static PACKAGES: LazyLock<Vec<LockedPackage>> =
    LazyLock::new(|| parse(include_str!("../../../images/guest/packages.lock")));

/// The packages that [`crate::build`] needs, of the suite trixie for amd64, by name.
pub fn locked_packages() -> &'static [LockedPackage] {
    &PACKAGES
}

/// Lines of four words; `#` begins a comment. A line with another shape is left out, and a test sees to it that ours has none.
fn parse(text: &'static str) -> Vec<LockedPackage> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            [name, version, sha256, pool_path] => Some(LockedPackage { name, version, sha256, pool_path }),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_lock_is_a_package() {
        let text = include_str!("../../../images/guest/packages.lock");
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
        assert_eq!(locked_packages().len(), lines);
        for package in locked_packages() {
            assert_eq!(package.sha256.len(), 64, "{}", package.name);
            assert!(package.sha256.bytes().all(|b| b.is_ascii_hexdigit()), "{}", package.name);
            assert!(package.pool_path.starts_with("pool/"), "{}", package.name);
        }
        assert!(locked_packages().is_sorted_by_key(|package| package.name));
    }

    #[test]
    fn every_package_of_the_recipe_is_locked() {
        for file in crate::recipe::contents() {
            assert!(locked_packages().iter().any(|p| p.name == file.package), "{}", file.package);
        }
    }
}
