//! What an interrupt does to a command that waits.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// `oaas status` against an API server that takes connections and never answers.
fn waiting(extra: &[&str]) -> (Child, TcpListener, tempfile::TempDir) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig.yaml");
    let url = format!("http://{}", server.local_addr().unwrap());
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: '{url}'}}}}],
           users: [{{name: c, user: {{}}}}], contexts: [{{name: c, context: {{cluster: c, user: c}}}}]}}"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_oaas"))
        .arg("status")
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .args(extra)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, server, directory)
}

/// Send the signal once the command has asked the server; what it said and its exit code.
fn interrupted(signal: Signal, extra: &[&str]) -> (String, Option<i32>) {
    let (mut child, server, _directory) = waiting(extra);
    let (connection, _) = server.accept().unwrap();
    let mut request = String::new();
    BufReader::new(&connection).read_line(&mut request).unwrap();
    assert!(request.starts_with("GET /apis/oaas.dev/v1alpha1/openstacks"), "{request}");
    let began = Instant::now();
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    let code = child.wait().unwrap().code();
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (said, code)
}

#[test]
fn an_interrupt_ends_the_command_and_says_that_it_can_go_on() {
    let (said, code) = interrupted(Signal::SIGINT, &[]);
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(
        said,
        "error: interrupted by SIGINT\nhint: nothing is broken: the same command goes on where it stopped\n"
    );
}

#[test]
fn a_termination_is_told_as_json_where_json_is_wanted() {
    let (said, code) = interrupted(Signal::SIGTERM, &["--output", "json"]);
    assert_eq!(code, Some(130), "{said}");
    let object: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((object["kind"].as_str(), object["exitCode"].as_i64()), (Some("interrupted"), Some(130)));
}

#[test]
fn an_api_server_that_goes_away_is_told() {
    let (mut child, server, _directory) = waiting(&[]);
    let (connection, _) = server.accept().unwrap();
    drop(connection);
    drop(server);
    let code = child.wait().unwrap().code();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.starts_with("error: failed to list the OpenStack clouds\n"), "{said}");
    assert!(said.contains("hint: the API server does not answer"), "{said}");
}
