//! Where OaaS keeps things on this machine.

use std::path::PathBuf;

/// What cannot be made again: certificates, etcd's data, volumes. `$OAAS_STATE_DIR`, else `/var/lib/oaas`.
pub fn state() -> PathBuf {
    named("OAAS_STATE_DIR").unwrap_or_else(|| PathBuf::from("/var/lib/oaas"))
}

/// What can be made again, keyed by content. `$OAAS_CACHE_DIR`, else `oaas` in the user's cache directory.
pub fn cache() -> PathBuf {
    named("OAAS_CACHE_DIR").unwrap_or_else(|| user("XDG_CACHE_HOME", ".cache").join("oaas"))
}

/// Where OpenStack's clients look for `clouds.yaml`.
pub fn openstack_config() -> PathBuf {
    user("XDG_CONFIG_HOME", ".config").join("openstack")
}

/// A directory of the user's by the XDG Base Directory Specification.
fn user(variable: &str, below_home: &str) -> PathBuf {
    named(variable)
        .filter(|path| path.is_absolute())
        .unwrap_or_else(|| named("HOME").unwrap_or_else(|| PathBuf::from("/root")).join(below_home))
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
