//! What nodes say of themselves.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;

/// Is the node ready to run pods?
pub fn is_ready(node: &Node) -> bool {
    why_not(node).is_none()
}

/// Why a node is not ready; nothing where it is. Source: its condition `Ready`, which the kubelet writes, and the node
/// controller once the kubelet has been silent for its grace period.
pub fn why_not(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    match ready {
        None => Some("it has not reported yet".to_owned()),
        Some(ready) if ready.status == "True" => None,
        Some(ready) => Some(ready.message.clone().unwrap_or_else(|| "it does not report".to_owned())),
    }
}

/// The nodes that are not ready, and why.
pub fn unready<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> BTreeMap<String, String> {
    let of = |node: &Node| Some((node.metadata.name.clone()?, why_not(node)?));
    nodes.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_says_why_it_is_not_ready() {
        let node = |conditions: serde_json::Value| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": conditions}}))
                .unwrap()
        };
        assert!(is_ready(&node(
            json!([{"type": "Ready", "status": "True", "message": "kubelet is posting"}])
        )));
        let silent = node(
            json!([{"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}]),
        );
        assert_eq!(unready([&silent])["n"], "Kubelet stopped posting node status.");
        assert_eq!(why_not(&node(json!([]))).unwrap(), "it has not reported yet");
    }
}
