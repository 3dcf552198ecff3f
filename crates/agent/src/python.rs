//! Where programs in Python find what lets them follow their options ([`crate::follow`]).

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Tells the module which directory to follow.
const DIRECTORY: &str = "OAAS_LIVE";
/// Tells the module where the agent is reached.
const SOCKET: &str = "OAAS_LIVE_SOCKET";
/// Where Python looks for modules first.
const SEARCH: &str = "PYTHONPATH";

/// The directory of the module and of the socket.
pub(crate) fn home() -> PathBuf {
    env::temp_dir().join("oaas-follow")
}

/// Where the agent is reached.
pub(crate) fn socket() -> PathBuf {
    home().join("socket")
}

/// What makes a program follow its options, for its environment.
pub(crate) fn environment(directory: &Path, env: &mut BTreeMap<String, String>) {
    let own = env.get(SEARCH).map(OsString::from).or_else(|| env::var_os(SEARCH));
    env.insert(SEARCH.to_owned(), search(&home(), own.as_deref()));
    env.insert(DIRECTORY.to_owned(), directory.display().to_string());
    env.insert(SOCKET.to_owned(), socket().display().to_string());
}

/// Where Python looks for modules: in a directory, then where it looked before.
fn search(first: &Path, before: Option<&OsStr>) -> String {
    let before = before.into_iter().flat_map(env::split_paths).filter(|path| *path != Path::new(""));
    let all: Vec<PathBuf> = [first.to_owned()].into_iter().chain(before).collect();
    all.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_python_looked_before_stays() {
        assert_eq!(search(Path::new("/tmp/a"), None), "/tmp/a");
        assert_eq!(search(Path::new("/tmp/a"), Some("".as_ref())), "/tmp/a");
        assert_eq!(search(Path::new("/tmp/a"), Some("/usr/x:/y".as_ref())), "/tmp/a:/usr/x:/y");
    }
}
