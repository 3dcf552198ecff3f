//! Pushing to a registry on the loopback that checks what the specification asks of a client.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use common::{noise, options, thing};
use oaas_feedback::{Explain as _, Task};
use oaas_image::archive::sha256_of;
use oaas_image::push::{Registry, push};

/// What the registry has and has seen.
#[derive(Default)]
struct Held {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, Vec<u8>>,
    upload: Vec<u8>,
    chunks: usize,
}

type Shared = Arc<Mutex<Held>>;

async fn registry() -> (String, Shared, tokio::task::JoinHandle<()>) {
    let held = Shared::default();
    let router = Router::new()
        .route("/v2/{*rest}", any(answer))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(held.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/cloud", listener.local_addr().unwrap());
    (url, held, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

async fn answer(
    State(held): State<Shared>,
    Path(rest): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut held = held.lock().unwrap();
    if headers.get("authorization").is_none_or(|h| h != "Basic bWU6c2VjcmV0") {
        return (StatusCode::UNAUTHORIZED, "who are you?").into_response();
    }
    let Some(rest) = rest.strip_prefix("cloud/thing/") else { return StatusCode::NOT_FOUND.into_response() };
    let next = [("location", "/v2/cloud/thing/blobs/uploads/1?state=x")];
    match (method.as_str(), rest) {
        ("POST", "blobs/uploads/") => {
            held.upload.clear();
            (StatusCode::ACCEPTED, next).into_response()
        }
        ("PATCH", "blobs/uploads/1") => {
            let range = headers["content-range"].to_str().unwrap();
            let wanted = format!("{}-{}", held.upload.len(), held.upload.len() + body.len() - 1);
            if range != wanted {
                return (StatusCode::RANGE_NOT_SATISFIABLE, format!("{range}, not {wanted}")).into_response();
            }
            held.upload.extend_from_slice(&body);
            held.chunks += 1;
            (StatusCode::ACCEPTED, next).into_response()
        }
        ("PUT", "blobs/uploads/1") => {
            let upload = std::mem::take(&mut held.upload);
            let digest = format!("sha256:{}", sha256_of(&upload));
            if query.get("digest") != Some(&digest) || query.get("state").map(String::as_str) != Some("x") {
                return (StatusCode::BAD_REQUEST, "wrong digest").into_response();
            }
            held.blobs.insert(digest, upload);
            StatusCode::CREATED.into_response()
        }
        ("HEAD", path) => {
            if held.blobs.contains_key(path.trim_start_matches("blobs/")) {
                StatusCode::OK.into_response()
            } else {
                StatusCode::NOT_FOUND.into_response()
            }
        }
        ("PUT", path) => {
            let reference = path.strip_prefix("manifests/").unwrap().to_owned();
            held.manifests.insert(reference, body.to_vec());
            StatusCode::CREATED.into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn target(url: &str, password: &str) -> Registry {
    rustls::crypto::ring::default_provider().install_default().ok();
    Registry { url: url.parse().unwrap(), credentials: Some(("me".into(), password.into())), authority: None }
}

#[tokio::test]
async fn an_image_arrives_whole_and_is_sent_once() {
    let dir = tempfile::tempdir().unwrap();
    // More than one chunk of 16 MiB.
    let options = options(dir.path(), &noise(20 << 20), b"agent");
    let built = thing(&options).await;
    let (url, held, server) = registry().await;
    let reference =
        push(&options.cache, "thing", &target(&url, "secret"), "v1", &Task::silent()).await.unwrap();
    let digest = built.images["thing"].reference.split_once('@').unwrap().1;
    assert!(reference.ends_with(&format!("/cloud/thing@{digest}")), "{reference}");
    let chunks = {
        let held = held.lock().unwrap();
        assert_eq!(format!("sha256:{}", sha256_of(&held.manifests["v1"])), digest);
        for layer in &built.images["thing"].layers {
            assert_eq!(held.blobs[&layer.digest].len() as u64, layer.size);
        }
        // The software list went along, under its digest.
        assert_eq!(held.manifests.len(), 2);
        assert!(held.chunks > held.blobs.len(), "the large layer went in more than one chunk");
        held.chunks
    };
    push(&options.cache, "thing", &target(&url, "secret"), "v2", &Task::silent()).await.unwrap();
    server.abort();
    let held = held.lock().unwrap();
    assert_eq!(held.chunks, chunks, "nothing was sent again");
    assert!(held.manifests.contains_key("v2"));
}

#[tokio::test]
async fn a_refusal_says_where_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), b"data", b"agent");
    thing(&options).await;
    let (url, _, server) = registry().await;
    let error =
        push(&options.cache, "thing", &target(&url, "wrong"), "v1", &Task::silent()).await.unwrap_err();
    server.abort();
    assert!(error.to_string().contains("401") && error.to_string().contains("who are you?"), "{error}");
    assert!(error.hint().unwrap().contains("password"));
    let error =
        push(&options.cache, "thing2", &target(&url, "secret"), "v1", &Task::silent()).await.unwrap_err();
    assert!(error.hint().unwrap().contains("oaas image build thing2"));
}
