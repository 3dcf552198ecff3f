//! From packages to the image.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind, Task};
use sha2::{Digest, Sha256};
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use crate::deb::{DebError, Package};
use crate::disk::{DiskError, Parts};
use crate::initramfs::InitramfsError;
use crate::modules::ModulesError;
use crate::tool::{ToolError, Tools};
use crate::{cpio, deb, disk, initramfs, lock, modules, qcow2, recipe, tool};

/// What [`build`] needs.
#[derive(Debug, Clone, Default)]
pub struct GuestInputs {
    /// The `.deb` file of each of [`crate::locked_packages`], by package name. More than those do no harm.
    pub debs: BTreeMap<String, PathBuf>,
}

/// An image that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The qcow2 file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// The size of the disk in it, in bytes.
    pub disk_bytes: u64,
}

/// Why the image was not built.
#[derive(Debug, Snafu)]
pub enum BuildError {
    /// A package is not among the inputs.
    #[snafu(display("failed to build the guest image without the Debian package {package} {version}"))]
    NoPackage {
        /// The package's name.
        package: String,
        /// The version that is wanted.
        version: String,
    },
    /// A file cannot be read.
    #[snafu(display("failed to read {}", file.display()))]
    Read {
        /// The file.
        file: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A package is not the one that is pinned.
    #[snafu(display(
        "failed to use {} as the Debian package {package}: its SHA-256 is {found}, pinned is {pinned}",
        file.display()
    ))]
    Hash {
        /// The package's name.
        package: String,
        /// Its file.
        file: PathBuf,
        /// The hash of the file.
        found: String,
        /// The hash in the lock file.
        pinned: String,
    },
    /// A package cannot be opened or lacks a file.
    #[snafu(display("failed to use a Debian package of the guest"))]
    Deb {
        /// Which and why.
        source: DebError,
    },
    /// Kernel modules are missing.
    #[snafu(display("failed to collect the guest's kernel modules"))]
    Modules {
        /// Which and why.
        source: ModulesError,
    },
    /// A program of the packages failed.
    #[snafu(display("failed to use a program from the guest's Debian packages"))]
    Tool {
        /// Which and why.
        source: ToolError,
    },
    /// The guest's system cannot be put together.
    #[snafu(display("failed to make the guest's initramfs"))]
    Initramfs {
        /// Why.
        source: InitramfsError,
    },
    /// The disk cannot be put together.
    #[snafu(display("failed to make the guest's disk"))]
    Disk {
        /// Why.
        source: DiskError,
    },
    /// The disk is too large for the image format as it is written here.
    #[snafu(display("failed to write a guest disk of more than 2 GiB as qcow2"))]
    Size,
    /// The image cannot be written.
    #[snafu(display("failed to write the guest image {}", file.display()))]
    Write {
        /// Its file.
        file: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

impl Explain for BuildError {
    fn kind(&self) -> Kind {
        match self {
            Self::Hash { .. } => Kind::Integrity,
            Self::Write { .. } => Kind::Environment,
            Self::NoPackage { .. } | Self::Read { .. } | Self::Size => Kind::Failed,
            Self::Deb { .. }
            | Self::Modules { .. }
            | Self::Tool { .. }
            | Self::Initramfs { .. }
            | Self::Disk { .. } => self.inner().map_or(Kind::Failed, Explain::kind),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoPackage { .. } => Some("hand in every package of images/guest/packages.lock".to_owned()),
            Self::Hash { file, .. } => Some(format!("remove {} so that it is fetched again", file.display())),
            Self::Write { file, .. } => {
                Some(format!("check the space and the permissions of {}", file.parent()?.display()))
            }
            _ => self.inner()?.hint(),
        }
    }
}

impl BuildError {
    /// The error of a part, which says more.
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Deb { source } => Some(source),
            Self::Modules { source } => Some(source),
            Self::Tool { source } => Some(source),
            Self::Initramfs { source } => Some(source),
            Self::Disk { source } => Some(source),
            Self::NoPackage { .. }
            | Self::Read { .. }
            | Self::Hash { .. }
            | Self::Size
            | Self::Write { .. } => None,
        }
    }
}

/// Build the guest image at `out`, a qcow2 file. Whatever was there is replaced once the new image is complete.
pub fn build(inputs: &GuestInputs, out: &Path, task: &Task) -> Result<Built, BuildError> {
    let packages = read_packages(inputs, task)?;
    let package =
        |name: &str| packages.get(name).context(NoPackageSnafu { package: name, version: "of any version" });
    // The kernel's package has its version in its name.
    let kernel_package = packages
        .iter()
        .find_map(|(name, package)| name.starts_with("linux-image-").then_some(package))
        .context(NoPackageSnafu { package: "linux-image-*-cloud-amd64", version: "of any version" })?;

    task.status("collects kernel modules");
    let (_, kernel) = kernel_package.only("boot/vmlinuz-", "").context(DebSnafu)?;
    let modules =
        modules::collect(kernel_package, recipe::modules().map(|(_, name)| name)).context(ModulesSnafu)?;

    task.status("runs GRUB's mkimage");
    let directory = tempfile::tempdir().context(WriteSnafu { file: std::env::temp_dir() })?;
    let tools = Tools::new(directory.path(), packages.values()).context(ToolSnafu)?;
    let grub = package("grub-pc-bin")?;
    let core_image = core_image(&tools, directory.path(), package("grub-common")?, grub)?;
    let busybox = package("busybox-static")?.file("usr/bin/busybox").context(DebSnafu)?;
    let applets = tools.run_static("busybox", busybox, &["--list"]).context(ToolSnafu)?;

    task.status("packs the initramfs");
    let tree =
        initramfs::tree(&packages, &modules, &String::from_utf8_lossy(&applets)).context(InitramfsSnafu)?;
    let initrd = initramfs::compress(&cpio::archive(&tree)).context(InitramfsSnafu)?;

    task.status("writes the disk");
    let boot_sector = grub.file("usr/lib/grub/i386-pc/boot.img").context(DebSnafu)?;
    let parts = Parts { boot_sector, core_image: &core_image, kernel, initrd: &initrd };
    let raw = disk::assemble(&parts).context(DiskSnafu)?;
    let image = qcow2::from_raw(&raw).map_err(|qcow2::TooLarge| BuildError::Size)?;
    write_whole(out, &image).context(WriteSnafu { file: out })?;
    Ok(Built {
        path: out.to_owned(),
        bytes: image.len() as u64,
        sha256: hex::encode(Sha256::digest(&image)),
        disk_bytes: raw.len() as u64,
    })
}

/// Check each package against its pin and read it.
fn read_packages(inputs: &GuestInputs, task: &Task) -> Result<BTreeMap<String, Package>, BuildError> {
    let locked = lock::locked_packages();
    let mut packages = BTreeMap::new();
    for (done, pin) in (0_u64..).zip(locked) {
        task.progress(done, locked.len() as u64, "packages");
        let file =
            inputs.debs.get(pin.name).context(NoPackageSnafu { package: pin.name, version: pin.version })?;
        let found = hex::encode(Sha256::digest(fs::read(file).context(ReadSnafu { file })?));
        ensure!(found == pin.sha256, HashSnafu { package: pin.name, file, found, pinned: pin.sha256 });
        packages.insert(pin.name.to_owned(), deb::Package::read(pin.name, file).context(DebSnafu)?);
    }
    task.progress(locked.len() as u64, locked.len() as u64, "packages");
    Ok(packages)
}

/// GRUB's core: what it takes to read a FAT partition of a BIOS disk and start Linux, with our commands in it.
fn core_image(
    tools: &Tools,
    directory: &Path,
    common: &Package,
    grub: &Package,
) -> Result<Vec<u8>, BuildError> {
    const PLATFORM: &str = "usr/lib/grub/i386-pc/";
    let platform = directory.join("i386-pc");
    fs::create_dir_all(&platform).context(WriteSnafu { file: platform.as_path() })?;
    for (path, content) in grub.all(PLATFORM, "") {
        tool::write(&platform.join(&path[PLATFORM.len()..]), content).context(ToolSnafu)?;
    }
    tool::write(&directory.join("grub.cfg"), recipe::grub_commands().as_bytes()).context(ToolSnafu)?;
    let mkimage = common.file("usr/bin/grub-mkimage").context(DebSnafu)?;
    // The prefix names no disk: GRUB takes the one it was started from.
    let arguments = [
        "-O",
        "i386-pc",
        "-d",
        "i386-pc",
        "-p",
        "(,msdos1)/",
        "-c",
        "grub.cfg",
        "-o",
        "core.img",
        "biosdisk",
        "part_msdos",
        "fat",
        "linux16",
    ];
    tools.run("grub-mkimage", mkimage, &arguments).context(ToolSnafu)?;
    let file = directory.join("core.img");
    fs::read(&file).context(ReadSnafu { file })
}

/// Write a file beside its place and move it there.
fn write_whole(out: &Path, content: &[u8]) -> io::Result<()> {
    let directory = out.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(out)?;
    Ok(())
}
