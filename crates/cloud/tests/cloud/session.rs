//! Sessions over HTTP: tokens, retries, time-outs, errors, TLS.

use std::time::{Duration, Instant};

use oaas_cloud::Secret;
use oaas_cloud::engine::{Actor, Call, Method, list};
use oaas_cloud::health;
use oaas_cloud::service::Service;
use oaas_cloud::session::{Error, Interface, Session, Sessions};
use oaas_feedback::{Explain, Kind};
use serde_json::json;

use crate::emulator::Emulator;
use crate::http::{Server, Wrong};

fn images() -> Call {
    Call::get(Service::Image, "/v2/images")
}

async fn server() -> Server {
    Server::start(Emulator::bootstrapped()).await
}

#[tokio::test]
async fn one_login_serves_many_calls_and_headers_are_right() {
    let server = server().await;
    let session = server.session();
    for _ in 0..3 {
        session.send(&images()).await.unwrap();
    }
    session.send(&Call::get(Service::Compute, "/v2.1/flavors/detail")).await.unwrap();
    assert_eq!(server.logins(), 1);
    let seen = server.seen();
    assert_eq!(seen.last().unwrap().path, "/compute/v2.1/flavors/detail");
    assert_eq!(seen.last().unwrap().headers["openstack-api-version"], "compute 2.65");
    assert!(seen.last().unwrap().headers["user-agent"].to_str().unwrap().starts_with("oaas/"));
}

#[tokio::test]
async fn many_calls_at_once_share_one_login() {
    let server = server().await;
    let session = server.session();
    let call = images();
    let calls = (0..8).map(|_| session.send(&call));
    for result in futures::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(server.logins(), 1);
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once() {
    let server = server().await;
    let session = server.session();
    session.send(&images()).await.unwrap();
    server.expire_tokens();
    // Also for calls that must not be sent twice: a 401 was not carried out.
    let post = Call::new(Service::Image, Method::Post, "/v2/images").body(json!({"name": "a"}));
    session.send(&post).await.unwrap();
    assert_eq!(server.logins(), 2);
    assert_eq!(server.cloud(|cloud| cloud.all("images").len()), 1);

    server.fault("GET", "/image/v2/images", 9, Wrong::Refused(401));
    let error = session.send(&images()).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert!(error.hint().unwrap().contains("keystone_authtoken"), "{:?}", error.hint());
    assert_eq!(server.logins(), 3);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let server = server().await;
    server.token_life(10);
    let session = server.session();
    session.send(&images()).await.unwrap();
    session.send(&images()).await.unwrap();
    assert_eq!(server.logins(), 2);
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_dead_keystone_and_never_shown() {
    let server = server().await;
    let mut config = server.config();
    config.identity.password = Secret::new("guess-me");
    let session = Session::new(config).unwrap();
    let error = session.send(&images()).await.unwrap_err();
    assert!(matches!(error, Error::Login { .. }));
    assert_eq!(
        error.to_string(),
        "failed to log in as admin: The request you have made requires authentication. (request req-login)"
    );
    assert!(error.hint().unwrap().contains("password"));
    assert!(!format!("{error:?} {session:?}").contains("guess-me"));

    // A port that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = server.config();
    config.auth_url = format!("http://{free}/v3");
    let error = Session::new(config).unwrap().send(&images()).await.unwrap_err();
    assert!(matches!(error, Error::Connect { service: Service::Identity, .. }));
    assert_eq!(error.kind(), Kind::NotReady);
    assert!(error.hint().unwrap().contains("oaas why keystone"), "{:?}", error.hint());
}

#[tokio::test]
async fn secrets_that_a_service_quotes_are_blacked_out() {
    let server = server().await;
    server.cloud(|cloud| cloud.race_on = None);
    let mut call = Call::new(Service::Identity, Method::Post, "/v3/users")
        .body(json!({"user": {"name": "x", "domain_id": "default", "s3cret": "s3cret"}}));
    call.hidden.push(Secret::new("s3cret"));
    let error = server.session().send(&call).await.unwrap_err();
    assert_eq!(error.status(), Some(400));
    assert!(error.to_string().contains("('***' was unexpected)"), "{error}");
    assert!(!format!("{call:?} {error:?}").contains("s3cret"));
}

#[tokio::test]
async fn reads_are_repeated_and_writes_are_not() {
    let server = server().await;
    let session = server.session();
    server.fault("GET", "/image/v2/images", 2, Wrong::Refused(503));
    session.send(&images()).await.unwrap();
    server.fault("GET", "/image/v2/images", 1, Wrong::AnswerLost);
    session.send(&images()).await.unwrap();

    server.fault("GET", "/image/v2/images", 9, Wrong::Refused(503));
    let error = session.send(&images()).await.unwrap_err();
    assert_eq!(error.to_string(), "failed to GET /v2/images of glance: 503: not now (request req-1)");
    assert_eq!(error.kind(), Kind::NotReady);

    server.fault("POST", "/image/v2/images", 1, Wrong::AnswerLost);
    let post = Call::new(Service::Image, Method::Post, "/v2/images").body(json!({"name": "a"}));
    let error = session.send(&post).await.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }) && error.ambiguous(), "{error:?}");
    assert_eq!(server.cloud(|cloud| cloud.all("images").len()), 1);
}

#[tokio::test]
async fn a_slow_server_ends_in_a_time_out() {
    let server = server().await;
    let mut config = server.config();
    config.limits.request = Duration::from_secs(2);
    server.fault("GET", "/image/v2/images", 9, Wrong::Slow(Duration::from_mins(1)));
    let started = Instant::now();
    let error = Session::new(config).unwrap().send(&images()).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(error.to_string().ends_with("within 2 s"), "{error}");
    assert!(error.hint().unwrap().contains("oaas logs glance"));
}

#[tokio::test]
async fn deleting_what_is_gone_is_fine() {
    let server = server().await;
    let call = Call::new(Service::Image, Method::Delete, "/v2/images/none");
    assert_eq!(server.session().send(&call).await.unwrap().status, 404);
}

#[tokio::test]
async fn lists_are_read_to_their_end_in_every_service() {
    let mut cloud = Emulator::bootstrapped();
    cloud.page = 2;
    for number in 0..5 {
        cloud.put("images", json!({"id": format!("i{number}"), "name": "n"}));
        cloud.put("flavors", json!({"id": format!("f{number}"), "name": format!("n{number}")}));
        cloud.put("networks", json!({"id": format!("n{number}"), "name": "n"}));
    }
    let server = Server::start(cloud).await;
    let sessions = Sessions::new(server.session(), std::collections::BTreeMap::new());
    let count =
        async |call: Call, field: &str| list(&sessions, &Actor::Admin, &call, field).await.unwrap().len();
    assert_eq!(count(images().query("name", "n"), "images").await, 5);
    assert_eq!(count(Call::get(Service::Compute, "/v2.1/flavors/detail"), "flavors").await, 5);
    assert_eq!(count(Call::get(Service::Network, "/v2.0/networks"), "networks").await, 5);
    assert_eq!(count(Call::get(Service::Identity, "/v3/roles"), "roles").await, 5);
}

#[tokio::test]
async fn endpoints_come_from_the_catalog_unless_overridden() {
    let server = server().await;
    let mut config = server.config();
    config.interface = Interface::Admin;
    let session = Session::new(config.clone()).unwrap();
    let error = session.send(&images()).await.unwrap_err();
    assert!(
        error.to_string().starts_with("failed to find the admin endpoint of glance in region RegionOne"),
        "{error}"
    );
    // Keystone itself is reached at the address that was given.
    session.send(&Call::get(Service::Identity, "/v3/roles")).await.unwrap();

    config.endpoints.insert(Service::Image, format!("{}/image/v2", server.base()));
    Session::new(config).unwrap().send(&images()).await.unwrap();
}

#[tokio::test]
async fn the_given_ca_is_trusted_and_no_other() {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let server =
        Server::start_tls(Emulator::bootstrapped(), leaf.pem().into(), key.serialize_pem().into()).await;

    let mut config = server.config();
    config.ca_pem = Some(ca_certificate.pem().into());
    Session::new(config.clone()).unwrap().send(&images()).await.unwrap();

    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    config.ca_pem = Some(stranger.cert.pem().into());
    let error = Session::new(config.clone()).unwrap().send(&images()).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("CA"), "{:?}: {}", error.hint(), error.line());

    config.ca_pem = Some(b"no certificate".to_vec());
    let error = Session::new(config).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("no certificate in it"), "{error}");
}

#[tokio::test]
async fn health_is_asked() {
    let server = server().await;
    let session = server.session();
    let version = health::api(&session, Service::Compute).await.unwrap();
    assert_eq!(version.microversion.as_deref(), Some("2.100"));
    assert_eq!(health::console_log(&session, "s1", 50).await.unwrap(), "login:");
    assert!(health::console_url(&session, "s1").await.unwrap().contains("token"));
    assert_eq!(health::server(&session, "none").await.unwrap(), None);
    let sessions = Sessions::new(session, std::collections::BTreeMap::new());
    assert_eq!(health::room(&sessions, 1, 192, 1).await.unwrap(), None);
    server.cloud(|cloud| cloud.compute_ready = false);
    assert_eq!(
        health::room(&sessions, 1, 192, 1).await.unwrap(),
        Some("nova-compute on node1 is down".to_owned())
    );
}
