//! OVN's databases as clusters: made once, restarted, joined, a lost volume, leadership handed over.

mod node_common;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use node_common::{Agent, Hub, Machine, certificates, give_certificates, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_mins(1);

fn role(replicas: u32) -> Value {
    json!({"ovsdb": {"database": "nb", "name": "ovn-nb", "service": "ovn-nb.test", "replicas": replicas, "election_ms": 1000}})
}

fn machines(hub: &Hub, count: u32) -> Vec<Machine> {
    let certificates = certificates();
    let hosts: String =
        (0..count).map(|n| format!("10.85.0.1{n} ovn-nb-{n}.ovn-nb.test ovn-nb-{n}\n")).collect();
    let make = |n| {
        let machine = Machine::new("ovn", &format!("ovn-nb-{n}"));
        hub.plug(&machine, "eth0", 1500, Some(&format!("10.85.0.1{n}/24")));
        machine.write("/etc/hosts", &format!("127.0.0.1 localhost\n{hosts}"));
        give_certificates(&machine, &certificates);
        machine
    };
    (0..count).map(make).collect()
}

fn start(machine: &Machine, replicas: u32) -> Agent {
    machine.agent("ovn-nb", 9100, &role(replicas), &[])
}

fn wait_member(agent: &Agent, members: usize) -> Value {
    until(&format!("cluster of {members} at {}", agent.name), LIMIT, || {
        let status = agent.status()["report"]["status"].clone();
        let here = status["members"].as_array().is_some_and(|all| all.len() == members);
        (here && status["status"] == "cluster member" && status["has_leader"] == true).then_some(status)
    })
}

#[test]
fn one_member_restarts_on_its_data_and_never_begins_anew() {
    let hub = Hub::new();
    let machine = &machines(&hub, 1)[0];
    let check =
        |name: &str, probe: Value| json!([{"name": name, "timeout_ms": 1000, "probe": {"node": probe}}]);
    let config = json!({"component": "ovn-nb", "role": {"node": role(1)}, "health": {"port": 9100,
        "live": check("answers", json!({"unixctl": {"socket": "/run/ovn/ovnnb_db.ctl", "command": "version"}})),
        "ready": check("cluster", json!({"ovn_cluster": {"database": "nb"}}))}});
    let mut agent = machine.agent_with("ovn-nb", 9100, &config, &[]);
    agent.running(LIMIT);
    let first = wait_member(&agent, 1);
    // A server that hangs is seen, and one that goes on again too.
    let wait_code = |path: &str, wanted: u16| {
        until(&format!("{wanted} of {path}"), LIMIT, || agent.get(path).filter(|(code, _)| *code == wanted))
    };
    wait_code("/ready", 200);
    wait_code("/live", 200);
    machine.sh("kill -STOP $(pgrep ovsdb-server)");
    let (_, why) = wait_code("/live", 503);
    assert!(why.to_string().contains("no answer within 1000 ms"), "{why}");
    wait_code("/ready", 503);
    machine.sh("kill -CONT $(pgrep ovsdb-server)");
    wait_code("/ready", 200);

    let remote = "--db=ssl:ovn-nb-0.ovn-nb.test:6641 -p /etc/oaas/tls/tls.key -c /etc/oaas/tls/tls.crt -C /etc/oaas/tls/ca.crt";
    machine.sh(&format!("ovn-nbctl {remote} --timeout=10 ls-add kept"));
    // Neither a client without a certificate nor one of another CA gets in.
    let stranger =
        machine.output(&["ovn-nbctl", "--db=tcp:ovn-nb-0.ovn-nb.test:6641", "--timeout=3", "ls-list"]);
    assert!(!stranger.status.success(), "the database talks to anyone");

    agent.signal(Signal::SIGKILL);
    machine.sh("kill -9 $(pgrep ovsdb-server); while pgrep ovsdb-server >/dev/null; do sleep 0.1; done");
    drop(agent);
    let began = Instant::now();
    let mut agent = start(machine, 1);
    agent.running(LIMIT);
    let second = wait_member(&agent, 1);
    println!("one member killed and started again: leads after {:?}", began.elapsed());
    assert_eq!(second["cluster"], first["cluster"]);
    assert!(machine.sh(&format!("ovn-nbctl {remote} --timeout=10 ls-list")).contains("kept"));
    agent.stop();

    machine.sh("rm /var/lib/ovn/nb.db");
    let (code, log) = start(machine, 1).ended(LIMIT);
    assert_eq!(code, Some(6), "a lost database is a failure of integrity:\n{log}");
    assert!(log.contains("is gone from its volume") && log.contains("restore it from a backup"), "{log}");
}

#[test]
fn three_members_form_one_cluster_and_take_a_lost_one_back() {
    let hub = Hub::new();
    let machines = machines(&hub, 3);
    let mut first = start(&machines[0], 3);
    let mut second = start(&machines[1], 3);
    // Nobody makes a cluster before all have said that there is none.
    until("wait", LIMIT, || {
        first.status()["waits_for"].as_str().filter(|text| text.starts_with("ovn-nb-2 ")).map(drop)
    });
    assert!(!machines[0].path("/var/lib/ovn/nb.db").exists());
    let began = Instant::now();
    let mut third = start(&machines[2], 3);
    let statuses = [&first, &second, &third].map(|agent| wait_member(agent, 3));
    println!("three members formed after {:?}", began.elapsed());
    assert!(statuses.iter().all(|status| status["cluster"] == statuses[0]["cluster"]));
    for agent in [&mut first, &mut second, &mut third] {
        agent.running(LIMIT);
    }

    let all = "ssl:ovn-nb-0.ovn-nb.test:6641,ssl:ovn-nb-1.ovn-nb.test:6641,ssl:ovn-nb-2.ovn-nb.test:6641";
    let keys = "-p /etc/oaas/tls/tls.key -c /etc/oaas/tls/tls.crt -C /etc/oaas/tls/ca.crt";
    let nbctl = |machine: &Machine, command: &str| {
        machine.sh(&format!("ovn-nbctl --db={all} {keys} --timeout=20 {command}"))
    };
    nbctl(&machines[1], "ls-add kept");

    // The first made the cluster and leads. Asked to end, it hands over at once.
    let began = Instant::now();
    first.stop();
    nbctl(&machines[1], "ls-add handed-over");
    println!("a leader asked to end: written again after {:?}", began.elapsed());

    // Its volume is lost: it joins the others' cluster, with their data, under the same address.
    machines[0].sh("rm -rf /var/lib/ovn/*");
    let mut first = start(&machines[0], 3);
    first.running(LIMIT);
    let status = wait_member(&first, 3);
    assert_eq!(status["cluster"], statuses[0]["cluster"]);
    nbctl(&machines[0], "ls-add after");
    let local = machines[0].sh("ovn-nbctl --no-leader-only --timeout=20 ls-list");
    assert!(local.contains("kept") && local.contains("handed-over"), "{local}");

    // Fewer are wanted: the leader removes the last ones.
    for agent in [first, second, third] {
        agent.stop();
    }
    let mut first = start(&machines[0], 1);
    let second = start(&machines[1], 1);
    first.running(LIMIT);
    let status = until("smaller cluster", LIMIT, || {
        [&first, &second].map(Agent::status).into_iter().find_map(|status| {
            let members = status["report"]["status"]["members"].as_array()?.len();
            (members == 1).then_some(status)
        })
    });
    println!("scaled to one: {}", status["report"]["status"]["members"]);
}

const KEYS: &str = "-p /etc/oaas/tls/tls.key -c /etc/oaas/tls/tls.crt -C /etc/oaas/tls/ca.crt";

/// What northd has written for a switch, as the southbound database's own pod sees it.
fn southbound_has(machine: &Machine, switch: &str) -> bool {
    machine
        .sh("ovn-sbctl --no-leader-only --timeout=5 --columns=external_ids list Datapath_Binding || true")
        .contains(&format!("name={switch}"))
}

/// Both databases lost with their volumes, one after the other, while northd runs on: it never acts on an empty one, and
/// nobody has to be restarted.
#[test]
fn lost_databases_are_filled_before_anybody_sees_them() {
    let hub = Hub::new();
    let certificates = certificates();
    let hosts = "10.85.0.10 ovn-nb-0.ovn-nb.test ovn-nb-0\n10.85.0.11 ovn-sb-0.ovn-sb.test ovn-sb-0\n";
    let make = |name: &str, address: &str| {
        let machine = Machine::new("ovn", name);
        hub.plug(&machine, "eth0", 1500, Some(address));
        machine.write("/etc/hosts", &format!("127.0.0.1 localhost\n{hosts}"));
        give_certificates(&machine, &certificates);
        machine
    };
    let (north, south) = (make("ovn-nb-0", "10.85.0.10/24"), make("ovn-sb-0", "10.85.0.11/24"));
    let begin = |machine: &Machine, which: &str, new_cloud: bool, content: &str| {
        let name = format!("ovn-{which}");
        let role = json!({"ovsdb": {"database": which, "name": name, "service": format!("{name}.test"), "replicas": 1,
            "new_cloud": new_cloud, "content": content}});
        let probe = |kind: &str| json!({"name": kind, "probe": {"node": {kind: {"database": which}}}});
        let config = json!({"component": name, "role": {"node": role},
            "health": {"port": 9100, "ready": [probe("ovn_cluster"), probe("ovn_content")]}});
        machine.agent_with(&name, 9100, &config, &[])
    };
    let lose = |machine: &Machine, agent: Agent| {
        agent.signal(Signal::SIGKILL);
        machine.sh("kill -9 $(pgrep ovsdb-server); while pgrep ovsdb-server >/dev/null; do sleep 0.1; done; rm -rf /var/lib/ovn/*");
    };
    let wait = |what: &str, holds: &dyn Fn() -> bool| until(what, LIMIT, || holds().then_some(()));
    let ready = |agent: &Agent| agent.get("/ready").is_some_and(|(code, _)| code == 200);
    let reached = |machine: &Machine, of: &str, port: u16| {
        let at = format!("--db=ssl:ovn-{of}-0.ovn-{of}.test:{port}");
        machine
            .sh(&format!("ovn-{of}ctl {at} {KEYS} --timeout=3 show >/dev/null 2>&1 && echo yes || echo no"))
            == "yes"
    };

    let mut nb = begin(&north, "nb", true, "filler");
    let mut sb = begin(&south, "sb", true, "northd");
    nb.running(LIMIT);
    sb.running(LIMIT);
    wait("a new database lets clients in", &|| ready(&nb) && reached(&south, "nb", 6641));
    assert!(!reached(&north, "sb", 6642), "clients see a database that northd has not written to");
    south.sh(&format!(
        "ovn-northd --ovnnb-db=ssl:ovn-nb-0.ovn-nb.test:6641 \
         --ovnsb-db=ssl:ovn-sb-0.ovn-sb.test:6642,ssl:ovn-sb-0.ovn-sb.test:6646 {KEYS} \
         --unixctl=/run/ovn/northd.ctl -vconsole:info >/var/log/northd.log 2>&1 & sleep 0.1"
    ));
    wait("what northd has written to is open", &|| reached(&north, "sb", 6642));
    let written = format!("ovn-nbctl --db=ssl:ovn-nb-0.ovn-nb.test:6641 {KEYS} --timeout=20");
    for n in 0..5 {
        north.sh(&format!("{written} --wait=sb ls-add other{n}"));
    }
    north.sh(&format!("{written} --wait=sb ls-add kept"));
    assert!(southbound_has(&south, "kept"));

    lose(&north, nb);
    nb = begin(&north, "nb", false, "filler");
    nb.running(LIMIT);
    wait("only the filler's port is open", &|| reached(&south, "nb", 6645));
    std::thread::sleep(Duration::from_secs(5));
    assert!(!reached(&south, "nb", 6641) && !ready(&nb), "an empty database is served");
    let (_, why) = nb.get("/ready").unwrap();
    assert!(why.to_string().contains("was lost with its volume"), "{why}");
    assert!(southbound_has(&south, "kept"), "northd has acted on an empty database");
    // Started again meanwhile it is no more whole than before.
    nb.signal(Signal::SIGKILL);
    north.sh("kill -9 $(pgrep ovsdb-server); while pgrep ovsdb-server >/dev/null; do sleep 0.1; done");
    nb = begin(&north, "nb", false, "filler");
    nb.running(LIMIT);
    wait("the filler's port is open again", &|| reached(&south, "nb", 6645));
    assert!(!reached(&south, "nb", 6641));

    let fill = format!(
        "for n in 0 1 2 3 4; do ovn-nbctl --db=ssl:ovn-nb-0.ovn-nb.test:6645 {KEYS} --timeout=5 ls-add other$n; done; \
         ovn-nbctl --db=ssl:ovn-nb-0.ovn-nb.test:6645 {KEYS} --timeout=5 ls-add kept"
    );
    let role = json!({"ovn_filler": {"members": ["ovn-nb-0.ovn-nb.test"], "program": {"command": ["sh", "-ec", fill]}}});
    let began = Instant::now();
    let filler = south.agent("filler", 9101, &role, &[]);
    wait("the filled database is open", &|| ready(&nb) && reached(&south, "nb", 6641));
    north.sh(&format!("{written} --wait=sb ls-add later"));
    println!("a lost northbound database: filled, and northd in step, after {:?}", began.elapsed());
    assert!(southbound_has(&south, "kept") && southbound_has(&south, "later"));

    lose(&south, sb);
    let began = Instant::now();
    sb = begin(&south, "sb", false, "northd");
    sb.running(LIMIT);
    wait("northd has filled the southbound database", &|| reached(&north, "sb", 6642));
    println!("a lost southbound database: filled after {:?}", began.elapsed());
    assert!(southbound_has(&south, "kept") && southbound_has(&south, "later"));
    north.sh(&format!("{written} --wait=sb ls-add last"));
    let log = south.sh("cat /var/log/northd.log");
    assert!(!log.contains("stale data"), "{log}");
    filler.stop();
    sb.stop();
    nb.stop();
}
