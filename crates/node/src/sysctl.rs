//! Kernel settings of the whole machine, shared by all instances on it.
//!
//! Each instance that needs a setting leaves a claim: a file that holds the value from before the first claim. The
//! last instance to give up its claim restores that value. Claims lie on a tmpfs, because settings do not survive a
//! reboot either.

use std::fs;
use std::path::{Path, PathBuf};

use snafu::ResultExt;

use crate::files::{self, Access, FileError, FileSnafu};

/// A setting that nodes need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name with dots.
    pub key: &'static str,
    /// What it must be, or at least be.
    pub need: Need,
}

/// What a setting must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Exactly this.
    Is(&'static str),
    /// This number or more.
    AtLeast(u64),
}

/// All settings that nodes need of the machine.
pub const SETTINGS: [Setting; 3] = [
    // The host is the nodes' gateway.
    Setting { key: "net.ipv4.ip_forward", need: Need::Is("1") },
    // Each container's shim, the kubelet and most services watch files; the kernel's default is 128 instances.
    Setting { key: "fs.inotify.max_user_instances", need: Need::AtLeast(8192) },
    Setting { key: "fs.inotify.max_user_watches", need: Need::AtLeast(524_288) },
];

impl Setting {
    /// What to set, given what it is; nothing if it is good as it is.
    pub fn wanted(&self, current: &str) -> Option<String> {
        match self.need {
            Need::Is(value) => (current != value).then(|| value.to_owned()),
            Need::AtLeast(least) => {
                (current.parse::<u64>().is_ok_and(|current| current < least)).then(|| least.to_string())
            }
        }
    }
}

/// Where the machine's settings and the claims on them are.
#[derive(Debug, Clone)]
pub struct Machine {
    settings: PathBuf,
    claims: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        Self { settings: "/proc/sys".into(), claims: "/run/oaas-claims".into() }
    }
}

impl Machine {
    /// The value of a setting.
    pub fn get(&self, key: &str) -> Result<String, FileError> {
        Ok(files::read(&self.file(key))?.trim().to_owned())
    }

    /// What it was before the first claim; its current value if nobody claims it.
    pub fn original(&self, key: &str) -> Result<String, FileError> {
        for claim in self.claims(key) {
            if let Some(value) = files::read_if_there(&claim)? {
                return Ok(value);
            }
        }
        self.get(key)
    }

    /// Claim a setting for a claimant and set it.
    pub fn claim(&self, key: &str, claimant: &str, value: &str) -> Result<(), FileError> {
        let original = self.original(key)?;
        files::write(&self.claims.join(key).join(claimant), original.as_bytes(), Access::Public)?;
        self.set(key, value)
    }

    /// Give up a claim; the last one to do so restores the old value. Says whether it was restored.
    pub fn release(&self, key: &str, claimant: &str, was: &str) -> Result<bool, FileError> {
        files::remove(&self.claims.join(key).join(claimant))?;
        if !self.claims(key).is_empty() {
            return Ok(false);
        }
        self.set(key, was)?;
        // Gone when the last claim of the last setting is; other settings may still be claimed.
        let _ = fs::remove_dir(self.claims.join(key));
        let _ = fs::remove_dir(&self.claims);
        Ok(true)
    }

    fn set(&self, key: &str, value: &str) -> Result<(), FileError> {
        let path = self.file(key);
        fs::write(&path, value).context(FileSnafu { verb: "set", path })
    }

    fn file(&self, key: &str) -> PathBuf {
        self.settings.join(key.replace('.', "/"))
    }

    fn claims(&self, key: &str) -> Vec<PathBuf> {
        fs::read_dir(self.claims.join(key))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default()
    }
}

/// A text that stands for one instance of one state directory among the claims.
pub fn claimant(root: &Path) -> String {
    root.to_string_lossy().trim_matches('/').replace('/', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(directory: &Path) -> Machine {
        let settings = directory.join("sys");
        fs::create_dir_all(settings.join("net/ipv4")).unwrap();
        fs::write(settings.join("net/ipv4/ip_forward"), "0\n").unwrap();
        Machine { settings, claims: directory.join("claims") }
    }

    #[test]
    fn the_last_instance_restores_the_first_ones_old_value() {
        let directory = tempfile::tempdir().unwrap();
        let machine = machine(directory.path());
        let key = "net.ipv4.ip_forward";
        machine.claim(key, "a", "1").unwrap();
        machine.claim(key, "b", "1").unwrap();
        assert_eq!(machine.original(key).unwrap(), "0");
        assert!(!machine.release(key, "a", "0").unwrap());
        assert_eq!(machine.get(key).unwrap(), "1");
        assert!(machine.release(key, "b", "0").unwrap());
        assert_eq!(machine.get(key).unwrap(), "0");
        assert!(!directory.path().join("claims").exists());
    }

    #[test]
    fn a_setting_that_is_enough_is_left_alone() {
        let instances = &SETTINGS[1];
        assert_eq!(instances.wanted("128").as_deref(), Some("8192"));
        assert_eq!(instances.wanted("65536"), None);
        assert_eq!(SETTINGS[0].wanted("1"), None);
    }
}
