//! Declared content within the resource.

use oaas_api::{Preset, parse_resource};

const HEAD: &str =
    "apiVersion: oaas.dev/v1alpha1\nkind: OpenStack\nmetadata: { name: a }\nspec:\n  release: \"2026.1\"\n";

#[test]
fn an_image_is_one_line() {
    let yaml = format!(
        "{HEAD}  content:\n    flavors: [{{ name: big, vcpus: 8, ramMib: 8192 }}]\n    preset: none\n"
    );
    let content = parse_resource(&yaml).unwrap().spec.content.unwrap();
    assert_eq!(content.preset, Preset::None);
    assert_eq!(content.more.flavors[0].name, "big");
    let again = serde_json::to_value(&content).unwrap();
    assert_eq!(serde_json::from_value::<oaas_api::Content>(again).unwrap(), content);
}

#[test]
fn mistakes_in_content_are_found_like_all_others() {
    let yaml = format!("{HEAD}  content:\n    flavours: []\n    flavors: [{{ name: big, vcpu: 8 }}]\n");
    let found: Vec<String> =
        parse_resource(&yaml).unwrap_err().problems.iter().map(ToString::to_string).collect();
    assert_eq!(found[0], "line 7: spec.content.flavours: no such field; did you mean `flavors`?");
    assert!(
        found.iter().any(|line| line.contains("vcpu: no such field; did you mean `vcpus`?")),
        "{found:?}"
    );
    assert!(found.iter().any(|line| line.contains("ramMib: is missing")), "{found:?}");
}

#[test]
fn what_is_declared_stands_over_the_preset() {
    let content = |yaml: &str| {
        let text = format!("{HEAD}  content:\n{yaml}");
        parse_resource(&text).unwrap().spec.content.unwrap()
    };
    let preset = content(
        "    flavors: [{ name: m1.tiny, vcpus: 1, ramMib: 192 }, { name: m1.small, vcpus: 1, ramMib: 256 }]\n    roles: [a]\n",
    );
    let mine = content(
        "    flavors: [{ name: big, vcpus: 8, ramMib: 8192 }, { name: m1.tiny, vcpus: 2, ramMib: 192 }]\n    roles: [a, b]\n",
    );
    let all = mine.over(preset.more);
    let flavors: Vec<(&str, u32)> =
        all.flavors.iter().map(|flavor| (flavor.name.as_str(), flavor.vcpus)).collect();
    assert_eq!(flavors, [("m1.tiny", 2), ("m1.small", 1), ("big", 8)]);
    assert_eq!(all.roles, ["a", "b"]);
}
