//! Passes over a simulated cloud: what is declared comes about, comes back, and nothing else is touched.

use std::collections::{BTreeMap, BTreeSet};

use oaas_cloud::Secret;
use oaas_cloud::content::spec::{Content, Quota};
use oaas_cloud::content::{Qualified, demo};
use oaas_cloud::engine::{Key, Kind, Options, State, apply};
use oaas_cloud::identity::{self, Catalog, ServiceRegistration, ServiceUser};
use oaas_feedback::Task;
use serde_json::json;

use crate::keeping::{Local, PUBLIC_KEY, demo_items, lines, of, settle};

#[tokio::test]
async fn demo_comes_about_in_one_pass_and_stays() {
    let local = Local::new();
    let items = demo_items();
    let report = local.pass(&items).await;
    assert_eq!(report.failed().count(), 0, "{:#?}", lines(&report));
    assert_eq!(report.find(Kind::Server, "demo/demo-vm").unwrap().state, State::Created);
    assert_eq!(report.find(Kind::FloatingIp, "demo/demo-vm").unwrap().state, State::Created);
    assert!(
        report.find(Kind::FloatingIp, "demo/demo-vm").unwrap().facts["address"].starts_with("192.168.100.")
    );
    assert_eq!(report.find(Kind::Port, "demo/demo-vm/demo-net").unwrap().facts["address"], "172.16.0.9");

    let building = local.pass(&items).await;
    assert_eq!(
        building.open().map(ToString::to_string).collect::<Vec<_>>(),
        ["server demo/demo-vm: waits: it is being built (spawning)"]
    );
    local.cloud(crate::emulator::Emulator::built);
    let report = local.pass(&items).await;
    assert!(report.settled() && report.untouched(), "{:#?}", lines(&report));
    // The fixed address, not the floating one that Nova lists beside it.
    assert_eq!(report.find(Kind::Server, "demo/demo-vm").unwrap().facts["address"], "172.16.0.9");
    local.cloud(|cloud| {
        assert_eq!(cloud.writes, Vec::<String>::new());
        assert_eq!(cloud.all("flavors").len(), 6);
        let server = cloud.named("servers", "demo-vm");
        assert_eq!(server["key_name"], "demo-key");
        assert_eq!(server["user_id"], cloud.named("users", "demo")["id"]);
        let network = cloud.named("networks", "ext-net");
        assert_eq!(network["provider:physical_network"], "public");
        assert_eq!(network["project_id"], "p-admin");
        let subnet = cloud.named("subnets", "ext-subnet");
        assert_eq!(subnet["enable_dhcp"], false);
        assert_eq!(
            subnet["allocation_pools"],
            json!([{"start": "192.168.100.101", "end": "192.168.100.200"}])
        );
        assert_eq!(cloud.named("keypairs", "demo-key")["public_key"], PUBLIC_KEY);
        assert_eq!(cloud.all("security-group-rules").len(), 2);
        // Lists that several items look at are fetched once.
        assert_eq!(cloud.reads.iter().filter(|path| *path == "/v2.1/flavors/detail").count(), 1);
        assert!(cloud.reads.len() < 30, "{} reads: {:?}", cloud.reads.len(), cloud.reads);
    });
}

#[tokio::test]
async fn a_short_round_looks_only_at_what_is_open() {
    let local = Local::new();
    let items = demo_items();
    local.pass(&items).await;
    let report = local.pass(&items).await;
    assert!(!report.settled());
    local.cloud(|cloud| {
        cloud.built();
        cloud.reads.clear();
    });
    let options = Options { trusted: report, ..Options::default() };
    let report = apply(&items, &local, &options, &Task::silent()).await.unwrap();
    assert!(report.settled() && report.untouched(), "{:#?}", lines(&report));
    assert_eq!(local.cloud(|cloud| cloud.reads.clone()), ["/v2.1/servers/detail"]);
    assert!(report.find(Kind::FloatingIp, "demo/demo-vm").unwrap().facts["address"].starts_with("192.168."));
}

#[tokio::test]
async fn a_server_waits_for_its_host_and_is_not_wasted() {
    let local = Local::new();
    local.cloud(|cloud| cloud.compute_ready = false);
    let items = demo_items();
    let report = local.pass(&items).await;
    assert_eq!(
        report.find(Kind::Server, "demo/demo-vm").unwrap().state,
        State::Waiting("nova-compute on node1 is down".to_owned())
    );
    let State::Waiting(reason) = &report.find(Kind::FloatingIp, "demo/demo-vm").unwrap().state else {
        panic!()
    };
    assert!(reason.contains("nova-compute on node1 is down"), "{reason}");
    assert_eq!(local.cloud(|cloud| cloud.all("servers").len()), 0);
    local.cloud(|cloud| cloud.compute_ready = true);
    settle(&local, &items).await;
}

#[tokio::test]
async fn a_server_in_error_is_reported_and_left() {
    let local = Local::new();
    let items = demo_items();
    settle(&local, &items).await;
    local.cloud(|cloud| {
        let id = cloud.named("servers", "demo-vm")["id"].as_str().unwrap().to_owned();
        cloud.with("servers", &id, |server| {
            server["status"] = json!("ERROR");
            server["fault"] = json!({"message": "No valid host was found."});
        });
    });
    let report = local.pass(&items).await;
    let State::Failed { message, hint } = &report.find(Kind::Server, "demo/demo-vm").unwrap().state else {
        panic!()
    };
    assert_eq!(message, "it is in error: No valid host was found.");
    assert!(hint.as_ref().unwrap().contains("nova-compute"));
    assert_eq!(local.cloud(|cloud| cloud.writes.clone()), Vec::<String>::new());
}

#[tokio::test]
async fn a_stopped_server_and_additions_of_the_user_are_left_alone() {
    let local = Local::new();
    let items = demo_items();
    settle(&local, &items).await;
    let before = local.cloud(|cloud| {
        let id = cloud.named("servers", "demo-vm")["id"].as_str().unwrap().to_owned();
        cloud.with("servers", &id, |server| server["status"] = json!("SHUTOFF"));
        let id = cloud.named("networks", "demo-net")["id"].as_str().unwrap().to_owned();
        cloud.with("networks", &id, |network| network["description"] = json!("mine now"));
        cloud.put(
            "security-group-rules",
            json!({"id": "own", "security_group_id": "x", "direction": "ingress"}),
        );
        cloud.objects.clone()
    });
    let report = local.pass(&items).await;
    assert!(report.settled() && report.untouched(), "{:#?}", lines(&report));
    assert_eq!(local.cloud(|cloud| cloud.objects.clone()), before);
}

#[tokio::test]
async fn the_password_is_set_back_only_when_it_does_not_work() {
    let local = Local::new();
    let items = demo_items();
    settle(&local, &items).await;
    let id = local.cloud(|cloud| cloud.named("users", "demo")["id"].as_str().unwrap().to_owned());
    local.cloud(|cloud| cloud.passwords.insert(id.clone(), "changed".to_owned()));
    let report = local.pass(&items).await;
    assert!(matches!(report.find(Kind::Password, "demo").unwrap().state, State::Corrected(_)));
    assert_eq!(local.cloud(|cloud| cloud.writes.clone()), [format!("PATCH /v3/users/{id}")]);
    assert_eq!(local.cloud(|cloud| cloud.passwords[&id].clone()), "demo's own");
    assert!(!format!("{items:?} {report:?}").contains("demo's own"));

    let mut content = demo();
    content.users[0].password_rule = oaas_cloud::content::spec::PasswordRule::Initial;
    local.cloud(|cloud| cloud.passwords.insert(id.clone(), "changed".to_owned()));
    assert!(local.pass(&of(&content)).await.untouched());
}

#[tokio::test]
async fn a_half_uploaded_image_of_ours_is_replaced_and_others_are_not_touched() {
    let local = Local::new();
    let items = demo_items();
    local.cloud(|cloud| {
        cloud.put(
            "images",
            json!({"id": "half", "name": "oaas-guest", "status": "saving", "tags": ["managed-by: oaas"]}),
        );
        cloud.put("images", json!({"id": "theirs", "name": "oaas-guest", "status": "queued", "tags": []}));
    });
    let report = local.pass(&items).await;
    assert_eq!(
        report.find(Kind::Image, "oaas-guest").unwrap().state,
        State::Corrected(vec!["half-uploaded copy".to_owned()])
    );
    let images = local.cloud(|cloud| cloud.all("images").to_vec());
    let statuses: Vec<_> =
        images.iter().map(|image| (image["id"].as_str().unwrap(), &image["status"])).collect();
    assert_eq!(statuses.len(), 2, "{statuses:?}");
    assert!(
        statuses.contains(&("theirs", &json!("queued"))) && !statuses.iter().any(|(id, _)| *id == "half")
    );
    settle(&local, &items).await;
}

#[tokio::test]
async fn an_image_with_other_bytes_is_superseded_and_hidden() {
    let local = Local::new();
    let items = demo_items();
    local.cloud(|cloud| {
        cloud.put(
            "images",
            json!({"id": "old", "name": "oaas-guest", "status": "active", "tags": ["managed-by: oaas"],
            "os_hash_algo": "sha512", "os_hash_value": "00", "visibility": "public"}),
        );
    });
    let report = local.pass(&items).await;
    assert_eq!(
        report.find(Kind::Image, "oaas-guest").unwrap().state,
        State::Corrected(vec!["bytes".to_owned()])
    );
    let images = local.cloud(|cloud| cloud.all("images").to_vec());
    assert_eq!(images.len(), 2);
    assert_eq!(images[0]["os_hidden"], true);
    settle(&local, &items).await;
    assert_ne!(local.cloud(|cloud| cloud.named("servers", "demo-vm")["imageRef"].clone()), "old");
}

#[tokio::test]
async fn a_flavor_of_ours_is_made_anew_and_a_strangers_is_not() {
    let local = Local::new();
    let mut content = Content { flavors: demo().flavors, ..Content::default() };
    content.flavors[0].extra_specs = BTreeMap::from([("hw:mem_page_size".to_owned(), "any".to_owned())]);
    local.cloud(|cloud| {
        cloud.put(
            "flavors",
            json!({"id": "99", "name": "m1.jumbo", "ram": 1, "vcpus": 1, "disk": 1,
        "os-flavor-access:is_public": true, "description": null}),
        );
    });
    let report = local.pass(&of(&content)).await;
    let State::Failed { message, .. } = &report.find(Kind::Flavor, "m1.jumbo").unwrap().state else {
        panic!()
    };
    assert!(message.contains("ram is 1") && message.contains("id is \"99\""), "{message}");

    content.flavors[0].ram_mib = 256;
    let report = local.pass(&of(&content)).await;
    assert_eq!(report.find(Kind::Flavor, "m1.tiny").unwrap().state, State::Corrected(vec!["ram".to_owned()]));
    local.cloud(|cloud| {
        let tiny = cloud.named("flavors", "m1.tiny");
        assert_eq!((&tiny["ram"], &tiny["id"]), (&json!(256), &json!("0")));
        assert_eq!(tiny["extra_specs"], json!({"hw:mem_page_size": "any"}));
    });
    content.flavors[0].extra_specs.insert("hw:cpu_policy".to_owned(), "shared".to_owned());
    let report = local.pass(&of(&content)).await;
    assert_eq!(
        report.find(Kind::Flavor, "m1.tiny").unwrap().state,
        State::Corrected(vec!["extra_specs".to_owned()])
    );
    assert_eq!(local.cloud(|cloud| cloud.writes.clone()), ["POST /v2.1/flavors/0/os-extra_specs"]);
}

#[tokio::test]
async fn a_keypair_is_replaced_only_when_a_ledger_says_it_is_ours() {
    let local = Local::new();
    let mut content = demo();
    content.servers.clear();
    settle(&local, &of(&content)).await;
    content.keypairs[0].public_key = Some("ssh-ed25519 BBBB other".to_owned());
    let items = of(&content);
    let key = Key::new(Kind::Keypair, ["demo", "demo-key"]);
    let report = local.pass(&items).await;
    assert!(matches!(report.find(Kind::Keypair, "demo/demo-key").unwrap().state, State::Failed { .. }));
    let options = Options { recorded: BTreeSet::from([key]), ..Options::default() };
    let report = apply(&items, &local, &options, &Task::silent()).await.unwrap();
    assert!(matches!(report.find(Kind::Keypair, "demo/demo-key").unwrap().state, State::Corrected(_)));
    assert_eq!(
        local.cloud(|cloud| cloud.named("keypairs", "demo-key")["public_key"].clone()),
        "ssh-ed25519 BBBB other"
    );
}

#[tokio::test]
async fn rules_in_other_words_and_what_somebody_makes_at_once_are_adopted() {
    let paths = [
        "/v3/projects",
        "/v3/users",
        "/v2.1/flavors",
        "/v2.0/networks",
        "/v2.0/subnets",
        "/v2.1/os-keypairs",
        "/v2.0/security-group-rules",
    ];
    for path in paths {
        let local = Local::new();
        local.cloud(|cloud| cloud.race_on = Some(path.to_owned()));
        let items = demo_items();
        let report = local.pass(&items).await;
        assert_eq!(report.failed().count(), 0, "{path}: {:#?}", lines(&report));
        assert_eq!(local.cloud(|cloud| cloud.race_on.clone()), None, "{path} was not raced for");
        settle(&local, &items).await;
        local.cloud(|cloud| {
            for (collection, name) in
                [("projects", "demo"), ("users", "demo"), ("flavors", "m1.tiny"), ("networks", "ext-net")]
            {
                cloud.named(collection, name);
            }
        });
    }
}

#[tokio::test]
async fn quotas_are_kept() {
    let local = Local::new();
    let quota = Quota {
        project: Qualified::from("admin"),
        compute: BTreeMap::from([("cores".to_owned(), 40)]),
        network: BTreeMap::from([("network".to_owned(), 100)]),
    };
    let items = of(&Content { quotas: vec![quota], ..Content::default() });
    let report = local.pass(&items).await;
    assert_eq!(
        report.find(Kind::ComputeQuota, "admin").unwrap().state,
        State::Corrected(vec!["cores".to_owned()])
    );
    assert_eq!(report.find(Kind::NetworkQuota, "admin").unwrap().state, State::Unchanged);
    assert!(local.pass(&items).await.untouched());
}

#[tokio::test]
async fn what_is_mentioned_and_not_there_is_named() {
    let local = Local::new();
    let mut content = Content { projects: demo().projects, ..Content::default() };
    content.projects[0].name = "heat/stacks".into();
    let report = local.pass(&of(&content)).await;
    let failed: Vec<String> = report.failed().map(ToString::to_string).collect();
    assert_eq!(failed, ["domain heat: failed: there is no domain heat"]);
    let State::Waiting(reason) = &report.find(Kind::Project, "heat/stacks").unwrap().state else { panic!() };
    assert_eq!(reason, "needs domain heat, which failed: there is no domain heat");
}

fn catalog(url: &str) -> Catalog {
    let endpoints =
        ["internal", "public"].map(|interface| (interface.to_owned(), format!("{url}/{interface}/v3")));
    let registration = |name: &str, kind: &str| ServiceRegistration {
        name: name.to_owned(),
        kind: kind.to_owned(),
        description: None,
        region: "RegionOne".to_owned(),
        endpoints: endpoints.clone().into(),
    };
    Catalog {
        regions: vec!["RegionOne".to_owned()],
        domains: vec!["heat".to_owned()],
        roles: vec!["service".to_owned(), "heat_stack_user".to_owned()],
        projects: vec!["service".into()],
        services: vec![registration("keystone", "identity"), registration("nova", "compute")],
        users: vec![
            ServiceUser::new("nova", Secret::new("n")),
            ServiceUser {
                system_roles: vec!["reader".to_owned()],
                ..ServiceUser::new("glance", Secret::new("g"))
            },
        ],
    }
}

#[tokio::test]
async fn the_catalog_is_kept_and_addresses_follow() {
    let local = Local::new();
    let items = identity::items(&catalog("https://a"));
    let report = local.pass(&items).await;
    assert!(report.settled(), "{:#?}", lines(&report));
    assert_eq!(report.find(Kind::Service, "keystone/identity").unwrap().state, State::Unchanged);
    assert_eq!(
        report.find(Kind::Endpoint, "keystone/public/RegionOne").unwrap().state,
        State::Corrected(vec!["url".to_owned()])
    );
    assert_eq!(report.find(Kind::Endpoint, "nova/public/RegionOne").unwrap().state, State::Created);
    local.cloud(|cloud| {
        // Not declared: left as bootstrap made it.
        let admin: Vec<_> =
            cloud.all("endpoints").iter().filter(|endpoint| endpoint["interface"] == "admin").collect();
        assert_eq!(admin[0]["url"], "http://old:5000/v3");
        let options = &cloud.named("users", "nova")["options"];
        assert_eq!(options["ignore_lockout_failure_attempts"], true);
        assert_eq!(cloud.all("role_assignments").len(), 1 + 2 * 2 + 1);
    });
    let again = local.pass(&items).await;
    assert!(again.untouched(), "{:#?}", lines(&again));

    // A copy that a second operator registered is brought to the same address, not deleted.
    local.cloud(|cloud| {
        let mut copy =
            cloud.all("endpoints").iter().find(|endpoint| endpoint["interface"] == "public").unwrap().clone();
        copy["id"] = json!("copy");
        cloud.put("endpoints", copy);
    });
    let items = identity::items(&catalog("https://b"));
    let report = local.pass(&items).await;
    assert!(report.settled(), "{:#?}", lines(&report));
    local.cloud(|cloud| {
        let public: Vec<_> =
            cloud.all("endpoints").iter().filter(|endpoint| endpoint["interface"] == "public").collect();
        assert_eq!(public.len(), 3);
        assert!(public.iter().all(|endpoint| endpoint["url"] == "https://b/public/v3"), "{public:?}");
    });
}
