//! Which module names something of which other, with every name followed to the module that defines it.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use crate::tree::{Module, Tree};

/// `(from, to)` → the first name that leads from one to the other, as written.
pub(crate) type Edges = BTreeMap<(String, String), String>;

/// How many re-exports a name is followed through; more are a re-export of itself.
const FAR_ENOUGH: usize = 16;

/// Every edge between two different modules of the crate.
pub(crate) fn edges(tree: &Tree) -> Edges {
    let mut edges = Edges::new();
    for (here, module) in &tree.modules {
        let mut note = |written: &[String]| {
            if let Some(there) = defines(tree, here, written, FAR_ENOUGH)
                && there != *here
            {
                edges.entry((shown(here), shown(&there))).or_insert_with(|| written.join("::"));
            }
        };
        for import in module.imports.iter().filter(|import| !import.shown) {
            note(&import.path);
        }
        let mut paths = Paths::default();
        module.items.iter().for_each(|item| paths.visit_item(item));
        paths.found.iter().for_each(|path| note(path));
    }
    edges
}

fn shown(path: &[String]) -> String {
    if path.is_empty() { "crate".into() } else { path.join("::") }
}

/// The module that defines what a path names as seen from `here`; none for a module itself (naming it needs nothing of
/// it) and for what is not of this crate.
fn defines(tree: &Tree, here: &[String], path: &[String], far: usize) -> Option<Vec<String>> {
    let absolute = absolute(tree, here, path, far)?;
    place(tree, &absolute, far)
}

/// Walk an absolute path down to the module that defines its first part that is no module.
fn place(tree: &Tree, path: &[String], far: usize) -> Option<Vec<String>> {
    let mut at = Vec::new();
    for (index, name) in path.iter().enumerate() {
        let below = [at.as_slice(), std::slice::from_ref(name)].concat();
        if tree.modules.contains_key(&below) {
            at = below;
            continue;
        }
        let module = tree.modules.get(&at)?;
        if module.defines.contains(name) {
            return Some(at);
        }
        let far = far.checked_sub(1)?;
        if let Some(led) = imported(module, name) {
            let led = absolute(tree, &at, led, far)?;
            return place(tree, &[led.as_slice(), &path[index + 1..]].concat(), far);
        }
        // A glob shows what its module defines.
        let globs = module.imports.iter().filter(|import| import.name.is_none());
        return globs
            .filter_map(|glob| absolute(tree, &at, &glob.path, far))
            .filter(|led| *led != at)
            .find_map(|led| place(tree, &[led.as_slice(), &path[index..]].concat(), far));
    }
    None
}

fn imported<'a>(module: &'a Module, name: &str) -> Option<&'a [String]> {
    module
        .imports
        .iter()
        .find(|import| import.name.as_deref() == Some(name))
        .map(|import| import.path.as_slice())
}

/// The path from the crate's root; none where it leads to another crate or to what is local.
fn absolute(tree: &Tree, here: &[String], path: &[String], far: usize) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([here, rest].concat()),
        "super" => absolute_from(tree, &here[..here.len().checked_sub(1)?], rest),
        name => {
            let module = tree.modules.get(here)?;
            if module.defines.iter().any(|defined| defined == name) {
                return Some([here, path].concat());
            }
            let led = imported(module, name).filter(|led| *led != path)?;
            Some([absolute(tree, here, led, far.checked_sub(1)?)?.as_slice(), rest].concat())
        }
    }
}

fn absolute_from(tree: &Tree, here: &[String], path: &[String]) -> Option<Vec<String>> {
    match path.split_first() {
        Some((first, _)) if first == "super" => absolute(tree, here, path, FAR_ENOUGH),
        _ => Some([here, path].concat()),
    }
}

/// Every path that items name.
#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.found.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, found: &'ast syn::ItemUse) {
        // Inside of a function; those of a module are its imports.
        let mut imports = Vec::new();
        crate::tree::imports(&found.tree, &mut Vec::new(), false, &mut imports);
        self.found.extend(imports.into_iter().map(|import| import.path));
    }

    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        // What a macro is given is no syntax yet: paths in it are runs of `name :: name`.
        self.found.extend(runs(found.tokens.clone()));
        visit::visit_macro(self, found);
    }
}

fn runs(tokens: proc_macro2::TokenStream) -> Vec<Vec<String>> {
    use proc_macro2::TokenTree;
    let (mut found, mut run, mut colons) = (Vec::new(), Vec::<String>::new(), 0);
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                if colons != 2 && !run.is_empty() {
                    found.push(std::mem::take(&mut run));
                }
                run.push(name.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            other => {
                found.push(std::mem::take(&mut run));
                colons = 0;
                if let TokenTree::Group(group) = other {
                    found.extend(runs(group.stream()));
                }
            }
        }
    }
    found.push(run);
    found.retain(|path| path.len() > 1);
    found
}
