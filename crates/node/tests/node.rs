//! A real node, from nothing and back: `cargo test -p oaas-node --test node`, as root.
//!
//! One program, because a node's first process is this very program again. Steps build on each other; whatever
//! happens, the cluster is taken down in the end.

mod common;
mod policies;

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oaas_feedback::{Explain, Kind, Task};
use oaas_node::{Change, Cluster, ExternalNetwork, Files, Node, Options, PortMap, State, Status};
use serde_json::json;

use common::{Snapshot, image_cache, wait_for};

/// The API server, which answers like any NodePort would, published on the loopback address.
const PUBLISHED: PortMap =
    PortMap { listen: std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 36443), node_port: 6443 };
/// The host's address on the external network of the start, and on those that come after it.
const EXTERNAL: &str = "10.85.99.1/24";
const NEXT_EXTERNAL: &str = "10.85.98.1/25";
const OTHER_EXTERNAL: &str = "10.85.97.1/24";
const SECRET: &str = "correct-horse-battery-staple";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("node-init") => return oaas_node::init::main(&arguments[1..]),
        Some("node-supervise") => return oaas_node::supervise::main(&arguments[1..]),
        // Asked by test runners.
        Some("--list") => return ExitCode::SUCCESS,
        _ => {}
    }
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    let directory =
        tempfile::Builder::new().prefix("oaas-node-test").tempdir().expect("a temporary directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime of tokio");
    let options = runtime.block_on(options(directory.path()));
    let before = Snapshot::take();

    let outcome = std::panic::catch_unwind(|| runtime.block_on(everything(&options)));
    let down = Instant::now();
    let removed = runtime.block_on(oaas_node::down(&options, Files::Remove, &Task::silent()));
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }

    let removed = removed.expect("down");
    println!("down: {:.1} s, {} changes undone", down.elapsed().as_secs_f64(), removed.len());
    assert!(removed.iter().any(|change| matches!(change, Change::Processes { .. })));
    assert!(!options.layout().root().exists(), "files are left");
    before.compare(&Snapshot::take());
    println!("the host is as it was");
    ExitCode::SUCCESS
}

async fn options(directory: &Path) -> Options {
    let cache_dir = std::env::var_os("OAAS_CACHE_DIR")
        .map(Into::into)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache/oaas")))
        .expect("a home directory");
    let built = oaas_node::build_programs(&cache_dir, &Task::silent()).await.expect("programs");
    Options {
        instance: "nodetest".parse().expect("a name"),
        // The cloud's tier has the addresses of the name.
        prefix: Some("10.213.0.0/16".parse().expect("a prefix")),
        nodes: 1,
        ports: Vec::new(),
        external: vec![ExternalNetwork { router: EXTERNAL.parse().expect("an address"), vlan: None }],
        state_dir: directory.join("state"),
        images: image_cache(&directory.join("images"), &built.pause()),
        cache_dir,
        program: std::env::current_exe().expect("this program"),
    }
}

async fn everything(options: &Options) {
    let report = oaas_node::preflight(options).await;
    report.require_fit().expect("this machine is fit");

    let first = comes_up(options).await;
    a_second_up_changes_nothing(options).await;
    two_at_the_same_time_are_refused(options).await;
    let client = oaas_node::client(&first.kubeconfig).await.expect("a client");
    pods_run_and_have_volumes(options, &client).await;
    secrets_are_encrypted_on_disk(options, &client).await;
    names_of_the_cluster_resolve(options);
    ports_are_published(options).await;
    policies::network_policies_hold(options, &client).await;
    crashed_parts_come_back(options).await;
    a_reboot_keeps_everything(options, &client).await;
    a_deleted_volume_is_gone(options, &client).await;
}

async fn comes_up(options: &Options) -> Cluster {
    let cluster = oaas_node::up(options, &Task::silent()).await.expect("up");
    println!("up: node Ready after {:.2} s", cluster.took.as_secs_f64());
    assert!(cluster.changed);
    assert!(cluster.took < Duration::from_secs(60), "far from the 5 s aimed at");
    let changes = oaas_node::host_changes(options).expect("changes");
    assert!(changes.len() > 10, "{changes:?}");
    cluster
}

async fn a_second_up_changes_nothing(options: &Options) {
    let before = status(options);
    let cluster = oaas_node::up(options, &Task::silent()).await.expect("up");
    println!("second up: {:.2} s", cluster.took.as_secs_f64());
    assert!(!cluster.changed);
    assert_eq!(before, status(options), "a process was restarted");
}

async fn two_at_the_same_time_are_refused(options: &Options) {
    let task = Task::silent();
    let (one, two) = tokio::join!(oaas_node::up(options, &task), oaas_node::up(options, &task));
    let refused = [one.err(), two.err()].into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(refused.len(), 1, "exactly one of them is refused");
    assert_eq!(refused[0].kind(), Kind::Busy);
    assert!(refused[0].to_string().contains(&std::process::id().to_string()), "{}", refused[0]);
}

fn status(options: &Options) -> Status {
    oaas_node::status(options).expect("status")
}

/// Which process each service of the first node is.
fn services(options: &Options) -> BTreeMap<String, i32> {
    let status = status(options);
    let running = |record: &oaas_node::Record| match record.state {
        State::Running { process } => Some((record.service.name.clone(), process.pid)),
        _ => None,
    };
    status.nodes[0].services.iter().filter_map(running).collect()
}

async fn pods_run_and_have_volumes(options: &Options, client: &Client) {
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "holder" },
        "spec": {
            "containers": [{
                "name": "pause", "image": options.images.pause,
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            }],
            "securityContext": { "runAsUser": 42424, "fsGroup": 42424 },
            "terminationGracePeriodSeconds": 1,
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
        },
    });
    let began = Instant::now();
    let parameters = PostParams::default();
    claims.create(&parameters, &serde_json::from_value(claim).expect("a claim")).await.expect("a claim");
    wait_for("the service account of the namespace", Duration::from_secs(20), async || {
        let pod = serde_json::from_value(pod.clone()).expect("a pod");
        pods.create(&parameters, &pod).await.map(|_| ()).map_err(|error| error.to_string())
    })
    .await;
    running(&pods).await;
    println!("a pod with a new volume runs after {:.2} s", began.elapsed().as_secs_f64());
    let volumes: Vec<_> = fs::read_dir(volumes(options)).expect("volumes").flatten().collect();
    assert_eq!(volumes.len(), 1);
    assert!(volumes[0].file_name().to_string_lossy().starts_with("default-data-pvc-"));
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        volumes[0].metadata().expect("metadata").gid(),
        42424,
        "the volume has the group the pod asked for"
    );
    fs::write(volumes[0].path().join("kept"), "data").expect("a file in the volume");
}

fn volumes(options: &Options) -> std::path::PathBuf {
    options.layout().node(Node::FIRST).var().join("lib/oaas-volumes")
}

async fn running(pods: &Api<Pod>) {
    wait_for("the pod", Duration::from_secs(90), async || {
        let pod = pods.get("holder").await.map_err(|error| error.to_string())?;
        let status = pod.status.unwrap_or_default();
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if ready { Ok(()) } else { Err(serde_json::to_string(&status).expect("JSON")) }
    })
    .await;
}

async fn secrets_are_encrypted_on_disk(options: &Options, client: &Client) {
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let parameters = PostParams::default();
    let secret = json!({ "metadata": { "name": "s" }, "stringData": { "word": SECRET } });
    let map = json!({ "metadata": { "name": "m" }, "data": { "word": "not-a-secret-at-all" } });
    secrets.create(&parameters, &serde_json::from_value(secret).expect("a secret")).await.expect("a secret");
    maps.create(&parameters, &serde_json::from_value(map).expect("a map")).await.expect("a map");
    let etcd = options.layout().node(Node::FIRST).var().join("lib/etcd-data");
    let holds = |text: &str| {
        let status = Command::new("grep").args(["-rqa", text]).arg(&etcd).status().expect("grep");
        status.success()
    };
    assert!(holds("not-a-secret-at-all"), "the look into etcd's files would not find a secret either");
    assert!(!holds(SECRET), "a Secret lies in etcd's files as plain text");
}

/// Asks the cluster's DNS by hand: a query of one question, type A.
fn names_of_the_cluster_resolve(options: &Options) {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in "kubernetes.default.svc.cluster.local".split('.') {
        query.push(u8::try_from(label.len()).expect("a short label"));
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a time-out");
    let server = options.subnets().node(Node::FIRST);
    socket.send_to(&query, (server, 53)).expect("sending");
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).expect("an answer of the cluster's DNS");
    let address = options.subnets().api_service().octets();
    assert_eq!(answer[length - 4..length], address, "the address of the API server");
}

async fn ports_are_published(options: &Options) {
    let address = SocketAddr::from(PUBLISHED.listen);
    let patience = Duration::from_secs(2);
    assert!(TcpStream::connect_timeout(&address, patience).is_err(), "nothing is published yet");
    oaas_node::publish_ports(options, &[PUBLISHED], &Task::silent()).await.expect("publishing");
    TcpStream::connect_timeout(&address, patience).expect("the published port");
    let answers = |router: &str| {
        let router: ipnet::Ipv4Net = router.parse().expect("an address");
        TcpStream::connect_timeout(&SocketAddr::from((router.addr(), PUBLISHED.listen.port())), patience)
            .is_ok()
    };
    assert!(answers(EXTERNAL), "the same port on the external bridge");
    let network = |router: &str| ExternalNetwork { router: router.parse().expect("an address"), vlan: None };
    // Untagged ones: not every kernel has links with tags.
    let next = [network(NEXT_EXTERNAL), network(OTHER_EXTERNAL)];
    for _ in 0..2 {
        oaas_node::route_external(options, &next, &Task::silent()).await.expect("other external networks");
        assert!(answers(NEXT_EXTERNAL) && answers(OTHER_EXTERNAL), "the host is the router of the new ones");
        assert!(!answers(EXTERNAL), "and no more of the former one");
    }
    oaas_node::route_external(options, &options.external, &Task::silent()).await.expect("back");
    assert!(answers(EXTERNAL) && !answers(NEXT_EXTERNAL) && !answers(OTHER_EXTERNAL), "and back");
}

async fn crashed_parts_come_back(options: &Options) {
    let before = services(options);
    let first = status(options).nodes[0].process.expect("a first process");
    // The node's own /proc has its own ids; the host's are found by the program's arguments.
    let host_pid = |words: &[&str]| common::find_process(first.pid, words).expect("a process of the node");

    kill(Pid::from_raw(host_pid(&["node-supervise"])), Signal::SIGKILL).expect("killing the supervisor");
    wait_for("a new supervisor", Duration::from_secs(10), async || {
        common::find_process(first.pid, &["node-supervise"]).map(|_| ()).ok_or_else(|| "none".to_owned())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(before, services(options), "a new supervisor restarts nothing");

    let began = Instant::now();
    kill(Pid::from_raw(host_pid(&["kube", "kube-proxy"])), Signal::SIGKILL).expect("killing kube-proxy");
    wait_for("kube-proxy", Duration::from_secs(15), async || {
        let now = services(options);
        if now.len() == before.len() && now["kube-proxy"] != before["kube-proxy"] {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    println!("a killed service is back after {:.2} s", began.elapsed().as_secs_f64());
    let same = services(options).iter().filter(|(name, pid)| before.get(*name) == Some(*pid)).count();
    assert_eq!(same, before.len() - 1, "only what was killed is started again");
}

async fn a_reboot_keeps_everything(options: &Options, client: &Client) {
    let first = status(options).nodes[0].process.expect("a first process");
    let namespace = common::pid_namespace(first.pid).expect("its PID namespace");
    let inside = common::processes_in(&namespace).len();
    assert!(inside > 10, "{inside} processes");
    kill(Pid::from_raw(first.pid), Signal::SIGKILL).expect("killing the first process");
    wait_for("the end of all processes", Duration::from_secs(10), async || {
        let left = common::processes_in(&namespace);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    assert!(!status(options).is_running());

    let cluster = oaas_node::up(options, &Task::silent()).await.expect("up");
    println!("up after a kill of the first process: {:.2} s", cluster.took.as_secs_f64());
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    maps.get("m").await.expect("what was in etcd");
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    // Its old status says that it runs; the kubelet finds out that it does not and starts it again.
    wait_for("the pod's restart", Duration::from_secs(60), async || {
        let pod = pods.get("holder").await.map_err(|error| error.to_string())?;
        let restarts: i32 = pod
            .status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten())
            .map(|status| status.restart_count)
            .sum();
        if restarts > 0 { Ok(()) } else { Err("not restarted".to_owned()) }
    })
    .await;
    running(&pods).await;
    let volume = fs::read_dir(volumes(options)).expect("volumes").flatten().next().expect("a volume");
    assert_eq!(fs::read_to_string(volume.path().join("kept")).expect("the file"), "data");
    // Ports stay published.
    TcpStream::connect_timeout(&SocketAddr::from(PUBLISHED.listen), Duration::from_secs(2))
        .expect("the port");
}

async fn a_deleted_volume_is_gone(options: &Options, client: &Client) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(client.clone());
    pods.delete("holder", &DeleteParams::default()).await.expect("deleting the pod");
    claims.delete("data", &DeleteParams::default()).await.expect("deleting the claim");
    wait_for("the volume's directory to go", Duration::from_secs(60), async || {
        let left = fs::read_dir(volumes(options)).map_err(|error| error.to_string())?.count();
        if left == 0 { Ok(()) } else { Err(format!("{left} left")) }
    })
    .await;
}
