//! Files, helpers and waiting, as the node's roles need them: dumb I/O.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use snafu::{OptionExt as _, ResultExt as _};
use tokio::time::sleep;

use super::error::{EnvironmentSnafu, Error, ParseSnafu, ReadSnafu, WriteSnafu};
use crate::context::Context;
use crate::program;
use oaas_agent_config::Program;

/// How long a helper such as `ip` may take.
const HELPER: Duration = Duration::from_secs(30);

/// How often something is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(200);

/// Run a helper to its end; gives its output, or an error with its last lines.
pub async fn run<S: AsRef<str>>(command: impl IntoIterator<Item = S>) -> Result<String, Error> {
    let program = Program::new(command.into_iter().map(|word| word.as_ref().to_owned()));
    let name = program.command.first().cloned().unwrap_or_default();
    Ok(program::finish(&name, &program, None, HELPER).await?.success(&program.command.join(" "))?)
}

/// Run a helper and say only whether it exited 0; an error when it could not be run.
pub async fn succeeds<S: AsRef<str>>(command: impl IntoIterator<Item = S>) -> Result<bool, Error> {
    let program = Program::new(command.into_iter().map(|word| word.as_ref().to_owned()));
    let name = program.command.first().cloned().unwrap_or_default();
    Ok(program::finish(&name, &program, None, HELPER).await?.status.success())
}

/// The content of a file, or nothing if there is none.
pub fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

/// The content of a file that must be there.
pub fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).context(ReadSnafu { path })
}

/// The content of a file that a program writes to meanwhile; what is not text is replaced.
pub fn read_lossy(path: &Path) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&std::fs::read(path).context(ReadSnafu { path })?).into_owned())
}

/// A JSON file that must be there.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    serde_json::from_str(&read(path)?).with_context(|_| ParseSnafu { what: path.display().to_string() })
}

/// A directory exists, its parents too.
pub fn make_directory(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).context(WriteSnafu { path })
}

/// A file holds this content with these permissions; a file that does already is not touched. The new content appears
/// at once, never in part.
pub fn write(path: &Path, content: &str, mode: u32) -> Result<(), Error> {
    let same_mode = std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o7777 == mode);
    if same_mode && std::fs::read(path).is_ok_and(|found| found == content.as_bytes()) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    std::fs::write(&new, content)
        .and_then(|()| std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)))
        .and_then(|()| std::fs::rename(&new, path))
        .context(WriteSnafu { path })
}

/// A file gets another name, in place of what has that name.
pub fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).context(WriteSnafu { path: to })
}

/// A file is gone.
pub fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::Write { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// A variable of the environment that the pod's template must set.
pub fn environment(name: &'static str) -> Result<String, Error> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).context(EnvironmentSnafu { name })
}

/// Ask again and again until the answer is there, saying meanwhile what is waited for. An error counts as "not yet",
/// and is said too.
pub async fn wait_for<T>(
    context: &Context,
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<Option<T>, Error>,
) -> T {
    loop {
        match ask().await {
            Ok(Some(answer)) => {
                context.waits_no_more();
                return answer;
            }
            Ok(None) => context.waits_for(what),
            Err(error) => context.waits_for(format!("{what} ({})", crate::error::chain(&error))),
        }
        sleep(LOOK).await;
    }
}

/// Ask again and again until the answer is there, at most this long.
pub async fn within<T>(
    seconds: u64,
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let look = async {
        loop {
            if let Ok(Some(answer)) = ask().await {
                return answer;
            }
            sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(seconds), look).await {
        Ok(answer) => Ok(answer),
        // The last answer says best why it is late.
        Err(_) => match ask().await? {
            Some(answer) => Ok(answer),
            None => super::error::LateSnafu { what, seconds }.fail(),
        },
    }
}

/// Wait until a program has ended that was asked to in its own way; after that the agent asks it by a signal.
pub async fn wait_for_end(context: &Context, name: &str) {
    let gone = async {
        while context.programs().iter().any(|running| running.name == name) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    // Should it hang, the signal is what remains.
    let _ = tokio::time::timeout(Duration::from_secs(8), gone).await;
}
