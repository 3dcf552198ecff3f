//! Bytes of images: hashed on the way, and never finished when they are the wrong ones.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use oaas_feedback::Task;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use sha2::{Digest, Sha256, Sha512};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::client::Session;
use super::download;
use super::error::Error;
use super::source::Source;
use crate::engine::{Call, Checksum, ImageSource, Place};

/// Hashes of the same bytes, as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256.
    pub sha256: String,
    /// SHA-512.
    pub sha512: String,
}

impl Digests {
    /// The hash of the same sort as a declared one.
    pub fn like(&self, declared: &Checksum) -> Checksum {
        match declared {
            Checksum::Sha256(_) => Checksum::Sha256(self.sha256.clone()),
            Checksum::Sha512(_) => Checksum::Sha512(self.sha512.clone()),
        }
    }
}

#[derive(Default)]
struct Hasher {
    sha256: Sha256,
    sha512: Sha512,
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sha512.update(bytes);
    }

    fn finish(self) -> Digests {
        Digests { sha256: hex::encode(self.sha256.finalize()), sha512: hex::encode(self.sha512.finalize()) }
    }
}

/// Hash a file.
pub async fn digest_of_file(path: &Path) -> Result<Digests, Error> {
    let fail = |source| Error::ImageFile { path: path.to_owned(), source };
    let mut file = tokio::fs::File::open(path).await.map_err(fail)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = file.read(&mut buffer).await.map_err(fail)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
    }
}

/// What one read of a file takes, in bytes.
const CHUNK: usize = 256 * 1024;

/// What the stream found out while it was read.
#[derive(Default)]
struct Progress {
    sent: u64,
    digests: Option<Digests>,
    problem: Option<Problem>,
}

enum Problem {
    Checksum(Digests),
    Read(io::Error),
}

type Shared = Arc<Mutex<Progress>>;

fn look(shared: &Shared) -> std::sync::MutexGuard<'_, Progress> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Pump {
    source: BoxStream<'static, io::Result<Bytes>>,
    held: Option<Bytes>,
    hasher: Option<Hasher>,
    declared: Option<Checksum>,
    shared: Shared,
}

/// The bytes, hashed; the last chunk is held back until the hash of all is known to be the declared one, so that an
/// upload of wrong bytes never completes.
fn checked(
    source: Source,
    declared: Option<Checksum>,
    shared: Shared,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let pump = Pump { source: source.bytes, held: None, hasher: Some(Hasher::default()), declared, shared };
    stream::unfold(pump, |mut pump| async move {
        loop {
            let hasher = pump.hasher.as_mut()?;
            match pump.source.next().await {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    hasher.update(&bytes);
                    look(&pump.shared).sent += bytes.len() as u64;
                    if let Some(earlier) = pump.held.replace(bytes) {
                        return Some((Ok(earlier), pump));
                    }
                }
                Some(Err(error)) => {
                    pump.hasher = None;
                    look(&pump.shared).problem = Some(Problem::Read(error));
                    return Some((Err(io::Error::other("the source failed")), pump));
                }
                None => {
                    let digests = pump.hasher.take()?.finish();
                    if pump.declared.as_ref().is_some_and(|declared| digests.like(declared) != *declared) {
                        look(&pump.shared).problem = Some(Problem::Checksum(digests));
                        return Some((Err(io::Error::other("the checksum differs")), pump));
                    }
                    look(&pump.shared).digests = Some(digests);
                    let last = pump.held.take()?;
                    return Some((Ok(last), pump));
                }
            }
        }
    })
}

impl Session {
    /// Send an image's bytes with a PUT to Glance. Returns the hashes of what was sent.
    ///
    /// # Errors
    /// The source cannot be read, its hash is not the declared one, or Glance did not take it. Nothing of it may be
    /// used then: the caller removes the image.
    pub async fn upload(&self, call: &Call, source: &ImageSource, task: &Task) -> Result<Digests, Error> {
        let token = self.token().await?;
        let opened = open(source, self.limits().stall).await?;
        let total = opened.length;
        let shared = Shared::default();
        let body = checked(opened, source.checksum.clone(), Arc::clone(&shared));
        let (url, mut request) = self.request(call, &token)?;
        request = request
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(reqwest::Body::wrap_stream(Box::pin(body)));
        if let Some(length) = total {
            // Said up front: servers behind uWSGI do not take chunked bodies.
            request = request.header(CONTENT_LENGTH, length);
        }
        let sending = self.finish(call, &url, request);
        let mut sending = std::pin::pin!(sending);
        let mut last = (0, tokio::time::Instant::now());
        let tick = std::time::Duration::from_millis(250).min(self.limits().stall);
        let result = loop {
            tokio::select! {
                result = &mut sending => break result,
                () = tokio::time::sleep(tick) => {
                    let sent = look(&shared).sent;
                    task.progress(sent, total.unwrap_or(sent), "bytes");
                    if sent != last.0 {
                        last = (sent, tokio::time::Instant::now());
                    } else if last.1.elapsed() >= self.limits().stall {
                        let host = url.host_str().unwrap_or("?").to_owned();
                        let (service, method, path) = (call.service, call.method.as_str(), call.path.clone());
                        break Err(Error::TimedOut { service, host, method, path, after: self.limits().stall });
                    }
                }
            }
        };
        if matches!(&result, Err(error) if error.status() == Some(401)) {
            self.forget(&token).await;
        }
        let mut progress = look(&shared);
        match progress.problem.take() {
            Some(Problem::Checksum(found)) => {
                let declared = source.checksum.as_ref().map(ToString::to_string).unwrap_or_default();
                let found =
                    source.checksum.as_ref().map(|like| found.like(like).to_string()).unwrap_or_default();
                return Err(Error::Checksum { place: place(&source.place), declared, found });
            }
            Some(Problem::Read(error)) => return Err(unreadable(&source.place, error)),
            None => {}
        }
        result?;
        progress.digests.take().ok_or_else(|| Error::Answer {
            service: call.service,
            method: call.method.as_str(),
            path: call.path.clone(),
            what: "it came before all bytes were sent".to_owned(),
        })
    }
}

async fn open(source: &ImageSource, stall: std::time::Duration) -> Result<Source, Error> {
    match &source.place {
        Place::File(path) => {
            let fail = |source| Error::ImageFile { path: path.clone(), source };
            let file = tokio::fs::File::open(path).await.map_err(fail)?;
            let length = file.metadata().await.map_err(fail)?.len();
            let bytes = ReaderStream::with_capacity(file, CHUNK).boxed();
            Ok(Source { length: Some(length), bytes })
        }
        Place::Url(url) => download::open(url, stall).await,
    }
}

fn unreadable(at: &Place, error: io::Error) -> Error {
    match at {
        Place::File(path) => Error::ImageFile { path: path.clone(), source: error },
        Place::Url(url) => Error::Download { url: download::shown(url), what: error.to_string() },
    }
}

pub(super) fn place(place: &Place) -> String {
    match place {
        Place::File(path) => path.display().to_string(),
        Place::Url(url) => download::shown(url),
    }
}
