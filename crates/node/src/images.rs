//! The read-only registry of a cluster: serves the blobs of an image cache to the nodes' container runtimes.
//!
//! It speaks as much of the OCI distribution protocol as pulling by digest takes. Tags do not exist here: what an
//! image is must not depend on when it is pulled. The runtime compares what it gets with the digest it asked for,
//! so a damaged blob is noticed there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_server::tls_rustls::RustlsConfig;
use snafu::{ResultExt, Snafu};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

/// Larger blobs are not manifests: those are a few kilobytes.
const LARGEST_MANIFEST: u64 = 4 << 20;

/// The registry cannot serve.
#[derive(Debug, Snafu)]
pub(crate) enum ImagesError {
    #[snafu(display(
        "usage: node-supervise images --listen=ADDRESS:PORT --cache=DIR --certificate=FILE --key=FILE"
    ))]
    Usage,
    #[snafu(display("failed to read the registry's certificate {}", path.display()))]
    Certificate { path: PathBuf, source: std::io::Error },
    #[snafu(display("failed to serve images on {address}"))]
    Serve { address: SocketAddr, source: std::io::Error },
}

/// Serve until killed.
pub(crate) async fn serve(arguments: &[String]) -> Result<(), ImagesError> {
    let value = |name: &str| {
        let found = arguments.iter().find_map(|argument| argument.strip_prefix(name));
        found.ok_or(ImagesError::Usage)
    };
    let address: SocketAddr = value("--listen=")?.parse().map_err(|_| ImagesError::Usage)?;
    let (certificate, key) = (value("--certificate=")?, value("--key=")?);
    crate::install_crypto();
    let tls = RustlsConfig::from_pem_file(certificate, key)
        .await
        .context(CertificateSnafu { path: certificate })?;
    axum_server::bind_rustls(address, tls)
        .serve(router(Path::new(value("--cache=")?)).into_make_service())
        .await
        .context(ServeSnafu { address })
}

/// The registry over an image cache (a directory with `blobs/sha256`).
pub(crate) fn router(cache: &Path) -> Router {
    Router::new()
        .route("/v2/", get(|| async { StatusCode::OK }))
        .route("/v2/{*path}", get(answer))
        .with_state(Arc::new(cache.to_owned()))
}

/// What a path below `/v2/` asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    manifest: bool,
    /// 64 hexadecimal digits.
    sha256: &'a str,
}

/// Read `NAME/manifests/sha256:…` or `NAME/blobs/sha256:…`.
fn parse(path: &str) -> Option<Asked<'_>> {
    let (rest, digest) = path.rsplit_once('/')?;
    let (_name, kind) = rest.rsplit_once('/')?;
    let sha256 = digest.strip_prefix("sha256:")?;
    let manifest = match kind {
        "manifests" => true,
        "blobs" => false,
        _ => return None,
    };
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    (sha256.len() == 64 && sha256.chars().all(hex)).then_some(Asked { manifest, sha256 })
}

async fn answer(
    State(cache): State<Arc<PathBuf>>,
    method: Method,
    UrlPath(path): UrlPath<String>,
) -> Response {
    let Some(asked) = parse(&path) else {
        return (StatusCode::NOT_FOUND, "this registry serves manifests and blobs by sha256 only")
            .into_response();
    };
    let file = cache.join("blobs/sha256").join(asked.sha256);
    let Ok(opened) = File::open(&file).await else {
        return (StatusCode::NOT_FOUND, format!("sha256:{} is not in the image cache", asked.sha256))
            .into_response();
    };
    let length = opened.metadata().await.map_or(0, |found| found.len());
    let kind = if asked.manifest {
        match media_type(&file, length).await {
            Some(kind) => kind,
            None => return (StatusCode::NOT_FOUND, "that blob is not a manifest").into_response(),
        }
    } else {
        HeaderValue::from_static("application/octet-stream")
    };
    let body =
        if method == Method::HEAD { Body::empty() } else { Body::from_stream(ReaderStream::new(opened)) };
    let digest = HeaderValue::try_from(format!("sha256:{}", asked.sha256));
    let digest = digest.unwrap_or_else(|_| HeaderValue::from_static(""));
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        (HeaderName::from_static("docker-content-digest"), digest),
    ];
    (headers, body).into_response()
}

/// The type that a manifest says it has.
async fn media_type(file: &Path, length: u64) -> Option<HeaderValue> {
    if length > LARGEST_MANIFEST {
        return None;
    }
    let content: serde_json::Value = serde_json::from_slice(&tokio::fs::read(file).await.ok()?).ok()?;
    HeaderValue::try_from(content.get("mediaType")?.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn only_digests_are_understood() {
        let path = format!("pause/manifests/sha256:{HASH}");
        assert_eq!(parse(&path), Some(Asked { manifest: true, sha256: HASH }));
        let path = format!("a/b/blobs/sha256:{HASH}");
        assert_eq!(parse(&path), Some(Asked { manifest: false, sha256: HASH }));
        for bad in [
            "pause/manifests/latest",
            "pause/blobs/sha256:..",
            "x",
            "a/tags/list",
            "pause/blobs/sha256:../../../../etc/passwd",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_manifest_is_served_with_its_type_and_a_blob_as_bytes() {
        let cache = tempfile::tempdir().unwrap();
        let blobs = cache.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        std::fs::write(blobs.join(HASH), format!(r#"{{"mediaType":"{kind}"}}"#)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router(cache.path())).await });
        crate::install_crypto();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let get = async |path: &str| client.get(format!("http://{address}/v2/{path}")).send().await.unwrap();

        assert_eq!(get("").await.status(), 200);
        let manifest = get(&format!("pause/manifests/sha256:{HASH}")).await;
        assert_eq!(manifest.headers()["content-type"], kind);
        let blob = get(&format!("pause/blobs/sha256:{HASH}")).await;
        assert_eq!(blob.headers()["content-type"], "application/octet-stream");
        assert!(blob.text().await.unwrap().contains(kind));
        assert_eq!(get("pause/manifests/latest").await.status(), 404);
        let missing = get(&format!("pause/blobs/sha256:{}", HASH.replace('e', "f"))).await;
        assert_eq!(missing.status(), 404);
        server.abort();
    }
}
