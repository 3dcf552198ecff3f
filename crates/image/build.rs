//! Rebuild when a recipe, lock or script comes or goes: they are compiled into the crate.

fn main() {
    for room in ["recipes", "releases", "locks", "scripts", "files"] {
        println!("cargo:rerun-if-changed=../../images/{room}");
    }
}
