//! What the test of a real node looks with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use oaas_node::Images;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Ask until the answer is good; fail with the last one.
pub async fn wait_for(what: &str, patience: Duration, ask: impl AsyncFn() -> Result<(), String>) {
    let until = Instant::now() + patience;
    loop {
        match ask().await {
            Ok(()) => return,
            Err(why) => assert!(Instant::now() < until, "{what}: not within {patience:?}: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// An image cache that holds the image of one program.
pub fn image_cache(directory: &Path, program: &Path) -> Images {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory");
    let put = |content: &[u8]| {
        let hash = hex::encode(Sha256::digest(content));
        fs::write(blobs.join(&hash), content).expect("a blob");
        (format!("sha256:{hash}"), content.len())
    };
    let tree = tempfile::tempdir().expect("a directory");
    fs::copy(program, tree.path().join("pause")).expect("the program");
    let layer =
        Command::new("tar").arg("-C").arg(tree.path()).args(["-c", "pause"]).output().expect("tar").stdout;
    let (layer, layer_size) = put(&layer);
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
        "config": { "Entrypoint": ["/pause"] },
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    });
    let (config, config_size) = put(config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": layer_size }],
    });
    let (manifest, _) = put(manifest.to_string().as_bytes());
    Images { cache: directory.to_owned(), pause: format!("oaas.local/pause@{manifest}") }
}

/// What of the host must be as it was.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    links: BTreeSet<String>,
    rules: String,
    cgroups: BTreeSet<PathBuf>,
    settings: Vec<(&'static str, String)>,
    mounts: BTreeSet<String>,
    routes: String,
    claims: bool,
}

impl Snapshot {
    /// Look at the host. What belongs to other embedded clusters is left out: they may come and go meanwhile.
    pub fn take() -> Self {
        const SETTINGS: [&str; 9] = [
            "net.ipv4.ip_forward",
            "net.ipv4.conf.all.route_localnet",
            "fs.inotify.max_user_instances",
            "fs.inotify.max_user_watches",
            "kernel.panic",
            "kernel.panic_on_oops",
            "kernel.keys.root_maxkeys",
            "vm.overcommit_memory",
            "vm.panic_on_oom",
        ];
        let ours = |text: &str| text.contains("nodetest") || text.contains("oaas-node-test");
        let names = |path: &str| -> BTreeSet<String> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        };
        let output = |program: &str, arguments: &[&str]| {
            String::from_utf8_lossy(&Command::new(program).args(arguments).output().expect(program).stdout)
                .into_owned()
        };
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let rules = output("nft", &["-s", "list", "tables"]);
        Self {
            links: names("/sys/class/net").into_iter().filter(|link| link.starts_with("node")).collect(),
            rules: rules.lines().filter(|line| ours(line)).collect(),
            cgroups: fs::read_dir("/sys/fs/cgroup")
                .into_iter()
                .flatten()
                .flatten()
                .flat_map(|tree| fs::read_dir(tree.path()).into_iter().flatten().flatten())
                .map(|entry| entry.path())
                .filter(|path| ours(&path.to_string_lossy()))
                .collect(),
            settings: SETTINGS.map(|key| (key, setting(key))).to_vec(),
            mounts: mounts
                .lines()
                .filter(|line| ours(line) || line.contains(" /run/netns "))
                .map(str::to_owned)
                .collect(),
            routes: output("ip", &["route"]).lines().filter(|line| line.contains("node")).collect(),
            claims: Path::new("/run/oaas-claims").exists(),
        }
    }

    /// Is all as it was?
    pub fn compare(&self, after: &Self) {
        assert_eq!(self, after, "the host is not as it was");
        let left = processes_named("oaas-node-test");
        assert!(left.is_empty(), "processes are left: {left:?}");
    }
}

fn setting(key: &str) -> String {
    fs::read_to_string(Path::new("/proc/sys").join(key.replace('.', "/"))).unwrap_or_default()
}

fn processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn arguments(pid: i32) -> Vec<String> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).split('\0').map(str::to_owned).collect()
}

fn processes_named(word: &str) -> Vec<(i32, Vec<String>)> {
    let own = i32::try_from(std::process::id()).expect("an id");
    processes()
        .filter(|pid| *pid != own)
        .map(|pid| (pid, arguments(pid)))
        .filter(|(_, arguments)| arguments.iter().any(|argument| argument.contains(word)))
        .collect()
}

/// What names the PID namespace of a process.
pub fn pid_namespace(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// All processes of a PID namespace, by the host's ids.
pub fn processes_in(namespace: &Path) -> Vec<i32> {
    processes().filter(|pid| pid_namespace(*pid).as_deref() == Some(namespace)).collect()
}

/// The process of a node whose arguments are, in order and up to directories, these words.
pub fn find_process(first: i32, words: &[&str]) -> Option<i32> {
    let namespace = pid_namespace(first)?;
    processes_in(&namespace).into_iter().find(|pid| {
        let arguments = arguments(*pid);
        let base = |text: &String| text.rsplit('/').next().unwrap_or_default().to_owned();
        let given: Vec<String> = arguments.iter().map(base).collect();
        given.windows(words.len()).any(|window| window == words)
    })
}
