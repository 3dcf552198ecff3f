//! The configuration files of a node, each a pure function of the [`Facts`] about it.
//!
//! Kubernetes reads JSON where it reads YAML, so its files are JSON; people rarely read them, and one writer is
//! enough.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::instance::Node;
use crate::options::inside;
use crate::subnets::Subnets;

/// The port of the API server on the first node.
pub const API_PORT: u16 = 6443;
/// The port of the read-only registry on the first node.
pub const REGISTRY_PORT: u16 = 5000;
/// The host name in references of images that this registry serves.
pub const REGISTRY: &str = "oaas.local";
/// The socket of the container runtime.
pub const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// Everything that a node's configuration depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The cluster's addresses.
    pub subnets: Subnets,
    /// The node.
    pub node: Node,
    /// How many nodes the cluster has.
    pub nodes: u8,
    /// What names the built programs: their directory below [`inside::KUBERNETES`].
    pub programs: String,
    /// The image of the program that holds a pod's namespaces open.
    pub pause: String,
    /// Whether the machine lets us lower `oom_score_adj` (`CAP_SYS_RESOURCE`).
    pub may_lower_oom_score: bool,
    /// The machine's memory, in bytes.
    pub memory: u64,
    /// DNS servers that a node can reach: the host's, without those on its loopback.
    pub dns: Vec<Ipv4Addr>,
}

impl Facts {
    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.subnets.node(self.node)
    }

    /// The address of the control plane.
    pub fn first(&self) -> Ipv4Addr {
        self.subnets.node(Node::FIRST)
    }

    /// The URL of the API server.
    pub fn api(&self) -> String {
        format!("https://{}:{API_PORT}", self.first())
    }

    /// The directory of the built programs, as the node sees it.
    pub fn bin(&self) -> String {
        format!("{}/{}", inside::KUBERNETES, self.programs)
    }
}

/// A path in the node's configuration, as the node sees it.
pub fn path(name: &str) -> String {
    format!("{}/{name}", inside::CONFIG)
}

/// The files of a node, by their path in its configuration directory. None of them holds a secret.
pub fn files(facts: &Facts) -> BTreeMap<&'static str, String> {
    let mut files = BTreeMap::from([
        ("hostname", format!("{}\n", facts.node)),
        ("hosts", hosts(facts)),
        ("resolv.conf", resolv_conf(&facts.dns)),
        ("kubelet.json", pretty(&kubelet(facts))),
        ("kube-proxy.json", pretty(&kube_proxy(facts))),
        ("containerd.toml", containerd(facts)),
        ("registry/oaas.local/hosts.toml", registry(facts)),
        ("cni/10-pods.conflist", pretty(&cni(facts))),
        ("nftables", crate::network::node_table(&facts.subnets)),
    ]);
    if facts.node.is_first() {
        files.insert("authentication.json", pretty(&authentication()));
        files.insert("scheduler.json", pretty(&scheduler()));
        files.insert("Corefile", corefile(facts));
    }
    files
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn hosts(facts: &Facts) -> String {
    let subnets = &facts.subnets;
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    for node in Node::all(facts.nodes) {
        text.push_str(&format!("{} {node}\n", subnets.node(node)));
    }
    text.push_str(&format!("{} {REGISTRY}\n", facts.first()));
    text
}

fn resolv_conf(dns: &[Ipv4Addr]) -> String {
    dns.iter().map(|server| format!("nameserver {server}\n")).collect()
}

/// Memory that the kubelet keeps free at any price, in MiB.
const EVICTION_MEBIBYTES: u64 = 128;

/// Memory that the pods of a cluster of this many nodes may take on this machine, in MiB.
pub fn memory_for_pods(nodes: u8) -> u64 {
    let memory = crate::machine::memory();
    let node = (memory >> 20).saturating_sub(reserved_mebibytes(memory, nodes) + EVICTION_MEBIBYTES);
    node * u64::from(nodes.max(1))
}

/// How much memory of the machine is not for pods of this node, in MiB: other nodes' shares, the machine's own
/// needs, and the guests that QEMU runs outside of pods.
fn reserved_mebibytes(memory: u64, nodes: u8) -> u64 {
    const MEBIBYTE: u64 = 1 << 20;
    let memory = memory / MEBIBYTE;
    let machine = 1024.min(memory / 8);
    let share = (memory - machine) / u64::from(nodes.max(1));
    let guests = share / 4;
    memory - (share - guests)
}

/// The kernel's inclination to kill a process of Kubernetes when memory runs out.
fn oom_score(facts: &Facts) -> i32 {
    if facts.may_lower_oom_score { -999 } else { 0 }
}

fn kubelet(facts: &Facts) -> Value {
    let certificate = format!("pki/kubelet-{}", facts.node);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": facts.address(),
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": path("pki/ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": path(&format!("{certificate}.crt")),
        "tlsPrivateKeyFile": path(&format!("{certificate}.key")),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        // Swap of the machine is its owner's choice; pods do not use it.
        "failSwapOn": false,
        "memorySwap": { "swapBehavior": "NoSwap" },
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
        "clusterDNS": [facts.subnets.dns_service()],
        "clusterDomain": "cluster.local",
        "resolvConf": path("resolv.conf"),
        "maxPods": 250,
        "serializeImagePulls": false,
        "maxParallelImagePulls": 4,
        "registryPullQPS": 0,
        // Images come from this machine's own cache and nothing else: never remove them to make room.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // The node's disk is the machine's, shared with all else on it. The usual tenth of a large disk may be in
        // use for years with hundreds of gigabytes free; what matters is that writes go on.
        "evictionHard": {
            "memory.available": format!("{EVICTION_MEBIBYTES}Mi"),
            "nodefs.available": "1Gi",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
        "evictionPressureTransitionPeriod": "30s",
        // What a container needed may be back at any moment (a database, a port): five minutes are too long for a cloud.
        "crashLoopBackOff": { "maxContainerRestartPeriod": "15s" },
        "enforceNodeAllocatable": ["pods"],
        "systemReserved": { "memory": format!("{}Mi", reserved_mebibytes(facts.memory, facts.nodes)) },
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "eventRecordQPS": 0,
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 3,
        "enableProfilingHandler": false,
        "oomScoreAdj": oom_score(facts),
        "healthzPort": 10248,
        "readOnlyPort": 0,
    })
}

fn kube_proxy(facts: &Facts) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": facts.node.to_string(),
        "clusterCIDR": facts.subnets.pods,
        "clientConnection": { "kubeconfig": path("proxy.kubeconfig"), "qps": 100.0, "burst": 200 },
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": oom_score(facts),
        // The connection tracking table of a network namespace is sized by the machine.
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
        "nftables": { "minSyncPeriod": "100ms", "syncPeriod": "30s" },
    })
}

fn scheduler() -> Value {
    json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": { "leaderElect": false },
        "clientConnection": { "kubeconfig": path("scheduler.kubeconfig"), "qps": 100.0, "burst": 200 },
        "enableProfiling": false,
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 3,
    })
}

/// Without a certificate one may ask whether the API server is ready, and nothing else.
fn authentication() -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {
            "enabled": true,
            "conditions": [{ "path": "/livez" }, { "path": "/readyz" }, { "path": "/healthz" }],
        },
    })
}

fn cni(facts: &Facts) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                // The node's own table does it once for all pods.
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": facts.subnets.pods_of(facts.node) }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    // In memory: no pod's network outlives the node's first process, so no lease may either.
                    "dataDir": "/run/cni/networks",
                },
            },
            { "type": "portmap", "backend": "nftables", "capabilities": { "portMappings": true } },
        ],
    })
}

fn containerd(facts: &Facts) -> String {
    let bin = facts.bin();
    let config = json!({
        "version": 3,
        "root": "/var/lib/containerd",
        "state": "/run/containerd",
        "oom_score": oom_score(facts),
        "disabled_plugins": [
            "io.containerd.internal.v1.tracing",
            "io.containerd.nri.v1.nri",
            "io.containerd.snapshotter.v1.blockfile",
            "io.containerd.snapshotter.v1.btrfs",
            "io.containerd.snapshotter.v1.devmapper",
            "io.containerd.snapshotter.v1.erofs",
            "io.containerd.snapshotter.v1.zfs",
            "io.containerd.tracing.processor.v1.otlp",
        ],
        "grpc": { "address": CONTAINERD },
        "plugins": {
            "io.containerd.cri.v1.images": {
                "snapshotter": "overlayfs",
                "max_concurrent_downloads": 4,
                "pinned_images": { "sandbox": facts.pause },
                "registry": { "config_path": path("registry") },
            },
            "io.containerd.cri.v1.runtime": {
                // Without CAP_SYS_RESOURCE runc fails on any score below the one it has.
                "restrict_oom_score_adj": !facts.may_lower_oom_score,
                // Only for a runtime that is asked for usage, as the kubelet asks none: it reads control groups itself. Each
                // second, as is usual, all shims take a twentieth of a core, and containerd as much again.
                "stats_collect_period": "1m",
                "stats_retention_period": "5m",
                "cni": { "bin_dirs": [bin], "conf_dir": path("cni") },
                "containerd": {
                    "default_runtime_name": "runc",
                    "runtimes": { "runc": {
                        "runtime_type": "io.containerd.runc.v2",
                        "options": { "BinaryName": format!("{bin}/runc"), "SystemdCgroup": false },
                    }},
                },
            },
        },
    });
    // Maps of strings, numbers, flags and lists: TOML can say all of them.
    toml::to_string(&config).unwrap_or_else(|error| unreachable!("a constant shape is not TOML: {error}"))
}

fn registry(facts: &Facts) -> String {
    let server = format!("https://{}:{REGISTRY_PORT}", facts.first());
    let ca = path("pki/ca.crt");
    format!(
        "server = \"{server}\"\nca = \"{ca}\"\n\n[host.\"{server}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = \"{ca}\"\n"
    )
}

/// Names of the cluster have a server block of their own, so that they never wait for servers elsewhere.
fn corefile(facts: &Facts) -> String {
    let bind = facts.address();
    let kubeconfig = path("coredns.kubeconfig");
    let mut text = format!(
        "cluster.local in-addr.arpa ip6.arpa {{
  bind {bind}
  errors
  health 127.0.0.1:8180
  ready 127.0.0.1:8181
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    kubeconfig {kubeconfig}
    pods disabled
    ttl 5
  }}
  reload
}}
. {{
  bind {bind}
  errors
"
    );
    if !facts.dns.is_empty() {
        let servers: Vec<String> = facts.dns.iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "  forward . {} {{\n    max_concurrent 500\n  }}\n  cache 30\n  loop\n",
            servers.join(" ")
        ));
    }
    text.push_str("  reload\n}\n");
    text
}

/// The DNS servers in the text of a `resolv.conf` that a node can reach: IPv4, and not on the host's loopback.
pub fn reachable_servers(resolv_conf: &str) -> Vec<Ipv4Addr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|server| server.trim().parse::<Ipv4Addr>().ok())
        .filter(|server| !server.is_loopback() && !server.is_unspecified())
        .take(3)
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn facts() -> Facts {
        Facts {
            subnets: Subnets::of(&crate::Instance::default(), None),
            node: Node::FIRST,
            nodes: 1,
            programs: "0123".into(),
            pause: "oaas.local/pause@sha256:00".into(),
            may_lower_oom_score: false,
            memory: 24 << 30,
            dns: vec!["192.0.2.53".parse().unwrap()],
        }
    }

    #[test]
    fn the_files_of_the_first_node() {
        for (name, text) in files(&facts()) {
            insta::assert_snapshot!(format!("first-{}", name.replace(['/', '.'], "-")), text);
        }
    }

    #[test]
    fn another_node_has_its_own_addresses_and_no_control_plane() {
        let second = Node::all(2).nth(1).unwrap();
        let files = files(&Facts { node: second, nodes: 2, ..facts() });
        assert!(!files.contains_key("Corefile"));
        assert!(files["cni/10-pods.conflist"].contains("10.88.2.0/24"));
        assert!(files["kubelet.json"].contains("10.87.0.12"));
        assert!(files["registry/oaas.local/hosts.toml"].contains("10.87.0.11:5000"));
        assert!(files["hosts"].contains("10.87.0.11 node1\n10.87.0.12 node2"));
    }

    #[test]
    fn nodes_share_the_memory_of_their_machine() {
        let memory = 24 << 30;
        let allocatable = |nodes| memory / (1 << 20) - reserved_mebibytes(memory, nodes);
        assert_eq!(allocatable(1), 17664);
        assert!(allocatable(3) * 3 <= allocatable(1));
        assert!(reserved_mebibytes(512 << 20, 3) < 512);
    }

    #[test]
    fn servers_on_the_hosts_loopback_are_of_no_use_to_a_node() {
        let text = "search x\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver fe80::1\n";
        assert_eq!(reachable_servers(text), ["192.0.2.1".parse::<Ipv4Addr>().unwrap()]);
    }

    #[test]
    fn without_servers_elsewhere_names_of_the_cluster_still_resolve() {
        let text = corefile(&Facts { dns: Vec::new(), ..facts() });
        assert!(text.contains("kubernetes cluster.local") && !text.contains("forward"));
    }
}
