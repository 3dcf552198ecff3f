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

/// The public types of a file that are errors by an implementation of their own.
fn own_errors(text: &str) -> Vec<String> {
    let implemented = ["impl Error for ", "impl std::error::Error for "]
        .iter()
        .flat_map(|words| text.split(words).skip(1))
        .filter_map(|rest| rest.split([' ', '{', '<']).next());
    let is_public = |name: &&str| {
        ["enum", "struct"].iter().any(|kind| {
            let words = format!("pub {kind} {name}");
            text.match_indices(&words).any(|(at, _)| {
                !text[at + words.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        })
    };
    implemented.filter(is_public).map(str::to_owned).collect()
}

/// Does a text implement `Explain` for that type, under one of these paths?
fn explains(text: &str, paths: &[&str], name: &str) -> bool {
    let found =
        |path: &&str| [" {", "<"].iter().any(|end| text.contains(&format!("Explain for {path}{name}{end}")));
    paths.iter().any(found)
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
        let errors: Vec<(usize, String)> = (texts.iter().enumerate())
            .flat_map(|(at, text)| {
                public_errors(text).into_iter().chain(own_errors(text)).map(move |name| (at, name))
            })
            .collect();
        for (at, name) in &errors {
            seen += 1;
            // Many modules call theirs `Error`: then the one beside it counts, not any of the crate.
            let is_the_only = errors.iter().filter(|(_, other)| other == name).count() == 1;
            let explained = explains(&texts[*at], &[""], name)
                || is_the_only && texts.iter().any(|text| explains(text, &["", "super::"], name));
            if !explained {
                mute.push(format!("{}: {name}", files[*at].display()));
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
    let own = "pub struct Unfit(u8);\nimpl std::error::Error for Unfit {}\nstruct Hidden;\nimpl Error for Hidden {}\npub struct HiddenOnes;";
    assert_eq!(own_errors(own), ["Unfit"]);
    assert!(
        explains("impl Explain for Unfit {", &[""], "Unfit")
            && !explains("impl Explain for Unfits {", &[""], "Unfit")
    );
}
