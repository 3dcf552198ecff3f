//! The demo guest's disk, built once and kept by the hash of what it is made from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind, Task};
use oaas_guest::{GuestInputs, LockedPackage};
use oaas_image::debian::mirror::{self, Mirrors};
use oaas_image::{Cache, archive};
use snafu::{ResultExt, Snafu, ensure};
use tokio::process::Command;

/// Why there is no guest disk.
#[derive(Debug, Snafu)]
pub enum Error {
    /// No mirror is known.
    #[snafu(display("failed to choose a Debian mirror for the guest image"))]
    Mirror {
        /// Why.
        source: mirror::Error,
    },
    /// The cache cannot be used.
    #[snafu(display("failed to use {}", path.display()))]
    Cache {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// apt cannot be run.
    #[snafu(display("failed to run apt's downloader"))]
    Downloader {
        /// What the system said.
        source: std::io::Error,
    },
    /// Packages are not to be had.
    #[snafu(display("failed to fetch packages of the guest image: {said}"))]
    Fetch {
        /// What apt said last.
        said: String,
    },
    /// The disk was not built.
    #[snafu(display("failed to build the guest image"))]
    Build {
        /// Why.
        source: oaas_guest::BuildError,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Mirror { .. } | Self::Cache { .. } | Self::Downloader { .. } => Kind::Environment,
            Self::Fetch { .. } => Kind::Integrity,
            Self::Build { source } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Mirror { source } => source.hint(),
            Self::Fetch { .. } => {
                Some("the mirror may have moved on: renew images/guest/packages.lock".into())
            }
            Self::Build { source } => source.hint(),
            Self::Cache { .. } | Self::Downloader { .. } => None,
        }
    }
}

/// The disk, from the cache or built now.
pub async fn ensure(cache: &Cache, task: &Task) -> Result<PathBuf, Error> {
    let directory = cache.root().join("guest").join(oaas_guest::key());
    let disk = directory.join(format!("{}.qcow2", oaas_guest::NAME));
    let sum = directory.join("sha256");
    if let (Ok(wanted), Ok(found)) = (std::fs::read_to_string(&sum), archive::sha256(&disk)) {
        if wanted == found {
            return Ok(disk);
        }
        task.status("the cached disk is damaged; builds it again");
    }
    let debs = packages(cache, task).await?;
    std::fs::create_dir_all(&directory).context(CacheSnafu { path: &directory })?;
    task.status("builds the disk");
    let built = oaas_guest::build(&GuestInputs { debs }, &disk, task).context(BuildSnafu)?;
    std::fs::write(&sum, built.sha256).context(CacheSnafu { path: &sum })?;
    Ok(disk)
}

async fn packages(cache: &Cache, task: &Task) -> Result<BTreeMap<String, PathBuf>, Error> {
    let directory = cache.root().join("guest-debs");
    std::fs::create_dir_all(&directory).context(CacheSnafu { path: &directory })?;
    let place = |package: &LockedPackage| directory.join(format!("{}.deb", package.sha256));
    let good = |path: &Path, package: &LockedPackage| {
        archive::sha256(path).is_ok_and(|found| found == package.sha256)
    };
    let locked = oaas_guest::locked_packages();
    let missing: Vec<&LockedPackage> =
        locked.iter().filter(|package| !good(&place(package), package)).collect();
    if !missing.is_empty() {
        task.status(format!("fetches {} packages", missing.len()));
        let mirrors = Mirrors::of_machine(task).await.context(MirrorSnafu)?;
        let mut apt = Command::new("/usr/lib/apt/apt-helper");
        apt.args(["-o", "Acquire::Retries=3", "download-file"])
            .env("LC_ALL", "C.UTF-8")
            .current_dir(&directory);
        for package in &missing {
            let uri = format!("{}/{}", mirrors.main, package.pool_path);
            apt.args([uri, place(package).display().to_string(), format!("SHA256:{}", package.sha256)]);
        }
        let output = apt.output().await.context(DownloaderSnafu)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().lines().last().unwrap_or("nothing").to_owned();
        ensure!(output.status.success(), FetchSnafu { said });
    }
    Ok(locked.iter().map(|package| (package.name.to_owned(), place(package))).collect())
}
