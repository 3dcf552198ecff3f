//! MariaDB under the agent: first start, power cuts, hangs, lost volumes; one member and three.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use nix::sys::signal::Signal;
use oaas_agent::mysql;
use oaas_agent_config::{MysqlServer, TlsTrust};
use serde_json::{Value, json};

use crate::pod::{Network, Pod};

const START: Duration = Duration::from_mins(2);

pub const OPTIONS: &str = "[mysqld]\nbind_address=0.0.0.0\nskip_name_resolve=ON\nperformance_schema=OFF\n\
    innodb_autoinc_lock_mode=2\ninnodb_flush_log_at_trx_commit=1\ninnodb_log_file_size=64M\nbinlog_format=ROW\n\
    wsrep_on=ON\nwsrep_provider=/usr/lib/galera/libgalera_smm.so\nwsrep_cluster_name=test\n\
    wsrep_sst_method=mariabackup\n";

/// The agent's configuration of a MariaDB member.
pub fn config(network: &Network, members: &[&str]) -> Value {
    let account = |user: &str, kind: &str| {
        json!({
            "user": user, "password_file": network.password(user, &format!("pa\"ss'\\ {user}")), "kind": kind
        })
    };
    network.file("oaas.cnf", OPTIONS);
    json!({
        "component": "galera",
        "role": {"mariadb": {
            "members": members, "peer_port": 9100, "options_file": "/mnt/oaas.cnf", "new_cloud": true,
            "tls": {"ca": "/mnt/tls/ca.crt", "cert": "/mnt/tls/tls.crt", "key": "/mnt/tls/tls.key"},
            "accounts": [account("operator", "operator"), account("monitor", "monitor")],
        }},
        "health": {
            "port": 9100,
            "live": [{"name": "server", "probe": {"mysql": {"server": probe_server(), "query": "SHOW STATUS LIKE 'Uptime'"}}}],
            "ready": [{"name": "galera", "probe": {"wsrep": {"server": probe_server()}}}],
        },
    })
}

fn probe_server() -> Value {
    json!({"host": "127.0.0.1", "user": "monitor", "password_file": "/mnt/accounts/monitor",
        "tls": {"ca": "/mnt/tls/ca.crt", "server_name": "localhost"}})
}

/// A server as the test reaches it.
pub fn server(network: &Network, pod: &Pod, user: &str, tls: bool) -> MysqlServer {
    let dir = network.dir.path();
    let trust = TlsTrust { ca: dir.join("tls/ca.crt"), server_name: Some("localhost".to_owned()) };
    MysqlServer {
        host: pod.address.clone(),
        port: 3306,
        tls: tls.then_some(trust),
        user: user.to_owned(),
        password_file: dir.join("accounts").join(user),
    }
}

/// Run statements as the operator; gives the first column of the last one's rows.
pub fn sql(network: &Network, pod: &Pod, statements: &[&str]) -> Vec<String> {
    oaas_agent::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut conn = mysql::connect(&server(network, pod, "operator", true)).await.unwrap();
        let mut last = Vec::new();
        for statement in statements {
            last = mysql::column(&mut conn, statement, statement).await.unwrap();
        }
        conn.disconnect().await.unwrap();
        last
    })
}

fn connects(network: &Network, pod: &Pod, user: &str, tls: bool) -> Result<(), String> {
    oaas_agent::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut conn =
            mysql::connect(&server(network, pod, user, tls)).await.map_err(|error| format!("{error:?}"))?;
        conn.query_drop("DO 1").await.map_err(|error| format!("{error:?}"))
    })
}

fn uuid(pod: &Pod) -> String {
    let status = pod.get("/status").unwrap().1;
    status["report"]["serving"]["position"].as_str().unwrap().split(':').next().unwrap().to_owned()
}

/// An API server that knows of nothing but the writer's label.
struct Labels(Arc<Mutex<BTreeSet<String>>>);

impl Labels {
    fn serve(network: &Network) -> Self {
        fs::create_dir(network.dir.path().join("identity")).unwrap();
        for (name, text) in [("namespace", "t"), ("token", "abc")] {
            network.file(&format!("identity/{name}"), text);
        }
        let ca = fs::read_to_string(network.dir.path().join("tls/ca.crt")).unwrap();
        network.file("identity/ca.crt", &ca);
        let listener = TcpListener::bind("10.99.0.254:6443").unwrap();
        let labelled = Arc::new(Mutex::new(BTreeSet::new()));
        let there = Arc::clone(&labelled);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = vec![0; 4096];
                let mut text = String::new();
                while !text.contains("}}}") {
                    match stream.read(&mut request) {
                        Ok(0) | Err(_) => break,
                        Ok(count) => text.push_str(&String::from_utf8_lossy(&request[..count])),
                    }
                }
                let path = text.split(' ').nth(1).unwrap_or_default();
                let pod = path.rsplit('/').next().unwrap_or_default().to_owned();
                let mut labelled = there.lock().unwrap();
                if text.contains(r#""oaas.dev/writer":"true""#) {
                    labelled.insert(pod);
                } else {
                    labelled.remove(&pod);
                }
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        Self(labelled)
    }

    /// Waits until these pods have the label and no others.
    fn eventually(&self, wanted: &[&str]) {
        let wanted: BTreeSet<String> = wanted.iter().map(|pod| (*pod).to_owned()).collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        while *self.0.lock().unwrap() != wanted {
            assert!(Instant::now() < deadline, "{wanted:?}, not {:?}", self.0.lock().unwrap());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn one_member_lives_through_cuts_and_hangs_and_is_never_begun_anew() {
    let network = Network::new("mariadb", &["mariadb-0.mariadb.t.svc"]);
    let mut pod = network.pod(0, "/var/lib/mysql");
    let config = config(&network, &["mariadb-0.mariadb.t.svc"]);
    pod.configure(&config);

    pod.start();
    println!("first start: ready after {:?}", pod.ready(START));
    assert!(connects(&network, &pod, "operator", false).is_err(), "no account comes in without TLS");
    assert!(connects(&network, &pod, "monitor", true).is_ok());
    assert!(!pod.inside("cat /proc/*/cmdline").contains("pa\"ss"), "no password in an argument");
    sql(
        &network,
        &pod,
        &["CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1), (2)"],
    );
    let before = uuid(&pod);

    pod.cut();
    pod.start();
    println!("after a power cut: ready after {:?}", pod.ready(START));
    assert_eq!(sql(&network, &pod, &["SELECT id FROM d.t"]), ["1", "2"]);
    assert_eq!(uuid(&pod), before, "the history goes on");
    assert!(!pod.log().contains("sets the account"), "accounts that are right are not touched");

    assert_eq!(pod.signal("mariadbd", Signal::SIGSTOP), 1);
    for probe in ["/live", "/ready"] {
        let start = Instant::now();
        let mut answer = pod.get(probe).unwrap();
        if answer.0 == 200 {
            // An answer of a moment before.
            std::thread::sleep(Duration::from_secs(1));
            answer = pod.get(probe).unwrap();
        }
        assert_eq!(answer.0, 503, "{probe}: {answer:?}");
        assert!(
            answer.1["failing"][0]["why"].as_str().unwrap().contains("no answer within 3000 ms"),
            "{answer:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(6), "{probe} took {:?}", start.elapsed());
    }
    pod.signal("mariadbd", Signal::SIGCONT);
    pod.ready(START);

    let start = Instant::now();
    assert_eq!(pod.stop(START), 0);
    println!("stopped after {:?}", start.elapsed());
    pod.start();
    println!("after a clean stop: ready after {:?}", pod.ready(START));

    // The server alone is killed: the container ends with 128 + 9.
    pod.signal("mariadbd", Signal::SIGKILL);
    assert_eq!(pod.exit_code(START), 137);

    // The data directory is emptied, what the agent remembers is not: even told that the cloud is new, it refuses.
    fs::remove_dir_all(pod.volume().join("data")).unwrap();
    pod.start();
    let status = pod.status_with("MembersLost", START);
    assert_eq!(status["phase"], "preparing");
    assert_eq!(pod.get("/ready").unwrap().0, 503);
    assert_eq!(pod.get("/live").unwrap().0, 200, "a restart would not help");
    assert_eq!(pod.stop(START), 143);

    // A fresh volume in a cloud that is not new.
    fs::remove_dir_all(pod.volume().join("oaas")).unwrap();
    let mut old = config.clone();
    old["role"]["mariadb"]["new_cloud"] = json!(false);
    pod.configure(&old);
    pod.start();
    pod.status_with("NothingLeft", START);
}

#[test]
fn three_members_form_survive_and_refuse() {
    let names = ["mariadb-0.mariadb.t.svc", "mariadb-1.mariadb.t.svc", "mariadb-2.mariadb.t.svc"];
    let network = Network::new("mariadb", &names);
    let mut config = config(&network, &names);
    let labels = Labels::serve(&network);
    config["role"]["mariadb"]["writer"] = json!({
        "label": "oaas.dev/writer", "identity_directory": "/mnt/identity", "server": "http://10.99.0.254:6443",
    });
    let mut pods = [0, 1, 2].map(|index| network.pod(index, "/var/lib/mysql"));
    let start = Instant::now();
    for pod in &mut pods {
        pod.configure(&config);
        pod.start();
    }
    for pod in &mut pods {
        pod.ready(START);
    }
    println!("three new members: all ready after {:?}", start.elapsed());
    let before = uuid(&pods[0]);
    sql(
        &network,
        &pods[0],
        &["CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)"],
    );

    // One of them takes the writes. It is killed: another one takes them, and keeps them when it is back.
    labels.eventually(&["mariadb-0"]);
    pods[0].cut();
    let start = Instant::now();
    labels.eventually(&["mariadb-1"]);
    println!("the writer killed: another one after {:?}", start.elapsed());
    pods[0].start();
    pods[0].ready(START);
    std::thread::sleep(Duration::from_secs(3));
    labels.eventually(&["mariadb-1"]);

    // One is killed: the others go on, it comes back.
    pods[1].cut();
    sql(&network, &pods[0], &["INSERT INTO d.t VALUES (2)"]);
    pods[1].start();
    println!("one killed: back after {:?}", pods[1].ready(START));

    // All are killed at once.
    for pod in &pods {
        pod.status_with("mariadb-2.mariadb.t.svc\"]},\"serving\"", START);
    }
    for pod in &mut pods {
        pod.cut();
    }
    let start = Instant::now();
    for pod in &mut pods {
        pod.start();
    }
    for pod in &mut pods {
        pod.ready(START);
    }
    println!("all killed: all ready after {:?}", start.elapsed());
    assert_eq!(uuid(&pods[2]), before, "the history goes on");
    assert_eq!(sql(&network, &pods[2], &["SELECT id FROM d.t ORDER BY id"]), ["1", "2"]);

    // Two of three come back: they wait for the third, which may be ahead.
    for pod in &pods {
        pod.status_with("mariadb-2.mariadb.t.svc\"]},\"serving\"", START);
    }
    for pod in &mut pods {
        pod.cut();
    }
    pods[0].start();
    pods[1].start();
    pods[0].status_with("reports of mariadb-2.mariadb.t.svc", START);
    // The third comes back without its volume: a person has to decide.
    for part in ["data", "oaas"] {
        fs::remove_dir_all(pods[2].volume().join(part)).unwrap();
    }
    pods[2].start();
    let status = pods[0].status_with("MembersLost", START);
    let best = status["report"]["decision"]["refuse"]["members_lost"]["best"].clone();
    let best: (String, String) = serde_json::from_value(best).unwrap();
    config["role"]["mariadb"]["override"] = json!({"bootstrap_from": best.0, "position": best.1});
    for pod in &pods {
        pod.configure(&config);
    }
    for pod in &mut pods {
        pod.ready(START);
    }
    assert_eq!(
        sql(&network, &pods[2], &["SELECT id FROM d.t ORDER BY id"]),
        ["1", "2"],
        "by a state transfer"
    );

    // Two are killed at once: the one that is left has no quorum until they are back.
    pods[0].cut();
    pods[1].cut();
    pods[2].status_with("\"primary\":false", START);
    // It must heal, and not be restarted.
    assert_eq!(pods[2].get("/live").unwrap().0, 200);
    assert_eq!(pods[2].get("/ready").unwrap().0, 503);
    let start = Instant::now();
    pods[0].start();
    pods[1].start();
    for pod in &mut pods {
        pod.ready(START);
    }
    println!("two killed: all ready after {:?}", start.elapsed());
    assert_eq!(uuid(&pods[1]), before);
}
