//! Images over HTTP, and whole passes there.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use oaas_cloud::content::spec::Content;
use oaas_cloud::content::{demo, items};
use oaas_cloud::engine::{Kind, Options, Report, State, apply};
use oaas_cloud::service::Service;
use oaas_cloud::session::{Session, Sessions};
use oaas_feedback::Task;
use serde_json::json;
use sha2::{Digest, Sha256, Sha512};

use crate::emulator::Emulator;
use crate::http::{Server, Wrong};
use crate::keeping::given;
use crate::proxy::Proxy;

/// Two MiB that do not repeat early.
fn bytes() -> Vec<u8> {
    (0..2 * 1024 * 1024_u32).map(|at| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap()).collect()
}

struct Setup {
    server: Server,
    directory: tempfile::TempDir,
}

impl Setup {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("guest.qcow2"), bytes()).unwrap();
        Self { server: Server::start(Emulator::bootstrapped()).await, directory }
    }

    fn content(&self, whole: bool) -> Content {
        let mut content = demo();
        content.images[0].file = Some(self.directory.path().join("guest.qcow2").display().to_string());
        if whole { content } else { Content { images: content.images, ..Content::default() } }
    }

    fn sessions(&self) -> Sessions {
        Sessions::new(self.server.session(), given().passwords)
    }
}

async fn pass(content: &Content, sessions: &Sessions) -> Report {
    let items = items(content, &given()).unwrap();
    apply(&items, sessions, &Options::default(), &Task::silent()).await.unwrap()
}

fn image(report: &Report) -> &State {
    &report.find(Kind::Image, "oaas-guest").unwrap().state
}

#[tokio::test]
async fn the_whole_demo_over_http() {
    let setup = Setup::new().await;
    let (content, sessions) = (setup.content(true), setup.sessions());
    let report = pass(&content, &sessions).await;
    let lines: Vec<_> = report.items.iter().map(ToString::to_string).collect();
    assert!(report.settled(), "{lines:#?}");
    setup.server.cloud(Emulator::built);
    let report = pass(&content, &sessions).await;
    assert!(report.settled() && report.untouched());
    // The administrator, demo for its server, and one to see that the password works. The first pass made the user
    // and so did not ask.
    assert_eq!(setup.server.logins(), 3);
    setup.server.cloud(|cloud| assert_eq!(cloud.blobs.values().next().unwrap(), &bytes()));
}

#[tokio::test]
async fn a_service_that_is_down_is_waited_for_and_asked_once() {
    let setup = Setup::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = setup.server.config();
    config.endpoints.insert(Service::Network, format!("http://{free}"));
    let sessions = Sessions::new(Session::new(config.clone()).unwrap(), given().passwords);
    let report = pass(&setup.content(true), &sessions).await;
    assert_eq!(report.failed().count(), 0, "{report:?}");
    let State::Waiting(reason) = &report.find(Kind::Network, "admin/ext-net").unwrap().state else {
        panic!()
    };
    assert!(reason.contains(&format!("failed to connect to neutron-server at {free}")), "{reason}");
    assert_eq!(report.find(Kind::Flavor, "m1.tiny").unwrap().state, State::Created);
    let State::Waiting(reason) = &report.find(Kind::Server, "demo/demo-vm").unwrap().state else { panic!() };
    assert!(reason.contains("neutron-server"), "{reason}");

    // Without Keystone there is one error, not one per item.
    config.auth_url = format!("http://{free}/v3");
    let sessions = Sessions::new(Session::new(config).unwrap(), given().passwords);
    let items = items(&setup.content(true), &given()).unwrap();
    let error = apply(&items, &sessions, &Options::default(), &Task::silent()).await.unwrap_err();
    assert!(error.to_string().starts_with("failed to connect to keystone"), "{error}");
}

#[tokio::test]
async fn two_operators_at_once_agree() {
    let setup = Setup::new().await;
    let (content, one, two) = (setup.content(true), setup.sessions(), setup.sessions());
    let content = Content { images: Vec::new(), servers: Vec::new(), ..content };
    let (first, second) = tokio::join!(pass(&content, &one), pass(&content, &two));
    for report in [first, second] {
        let failed: Vec<_> = report.failed().map(ToString::to_string).collect();
        assert_eq!(failed, Vec::<String>::new());
    }
    let report = pass(&content, &one).await;
    assert!(report.settled() && report.untouched(), "{report:?}");
    setup.server.cloud(|cloud| {
        assert_eq!(cloud.all("flavors").len(), 6);
        cloud.named("projects", "demo");
        cloud.named("networks", "ext-net");
    });
}

#[tokio::test]
async fn an_upload_is_skipped_when_the_bytes_are_there() {
    let setup = Setup::new().await;
    let (content, sessions) = (setup.content(false), setup.sessions());
    assert_eq!(image(&pass(&content, &sessions).await), &State::Created);
    assert_eq!(image(&pass(&content, &sessions).await), &State::Unchanged);
    // Another process, which does not remember the file's hash.
    assert_eq!(image(&pass(&content, &setup.sessions()).await), &State::Unchanged);
    std::fs::write(setup.directory.path().join("guest.qcow2"), b"a new build").unwrap();
    assert_eq!(image(&pass(&content, &sessions).await), &State::Corrected(vec!["bytes".to_owned()]));
    let blobs: Vec<Vec<u8>> = setup.server.cloud(|cloud| cloud.blobs.values().cloned().collect());
    assert!(blobs.contains(&b"a new build".to_vec()));
}

#[tokio::test]
async fn wrong_bytes_never_become_an_image() {
    let setup = Setup::new().await;
    let mut content = setup.content(false);
    content.images[0].checksum = Some(format!("sha256:{}", "0".repeat(64)));
    let report = pass(&content, &setup.sessions()).await;
    let State::Failed { message, hint } = image(&report) else { panic!("{report:?}") };
    let found = hex::encode(Sha256::digest(bytes()));
    assert!(
        message.contains(&format!("its checksum is sha256:{found}, declared is sha256:000")),
        "{message}"
    );
    assert!(hint.as_ref().unwrap().contains("checksum"));
    setup.server.cloud(|cloud| {
        assert_eq!(cloud.all("images").len(), 0);
        assert!(cloud.blobs.is_empty());
    });

    content.images[0].checksum = Some(format!("sha512:{}", hex::encode(Sha512::digest(bytes()))));
    assert_eq!(image(&pass(&content, &setup.sessions()).await), &State::Created);
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let setup = Setup::new().await;
    let mut content = setup.content(false);
    content.images[0].file = Some("/nowhere/guest.qcow2".to_owned());
    let report = pass(&content, &setup.sessions()).await;
    let State::Failed { message, .. } = image(&report) else { panic!("{report:?}") };
    assert!(message.starts_with("failed to read the image file /nowhere/guest.qcow2"), "{message}");
    assert_eq!(setup.server.cloud(|cloud| cloud.all("images").len()), 0);
}

#[tokio::test]
async fn a_connection_that_drops_while_uploading_is_made_good() {
    let setup = Setup::new().await;
    let content = setup.content(false);
    let proxy = Proxy::start(setup.server.address, 512 * 1024, 1).await;
    let mut config = setup.server.config();
    config.endpoints.insert(Service::Image, format!("http://{}/image", proxy.address));
    let sessions = Sessions::new(Session::new(config).unwrap(), BTreeMap::new());
    let report = pass(&content, &sessions).await;
    assert_eq!(proxy.cuts.load(Ordering::SeqCst), 0, "the connection was not cut");
    assert_eq!(image(&report), &State::Created, "{report:?}");
    setup.server.cloud(|cloud| {
        assert_eq!(cloud.all("images").len(), 1);
        assert_eq!(cloud.named("images", "oaas-guest")["status"], "active");
    });
}

#[tokio::test]
async fn an_upload_that_stalls_ends() {
    let setup = Setup::new().await;
    let mut config = setup.server.config();
    config.limits.stall = Duration::from_millis(300);
    let sessions = Sessions::new(Session::new(config).unwrap(), BTreeMap::new());
    setup.server.cloud(|cloud| cloud.put("images", json!({"id": "img", "name": "x", "status": "queued"})));
    setup.server.fault("PUT", "/image/v2/images/img/file", 1, Wrong::Slow(Duration::from_secs(30)));
    let call =
        oaas_cloud::engine::Call::new(Service::Image, oaas_cloud::engine::Method::Put, "/v2/images/img/file");
    let place = oaas_cloud::engine::Place::File(setup.directory.path().join("guest.qcow2"));
    let source = oaas_cloud::engine::ImageSource { place, checksum: None };
    let started = Instant::now();
    let error = sessions.admin().upload(&call, &source, &Task::silent()).await.unwrap_err();
    assert!(error.ambiguous(), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn an_image_comes_from_an_address() {
    let setup = Setup::new().await;
    let served = bytes();
    let router = axum::Router::new().route("/guest.qcow2", axum::routing::get(move || async move { served }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let mut content = setup.content(false);
    content.images[0].file = None;
    content.images[0].url = Some(format!("http://user:secret@{address}/guest.qcow2?sig=hidden"));
    content.images[0].checksum = Some(format!("sha256:{}", hex::encode(Sha256::digest(bytes()))));
    assert_eq!(image(&pass(&content, &setup.sessions()).await), &State::Created);
    assert_eq!(image(&pass(&content, &setup.sessions()).await), &State::Unchanged);

    content.images[0].name = "another".to_owned();
    content.images[0].url = Some(format!("http://user:secret@{address}/gone?sig=hidden"));
    let report = pass(&content, &setup.sessions()).await;
    let State::Failed { message, .. } = &report.find(Kind::Image, "another").unwrap().state else { panic!() };
    assert!(
        message.contains("the server answered 404")
            && !message.contains("secret")
            && !message.contains("hidden")
    );
    serving.abort();
}
