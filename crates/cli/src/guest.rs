//! The demo guest's disk, built once and kept by the hash of what it is made from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oaas_feedback::{Explain, Kind, Task};
use oaas_guest::{GuestInputs, LockedPackage};
use oaas_image::debian::fetch::{self, Wanted};
use oaas_image::debian::lock::Archive;
use oaas_image::debian::mirror::{self, Mirrors};
use oaas_image::{Cache, archive};
use snafu::{ResultExt, Snafu};

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
    /// Packages are not to be had.
    #[snafu(display("failed to fetch the packages of the guest image"))]
    Fetch {
        /// Why.
        source: fetch::Error,
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
            Self::Mirror { .. } | Self::Cache { .. } => Kind::Environment,
            Self::Fetch { source } => source.kind(),
            Self::Build { source } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Mirror { source } => source.hint(),
            // The guest's lock is not one that `oaas image lock` renews.
            Self::Fetch { source: fetch::Error::Gone { .. } } => {
                Some("the mirror has moved on: renew images/guest/packages.lock".into())
            }
            Self::Fetch { source } => source.hint(),
            Self::Build { source } => source.hint(),
            Self::Cache { path, .. } => Some(format!(
                "make room at {}, or name a directory that you may write to with OAAS_CACHE_DIR",
                path.display()
            )),
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
    let locked = oaas_guest::locked_packages();
    let wanted: Vec<Wanted<'_>> = locked
        .iter()
        .map(|LockedPackage { name, version, sha256, pool_path }| Wanted {
            name,
            version,
            sha256,
            archive: Archive::Main,
            path: pool_path,
        })
        .collect();
    let mirrors = Mirrors::of_machine(task).await.context(MirrorSnafu)?;
    fetch::fetch(cache, &wanted, &mirrors, task).await.context(FetchSnafu)?;
    Ok(locked.iter().map(|package| (package.name.to_owned(), cache.deb(package.sha256))).collect())
}
