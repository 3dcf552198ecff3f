//! libvirt of a node: guests without rights, that outlive libvirt and its pod; what nova-compute is told.

mod node_common;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node_common::{Machine, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_mins(3);

const GUEST_DISK: &str = "/usr/share/oaas/guest/oaas-guest.qcow2";

/// The cgroups of a pod's container, in every hierarchy; removed at the end.
struct Pod {
    directories: Vec<PathBuf>,
}

impl Pod {
    fn new(name: &str) -> Self {
        let directories: Vec<PathBuf> = hierarchies().into_iter().map(|point| point.join(name)).collect();
        for directory in &directories {
            std::fs::create_dir(directory).unwrap();
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let (own, parent) = (directory.join(file), directory.parent().unwrap().join(file));
                if own.exists() {
                    std::fs::write(own, std::fs::read_to_string(parent).unwrap().trim()).unwrap();
                }
            }
        }
        Self { directories }
    }

    fn processes(&self) -> Vec<i32> {
        let mut all: Vec<i32> = Vec::new();
        for directory in &self.directories {
            let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What a container runtime does when a pod is deleted: kill whoever is in any of its cgroups.
    fn kill(&self) {
        until("end of the pod", Duration::from_secs(20), || {
            let processes = self.processes();
            for pid in &processes {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            processes.is_empty().then_some(())
        });
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for directory in &self.directories {
            for _ in 0..50 {
                if std::fs::remove_dir(directory).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Where this machine's cgroup hierarchies are mounted.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?;
        (right.starts_with("cgroup") && point.starts_with("/sys/fs/cgroup")).then(|| PathBuf::from(point))
    });
    points.collect()
}

/// Removes the cgroups that guests were moved to, this test's and libvirt's own.
struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for point in hierarchies() {
            let parent = point.join(&self.0);
            for entry in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
                let _ = std::fs::remove_dir(entry.path());
            }
            let _ = std::fs::remove_dir(parent);
            // That of libvirt itself, unless someone uses it.
            let _ = std::fs::remove_dir(point.join("machine"));
        }
    }
}

fn domain(virt_type: &str) -> String {
    format!(
        "<domain type='{virt_type}'><name>instance-00000001</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>\
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
         <source file='/var/lib/nova/instances/one/disk'/><target dev='vda' bus='virtio'/></disk>\
         <serial type='pty'><log file='/var/lib/nova/instances/one/console.log' append='off'/></serial>\
         <graphics type='vnc' autoport='yes' listen='127.0.0.1'/></devices></domain>"
    )
}

/// Open vSwitch's database alone: what libvirt's role asks for the datapath.
fn switch_database(machine: &Machine) {
    machine.sh(
        "mkdir -p /run/openvswitch; ovsdb-tool create /tmp/conf.db /usr/share/openvswitch/vswitch.ovsschema; \
         ovsdb-server /tmp/conf.db --remote=punix:/run/openvswitch/db.sock --unixctl=/tmp/o.ctl --pidfile=/tmp/o.pid \
         --no-chdir --detach --log-file=/dev/null 2>/dev/null; \
         ovs-vsctl --no-wait init -- set Open_vSwitch . external_ids:ovn-bridge-datapath-type=netdev",
    );
}

#[test]
fn guests_have_no_rights_and_outlive_the_pod() {
    let unique = std::process::id();
    let cgroup = format!("oaas-test-machine-{unique}");
    let _cleanup = Cleanup(cgroup.clone());
    let machine = Machine::new("libvirt", "node1");
    let role = json!({"libvirt": {"cgroup": cgroup}});
    let env = [("NODE_NAME", "node1"), ("NODE_ADDRESS", "127.0.0.1")];

    let first_pod = Pod::new(&format!("oaas-test-pod1-{unique}"));
    let began = Instant::now();
    let mut agent = machine.agent_in(&first_pod.directories, "libvirt", 9106, &role, &env);
    until("wait for the switch", LIMIT, || {
        (agent.status()["waits_for"].as_str()?.starts_with("Open vSwitch on this node")).then_some(())
    });
    switch_database(&machine);
    agent.running(LIMIT);
    println!("libvirt answers and KVM was probed after {:?}", began.elapsed());
    let report = until("report", LIMIT, || {
        Some(agent.status()["report"].clone()).filter(|report| report["guests"] == 0)
    });
    println!("{report}");
    let virt_type = machine.read("/run/libvirt/oaas-virt-type").trim().to_owned();
    assert_eq!(report["virt_type"], virt_type.as_str());
    assert_eq!(report["emulator_wrapped"], true);

    // A guest, on the project's own disk where the root has it.
    machine.sh("mkdir -p /var/lib/nova/instances/one");
    let has_guest = machine.path(GUEST_DISK).exists();
    if has_guest {
        machine.sh(&format!("cp {GUEST_DISK} /var/lib/nova/instances/one/disk"));
    } else {
        machine.sh("qemu-img create -q -f qcow2 /var/lib/nova/instances/one/disk 16M");
    }
    machine.write("/tmp/domain.xml", &domain(&virt_type));
    machine.sh("virsh -q define /tmp/domain.xml && virsh -q start instance-00000001");
    let pid = machine.sh("cat /run/libvirt/qemu/instance-00000001.pid");
    let status = machine.sh(&format!("cat /proc/{pid}/status"));
    for wanted in
        ["Uid:\t64055\t64055\t64055\t64055", "Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"]
    {
        assert!(status.contains(wanted), "no `{wanted}` in\n{status}");
    }
    // Lowering it takes CAP_SYS_RESOURCE, which some machines withhold from everyone.
    let may_lower = machine.sh("grep CapEff /proc/self/status | cut -f2");
    let may_lower = u64::from_str_radix(&may_lower, 16).unwrap() & (1 << 24) != 0;
    let score = machine.sh(&format!("cat /proc/{pid}/oom_score_adj"));
    assert_eq!(score, if may_lower { "-500" } else { "0" });
    let command = machine.sh(&format!("tr '\\0' ' ' </proc/{pid}/cmdline"));
    assert!(command.starts_with("/usr/bin/qemu-system-x86_64 -name guest=instance-00000001"), "{command}");
    assert!(
        command.contains("-global virtio-net-pci.gso=off") && command.contains("-sandbox on"),
        "{command}"
    );
    let cgroups = machine.sh(&format!("cat /proc/{pid}/cgroup"));
    assert!(!cgroups.contains("oaas-test-pod") && cgroups.contains("oaas-instance-00000001"), "{cgroups}");
    println!("the guest's cgroups:\n{cgroups}");
    if has_guest {
        until("guest's word", LIMIT, || {
            machine.read("/var/lib/nova/instances/one/console.log").contains("GUEST-UP").then_some(())
        });
    }

    // libvirt is asked to end, and comes back: the same guest.
    agent.stop();
    assert!(machine.path(&format!("/proc/{pid}")).exists(), "the guest ended with libvirt");
    let began = Instant::now();
    let mut agent = machine.agent_in(&first_pod.directories, "libvirt", 9106, &role, &env);
    agent.running(LIMIT);
    println!("libvirt restarted: answers after {:?}", began.elapsed());
    assert_eq!(machine.sh("virsh -q domstate instance-00000001"), "running");

    // The pod is deleted: all that is in its cgroups is killed. Another pod takes over.
    first_pod.kill();
    drop(agent);
    assert!(
        machine.sh(&format!("cat /proc/{pid}/cmdline")).contains("instance-00000001"),
        "the guest ended with the pod"
    );
    let second_pod = Pod::new(&format!("oaas-test-pod2-{unique}"));
    let mut agent = machine.agent_in(&second_pod.directories, "libvirt", 9106, &role, &env);
    agent.running(LIMIT);
    assert_eq!(machine.sh("virsh -q domstate instance-00000001"), "running");
    assert_eq!(machine.sh("cat /run/libvirt/qemu/instance-00000001.pid"), pid);
    let report = until("report", LIMIT, || {
        Some(agent.status()["report"].clone()).filter(|report| report["guests"] == 1)
    });
    assert_eq!(report["exposed"], json!([]));

    // The guest ends when it is told to, and leaves nothing.
    machine.sh("virsh -q destroy instance-00000001 && virsh -q undefine instance-00000001");
    let owner = machine.sh("stat -c %u /var/lib/nova/instances/one/disk");
    assert_eq!(owner, "0", "the disk goes back to root");
    until("end of the guest's cgroups", Duration::from_secs(10), || {
        let left =
            hierarchies().iter().any(|point| point.join(&cgroup).join("oaas-instance-00000001").exists());
        (!left).then_some(())
    });
    agent.stop();
    second_pod.kill();
}

fn compute(machine: &Machine) -> Value {
    // A stand-in for nova-compute, which is in another image: it runs where its files are readable.
    machine.write(
        "/usr/bin/stand-in",
        "#!/bin/sh\nfor file; do :; done\ngrep -q 'host = node1' \"$file\" && exec sleep 1000\n",
    );
    machine.sh("chmod +x /usr/bin/stand-in");
    json!({"nova_compute": {"command": ["/usr/bin/stand-in", "--config-file", "/etc/nova/nova.conf"]}})
}

#[test]
fn nova_compute_waits_for_libvirt_and_keeps_its_identity() {
    let machine = Machine::new("libvirt", "node1");
    let role = compute(&machine);
    let env = [("NODE_NAME", "node1"), ("NODE_ADDRESS", "10.87.0.11")];
    let mut agent = machine.agent("nova-compute", 9107, &role, &env);
    until("wait for libvirt", LIMIT, || {
        agent.status()["waits_for"].as_str().filter(|text| text.starts_with("libvirt on this node")).map(drop)
    });
    // What libvirt's role leaves, and someone who listens.
    let socket = machine.path("/run/libvirt/libvirt-sock");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    machine.write("/run/libvirt/oaas-virt-type", "qemu\n");
    agent.running(LIMIT);
    let file = machine.read("/run/oaas/nova-node.conf");
    assert!(file.contains("my_ip = 10.87.0.11") && !file.contains("virt_type"), "{file}");
    let file = machine.read("/run/oaas/nova-defaults.conf");
    assert!(file.contains("virt_type = qemu"), "{file}");
    assert_eq!(agent.status()["report"]["compute_id"], Value::Null);
    agent.stop();

    machine.write("/var/lib/nova/compute_id", "6f9c1d5e-3a53-4c2e-9a5b-0d8f5f1b2c3d\n");
    machine.sh("mkdir -p /var/lib/nova/instances/0b9c1d5e-3a53-4c2e-9a5b-0d8f5f1b2c3d");
    let mut agent = machine.agent("nova-compute", 9107, &role, &env);
    agent.running(LIMIT);
    assert_eq!(agent.status()["report"]["compute_id"], "6f9c1d5e-3a53-4c2e-9a5b-0d8f5f1b2c3d");
    agent.stop();

    machine.sh("rm /var/lib/nova/compute_id");
    let (code, log) = machine.agent("nova-compute", 9107, &role, &env).ended(LIMIT);
    assert_eq!(code, Some(6), "{log}");
    assert!(log.contains("the identity of this compute node is lost, while it holds 1 instances"), "{log}");
}
