//! Clusters that cannot do what is asked, and API servers that go away.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::{StreamExt, stream};
use kube::{Client, Config};
use oaas_api::{OpenStack, OpenStackSpec, Phase, names};
use oaas_cli::bringup;
use oaas_feedback::{Event, Sink, Task};
use serde_json::{Value, json};

use crate::program::{Place, finish};
use crate::servers::serve;

fn kubeconfig(place: &Place, server: SocketAddr) -> PathBuf {
    place.write(
        "kubeconfig.yaml",
        &format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'http://{server}'}}}}],
               users: [{{name: c, user: {{}}}}], contexts: [{{name: c, context: {{cluster: c, user: c}}}}]}}"
        ),
    )
}

fn list(path: &str) -> Value {
    let items = if path == "/api/v1/nodes" {
        json!([{
            "metadata": {"name": "node1", "labels": {"controller": "true", "compute": "true", "network": "true"}},
            "status": {"allocatable": {"memory": "1536Mi"}},
        }])
    } else {
        json!([])
    };
    json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
}

fn cloud(place: &Place, spec: &str) -> PathBuf {
    let head = "apiVersion: oaas.dev/v1alpha1\nkind: OpenStack\nmetadata: { name: demo }\n";
    place.write("cloud.yaml", &format!("{head}spec: {{ release: \"2026.1\"{spec} }}\n"))
}

#[test]
fn more_than_the_nodes_have() {
    let place = Place::new();
    let server = serve(Router::new().fallback(|request: Request| async move {
        match request.uri().path() {
            // No operator was ever installed there.
            path if path.ends_with("/configmaps/oaas-images") => {
                let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404});
                (axum::http::StatusCode::NOT_FOUND, Json(status)).into_response()
            }
            path => Json(list(path)).into_response(),
        }
    }));
    let (config, cloud) = (kubeconfig(&place, server), cloud(&place, ", profile: full"));
    let arguments = ["plan", "-f", cloud.to_str().unwrap(), "--kubeconfig", config.to_str().unwrap()];
    place.run(&arguments).assert_wants(
        2,
        "error: the resource is refused: 1 problem\n      \
         spec: the cloud wants {} MiB of memory, but the nodes have 1536 MiB; take profile tiny instead of full, fewer \
         replicas, or more or larger nodes\nhint: docs/reference.md lists every field\n",
        1536,
    );
}

#[test]
fn what_there_is_not_to_rotate() {
    let place = Place::new();
    let server = serve(Router::new().fallback(|_: Request| async move {
        let cloud = json!({
            "apiVersion": "oaas.dev/v1alpha1", "kind": "OpenStack", "metadata": {"name": "demo", "namespace": "demo"},
            "spec": {"release": "2026.1"},
        });
        Json(json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [cloud]}))
    }));
    let config = kubeconfig(&place, server);
    let rotate = |what: &str| place.run(&["rotate", what, "--kubeconfig", config.to_str().unwrap()]);
    rotate("db-nva").assert(
        2,
        "error: there is no `db-nva` to rotate\nhint: the nearest is `db-nova`; `oaas rotate` lists all\n",
    );
}

#[test]
fn an_api_server_that_goes_away_in_the_middle_of_an_answer() {
    let place = Place::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = kubeconfig(&place, server.local_addr().unwrap());
    let cloud = cloud(&place, "");
    let arguments = ["plan", "-f", cloud.to_str().unwrap(), "--kubeconfig", config.to_str().unwrap()];
    let child = place.start(&arguments);
    // It answers the first question by half, and is gone.
    let (mut connection, _) = server.accept().unwrap();
    let mut request = String::new();
    BufReader::new(&connection).read_line(&mut request).unwrap();
    assert!(request.starts_with("GET /api/v1/namespaces/oaas-system/configmaps/oaas-images"), "{request}");
    let half =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4096\r\n\r\n{\"apiVersion\":";
    connection.write_all(half.as_bytes()).unwrap();
    drop((connection, server));
    finish(child).assert(
        3,
        "error: failed to read the images of the operator\n  caused by: error reading a body from connection\n  \
         caused by: end of file before message length reached\n\
         hint: the API server does not answer: is its cluster up? `oaas up` starts the embedded one\n",
    );
}

#[test]
fn an_api_server_that_refuses_says_who_may() {
    let place = Place::new();
    let server = serve(Router::new().fallback(|| async {
        let message = "openstacks.oaas.dev is forbidden: User \"reader\" cannot list";
        let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message, "reason": "Forbidden", "code": 403});
        (axum::http::StatusCode::FORBIDDEN, Json(status))
    }));
    let config = kubeconfig(&place, server);
    place.run(&["status", "--kubeconfig", config.to_str().unwrap()]).assert(
        3,
        "error: failed to list the OpenStack clouds\n  \
         caused by: openstacks.oaas.dev is forbidden: User \"reader\" cannot list\n\
         hint: use a kubeconfig whose user may do this\n",
    );
}

/// An answer that is cut off after this, once it was sent.
fn cut_off(begin: &'static str) -> Body {
    let gone = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Err(std::io::Error::other("gone"))
    };
    Body::from_stream(stream::once(async move { Ok(begin) }).chain(stream::once(gone)))
}

#[test]
fn an_api_server_that_goes_away_while_a_log_is_read() {
    async fn answer(request: Request) -> Response {
        let cloud = json!({"metadata": {"name": "demo", "namespace": "demo"}, "spec": {"release": "2026.1"}});
        let labels = json!({names::LABEL_CLOUD: "demo", names::LABEL_COMPONENT: "keystone"});
        let pod = json!({"metadata": {"name": "keystone-0", "namespace": "demo", "labels": labels}});
        let list = |item| Json(json!({"metadata": {}, "items": [item]})).into_response();
        match request.uri().path() {
            "/apis/oaas.dev/v1alpha1/openstacks" => list(cloud),
            "/api/v1/namespaces/demo/pods" => list(pod),
            "/api/v1/namespaces/demo/pods/keystone-0/log" => {
                cut_off("a first line\nand half a se").into_response()
            }
            other => panic!("nobody was to ask for {other}"),
        }
    }
    let place = Place::new();
    let config = kubeconfig(&place, serve(Router::new().fallback(answer)));
    let said = place.run(&["logs", "keystone", "--follow", "--kubeconfig", config.to_str().unwrap()]);
    assert_eq!(said.stdout, "a first line\n", "{}", said.stderr);
    said.assert(3, "error: failed to go on reading the log of pod keystone-0\n  \
         caused by: error reading a body from connection\n  caused by: unexpected EOF during chunk size line\n\
         hint: the API server or the pod went away: `oaas status` shows what runs; the same command reads on\n");
}

/// What tasks say.
#[derive(Default)]
struct Statuses(Mutex<Vec<String>>);

impl Sink for Statuses {
    fn event(&self, event: Event) {
        if let Event::Status { text, .. } = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

#[tokio::test]
async fn an_api_server_that_comes_back_is_waited_for() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let server = serve(Router::new().fallback(|| async {
        let spec = json!({"release": "2026.1"});
        let metadata = json!({"name": "demo", "namespace": "demo", "generation": 1});
        let answer = |answered: &str| {
            Json(json!({
                "apiVersion": "oaas.dev/v1alpha1", "kind": "OpenStack", "metadata": metadata, "spec": spec,
                "status": {"observedGeneration": 1, "phase": "Ready", "revision": "r1", "answered": answered},
            }))
            .into_response()
        };
        match ASKED.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => cut_off("{").into_response(),
            // Ready, but from before it was asked.
            2 => answer("before"),
            _ => answer("now"),
        }
    }));
    let client = Client::try_from(Config::new(format!("http://{server}").parse().unwrap())).unwrap();
    let spec = OpenStackSpec { release: "2026.1".into(), ..OpenStackSpec::default() };
    let (cloud, said) = (OpenStack::new("demo", spec), Arc::new(Statuses::default()));
    let task = Task::root(Arc::clone(&said) as Arc<dyn Sink>, "cloud");
    let waited = bringup::wait(&client, &cloud, ("r1", "now"), Duration::from_secs(20), &task).await.unwrap();
    assert_eq!(waited.status.phase, Some(Phase::Ready));
    assert_eq!(
        *said.0.lock().unwrap(),
        [
            "waits for the API server to answer",
            "waits for the API server to answer",
            "waits for the operator to answer"
        ]
    );
}
