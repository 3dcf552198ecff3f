//! Which processes run in a node, as data for its supervisor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::{CONTAINERD, Facts, REGISTRY_PORT, path};
use crate::instance::Node;
use crate::options::inside;

/// A process that the supervisor keeps running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its name, also of its log.
    pub name: String,
    /// Program and arguments. No secrets.
    pub command: Vec<String>,
    /// Variables of its environment beside `PATH`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What must answer before it is worth starting.
    #[serde(default)]
    pub after: Vec<Probe>,
    /// The kernel's inclination to kill it when memory runs out, from -1000 to 1000. Best effort.
    #[serde(default)]
    pub oom_score_adj: Option<i16>,
    /// Changes with the content of the files it reads at its start, so that it is restarted when they change.
    #[serde(default)]
    pub fingerprint: String,
}

/// A question whose answer says that something is up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "probe")]
pub enum Probe {
    /// A GET answers 200.
    Https {
        /// What to get.
        url: String,
        /// The file of the authority that signed the server's certificate.
        ca: String,
    },
    /// A Unix socket takes connections.
    Socket {
        /// Its path.
        path: String,
    },
}

/// Memory that a Go program should stay below if it can: it collects garbage harder as it comes near.
fn memory_limit(mebibytes: u32) -> BTreeMap<String, String> {
    BTreeMap::from([("GOMEMLIMIT".to_owned(), format!("{mebibytes}MiB"))])
}

/// The services of a node. `files` is the content of its configuration, by path, for their fingerprints.
pub fn services(facts: &Facts, files: &BTreeMap<String, Vec<u8>>) -> Vec<Service> {
    let mut services = vec![containerd(facts)];
    if facts.node.is_first() {
        services.extend([etcd(facts), apiserver(facts), controller_manager(facts), scheduler(facts)]);
        services.extend([coredns(facts), images(facts)]);
    }
    services.extend([kubelet(facts), kube_proxy(facts), node_controllers(facts)]);
    for service in &mut services {
        service.fingerprint = fingerprint(service, files);
    }
    services
}

/// A hash of the configuration files that a service names, and of those in directories that it names.
fn fingerprint(service: &Service, files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    let extra: &[&str] = match service.name.as_str() {
        // Named in files that its command names.
        "containerd" => &["cni", "registry"],
        "kubelet" => &["pki/kubelet", "resolv.conf", "pki/ca.crt"],
        "kube-proxy" => &["proxy.kubeconfig"],
        "kube-scheduler" => &["scheduler.kubeconfig"],
        _ => &[],
    };
    for (name, content) in files {
        let named = service.command.iter().any(|argument| argument.ends_with(&path(name)));
        if named || extra.iter().any(|start| name.starts_with(start)) {
            hash.update(name.as_bytes());
            hash.update(content);
        }
    }
    hex::encode(&hash.finalize()[..8])
}

fn service(name: &str, command: Vec<String>) -> Service {
    Service {
        name: name.into(),
        command,
        environment: BTreeMap::new(),
        after: Vec::new(),
        oom_score_adj: None,
        fingerprint: String::new(),
    }
}

fn kube(facts: &Facts, program: &str, arguments: &[&str]) -> Service {
    let start = [format!("{}/kube", facts.bin()), program.to_owned()];
    service(
        program,
        start.into_iter().chain(arguments.iter().map(|argument| (*argument).to_owned())).collect(),
    )
}

fn api(facts: &Facts) -> Probe {
    Probe::Https { url: format!("{}/readyz", facts.api()), ca: path("pki/ca.crt") }
}

fn containerd(facts: &Facts) -> Service {
    let command =
        vec![format!("{}/containerd", facts.bin()), format!("--config={}", path("containerd.toml"))];
    Service { oom_score_adj: Some(-999), ..service("containerd", command) }
}

fn etcd(facts: &Facts) -> Service {
    let arguments = [
        "--name=node1",
        // Not named like a program: see the recipe's main.go.
        "--data-dir=/var/lib/etcd-data",
        "--listen-client-urls=https://127.0.0.1:2379",
        "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-peer-urls=https://127.0.0.1:2380",
        "--initial-advertise-peer-urls=https://127.0.0.1:2380",
        "--initial-cluster=node1=https://127.0.0.1:2380",
        "--listen-metrics-urls=http://127.0.0.1:2381",
        "--cert-file=/run/oaas/config/pki/etcd.crt",
        "--key-file=/run/oaas/config/pki/etcd.key",
        "--trusted-ca-file=/run/oaas/config/pki/etcd-ca.crt",
        "--client-cert-auth",
        "--peer-cert-file=/run/oaas/config/pki/etcd.crt",
        "--peer-key-file=/run/oaas/config/pki/etcd.key",
        "--peer-trusted-ca-file=/run/oaas/config/pki/etcd-ca.crt",
        "--peer-client-cert-auth",
        "--quota-backend-bytes=4294967296",
        "--snapshot-count=10000",
        "--log-level=warn",
    ];
    Service { environment: memory_limit(250), oom_score_adj: Some(-998), ..kube(facts, "etcd", &arguments) }
}

fn apiserver(facts: &Facts) -> Service {
    let advertise = format!("--advertise-address={}", facts.address());
    let services = format!("--service-cluster-ip-range={}", facts.subnets.services);
    let arguments = [
        "--secure-port=6443",
        &advertise,
        &services,
        "--etcd-servers=https://127.0.0.1:2379",
        "--etcd-cafile=/run/oaas/config/pki/etcd-ca.crt",
        "--etcd-certfile=/run/oaas/config/pki/apiserver-etcd-client.crt",
        "--etcd-keyfile=/run/oaas/config/pki/apiserver-etcd-client.key",
        "--encryption-provider-config=/run/oaas/config/pki/encryption.json",
        "--client-ca-file=/run/oaas/config/pki/ca.crt",
        "--tls-cert-file=/run/oaas/config/pki/apiserver.crt",
        "--tls-private-key-file=/run/oaas/config/pki/apiserver.key",
        "--kubelet-certificate-authority=/run/oaas/config/pki/ca.crt",
        "--kubelet-client-certificate=/run/oaas/config/pki/apiserver-kubelet-client.crt",
        "--kubelet-client-key=/run/oaas/config/pki/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--requestheader-client-ca-file=/run/oaas/config/pki/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--proxy-client-cert-file=/run/oaas/config/pki/front-proxy-client.crt",
        "--proxy-client-key-file=/run/oaas/config/pki/front-proxy-client.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--service-account-key-file=/run/oaas/config/pki/service-accounts.pub",
        "--service-account-signing-key-file=/run/oaas/config/pki/service-accounts.key",
        "--authentication-config=/run/oaas/config/authentication.json",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        "--profiling=false",
    ];
    Service {
        environment: memory_limit(700),
        oom_score_adj: Some(-998),
        ..kube(facts, "kube-apiserver", &arguments)
    }
}

fn controller_manager(facts: &Facts) -> Service {
    let pods = format!("--cluster-cidr={}", facts.subnets.pods);
    let kubeconfig = path("controller-manager.kubeconfig");
    let [kubeconfig, authentication, authorization] =
        ["", "authentication-", "authorization-"].map(|prefix| format!("--{prefix}kubeconfig={kubeconfig}"));
    let arguments = [
        &kubeconfig,
        &authentication,
        &authorization,
        &pods,
        "--allocate-node-cidrs=false",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials",
        "--service-account-private-key-file=/run/oaas/config/pki/service-accounts.key",
        "--root-ca-file=/run/oaas/config/pki/ca.crt",
        "--cluster-signing-cert-file=/run/oaas/config/pki/ca.crt",
        "--cluster-signing-key-file=/run/oaas/config/pki/ca.key",
        "--kube-api-qps=100",
        "--kube-api-burst=200",
        "--profiling=false",
    ];
    Service {
        environment: memory_limit(200),
        after: vec![api(facts)],
        ..kube(facts, "kube-controller-manager", &arguments)
    }
}

fn scheduler(facts: &Facts) -> Service {
    let kubeconfig = path("scheduler.kubeconfig");
    let [authentication, authorization] =
        ["authentication", "authorization"].map(|what| format!("--{what}-kubeconfig={kubeconfig}"));
    let config = format!("--config={}", path("scheduler.json"));
    Service {
        environment: memory_limit(120),
        after: vec![api(facts)],
        ..kube(
            facts,
            "kube-scheduler",
            &[&config, &authentication, &authorization, "--bind-address=127.0.0.1"],
        )
    }
}

fn coredns(facts: &Facts) -> Service {
    let config = path("Corefile");
    Service {
        environment: memory_limit(100),
        after: vec![api(facts)],
        ..kube(facts, "coredns", &["-conf", &config])
    }
}

fn images(facts: &Facts) -> Service {
    let command = [
        format!("{}/current", inside::PROGRAMS),
        "node-supervise".to_owned(),
        "images".to_owned(),
        format!("--listen={}:{REGISTRY_PORT}", facts.address()),
        format!("--cache={}", inside::IMAGES),
        format!("--certificate={}", path("pki/images.crt")),
        format!("--key={}", path("pki/images.key")),
    ];
    service("images", command.into())
}

fn kubelet(facts: &Facts) -> Service {
    let mut arguments = vec![
        format!("--config={}", path("kubelet.json")),
        format!("--kubeconfig={}", path("kubelet.kubeconfig")),
        format!("--hostname-override={}", facts.node),
        format!("--node-ip={}", facts.address()),
        "--root-dir=/var/lib/kubelet".to_owned(),
    ];
    arguments.push(format!("--node-labels={}", labels(facts.node).join(",")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Service {
        environment: memory_limit(200),
        after: vec![api(facts), Probe::Socket { path: CONTAINERD.into() }],
        oom_score_adj: Some(-999),
        ..kube(facts, "kubelet", &arguments)
    }
}

/// The labels that a node has from its first registration on. Removed by a user they stay removed. All nodes of the
/// embedded cluster are alike; the control plane's is told by Kubernetes' own label, set by `up`.
pub fn labels(_node: Node) -> [&'static str; 3] {
    ["controller=true", "compute=true", "network=true"]
}

fn kube_proxy(facts: &Facts) -> Service {
    let config = format!("--config={}", path("kube-proxy.json"));
    Service {
        environment: memory_limit(100),
        after: vec![api(facts)],
        ..kube(facts, "kube-proxy", &[&config])
    }
}

/// Volumes, and what network policies say.
fn node_controllers(facts: &Facts) -> Service {
    let arguments = [
        format!("--kubeconfig={}", path("node-controllers.kubeconfig")),
        format!("--node={}", facts.node),
        format!("--volumes={}", inside::VOLUMES),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Service {
        environment: memory_limit(60),
        after: vec![api(facts)],
        ..kube(facts, "node-controllers", &arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::facts;

    fn content() -> BTreeMap<String, Vec<u8>> {
        crate::config::files(&facts())
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.into_bytes()))
            .collect()
    }

    #[test]
    fn the_services_of_the_first_node() {
        insta::assert_json_snapshot!(services(&facts(), &BTreeMap::new()));
    }

    #[test]
    fn another_node_has_no_control_plane() {
        let second = Node::all(2).nth(1).unwrap();
        let services = services(&Facts { node: second, nodes: 2, ..facts() }, &BTreeMap::new());
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["containerd", "kubelet", "kube-proxy", "node-controllers"]);
    }

    #[test]
    fn a_changed_file_changes_those_that_read_it_and_no_others() {
        let before = services(&facts(), &content());
        let mut changed = content();
        changed.insert("kubelet.json".into(), b"{}".to_vec());
        let after = services(&facts(), &changed);
        let differing: Vec<&str> =
            before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, _)| a.name.as_str()).collect();
        assert_eq!(differing, ["kubelet"]);
    }

    #[test]
    fn no_command_names_a_secret_but_by_its_file() {
        for service in services(&facts(), &content()) {
            for argument in &service.command {
                let lower = argument.to_lowercase();
                assert!(!lower.contains("password") && !lower.contains("token="), "{argument}");
            }
        }
    }
}
