//! The steps that prepare a start. Each can be repeated.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Gid, Uid, chown};
use oaas_feedback::{Explain, Kind};
use snafu::{OptionExt as _, ResultExt as _, Snafu};
use tokio::time::sleep;
use tracing::info;

use crate::checks::Checker;
use crate::context::Context;
use crate::program;
use oaas_agent_config::{Check, Prepare, TlsFiles};

/// How long between two questions of a wait.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long a program of a preparation may run.
const RUN_LIMIT: Duration = Duration::from_mins(30);

/// What can go wrong while preparing.
#[derive(Debug, Snafu)]
pub enum Error {
    /// A file or directory.
    #[snafu(display("failed to {doing} {}", path.display()))]
    File {
        /// The verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The owner could not be set.
    #[snafu(display("failed to give {} to {owner}", path.display()))]
    Owner {
        /// The file.
        path: PathBuf,
        /// As configured.
        owner: String,
        /// Why.
        source: nix::Error,
    },
    /// Permissions that are none.
    #[snafu(display("failed to understand the mode {mode:?}: it is not octal, such as 0750"))]
    Mode {
        /// As configured.
        mode: String,
    },
    /// A program failed, or a user is unknown.
    #[snafu(transparent)]
    Program {
        /// Why.
        source: program::Error,
    },
}

impl Error {
    /// Did it fail because a file system is full?
    pub fn is_full_disk(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::StorageFull || source.kind() == io::ErrorKind::QuotaExceeded)
    }
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Owner { .. } => Kind::Environment,
            Self::Mode { .. } => Kind::Input,
            Self::Program { source } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File { source, path, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(format!("the file system of {} is full", path.display()))
            }
            Self::Program { source } => source.hint(),
            _ => None,
        }
    }
}

/// Do the steps in order.
pub async fn prepare(steps: &[Prepare], context: &Context) -> Result<(), Error> {
    for step in steps {
        match step {
            Prepare::MakeDir { path, mode, owner } => make_dir(path, mode.as_deref(), owner.as_deref())?,
            Prepare::CopyTree { from, to, mode, owner } => {
                let mode = mode.as_deref().map(parse_mode).transpose()?;
                copy_tree(from, to, mode, owner.as_deref())?;
            }
            Prepare::WaitFor { check, why } => wait_for(check, why, context).await,
            Prepare::Run { program, why } => {
                info!(target: "oaas_agent", "{why}");
                context.finish(why, program, RUN_LIMIT).await?.success(why)?;
            }
        }
    }
    Ok(())
}

/// Ask a check again and again until its answer is good; says meanwhile what is waited for and why.
pub async fn wait_for(check: &Check, why: &str, context: &Context) {
    let checker = Checker::new(check.clone(), context.clone());
    while let Err(reason) = checker.ask().await {
        context.waits_for(format!("{why}: {reason}"));
        sleep(ASK_AGAIN).await;
    }
    context.waits_no_more();
}

/// A directory with its parents exists, with this mode and owner.
pub fn make_dir(path: &Path, mode: Option<&str>, owner: Option<&str>) -> Result<(), Error> {
    fs::create_dir_all(path).context(FileSnafu { doing: "make the directory", path })?;
    if let Some(mode) = mode {
        set_mode(path, parse_mode(mode)?)?;
    }
    give(path, owner)
}

/// Copy a file, or a directory with all below it.
pub fn copy_tree(from: &Path, to: &Path, mode: Option<u32>, owner: Option<&str>) -> Result<(), Error> {
    let meta = fs::metadata(from).context(FileSnafu { doing: "read", path: from })?;
    if !meta.is_dir() {
        return copy_file(from, to, mode.unwrap_or(meta.permissions().mode() & 0o7777), owner);
    }
    fs::create_dir_all(to).context(FileSnafu { doing: "make the directory", path: to })?;
    if let Some(mode) = mode {
        set_mode(to, searchable(mode))?;
    }
    give(to, owner)?;
    for entry in fs::read_dir(from).context(FileSnafu { doing: "read", path: from })? {
        let name = entry.context(FileSnafu { doing: "read", path: from })?.file_name();
        // A mounted ConfigMap or Secret keeps its versions in directories named with two dots.
        if !name.to_string_lossy().starts_with("..") {
            copy_tree(&from.join(&name), &to.join(&name), mode, owner)?;
        }
    }
    Ok(())
}

/// Copy mounted TLS files to where a program's user can read them; gives whether anything differed.
pub fn copy_tls(from: &TlsFiles, to: &TlsFiles, owner: Option<&str>) -> Result<bool, Error> {
    let mut changed = false;
    for (from, to, mode) in
        [(&from.ca, &to.ca, 0o644), (&from.cert, &to.cert, 0o644), (&from.key, &to.key, 0o600)]
    {
        let wanted = fs::read(from).context(FileSnafu { doing: "read", path: from })?;
        if fs::read(to).ok().as_ref() != Some(&wanted) {
            write_file(to, &wanted, mode, owner)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// Written beside its place and moved over it: whoever reads sees the old file or the new one, and a secret is never
/// readable by more than in the end.
fn copy_file(from: &Path, to: &Path, mode: u32, owner: Option<&str>) -> Result<(), Error> {
    let bytes = fs::read(from).context(FileSnafu { doing: "read", path: from })?;
    write_file(to, &bytes, mode, owner)
}

/// Write a file beside its place and move it over it, so that whoever reads sees the old file or the new one.
pub fn write_file(to: &Path, bytes: &[u8], mode: u32, owner: Option<&str>) -> Result<(), Error> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).context(FileSnafu { doing: "make the directory", path: parent })?;
    }
    let mut name = to.file_name().unwrap_or_default().to_os_string();
    name.push(".oaas-new");
    let fresh = to.with_file_name(name);
    // One left behind by a killed agent has whatever mode.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context(FileSnafu { doing: "remove", path: &fresh });
        }
        _ => {}
    }
    let write = || -> io::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().context(FileSnafu { doing: "write", path: &fresh })?;
    give(&fresh, owner)?;
    set_mode(&fresh, mode)?;
    fs::rename(&fresh, to).context(FileSnafu { doing: "write", path: to })
}

/// Directories can be searched by whoever may read them.
const fn searchable(mode: u32) -> u32 {
    mode | ((mode & 0o444) >> 2)
}

/// Octal permissions.
pub fn parse_mode(mode: &str) -> Result<u32, Error> {
    u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777).context(ModeSnafu { mode })
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .context(FileSnafu { doing: "set the mode of", path })
}

/// Give a file to `user` or `user:group`; nothing where the agent is not root, since the pod's own user is right then.
pub fn give(path: &Path, owner: Option<&str>) -> Result<(), Error> {
    let Some(owner) = owner.filter(|_| Uid::effective().is_root()) else { return Ok(()) };
    let (uid, gid): (Uid, Option<Gid>) = program::owner(owner)?;
    chown(path, Some(uid), gid).context(OwnerSnafu { path, owner })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("0750").unwrap(), 0o750);
        assert!(parse_mode("rwx").unwrap_err().to_string().contains("not octal"));
        assert!(parse_mode("77777").is_err());
        assert_eq!(searchable(0o640), 0o750);
        assert_eq!(searchable(0o600), 0o700);
    }

    #[test]
    fn a_mounted_secret_is_copied_as_files() {
        let directory = tempfile::tempdir().unwrap();
        let (mount, to) = (directory.path().join("mount"), directory.path().join("to"));
        fs::create_dir_all(mount.join("..1")).unwrap();
        fs::write(mount.join("..1/key"), "secret").unwrap();
        std::os::unix::fs::symlink("..1", mount.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/key", mount.join("key")).unwrap();
        for _ in 0..2 {
            copy_tree(&mount, &to, Some(0o600), None).unwrap();
        }
        let names: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["key"]);
        assert_eq!(fs::read_to_string(to.join("key")).unwrap(), "secret");
        assert_eq!(fs::metadata(to.join("key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn tls_files_are_copied_when_they_differ() {
        let directory = tempfile::tempdir().unwrap();
        let files = |name: &str| {
            let at = directory.path().join(name);
            TlsFiles { ca: at.join("ca.crt"), cert: at.join("tls.crt"), key: at.join("tls.key") }
        };
        let (from, to) = (files("from"), files("to"));
        fs::create_dir(directory.path().join("from")).unwrap();
        for path in [&from.ca, &from.cert, &from.key] {
            fs::write(path, "one").unwrap();
        }
        assert!(copy_tls(&from, &to, None).unwrap());
        assert!(!copy_tls(&from, &to, None).unwrap());
        fs::write(&from.cert, "two").unwrap();
        assert!(copy_tls(&from, &to, None).unwrap());
        assert_eq!(fs::read_to_string(&to.cert).unwrap(), "two");
        assert_eq!(fs::metadata(&to.key).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn directories_are_made_again_without_harm() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        for _ in 0..2 {
            make_dir(&path, Some("0711"), None).unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o711);
    }
}
