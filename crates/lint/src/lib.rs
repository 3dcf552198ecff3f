//! Checks of the repository's own house rules that no ready-made lint knows.
//!
//! [`circles`] finds modules of a crate that need each other: the modules are read with `syn`, what each one names is
//! followed through re-exports to the module that defines it, and the strongly connected parts of that graph are the
//! circles. A `pub use` alone is no need: a parent may show what its children define. Test modules do not count.

mod names;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

pub use tree::{ReadError, Tree};

/// Modules that need each other, and where: `(from, to)` → the first name that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    /// The modules, sorted, as paths below the crate: `checks::worker`; the root is `crate`.
    pub modules: Vec<String>,
    /// What leads from one to another.
    pub edges: BTreeMap<(String, String), String>,
}

/// The circles of the crate whose root file is `root`, the largest first.
pub fn circles(root: &Path) -> Result<Vec<Circle>, ReadError> {
    let tree = Tree::read(root)?;
    let edges = names::edges(&tree);
    let mut graph = DiGraphMap::<&str, ()>::new();
    for (from, to) in edges.keys() {
        graph.add_edge(from.as_str(), to.as_str(), ());
    }
    let mut found: Vec<Circle> = tarjan_scc(&graph)
        .into_iter()
        .filter(|part| part.len() > 1)
        .map(|part| {
            let mut modules: Vec<String> = part.iter().map(|name| (*name).to_owned()).collect();
            modules.sort();
            let edges = edges
                .iter()
                .filter(|((from, to), _)| modules.contains(from) && modules.contains(to))
                .map(|(edge, name)| (edge.clone(), name.clone()))
                .collect();
            Circle { modules, edges }
        })
        .collect();
    found.sort_by(|one, other| {
        other.modules.len().cmp(&one.modules.len()).then(one.modules.cmp(&other.modules))
    });
    Ok(found)
}
