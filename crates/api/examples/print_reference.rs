//! Prints the reference of the resources: `cargo run -p oaas-api --example print_reference > docs/reference.md`.

fn main() {
    print!("{}", oaas_api::reference());
}
