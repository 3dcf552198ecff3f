//! A read-only OCI distribution endpoint over the cache: how images reach nodes.
//!
//! Serves `GET` and `HEAD` of `/v2/`, `/v2/<name>/manifests/<tag or digest>`, `/v2/<name>/blobs/<digest>` (with ranges),
//! `/v2/<name>/tags/list` and `/v2/<name>/referrers/<digest>`, as the OCI distribution specification has them.
//!
//! # Assumptions
//!
//! Who may connect is decided by the network and TLS; images hold no secrets. Blobs are streamed from disk in small
//! pieces: memory does not grow with their size. A digest is served for as long as its blob lies in the cache, whichever
//! image it belonged to, so that older clouds can go on pulling.

use std::collections::HashMap;
use std::io::SeekFrom;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use oaas_feedback::{Explain, Kind};
use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};
use snafu::{ResultExt as _, Snafu};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::oci::{self, HOST};
use crate::store::Cache;

/// How much of a blob is in memory at once, per connection.
const PIECE: usize = 128 << 10;
/// No manifest of ours is longer; a blob that is larger is not parsed as one.
const LONGEST_MANIFEST: u64 = 4 << 20;

/// The endpoint could not serve.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// The certificate or its key.
    #[snafu(display("failed to read the certificate {} or its key {}", certificate.display(), key.display()))]
    Tls {
        /// PEM.
        certificate: PathBuf,
        /// PEM.
        key: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The address.
    #[snafu(display("failed to serve images on {address}"))]
    Serve {
        /// Where.
        address: SocketAddr,
        /// What the kernel says.
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Tls { .. } => Kind::Failed,
            Self::Serve { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Serve { source, address } if source.kind() == std::io::ErrorKind::AddrInUse => {
                Some(format!("another program has port {}: ss -ltnp shows which", address.port()))
            }
            _ => None,
        }
    }
}

/// Serve the cache over HTTPS until the future is dropped. The process must have a rustls crypto provider installed.
pub async fn serve(cache: Cache, address: SocketAddr, certificate: &Path, key: &Path) -> Result<(), Error> {
    let tls =
        RustlsConfig::from_pem_file(certificate, key).await.context(error::TlsSnafu { certificate, key })?;
    let listener = TcpListener::bind(address).context(error::ServeSnafu { address })?;
    listener.set_nonblocking(true).context(error::ServeSnafu { address })?;
    let handle = Handle::new();
    let server = axum_server::from_tcp_rustls(listener, tls).context(error::ServeSnafu { address })?;
    server
        .handle(handle)
        .serve(router(cache).into_make_service())
        .await
        .context(error::ServeSnafu { address })
}

/// The endpoint as an axum router, for a server of one's own.
pub fn router(cache: Cache) -> Router {
    Router::new()
        .route("/v2/", get(async || version(Body::from("{}"))))
        .route("/v2", get(async || version(Body::from("{}"))))
        .route("/v2/{*rest}", get(dispatch))
        .with_state(Arc::new(cache))
}

fn version(body: Body) -> Response {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What a path below `/v2/` asks for. Names may hold slashes, so it is read from the end.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'a> {
    Manifest(&'a str, &'a str),
    Blob(&'a str),
    Tags(&'a str),
    Referrers(&'a str),
    Nothing,
}

fn asked(rest: &str) -> Asked<'_> {
    let mut parts = rest.rsplitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(reference), Some("manifests"), Some(name)) => Asked::Manifest(name, reference),
        (Some(digest), Some("blobs"), Some(_)) => digest_of(digest).map_or(Asked::Nothing, Asked::Blob),
        (Some("list"), Some("tags"), Some(name)) => Asked::Tags(name),
        (Some(digest), Some("referrers"), Some(_)) => {
            digest_of(digest).map_or(Asked::Nothing, Asked::Referrers)
        }
        _ => Asked::Nothing,
    }
}

/// The hex of `sha256:<hex>`, if it is that and nothing else: it becomes part of a path.
fn digest_of(text: &str) -> Option<&str> {
    let hex = text.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))).then_some(hex)
}

async fn dispatch(
    State(cache): State<Arc<Cache>>,
    UrlPath(rest): UrlPath<String>,
    Query(query): Query<HashMap<String, String>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    match asked(&rest) {
        Asked::Manifest(name, reference) => {
            let digest = match digest_of(reference) {
                Some(digest) => Some(digest.to_owned()),
                None => tagged(&cache, name, reference),
            };
            match digest {
                Some(digest) => manifest(&cache, &digest).await,
                None => refuse("MANIFEST_UNKNOWN", &format!("no image {name}:{reference} was built here")),
            }
        }
        Asked::Blob(digest) => blob(&cache, digest, &method, &headers).await,
        Asked::Tags(name) => {
            let prefix = format!("{HOST}/{name}:");
            let tags: Vec<String> = names(&cache)
                .into_iter()
                .filter_map(|n| n.strip_prefix(&prefix).map(str::to_owned))
                .collect();
            json(&serde_json::json!({"name": name, "tags": tags}), "application/json")
        }
        Asked::Referrers(digest) => referrers(&cache, digest, query.get("artifactType").map(String::as_str)),
        Asked::Nothing => refuse("UNSUPPORTED", "this endpoint serves manifests, blobs, tags and referrers"),
    }
}

fn index(cache: &Cache) -> Vec<Descriptor> {
    oci::read_index(cache).unwrap_or_else(|error| {
        tracing::warn!(%error, "the image index cannot be read");
        Vec::new()
    })
}

fn names(cache: &Cache) -> Vec<String> {
    index(cache).iter().filter_map(|d| oci::reference(d).cloned()).collect()
}

fn tagged(cache: &Cache, name: &str, tag: &str) -> Option<String> {
    let wanted = format!("{HOST}/{name}:{tag}");
    let found = index(cache).into_iter().find(|d| oci::reference(d) == Some(&wanted))?;
    Some(found.digest().digest().to_owned())
}

async fn manifest(cache: &Cache, digest: &str) -> Response {
    let path = cache.blob(digest);
    let small = tokio::fs::metadata(&path).await.is_ok_and(|m| m.len() <= LONGEST_MANIFEST);
    let bytes = if small { tokio::fs::read(&path).await.ok() } else { None };
    let parsed = bytes.as_deref().and_then(|b| serde_json::from_slice::<serde_json::Value>(b).ok());
    let media = parsed.and_then(|v| v.get("mediaType").and_then(|m| m.as_str()).map(str::to_owned));
    let (Some(bytes), Some(media)) = (bytes, media) else {
        return refuse("MANIFEST_UNKNOWN", &format!("no manifest sha256:{digest} lies in the cache"));
    };
    let headers = [
        (header::CONTENT_TYPE, media),
        (header::HeaderName::from_static("docker-content-digest"), format!("sha256:{digest}")),
    ];
    (headers, bytes).into_response()
}

async fn blob(cache: &Cache, digest: &str, method: &Method, headers: &HeaderMap) -> Response {
    let unknown = || refuse("BLOB_UNKNOWN", &format!("no blob sha256:{digest} lies in the cache"));
    let Ok(mut file) = File::open(cache.blob(digest)).await else { return unknown() };
    let Ok(size) = file.metadata().await.map(|m| m.len()) else { return unknown() };
    let asked = headers.get(header::RANGE).and_then(|v| v.to_str().ok());
    let (start, end) = match asked.map(|range| part(range, size)) {
        None | Some(Part::Whole) => (0, size),
        Some(Part::Some(start, end)) => (start, end),
        Some(Part::Outside) => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            response.headers_mut().insert(header::CONTENT_RANGE, text(&format!("bytes */{size}")));
            return response;
        }
    };
    let partial = (start, end) != (0, size) || matches!(asked.map(|r| part(r, size)), Some(Part::Some(..)));
    if file.seek(SeekFrom::Start(start)).await.is_err() {
        return unknown();
    }
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(ReaderStream::with_capacity(file.take(end - start), PIECE))
    };
    let mut response = Response::new(body);
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    out.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert("docker-content-digest", text(&format!("sha256:{digest}")));
    if partial {
        out.insert(header::CONTENT_RANGE, text(&format!("bytes {start}-{}/{size}", end.saturating_sub(1))));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// Which bytes a Range header asks for; the end is exclusive.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Some(u64, u64),
    Outside,
}

/// Read a Range header. What is not one simple range of bytes is answered with the whole, as HTTP allows.
fn part(range: &str, size: u64) -> Part {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Part::Whole;
    };
    let part = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, (last + 1).min(size)),
        (Ok(first), Err(_)) if last.is_empty() => (first, size),
        (Err(_), Ok(last)) if first.is_empty() => (size.saturating_sub(last), size),
        _ => return Part::Whole,
    };
    if part.0 < part.1 { Part::Some(part.0, part.1) } else { Part::Outside }
}

/// What refers to a manifest: its software list.
fn referrers(cache: &Cache, digest: &str, artifact_type: Option<&str>) -> Response {
    let refers = |d: &Descriptor| {
        let manifest = oci::read_manifest(cache, d.digest().digest()).ok().flatten();
        manifest.and_then(|m| m.subject().clone()).is_some_and(|s| s.digest().digest() == digest)
    };
    let wanted = |d: &Descriptor| {
        artifact_type.is_none_or(|t| d.artifact_type().as_ref().is_some_and(|a| a.to_string() == t))
    };
    let manifests: Vec<Descriptor> = index(cache).into_iter().filter(|d| wanted(d) && refers(d)).collect();
    let index: Option<ImageIndex> = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .build()
        .ok();
    json(&serde_json::json!(index), "application/vnd.oci.image.index.v1+json")
}

fn json(value: &serde_json::Value, media: &str) -> Response {
    ([(header::CONTENT_TYPE, media.to_owned())], value.to_string()).into_response()
}

/// An error as the specification words it.
fn refuse(code: &str, message: &str) -> Response {
    let body = serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string();
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let hex = "a".repeat(64);
        assert_eq!(asked("infra/manifests/latest"), Asked::Manifest("infra", "latest"));
        assert_eq!(asked("a/b/manifests/x"), Asked::Manifest("a/b", "x"));
        assert_eq!(asked(&format!("infra/blobs/{digest}")), Asked::Blob(&hex));
        assert_eq!(asked("infra/blobs/sha256:../../../etc/passwd"), Asked::Nothing);
        assert_eq!(asked("infra/blobs/sha256:abc"), Asked::Nothing);
        assert_eq!(asked("infra/tags/list"), Asked::Tags("infra"));
        assert_eq!(asked("catalog"), Asked::Nothing);
    }

    #[test]
    fn ranges_are_read_as_http_has_them() {
        assert_eq!(part("bytes=0-4", 10), Part::Some(0, 5));
        assert_eq!(part("bytes=5-", 10), Part::Some(5, 10));
        assert_eq!(part("bytes=-3", 10), Part::Some(7, 10));
        assert_eq!(part("bytes=0-99", 10), Part::Some(0, 10));
        assert_eq!(part("bytes=10-", 10), Part::Outside);
        assert_eq!(part("bytes=4-2", 10), Part::Whole);
        assert_eq!(part("bytes=0-1,3-4", 10), Part::Whole);
        assert_eq!(part("lines=1-2", 10), Part::Whole);
    }
}
