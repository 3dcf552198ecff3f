//! Which programs there are, what they are built from, and how.

use std::collections::BTreeMap;
use std::path::Path;

use include_dir::{Dir, DirEntry, include_dir};
use sha2::{Digest, Sha256};

use crate::files::{self, Access, FileError};
use crate::versions::KUBERNETES;

pub(super) static RECIPES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../embedded/kubernetes");

/// One program and how it is built.
pub(super) struct Program {
    pub name: &'static str,
    /// The directory of its recipe.
    pub recipe: &'static str,
    pub how: How,
}

pub(super) enum How {
    Go {
        package: &'static str,
        tags: &'static str,
        /// Values that the linker writes into variables.
        variables: &'static [(&'static str, &'static str)],
        cgo: bool,
    },
    C {
        file: &'static str,
    },
}

const fn go(name: &'static str, recipe: &'static str, package: &'static str) -> Program {
    Program { name, recipe, how: How::Go { package, tags: "", variables: &[], cgo: false } }
}

/// The programs, the small ones first.
pub(super) const PROGRAMS: [Program; 10] = [
    Program { name: "pause", recipe: "pause", how: How::C { file: "pause.c" } },
    Program {
        name: "runc",
        recipe: "runc",
        how: How::Go {
            package: "github.com/opencontainers/runc",
            tags: "seccomp",
            variables: &[],
            cgo: true,
        },
    },
    go("bridge", "cni", "github.com/containernetworking/plugins/plugins/main/bridge"),
    go("host-local", "cni", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
    go("loopback", "cni", "github.com/containernetworking/plugins/plugins/main/loopback"),
    go("portmap", "cni", "github.com/containernetworking/plugins/plugins/meta/portmap"),
    Program {
        name: "containerd",
        recipe: "containerd",
        how: How::Go {
            package: "github.com/containerd/containerd/v2/cmd/containerd",
            tags: "no_btrfs no_devmapper no_zfs",
            variables: &[("github.com/containerd/containerd/v2/version.Version", "v2.4.2")],
            cgo: false,
        },
    },
    go(
        "containerd-shim-runc-v2",
        "containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    ),
    go("ctr", "containerd", "github.com/containerd/containerd/v2/cmd/ctr"),
    Program {
        name: "kube",
        recipe: "kube",
        how: How::Go {
            package: ".",
            tags: "",
            variables: &[
                ("k8s.io/component-base/version.gitVersion", KUBERNETES),
                ("k8s.io/component-base/version.gitMajor", "1"),
                ("k8s.io/component-base/version.gitMinor", "37"),
                ("k8s.io/client-go/pkg/version.gitVersion", KUBERNETES),
            ],
            cgo: true,
        },
    },
];

/// What names the content: recipes, compiler, flags.
pub(super) fn key(go_version: &str) -> String {
    let mut hash = Sha256::new();
    let mut add = |name: &str, content: &[u8]| {
        hash.update(name.len().to_be_bytes());
        hash.update(name);
        hash.update(content.len().to_be_bytes());
        hash.update(content);
    };
    add("compiler", go_version.as_bytes());
    for program in &PROGRAMS {
        let (program_name, arguments) = command_line(program, Path::new("out"));
        add(program.name, format!("{program_name} {}", arguments.join(" ")).as_bytes());
    }
    for (path, content) in sources(&RECIPES) {
        add(&path, content);
    }
    hex::encode(hash.finalize())
}

/// The files of the recipes that are sources, by path.
pub(super) fn sources<'a>(directory: &'a Dir<'a>) -> BTreeMap<String, &'a [u8]> {
    let mut found = BTreeMap::new();
    for entry in directory.entries() {
        match entry {
            DirEntry::Dir(directory) => found.extend(sources(directory)),
            DirEntry::File(file) => {
                let path = file.path().to_string_lossy().into_owned();
                // Tests and text for people build nothing.
                let text = file.path().extension().is_some_and(|end| end == "md");
                if !text && !path.ends_with("_test.go") {
                    found.insert(path, file.contents());
                }
            }
        }
    }
    found
}

pub(super) fn extract(recipes: &Dir<'_>, to: &Path) -> Result<(), FileError> {
    for (path, content) in sources(recipes) {
        files::write(&to.join(path), content, Access::Public)?;
    }
    Ok(())
}

pub(super) fn command_line(program: &Program, out: &Path) -> (&'static str, Vec<String>) {
    let out = out.join(program.name).display().to_string();
    match &program.how {
        How::C { file } => {
            let flags = ["-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-o"];
            ("gcc", flags.into_iter().map(str::to_owned).chain([out, (*file).to_owned()]).collect())
        }
        How::Go { package, tags, variables, .. } => {
            let mut linker = "-s -w".to_owned();
            for (variable, value) in *variables {
                linker.push_str(&format!(" -X {variable}={value}"));
            }
            let flags = ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-v"];
            let mut arguments: Vec<String> = flags.into_iter().map(str::to_owned).collect();
            if !tags.is_empty() {
                arguments.push(format!("-tags={tags}"));
            }
            arguments.extend([format!("-ldflags={linker}"), "-o".into(), out, (*package).into()]);
            ("go", arguments)
        }
    }
}
