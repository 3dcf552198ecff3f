//! Programs out of the locked packages, run at build with the C library they were built for, so that neither the host's
//! programs nor its libraries decide what comes out.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt, Snafu, ensure};

use crate::deb::Package;

/// Where Debian keeps libraries, the dynamic loader among them.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu/";
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Why a program of the packages did not do its work.
#[derive(Debug, Snafu)]
pub enum ToolError {
    /// A file for it cannot be written.
    #[snafu(display("failed to write {}", file.display()))]
    Write {
        /// The file.
        file: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// It does not start.
    #[snafu(display("failed to start {program} from the Debian packages"))]
    Start {
        /// Its name.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended badly.
    #[snafu(display("failed to run {program} from the Debian packages: {said}"))]
    Run {
        /// Its name.
        program: String,
        /// Its standard error.
        said: String,
    },
}

impl Explain for ToolError {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { .. } | Self::Start { .. } => Kind::Environment,
            Self::Run { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Write { file, .. } => {
                Some(format!("check the space and the permissions of {}", file.parent()?.display()))
            }
            Self::Start { .. } => Some(
                "the guest image is built on x86-64 Linux, on a file system that may execute programs"
                    .to_owned(),
            ),
            Self::Run { .. } => None,
        }
    }
}

/// A directory with programs and libraries.
pub(crate) struct Tools<'a> {
    directory: &'a Path,
}

impl<'a> Tools<'a> {
    /// Lay out all shared libraries of these packages in a directory.
    pub(crate) fn new<'p>(
        directory: &'a Path,
        packages: impl Iterator<Item = &'p Package>,
    ) -> Result<Self, ToolError> {
        for package in packages {
            for (path, content) in package.all(LIBRARIES, "") {
                let name = &path[LIBRARIES.len()..];
                if name.contains('/') || !name.contains(".so") {
                    continue;
                }
                write_executable(&directory.join(name), content)?;
                // Programs ask for `libx.so.1` where the file is `libx.so.1.2.3`.
                for alias in package.links_to(path) {
                    if let Some(alias) = alias.strip_prefix(LIBRARIES) {
                        write_executable(&directory.join(alias), content)?;
                    }
                }
            }
        }
        Ok(Self { directory })
    }

    /// Run a program that needs shared libraries and hand back its standard output.
    pub(crate) fn run(
        &self,
        program: &str,
        content: &[u8],
        arguments: &[&str],
    ) -> Result<Vec<u8>, ToolError> {
        let file = self.lay_out(program, content)?;
        let mut command = Command::new(self.directory.join(LOADER));
        command
            .arg("--library-path")
            .arg(self.directory)
            .args(["--argv0", program])
            .arg(&file)
            .args(arguments);
        self.finish(program, command)
    }

    /// Run a program that needs none and hand back its standard output.
    pub(crate) fn run_static(
        &self,
        program: &str,
        content: &[u8],
        arguments: &[&str],
    ) -> Result<Vec<u8>, ToolError> {
        let mut command = Command::new(self.lay_out(program, content)?);
        command.args(arguments);
        self.finish(program, command)
    }

    fn lay_out(&self, program: &str, content: &[u8]) -> Result<PathBuf, ToolError> {
        let file = self.directory.join(program);
        write_executable(&file, content)?;
        Ok(file)
    }

    fn finish(&self, program: &str, mut command: Command) -> Result<Vec<u8>, ToolError> {
        let end = command
            .current_dir(self.directory)
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .context(StartSnafu { program })?;
        let said = String::from_utf8_lossy(&end.stderr);
        ensure!(end.status.success(), RunSnafu { program, said: said.trim() });
        Ok(end.stdout)
    }
}

/// Write a file for a program to use.
pub(crate) fn write(file: &Path, content: &[u8]) -> Result<(), ToolError> {
    fs::write(file, content).context(WriteSnafu { file })
}

fn write_executable(file: &Path, content: &[u8]) -> Result<(), ToolError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(file)
        .and_then(|mut opened| opened.write_all(content))
        .context(WriteSnafu { file })
}
