//! The endpoint over real TLS on the loopback, with a client that trusts its certificate only.

mod common;

use std::net::SocketAddr;
use std::path::Path;

use common::{noise, options, thing};
use oaas_image::archive::sha256_of;
use oaas_image::{BuiltImages, Cache, endpoint};
use reqwest::{Certificate, Client, StatusCode};
use serde_json::Value;

struct Running {
    client: Client,
    base: String,
    built: BuiltImages,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn start() -> Running {
    rustls::crypto::ring::default_provider().install_default().ok();
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), &noise(3_000_000), b"agent");
    let built = thing(&options).await;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let address = free_port();
    let cache = Cache::at(options.cache.root());
    let task =
        tokio::spawn(async move { endpoint::serve(cache, address, &certificate, &key).await.unwrap() });
    let client = Client::builder()
        .tls_certs_only([Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()])
        .build()
        .unwrap();
    let base = format!("https://localhost:{}/v2", address.port());
    for _ in 0..100 {
        if client.get(format!("{base}/")).send().await.is_ok_and(|r| r.status() == StatusCode::OK) {
            return Running { client, base, built, task, _dir: dir };
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the endpoint does not answer");
}

impl Running {
    async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}/{path}", self.base)).send().await.unwrap()
    }
}

#[tokio::test]
async fn an_image_can_be_pulled_by_digest_and_by_tag() {
    let running = start().await;
    let image = &running.built.images["thing"];
    let digest = image.reference.split_once('@').unwrap().1;
    let by_digest = running.get(&format!("thing/manifests/{digest}")).await;
    assert_eq!(by_digest.headers()["content-type"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(by_digest.headers()["docker-content-digest"], digest);
    let manifest = by_digest.bytes().await.unwrap();
    assert_eq!(format!("sha256:{}", sha256_of(&manifest)), digest);
    assert_eq!(running.get("thing/manifests/latest").await.bytes().await.unwrap(), manifest);
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    for blob in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        let wanted = blob["digest"].as_str().unwrap();
        let answer = running.get(&format!("thing/blobs/{wanted}")).await;
        assert_eq!(answer.content_length(), blob["size"].as_u64());
        assert_eq!(format!("sha256:{}", sha256_of(&answer.bytes().await.unwrap())), wanted);
    }
}

#[tokio::test]
async fn part_of_a_blob_can_be_asked_for() {
    let running = start().await;
    let layer = &running.built.images["thing"].layers[0];
    let url = format!("{}/thing/blobs/{}", running.base, layer.digest);
    let whole = running.client.get(&url).send().await.unwrap().bytes().await.unwrap();
    let part = running.client.get(&url).header("range", "bytes=1000000-1000009").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], format!("bytes 1000000-1000009/{}", layer.size));
    assert_eq!(part.bytes().await.unwrap(), whole[1_000_000..1_000_010]);
    let rest =
        running.client.get(&url).header("range", format!("bytes={}-", layer.size - 3)).send().await.unwrap();
    assert_eq!(rest.bytes().await.unwrap(), whole[whole.len() - 3..]);
    let outside =
        running.client.get(&url).header("range", format!("bytes={}-", layer.size)).send().await.unwrap();
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn heads_tell_sizes_without_content() {
    let running = start().await;
    let layer = &running.built.images["thing"].layers[0];
    let answer =
        running.client.head(format!("{}/thing/blobs/{}", running.base, layer.digest)).send().await.unwrap();
    assert_eq!(answer.headers()["content-length"], layer.size.to_string());
    assert!(answer.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_the_words_of_the_specification() {
    let running = start().await;
    let nothing = format!("sha256:{}", "0".repeat(64));
    for (path, code) in [
        ("thing/manifests/v9".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("thing/manifests/{nothing}"), "MANIFEST_UNKNOWN"),
        (format!("thing/blobs/{nothing}"), "BLOB_UNKNOWN"),
        ("thing/blobs/sha256:..%2f..%2f..%2fetc%2fpasswd".to_owned(), "UNSUPPORTED"),
    ] {
        let answer = running.get(&path).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        let said: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(said["errors"][0]["code"], code, "{path}");
    }
    let refused =
        running.client.put(format!("{}/thing/manifests/x", running.base)).body("{}").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn tags_and_software_lists_are_found() {
    let running = start().await;
    let tags: Value = running.get("thing/tags/list").await.json().await.unwrap();
    assert_eq!(tags["tags"], serde_json::json!(["latest", "spdx"]));
    let digest = running.built.images["thing"].reference.split_once('@').unwrap().1;
    let found: Value = running
        .get(&format!("thing/referrers/{digest}?artifactType=application/spdx%2Bjson"))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(found["manifests"].as_array().unwrap().len(), 1);
    let none: Value =
        running.get(&format!("thing/referrers/{digest}?artifactType=x")).await.json().await.unwrap();
    assert_eq!(none["manifests"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_certificate_that_is_not_there_is_named() {
    let error = endpoint::serve(
        Cache::at("/nonexistent"),
        free_port(),
        Path::new("/nonexistent/tls.crt"),
        Path::new("/k"),
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("/nonexistent/tls.crt"), "{error}");
}
