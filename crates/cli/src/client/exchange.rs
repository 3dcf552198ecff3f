//! One run of the client in its pod, with data passed both ways.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::AttachParams;
use oaas_feedback::{Explain, Kind};
use snafu::{IntoError, ResultExt, Snafu};
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use super::files::{Carried, Copy};
use super::script::{Input, Mark, Splitter, script};
use super::stdin::Stdin;

/// Bytes in flight: images are uploaded through stdin.
const BUFFER: usize = 256 * 1024;
/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// The exit code of a program whose reader went away, as shells have it for SIGPIPE.
const READER_GONE: u8 = 141;

/// Why the client did not run to its end.
#[derive(Debug, Snafu)]
pub enum Error {
    /// A file of the caller cannot be read.
    #[snafu(display("failed to read {}", path.display()))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the caller cannot be written.
    #[snafu(display("failed to write {}", path.display()))]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The API server does not run it.
    #[snafu(display("failed to start the client in pod {pod}"))]
    Start {
        /// The pod.
        pod: String,
        /// What came of it.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// The connection to the pod broke.
    #[snafu(display("failed to pass data to and from pod {pod}"))]
    Broken {
        /// The pod.
        pod: String,
        /// How.
        source: std::io::Error,
    },
    /// The pod did not say how the client ended.
    #[snafu(display("pod {pod} did not say how the client ended: {why}"))]
    NoStatus {
        /// The pod.
        pod: String,
        /// What is known.
        why: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Unreadable { .. } | Self::Unwritable { .. } => Kind::Input,
            Self::Start { .. } => Kind::Environment,
            Self::Broken { .. } | Self::NoStatus { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => "files that options name are looked for on this machine; is the name right?".to_owned(),
            Self::Unwritable { .. } => "files that options name are written on this machine: name a place that you may write to".to_owned(),
            Self::Start { .. } => "`oaas why client` looks at the pod".to_owned(),
            Self::Broken { .. } | Self::NoStatus { .. } => {
                "look whether it was done after all, then run the same command again; `oaas why client` looks at the pod".to_owned()
            }
        })
    }
}

/// Run `command` (the client without its arguments) in the pod; the client's exit code.
///
/// # Errors
/// The caller's files cannot be read or written, or the pod does not say how the client ended.
pub async fn run(
    api: &Api<Pod>,
    pod: &str,
    command: Vec<String>,
    carried: &Carried,
    stdin: Stdin,
) -> Result<u8, Error> {
    let reads = carried.reads.iter().map(Source::open).collect::<Result<Vec<_>, _>>()?;
    let rest = match (&carried.input, stdin) {
        (Some(path), _) => Some(Source::of(path, false)?),
        (None, Stdin::Callers) => {
            Some(Source { read: Box::new(std::io::stdin()), size: None, path: "/dev/stdin".into() })
        }
        (None, Stdin::Empty | Stdin::Closed) => None,
    };
    let input = match (&rest, stdin) {
        (Some(_), _) => Input::Own,
        (None, Stdin::Closed) => Input::Closed,
        (None, _) => Input::Empty,
    };
    let output = carried.output.as_deref().map(beside).transpose()?;
    // Whether they can be written is known before the client has made anything.
    for write in &carried.writes {
        beside(&write.here)?;
    }

    let mark = mark();
    let sizes: Vec<(String, u64)> = (carried.reads.iter().zip(&reads))
        .map(|(copy, source)| (copy.there.clone(), source.size.unwrap_or_default()))
        .collect();
    let places: Vec<String> = carried.writes.iter().map(|copy| copy.there.clone()).collect();
    let mut words =
        vec!["sh".to_owned(), "-c".to_owned(), script(&mark, &sizes, &places, input), "oaas".to_owned()];
    words.extend(command);
    words.extend(carried.arguments.iter().cloned());
    let attached = rest.is_some() || !reads.is_empty();
    let parameters = AttachParams::default()
        .stdin(attached)
        .stdout(true)
        .stderr(true)
        .max_stdin_buf_size(BUFFER)
        .max_stdout_buf_size(BUFFER);
    let mut process = api.exec(pod, words, &parameters).await.context(StartSnafu { pod })?;

    let status = process.take_status();
    let (end, ended) = watch::channel(false);
    let mut unread = None;
    if let Some(to) = process.stdin() {
        let (give, take) = mpsc::channel(4);
        let sources: Vec<Source> = reads.into_iter().chain(rest).collect();
        // A thread of its own, which may wait for a terminal for ever and is left behind: the runtime would wait for it.
        std::thread::spawn(move || read_all(sources, &give));
        unread = Some(tokio::spawn(pour(take, to, ended)));
    }
    let to: Box<dyn AsyncWrite + Send + Unpin> = match &output {
        Some(file) => {
            let path = carried.output.clone().unwrap_or_default();
            let file = file.as_file().try_clone().with_context(|_| UnwritableSnafu { path })?;
            Box::new(tokio::fs::File::from_std(file))
        }
        None => Box::new(tokio::io::stdout()),
    };
    let out = relay(process.stdout(), to, Splitter::new(&mark), |seen| seen.files().is_some());
    let err = async {
        let to = Box::new(tokio::io::stderr());
        let seen = relay(process.stderr(), to, Splitter::new(&mark), |seen| seen.code().is_some()).await;
        // The client has ended: what it did not read is not for it.
        let _ = end.send(true);
        seen
    };
    let failed = async {
        match unread {
            Some(task) => match task.await {
                Ok(Err(error)) => error,
                _ => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    };
    let (out, err) = tokio::select! {
        both = async { tokio::join!(out, err) } => both,
        error = failed => return Err(error),
    };
    let (out, err) = match (out, err) {
        (Err(error), _) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(READER_GONE),
        (out, err) => {
            let broken = |source| match &carried.output {
                Some(path) => UnwritableSnafu { path }.into_error(source),
                None => BrokenSnafu { pod }.into_error(source),
            };
            (out.map_err(broken)?, err.context(BrokenSnafu { pod })?)
        }
    };
    let code = match err.code() {
        Some(code) if out.files().is_some() => code,
        _ => {
            let status = match status {
                Some(status) => status.await,
                None => None,
            };
            exit_code(status.as_ref()).map_err(|why| NoStatusSnafu { pod, why }.build())?
        }
    };
    for (index, data) in out.files().unwrap_or_default() {
        if let Some(copy) = carried.writes.get(index) {
            let mut file = beside(&copy.here)?;
            file.write_all(data).with_context(|_| UnwritableSnafu { path: &copy.here })?;
            keep(file, &copy.here)?;
        }
    }
    if let (Some(file), Some(path), 0) = (output, &carried.output, code) {
        keep(file, path)?;
    }
    Ok(code)
}

/// Something to read, in the order in which the pod's shell takes it.
struct Source {
    read: Box<dyn Read + Send>,
    /// How much of it is promised to the shell.
    size: Option<u64>,
    path: PathBuf,
}

impl Source {
    fn open(copy: &Copy) -> Result<Self, Error> {
        Self::of(&copy.here, true)
    }

    fn of(path: &Path, sized: bool) -> Result<Self, Error> {
        let unreadable = || UnreadableSnafu { path };
        let mut file = File::open(path).with_context(|_| unreadable())?;
        let about = file.metadata().with_context(|_| unreadable())?;
        if about.is_dir() {
            return Err(unreadable().into_error(std::io::ErrorKind::IsADirectory.into()));
        }
        let path = path.to_owned();
        match sized {
            false => Ok(Self { read: Box::new(file), size: None, path }),
            true if about.is_file() => Ok(Self { read: Box::new(file), size: Some(about.len()), path }),
            // The end of a pipe (`<(…)` of a shell) is known when it is read.
            true => {
                let mut data = Vec::new();
                file.read_to_end(&mut data).with_context(|_| UnreadableSnafu { path: &path })?;
                let size = Some(data.len() as u64);
                Ok(Self { read: Box::new(std::io::Cursor::new(data)), size, path })
            }
        }
    }
}

type Chunk = Result<Vec<u8>, Error>;

/// Read everything, as far as somebody takes it.
fn read_all(sources: Vec<Source>, give: &mpsc::Sender<Chunk>) {
    for Source { mut read, size, path } in sources {
        let mut left = size.unwrap_or(u64::MAX);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let mut chunk = vec![0; most];
            let error = match read.read(&mut chunk) {
                Ok(0) if size.is_some() => std::io::ErrorKind::UnexpectedEof.into(),
                Ok(0) => break,
                Ok(length) => {
                    left -= length as u64;
                    chunk.truncate(length);
                    if give.blocking_send(Ok(chunk)).is_err() {
                        return;
                    }
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let _ = give.blocking_send(Err(UnreadableSnafu { path }.into_error(error)));
            return;
        }
    }
}

/// Hand on what is read until there is no more of it or the client has ended; then close the client's stdin.
async fn pour(
    mut take: mpsc::Receiver<Chunk>,
    mut to: impl AsyncWrite + Unpin,
    mut ended: watch::Receiver<bool>,
) -> Result<(), Error> {
    let all = async {
        while let Some(chunk) = take.recv().await {
            if to.write_all(&chunk?).await.is_err() {
                // The connection is gone, which is told by those who read from it.
                break;
            }
        }
        Ok(())
    };
    let result = tokio::select! {
        result = all => result,
        _ = ended.wait_for(|ended| *ended) => Ok(()),
    };
    let _ = to.shutdown().await;
    result
}

/// Hand on the client's output until `complete`, or until the connection ends.
async fn relay(
    from: Option<impl AsyncRead + Unpin>,
    mut to: Box<dyn AsyncWrite + Send + Unpin>,
    mut seen: Splitter,
    complete: impl Fn(&Splitter) -> bool,
) -> std::io::Result<Splitter> {
    let Some(mut from) = from else { return Ok(seen) };
    let mut buffer = vec![0; CHUNK];
    while !complete(&seen) {
        let length = from.read(&mut buffer).await?;
        let own = if length == 0 { seen.finish() } else { seen.push(&buffer[..length]) };
        to.write_all(&own).await?;
        if length == 0 {
            break;
        }
        to.flush().await?;
    }
    to.flush().await?;
    Ok(seen)
}

/// A new file beside `path`, which takes its place when it is complete.
fn beside(path: &Path) -> Result<NamedTempFile, Error> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = if path.is_dir() {
        Err(std::io::ErrorKind::IsADirectory.into())
    } else {
        tempfile::Builder::new().prefix(".oaas-").tempfile_in(parent)
    };
    made.context(UnwritableSnafu { path })
}

fn keep(file: NamedTempFile, path: &Path) -> Result<(), Error> {
    file.persist(path).map(|_| ()).map_err(|error| UnwritableSnafu { path }.into_error(error.error))
}

/// A mark that no output has by chance.
fn mark() -> Mark {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Mark::new(&format!("oaas{}x{}", std::process::id(), now.as_nanos()))
}

/// The exit code in the status that ends an `exec` (protocol v4 and later of Kubernetes' remote command).
fn exit_code(status: Option<&Status>) -> Result<u8, String> {
    let status = status.ok_or("the connection ended early")?;
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    causes
        .filter(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .find_map(|cause| cause.message.as_deref()?.parse().ok())
        .ok_or_else(|| status.message.clone().unwrap_or_else(|| "it gave no reason".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_exit_code_is_the_clients() {
        let status = |text: &str| serde_json::from_str::<Status>(text).unwrap();
        assert_eq!(exit_code(Some(&status(r#"{"status":"Success"}"#))), Ok(0));
        let failed = r#"{"status":"Failure","reason":"NonZeroExitCode","message":"command terminated",
            "details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        assert_eq!(exit_code(Some(&status(failed))), Ok(3));
        let broken = r#"{"status":"Failure","reason":"InternalError","message":"no such container"}"#;
        assert_eq!(exit_code(Some(&status(broken))), Err("no such container".to_owned()));
        assert!(exit_code(None).is_err());
    }

    #[tokio::test]
    async fn the_end_of_the_client_ends_a_stdin_that_stays_open() {
        let (give, take) = mpsc::channel(1);
        let (end, ended) = watch::channel(false);
        let (to, mut client) = tokio::io::duplex(16);
        let poured = tokio::spawn(pour(take, to, ended));
        give.send(Ok(b"abc".to_vec())).await.unwrap();
        let mut got = [0; 3];
        client.read_exact(&mut got).await.unwrap();
        end.send(true).unwrap();
        // `give` is still there, as a terminal is.
        tokio::time::timeout(Duration::from_secs(5), poured).await.unwrap().unwrap().unwrap();
        assert_eq!(client.read(&mut got).await.unwrap(), 0);
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_and_more_than_promised_is_not_sent() {
        let (give, mut take) = mpsc::channel(8);
        let source =
            |text: &'static str, size| Source { read: Box::new(text.as_bytes()), size, path: "f".into() };
        read_all(vec![source("abcdef", Some(3)), source("rest", None)], &give);
        assert_eq!(take.try_recv().unwrap().unwrap(), b"abc");
        assert_eq!(take.try_recv().unwrap().unwrap(), b"rest");
        read_all(vec![source("ab", Some(3)), source("rest", None)], &give);
        assert_eq!(take.try_recv().unwrap().unwrap(), b"ab");
        assert_eq!(take.try_recv().unwrap().unwrap_err().to_string(), "failed to read f");
        assert!(take.try_recv().is_err());
    }

    #[test]
    fn places_that_cannot_be_written_are_told_before_anything_is_made() {
        let place = tempfile::tempdir().unwrap();
        assert!(beside(&place.path().join("new")).is_ok());
        assert_eq!(beside(place.path()).unwrap_err().kind(), Kind::Input);
        assert!(beside(&place.path().join("none/new")).is_err());
        let file = beside(&place.path().join("k")).unwrap();
        keep(file, &place.path().join("k")).unwrap();
        assert!(place.path().join("k").exists());
        assert!(Source::of(place.path(), false).is_err());
    }
}
