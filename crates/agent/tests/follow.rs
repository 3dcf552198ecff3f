//! Programs in Python under the agent take options that change while they run, in each of their processes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

/// What of oslo.config the module meets, in little: options are read from all files of a directory, and a file that cannot
/// be understood is an error (oslo.config's `cfg.py`).
const OSLO_CONFIG: &str = r#"
import glob
class ConfigOpts:
    def __init__(self):
        self.default_config_dirs, self.config_dirs, self._mutate_hooks = [], [], set()
    def __call__(self, directory):
        self.default_config_dirs = [directory]
        self.values = self.parse()
    def parse(self):
        lines = [line for name in glob.glob(self.default_config_dirs[0] + "/*.conf") for line in open(name)]
        return dict(line.strip().split(" = ") for line in lines)
    def mutate_config_files(self):
        before, self.values = self.values, self.parse()
        return {(None, name): (before.get(name), value) for name, value in self.values.items() if before.get(name) != value}
"#;

/// A parent with a child that was forked after the options were read; each says what it has.
const PROGRAM: &str = r#"
import os, sys, time
from oslo_config import cfg
conf = cfg.ConfigOpts()
conf(sys.argv[1])
who = "parent" if os.fork() else "child"
said = None
while True:
    if conf.values != said:
        said = conf.values
        # In one piece: both write to the same file.
        os.write(1, f"{who} has {said['debug']}\n".encode())
    time.sleep(0.05)
"#;

/// Put a file where a mounted Secret has it, as the kubelet does: a new directory, and a link that is turned to it.
fn put(directory: &Path, version: &str, text: &str) {
    let new = directory.join(format!("..{version}"));
    fs::create_dir_all(&new).unwrap();
    fs::write(new.join("x.conf"), text).unwrap();
    std::os::unix::fs::symlink(new.file_name().unwrap(), directory.join("..new")).unwrap();
    fs::rename(directory.join("..new"), directory.join("..data")).unwrap();
    let file = directory.join("x.conf");
    if !file.is_symlink() {
        std::os::unix::fs::symlink("..data/x.conf", file).unwrap();
    }
}

#[test]
fn every_process_takes_what_changes_and_lives_through_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("lib/oslo_config")).unwrap();
    fs::write(path("lib/oslo_config/__init__.py"), "").unwrap();
    fs::write(path("lib/oslo_config/cfg.py"), OSLO_CONFIG).unwrap();
    fs::write(path("program.py"), PROGRAM).unwrap();
    fs::create_dir(path("live")).unwrap();
    fs::create_dir(path("tmp")).unwrap();
    put(&path("live"), "1", "debug = false\n");
    let config = json!({
        "component": "test",
        "role": {"process": {"program": {"command": ["python3", path("program.py"), path("live")], "stop": {"grace_seconds": 2, "group": true}}}},
        "follows": path("live"),
    });
    fs::write(path("agent.json"), config.to_string()).unwrap();
    let out = fs::File::create(path("out")).unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_oaas-agent"))
        .arg(path("agent.json"))
        .env("TMPDIR", path("tmp"))
        .env("PYTHONPATH", path("lib"))
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(path("out")).unwrap();
    let until = |what: &str, times: usize| {
        let start = Instant::now();
        while said().matches(what).count() < times {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "`{what}` is not said {times} times: {}",
                said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until("parent has false", 1);
    until("child has false", 1);
    put(&path("live"), "2", "debug = true\n");
    until("parent has true", 1);
    until("child has true", 1);
    put(&path("live"), "3", "what no file of options says\n");
    until("failed to take what changed", 2);
    put(&path("live"), "4", "debug = false\n");
    until("parent has false", 2);
    until("child has false", 2);
    assert_eq!(said().matches("took from").count(), 4, "{}", said());
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(agent.id().cast_signed()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    agent.wait().unwrap();
}
