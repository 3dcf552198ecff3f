//! Programs of other people that nodes are made with, and the Debian packages that have them.

/// Programs that nodes are made with, and their Debian packages.
pub(crate) const PROGRAMS: [(&str, &str); 8] = [
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("sysctl", "procps"),
    ("sha256sum", "coreutils"),
    ("modprobe", "kmod"),
    ("gcc", "gcc"),
    ("pkg-config", "pkg-config"),
];

/// Those that only the first build needs.
pub(crate) const FOR_BUILDING: [&str; 2] = ["gcc", "pkg-config"];

/// The Debian package that has a program.
pub(crate) fn package_of(program: &str) -> Option<&'static str> {
    PROGRAMS.iter().find(|(name, _)| *name == program).map(|(_, package)| *package)
}
