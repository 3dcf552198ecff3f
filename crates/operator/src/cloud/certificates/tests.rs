use std::time::{Duration, SystemTime};

use oaas_plan::IssueReason;

use super::super::generate::generate;
use super::*;

const LIFE: Duration = Duration::from_mins(2);
const LIFE_OF_AUTHORITY: Duration = Duration::from_hours(24);

/// A cloud's Secrets, at a moment.
struct World {
    credentials: Credentials,
    names: Vec<String>,
    wish: u32,
    wish_of_authority: u32,
    remembered: u32,
    unsettled: Option<String>,
    own: Option<(String, String)>,
    users: UserSecrets,
    now: i64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            credentials: Credentials::new(),
            names: vec!["keystone.demo.svc".into()],
            wish: 1,
            wish_of_authority: 1,
            remembered: 1,
            unsettled: None,
            own: None,
            users: UserSecrets::new(),
            now: 1_700_000_000,
        };
        assert_eq!(world.pass().issued.len(), 2, "a new cloud's certificates are made");
        world
    }

    fn pass(&mut self) -> Outcome {
        let spec = |name: &str, kind, generation| CredentialSpec {
            name: name.into(),
            kind,
            purpose: "signs the cloud's certificates".into(),
            generation,
            guards: Vec::new(),
        };
        let leaf = |name: &str| {
            let kind = CredentialKind::Certificate {
                life: LIFE,
                names: self.names.clone(),
                addresses: vec!["127.0.0.1".into()],
                own: (name == "tls-edge").then(|| self.own.clone()).flatten(),
            };
            spec(name, kind, self.wish)
        };
        let specs = [
            spec(AUTHORITY, CredentialKind::Authority { life: LIFE_OF_AUTHORITY }, self.wish_of_authority),
            leaf("tls-keystone"),
            leaf("tls-edge"),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(self.now.unsigned_abs());
        let outcome = reconcile(
            &specs,
            &mut self.credentials,
            Some(&self.users),
            self.remembered,
            &|| self.unsettled.clone(),
            self.now,
            &|spec, authority| generate(spec, authority, now),
        )
        .expect("made");
        if let Some(generation) = outcome.generation {
            self.remembered = generation;
        }
        outcome
    }

    fn reasons(outcome: &Outcome) -> Vec<IssueReason> {
        outcome.issued.iter().map(|(_, reason)| reason.clone()).collect()
    }

    fn trusted(&self, secret: &str) -> usize {
        authorities(text(&self.credentials[secret], "ca.crt")).len()
    }

    fn issuer(&self) -> String {
        let known = authorities(text(&self.credentials[AUTHORITY], "ca.crt"));
        facts(&self.credentials["tls-edge"], &known).expect("a certificate").issuer.expect("known")
    }

    fn signer(&self) -> String {
        authority_facts(&self.credentials[AUTHORITY]).fingerprint
    }
}

#[test]
fn what_is_made_is_read_and_stays_as_it_is() {
    let mut world = World::new();
    let before = world.credentials.clone();
    let outcome = world.pass();
    assert!(outcome.issued.is_empty() && world.credentials == before);
    let facts = facts(&world.credentials["tls-edge"], &[]).expect("a certificate");
    let names: Vec<&str> = facts.names.iter().map(String::as_str).collect();
    assert_eq!(names, ["127.0.0.1", "keystone.demo.svc"]);
    assert!(facts.key_fits);
    // A tenth of its life before it is made, for clocks that are behind.
    assert_eq!((world.now - facts.not_before, facts.not_after - world.now), (12, 120));
    assert_eq!(outcome.due, Some(world.now + 76));
}

#[test]
fn it_is_made_anew_when_it_is_due_and_when_names_change() {
    let mut world = World::new();
    world.now += 75;
    assert!(world.pass().issued.is_empty());
    world.now += 1;
    assert_eq!(World::reasons(&world.pass()), [IssueReason::Due, IssueReason::Due]);
    assert!(world.pass().issued.is_empty());
    world.names.push("192.0.2.1".into());
    let lacks = IssueReason::Names(vec!["192.0.2.1".into()]);
    assert_eq!(World::reasons(&world.pass()), [lacks.clone(), lacks]);
    world.names.truncate(1);
    assert!(world.pass().issued.is_empty(), "a name too many is no reason");
    world.wish = 2;
    assert_eq!(World::reasons(&world.pass()), [IssueReason::Asked, IssueReason::Asked]);
    assert!(world.pass().issued.is_empty());
}

#[test]
fn a_key_or_a_text_that_is_wrong_is_replaced() {
    let mut world = World::new();
    let other = world.credentials["tls-keystone"]["tls.key"].clone();
    world.credentials.get_mut("tls-edge").expect("there").insert("tls.key".into(), other);
    assert_eq!(World::reasons(&world.pass()), [IssueReason::OtherKey]);
    let values = world.credentials.get_mut("tls-edge").expect("there");
    values.insert("tls.crt".into(), Sensitive::new("nonsense".into()));
    assert_eq!(World::reasons(&world.pass()), [IssueReason::Unreadable]);
    world.credentials.remove("tls-edge");
    assert_eq!(World::reasons(&world.pass()), [IssueReason::Missing]);
}

#[test]
fn another_authority_comes_in_two_phases() {
    let mut world = World::new();
    let first = world.signer();
    world.wish_of_authority = 2;
    world.unsettled = Some("galera".into());
    let outcome = world.pass();
    assert!(outcome.issued.is_empty(), "nothing is signed by it yet: {outcome:?}");
    assert_ne!(world.signer(), first);
    assert_eq!((world.issuer(), world.trusted("tls-edge"), world.trusted(AUTHORITY)), (first.clone(), 2, 2));
    let spread = world.credentials.clone();
    assert_eq!(world.pass().waits.as_deref(), Some("galera"));
    assert_eq!(world.credentials, spread, "it waits");
    world.unsettled = None;
    assert_eq!(World::reasons(&world.pass()), [IssueReason::Authority, IssueReason::Authority]);
    assert_eq!((world.issuer(), world.trusted("tls-edge")), (world.signer(), 2));
    world.unsettled = Some("galera".into());
    world.pass();
    assert_eq!(world.trusted("tls-edge"), 2, "the former one goes when nobody shows it any more");
    world.unsettled = None;
    let outcome = world.pass();
    assert!(outcome.issued.is_empty());
    assert_eq!((world.trusted("tls-edge"), world.trusted(AUTHORITY)), (1, 1));
    let ends = world.credentials.clone();
    world.pass();
    assert_eq!(world.credentials, ends);
    assert_eq!(generation(&world.credentials[AUTHORITY]), 2);
}

#[test]
fn an_authority_that_is_lost_is_told_and_comes_back_only_when_it_is_asked_for() {
    let mut world = World::new();
    let first = world.signer();
    world.credentials.remove(AUTHORITY);
    let before = world.credentials.clone();
    let lost = world.pass().lost.expect("told");
    assert!(lost.contains("the Secret cloud-ca (signs the cloud's certificates) is gone"), "{lost}");
    assert_eq!(world.credentials, before, "nothing is touched");
    world.wish_of_authority = 2;
    let outcome = world.pass();
    assert!(outcome.lost.is_none() && outcome.issued.is_empty());
    assert_eq!((world.issuer(), world.trusted("tls-edge")), (first, 2));
    world.pass();
    assert_eq!(world.issuer(), world.signer());
    // The key of another authority beside the certificate: nothing that it signs would be trusted.
    let other = world.credentials["tls-edge"]["tls.key"].clone();
    world.credentials.get_mut(AUTHORITY).expect("there").insert("ca.key".into(), other);
    assert!(world.pass().lost.is_some());
}

#[test]
fn the_authority_is_replaced_when_it_is_due() {
    let mut world = World::new();
    world.now += i64::try_from(LIFE_OF_AUTHORITY.as_secs()).expect("small") / 3 * 2;
    let first = world.signer();
    world.unsettled = Some("edge".into());
    world.pass();
    assert_ne!(world.signer(), first);
    assert_eq!(world.trusted("tls-edge"), 2);
}

/// A certificate of somebody else's, as a Secret of the type `kubernetes.io/tls` holds it.
fn own(world: &mut World, name: &str, life: Duration) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(world.now.unsigned_abs());
    let spec = |kind| CredentialSpec {
        name: "own".into(),
        kind,
        purpose: String::new(),
        generation: 7,
        guards: Vec::new(),
    };
    let authority =
        generate(&spec(CredentialKind::Authority { life: LIFE_OF_AUTHORITY }), None, now).expect("made");
    let kind =
        CredentialKind::Certificate { life, names: vec![name.into()], addresses: Vec::new(), own: None };
    let made = generate(&spec(kind), Some(&authority), now).expect("made");
    for (key, value) in made {
        world.users.insert(SecretKey { name: "mine".into(), key }, value);
    }
}

fn key(name: &str) -> SecretKey {
    SecretKey { name: "mine".into(), key: name.into() }
}

#[test]
fn a_certificate_of_the_users_is_shown_while_it_can_be_used() {
    let mut world = World::new();
    let first = world.credentials["tls-edge"].clone();
    world.own = Some(("mine".into(), "cloud.example.org".into()));
    let why =
        |outcome: &Outcome| outcome.refused.iter().map(|(_, why)| why.clone()).collect::<Vec<_>>().join("; ");
    assert_eq!(why(&world.pass()), "it is not there");
    assert_eq!(world.credentials["tls-edge"], first, "the cloud's own serves on");
    own(&mut world, "other.example.org", LIFE_OF_AUTHORITY);
    assert_eq!(why(&world.pass()), "it is not made for cloud.example.org");
    own(&mut world, "cloud.example.org", LIFE_OF_AUTHORITY);
    assert_eq!(why(&world.pass()), "");
    let shown = world.credentials["tls-edge"].clone();
    assert_eq!(shown["tls.crt"], world.users[&key("tls.crt")]);
    assert_eq!(shown["ca.crt"], first["ca.crt"], "back ends are still checked by the cloud's authority");
    assert!(
        shown.contains_key(OWN_AUTHORITY) && !world.credentials["tls-keystone"].contains_key(OWN_AUTHORITY)
    );
    // What comes next is wrong in one way or another: the one that was good serves on.
    let other = world.credentials["tls-keystone"]["tls.key"].clone();
    world.users.insert(key("tls.key"), other);
    assert_eq!(why(&world.pass()), "tls.key is not the key of tls.crt");
    own(&mut world, "cloud.example.org", Duration::from_mins(1));
    world.users.remove(&key("ca.crt"));
    assert!(why(&world.pass()).contains("put the whole chain there"));
    own(&mut world, "cloud.example.org", Duration::from_mins(1));
    world.now += 61;
    assert!(why(&world.pass()).starts_with("it expired at "));
    world.users.insert(key("tls.crt"), Sensitive::new("nonsense".into()));
    assert!(why(&world.pass()).starts_with("it cannot be read: tls.crt holds no certificate"));
    world.users.clear();
    assert_eq!(why(&world.pass()), "it is not there");
    assert_eq!(world.credentials["tls-edge"], shown);
    world.own = None;
    assert_eq!(World::reasons(&world.pass()), [IssueReason::Missing], "the cloud's own comes back");
    assert!(!world.credentials["tls-edge"].contains_key(OWN_AUTHORITY));
}
