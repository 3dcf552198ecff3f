//! Pods of daemon sets are made anew one after the other, with the operator's own rights. The daemon sets' controller,
//! the scheduler and the kubelets do not run here: the test does what they would.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use oaas_feedback::Task;
use oaas_operator::install;
use oaas_render::ANNOTATION_PODS;
use serde_json::json;

use crate::brain::object;
use crate::cluster::Cluster;
use crate::definitions::options as install_options;
use crate::engine::{Operator, apply, cloud, run};
use crate::eventually;

const NODES: [&str; 2] = ["node1", "node2"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_nodes_are_made_anew_one_after_the_other() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    install(&client, &install_options(), &Task::silent()).await.unwrap();
    for node in NODES {
        apply(&cluster, &format!("apiVersion: v1\nkind: Node\nmetadata: {{ name: {node} }}\n"));
        let ready = r#"{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}"#;
        run(&cluster, &["patch", "node", node, "--subresource=status", "-p", ready]);
    }
    let operator = Operator::start(cluster.operator(), "one", Duration::from_secs(6));
    apply(&cluster, &cloud(""));
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), "default");
    let set = eventually("the daemon set", 60, || async { sets.get_opt("switch").await.unwrap() }).await;
    for node in NODES {
        make(&client, &set, node, "of before").await;
    }
    operator.quiet().await;
    assert_eq!(leaving(&client).await, None, "before the controller has seen the daemon set");
    seen(&sets, &set).await;
    let first = eventually("the first pod is deleted", 30, || leaving(&client)).await;
    assert_eq!(first, ["node1-of-before"]);
    operator.quiet().await;
    assert_eq!(leaving(&client).await.unwrap(), first, "the second one waits");

    // The kubelet has stopped it, the controller makes the next.
    let gone = ["delete", "pod", "node1-of-before", "--force", "--grace-period=0"];
    run(&cluster, &gone);
    operator.quiet().await;
    assert_eq!(leaving(&client).await, None, "while a node has no pod");
    make(&client, &set, "node1", &set.annotations()[ANNOTATION_PODS]).await;
    let second = eventually("the second pod is deleted", 30, || leaving(&client)).await;
    assert_eq!(second, ["node2-of-before"]);
    operator.stop().await;
}

/// The controller has seen the daemon set.
async fn seen(sets: &Api<DaemonSet>, set: &DaemonSet) {
    let count = NODES.len();
    let status = json!({ "status": {
        "observedGeneration": set.metadata.generation, "desiredNumberScheduled": count,
        "currentNumberScheduled": count, "numberMisscheduled": 0, "numberReady": count,
    }});
    sets.patch_status("switch", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// The controller makes a pod, and the kubelet has it run.
async fn make(client: &Client, set: &DaemonSet, node: &str, hash: &str) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let name = format!("{node}-{}", hash.replace(' ', "-").replace('.', "-"));
    let mut pod = object::<Pod>(json!({
        "metadata": {
            "name": name, "labels": set.spec.template.metadata.as_ref().unwrap().labels,
            "annotations": { ANNOTATION_PODS: hash },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "switch", "uid": set.uid().unwrap(), "controller": true,
            }],
        },
    }));
    pod.spec.clone_from(&set.spec.template.spec);
    pod.spec.as_mut().unwrap().node_name = Some(node.into());
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
}

/// Pods that are being deleted.
async fn leaving(client: &Client) -> Option<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let all = pods.list(&ListParams::default()).await.unwrap();
    let leaving = all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some());
    let names: Vec<String> = leaving.map(ResourceExt::name_any).collect();
    (!names.is_empty()).then_some(names)
}
