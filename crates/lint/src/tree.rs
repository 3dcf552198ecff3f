//! The modules of a crate, read from its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt, Snafu};
use syn::{Attribute, Item, UseTree, Visibility};

/// A file of a crate could not be read.
#[derive(Debug, Snafu)]
pub enum ReadError {
    /// It is not there, or may not be read.
    #[snafu(display("failed to read {}", path.display()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not Rust.
    #[snafu(display("failed to parse {}", path.display()))]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: syn::Error,
    },
}

impl Explain for ReadError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } => Kind::Environment,
            Self::Parse { .. } => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => {
                Some("a module without its file does not compile either: `cargo check`".into())
            }
            Self::Parse { .. } => None,
        }
    }
}

/// One name that a `use` brings into a module.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    /// The name in this module; none for a glob.
    pub(crate) name: Option<String>,
    /// The path as written.
    pub(crate) path: Vec<String>,
    /// Is it shown to others (`pub use`, of any width)?
    pub(crate) shown: bool,
}

/// One module.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// What it defines: names of items, child modules among them.
    pub(crate) defines: Vec<String>,
    /// What it brings in.
    pub(crate) imports: Vec<Import>,
    /// Its items but child modules and imports.
    pub(crate) items: Vec<Item>,
}

/// The modules of a crate: path below the crate → module; the root has the empty path.
#[derive(Debug, Default)]
pub struct Tree {
    pub(crate) modules: BTreeMap<Vec<String>, Module>,
}

impl Tree {
    /// Read a crate from its root file (`src/lib.rs`, `src/main.rs`).
    pub fn read(root: &Path) -> Result<Self, ReadError> {
        let mut tree = Self::default();
        let folder = root.parent().unwrap_or(Path::new("."));
        let items = parse(root)?;
        tree.module(Vec::new(), items, folder)?;
        Ok(tree)
    }

    fn module(&mut self, path: Vec<String>, items: Vec<Item>, folder: &Path) -> Result<(), ReadError> {
        let mut module = Module::default();
        for item in items.into_iter().filter(|item| !only_for_tests(attributes(item))) {
            match item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    module.defines.push(name.clone());
                    let below = folder.join(&name);
                    let items = match child.content {
                        Some((_, items)) => items,
                        None => parse(&file_of(folder, &name))?,
                    };
                    self.module([path.as_slice(), &[name]].concat(), items, &below)?;
                }
                Item::Use(import) => {
                    let shown = !matches!(import.vis, Visibility::Inherited);
                    imports(&import.tree, &mut Vec::new(), shown, &mut module.imports);
                }
                item => {
                    module.defines.extend(defined(&item));
                    module.items.push(item);
                }
            }
        }
        self.modules.insert(path, module);
        Ok(())
    }
}

fn parse(path: &Path) -> Result<Vec<Item>, ReadError> {
    let text = std::fs::read_to_string(path).context(ReadSnafu { path })?;
    Ok(syn::parse_file(&text).context(ParseSnafu { path })?.items)
}

fn file_of(folder: &Path, module: &str) -> PathBuf {
    let beside = folder.join(format!("{module}.rs"));
    if beside.exists() { beside } else { folder.join(module).join("mod.rs") }
}

fn only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string().starts_with("test"))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// Every name that a tree of imports brings in, each with its whole path.
pub(crate) fn imports(tree: &UseTree, before: &mut Vec<String>, shown: bool, into: &mut Vec<Import>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            imports(&path.tree, before, shown, into);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            into.push(Import { name: before.last().cloned(), path: before.clone(), shown });
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            let path = [before.as_slice(), std::slice::from_ref(&name)].concat();
            into.push(Import { name: Some(name), path, shown });
        }
        UseTree::Rename(rename) => {
            let path = [before.as_slice(), &[rename.ident.to_string()]].concat();
            into.push(Import { name: Some(rename.rename.to_string()), path, shown });
        }
        UseTree::Glob(_) => into.push(Import { name: None, path: before.clone(), shown }),
        UseTree::Group(group) => {
            for tree in &group.items {
                imports(tree, before, shown, into);
            }
        }
    }
}
