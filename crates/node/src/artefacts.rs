//! The programs of the embedded Kubernetes, built from pinned sources and kept in the cache.
//!
//! # Flow
//! The recipes (`embedded/kubernetes`) are compiled into this crate. Their content, the Go version and the flags
//! make a key; what was built under a key lies in `<cache>/kubernetes/<key>` with a manifest of hashes.
//!
//! # Guarantees
//! A directory under its key is complete: it is built beside and renamed into place. Every file is compared with
//! its hash before it is used, unless nobody wrote to it since the last comparison (its size, inode and time of
//! change say so); a directory that does not match is reported and built again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};
use nix::fcntl::{Flock, FlockArg};
use oaas_feedback::{Explain, Kind, Task};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use snafu::{OptionExt, ResultExt, Snafu};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::command::{self, CommandError};
use crate::files::{self, Access, FileError};

static RECIPES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../embedded/kubernetes");

/// The version of Kubernetes; the recipe's `go.mod` says the same (tested).
pub const KUBERNETES: &str = "v1.37.2";
/// The oldest Go that builds it.
pub const OLDEST_GO: (u32, u32) = (1, 26);

/// The programs could not be built or are not what they should be.
#[derive(Debug, Snafu)]
pub enum ArtefactError {
    /// A file of the cache.
    #[snafu(display("failed to keep the programs of the embedded Kubernetes"))]
    Keep {
        /// Why.
        source: FileError,
    },
    /// The compiler is not there or cannot be asked.
    #[snafu(display("failed to ask the Go compiler for its version"))]
    Compiler {
        /// Why.
        source: CommandError,
    },
    /// The compiler is too old.
    #[snafu(display("Go {found} is too old for Kubernetes {KUBERNETES}"))]
    TooOld {
        /// Its version.
        found: String,
    },
    /// A program does not build.
    #[snafu(display("failed to build {program}: {said}"))]
    Build {
        /// Which.
        program: &'static str,
        /// The last lines that the compiler wrote.
        said: String,
    },
    /// What was just built does not match its own manifest.
    #[snafu(display("{} does not match its recorded hash right after it was built", path.display()))]
    Mismatch {
        /// The file.
        path: PathBuf,
    },
}

impl Explain for ArtefactError {
    fn kind(&self) -> Kind {
        match self {
            Self::Keep { source } => source.kind(),
            Self::Compiler { source } => source.kind(),
            Self::TooOld { .. } => Kind::Environment,
            Self::Build { said, .. }
                if said.contains("SECURITY ERROR") || said.contains("checksum mismatch") =>
            {
                Kind::Integrity
            }
            Self::Build { said, .. } if is_unreachable(said) => Kind::Environment,
            Self::Build { .. } => Kind::Failed,
            Self::Mismatch { .. } => Kind::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Keep { source } => source.hint(),
            Self::Compiler { .. } | Self::TooOld { .. } => {
                Some(format!("install Go {}.{} or newer and put `go` into PATH", OLDEST_GO.0, OLDEST_GO.1))
            }
            Self::Build { said, .. } if said.contains("checksum mismatch") => {
                Some("the module proxy serves other content than was pinned: ask its owner, or use another GOPROXY".into())
            }
            Self::Build { said, .. } if said.contains("libseccomp") => {
                Some("install it: apt-get install libseccomp-dev pkg-config gcc".into())
            }
            Self::Build { said, .. } if is_unreachable(said) => {
                Some("the Go module proxy (`go env GOPROXY`) cannot be reached from here".into())
            }
            Self::Build { .. } => None,
            Self::Mismatch { .. } => Some("the disk or memory of this machine may be faulty".into()),
        }
    }
}

/// Does what Go says mean that its module proxy does not answer?
fn is_unreachable(said: &str) -> bool {
    said.contains("dial tcp") || said.contains("no such host")
}

/// One program and how it is built.
struct Program {
    name: &'static str,
    /// The directory of its recipe.
    recipe: &'static str,
    how: How,
}

enum How {
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
const PROGRAMS: [Program; 10] = [
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

/// The built programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefacts {
    directory: PathBuf,
    key: String,
}

impl Artefacts {
    /// The directory that holds them.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What names their content, in hex.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The static program for the image that holds a pod's namespaces open.
    pub fn pause(&self) -> PathBuf {
        self.directory.join("pause")
    }

    /// All programs of Kubernetes in one; the first argument says which.
    pub fn kube(&self) -> PathBuf {
        self.directory.join("kube")
    }
}

/// Hashes of the files of one directory.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    sha256: BTreeMap<String, String>,
}

const MANIFEST: &str = "manifest.json";
/// What the files looked like when they were last compared with their hashes.
const VERIFIED: &str = "verified.json";

/// Enough of a file to notice that somebody wrote to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    size: u64,
    inode: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Stamp {
    /// Of a file, if it is there.
    pub fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(path).ok()?;
        Some(Self { size: found.size(), inode: found.ino(), modified: (found.mtime(), found.mtime_nsec()) })
    }
}

/// Build the programs, or take them from the cache.
pub async fn ensure(cache_dir: &Path, task: &Task) -> Result<Artefacts, ArtefactError> {
    let version = go_version().await?;
    let key = key(&version);
    let root = cache_dir.join("kubernetes");
    let directory = root.join(&key);
    let artefacts = Artefacts { directory: directory.clone(), key: key.clone() };
    files::make_directory(&root, Access::Public).context(KeepSnafu)?;
    // Two instances that come up together build once.
    let lock = root.join(".lock");
    task.status("waits for another build");
    let _lock = tokio::task::spawn_blocking(move || lock_file(&lock))
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;

    if directory.exists() {
        task.status("compares with recorded hashes");
        match verify(&directory).await {
            Ok(()) => return Ok(artefacts),
            Err(damage) => {
                task.status(format!("the cache entry is damaged ({damage}); builds it again"));
                files::remove(&directory).context(KeepSnafu)?;
            }
        }
    }

    let work = root.join(format!(".build-{key}"));
    files::remove(&work).context(KeepSnafu)?;
    let (sources, out) = (work.join("sources"), work.join("out"));
    extract(&RECIPES, &sources).context(KeepSnafu)?;
    files::make_directory(&out, Access::Public).context(KeepSnafu)?;
    for program in &PROGRAMS {
        let child = task.child(program.name);
        child.end_with(build(program, &sources, &out, &child).await)?;
    }
    write_manifest(&out).await?;
    if let Err(damage) = verify(&out).await {
        return MismatchSnafu { path: out.join(damage) }.fail();
    }
    fs::rename(&out, &directory)
        .context(files::FileSnafu { verb: "put into place", path: &directory })
        .context(KeepSnafu)?;
    files::remove(&work).context(KeepSnafu)?;
    Ok(artefacts)
}

/// Are the programs in the cache? Does not compare hashes.
pub(crate) async fn is_built(cache_dir: &Path) -> bool {
    match go_version().await {
        Ok(version) => cache_dir.join("kubernetes").join(key(&version)).join(MANIFEST).exists(),
        Err(_) => false,
    }
}

/// What Go says of itself, such as `go1.26.8 linux/amd64`.
async fn go_version() -> Result<String, ArtefactError> {
    let text = command::run("go", &["env", "GOVERSION", "GOOS", "GOARCH"]).await.context(CompilerSnafu)?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let version = parse_go_version(&text).context(TooOldSnafu { found: &text })?;
    if version < OLDEST_GO {
        return TooOldSnafu { found: format!("{}.{}", version.0, version.1) }.fail();
    }
    Ok(text)
}

/// Major and minor of a text such as `go1.26.8 linux/amd64`.
pub fn parse_go_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What names the content: recipes, compiler, flags.
fn key(go_version: &str) -> String {
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
fn sources<'a>(directory: &'a Dir<'a>) -> BTreeMap<String, &'a [u8]> {
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

fn extract(recipes: &Dir<'_>, to: &Path) -> Result<(), FileError> {
    for (path, content) in sources(recipes) {
        files::write(&to.join(path), content, Access::Public)?;
    }
    Ok(())
}

fn command_line(program: &Program, out: &Path) -> (&'static str, Vec<String>) {
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

async fn build(
    program: &'static Program,
    sources: &Path,
    out: &Path,
    task: &Task,
) -> Result<(), ArtefactError> {
    let (compiler, arguments) = command_line(program, out);
    let directory = sources.join(program.recipe);
    let mut command = Command::new(compiler);
    command
        .args(&arguments)
        .current_dir(&directory)
        .env("LC_ALL", "C")
        // Flags of the user's environment would make other programs than the key says.
        .env("GOFLAGS", "-mod=readonly")
        .env("GOWORK", "off")
        .env("GOTOOLCHAIN", "local")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    let mut total = 0;
    if let How::Go { cgo, package, tags, .. } = &program.how {
        command.env("CGO_ENABLED", if *cgo { "1" } else { "0" });
        total = count_packages(&directory, package, tags).await;
    }
    let mut child = command.spawn().map_err(|source| ArtefactError::Compiler {
        source: CommandError::Start { program: compiler.to_owned(), source },
    })?;
    let mut last: Vec<String> = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr).lines();
        let mut done = 0;
        while let Ok(Some(line)) = lines.next_line().await {
            // With -v the compiler names each package it is done with, and modules that it fetches.
            if line.starts_with("go: downloading") {
                task.status(line.trim_start_matches("go: ").to_owned());
            } else if !line.contains(' ') {
                done += 1;
                task.progress(done, total.max(done), "packages");
                continue;
            }
            last.push(line);
            if last.len() > 12 {
                last.remove(0);
            }
        }
    }
    match child.wait().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            last.retain(|line| !line.starts_with("go: downloading"));
            let said = if last.is_empty() { status.to_string() } else { last.join("\n") };
            BuildSnafu { program: program.name, said }.fail()
        }
        Err(error) => BuildSnafu { program: program.name, said: error.to_string() }.fail(),
    }
}

/// How many packages a program is made of; 0 if that cannot be told, for progress is not worth a failure.
async fn count_packages(directory: &Path, package: &str, tags: &str) -> u64 {
    let directory = directory.display().to_string();
    let tags = format!("-tags={tags}");
    command::run("go", &["-C", &directory, "list", "-mod=readonly", &tags, "-deps", package])
        .await
        .map_or(0, |text| text.lines().count() as u64)
}

fn lock_file(path: &Path) -> Result<Flock<fs::File>, ArtefactError> {
    let file = fs::File::create(path).context(files::FileSnafu { verb: "open", path }).context(KeepSnafu)?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno.into())
        .context(files::FileSnafu { verb: "lock", path })
        .context(KeepSnafu)
}

/// Compare every file with its recorded hash. Fails with the name of what does not match.
async fn verify(directory: &Path) -> Result<(), String> {
    let manifest = fs::read(directory.join(MANIFEST)).map_err(|_| MANIFEST.to_owned())?;
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|_| MANIFEST.to_owned())?;
    for program in &PROGRAMS {
        if !manifest.sha256.contains_key(program.name) {
            return Err(program.name.to_owned());
        }
    }
    let stamps = || -> Option<BTreeMap<String, Stamp>> {
        manifest.sha256.keys().map(|name| Some((name.clone(), Stamp::of(&directory.join(name))?))).collect()
    };
    let before = stamps().ok_or("a file is missing")?;
    let record = directory.join(VERIFIED);
    let verified = fs::read(&record).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if verified.as_ref() == Some(&before) {
        return Ok(());
    }
    let names: Vec<&str> = manifest.sha256.keys().map(String::as_str).collect();
    let found = hashes(directory, &names).await.map_err(|error| error.to_string())?;
    if let Some((name, _)) = manifest.sha256.iter().find(|(name, hash)| found.get(*name) != Some(*hash)) {
        return Err(name.clone());
    }
    // Those from before: a write meanwhile makes the next look compare again. Only a record: without it, too.
    let _ = files::write(&record, &serde_json::to_vec(&before).unwrap_or_default(), Access::Public);
    Ok(())
}

async fn write_manifest(directory: &Path) -> Result<(), ArtefactError> {
    let names: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
    let sha256 = hashes(directory, &names)
        .await
        .map_err(|error| ArtefactError::Build { program: "the manifest", said: error.to_string() })?;
    let text = serde_json::to_vec_pretty(&Manifest { sha256 }).unwrap_or_default();
    files::write(&directory.join(MANIFEST), &text, Access::Public).context(KeepSnafu)?;
    Ok(())
}

/// Hashes of files. By coreutils: a third of a gigabyte on every `up` wants the fastest code there is.
async fn hashes(directory: &Path, names: &[&str]) -> Result<BTreeMap<String, String>, CommandError> {
    let halves = names.split_at(names.iter().position(|name| *name == "kube").unwrap_or(names.len() / 2));
    let hash = async |names: &[&str]| -> Result<String, CommandError> {
        if names.is_empty() {
            return Ok(String::new());
        }
        let paths: Vec<PathBuf> = names.iter().map(|name| directory.join(name)).collect();
        command::run("sha256sum", &paths).await
    };
    let (first, second) = tokio::try_join!(hash(halves.0), hash(halves.1))?;
    Ok((first + &second)
        .lines()
        .filter_map(|line| line.split_once("  "))
        .filter_map(|(hash, path)| Some((Path::new(path).file_name()?.to_str()?.to_owned(), hash.to_owned())))
        .collect())
}

/// The hash of one file, in hex. `memory` is a file that holds what was last said, for a file that did not change.
pub(crate) async fn sha256_remembered(path: &Path, memory: &Path) -> Result<String, CommandError> {
    let stamp = Stamp::of(path);
    let remembered: Option<(Option<Stamp>, String)> =
        fs::read(memory).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if let Some((Some(known), hash)) = remembered
        && stamp.as_ref() == Some(&known)
    {
        return Ok(hash);
    }
    let hash = sha256(path).await?;
    let text = serde_json::to_vec(&(stamp, &hash)).unwrap_or_default();
    // Only a memory: without it the hash is computed again.
    let _ = files::write(memory, &text, Access::Public);
    Ok(hash)
}

/// The hash of one file, in hex.
async fn sha256(path: &Path) -> Result<String, CommandError> {
    let text = command::run("sha256sum", &["--zero".as_ref(), path]).await?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Put the programs where an instance runs them from, so that it survives a cleaned cache: as hard links, or copies
/// where the file systems differ. What older versions left there is removed if no one says it is in use.
pub async fn install(artefacts: &Artefacts, to: &Path) -> Result<PathBuf, ArtefactError> {
    let place = to.join(artefacts.key());
    if place.exists() && verify(&place).await.is_ok() {
        return Ok(place);
    }
    let new = to.join(format!(".new-{}", artefacts.key()));
    files::remove(&new).context(KeepSnafu)?;
    files::make_directory(&new, Access::Public).context(KeepSnafu)?;
    for name in PROGRAMS.iter().map(|program| program.name).chain([MANIFEST, VERIFIED]) {
        let (from, into) = (artefacts.directory.join(name), new.join(name));
        if fs::hard_link(&from, &into).is_err() {
            fs::copy(&from, &into)
                .context(files::FileSnafu { verb: "copy", path: &from })
                .context(KeepSnafu)?;
        }
    }
    files::remove(&place).context(KeepSnafu)?;
    fs::rename(&new, &place)
        .context(files::FileSnafu { verb: "put into place", path: &place })
        .context(KeepSnafu)?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipes_pin_what_the_flags_say() {
        let text = |path: &str| RECIPES.get_file(path).unwrap().contents_utf8().unwrap();
        assert!(text("kube/go.mod").contains(&format!("k8s.io/kubernetes {KUBERNETES}")));
        assert!(text("containerd/go.mod").contains("github.com/containerd/containerd/v2 v2.4.2"));
        assert!(text("runc/go.mod").contains("github.com/opencontainers/runc v1.5.2"));
        for recipe in ["kube", "containerd", "runc", "cni"] {
            assert!(RECIPES.get_file(format!("{recipe}/go.sum")).is_some(), "{recipe} has no hashes");
        }
    }

    #[test]
    fn the_key_tells_compilers_apart_and_nothing_else() {
        assert_eq!(key("go1.26.8 linux amd64"), key("go1.26.8 linux amd64"));
        assert_ne!(key("go1.26.8 linux amd64"), key("go1.26.9 linux amd64"));
        assert!(!sources(&RECIPES).keys().any(|path| path.ends_with("_test.go")));
    }

    #[test]
    fn versions_of_go() {
        assert_eq!(parse_go_version("go1.26.8 linux amd64"), Some((1, 26)));
        assert_eq!(parse_go_version("go1.27rc1 linux amd64"), Some((1, 27)));
        assert_eq!(parse_go_version("devel"), None);
    }

    fn fake(directory: &Path) {
        for program in &PROGRAMS {
            fs::write(directory.join(program.name), program.name).unwrap();
        }
    }

    #[tokio::test]
    async fn a_changed_or_missing_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        fake(directory.path());
        assert_eq!(verify(directory.path()).await.unwrap_err(), "manifest.json");
        write_manifest(directory.path()).await.unwrap();
        assert_eq!(verify(directory.path()).await, Ok(()));
        fs::write(directory.path().join("runc"), "changed").unwrap();
        assert_eq!(verify(directory.path()).await.unwrap_err(), "runc");
        fs::remove_file(directory.path().join("runc")).unwrap();
        assert!(verify(directory.path()).await.is_err());
    }

    #[tokio::test]
    async fn an_instance_has_its_own_links_to_the_programs() {
        let (cache, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fake(cache.path());
        write_manifest(cache.path()).await.unwrap();
        assert_eq!(verify(cache.path()).await, Ok(()));
        let artefacts = Artefacts { directory: cache.path().into(), key: "abc".into() };
        let place = install(&artefacts, state.path()).await.unwrap();
        assert_eq!(place, install(&artefacts, state.path()).await.unwrap());
        assert_eq!(verify(&place).await, Ok(()));
    }

    #[test]
    fn a_wrong_hash_of_a_module_is_a_matter_of_integrity() {
        let said = "verifying k8s.io/api@v0.37.2: checksum mismatch\nSECURITY ERROR".to_owned();
        let error = ArtefactError::Build { program: "kube", said };
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(error.hint().unwrap().contains("GOPROXY"));
    }
}
