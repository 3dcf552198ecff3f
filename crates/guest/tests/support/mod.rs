//! The packages of the lock file, from this machine's own Debian mirror.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oaas_guest::{GuestInputs, locked_packages};

/// apt's own downloader; it checks the hash and writes nothing else.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// Fetch what is not in the cache yet.
pub fn inputs() -> GuestInputs {
    let cache = cache_directory();
    fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("failed to make {}: {error}", cache.display()));
    let sites = sites();
    let mut debs = BTreeMap::new();
    for package in locked_packages() {
        let file = cache.join(package.sha256);
        if !file.exists() {
            fetch(&sites, package.pool_path, package.sha256, &file);
        }
        debs.insert(package.name.to_owned(), file);
    }
    GuestInputs { debs }
}

fn cache_directory() -> PathBuf {
    let base = env::var_os("OAAS_CACHE_DIR")
        .map(PathBuf::from)
        .or_else(|| env::var_os("XDG_CACHE_HOME").map(|cache| Path::new(&cache).join("oaas")))
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache/oaas")))
        .expect("HOME, XDG_CACHE_HOME or OAAS_CACHE_DIR is set");
    base.join("debs")
}

/// The archives that apt is configured to use, in its order.
fn sites() -> Vec<String> {
    let listed = Command::new("apt-get")
        .args(["indextargets", "--format", "$(SITE)", "Created-By: Packages"])
        .output()
        .expect("apt-get runs (Debian package apt)");
    let mut sites: Vec<_> = String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect();
    sites.dedup();
    assert!(!sites.is_empty(), "apt has no archive configured: see sources.list(5)");
    sites
}

fn fetch(sites: &[String], pool_path: &str, sha256: &str, file: &Path) {
    let partial = file.with_extension(format!("partial.{}", std::process::id()));
    let mut said = String::new();
    for site in sites {
        let done = Command::new(APT_HELPER)
            .arg("download-file")
            .arg(format!("{site}/{pool_path}"))
            .arg(&partial)
            .arg(format!("SHA256:{sha256}"))
            .output()
            .unwrap_or_else(|error| panic!("failed to run {APT_HELPER} (Debian package apt): {error}"));
        if done.status.success() {
            fs::rename(&partial, file)
                .unwrap_or_else(|error| panic!("failed to keep {}: {error}", file.display()));
            return;
        }
        said += &String::from_utf8_lossy(&done.stderr);
    }
    panic!(
        "failed to fetch {pool_path} from apt's archives; has the mirror moved on from images/guest/packages.lock?\n{said}"
    );
}
