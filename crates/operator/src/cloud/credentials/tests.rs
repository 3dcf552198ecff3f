use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use oaas_api::OpenStackSpec;
use oaas_api::openstack::Generation;
use oaas_catalog::Catalog;
use oaas_plan::{CloudId, ComponentState, Image, Images, JobState};

use super::super::generate::generate;
use super::*;

/// A cloud whose pods, jobs and registrations come to what is wanted when they are told to.
struct World {
    catalog: Catalog,
    images: Images,
    spec: OpenStackSpec,
    credentials: Credentials,
    made: BTreeMap<String, Timestamp>,
    ledger: BTreeMap<String, String>,
    known: oaas_plan::Observed,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let catalog = Catalog::built_in().expect("the catalog");
        let names =
            ["mariadb", "rabbitmq", "memcached", "haproxy", "ovn", "libvirt", "oaas"].map(str::to_owned);
        let of_releases = catalog.releases().values().map(|release| release.image.clone());
        let images = names.into_iter().chain(of_releases);
        let images = images.map(|name| (name.clone(), Image::opaque(name))).collect();
        let release = catalog.releases().keys().last().expect("one").clone();
        let mut world = Self {
            catalog,
            images,
            spec: OpenStackSpec { release, ..OpenStackSpec::default() },
            credentials: Credentials::new(),
            made: BTreeMap::new(),
            ledger: BTreeMap::new(),
            known: oaas_plan::Observed { database_lived: true, ..oaas_plan::Observed::default() },
            now: Timestamp::from_second(1_700_000_000).expect("a time"),
        };
        world.known.volumes.insert("galera".into(), 1);
        world.known.database_lived = false;
        world.pass().expect("made");
        world.known.database_lived = true;
        world.later();
        world.settle();
        let secured = world.pass().expect("kept");
        assert!(secured.former.is_empty() && secured.told.iter().all(|told| told.message.is_none()));
        world
    }

    fn inputs<T>(&self, with: impl FnOnce(&Inputs<'_>) -> T) -> T {
        let cloud = CloudId { name: "demo".into(), namespace: "demo".into(), uid: "u".into() };
        with(&Inputs {
            cloud: &cloud,
            spec: &self.spec,
            catalog: &self.catalog,
            images: &self.images,
            credentials: &self.credentials,
            user_secrets: None,
            nodes: &[],
            observed: &self.known,
        })
    }

    fn observed(&self) -> Observed {
        let cloud = oaas_api::OpenStack::new("demo", self.spec.clone());
        let mut observed = Observed::of(Arc::new(cloud));
        observed.now = self.now;
        observed.ledger.entries.clone_from(&self.ledger);
        let secret = |(name, made): (&String, &Timestamp)| {
            let metadata = ObjectMeta {
                name: Some(name.clone()),
                uid: Some(format!("uid of {name}")),
                creation_timestamp: Some(Time(*made)),
                ..ObjectMeta::default()
            };
            Arc::new(Secret { metadata, ..Secret::default() })
        };
        observed.secrets = self.made.iter().map(secret).collect();
        observed
    }

    /// One pass of the operator; what it wants is done.
    fn pass(&mut self) -> Result<Secured, Unsecured> {
        let observed = self.observed();
        self.known.read_secrets = read(&observed);
        let seconds = u64::try_from(self.now.as_second()).expect("after 1970");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let secured =
            self.inputs(|inputs| secure(inputs, &observed, &|spec, former| generate(spec, former, now)))?;
        self.credentials.clone_from(&secured.credentials);
        for name in self.credentials.keys() {
            self.made.entry(name.clone()).or_insert(self.now);
        }
        self.ledger.extend(secured.remember.clone());
        for Doomed { kind, name, uid } in &secured.former {
            assert_eq!((kind.as_str(), uid), ("Secret", &format!("uid of {name}")));
            self.credentials.remove(name);
            self.made.remove(name);
        }
        Ok(secured)
    }

    fn later(&mut self) {
        self.now += SignedDuration::from_mins(3);
        self.known.read_secrets = read(&self.observed());
    }

    fn blueprint(&self) -> Blueprint {
        self.inputs(|inputs| oaas_plan::blueprint(inputs).expect("planned"))
    }

    /// Everything runs as it is wanted now.
    fn settle(&mut self) {
        let blueprint = self.blueprint();
        for plan in blueprint.components.values() {
            let state = ComponentState {
                desired: 1,
                ready: 1,
                updated: 1,
                hash: Some(plan.hash.clone()),
                ..ComponentState::default()
            };
            self.known.components.insert(plan.name.clone(), state);
        }
        for job in blueprint.jobs.values() {
            self.known.jobs.insert(job.object_name(), JobState::Succeeded);
        }
        for wanted in &blueprint.registrations {
            self.known.registered.insert(wanted.service.clone(), wanted.hash.clone());
        }
    }

    fn ask(&mut self, names: &[&str], generation: u32) {
        for name in names {
            self.spec.rotation.insert((*name).to_owned(), Generation(generation));
        }
    }

    fn there(&self, base: &str) -> Vec<u32> {
        self.inputs(|inputs| oaas_plan::generations(inputs, base).into_iter().collect())
    }

    /// Everything in a component's files.
    fn files(&self, component: &str) -> String {
        let blueprint = self.blueprint();
        let documents = &blueprint.components[component].documents;
        documents
            .iter()
            .map(|document| serde_json::to_string(document.content.expose()).expect("data"))
            .collect()
    }

    fn job(&self, name: &str) -> String {
        let blueprint = self.blueprint();
        let documents = &blueprint.jobs[name].documents;
        documents
            .iter()
            .map(|document| serde_json::to_string(document.content.expose()).expect("data"))
            .collect()
    }
}

const ALL: [&str; 4] = ["db-nova", "mq-nova", "user-nova", "fernet-keys"];

#[test]
fn a_rotation_goes_from_one_account_to_the_next() {
    let mut world = World::new();
    let before = world.files("nova-conductor");
    assert!(before.contains("nova_g1:") && !before.contains("nova_g2"));
    world.ask(&ALL, 2);
    let secured = world.pass().expect("made");
    assert!(secured.former.is_empty());
    for name in ALL {
        assert_eq!(world.there(name), [1, 2], "{name}");
    }
    // Both accounts are made; the bus is told of the second before anybody uses it.
    assert!(
        world.job("load-schema-nova").contains("nova_g1")
            && world.job("load-schema-nova").contains("nova_g2")
    );
    assert!(world.files("rabbitmq").contains("nova_g1") && world.files("rabbitmq").contains("nova_g2"));
    let files = world.files("nova-conductor");
    assert!(files.contains("mysql+pymysql://nova_g2:") && files.contains("rabbit://nova_g1:"), "{files}");
    assert!(files.contains(r#""username":["nova_g2"]"#), "{files}");
    world.settle();
    let told = world.pass().expect("waits").told;
    let words: Vec<String> = told.into_iter().filter_map(|told| told.message).collect();
    assert!(words.iter().any(|words| words.contains("waits for")), "{words:?}");
    world.later();
    assert!(world.pass().expect("rolls").former.is_empty(), "whoever uses the bus rolls now");
    assert!(world.files("nova-conductor").contains("rabbit://nova_g2:"));
    world.settle();
    let former = world.pass().expect("goes").former;
    assert_eq!(former.len(), ALL.len(), "{former:?}");
    for name in ALL {
        assert_eq!(world.there(name), [2], "{name}");
    }
    assert!(!world.files("rabbitmq").contains("nova_g1"));
    assert!(world.job("load-schema-nova").contains(r#""retired":["nova_g1"]"#));
    let registration = world.blueprint().registrations.into_iter().find(|found| found.service == "nova");
    assert_eq!(registration.expect("there").former, [(None, "nova".to_owned())]);
    world.settle();
    let secured = world.pass().expect("done");
    assert!(secured.former.is_empty() && secured.told.iter().all(|told| told.message.is_none()));
    assert_eq!(world.ledger["generation.db-nova"], "2");
}

#[test]
fn a_pass_that_is_made_again_makes_nothing_anew() {
    let mut world = World::new();
    world.ask(&ALL, 2);
    for _ in 0..4 {
        world.pass().expect("made");
        let before = world.credentials.clone();
        world.pass().expect("kept");
        // What was asked for meanwhile waits for its turn.
        world.ask(&ALL, 3);
        world.pass().expect("kept");
        assert!(before.keys().all(|name| !name.ends_with("-g3")) && world.credentials == before);
        world.ask(&ALL, 2);
        world.settle();
    }
}

#[test]
fn keys_stay_while_what_they_encrypted_may_be_shown() {
    let mut world = World::new();
    let keys = |world: &World, generation: u32| {
        world.credentials[&format!("fernet-keys-g{generation}")].keys().cloned().collect::<Vec<_>>().join(" ")
    };
    for generation in 2..=4 {
        world.ask(&["fernet-keys"], generation);
        for _ in 0..4 {
            world.pass().expect("made");
            world.later();
            world.settle();
        }
    }
    assert_eq!(keys(&world, 4), "0 1 2 3 4");
    world.now += SignedDuration::from_hours(24 * 31);
    world.ask(&["fernet-keys"], 5);
    world.pass().expect("made");
    assert_eq!(keys(&world, 5), "0 4 5");
}

#[test]
fn a_lost_secret_is_told_and_comes_back_only_as_another() {
    let mut world = World::new();
    world.credentials.remove("db-nova-g1");
    world.made.remove("db-nova-g1");
    let before = world.credentials.clone();
    let Err(Unsecured::Lost(lines)) = world.pass() else { panic!("not told") };
    assert_eq!(
        lines,
        [
            "the Secret db-nova-g1 (the account of nova in the database) is gone while the volumes that need it exist; \
          `oaas rotate db-nova` makes another"
        ]
    );
    assert_eq!(world.credentials, before);
    world.ask(&["db-nova"], 2);
    world.pass().expect("asked for");
    assert_eq!(world.there("db-nova"), [2]);
    world.pass().expect("remembered");
    // The second one is lost as well: what the first loss was answered by is no answer to this.
    world.credentials.remove("db-nova-g2");
    assert!(matches!(world.pass(), Err(Unsecured::Lost(_))));
    world.ask(&["db-nova"], 3);
    world.pass().expect("asked for");
}

#[test]
fn what_cannot_be_rotated_says_no_way_out() {
    let mut world = World::new();
    world.credentials.remove("mq-cookie-g1");
    let Err(Unsecured::Lost(lines)) = world.pass() else { panic!("not told") };
    assert!(lines[0].contains("mq-cookie-g1") && !lines[0].contains("rotate"), "{lines:?}");
}
