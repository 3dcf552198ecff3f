//! The guest's whole system: programs of the packages, kernel modules and our own files, as one compressed archive.

use std::collections::BTreeMap;

use oaas_feedback::{Explain, Kind};
use snafu::{OptionExt, ResultExt, Snafu};

use crate::cpio::{self, Mode, Node, Tree};
use crate::deb::{DebError, Package};
use crate::modules::Modules;
use crate::recipe::{self, Load};

/// Where `BusyBox` lies in the guest; its programs are links to it.
const BUSYBOX: &str = "bin/busybox";

/// Why the guest's system cannot be put together.
#[derive(Debug, Snafu)]
pub enum InitramfsError {
    /// A package that the recipe takes from was not handed in.
    #[snafu(display("failed to take {path} from the Debian package {package}, which was not handed in"))]
    NoPackage {
        /// The package.
        package: String,
        /// The file.
        path: String,
    },
    /// A file is not in its package.
    #[snafu(display("failed to take a file of the guest from its Debian package"))]
    File {
        /// Which one.
        source: DebError,
    },
    /// The archive does not compress.
    #[snafu(display("failed to compress the guest's initramfs"))]
    Compress {
        /// What the compressor said.
        source: std::io::Error,
    },
}

impl Explain for InitramfsError {
    fn kind(&self) -> Kind {
        match self {
            Self::File { source } => source.kind(),
            Self::NoPackage { .. } | Self::Compress { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File { source } => source.hint(),
            Self::NoPackage { .. } => Some("hand in every package of images/guest/packages.lock".to_owned()),
            Self::Compress { .. } => None,
        }
    }
}

/// Put the tree together. `applets` are the names of `BusyBox`'s programs.
pub(crate) fn tree(
    packages: &BTreeMap<String, Package>,
    modules: &Modules,
    applets: &str,
) -> Result<Tree, InitramfsError> {
    let mut tree = Tree::new();
    for path in ["dev", "proc", "sys", "run", "tmp", "mnt", "root/.ssh", "home/oaas/.ssh", "etc/dropbear"] {
        cpio::insert(&mut tree, path, Node::Directory);
    }
    // The kernel gives its first process this console; everything else in /dev comes from devtmpfs.
    cpio::insert(&mut tree, "dev/console", Node::Device { major: 5, minor: 1 });
    cpio::insert(&mut tree, "init", Node::Link(BUSYBOX.to_owned()));
    for applet in applets.lines().map(str::trim).filter(|applet| !applet.is_empty()) {
        cpio::insert(&mut tree, &format!("bin/{applet}"), Node::Link("busybox".to_owned()));
    }
    // No /sbin here: the kernel would run /sbin/modprobe a dozen times before its first process, a second lost under
    // emulation. The boot script makes it.
    for name in ["usr/bin", "usr/sbin"] {
        cpio::insert(&mut tree, name, Node::Link("../bin".to_owned()));
    }
    for file in recipe::contents() {
        let package =
            packages.get(file.package).context(NoPackageSnafu { package: file.package, path: file.from })?;
        let content = package.file(file.from).context(FileSnafu)?.to_vec();
        cpio::insert(&mut tree, file.to, Node::File { content, mode: file.mode });
    }
    add_modules(&mut tree, modules);
    add_own_files(&mut tree, &recipe::ROOTFS);
    Ok(tree)
}

/// Compress the archive so that the kernel opens it fastest for its size.
pub(crate) fn compress(archive: &[u8]) -> Result<Vec<u8>, InitramfsError> {
    zstd::bulk::compress(archive, 12).context(CompressSnafu)
}

fn add_modules(tree: &mut Tree, modules: &Modules) {
    let directory = format!("lib/modules/{}", modules.version);
    let mut add = |name: &str, content: Vec<u8>| {
        cpio::insert(tree, &format!("{directory}/{name}"), Node::File { content, mode: Mode::Data });
    };
    for (name, module) in &modules.modules {
        add(&format!("{name}.ko"), module.content.clone());
    }
    add("modules.dep", modules.dependencies().into_bytes());
    add("modules.alias", modules.aliases().into_bytes());
    let boot: Vec<_> =
        recipe::modules().filter(|(load, _)| *load == Load::Boot).map(|(_, name)| name).collect();
    let content = (boot.join(" ") + "\n").into_bytes();
    cpio::insert(tree, "etc/oaas/modules", Node::File { content, mode: Mode::Data });
}

/// A file that begins with `#!` becomes executable.
fn add_own_files(tree: &mut Tree, directory: &include_dir::Dir<'_>) {
    for file in directory.files() {
        let content = file.contents().to_vec();
        let mode = if content.starts_with(b"#!") { Mode::Program } else { Mode::Data };
        cpio::insert(tree, &file.path().to_string_lossy(), Node::File { content, mode });
    }
    for inner in directory.dirs() {
        add_own_files(tree, inner);
    }
}
