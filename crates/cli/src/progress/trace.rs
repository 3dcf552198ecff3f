//! Keeps every event for `--trace`, and writes the two files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oaas_feedback::{Event, Explain, Kind, Sink};
use snafu::{ResultExt, Snafu};

use super::clock::Clock;
use super::tree::Tree;
use super::{chrome, svg};

/// Why a trace could not be written.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The file system said no.
    #[snafu(display("failed to write the trace to {}", path.display()))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        Some("give `--trace` a file in a directory that exists and that you may write to".to_owned())
    }
}

/// Keeps every event.
pub struct Trace {
    clock: Arc<dyn Clock>,
    tree: Mutex<Tree>,
}

impl Trace {
    /// An empty trace.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tree: Mutex::new(Tree::default()) }
    }

    /// All tasks so far, and the time.
    pub fn snapshot(&self) -> (Tree, Duration) {
        (self.tree.lock().unwrap_or_else(PoisonError::into_inner).clone(), self.clock.elapsed())
    }

    /// Write the Chrome trace to `path` and the picture beside it (see [`picture_path`]).
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let (tree, end) = self.snapshot();
        let events = chrome::trace(&tree, end).to_string();
        std::fs::write(path, events).context(WriteSnafu { path })?;
        let picture = picture_path(path);
        std::fs::write(&picture, svg::picture(&tree, end)).context(WriteSnafu { path: picture })
    }
}

/// `deploy.json` → `deploy.svg`, and `deploy.svg` → `deploy.svg.svg`, never the trace itself.
pub fn picture_path(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    if path.extension().is_some_and(|extension| extension == "svg") {
        name.push(".svg");
    }
    name.push(".svg");
    path.with_file_name(name)
}

impl Sink for Trace {
    fn event(&self, event: Event) {
        let at = self.clock.elapsed();
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).apply(at, &event);
    }
}

#[cfg(test)]
mod tests {
    use super::picture_path;
    use std::path::Path;

    #[test]
    fn the_picture_never_overwrites_the_trace() {
        assert_eq!(picture_path(Path::new("a/deploy.json")), Path::new("a/deploy.svg"));
        assert_eq!(picture_path(Path::new("deploy")), Path::new("deploy.svg"));
        assert_eq!(picture_path(Path::new("deploy.svg")), Path::new("deploy.svg.svg"));
    }
}
