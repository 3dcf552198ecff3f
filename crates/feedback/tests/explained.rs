//! Every public error says which kind it is and what to do next.

use std::path::{Path, PathBuf};

/// The Rust files of a directory and those below it.
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

/// The public types of a file that derive `Snafu`.
fn public_errors(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for after in text.split("#[derive(").skip(1) {
        let Some((derived, rest)) = after.split_once(")]") else { continue };
        if !derived.split(',').any(|name| name.trim() == "Snafu") {
            continue;
        }
        // Attributes may stand between; the first word that is not one begins the type.
        let line = rest
            .lines()
            .map(str::trim)
            .find(|line| ["pub ", "enum ", "struct ", "pub("].iter().any(|word| line.starts_with(word)));
        let words: Vec<&str> = line.unwrap_or_default().split([' ', ';', '{', '<', '(']).collect();
        if let ["pub", "enum" | "struct", name, ..] = words.as_slice() {
            found.push((*name).to_owned());
        }
    }
    found
}

#[test]
fn every_public_error_explains_itself() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = 0;
    let mut mute = Vec::new();
    for one in std::fs::read_dir(crates).expect("the directory of all crates").flatten() {
        let mut files = Vec::new();
        sources(&one.path().join("src"), &mut files);
        let texts: Vec<String> = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect();
        let all = texts.concat();
        for name in texts.iter().flat_map(|text| public_errors(text)) {
            seen += 1;
            let explained = ["", "super::"].iter().any(|path| {
                [" {", "<"].iter().any(|end| all.contains(&format!("Explain for {path}{name}{end}")))
            });
            if !explained {
                mute.push(format!("{}: {name}", one.file_name().to_string_lossy()));
            }
        }
    }
    assert!(seen > 30, "only {seen} errors were found");
    assert!(mute.is_empty(), "these public errors do not implement Explain: {}", mute.join(", "));
}

#[test]
fn errors_are_found_in_a_source() {
    let text = "#[derive(Debug, Snafu)]\n#[snafu(display(\"x\"))]\npub struct A;\n#[derive(Debug, Snafu)]\npub(crate) enum \
                B {}\n#[derive(Debug)]\npub enum C {}\n#[derive(Debug, Snafu)]\npub enum D {\n}";
    assert_eq!(public_errors(text), ["A", "D"]);
}
