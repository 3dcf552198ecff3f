//! Machines that are not fit for a cluster.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oaas_node::{Instance, Network, Subnets};

use crate::program::{INSTANCE, Place, Said, alone, cover, finish, shell};

/// A machine with so much memory.
fn with_memory(place: &Place, mebibytes: u64) {
    cover("/proc/meminfo", &place.write("meminfo", &format!("MemTotal: {} kB\n", mebibytes << 10)));
}

fn instance() -> Instance {
    INSTANCE.parse().unwrap()
}

/// Run the program as an ordinary user, from a directory of that user's.
fn as_nobody(arguments: &'static [&'static str]) -> Said {
    const NOBODY: u32 = 65534;
    alone(|| {
        let place = Place::new();
        let home = tempfile::tempdir_in("/tmp").unwrap();
        std::os::unix::fs::chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        // The program, where everybody may run it.
        let program = home.path().join("oaas");
        fs::write(&program, "").unwrap();
        cover(program.to_str().unwrap(), Path::new(env!("CARGO_BIN_EXE_oaas")));
        let mut command = place.command(&program, arguments);
        command.env("OAAS_CACHE_DIR", home.path().join("cache"));
        let said = finish(command.uid(NOBODY).gid(NOBODY).spawn().unwrap());
        nix::mount::umount(&program).unwrap();
        said
    })
}

#[test]
fn an_ordinary_user_is_told_to_be_root() {
    as_nobody(&["up"]).assert(3, "error: an embedded cluster needs root\nhint: run it with sudo\n");
}

#[test]
fn an_ordinary_user_cannot_build_images() {
    as_nobody(&["image", "build", "base"]).assert(
        3,
        "error: failed to build images as an ordinary user\n\
         hint: run it as root: files in images have owners, and packages are configured in a root of their own\n",
    );
}

#[test]
fn too_little_memory_for_kubernetes() {
    let said = alone(|| {
        let place = Place::new();
        with_memory(&place, 1024);
        place.run(&["up"])
    });
    said.assert(
        3,
        "error: the machine has 1024 MiB of memory; 1 node(s) need 2048 MiB\nhint: use a machine with more memory\n",
    );
}

#[test]
fn more_than_the_machine_has() {
    let said = alone(|| {
        let place = Place::new();
        with_memory(&place, 3072);
        place.run(&["up"])
    });
    said.assert_wants(
        2,
        "error: the resource is refused: 1 problem\n      \
         spec: the cloud wants {} MiB of memory, but the nodes have 1888 MiB; take fewer replicas, or more or larger \
         nodes\nhint: docs/reference.md lists every field\n",
        1888,
    );
}

#[test]
fn too_little_disk() {
    alone(|| {
        let place = Place::new();
        fs::create_dir(place.state()).unwrap();
        let size = Some("size=64m");
        mount(Some("none"), &place.state(), Some("tmpfs"), MsFlags::empty(), size).unwrap();
        let state = place.state().display().to_string();
        place.run(&["up"]).assert(
            3,
            &format!(
                "error: 63 MiB are free for {state}; 4096 MiB are needed\n\
                 hint: make room on the disk of {state}, or choose another place (OAAS_STATE_DIR, OAAS_CACHE_DIR)\n"
            ),
        );
        nix::mount::umount(&place.state()).unwrap();
    });
}

#[test]
fn a_missing_tool_comes_with_its_package() {
    let said = alone(|| {
        let mut place = Place::new();
        place.without_program("nft");
        place.run(&["up"])
    });
    said.assert(3, "error: missing: nftables\nhint: install them: apt-get install nftables\n");
}

#[test]
fn without_go_kubernetes_cannot_be_built() {
    let said = alone(|| {
        let mut place = Place::new();
        place.without_program("go");
        place.run(&["up"])
    });
    said.assert(
        3,
        "error: Go is needed to build Kubernetes and is not in PATH\n\
         hint: install Go 1.26 or newer and put `go` into PATH\n",
    );
}

#[test]
fn a_port_that_is_taken_names_who_has_it() {
    let said = alone(|| {
        let _listener = TcpListener::bind("127.0.0.1:30080").unwrap();
        Place::new().run(&["up"])
    });
    let pid = std::process::id();
    let name = fs::read_to_string("/proc/self/comm").unwrap();
    let name = name.trim();
    said.assert(
        3,
        &format!(
            "error: port 30080 of 127.0.0.1 is taken by {name} (process {pid})\n\
             hint: end that process (kill {pid}) or publish another port than 30080 \
             (spec.publish of the resource; or another address with --listen)\n"
        ),
    );
}

#[test]
fn a_port_that_the_resource_names_is_looked_at() {
    let said = alone(|| {
        let _listener = TcpListener::bind("0.0.0.0:31234").unwrap();
        let place = Place::new();
        let cloud = place.write(
            "cloud.yaml",
            "apiVersion: oaas.dev/v1alpha1\nkind: OpenStack\nmetadata: { name: demo }\n\
             spec: { release: \"2026.1\", publish: { horizonPort: 31234 } }\n",
        );
        place.run(&["up", "--file", cloud.to_str().unwrap()])
    });
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(said.error().starts_with("error: port 31234 of 127.0.0.1 is taken by "), "{}", said.stderr);
}

#[test]
fn a_port_that_another_cluster_publishes() {
    let said = alone(|| {
        shell(
            "nft 'table ip oaas_other { chain published { type nat hook output priority -100; \
             ip daddr 127.0.0.1 tcp dport 30080 dnat to 10.87.9.11:30080; }; }'",
        );
        Place::new().run(&["up"])
    });
    said.assert(
        3,
        "error: port 30080 of 127.0.0.1 is published by another embedded cluster (nftables table oaas_other)\n\
         hint: publish another port, or take the other cluster down: oaas --instance NAME down (spec.publish of the \
         resource; or another address with --listen)\n",
    );
}

#[test]
fn a_bridge_of_that_name_is_somebody_elses() {
    let bridge = instance().bridge(Network::Management);
    let said = alone({
        let bridge = bridge.clone();
        move || {
            shell(&format!("ip link add {bridge} type bridge"));
            Place::new().run(&["up"])
        }
    });
    said.assert(
        3,
        &format!(
            "error: a link named {bridge} is there and belongs to someone else\n\
             hint: see what it is: ip -d link show {bridge}; remove it if it is left over: ip link delete {bridge}; \
             or choose another instance name\n"
        ),
    );
}

#[test]
fn a_subnet_that_is_in_use() {
    // An address of the machine in the midst of those of the nodes, on a link that reaches further.
    let subnet = Subnets::of(&instance(), None).management;
    let own = subnet.hosts().nth(4).expect("a subnet with addresses");
    let said = alone(move || {
        shell(&format!("ip link add lan type bridge; ip address add {own}/16 dev lan; ip link set lan up"));
        Place::new().run(&["up"])
    });
    said.assert(
        3,
        &format!(
            "error: {subnet} is needed and 10.87.0.0/16 on link lan overlaps with it\n\
             hint: take other addresses for the cluster: oaas up --prefix 10.200.0.0/16; or change the link lan\n"
        ),
    );
}

#[test]
fn a_subnet_that_is_routed_elsewhere() {
    let subnet = "192.168.100.0/24";
    let said = alone(move || {
        shell(&format!("ip link add vpn type bridge; ip link set vpn up; ip route add {subnet} dev vpn"));
        Place::new().run(&["up"])
    });
    said.assert(
        3,
        &format!(
            "error: {subnet} is needed and {subnet} on link vpn overlaps with it\n\
             hint: take another network in the resource (network.external), or change the link vpn\n"
        ),
    );
}

#[test]
fn a_firewall_comes_with_the_command_that_lets_the_cluster_pass() {
    alone(|| {
        shell(
            "nft 'table inet mine { chain forward { type filter hook forward priority filter; policy drop; }; }'",
        );
        let place = Place::new();
        let said = place.run(&["up"]);
        let (mgmt, ext) = (instance().bridge(Network::Management), instance().bridge(Network::External));
        let rule = |end: &str| {
            format!("nft 'insert rule inet mine forward {end} {{ \"{mgmt}\", \"{ext}\" }} accept'")
        };
        let command = format!("{}; {}", rule("iifname"), rule("oifname"));
        said.assert(
            3,
            &format!(
                "error: a packet filter (nftables chain inet mine forward) drops packets that the host forwards for \
                 the cluster\nhint: let them pass: {command}\n"
            ),
        );
        // Who does as told has only the next thing in the way.
        shell(&command);
        with_memory(&place, 1024);
        let said = place.run(&["up"]);
        assert!(said.error().starts_with("error: the machine has 1024 MiB of memory"), "{}", said.stderr);
    });
}

#[test]
fn everything_that_is_in_the_way_is_told_at_once() {
    let said = alone(|| {
        let mut place = Place::new();
        with_memory(&place, 1024);
        place.without_program("ethtool");
        let _listener = TcpListener::bind("127.0.0.1:30080").unwrap();
        place.run(&["up", "--nodes", "2"])
    });
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    let lines: Vec<&str> = said.error().lines().map(str::trim).collect();
    assert_eq!(
        lines[..3],
        [
            "error: this machine is not fit for a cluster: 3 problems",
            "missing: ethtool; install them: apt-get install ethtool",
            "the machine has 1024 MiB of memory; 2 node(s) need 2560 MiB; use fewer nodes (--nodes) or a machine with more memory"
        ]
    );
    assert!(lines[3].starts_with("port 30080 of 127.0.0.1 is taken by "), "{}", said.stderr);
    assert_eq!(lines[4..], ["hint: each line says what to do; then run the same command again"]);
}

#[test]
fn a_second_up_is_told_who_is_first() {
    alone(|| {
        let mut place = Place::new();
        // The first one is held up while it looks at the machine.
        let programs = place.without_program("nft");
        let slow = programs.join("nft");
        fs::write(&slow, "#!/bin/sh\nexec sleep 60\n").unwrap();
        fs::set_permissions(&slow, PermissionsExt::from_mode(0o755)).unwrap();
        let first = place.start(&["up"]);
        let lock = place.state().join(INSTANCE).join("up.lock");
        let pid = first.id().to_string();
        let began = Instant::now();
        while fs::read_to_string(&lock).unwrap_or_default() != pid {
            assert!(began.elapsed() < Duration::from_secs(20), "the first one did not begin");
            thread::sleep(Duration::from_millis(20));
        }
        place.run(&["up"]).assert(
            4,
            &format!(
                "error: another `oaas up` is at work for `{INSTANCE}`: process {pid}\n\
                 hint: wait for it (`oaas status` shows how far it is), or end it: kill {pid}\n"
            ),
        );
        // Ended as the hint says, it leaves nothing in the way of the next one.
        kill(Pid::from_raw(first.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert_eq!(finish(first).code, Some(130));
        fs::remove_file(&slow).unwrap();
        place
            .run(&["up"])
            .assert(3, "error: missing: nftables\nhint: install them: apt-get install nftables\n");
    });
}

#[test]
fn a_resolver_among_the_clusters_addresses() {
    let said = alone(|| {
        let place = Place::new();
        cover("/etc/resolv.conf", &place.write("resolv.conf", "nameserver 10.96.0.53\n"));
        place.run(&["up"])
    });
    said.assert(
        3,
        "error: the machine's DNS server 10.96.0.53 lies in 10.96.0.0/16, which Services have here: no name would resolve\n\
         hint: take other addresses for the cluster: oaas up --prefix 10.200.0.0/16; or use another DNS server\n",
    );
}

#[test]
fn other_addresses_for_a_cluster_that_stands() {
    let place = Place::new();
    fs::create_dir_all(place.state().join(INSTANCE)).unwrap();
    place.write(&format!("state/{INSTANCE}/ledger.json"), "[]");
    place.write(&format!("state/{INSTANCE}/prefix"), "10.200.0.0/16");
    let hint = format!(
        "hint: leave out --prefix to go on with it; its addresses change only with a new cluster: oaas --instance {INSTANCE} down\n"
    );
    place.run(&["up", "--prefix", "10.201.0.0/16"]).assert(
        2,
        &format!(
            "error: the embedded cluster {INSTANCE} has its addresses out of 10.200.0.0/16, and 10.201.0.0/16 was asked for\n{hint}"
        ),
    );
    fs::remove_file(place.state().join(INSTANCE).join("prefix")).unwrap();
    place.run(&["up", "--prefix", "10.201.0.0/16"]).assert(
        2,
        &format!(
            "error: the embedded cluster {INSTANCE} has its addresses by its name, and 10.201.0.0/16 was asked for\n{hint}"
        ),
    );
}
