//! `oaas-lint [FOLDER]`: the house rules of the repository, over every crate below `FOLDER` (`crates`). Exit code 1 where one is broken.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("crates"), PathBuf::from);
    match roots(&folder).and_then(|roots| roots.iter().map(|root| check(root)).sum::<Result<usize, String>>())
    {
        Ok(0) => ExitCode::SUCCESS,
        Ok(count) => {
            eprintln!("error: {count} circles of modules");
            eprintln!(
                "hint: move what both need into a module below both; a parent that only shows its children is no circle"
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// The root file of each crate.
fn roots(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("failed to list {}: {error}", folder.display()))?;
    let mut roots: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .flat_map(|entry| [entry.path().join("src/lib.rs"), entry.path().join("src/main.rs")])
        .filter(|root| root.exists())
        .collect();
    roots.sort();
    if roots.is_empty() { Err(format!("there is no crate below {}", folder.display())) } else { Ok(roots) }
}

/// Print the circles of one crate; how many there are.
fn check(root: &Path) -> Result<usize, String> {
    let circles = oaas_lint::circles(root).map_err(|error| {
        let source =
            std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("{error}{source}")
    })?;
    for circle in &circles {
        println!("{}: {} need each other", root.display(), circle.modules.join(", "));
        for ((from, to), name) in &circle.edges {
            println!("  {from} -> {to} ({name})");
        }
    }
    Ok(circles.len())
}
