//! A root from locked packages: a local repository of just those, and mmdebstrap.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind, Task};
use snafu::{ResultExt as _, Snafu};

use super::lock::Package;
use crate::archive;
use crate::process;
use crate::recipe::{Debian, Extract};
use crate::store::Cache;

/// A root could not be made.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// A program failed.
    #[snafu(display("failed to set up the Debian root of layer {layer}"))]
    Program {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: process::Error,
    },
    /// A file of the root.
    #[snafu(display("failed to prepare {}", path.display()))]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Program { source, .. } => source.kind(),
            Self::File { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Program { source, .. } => source.hint(),
            Self::File { .. } => None,
        }
    }
}

/// Set up `packages` (a whole closure) in the new directory `root`, without any network. `scratch` is on the cache's
/// file system and ours alone.
#[allow(clippy::too_many_arguments)]
pub async fn bootstrap(
    cache: &Cache,
    debian: &Debian,
    epoch: u64,
    layer: &str,
    packages: &[&Package],
    root: &Path,
    scratch: &Path,
    task: &Task,
) -> Result<(), Error> {
    task.status(format!("lays out {} packages", packages.len()));
    let repository = repository(cache, debian, layer, packages, scratch, task).await?;
    let mut command = process::isolated(false);
    command.arg("mmdebstrap");
    command.args(["--mode=root", "--variant=essential", "--format=directory"]);
    command.arg(format!("--architectures={}", debian.architecture));
    command.args([
        "--aptopt=APT::Install-Recommends \"false\"",
        "--aptopt=Acquire::Languages \"none\"",
        "--aptopt=APT::Sandbox::User \"root\"",
        "--dpkgopt=force-unsafe-io",
        "--dpkgopt=no-debsig",
    ]);
    command.args(debian.exclude.iter().map(|p| format!("--dpkgopt=path-exclude={p}")));
    command.args(debian.include.iter().map(|p| format!("--dpkgopt=path-include={p}")));
    let names: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    command.arg(format!("--include={}", names.join(",")));
    command.arg(&debian.suite).arg(root).arg(format!("deb [trusted=yes] copy://{} ./", repository.display()));
    process::clean_environment(
        &mut command,
        [
            ("SOURCE_DATE_EPOCH", epoch.to_string()),
            ("DEBIAN_FRONTEND", "noninteractive".into()),
            ("TMPDIR", scratch.display().to_string()),
        ],
    );
    process::run(&format!("set up the Debian root of layer {layer}"), command, task)
        .await
        .context(error::ProgramSnafu { layer })?;
    finish(debian, root)
}

/// A repository with the locked packages under their file names, and its index.
async fn repository(
    cache: &Cache,
    debian: &Debian,
    layer: &str,
    packages: &[&Package],
    scratch: &Path,
    task: &Task,
) -> Result<PathBuf, Error> {
    let repository = scratch.join("repository");
    fs::create_dir_all(&repository).context(error::FileSnafu { path: &repository })?;
    let mut index = String::new();
    for package in packages {
        let deb = cache.deb(&package.sha256);
        let name = format!("{}.deb", package.sha256);
        let link = repository.join(&name);
        fs::hard_link(&deb, &link).context(error::FileSnafu { path: link })?;
        let mut control = process::command("dpkg-deb");
        control.arg("--field").arg(&deb);
        let control = process::run("read a package's control file", control, &Task::silent())
            .await
            .context(error::ProgramSnafu { layer })?;
        index += control.trim_end();
        index += &format!("\nFilename: ./{name}\nSize: {}\nSHA256: {}\n\n", package.size, package.sha256);
    }
    // mmdebstrap finds the essential packages by the suite that the repository says it is.
    let release = format!(
        "Suite: {0}\nCodename: {0}\nArchitectures: {1}\nSHA256:\n {2} {3} Packages\n",
        debian.suite,
        debian.architecture,
        archive::sha256_of(index.as_bytes()),
        index.len()
    );
    for (file, text) in [("Packages", index), ("Release", release)] {
        let path = repository.join(file);
        fs::write(&path, text).context(error::FileSnafu { path: &path })?;
    }
    task.status("unpacks and configures packages");
    Ok(repository)
}

/// Accounts in, traces and identities out.
fn finish(debian: &Debian, root: &Path) -> Result<(), Error> {
    for account in &debian.accounts {
        let (name, id, home) = (&account.name, account.id, &account.home);
        let lines = [
            ("etc/passwd", format!("{name}:x:{id}:{id}::{home}:/usr/sbin/nologin\n")),
            ("etc/group", format!("{name}:x:{id}:\n")),
            ("etc/shadow", format!("{name}:!:1::::::\n")),
            ("etc/gshadow", format!("{name}:!::\n")),
        ];
        for (file, line) in lines {
            let path = root.join(file);
            let before = match fs::read_to_string(&path) {
                // A root without the package passwd keeps no shadow files.
                Err(error) if error.kind() == io::ErrorKind::NotFound && file.contains("shadow") => continue,
                read => read.context(error::FileSnafu { path: &path })?,
            };
            fs::write(&path, before + &line).context(error::FileSnafu { path: &path })?;
        }
        let path = root.join(home.trim_start_matches('/'));
        fs::create_dir_all(&path).context(error::FileSnafu { path: &path })?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750))
            .context(error::FileSnafu { path: &path })?;
        chown(&path, Some(id), Some(id)).context(error::FileSnafu { path: &path })?;
    }
    for wish in &debian.clean {
        let path = root.join(wish.trim_matches('/'));
        clean(&path, wish.ends_with('/')).context(error::FileSnafu { path })?;
    }
    // systemd and dbus take an empty file as "not set yet".
    let path = root.join("etc/machine-id");
    fs::write(&path, "").context(error::FileSnafu { path })
}

/// Remove a path, or only what is in it.
fn clean(path: &Path, only_content: bool) -> io::Result<()> {
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match (meta.is_dir(), only_content) {
        (true, true) => fs::read_dir(path)?.try_for_each(|entry| clean(&entry?.path(), false)),
        (true, false) => fs::remove_dir_all(path),
        (false, _) => fs::remove_file(path),
    }
}

/// Unpack parts of packages over a root, running nothing of them.
pub async fn extract(
    cache: &Cache,
    layer: &str,
    parts: &[Extract],
    packages: &[&Package],
    root: &Path,
    scratch: &Path,
) -> Result<(), Error> {
    for part in parts {
        let Some(package) = packages.iter().find(|p| p.name == part.package) else { continue };
        let whole = scratch.join(format!("extract-{}", part.package));
        let mut unpack = process::command("dpkg-deb");
        unpack.arg("--extract").arg(cache.deb(&package.sha256)).arg(&whole);
        process::run("unpack a package", unpack, &Task::silent())
            .await
            .context(error::ProgramSnafu { layer })?;
        for path in &part.paths {
            let path = path.trim_start_matches('/');
            let to = root.join(path);
            if let Some(up) = to.parent() {
                fs::create_dir_all(up).context(error::FileSnafu { path: up })?;
            }
            fs::rename(whole.join(path), &to).context(error::FileSnafu { path: &to })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Account;

    #[test]
    fn a_finished_root_has_the_accounts_and_no_traces() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in ["etc", "var/log/apt", "run/lock"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        for file in
            ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/hostname", "var/log/dpkg.log"]
        {
            fs::write(root.join(file), "").unwrap();
        }
        fs::write(root.join("etc/machine-id"), "secret").unwrap();
        let id = nix::unistd::geteuid().as_raw();
        let debian = Debian {
            suite: "s".into(),
            architecture: "a".into(),
            lock: "l".into(),
            exclude: vec![],
            include: vec![],
            clean: ["/var/log/", "/etc/hostname", "/run/", "/nothing"].map(Into::into).into(),
            accounts: vec![Account { name: "oaas".into(), id, home: "/var/lib/oaas".into() }],
        };
        finish(&debian, root).unwrap();
        assert_eq!(
            fs::read_to_string(root.join("etc/passwd")).unwrap(),
            format!("oaas:x:{id}:{id}::/var/lib/oaas:/usr/sbin/nologin\n")
        );
        assert_eq!(fs::read_to_string(root.join("etc/machine-id")).unwrap(), "");
        assert!(!root.join("etc/hostname").exists() && !root.join("run/lock").exists());
        assert!(root.join("var/log").is_dir() && root.join("run").is_dir());
        assert_eq!(fs::read_dir(root.join("var/log")).unwrap().count(), 0);
    }
}
