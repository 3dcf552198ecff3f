//! Pods of namespaces: an overlay over the root directory, a network of their own, the agent as PID 1.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// The root of an image, below the directory that the environment names.
fn root(image: &str) -> PathBuf {
    let roots = std::env::var_os("OAAS_TEST_ROOT")
        .expect("OAAS_TEST_ROOT must name a directory with a root for each image");
    let root = PathBuf::from(roots).join(image);
    assert!(root.join("usr/bin").exists(), "there is no root at {}", root.display());
    root
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// A network of pods; the test's thread is in it, at 10.99.0.254.
pub struct Network {
    /// The image that its pods run.
    image: &'static str,
    switch: Child,
    /// Holds what the pods share: certificates, passwords, hosts.
    pub dir: TempDir,
    names: Vec<String>,
}

impl Network {
    /// A network in which pods of an image exist, of these full names, the first at 10.99.0.1.
    pub fn new(image: &'static str, names: &[&str]) -> Self {
        let switch = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        for (index, name) in names.iter().enumerate() {
            writeln!(hosts, "10.99.0.{} {name} {}", index + 1, name.split('.').next().unwrap()).unwrap();
        }
        fs::write(dir.path().join("hosts"), hosts).unwrap();
        let network = Self { image, switch, dir, names };
        network.certificates();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", network.switch.id());
        wait("the switch's network", Duration::from_secs(10), || {
            fs::read_link(&theirs).is_ok_and(|link| link != own)
        });
        setns(File::open(&theirs).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        for arguments in [
            "link set lo up",
            "link add br0 type bridge",
            "addr add 10.99.0.254/24 dev br0",
            "link set br0 up",
        ] {
            run(Command::new("ip").args(arguments.split(' ')));
        }
        network
    }

    fn certificates(&self) {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let tls = self.dir.path().join("tls");
        fs::create_dir(&tls).unwrap();
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "test CA");
        let ca_cert = ca.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca, ca_key);
        let mut names = self.names.clone();
        names.push("localhost".to_owned());
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        fs::write(tls.join("ca.crt"), ca_cert.pem()).unwrap();
        fs::write(tls.join("tls.crt"), leaf.pem()).unwrap();
        fs::write(tls.join("tls.key"), key.serialize_pem()).unwrap();
    }

    /// Write a password file; gives its path inside pods.
    pub fn password(&self, name: &str, password: &str) -> String {
        let accounts = self.dir.path().join("accounts");
        fs::create_dir_all(&accounts).unwrap();
        fs::write(accounts.join(name), password).unwrap();
        format!("/mnt/accounts/{name}")
    }

    /// A file that pods find below `/mnt`.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.dir.path().join(name), content).unwrap();
    }

    /// A pod by the index of its name; it does not run yet.
    pub fn pod(&self, index: usize, volume: &str) -> Pod {
        let name = self.names[index].split('.').next().unwrap().to_owned();
        let dir = tempfile::tempdir().unwrap();
        for part in ["upper", "work", "root", "volume"] {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        Pod {
            name,
            address: format!("10.99.0.{}", index + 1),
            image: self.image,
            index,
            shared: self.dir.path().to_owned(),
            mount: volume.to_owned(),
            dir,
            switch: self.switch.id(),
            starts: 0,
            running: None,
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.switch.kill();
        let _ = self.switch.wait();
    }
}

/// One pod.
pub struct Pod {
    /// The pod's name, which is its host name.
    pub name: String,
    /// Its address.
    pub address: String,
    image: &'static str,
    index: usize,
    shared: PathBuf,
    mount: String,
    dir: TempDir,
    switch: u32,
    starts: u32,
    running: Option<Child>,
}

impl Pod {
    /// The volume's directory on the host.
    pub fn volume(&self) -> PathBuf {
        self.dir.path().join("volume")
    }

    /// The directory that the pod sees as `/mnt/own`.
    fn config(&self) -> PathBuf {
        let own = self.shared.join(&self.name);
        fs::create_dir_all(&own).unwrap();
        own.join("agent.json")
    }

    /// Write the agent's configuration; a running agent sees the change.
    pub fn configure(&self, config: &Value) {
        let path = self.config();
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec_pretty(config).unwrap()).unwrap();
        fs::rename(fresh, path).unwrap();
    }

    /// Start the agent as PID 1 of a fresh pod over the same volume.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "{} runs already", self.name);
        self.starts += 1;
        let script = r#"set -e
            mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$DIR/upper,workdir=$DIR/work" "$DIR/root"
            mount --bind "$SHARED" "$DIR/root/mnt"
            mkdir -p "$DIR/root$VOLUME"
            mount --bind "$DIR/volume" "$DIR/root$VOLUME"
            mount -t tmpfs tmpfs "$DIR/root/run"
            mount -t tmpfs tmpfs "$DIR/root/tmp"
            mount -t proc proc "$DIR/root/proc"
            mount --rbind /dev "$DIR/root/dev"
            cp "$SHARED/hosts" "$DIR/root/etc/hosts"
            touch "$DIR/root/mnt/agent" && mount --bind "$AGENT" "$DIR/root/mnt/agent"
            hostname "$NAME"
            ip link set lo up
            until ip link set eth0 up 2>/dev/null; do sleep 0.02; done
            ip addr add "$ADDRESS/24" dev eth0
            ip route add default via 10.99.0.254
            exec chroot "$DIR/root" /mnt/agent "/mnt/$NAME/agent.json""#;
        let log = File::create(self.log_path()).unwrap();
        let child = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "sh", "-c", script])
            .env("LOWER", root(self.image))
            .env("DIR", self.dir.path())
            .env("SHARED", &self.shared)
            .env("VOLUME", &self.mount)
            .env("AGENT", env!("CARGO_BIN_EXE_oaas-agent"))
            .env("NAME", &self.name)
            .env("ADDRESS", &self.address)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let unshare = child.id();
        self.running = Some(child);
        let init = self.init(unshare);
        let link = format!("v{}x{}", self.index, self.starts);
        let add = format!("link add {link} type veth peer name eth0 netns {init}");
        run(Command::new("ip").args(add.split(' ')));
        run(Command::new("ip").args(["link", "set", &link, "master", "br0", "up"]));
        assert_ne!(self.switch, init);
    }

    /// The host's number of the pod's PID 1.
    fn init(&self, unshare: u32) -> u32 {
        let children = format!("/proc/{unshare}/task/{unshare}/children");
        let mut init = None;
        wait(&format!("the pod {}", self.name), Duration::from_secs(10), || {
            init = fs::read_to_string(&children)
                .ok()
                .and_then(|text| text.split_whitespace().next()?.parse().ok());
            init.is_some_and(|init: u32| {
                let own = fs::read_link("/proc/self/ns/net").unwrap();
                fs::read_link(format!("/proc/{init}/ns/net")).is_ok_and(|link| link != own)
            })
        });
        init.unwrap()
    }

    fn agent(&self) -> u32 {
        self.init(self.running.as_ref().expect("the pod runs").id())
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join(format!("log-{}", self.starts))
    }

    /// What the agent and its programs wrote since the last start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Send a signal to the pod's processes of this name; says to how many.
    pub fn signal(&self, process: &str, signal: Signal) -> usize {
        let agent = self.agent();
        let namespace = fs::read_link(format!("/proc/{agent}/ns/pid")).unwrap();
        let mut count = 0;
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let same = fs::read_link(entry.path().join("ns/pid")).is_ok_and(|link| link == namespace);
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if same && name.trim() == process && kill(Pid::from_raw(pid), signal).is_ok() {
                count += 1;
            }
        }
        count
    }

    /// The power is cut: every process is killed.
    pub fn cut(&mut self) {
        let agent = i32::try_from(self.agent()).unwrap();
        kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
        self.running.take().unwrap().wait().unwrap();
    }

    /// Ask the pod to end, as the kubelet does; gives the agent's exit code.
    pub fn stop(&mut self, limit: Duration) -> i32 {
        let agent = i32::try_from(self.agent()).unwrap();
        kill(Pid::from_raw(agent), Signal::SIGTERM).unwrap();
        self.exit_code(limit)
    }

    /// Wait until the pod ends by itself; gives the agent's exit code.
    pub fn exit_code(&mut self, limit: Duration) -> i32 {
        let mut child = self.running.take().expect("the pod runs");
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return code(status);
            }
            if start.elapsed() > limit {
                child.kill().unwrap();
                panic!("{} did not end within {limit:?}; its log:\n{}", self.name, self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Run a command inside the pod; gives its output.
    pub fn inside(&self, command: &str) -> String {
        let agent = self.agent().to_string();
        let root = self.dir.path().join("root");
        run(Command::new("nsenter")
            .args(["-t", &agent, "-m", "-n", "-p", "-u", "chroot"])
            .arg(root)
            .args(["sh", "-c", command]))
    }

    /// GET from the agent's probes' server: status code and JSON, or nothing where nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, Value)> {
        let address: SocketAddr = format!("{}:9100", self.address).parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).ok()?))
    }

    /// Wait until `/ready` succeeds; gives the time that it took. An agent that ends is started again, as by a kubelet,
    /// up to three times.
    pub fn ready(&mut self, limit: Duration) -> Duration {
        let start = Instant::now();
        let mut restarts = 0;
        let mut last = None;
        loop {
            last = self.get("/ready").or(last);
            if last.as_ref().is_some_and(|(status, _)| *status == 200) {
                return start.elapsed();
            }
            let ended = self.running.as_mut().expect("the pod runs").try_wait().unwrap();
            let over = start.elapsed() > limit || (ended.is_some() && restarts == 3);
            assert!(!over, "{} is not ready: {ended:?} {last:?}; its log:\n{}", self.name, self.log());
            if let Some(status) = ended {
                println!("{} ended ({status}) and is started again; the last it said:", self.name);
                let log = self.log();
                log.lines().rev().take(3).for_each(|line| println!("    {line}"));
                restarts += 1;
                self.running = None;
                self.start();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Wait until the status holds a text; gives the status.
    pub fn status_with(&self, text: &str, limit: Duration) -> Value {
        let start = Instant::now();
        loop {
            let status = self.get("/status").map(|(_, status)| status).unwrap_or_default();
            if status.to_string().contains(text) {
                return status;
            }
            assert!(
                start.elapsed() < limit,
                "{} does not say {text:?}: {status}; its log:\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            // --kill-child takes the pod with it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Wait until something is so.
pub fn wait(what: &str, limit: Duration, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < limit, "{what} did not come within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
