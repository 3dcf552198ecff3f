//! `oaas-lint [FOLDER]`: the house rules of the repository, over every crate below `FOLDER` (`crates`). Exit code 1 where one is broken.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("crates"), PathBuf::from);
    match complaints(&folder) {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
        Ok(complaints) => {
            for complaint in &complaints {
                eprintln!("error: {complaint}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// What is wrong, over all crates.
fn complaints(folder: &Path) -> Result<Vec<String>, String> {
    let mut complaints = Vec::new();
    for (name, root) in roots(folder)? {
        let circles = oaas_lint::circles(&root).map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        })?;
        for circle in &circles {
            let mut text = format!("modules of {name} need each other: {}", circle.modules.join(", "));
            for ((from, to), written) in &circle.edges {
                text.push_str(&format!("\n  {from} -> {to} ({written})"));
            }
            text.push_str("\nhint: move what both need into a module below both; a parent that only shows its children is no circle");
            complaints.push(text);
        }
    }
    Ok(complaints)
}

/// Each crate's name and the root file of its library, or of its program where it has none.
fn roots(folder: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("failed to list {}: {error}", folder.display()))?;
    let mut roots: Vec<(String, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let files = [entry.path().join("src/lib.rs"), entry.path().join("src/main.rs")];
            let root = files.into_iter().find(|root| root.exists())?;
            Some((entry.file_name().to_string_lossy().into_owned(), root))
        })
        .collect();
    roots.sort();
    if roots.is_empty() { Err(format!("there is no crate below {}", folder.display())) } else { Ok(roots) }
}
