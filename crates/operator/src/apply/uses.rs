//! What the pods of a workload cannot do without.

use std::collections::BTreeSet;

use serde_json::Value;

use super::desired::Key;

/// The objects that the pods of a workload (or a pod itself) name: mounted Secrets, ConfigMaps and claims, variables from them, their
/// ServiceAccount, the Service that gives them their names. Empty for what starts no pods.
pub fn uses(object: &Value) -> BTreeSet<Key> {
    let spec = &object["spec"];
    let pod = [&spec["template"]["spec"], &spec["jobTemplate"]["spec"]["template"]["spec"]]
        .into_iter()
        .find(|pod| pod.is_object())
        .unwrap_or(spec);
    let mut found = BTreeSet::new();
    let mut add = |kind: &str, name: &Value| {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            found.insert(Key { kind: kind.to_owned(), name: name.to_owned() });
        }
    };
    add("ServiceAccount", &pod["serviceAccountName"]);
    if object["kind"] == "StatefulSet" {
        add("Service", &spec["serviceName"]);
    }
    for volume in items(&pod["volumes"]) {
        add("Secret", &volume["secret"]["secretName"]);
        add("ConfigMap", &volume["configMap"]["name"]);
        add("PersistentVolumeClaim", &volume["persistentVolumeClaim"]["claimName"]);
        for source in items(&volume["projected"]["sources"]) {
            add("Secret", &source["secret"]["name"]);
            add("ConfigMap", &source["configMap"]["name"]);
        }
    }
    for container in items(&pod["containers"]).chain(items(&pod["initContainers"])) {
        for variable in items(&container["env"]) {
            add("Secret", &variable["valueFrom"]["secretKeyRef"]["name"]);
            add("ConfigMap", &variable["valueFrom"]["configMapKeyRef"]["name"]);
        }
        for all in items(&container["envFrom"]) {
            add("Secret", &all["secretRef"]["name"]);
            add("ConfigMap", &all["configMapRef"]["name"]);
        }
    }
    found
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_a_pod_names_is_found() {
        let object = json!({ "kind": "StatefulSet", "spec": { "serviceName": "db-pods", "template": { "spec": {
            "serviceAccountName": "db",
            "volumes": [
                { "secret": { "secretName": "db-config" } },
                { "configMap": { "name": "scripts" } },
                { "persistentVolumeClaim": { "claimName": "data" } },
                { "emptyDir": {} },
                { "projected": { "sources": [{ "secret": { "name": "tls" } }, { "configMap": { "name": "ca" } }] } },
            ],
            "initContainers": [{ "envFrom": [{ "secretRef": { "name": "login" } }] }],
            "containers": [{ "env": [{ "name": "A", "value": "a" }, { "name": "B", "valueFrom": { "secretKeyRef": { "name": "key" } } }] }],
        } } } });
        let found: Vec<String> = uses(&object).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "ConfigMap ca",
                "ConfigMap scripts",
                "PersistentVolumeClaim data",
                "Secret db-config",
                "Secret key",
                "Secret login",
                "Secret tls",
                "Service db-pods",
                "ServiceAccount db",
            ]
        );
        let scheduled = json!({ "kind": "CronJob", "spec": { "jobTemplate": { "spec": { "template": {
            "spec": { "volumes": [{ "secret": { "secretName": "nightly" } }] } } } } } });
        assert_eq!(uses(&scheduled).len(), 1);
        assert!(uses(&json!({ "kind": "Service", "spec": { "selector": { "app": "db" } } })).is_empty());
    }
}
