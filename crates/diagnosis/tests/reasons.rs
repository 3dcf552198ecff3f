//! Every typed reason is given by something: what no code says would only be waited for.

use std::path::{Path, PathBuf};

use oaas_api::Reason;

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_reason_has_a_producer() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for one in ["plan", "operator", "diagnosis"] {
        sources(&crates.join(one).join("src"), &mut files);
    }
    // What only sorts reasons gives none, and neither do tests.
    files.retain(|file| !file.ends_with("finding.rs") && !file.ends_with("tests.rs"));
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    let code: String =
        texts.map(|text| text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()).collect();
    let given = |reason: &Reason| {
        let name = format!("Reason::{reason}");
        code.match_indices(&name)
            .any(|(at, _)| !code[at + name.len()..].starts_with(|c: char| c.is_alphanumeric()))
    };
    let silent: Vec<&Reason> = Reason::ALL.iter().filter(|reason| !given(reason)).collect();
    assert_eq!(silent, [] as [&Reason; 0], "these reasons are given by nothing");
}
