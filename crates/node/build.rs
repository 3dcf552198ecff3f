//! The recipes of the embedded Kubernetes are compiled in; a changed recipe is a changed binary.

fn main() {
    println!("cargo::rerun-if-changed=../../embedded/kubernetes");
}
