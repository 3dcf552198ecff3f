//! Lets programs in Python take options that change while they run.
//!
//! Python imports a module named `sitecustomize`, if it finds one, before anything else (Python's `site`). Ours waits in each
//! process for the agent, which watches the directory of options and says when other files are there; the process has
//! oslo.config read them (`mutate_config_files()`), and answers which files it has taken.

mod judge;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt as _, Snafu};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::context::Context;
use crate::python::{home, socket};
use judge::{Process, alarms};

/// The module; what it does stands in it.
const MODULE: &str = include_str!("sitecustomize.py");
/// How often the directory is looked at: one system call.
const EVERY: Duration = Duration::from_secs(1);

/// What lets programs follow their options could not be put in place.
#[derive(Debug, Snafu)]
#[snafu(display("failed to let programs follow their options: {} cannot be made", path.display()), context(name(PlaceSnafu)))]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

/// What is known of the processes that follow, by their connection.
#[derive(Default)]
struct Followers(Mutex<BTreeMap<u64, Process>>);

impl Followers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Process>> {
        // The lock is held for plain assignments only.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Put the module in place, watch the directory, and tell the processes that follow it; from tasks of their own.
pub(crate) fn serve(directory: &Path, context: &Context) -> Result<(), Error> {
    let (home, socket) = (home(), socket());
    fs::create_dir_all(&home).context(PlaceSnafu { path: &home })?;
    let module = home.join("sitecustomize.py");
    fs::write(&module, MODULE).context(PlaceSnafu { path: &module })?;
    match fs::remove_file(&socket) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(Error { path: socket, source });
        }
        _ => {}
    }
    let listener = UnixListener::bind(&socket).context(PlaceSnafu { path: &socket })?;
    let version = watch::Sender::new(files(directory));
    let followers = Arc::new(Followers::default());
    tokio::spawn(accept(listener, version.subscribe(), Arc::clone(&followers)));
    tokio::spawn(watch(directory.to_owned(), version, followers, context.clone()));
    Ok(())
}

/// Which files are in a mounted Secret: the kubelet writes a new directory and points this link at it.
fn files(directory: &Path) -> String {
    fs::read_link(directory.join("..data")).map(|to| to.to_string_lossy().into_owned()).unwrap_or_default()
}

async fn watch(
    directory: PathBuf,
    version: watch::Sender<String>,
    followers: Arc<Followers>,
    context: Context,
) {
    let mut changed = Instant::now();
    loop {
        let now = files(&directory);
        if *version.borrow() != now {
            changed = Instant::now();
            version.send_replace(now);
        }
        let wrong = alarms(&directory, &version.borrow(), changed.elapsed(), followers.all().values());
        context.alarms(wrong);
        sleep(EVERY).await;
    }
}

async fn accept(listener: UnixListener, version: watch::Receiver<String>, followers: Arc<Followers>) {
    for number in 0.. {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (version, followers) = (version.clone(), Arc::clone(&followers));
                tokio::spawn(async move {
                    // Its end is that of the process.
                    let _ = talk(number, stream, version, &followers).await;
                    followers.all().remove(&number);
                });
            }
            Err(error) => {
                warn!(target: "oaas_agent", "a process that follows its options cannot be talked to: {error}");
                sleep(EVERY).await;
            }
        }
    }
}

/// Tell one process when other files are there than those that it has.
async fn talk(
    number: u64,
    mut stream: UnixStream,
    mut version: watch::Receiver<String>,
    followers: &Followers,
) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                if let Some(process) = Process::read(&line) {
                    let behind = process.files != *version.borrow();
                    followers.all().insert(number, process);
                    if behind {
                        writer.write_all(b"changed\n").await?;
                    }
                }
            }
            changed = version.changed() => match changed {
                Ok(()) => writer.write_all(b"changed\n").await?,
                Err(_) => return Ok(()),
            }
        }
    }
}
