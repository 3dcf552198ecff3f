//! The reference document is what the schemas say.

#[test]
fn docs_are_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference.md");
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == oaas_api::reference(),
        "docs/reference.md is not current: cargo run -p oaas-api --example print_reference > docs/reference.md"
    );
}

#[test]
fn every_kind_of_row_is_there() {
    let text = oaas_api::reference();
    for row in [
        "| `release` | text | **Required.** Release of OpenStack",
        "| `services.*.replicas` | whole number 0 to 99 |",
        "| `network.external[].kind` | `flat`, `vlan` |",
        "| `services.*.config` | map to map to any value |",
        "| `OutOfMemory` | A container was killed",
        "not a network: write it like 192.168.100.0/24",
    ] {
        assert!(text.contains(row), "{row}");
    }
}
