//! The compilers at work.

use std::path::Path;

use oaas_feedback::Task;
use snafu::{OptionExt, ResultExt};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::failure::{ArtefactError, BuildSnafu, CompilerSnafu, TooOldSnafu};
use super::programs::{How, Program, command_line};
use crate::command::{self, CommandError};
use crate::versions::{OLDEST_GO, parse_go_version};

/// What Go says of itself, such as `go1.26.8 linux/amd64`.
pub(super) async fn go_version() -> Result<String, ArtefactError> {
    let text = command::run("go", &["env", "GOVERSION", "GOOS", "GOARCH"]).await.context(CompilerSnafu)?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let version = parse_go_version(&text).context(TooOldSnafu { found: &text })?;
    if version < OLDEST_GO {
        return TooOldSnafu { found: format!("{}.{}", version.0, version.1) }.fail();
    }
    Ok(text)
}

pub(super) async fn build(
    program: &'static Program,
    sources: &Path,
    out: &Path,
    task: &Task,
) -> Result<(), ArtefactError> {
    let (compiler, arguments) = command_line(program, out);
    let directory = sources.join(program.recipe);
    let mut command = Command::new(compiler);
    command
        .args(&arguments)
        .current_dir(&directory)
        .env("LC_ALL", "C")
        // Flags of the user's environment would make other programs than the key says.
        .env("GOFLAGS", "-mod=readonly")
        .env("GOWORK", "off")
        .env("GOTOOLCHAIN", "local")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    let mut total = 0;
    if let How::Go { cgo, package, tags, .. } = &program.how {
        command.env("CGO_ENABLED", if *cgo { "1" } else { "0" });
        total = count_packages(&directory, package, tags).await;
    }
    let mut child = command.spawn().map_err(|source| ArtefactError::Compiler {
        source: CommandError::Start { program: compiler.to_owned(), source },
    })?;
    let mut last: Vec<String> = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr).lines();
        let mut done = 0;
        while let Ok(Some(line)) = lines.next_line().await {
            // With -v the compiler names each package it is done with, and modules that it fetches.
            if line.starts_with("go: downloading") {
                task.status(line.trim_start_matches("go: ").to_owned());
            } else if !line.contains(' ') {
                done += 1;
                task.progress(done, total.max(done), "packages");
                continue;
            }
            last.push(line);
            if last.len() > 12 {
                last.remove(0);
            }
        }
    }
    match child.wait().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            last.retain(|line| !line.starts_with("go: downloading"));
            let said = if last.is_empty() { status.to_string() } else { last.join("\n") };
            BuildSnafu { program: program.name, said }.fail()
        }
        Err(error) => BuildSnafu { program: program.name, said: error.to_string() }.fail(),
    }
}

/// How many packages a program is made of; 0 if that cannot be told, for progress is not worth a failure.
async fn count_packages(directory: &Path, package: &str, tags: &str) -> u64 {
    let directory = directory.display().to_string();
    let tags = format!("-tags={tags}");
    command::run("go", &["-C", &directory, "list", "-mod=readonly", &tags, "-deps", package])
        .await
        .map_or(0, |text| text.lines().count() as u64)
}
