//! Circles are found through imports, paths, macros and re-exports, and nothing else is called one.

use std::fs;

/// A crate of these files (path below `src`, content); its circles, each as its modules.
fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let found = oaas_lint::circles(&folder.path().join("lib.rs")).unwrap();
    found.into_iter().map(|circle| circle.modules).collect()
}

#[test]
fn two_modules_that_import_each_other() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "use crate::a::A; pub struct B; fn of(_: A) {}"),
    ]);
    assert_eq!(found, [["a", "b"]]);
}

#[test]
fn a_path_in_code_or_in_a_macro_is_an_import() {
    let a = ("a.rs", "pub struct A; pub fn f() { crate::b::g() }");
    let lib = ("lib.rs", "mod a; mod b;");
    assert_eq!(circles(&[lib, a, ("b.rs", "pub fn g() { super::a::f() }")]), [["a", "b"]]);
    assert_eq!(circles(&[lib, a, ("b.rs", "pub fn g() { println!(\"{}\", crate::a::f()) }")]), [["a", "b"]]);
    assert_eq!(circles(&[lib, a, ("b.rs", "use crate::a; pub fn g() { a::f() }")]), [["a", "b"]]);
    assert!(
        circles(&[lib, a, ("b.rs", "use crate::a; pub fn g() {}")]).is_empty(),
        "naming a module needs nothing"
    );
}

#[test]
fn re_exports_lead_to_the_definer() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
        ("a.rs", "use crate::B; pub struct A(B);"),
        ("b.rs", "pub struct B; fn of(_: crate::A) {}"),
    ]);
    assert_eq!(found, [["a", "b"]]);
}

#[test]
fn a_parent_may_show_its_children() {
    let child = ("p/c.rs", "use super::Shared; pub struct C(Shared);");
    let shows =
        circles(&[("lib.rs", "mod p;"), ("p/mod.rs", "mod c; pub use c::C; pub struct Shared;"), child]);
    assert!(shows.is_empty(), "{shows:?}");
    let uses =
        circles(&[("lib.rs", "mod p;"), ("p/mod.rs", "mod c; pub struct Shared; fn f(_: c::C) {}"), child]);
    assert_eq!(uses, [["p", "p::c"]]);
}

#[test]
fn tests_do_not_count() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; fn f(_: B) {} }"),
        ("b.rs", "use crate::a::A; pub struct B(A);"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}
