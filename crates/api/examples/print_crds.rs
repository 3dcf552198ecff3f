//! Prints both custom resource definitions as YAML, for `kubectl apply -f -`.

fn main() {
    for crd in oaas_api::crds() {
        println!("---\n{}", serde_yaml_ng::to_string(&crd).expect("our own definitions serialise"));
    }
}
