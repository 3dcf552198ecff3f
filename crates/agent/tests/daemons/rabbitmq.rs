//! `RabbitMQ` under the agent: first start, accounts that come and go, hangs, power cuts; one member and three.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::pod::{Network, wait};

const START: Duration = Duration::from_secs(90);

/// As the agent runs the server's command line.
const CONTROL: &str = "su rabbitmq -s /bin/sh -c";

fn account(user: &str) -> Value {
    json!({"user": user, "password": format!("secret of {user}"), "vhost": "nova"})
}

fn config(network: &Network, members: &[&str], accounts: &[&str]) -> Value {
    network.file("cookie", "OQNFYHSLXAWTBZKDGRME");
    let accounts: Vec<Value> = accounts.iter().map(|user| account(user)).collect();
    network.file("accounts.json", Value::from(accounts).to_string());
    let tls = json!({"ca": "/mnt/tls/ca.crt", "server_name": "localhost"});
    let bus = json!({"name": "bus", "probe": {"amqp": {"port": 5671, "tls": tls}}});
    json!({
        "component": "rabbitmq",
        "role": {"rabbitmq": {
            "members": members, "cookie_file": "/mnt/cookie", "accounts_file": "/mnt/accounts.json",
            "memory_limit_bytes": 402_653_184,
            "tls": {"ca": "/mnt/tls/ca.crt", "cert": "/mnt/tls/tls.crt", "key": "/mnt/tls/tls.key"},
        }},
        "health": {"port": 9100, "startup": [bus.clone()], "live": [bus.clone()], "ready": [bus]},
    })
}

fn control(arguments: &str, member: &str) -> String {
    format!(
        "{CONTROL} 'HOME=/var/lib/rabbitmq LANG=C.UTF-8 RABBITMQ_NODENAME=rabbit@{member} /usr/lib/rabbitmq/bin/rabbitmqctl --longnames -q {arguments}'"
    )
}

#[test]
fn one_member_follows_its_accounts_and_lives_through_cuts_and_hangs() {
    let name = "rabbitmq-0.rabbitmq.t.svc";
    let network = Network::new("rabbitmq", &[name]);
    let mut pod = network.pod(0, "/var/lib/rabbitmq");
    pod.configure(&config(&network, &[name], &["nova_g1"]));
    pod.start();
    println!("first start: ready after {:?}", pod.ready(START));
    pod.inside(&control("authenticate_user nova_g1 \"secret of nova_g1\"", name));
    let users = || pod.inside(&control("list_users", name));
    assert!(!users().contains("guest"), "{}", users());
    assert!(pod.inside(&control("list_vhosts name default_queue_type", name)).contains("nova\tquorum"));
    assert!(pod.inside(&control("list_permissions -p nova", name)).contains("nova_g1\t.*\t.*\t.*"));
    let listeners = pod.inside(&control("listeners", name).replace("rabbitmqctl", "rabbitmq-diagnostics"));
    assert!(listeners.contains("port: 5671") && !listeners.contains("port: 5672"), "{listeners}");

    // A second account comes, then the first goes: how a password is rotated.
    pod.configure(&config(&network, &[name], &["nova_g1", "nova_g2"]));
    pod.status_with("nova_g2", START);
    pod.inside(&control("authenticate_user nova_g2 \"secret of nova_g2\"", name));
    pod.configure(&config(&network, &[name], &["nova_g2"]));
    wait("the first account's end", START, || !users().contains("nova_g1"));

    assert_eq!(pod.signal("beam.smp", Signal::SIGSTOP), 1);
    std::thread::sleep(Duration::from_secs(1));
    let (status, answer) = pod.get("/live").unwrap();
    assert_eq!(status, 503, "{answer}");
    assert!(answer["failing"][0]["why"].as_str().unwrap().contains("no answer"), "{answer}");
    pod.signal("beam.smp", Signal::SIGCONT);
    pod.ready(START);

    pod.inside(&control("add_vhost kept", name));
    pod.cut();
    pod.start();
    println!("after a power cut: ready after {:?}", pod.ready(START));
    assert!(pod.inside(&control("list_vhosts", name)).contains("kept"));
    let start = Instant::now();
    assert_eq!(pod.stop(START), 0);
    println!("stopped after {:?}", start.elapsed());
}

#[test]
fn three_members_form_one_cluster_and_come_back_together() {
    let names = ["rabbitmq-0.rabbitmq.t.svc", "rabbitmq-1.rabbitmq.t.svc", "rabbitmq-2.rabbitmq.t.svc"];
    let network = Network::new("rabbitmq", &names);
    let config = config(&network, &names, &["nova_g1"]);
    let mut pods = [0, 1, 2].map(|index| network.pod(index, "/var/lib/rabbitmq"));
    for round in ["three new members", "all killed"] {
        let start = Instant::now();
        for pod in &mut pods {
            pod.configure(&config);
            pod.start();
        }
        for pod in &mut pods {
            pod.ready(START);
        }
        println!("{round}: all ready after {:?}", start.elapsed());
        wait("the cluster of three", START, || {
            let status = pods[1].inside(&control("cluster_status --formatter json", names[1]));
            let status: Value = serde_json::from_str(&status).unwrap();
            status["running_nodes"].as_array().is_some_and(|nodes| nodes.len() == 3)
        });
        for pod in &mut pods {
            pod.cut();
        }
    }
}

/// As a worker's agent asks before it says that the worker has started.
#[test]
fn a_queue_is_asked_for_its_consumers() {
    let names = ["rabbitmq-0.rabbitmq.t.svc", "worker.t.svc"];
    let network = Network::new("rabbitmq", &names);
    let mut bus = network.pod(0, "/var/lib/rabbitmq");
    bus.configure(&config(&network, &names[..1], &["nova_g1"]));
    bus.start();
    bus.ready(START);
    let url = "rabbit://nova_g1:secret%20of%20nova_g1@rabbitmq-0.rabbitmq.t.svc:5671/nova";
    network.file("nova.conf", format!("[DEFAULT]\ntransport_url = {url}\n"));
    let mut worker = network.pod(1, "/var/lib/worker");
    let probe =
        json!({"config": "/mnt/nova.conf", "queue": "compute.node1", "tls": {"ca": "/mnt/tls/ca.crt"}});
    worker.configure(&json!({
        "component": "worker",
        "role": {"process": {"program": {"command": ["sleep", "infinity"]}}},
        "health": {"port": 9100, "startup": [{"name": "consumes", "timeout_ms": 10000, "probe": {"consumer": probe}}]},
    }));
    worker.start();
    let said = |words: &str| {
        wait(words, START, || {
            let answer = worker.get("/startup");
            answer.is_some_and(|(code, body)| code == 503 && body.to_string().contains(words))
        });
    };
    said("there is no queue compute.node1");
    let queue = r#"{"queues": [{"name": "compute.node1", "vhost": "nova", "durable": true, "auto_delete": false,
        "arguments": {"x-queue-type": "quorum"}}]}"#;
    network.file("queue.json", queue);
    bus.inside(&control("import_definitions /mnt/queue.json", names[0]));
    said("nobody consumes the queue compute.node1");
    let log = bus.log();
    let rude = |line: &&str| line.contains("closing AMQP connection") && line.contains("10.99.0.2");
    assert_eq!(log.lines().find(rude), None, "it says goodbye");
}
