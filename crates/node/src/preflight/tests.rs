//! Judgements about made-up machines.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use oaas_feedback::Explain;

use super::*;
use crate::cgroup::Hierarchies;
use crate::observe::Listener;
use crate::options::{ExternalNetwork, Images, PortMap};

fn options() -> Options {
    Options {
        instance: "oaas".parse().unwrap(),
        prefix: None,
        nodes: 1,
        ports: vec![PortMap::loopback(30080)],
        external: vec![ExternalNetwork { router: "192.168.100.1/24".parse().unwrap(), vlan: None }],
        state_dir: "/state".into(),
        cache_dir: "/cache".into(),
        images: Images { cache: "/cache/images".into(), pause: "oaas.local/pause@sha256:0".into() },
        program: "/bin/oaas".into(),
    }
}

fn fit() -> Host {
    Host {
        is_root: true,
        memory: 24 << 30,
        free: BTreeMap::from([("/state".into(), 50 << 30), ("/cache".into(), 50 << 30)]),
        go: Some((1, 26)),
        has_libseccomp: true,
        has_static_libc: true,
        file_systems: ["overlay", "tmpfs"].map(str::to_owned).into(),
        hierarchies: Some(Hierarchies::V2 { mount: "/sys/fs/cgroup".into() }),
        open_files: 1 << 20,
        may_lower_oom_score: true,
        links: BTreeMap::from([("eth0".into(), vec!["192.0.2.2/24".parse().unwrap()])]),
        ..Host::default()
    }
}

/// Messages and hints of a judgement.
fn said(host: &Host, options: &Options) -> Vec<String> {
    check(host, options).findings.iter().map(|one| format!("{one}\n  {}", one.hint().unwrap())).collect()
}

#[test]
fn a_fit_machine_is_fit() {
    let report = check(&fit(), &options());
    assert_eq!(report, Report::default());
    assert_eq!(report.require_fit(), Ok(()));
}

#[test]
fn without_root_nothing_else_is_said() {
    let host = Host { is_root: false, memory: 0, ..fit() };
    assert_eq!(check(&host, &options()).findings, [Finding::NotRoot]);
}

#[test]
fn a_machine_on_which_everything_is_wrong() {
    let host = Host {
        memory: 1 << 30,
        free: BTreeMap::from([("/state".into(), 1 << 30), ("/cache".into(), 1 << 30)]),
        missing: BTreeSet::from(["nft".into(), "gcc".into(), "modprobe".into()]),
        go: None,
        has_libseccomp: false,
        has_static_libc: false,
        file_systems: BTreeSet::from(["tmpfs".into()]),
        hierarchies: None,
        open_files: 1024,
        has_modules: true,
        may_lower_oom_score: false,
        listeners: vec![Listener {
            address: Ipv4Addr::UNSPECIFIED,
            port: 30080,
            owner: Some(("nginx".into(), 77)),
        }],
        links: BTreeMap::from([
            ("oaas-ext".into(), Vec::new()),
            ("lan".into(), vec!["192.168.0.0/16".parse().unwrap()]),
        ]),
        routes: vec![("10.87.0.0/20".parse().unwrap(), "tun0".into())],
        ..fit()
    };
    insta::assert_snapshot!(said(&host, &Options { nodes: 3, ..options() }).join("\n"));
}

#[test]
fn what_is_missing_and_can_be_installed_is_no_refusal() {
    let host = Host { missing: BTreeSet::from(["nft".into()]), ..fit() };
    let report = check(&host, &options());
    assert_eq!(report.packages(), ["nftables"]);
    assert_eq!(report.refusals().count(), 0);
    assert!(report.require_fit().is_err());
}

#[test]
fn what_is_built_needs_no_compiler() {
    let missing = BTreeSet::from(["gcc".to_owned(), "pkg-config".to_owned()]);
    let host = Host { missing, go: None, has_libseccomp: false, is_built: true, ..fit() };
    assert_eq!(check(&host, &options()), Report::default());
}

#[test]
fn an_old_go_is_named() {
    let host = Host { go: Some((1, 21)), ..fit() };
    assert_eq!(check(&host, &options()).findings, [Finding::OldGo { found: (1, 21) }]);
}

#[test]
fn what_is_ours_is_not_in_our_way() {
    let host = Host {
        links: BTreeMap::from([("oaas-mgmt".into(), vec!["10.87.0.1/24".parse().unwrap()])]),
        routes: vec![("10.87.0.0/24".parse().unwrap(), "oaas-mgmt".into())],
        own: BTreeSet::from(["oaas-mgmt".into()]),
        ..fit()
    };
    assert_eq!(check(&host, &options()), Report::default());
}

#[test]
fn a_listener_on_another_address_is_not_in_the_way() {
    let other = Listener { address: "192.0.2.2".parse().unwrap(), port: 30080, owner: None };
    let host = Host { listeners: vec![other], ..fit() };
    assert_eq!(check(&host, &options()), Report::default());
}

#[test]
fn a_port_of_another_instance_is_in_the_way() {
    let host =
        Host { published: BTreeMap::from([((Ipv4Addr::LOCALHOST, 30080), "oaas_two".into())]), ..fit() };
    assert_eq!(
        said(&host, &options()),
        ["port 30080 of 127.0.0.1 is published by another embedded cluster (nftables table oaas_two)\n  \
          publish another port, or take the other cluster down: oaas --instance NAME down"]
    );
}

#[test]
fn each_firewall_comes_with_the_command_that_lets_us_pass() {
    let mut text = Vec::new();
    let chain = Some("inet filter forward".to_owned());
    let cases = [Tool::Docker, Tool::Ufw, Tool::Firewalld, Tool::Other].map(|tool| (tool, None));
    for (tool, chain) in cases.into_iter().chain([(Tool::Other, chain)]) {
        let host = Host { firewalls: vec![Firewall { tool, chain, rules: String::new() }], ..fit() };
        text.extend(said(&host, &options()));
    }
    insta::assert_snapshot!(text.join("\n"));
    let rules = "iifname \"oaas-mgmt\" accept iifname \"oaas-ext\" accept".to_owned();
    let passed = Host { firewalls: vec![Firewall { tool: Tool::Docker, chain: None, rules }], ..fit() };
    assert_eq!(check(&passed, &options()), Report::default());
}

#[test]
fn a_machine_without_the_capability_is_warned_about_and_fit() {
    let host = Host { may_lower_oom_score: false, ..fit() };
    let report = check(&host, &options());
    assert_eq!(report.warnings().count(), 1);
    assert_eq!(report.require_fit(), Ok(()));
}

fn net(text: &str) -> ipnet::Ipv4Net {
    text.parse().unwrap()
}

#[test]
fn a_wider_route_is_a_warning_at_most() {
    for routes in [vec!["10.0.0.0/8"], vec!["0.0.0.0/1", "128.0.0.0/1"]] {
        let routes = routes.into_iter().map(|route| (net(route), "vpn0".to_owned())).collect();
        let report = check(&Host { routes, ..fit() }, &options());
        assert_eq!(report.require_fit(), Ok(()), "{report:?}");
        assert!(
            report.warnings().all(|one| matches!(one, Finding::Covered { .. }))
                && report.warnings().count() > 0
        );
    }
}

#[test]
fn what_has_the_nodes_addresses_is_told_with_others() {
    let routes = vec![(net("10.87.0.0/24"), "vpn0".to_owned()), (net("10.200.7.0/24"), "vpn0".to_owned())];
    let host = Host { routes, ..fit() };
    assert_eq!(
        said(&host, &options()),
        ["10.87.0.0/24 is needed and 10.87.0.0/24 on link vpn0 overlaps with it\n  \
          take other addresses for the cluster: oaas up --prefix 10.201.0.0/16; or change the link vpn0"]
    );
    let instead = Options { prefix: Some("10.201.0.0/16".parse().unwrap()), ..options() };
    assert_eq!(check(&host, &instead), Report::default());
    // Where a wider network covers all of them, one that nobody has in particular is proposed.
    let mut host = host;
    host.routes.push((net("0.0.0.0/1"), "vpn1".to_owned()));
    host.routes.push((net("128.0.0.0/1"), "vpn1".to_owned()));
    assert!(said(&host, &options())[0].contains("--prefix 10.201.0.0/16"));
}

#[test]
fn a_resolver_among_the_addresses_of_pods_and_services_is_in_the_way() {
    for (server, whose) in [("10.96.0.53", "Services"), ("10.88.3.3", "pods"), ("10.87.0.9", "the nodes")] {
        let host = Host { resolvers: vec![server.parse().unwrap()], ..fit() };
        let said = said(&host, &options()).join("\n");
        assert!(said.contains(&format!("which {whose} have here: no name would resolve")), "{said}");
        assert!(said.contains("oaas up --prefix 10.200.0.0/16"), "{said}");
        let instead = Options { prefix: Some("10.200.0.0/16".parse().unwrap()), ..options() };
        assert_eq!(check(&host, &instead), Report::default());
    }
    let elsewhere = Host { resolvers: vec!["10.1.2.3".parse().unwrap()], ..fit() };
    assert_eq!(check(&elsewhere, &options()), Report::default());
}

#[test]
fn what_pods_do_not_reach_is_a_warning() {
    let host = Host { links: BTreeMap::from([("podman0".into(), vec![net("10.88.0.1/16")])]), ..fit() };
    let report = check(&host, &options());
    assert_eq!(report.require_fit(), Ok(()));
    assert_eq!(
        report.findings[0].to_string(),
        "10.88.0.0/16 on link podman0 overlaps with 10.88.0.0/16, which pods have here: they do not reach what lies there"
    );
}
