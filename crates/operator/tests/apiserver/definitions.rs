//! Installation, schemas, rules and policies as the API server sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use oaas_feedback::Task;
use oaas_operator::{InstallOptions, install};
use oaas_plan::Image;

use crate::cluster::Cluster;
use crate::eventually;

fn cloud(name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: oaas.dev/v1alpha1\nkind: OpenStack\nmetadata: {{ name: {name}, namespace: default }}\nspec:\n  \
         release: \"2026.1\"\n{spec}"
    )
}

fn component(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: oaas.dev/v1alpha1\nkind: OpenStackComponent\nmetadata: {{ name: {name}, namespace: default }}\n\
         spec: {{ cloud: demo, component: {name}, {spec} }}\n"
    )
}

pub fn options() -> InstallOptions {
    // No kubelet runs here, so there is no rollout to wait for.
    let images = BTreeMap::from([("mariadb".into(), Image::opaque("oaas.local/mariadb@sha256:00"))]);
    InstallOptions { wait: Duration::ZERO, ..InstallOptions::new("oaas.local/oaas@sha256:00", images) }
}

#[tokio::test]
async fn definitions_rules_and_policies() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let first = install(&client, &options(), &Task::silent()).await.unwrap();
    assert_eq!(first.written.len(), 2 + 1 + 8 + 8, "{:?}", first.written);
    let second = install(&client, &options(), &Task::silent()).await.unwrap();
    assert_eq!(second.written, Vec::<String>::new(), "a second installation writes nothing");

    schemas(&cluster);
    rules(&cluster);
    scaling(&cluster);
    policies(&cluster).await;
}

fn schemas(cluster: &Cluster) {
    let refused = |text: &str, yaml: &str| {
        let (ok, output) = cluster.kubectl_file(&["apply", "--validate=strict"], yaml);
        assert!(!ok && output.contains(text), "{output}");
    };
    for example in ["minimal", "everything"] {
        let path = format!("{}/../api/examples/{example}.yaml", env!("CARGO_MANIFEST_DIR"));
        let yaml = std::fs::read_to_string(path).unwrap().replace("namespace: clouds", "namespace: default");
        let (ok, output) = cluster.kubectl_file(&["apply", "--validate=strict", "-n", "default"], &yaml);
        assert!(ok, "{output}");
    }
    refused("unknown field \"spec.servces\"", &cloud("a", "servces: {}"));
    let (_, table) = cluster.kubectl(&["get", "oscloud"]);
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAME", "RELEASE", "PHASE", "READY", "WAITING-FOR", "AGE"]);
    let (_, text) = cluster.kubectl(&["explain", "oscloud.spec.services.replicas"]);
    assert!(text.contains("How many instances run"), "{text}");
    let (_, text) = cluster.kubectl(&["explain", "oscomp.spec.quorum"]);
    assert!(text.contains("vote"), "{text}");
    let (_, text) =
        cluster.kubectl(&["get", "oscloud", "minimal", "demo", "-o", "jsonpath={.items[*].spec.profile}"]);
    assert!(text.contains("tiny"), "the default is filled in: {text}");
}

fn rules(cluster: &Cluster) {
    let refused = |yaml: &str, text: &str| {
        let (ok, output) = cluster.kubectl_file(&["apply"], yaml);
        assert!(!ok && output.contains(text), "wanted: {text}\ngot: {output}");
    };
    let external =
        |fields: &str| cloud("a", &format!("network: {{ external: [{{ name: ext-net, {fields} }}] }}"));
    refused(&cloud("my.cloud", ""), "the name of a cloud becomes part of DNS names");
    refused(&cloud("a", "services: { rabbitmq: { replicas: 2 } }"), "replicas must be odd");
    refused(&cloud("a", "profile: huge"), "Unsupported value: \"huge\"");
    refused(&external("cidr: 192.168.100.0"), "not a network");
    refused(&external("cidr: 192.168.100.0/24, gateway: 192.168.101.1"), "gateway is outside cidr");
    refused(&external("cidr: 192.168.100.0/24, kind: vlan"), "kind vlan needs vlan");
    refused(&external("cidr: 192.168.100.0/24, vlan: 5"), "vlan is set but kind is flat");
    refused(&external("cidr: 192.168.100.0/24, pool: 1.2.3.4-1.2.3.5, pools: []"), "pool is short for pools");
    let (ok, output) = cluster.kubectl_file(&["apply"], &cloud("b", "storage: { kind: file }"));
    assert!(ok, "{output}");
    refused(&cloud("b", "storage: { kind: nfs }"), "storage.kind cannot change");
}

fn scaling(cluster: &Cluster) {
    for yaml in [
        component("rabbitmq", "replicas: 1, quorum: true"),
        component("galera", "replicas: 1, members: 1, quorum: true"),
        component("nova-compute", "scaling: Nodes"),
        component("ovn-northd", "scaling: Fixed, replicas: 1"),
    ] {
        let (ok, output) = cluster.kubectl_file(&["apply"], &yaml);
        assert!(ok, "{output}");
    }
    let scale = |name: &str, count: u8| cluster.kubectl(&["scale", name, &format!("--replicas={count}")]);
    let (ok, output) = scale("oscomp/rabbitmq", 3);
    assert!(ok, "{output}");
    let (_, count) = cluster.kubectl(&["get", "oscomp", "rabbitmq", "-o", "jsonpath={.spec.replicas}"]);
    assert_eq!(count, "3");
    let (ok, output) = scale("oscomp/rabbitmq", 4);
    assert!(!ok && output.contains("replicas must be odd"), "{output}");
    let (ok, output) = scale("oscomp/galera", 3);
    assert!(
        !ok && output.contains("\"galera\" is invalid") && output.contains("join and leave one at a time"),
        "{output}"
    );
    let (ok, output) = scale("oscomp/ovn-northd", 3);
    assert!(!ok && output.contains("cannot be scaled"), "{output}");
    let yaml = component("nova-compute", "scaling: Nodes, replicas: 2");
    let (ok, output) = cluster.kubectl_file(&["apply"], &yaml);
    assert!(!ok && output.contains("once on each node"), "{output}");
}

async fn policies(cluster: &Cluster) {
    let stateful_set = |name: &str, label: &str, replicas: u8| {
        format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{ name: {name}, namespace: default, labels: {{ {label} }} }}\n\
             spec:\n  serviceName: x\n  replicas: {replicas}\n  selector: {{ matchLabels: {{ {label} }} }}\n  template: {{ \
             metadata: {{ labels: {{ {label} }} }}, spec: {{ containers: [{{ name: a, image: x }}] }} }}\n"
        )
    };
    let ours = stateful_set("galera", "oaas.dev/cloud: demo", 1);
    for yaml in [&ours, &stateful_set("theirs", "app: x", 1)] {
        let (ok, output) = cluster.kubectl_file(&["apply"], yaml);
        assert!(ok, "{output}");
    }
    // The API server takes a moment to learn of new policies.
    let hint = eventually("the policy about scale", 20, || async {
        let (ok, output) = cluster.kubectl(&["scale", "sts/galera", "--replicas=3"]);
        (!ok).then_some(output)
    })
    .await;
    assert!(hint.contains("kubectl scale -n default oscomp/galera --replicas=3"), "{hint}");
    let edited = stateful_set("galera", "oaas.dev/cloud: demo", 5);
    let output = eventually("the policy about replicas", 20, || async {
        let (ok, output) = cluster.kubectl_file(&["apply"], &edited);
        (!ok).then_some(output)
    })
    .await;
    assert!(output.contains("oscomp/galera --replicas=5"), "{output}");
    let patch = "{\"spec\":{\"members\":3,\"replicas\":3}}";
    let output = eventually("the policy about members", 20, || async {
        let (ok, output) =
            cluster.kubectl(&["patch", "oscomp", "galera", "--type=merge", "--dry-run=server", "-p", patch]);
        (!ok).then_some(output)
    })
    .await;
    assert!(output.contains("galera has 1 members that vote"), "{output}");
    let (ok, output) = cluster.kubectl(&["scale", "sts/theirs", "--replicas=3"]);
    assert!(ok, "other people's stateful sets are none of our business: {output}");
    let (ok, output) = cluster.kubectl(&[
        "scale",
        "sts/galera",
        "--replicas=3",
        "--as=system:serviceaccount:oaas-system:oaas-operator",
        "--as-group=system:masters",
    ]);
    assert!(ok, "the operator may: {output}");

    let (ok, output) = cluster.kubectl(&[
        "create",
        "configmap",
        "oaas-clouds",
        "-n",
        "oaas-system",
        "--from-literal=default.demo=uid",
    ]);
    assert!(ok, "{output}");
    let delete = || cluster.kubectl(&["delete", "crd", "openstackcomponents.oaas.dev", "--dry-run=server"]);
    let output = eventually("the policy about definitions", 20, || async {
        let (ok, output) = delete();
        (!ok).then_some(output)
    })
    .await;
    assert!(output.contains("clouds exist and would be deleted with it: default.demo"), "{output}");
    let (ok, output) = cluster.kubectl(&[
        "patch",
        "configmap",
        "oaas-clouds",
        "-n",
        "oaas-system",
        "--type=json",
        "-p=[{\"op\":\"remove\",\"path\":\"/data\"}]",
    ]);
    assert!(ok, "{output}");
    eventually("deletion without clouds", 20, || async { delete().0.then_some(()) }).await;
}
