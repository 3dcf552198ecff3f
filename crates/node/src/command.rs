//! Other people's programs, run to their end.

use std::ffi::OsStr;
use std::io;
use std::process::{Output, Stdio};

use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt, Snafu};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A program could not be run or failed.
#[derive(Debug, Snafu)]
pub enum CommandError {
    /// It is not there, or cannot be executed.
    #[snafu(display("failed to start `{program}`"))]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with a failure.
    #[snafu(display("`{line}` failed: {why}"))]
    Ended {
        /// The command line.
        line: String,
        /// What it wrote to its error output, or how it ended.
        why: String,
    },
}

impl Explain for CommandError {
    fn kind(&self) -> Kind {
        match self {
            Self::Start { .. } => Kind::Environment,
            Self::Ended { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Start { program, source } if source.kind() == io::ErrorKind::NotFound => {
                Some(match crate::packages::package_of(program) {
                    Some(package) => format!("install it: apt-get install {package}"),
                    None => format!("install `{program}` and put it into PATH"),
                })
            }
            _ => None,
        }
    }
}

/// Run a program to its end; hands back what it wrote to its output.
pub async fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String, CommandError> {
    finish(program, arguments, prepare(program, arguments).output().await)
}

/// Run a program that reads `input`.
pub async fn run_with_input<S: AsRef<OsStr>>(
    program: &str,
    arguments: &[S],
    input: &str,
) -> Result<String, CommandError> {
    let output = async {
        let mut child = prepare(program, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends without reading says why on its error output, which matters more.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    finish(program, arguments, output.await)
}

fn prepare<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Command {
    let mut command = Command::new(program);
    // Messages are read and compared; they must be in one language.
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn finish<S: AsRef<OsStr>>(
    program: &str,
    arguments: &[S],
    output: io::Result<Output>,
) -> Result<String, CommandError> {
    let output = output.context(StartSnafu { program })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let why = if said.is_empty() { output.status.to_string() } else { said };
    EndedSnafu { line: line(program, arguments), why }.fail()
}

fn line<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    let mut line = program.to_owned();
    for argument in arguments {
        line.push(' ');
        line.push_str(&argument.as_ref().to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_names_the_command_and_what_it_said() {
        let error = run("sh", &["-c", "echo no >&2; exit 3"]).await.unwrap_err();
        assert_eq!(error.to_string(), "`sh -c echo no >&2; exit 3` failed: no");
    }

    #[tokio::test]
    async fn a_missing_program_comes_with_its_package() {
        let error = run("oaas-no-such-program", &[] as &[&str]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Environment);
        assert!(error.hint().unwrap().contains("oaas-no-such-program"));
    }

    #[tokio::test]
    async fn input_is_read() {
        assert_eq!(run_with_input("cat", &[] as &[&str], "text").await.unwrap(), "text");
    }
}
