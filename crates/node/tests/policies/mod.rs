//! What network policies do for pods of a real node, seen from inside the pods' network namespaces.

use std::fs::{self, File};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use nix::sched::{CloneFlags, setns};
use oaas_node::Options;
use serde_json::json;

use crate::common::wait_for;

/// The port that the policy opens, and another one that listens as well.
const OPEN: u16 = 8080;
const OTHER: u16 = 8081;
/// How long a connection may take before it counts as dropped: several times what the kernel waits before it tries again.
const PATIENCE: Duration = Duration::from_secs(4);

/// A policy closes a pod to all but a friend on a port, and opens it again when it goes.
pub async fn network_policies_hold(options: &Options, client: &Client) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let policies: Api<NetworkPolicy> = Api::default_namespaced(client.clone());
    let mut found = Vec::new();
    for name in ["server", "friend", "stranger"] {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "part": name } },
            "spec": {
                "containers": [{ "name": "pause", "image": options.images.pause }],
                "terminationGracePeriodSeconds": 0,
            },
        });
        let pod = serde_json::from_value(pod).expect("a pod");
        pods.create(&PostParams::default(), &pod).await.expect("creating a pod");
    }
    for name in ["server", "friend", "stranger"] {
        found.push(Place::of(&pods, name).await);
    }
    let [server, friend, stranger] = &found[..] else { unreachable!("three were asked for") };
    let listeners = [OPEN, OTHER].map(|port| server.listen(port));
    for from in [friend, stranger] {
        assert!(from.reaches(server, OPEN) && from.reaches(server, OTHER), "without a policy all is open");
    }

    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "server" },
        "spec": {
            "podSelector": { "matchLabels": { "part": "server" } },
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{ "podSelector": { "matchLabels": { "part": "friend" } } }],
                "ports": [{ "port": OPEN }],
            }],
        },
    });
    let policy = serde_json::from_value(policy).expect("a policy");
    policies.create(&PostParams::default(), &policy).await.expect("creating a policy");
    let began = Instant::now();
    wait_for("the policy to close the pod", Duration::from_secs(10), async || {
        if stranger.reaches(server, OPEN) { Err("it is open".to_owned()) } else { Ok(()) }
    })
    .await;
    println!(
        "a policy holds after {:.2} s at most",
        (began.elapsed().saturating_sub(PATIENCE)).as_secs_f64()
    );
    assert!(friend.reaches(server, OPEN), "whom a policy lets in comes in");
    assert!(!friend.reaches(server, OTHER), "on the ports that it says");
    assert!(server.reaches(server, OTHER), "a pod is not kept from itself");

    policies.delete("server", &DeleteParams::default()).await.expect("deleting the policy");
    wait_for("the pod to be open again", Duration::from_secs(10), async || {
        if stranger.reaches(server, OTHER) { Ok(()) } else { Err("it is closed".to_owned()) }
    })
    .await;
    drop(listeners);
    for name in ["server", "friend", "stranger"] {
        pods.delete(name, &DeleteParams::default()).await.expect("deleting a pod");
    }
}

/// Where a pod is: its address, and its network namespace.
struct Place {
    address: IpAddr,
    namespace: PathBuf,
}

impl Place {
    async fn of(pods: &Api<Pod>, name: &str) -> Self {
        let found = std::cell::Cell::new(None);
        wait_for("a pod's address", Duration::from_secs(60), async || {
            let pod = pods.get(name).await.map_err(|error| error.to_string())?;
            let (uid, status) = (pod.metadata.uid.unwrap_or_default(), pod.status.unwrap_or_default());
            let address: Option<IpAddr> = status.pod_ip.as_deref().and_then(|text| text.parse().ok());
            match address {
                Some(address) if status.phase.as_deref() == Some("Running") => {
                    found.set(Some((address, uid)));
                    Ok(())
                }
                _ => Err(format!("{:?}", status.phase)),
            }
        })
        .await;
        let (address, uid) = found.take().expect("waited for");
        // By the control group: pods of another instance's node may have the same addresses.
        let group = format!("/pod{uid}/");
        let processes = fs::read_dir("/proc").expect("processes").flatten().map(|entry| entry.path());
        let namespace = processes
            .filter(|path| {
                fs::read_to_string(path.join("cgroup")).is_ok_and(|groups| groups.contains(&group))
            })
            .map(|path| path.join("ns/net"))
            .next()
            .expect("a process of the pod");
        Self { address, namespace }
    }

    /// Listens in the pod until it is dropped; the kernel takes connections without anybody asking for them.
    fn listen(&self, port: u16) -> TcpListener {
        let address = self.address;
        inside(&self.namespace, move || TcpListener::bind((address, port)).expect("a listener in the pod"))
    }

    /// Does a connection from here to a port of another pod come about?
    fn reaches(&self, to: &Self, port: u16) -> bool {
        let to = SocketAddr::from((to.address, port));
        inside(&self.namespace, move || match TcpStream::connect_timeout(&to, PATIENCE) {
            Ok(stream) => stream.shutdown(Shutdown::Both).is_ok(),
            Err(_) => false,
        })
    }
}

/// Does something in a network namespace, on a thread of its own.
fn inside<T: Send + 'static>(namespace: &PathBuf, what: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = File::open(namespace).expect("a network namespace");
    let thread = std::thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("entering a network namespace");
        what()
    });
    thread.join().expect("a thread")
}
