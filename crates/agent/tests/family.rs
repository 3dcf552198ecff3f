//! Programs in Python that one process forks: what they share is imported once, they end together, and more can be asked for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);

/// What is imported once: it says so, and by whom.
const SHARED: &str = "import os\nos.write(1, f'imported by {os.getpid()}\\n'.encode())\nBY = os.getpid()\n";

/// A member: it says who it is, and ends as it is told, by a file or by a signal.
const MEMBER: &str = "#!/usr/bin/env python3
import os, signal, sys, time
import shared
def stop(*_):
    os.write(1, f'{sys.argv[1]} is stopped\\n'.encode())
    sys.exit(3 if sys.argv[1] == 'one' else 4)
signal.signal(signal.SIGTERM, stop)
comm = open('/proc/self/comm').read().strip()
os.write(1, f'{sys.argv[1]} runs as {comm} with {shared.BY == os.getppid()}\\n'.encode())
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
sys.exit(5)
";

/// A helper: it ends with the code that it is told.
const HELPER: &str = "#!/usr/bin/env python3
import os, sys
import shared
os.write(1, f'helper with {shared.BY == os.getppid()}\\n'.encode())
sys.exit(int(sys.argv[1]))
";

struct Agent {
    child: Child,
    dir: TempDir,
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Agent {
    fn start(shared: &str, helpers: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("bin")).unwrap();
        fs::create_dir(path("tmp")).unwrap();
        fs::create_dir(path("lib")).unwrap();
        fs::write(path("lib/shared.py"), shared).unwrap();
        script(&path("bin/a-member"), MEMBER);
        script(&path("bin/a-helper"), HELPER);
        std::os::unix::fs::symlink(which("python3"), path("bin/python")).unwrap();
        let config = json!({
            "component": "test",
            "role": {"family": {
                "imports": ["shared", "nothing_of_this_name"],
                "programs": [["a-member", "one", path("end-one")], ["a-member", "two", path("end-two")]],
                "helpers": helpers,
                "stop": {"grace_seconds": 10},
            }},
        });
        fs::write(path("agent.json"), config.to_string()).unwrap();
        let out = fs::File::create(path("out")).unwrap();
        let child = Self::command(dir.path())
            .arg(path("agent.json"))
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    /// The agent's program, in the environment that the family has.
    fn command(dir: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oaas-agent"));
        let path = std::env::var("PATH").unwrap();
        command
            .env("TMPDIR", dir.join("tmp"))
            .env("PYTHONPATH", dir.join("lib"))
            .env("PATH", format!("{}:{path}", dir.join("bin").display()))
            .stdin(Stdio::null());
        command
    }

    fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("out")).unwrap()
    }

    fn until(&self, what: &str) {
        let start = Instant::now();
        while !self.said().contains(what) {
            assert!(start.elapsed() < LIMIT, "`{what}` is not said: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn code(&mut self) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(start.elapsed() < LIMIT, "the agent does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It takes its programs along, where it is asked.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn which(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.exists()).unwrap()
}

#[test]
fn what_is_shared_is_imported_once_and_a_stop_reaches_all() {
    for helpers in [false, true] {
        let mut agent = Agent::start(SHARED, helpers);
        agent.until("one runs as a-member with True");
        agent.until("two runs as a-member with True");
        assert_eq!(agent.said().matches("imported by").count(), 1, "{}", agent.said());
        assert!(agent.said().contains("nothing_of_this_name is not shared"), "{}", agent.said());
        kill(Pid::from_raw(agent.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert_eq!(agent.code(), 3);
        agent.until("one is stopped");
        agent.until("two is stopped");
    }
}

#[test]
fn the_end_of_one_is_the_end_of_all() {
    for helpers in [false, true] {
        let mut agent = Agent::start(SHARED, helpers);
        agent.until("one runs");
        agent.until("two runs");
        fs::write(agent.dir.path().join("end-two"), "").unwrap();
        assert_eq!(agent.code(), 5);
        assert!(agent.said().contains("a-member ended with code 5"), "{}", agent.said());
    }
}

#[test]
fn one_more_program_is_forked_for_whoever_asks() {
    let agent = Agent::start(SHARED, true);
    agent.until("two runs");
    for code in [0, 7] {
        let words = ["agent", "fork", "--", "a-helper", &code.to_string()];
        let status = Agent::command(agent.dir.path()).args(words).status().unwrap();
        assert_eq!(status.code(), Some(code), "{}", agent.said());
    }
    assert_eq!(agent.said().matches("helper with True").count(), 2, "{}", agent.said());
    assert_eq!(agent.said().matches("imported by").count(), 1, "{}", agent.said());
    let nobody = tempfile::tempdir().unwrap();
    let asked =
        Agent::command(nobody.path()).args(["agent", "fork", "--", "a-helper", "0"]).output().unwrap();
    assert!(!asked.status.success());
    assert!(String::from_utf8_lossy(&asked.stderr).contains("failed to have a-helper 0 run"));
}

#[test]
fn nothing_is_forked_beside_threads() {
    let threads = format!(
        "{SHARED}import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True).start()\n"
    );
    let mut agent = Agent::start(&threads, true);
    assert_ne!(agent.code(), 0);
    assert!(agent.said().contains("starts threads when it is imported"), "{}", agent.said());
    assert!(!agent.said().contains("runs as"), "{}", agent.said());
}
