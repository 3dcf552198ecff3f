//! Clusters that cannot do what is asked, and API servers that go away.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use axum::extract::Request;
use axum::{Json, Router};
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
    let server =
        serve(Router::new().fallback(|request: Request| async move { Json(list(request.uri().path())) }));
    let (config, cloud) = (kubeconfig(&place, server), cloud(&place, ", profile: full"));
    let arguments = ["plan", "-f", cloud.to_str().unwrap(), "--kubeconfig", config.to_str().unwrap()];
    place.run(&arguments).assert(
        2,
        "error: the resource is refused: 1 problem\n      \
         spec: the cloud wants 8474 MiB of memory, but the nodes have 1536 MiB; take profile tiny instead of full, fewer \
         replicas, or more or larger nodes\nhint: docs/reference.md lists every field\n",
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
    assert!(request.starts_with("GET /apis/oaas.dev/v1alpha1/namespaces/demo/openstacks"), "{request}");
    let half =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4096\r\n\r\n{\"apiVersion\":";
    connection.write_all(half.as_bytes()).unwrap();
    drop((connection, server));
    finish(child).assert(
        3,
        "error: failed to list the OpenStack clouds\n  caused by: error reading a body from connection\n  \
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
