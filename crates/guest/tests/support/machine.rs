//! A virtual machine on a network of its own, as Nova and Neutron would start it: a tap device, a DHCP server with
//! Neutron's options, a metadata service.
//!
//! The calling thread moves into a new network namespace and whatever it starts is in there with it, so nothing of it is
//! left behind on the host.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The network, as Neutron's defaults and our demo content have it.
pub const GUEST: &str = "172.16.0.57";
const GATEWAY: &str = "172.16.0.1";
/// Where Neutron's metadata port sits: not at the gateway, so that only option 121 leads there.
const METADATA_PORT: &str = "172.16.0.2";
const MAC: &str = "fa:16:3e:00:00:57";
pub const MTU: u32 = 1442;

/// Fail with the name of the Debian package where a program is missing, rather than skip.
pub fn need(program: &str, package: &str) {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).chain(["/usr/sbin".into()]).any(|dir| dir.join(program).is_file())
    });
    assert!(found, "this test needs {program}: apt-get install {package}");
}

/// Run a program and hand back what it said; panics when it fails.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("failed to start {program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Move this thread into a network namespace with a tap device that has the gateway's and the metadata port's address.
pub fn enter_network() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .expect("a network namespace can be made (this test runs as root)");
    for line in [
        "link set lo up".to_owned(),
        "tuntap add tap0 mode tap".to_owned(),
        format!("addr add {GATEWAY}/24 dev tap0"),
        format!("addr add {METADATA_PORT}/24 dev tap0"),
        "addr add 169.254.169.254/32 dev lo".to_owned(),
        "link set tap0 up".to_owned(),
    ] {
        run("ip", &line.split(' ').collect::<Vec<_>>());
    }
}

/// A process that ends with its handle.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Start a DHCP server with the options that OVN sends; its log grows in `log`.
pub fn dhcp_server(log: &Path) -> Running {
    let file = fs::File::create(log).unwrap();
    let child = Command::new("dnsmasq")
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--leasefile-ro", "--user=root"])
        .args(["--bind-interfaces", "--interface=tap0", "--log-facility=-", "--log-dhcp", "--pid-file="])
        .arg("--dhcp-range=172.16.0.50,172.16.0.60,255.255.255.0,2m")
        .arg(format!("--dhcp-host={MAC},{GUEST}"))
        .arg(format!("--dhcp-option=option:router,{GATEWAY}"))
        .arg(format!("--dhcp-option-force=26,{MTU}"))
        .arg(format!("--dhcp-option=121,169.254.169.254/32,{METADATA_PORT},0.0.0.0/0,{GATEWAY}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .expect("dnsmasq starts");
    Running(child)
}

/// What the metadata service answers, by path; another path is not found.
pub type Answers = Arc<Mutex<BTreeMap<String, String>>>;

/// Serve metadata from this namespace until the test ends.
pub fn metadata_service() -> Answers {
    let answers = Answers::default();
    let served = Arc::clone(&answers);
    let listener = TcpListener::bind("169.254.169.254:80").expect("the metadata address is ours");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let served = Arc::clone(&served);
            thread::spawn(move || answer(&stream, &served));
        }
    });
    answers
}

fn answer(stream: &TcpStream, answers: &Answers) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    for _ in lines.take_while(|line| !line.is_empty()) {}
    let found = answers.lock().unwrap().get(&path).cloned();
    let (status, body) = found.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
    let mut stream = stream;
    let _ = write!(stream, "HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

/// A machine that runs.
pub struct Machine {
    process: Running,
    directory: PathBuf,
    started: Instant,
}

impl Machine {
    /// Start one as Nova does for a flavor of 192 MB with our image's properties, under emulation.
    pub fn start(directory: &Path, disk: &Path, uuid: &str) -> Self {
        for file in ["console", "console.log", "qmp"] {
            let _ = fs::remove_file(directory.join(file));
        }
        let at = |name: &str| directory.join(name).display().to_string();
        let child = Command::new("qemu-system-x86_64")
            .args([
                "-accel",
                "tcg",
                "-m",
                "192",
                "-nodefaults",
                "-display",
                "none",
                "-vga",
                "std",
                "-uuid",
                uuid,
            ])
            .arg("-drive")
            .arg(format!("file={},if=virtio,format=qcow2,cache=unsafe", disk.display()))
            .args(["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"])
            .args(["-device", &format!("virtio-net-pci,netdev=net,mac={MAC},romfile=")])
            .args(["-device", "virtio-rng-pci", "-device", "virtio-balloon-pci"])
            .arg("-chardev")
            .arg(format!(
                "socket,id=console,path={},server=on,wait=off,logfile={}",
                at("console"),
                at("console.log")
            ))
            .args(["-serial", "chardev:console"])
            .args(["-qmp", &format!("unix:{},server=on,wait=off", at("qmp"))])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("QEMU starts");
        Self { process: Running(child), directory: directory.to_owned(), started: Instant::now() }
    }

    /// What it has printed on the serial console so far.
    pub fn console(&self) -> String {
        let log = fs::read(self.directory.join("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).replace('\r', "")
    }

    /// Wait for a line that begins so and hand back the rest of it.
    pub fn line(&mut self, begin: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        loop {
            let console = self.console();
            // Only whole lines: the last one may still be in the making.
            let whole = console.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if let Some(rest) = whole.lines().find_map(|line| line.strip_prefix(begin)) {
                return rest.trim().to_owned();
            }
            let ended = self.process.0.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "QEMU ended ({ended:?}) before the line {begin}:\n{console}");
            assert!(Instant::now() < deadline, "no line {begin} after {patience:?}:\n{console}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Seconds since QEMU was started.
    pub fn seconds(&self) -> f32 {
        self.started.elapsed().as_secs_f32()
    }

    /// Connect to QEMU's control socket.
    pub fn control(&self) -> Control {
        let stream = UnixStream::connect(self.directory.join("qmp")).expect("QEMU listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut control = Control { reader: BufReader::new(stream.try_clone().unwrap()), stream };
        control.ask(r#"{"execute":"qmp_capabilities"}"#);
        control
    }

    /// Type on the serial console and read until the answer contains a text.
    pub fn type_and_expect(&self, dialogue: &[(&str, &str)]) -> String {
        let mut stream = UnixStream::connect(self.directory.join("console")).expect("QEMU listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut heard = Vec::new();
        for (typed, expected) in dialogue {
            let from = heard.len();
            stream.write_all(typed.as_bytes()).unwrap();
            while !String::from_utf8_lossy(&heard[from..]).contains(expected) {
                let mut some = [0; 4096];
                let size = stream.read(&mut some).unwrap_or_else(|error| {
                    panic!("no {expected:?} on the console ({error}):\n{}", String::from_utf8_lossy(&heard))
                });
                heard.extend_from_slice(&some[..size]);
            }
        }
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// Wait until QEMU ends and say how long that took.
    pub fn ended(mut self, patience: Duration) -> Duration {
        let begin = Instant::now();
        while self.process.0.try_wait().expect("a child can be asked").is_none() {
            assert!(begin.elapsed() < patience, "QEMU runs on after {patience:?}:\n{}", self.console());
            thread::sleep(Duration::from_millis(20));
        }
        begin.elapsed()
    }
}

/// QEMU's control socket.
pub struct Control {
    reader: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Control {
    /// Give one command and hand back its answer; events in between are passed over.
    pub fn ask(&mut self, command: &str) -> String {
        writeln!(self.stream, "{command}").unwrap();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).expect("QEMU answers");
            assert!(!line.contains(r#""error""#), "{command} failed: {line}");
            if line.contains(r#""return""#) {
                return line;
            }
        }
    }
}

/// Bytes of an answer of the guest's web server, its head left out.
pub fn http(request_head: &str, body: usize) -> (usize, Vec<u8>) {
    let mut stream = TcpStream::connect((GUEST, 80)).expect("the guest's web server answers");
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream.write_all(request_head.as_bytes()).unwrap();
    send_zeros(&mut stream, body);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP answer") + 4;
    let body = answer.split_off(head);
    (body.len(), body)
}

/// Send that many zeros.
pub fn send_zeros(stream: &mut TcpStream, bytes: usize) {
    let block = vec![0; 65536];
    let mut left = bytes;
    while left > 0 {
        let size = left.min(block.len());
        stream.write_all(&block[..size]).unwrap();
        left -= size;
    }
}
