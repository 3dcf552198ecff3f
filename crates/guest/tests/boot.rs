//! The built image, booted under emulation the way Nova boots it. Needs root and the Debian packages qemu-system-x86,
//! qemu-utils, dnsmasq-base, iproute2 and openssh-client.

#[path = "support/machine.rs"]
mod machine;
mod support;

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use machine::{GUEST, MTU, Machine, need, run};
use oaas_feedback::Task;

/// About five times what a boot takes on two idle cores, and more for a machine that is busy with other tests.
const BOOT: Duration = Duration::from_mins(1);
const UUID: &str = "0a9f6c52-7d0e-4f54-9a0b-7a57c1a5e001";

/// Run a command in the guest.
fn ssh(directory: &Path, user: &str, options: &[&str], command: &str) -> Output {
    let known = format!("UserKnownHostsFile={}", directory.join("known_hosts").display());
    Command::new("ssh")
        .args(["-F", "/dev/null", "-o", &known, "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"])
        .args(["-o", "IdentitiesOnly=yes", "-i", &directory.join("key").display().to_string()])
        .args(options)
        .arg(format!("{user}@{GUEST}"))
        .arg(command)
        .stdin(Stdio::null())
        .output()
        .expect("ssh starts")
}

fn said(directory: &Path, user: &str, command: &str) -> String {
    let output = ssh(directory, user, &["-o", "StrictHostKeyChecking=accept-new"], command);
    assert!(
        output.status.success(),
        "ssh {user} {command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The second word of what `ssh-keygen -l` says.
fn fingerprint(key: &str, hash: &str) -> String {
    let output = run("ssh-keygen", &["-l", "-E", hash, "-f", key]);
    String::from_utf8_lossy(&output.stdout).split(' ').nth(1).unwrap().to_owned()
}

fn rate(bytes: usize, begin: Instant) -> u128 {
    bytes as u128 / begin.elapsed().as_millis().max(1) / 1000
}

#[test]
fn the_image_does_what_its_readme_says() {
    for (program, package) in [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("qemu-img", "qemu-utils"),
        ("dnsmasq", "dnsmasq-base"),
        ("ip", "iproute2"),
        ("ssh", "openssh-client"),
        ("ssh-keygen", "openssh-client"),
        ("dpkg-deb", "dpkg"),
    ] {
        need(program, package);
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let disk = directory.join("disk.qcow2");
    let inputs = support::inputs();
    let built = oaas_guest::build(&inputs, &disk, &Task::silent()).unwrap();
    let again = oaas_guest::build(&inputs, &directory.join("again.qcow2"), &Task::silent()).unwrap();
    assert_eq!(built.sha256, again.sha256, "the same packages give the same bytes");
    assert!(built.bytes <= 15 << 20, "{} bytes", built.bytes);
    run("qemu-img", &["check", "-q", &disk.display().to_string()]);

    let key = directory.join("key").display().to_string();
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", &key]);
    let public_key = fs::read_to_string(directory.join("key.pub")).unwrap();
    let key_sha256 = fingerprint(&key, "sha256");
    let key_md5 = fingerprint(&key, "md5");

    machine::enter_network();
    let dhcp_log = directory.join("dhcp.log");
    let _dhcp = machine::dhcp_server(&dhcp_log);
    let answers = machine::metadata_service();
    let tell = |path: &str, body: &str| {
        answers.lock().unwrap().insert(format!("/latest/{path}"), body.to_owned());
    };
    tell("meta-data/instance-id", "i-0000002a");
    tell("meta-data/local-ipv4", GUEST);
    tell("meta-data/hostname", "demo-vm.novalocal");
    tell("meta-data/public-keys/0/openssh-key", &public_key);
    tell("user-data", "#!/bin/sh\necho from user data $(id -u)\necho ran >/tmp/user-data\nexit 7\n");

    first_boot(directory, &disk, &key_sha256, &key_md5, &dhcp_log);
    let host_key = fs::read_to_string(directory.join("known_hosts")).unwrap();

    // The same machine again: its host key stays, and cloud-config is understood.
    tell(
        "user-data",
        "#cloud-config\nhostname: renamed\nruncmd:\n  - echo run by cloud-config >/tmp/cloud-config\n  - [a, b]\n",
    );
    let mut machine = Machine::start(directory, &disk, UUID);
    assert_eq!(machine.line("GUEST-USER-DATA-END", BOOT), "0");
    assert!(machine.console().contains("cloud-config: runcmd takes plain strings, not lists: [a, b]"));
    let strict =
        ssh(directory, "oaas", &["-o", "StrictHostKeyChecking=yes"], "hostname; cat /tmp/cloud-config");
    assert_eq!(
        String::from_utf8_lossy(&strict.stdout),
        "renamed\nrun by cloud-config\n",
        "{}",
        String::from_utf8_lossy(&strict.stderr)
    );
    machine.control().ask(r#"{"execute":"system_powerdown"}"#);
    machine.ended(Duration::from_secs(5));

    // Another machine from a snapshot of this disk: the host key must not be shared. Its metadata service is late: it
    // serves without, and takes the key when it comes.
    fs::remove_file(directory.join("known_hosts")).unwrap();
    let metadata = std::mem::take(&mut *answers.lock().unwrap());
    let mut machine = Machine::start(directory, &disk, "0a9f6c52-7d0e-4f54-9a0b-7a57c1a5e002");
    machine.line("GUEST-METADATA-WAITS", BOOT * 2);
    machine.line("GUEST-READY", BOOT);
    *answers.lock().unwrap() = metadata;
    machine.line("GUEST-METADATA-END", BOOT);
    said(directory, "oaas", "true");
    assert_ne!(fs::read_to_string(directory.join("known_hosts")).unwrap(), host_key);
}

fn first_boot(directory: &Path, disk: &Path, key_sha256: &str, key_md5: &str, dhcp_log: &Path) {
    let mut machine = Machine::start(directory, disk, UUID);
    let up = machine.line("GUEST-UP", BOOT);
    assert!(up.contains("cloud-amd64"), "{up}");
    assert_eq!(
        machine.line("GUEST-IP", BOOT),
        format!(
            "{GUEST}/24 dev=eth0 mtu={MTU} router=172.16.0.1 \
             routes=169.254.169.254/32 172.16.0.2 0.0.0.0/0 172.16.0.1"
        )
    );
    let ready = machine.line("GUEST-READY", BOOT);
    println!("ready after {ready} s of the guest's time, {:.2} s of ours (TCG)", machine.seconds());
    for (name, value) in [
        ("instance-id", "i-0000002a"),
        ("local-ipv4", GUEST),
        ("hostname", "demo-vm.novalocal"),
        ("public-key-sha256", key_sha256),
        ("public-key-md5", key_md5.trim_start_matches("MD5:")),
    ] {
        assert_eq!(machine.line(&format!("{name}="), BOOT), value);
    }
    assert_eq!(machine.line("from user data", BOOT), "0");
    assert_eq!(machine.line("GUEST-USER-DATA-END", BOOT), "7");

    assert_eq!(
        said(directory, "oaas", "whoami; hostname; cat /tmp/user-data"),
        "oaas\ndemo-vm.novalocal\nran"
    );
    assert_eq!(said(directory, "root", "id -u; cat /sys/class/net/eth0/mtu"), format!("0\n{MTU}"));
    let password = ssh(
        directory,
        "root",
        &["-o", "StrictHostKeyChecking=accept-new", "-o", "PubkeyAuthentication=no"],
        "true",
    );
    let refused = String::from_utf8_lossy(&password.stderr).into_owned();
    assert!(refused.contains("Permission denied (publickey)"), "SSH offers no passwords: {refused}");

    has_what_test_suites_ask_for(directory);
    renews(directory, dhcp_log);
    moves_bulk();
    gives_memory_back(&machine);
    logs_in_on_the_console(&machine);

    machine.control().ask(r#"{"execute":"system_powerdown"}"#);
    let took = machine.ended(Duration::from_secs(5));
    println!("power button to off: {took:.2?}");
    let console = fs::read_to_string(directory.join("console.log")).unwrap();
    assert!(console.contains("GUEST-POWEROFF"), "{console}");
}

/// What suites made for `CirrOS` call in a guest, as they call it.
fn has_what_test_suites_ask_for(directory: &Path) {
    for (command, answer) in [
        ("sudo whoami", "root"),
        ("sudo -n sh -c 'id -u; echo $HOME'", "0\n/root"),
        ("sudo -u nobody whoami; whoami", "nobody\noaas"),
        ("sudo FROM=here sh -c 'echo $FROM'", "here"),
        ("curl http://169.254.169.254/latest/meta-data/local-ipv4", GUEST),
        ("curl -s -o /dev/null -w '%{http_code}' http://169.254.169.254/latest/nothing", "404"),
        ("curl -sf http://169.254.169.254/latest/nothing; echo $?", "22"),
        ("curl -s http://127.0.0.1:1/; echo $?", "7"),
        ("curl -sS --bogus x 2>&1", "curl: (2) option --bogus: is not known to this guest"),
        ("curl -sS -X POST -d four http://127.0.0.1/cgi-bin/sink", "4"),
        ("echo x | nc -w 2 127.0.0.1 9; echo $?", "0"),
        (". /etc/os-release; echo $ID", "oaas-guest"),
        ("ip -o -4 addr show dev eth0 | grep -c inet", "1"),
        ("ping -c 1 -W 2 127.0.0.1 >/dev/null; echo $?", "0"),
        ("lsblk -lb --nodeps | grep -c disk", "1"),
        ("truncate -s 4M /tmp/disk; mkfs -t vfat /tmp/disk && echo made; ls -d /mnt", "made\n/mnt"),
    ] {
        let said = ssh(directory, "oaas", &["-o", "StrictHostKeyChecking=accept-new"], command);
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), answer, "{command}: {said:?}");
    }
}

/// The DHCP client still runs and renews; connections live through it.
fn renews(directory: &Path, dhcp_log: &Path) {
    let acknowledged = || fs::read_to_string(dhcp_log).unwrap().matches("DHCPACK(").count();
    let before = acknowledged();
    said(
        directory,
        "root",
        "killall -USR1 udhcpc; sleep 1; ip -4 addr show dev eth0 | grep -q 172.16.0.57/24",
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    while acknowledged() == before {
        assert!(Instant::now() < deadline, "no lease was renewed: {}", fs::read_to_string(dhcp_log).unwrap());
        thread::sleep(Duration::from_millis(50));
    }
}

/// TCP in bulk, both ways; the figures are printed, what is checked is that all of it arrives.
fn moves_bulk() {
    const BYTES: usize = 32 << 20;
    let begin = Instant::now();
    let (size, _) = machine::http("GET /zeros HTTP/1.0\r\n\r\n", 0);
    assert_eq!(size, 64 << 20);
    println!("download {} MB/s", rate(size, begin));

    let begin = Instant::now();
    let head = format!("POST /cgi-bin/sink HTTP/1.0\r\nContent-Length: {BYTES}\r\n\r\n");
    let (_, body) = machine::http(&head, BYTES);
    assert_eq!(String::from_utf8_lossy(&body).trim(), BYTES.to_string());
    println!("upload by HTTP {} MB/s", rate(BYTES, begin));

    let begin = Instant::now();
    let mut stream = TcpStream::connect((GUEST, 9)).expect("the discard port answers");
    machine::send_zeros(&mut stream, BYTES);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    println!("upload to the discard port {} MB/s", rate(BYTES, begin));

    let (_, page) = machine::http("GET / HTTP/1.0\r\n\r\n", 0);
    assert!(String::from_utf8_lossy(&page).contains("<h1>demo-vm.novalocal</h1>"));
}

/// The balloon's driver answers.
fn gives_memory_back(machine: &Machine) {
    let mut control = machine.control();
    control.ask(r#"{"execute":"balloon","arguments":{"value":167772160}}"#);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let actual = control.ask(r#"{"execute":"query-balloon"}"#);
        if actual.contains("167772160") {
            break;
        }
        assert!(Instant::now() < deadline, "the balloon does not reach 160 MiB: {actual}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The password above the prompt opens the console.
fn logs_in_on_the_console(machine: &Machine) {
    let console = machine.console();
    let password = console
        .split("with the password ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_else(|| panic!("no password on the console:\n{console}"));
    let password = format!("{password}\r");
    machine.type_and_expect(&[
        ("\r", "login:"),
        ("oaas\r", "assword:"),
        (&password, "demo guest"),
        ("echo I am $(whoami)\r", "I am oaas"),
    ]);
}
