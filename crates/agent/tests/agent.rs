//! The agent as the parent of real processes on this machine: exit codes, signals, probes, hangs, orphans.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);

struct Agent {
    child: Child,
    dir: TempDir,
    port: u16,
}

/// A port that nobody listens on at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn process(command: &[&str]) -> Value {
    json!({"program": {"command": command, "stop": {"grace_seconds": 2}}})
}

impl Agent {
    /// Run the agent with a role `process` and some probes; `wrap` is put before its command.
    fn start_with(wrap: &[&str], process: &Value, live: &Value, ready: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = json!({
            "component": "test",
            "role": {"process": process},
            "health": {"port": port, "bind": "127.0.0.1", "live": live, "ready": ready},
        });
        let path = dir.path().join("agent.json");
        fs::write(&path, config.to_string()).unwrap();
        let mut words: Vec<&str> = wrap.to_vec();
        words.push(env!("CARGO_BIN_EXE_oaas-agent"));
        let out = fs::File::create(dir.path().join("out")).unwrap();
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg(&path)
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, dir, port }
    }

    fn start(process: &Value) -> Self {
        Self::start_with(&[], process, &json!([]), &json!([]))
    }

    fn out(&self) -> String {
        fs::read_to_string(self.dir.path().join("out")).unwrap()
    }

    fn exit_code(&mut self) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(start.elapsed() < LIMIT, "the agent does not end: {}", self.out());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn get(&self, path: &str) -> Option<(u16, Value)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, serde_json::from_str(body).ok()?))
    }

    /// Ask until the status is the one wanted; gives the body.
    fn until(&self, path: &str, wanted: u16) -> Value {
        let start = Instant::now();
        loop {
            match self.get(path) {
                Some((status, body)) if status == wanted => return body,
                other => assert!(
                    start.elapsed() < LIMIT,
                    "{path} does not give {wanted}: {other:?}; {}",
                    self.out()
                ),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Wait until the output holds a text.
    fn says(&self, text: &str) {
        let start = Instant::now();
        while !self.out().contains(text) {
            assert!(start.elapsed() < LIMIT, "no {text:?} in {}", self.out());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The process that the agent started, of this name.
    fn program(&self, name: &str) -> Pid {
        let agent = self.child.id();
        let children = fs::read_to_string(format!("/proc/{agent}/task/{agent}/children")).unwrap();
        let pid = children.split_whitespace().find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
        });
        Pid::from_raw(pid.expect("the program runs").parse().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            self.signal(Signal::SIGTERM);
            let start = Instant::now();
            while self.child.try_wait().ok().flatten().is_none() && start.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[test]
fn the_program_s_exit_code_and_signal_are_handed_on() {
    assert_eq!(Agent::start(&process(&["sh", "-c", "exit 7"])).exit_code(), 7);
    assert_eq!(Agent::start(&process(&["sh", "-c", "kill -KILL $$"])).exit_code(), 137);
    assert_eq!(Agent::start(&process(&["true"])).exit_code(), 0);
    let mut missing = Agent::start(&process(&["/no/such/program"]));
    assert_eq!(missing.exit_code(), 3);
    assert!(missing.out().contains("failed to start program (/no/such/program)"), "{}", missing.out());
    assert!(missing.out().contains("check that the image holds /no/such/program"), "{}", missing.out());
}

#[test]
fn signals_reach_the_program() {
    let script = "trap 'echo hup' HUP; trap 'echo term; exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let mut agent = Agent::start(&process(&["sh", "-c", script]));
    agent.says("up");
    agent.signal(Signal::SIGHUP);
    agent.says("hup");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), 5);
    assert!(agent.out().contains("term"));
}

#[test]
fn a_deaf_program_is_killed_after_its_grace() {
    let mut agent =
        Agent::start(&process(&["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"]));
    agent.says("up");
    let start = Instant::now();
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), 137);
    assert!(start.elapsed() >= Duration::from_secs(2) && start.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_stopped_program_is_ended_too() {
    let mut agent = Agent::start(&process(&["sleep", "100"]));
    agent.until("/ready", 200);
    kill(agent.program("sleep"), Signal::SIGSTOP).unwrap();
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), 143);
}

#[test]
fn what_the_program_leaves_in_its_group_goes_with_it() {
    let mut agent = Agent::start(&process(&["sh", "-c", "sleep 1000 & echo left $!; exit 3"]));
    assert_eq!(agent.exit_code(), 3);
    let out = agent.out();
    let left: i32 = out.split("left ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let start = Instant::now();
    while kill(Pid::from_raw(left), None).is_ok() {
        assert!(start.elapsed() < LIMIT, "{left} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_stopped_worker_fails_live_and_comes_back() {
    let worker = json!([{"name": "worker", "probe": {"worker": {}}}]);
    let agent =
        Agent::start_with(&[], &process(&["sh", "-c", "while :; do sleep 0.05; done"]), &worker, &worker);
    agent.until("/live", 200);
    let program = agent.program("sh");
    kill(program, Signal::SIGSTOP).unwrap();
    let body = agent.until("/live", 503);
    assert_eq!(body["failing"][0]["why"], format!("process {program} (sh) is stopped"));
    kill(program, Signal::SIGCONT).unwrap();
    agent.until("/live", 200);
}

#[test]
fn a_worker_must_be_connected_to_the_bus() {
    let bus = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = bus.local_addr().unwrap().port();
    let worker = json!([{"name": "bus", "probe": {"worker": {"bus_port": port}}}]);
    let script = format!("sleep 1; exec 3<>/dev/tcp/127.0.0.1/{port}; while :; do sleep 0.05; done");
    let agent = Agent::start_with(&[], &process(&["bash", "-c", &script]), &json!([]), &worker);
    let body = agent.until("/ready", 503);
    let why = body["failing"][0]["why"].as_str().unwrap_or_default().to_owned();
    assert!(why.is_empty() || why.contains("no process has a connection to the bus"), "{body}");
    let (connection, _) = bus.accept().unwrap();
    agent.until("/ready", 200);
    drop(connection);
    // The process has not noticed: the connection is half closed, which is not established any more.
    agent.until("/ready", 503);
}

#[test]
fn a_hung_http_server_gives_503_in_bounded_time() {
    let port = free_port();
    let check = json!([{"name": "api", "timeout_ms": 1000, "probe": {"http": {"url": format!("http://127.0.0.1:{port}/")}}}]);
    let server = process(&["python3", "-m", "http.server", "--bind", "127.0.0.1", &port.to_string()]);
    let agent = Agent::start_with(&[], &server, &check, &check);
    agent.until("/ready", 200);
    kill(agent.program("python3"), Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let start = Instant::now();
    let (status, body) = agent.get("/live").unwrap();
    assert_eq!(status, 503);
    assert_eq!(body["failing"][0], json!({"check": "api", "why": "no answer within 1000 ms"}));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    kill(agent.program("python3"), Signal::SIGCONT).unwrap();
    agent.until("/live", 200);
}

#[test]
fn what_is_waited_for_is_said_and_a_restart_is_not_asked_for() {
    let port = free_port();
    let wait = json!({"wait_for": {"why": "the database", "check": {"name": "port", "probe": {"tcp": {"port": port}}}}});
    let mut process = process(&["sleep", "100"]);
    process["pre"] = json!([wait]);
    let agent = Agent::start(&process);
    let body = agent.until("/ready", 503);
    assert_eq!(body["phase"], "preparing");
    assert_eq!(agent.get("/startup").unwrap().0, 503);
    assert_eq!(agent.get("/live").unwrap().0, 200);
    agent.says("waits for the database: failed to connect to 127.0.0.1");
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    agent.until("/ready", 200);
    assert_eq!(agent.get("/status").unwrap().1["phase"], "running");
    drop(listener);
}

#[test]
fn while_it_stops_it_is_not_ready_and_serves_on() {
    let mut process =
        process(&["sh", "-c", "trap 'echo farewell; exit 0' TERM; while :; do sleep 0.05; done"]);
    process["program"]["stop"]["drain_seconds"] = json!(2);
    let mut agent = Agent::start(&process);
    agent.until("/ready", 200);
    agent.signal(Signal::SIGTERM);
    let body = agent.until("/ready", 503);
    assert_eq!(body["phase"], "stopping");
    assert!(!agent.out().contains("farewell"), "it was asked before the time to drain was over");
    assert_eq!(agent.get("/live").unwrap().0, 200);
    assert_eq!(agent.exit_code(), 0);
    assert!(agent.out().contains("farewell"));
}

#[test]
fn a_preparation_that_fails_ends_the_agent_with_what_was_said() {
    let mut process = process(&["sleep", "100"]);
    process["pre"] = json!([{"run": {"why": "collect", "program": {"command": ["sh", "-c", "echo no space left >&2; exit 4"]}}}]);
    let mut agent = Agent::start(&process);
    assert_eq!(agent.exit_code(), 1);
    assert!(
        agent.out().contains("failed to run collect: it exited with code 4: no space left"),
        "{}",
        agent.out()
    );
}

#[test]
fn a_wrong_configuration_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("agent.json");
    let run = |text: &str| {
        fs::write(&path, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_oaas-agent")).arg(&path).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(r#"{"component": "x", "role": {"process": {"program": {"comand": []}}}}"#);
    assert_eq!(code, Some(2));
    assert!(said.contains("unknown field `comand`") && said.contains("line 1"), "{said}");
    fs::remove_file(&path).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_oaas-agent")).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_taken_port_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "component": "test", "role": {"process": process(&["sleep", "100"])},
        "health": {"port": port, "bind": "127.0.0.1"},
    });
    let path = dir.path().join("agent.json");
    fs::write(&path, config.to_string()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_oaas-agent")).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("port {port} is taken")), "{said}");
}

/// Needs root, for the namespace in which the agent is PID 1.
#[test]
fn as_pid_1_it_reaps_orphans_and_not_its_own_children() {
    // Twenty orphans, each the child of a shell that is gone already.
    let script = "mount -t proc proc /proc; for n in $(seq 20); do (sleep 0.3 &) ; done; sleep 1.5; \
        echo zombies $(cat /proc/[0-9]*/stat | grep -c ' Z '); exit 6";
    let wrap = ["unshare", "--pid", "--fork", "--kill-child", "--mount"];
    let mut agent = Agent::start_with(&wrap, &process(&["sh", "-c", script]), &json!([]), &json!([]));
    assert_eq!(agent.exit_code(), 6, "{}", agent.out());
    assert!(agent.out().contains("zombies 0"), "{}", agent.out());
}
