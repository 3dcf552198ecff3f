//! What is to be done about a certificate, and about the authority that signs: pure functions of what is known of them
//! and of the time.
//!
//! # A new authority, in two phases
//! Every pod must trust whoever signs before it meets a certificate of theirs. So a new authority is *spread* first: it
//! stands beside the former ones in what pods trust, and nothing is signed by it. When every pod runs with that, the
//! certificates are *reissued*, and when every pod runs with those, the former authorities are *dropped*. Each step is
//! seen in the Secrets and in what runs, so that it does not matter when the operator is stopped.

use std::collections::BTreeSet;
use std::fmt;

/// Seconds since 1970.
pub type Instant = i64;

/// What is known of a certificate that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The names in it, in lower case, and the addresses, in their shortest form.
    pub names: BTreeSet<String>,
    /// From when it is valid.
    pub not_before: Instant,
    /// Until when it is valid.
    pub not_after: Instant,
    /// The fingerprint of the authority that signed it; nothing where it is none of those that are known.
    pub issuer: Option<String>,
    /// The fingerprints of the authorities that lie beside it.
    pub trusts: BTreeSet<String>,
    /// Does the key beside it belong to it?
    pub key_fits: bool,
    /// Its generation.
    pub generation: u32,
}

/// What a certificate shall be.
#[derive(Debug, Clone, Copy)]
pub struct CertificateWanted<'a> {
    /// The names and addresses that it must have.
    pub names: &'a BTreeSet<String>,
    /// The fingerprint of the authority that signs now.
    pub issuer: &'a str,
    /// May one of another authority be made anew by it now? See [`AuthorityStep`].
    pub by_issuer: bool,
    /// The generation that is asked for.
    pub generation: u32,
}

/// What is done about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It is made anew.
    Issue(IssueReason),
    /// It cannot be used, and what was used before serves on.
    Refuse(RefuseReason),
}

/// Why a certificate is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssueReason {
    /// There is none.
    Missing,
    /// What is there is none.
    Unreadable,
    /// The key beside it belongs to another.
    OtherKey,
    /// It lacks names.
    Names(Vec<String>),
    /// Two thirds of its life are over.
    Due,
    /// Another authority signs now.
    Authority,
    /// A newer generation is asked for.
    Asked,
}

impl fmt::Display for IssueReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => out.write_str("there is none"),
            Self::Unreadable => out.write_str("what is there is no certificate"),
            Self::OtherKey => out.write_str("the key beside it belongs to another"),
            Self::Names(names) => write!(out, "it lacks {}", names.join(", ")),
            Self::Due => out.write_str("two thirds of its life are over"),
            Self::Authority => out.write_str("the authority that signed it goes"),
            Self::Asked => out.write_str("a newer one is asked for"),
        }
    }
}

/// Why a certificate of the user's cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefuseReason {
    /// There is none.
    Missing,
    /// What is there is none, and why.
    Unreadable(String),
    /// The key beside it belongs to another.
    OtherKey,
    /// Who signed it is not there.
    NoIssuer,
    /// It lacks names.
    Names(Vec<String>),
    /// It is over, in seconds.
    Expired(Instant),
    /// It is not valid yet.
    TooEarly(Instant),
}

impl fmt::Display for RefuseReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => out.write_str("it is not there"),
            Self::Unreadable(why) => write!(out, "it cannot be read: {why}"),
            Self::OtherKey => out.write_str("tls.key is not the key of tls.crt"),
            Self::NoIssuer => out.write_str(
                "who signed it stands neither in tls.crt, behind it, nor in ca.crt: put the whole chain there",
            ),
            Self::Names(names) => write!(out, "it is not made for {}", names.join(", ")),
            Self::Expired(at) => write!(out, "it expired at {}", Moment(*at)),
            Self::TooEarly(at) => write!(out, "it is valid from {} on", Moment(*at)),
        }
    }
}

/// When two thirds of the life between two moments are over.
pub fn due(not_before: Instant, not_after: Instant) -> Instant {
    not_before.saturating_add(not_after.saturating_sub(not_before).max(0) / 3 * 2)
}

/// Is a name among those of a certificate, by itself or by a `*` that stands for its first label? Those of the
/// certificate are in lower case, and addresses in their shortest form.
pub fn covers(names: &BTreeSet<String>, name: &str) -> bool {
    let address = name.parse::<std::net::IpAddr>();
    let name = &address.map_or_else(|_| name.to_ascii_lowercase(), |address| address.to_string());
    let wild = || name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    names.contains(name)
        || name.parse::<std::net::IpAddr>().is_err() && wild().is_some_and(|wild| names.contains(&wild))
}

fn lacking(facts: &CertificateFacts, wanted: &BTreeSet<String>) -> Vec<String> {
    wanted.iter().filter(|name| !covers(&facts.names, name)).cloned().collect()
}

/// What is done about a certificate that the cloud's authority signs. Names that it has beyond the wanted ones are no
/// reason: they go when it is made anew anyway, and a node that comes and goes makes nobody roll.
pub fn certificate(
    facts: Option<&CertificateFacts>,
    wanted: &CertificateWanted<'_>,
    now: Instant,
) -> Verdict {
    let Some(facts) = facts else { return Verdict::Issue(IssueReason::Unreadable) };
    let lacks = lacking(facts, wanted.names);
    let by_another = facts.issuer.as_deref() != Some(wanted.issuer);
    // One that an authority signed which nobody knows any more is of no use to anybody.
    let of_nobody = facts.issuer.is_none();
    let reason = if !facts.key_fits {
        IssueReason::OtherKey
    } else if of_nobody || by_another && wanted.by_issuer {
        IssueReason::Authority
    } else if by_another && now < facts.not_after {
        // Whoever meets a new one would not trust it yet.
        return Verdict::Keep;
    } else if !lacks.is_empty() {
        IssueReason::Names(lacks)
    } else if now >= due(facts.not_before, facts.not_after) {
        IssueReason::Due
    } else if wanted.generation > facts.generation {
        IssueReason::Asked
    } else {
        return Verdict::Keep;
    };
    Verdict::Issue(reason)
}

/// Whether a certificate of the user's can be used.
pub fn own_certificate(
    facts: Result<&CertificateFacts, RefuseReason>,
    names: &BTreeSet<String>,
    now: Instant,
) -> Verdict {
    let facts = match facts {
        Ok(facts) => facts,
        Err(reason) => return Verdict::Refuse(reason),
    };
    let lacks = lacking(facts, names);
    if !facts.key_fits {
        Verdict::Refuse(RefuseReason::OtherKey)
    } else if now >= facts.not_after {
        Verdict::Refuse(RefuseReason::Expired(facts.not_after))
    } else if now < facts.not_before {
        Verdict::Refuse(RefuseReason::TooEarly(facts.not_before))
    } else if !lacks.is_empty() {
        Verdict::Refuse(RefuseReason::Names(lacks))
    } else if facts.issuer.is_none() {
        Verdict::Refuse(RefuseReason::NoIssuer)
    } else {
        Verdict::Keep
    }
}

/// What is known of the authority that signs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// Its certificate's fingerprint.
    pub fingerprint: String,
    /// From when it is valid.
    pub not_before: Instant,
    /// Until when it is valid.
    pub not_after: Instant,
    /// The fingerprints of former ones that are still trusted.
    pub former: BTreeSet<String>,
    /// Does the key beside it belong to it?
    pub key_fits: bool,
    /// Its generation.
    pub generation: u32,
}

/// What is done about the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorityStep {
    /// It signs, and no other is trusted.
    Keep,
    /// A new one is made, of this generation; the former ones stay trusted.
    Make(u32, MakeReason),
    /// It is trusted beside the former ones, and does not sign before every pod knows it.
    Spread,
    /// It signs; what the former ones signed is made anew.
    Reissue,
    /// Nothing of the former ones is left: they are trusted no more.
    Drop,
    /// It is gone or broken, while what it signed is there.
    Lost(&'static str),
}

/// Why an authority is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MakeReason {
    /// The cloud is new.
    New,
    /// Two thirds of its life are over.
    Due,
    /// A newer generation is asked for.
    Asked,
}

/// What is done about the authority. `remembered` is the last generation there was, as the ledger has it; `settled`
/// whether every pod runs with the Secrets as they are now.
pub fn authority(
    facts: Option<&AuthorityFacts>,
    leaves: &[&CertificateFacts],
    wish: u32,
    remembered: u32,
    settled: bool,
    now: Instant,
) -> AuthorityStep {
    let Some(facts) = facts.filter(|facts| facts.key_fits) else {
        // Whoever asks for a newer one than there was knows that the former is gone.
        return if wish > remembered {
            AuthorityStep::Make(wish, MakeReason::Asked)
        } else if leaves.is_empty() && facts.is_none() {
            AuthorityStep::Make(remembered.max(1), MakeReason::New)
        } else if facts.is_some() {
            AuthorityStep::Lost("holds no key and certificate that belong together")
        } else {
            AuthorityStep::Lost("is gone")
        };
    };
    let own = &facts.fingerprint;
    let by_it = leaves.iter().all(|leaf| leaf.issuer.as_ref() == Some(own));
    let known = leaves.iter().all(|leaf| leaf.trusts.contains(own));
    if facts.former.is_empty() {
        let next = facts.generation.max(remembered) + 1;
        return if wish > facts.generation {
            AuthorityStep::Make(wish, MakeReason::Asked)
        } else if now >= due(facts.not_before, facts.not_after) {
            AuthorityStep::Make(next, MakeReason::Due)
        } else {
            AuthorityStep::Keep
        };
    }
    match (by_it, known && settled) {
        (true, true) => AuthorityStep::Drop,
        (true, false) | (false, true) => AuthorityStep::Reissue,
        (false, false) => AuthorityStep::Spread,
    }
}

/// A moment for people, in UTC to the second.
pub struct Moment(pub Instant);

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match k8s_openapi::jiff::Timestamp::from_second(self.0) {
            Ok(moment) => write!(out, "{moment}"),
            Err(_) => write!(out, "{} s", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn leaf() -> CertificateFacts {
        CertificateFacts {
            names: names(&["keystone", "keystone.demo.svc", "127.0.0.1"]),
            not_before: 0,
            not_after: 300,
            issuer: Some("new".into()),
            trusts: names(&["new"]),
            key_fits: true,
            generation: 1,
        }
    }

    #[test]
    fn each_reason_to_make_a_certificate_anew() {
        type Row = (fn(&mut CertificateFacts), Instant, Verdict);
        let wanted_names = names(&["keystone", "127.0.0.1"]);
        let wanted =
            CertificateWanted { names: &wanted_names, issuer: "new", by_issuer: true, generation: 1 };
        let issue = |change: fn(&mut CertificateFacts), now: Instant| {
            let mut facts = leaf();
            change(&mut facts);
            certificate(Some(&facts), &wanted, now)
        };
        let table: [Row; 8] = [
            (|_| {}, 100, Verdict::Keep),
            (|_| {}, 199, Verdict::Keep),
            (|_| {}, 200, Verdict::Issue(IssueReason::Due)),
            (|facts| facts.key_fits = false, 100, Verdict::Issue(IssueReason::OtherKey)),
            (|facts| facts.issuer = Some("old".into()), 100, Verdict::Issue(IssueReason::Authority)),
            (|facts| facts.issuer = None, 100, Verdict::Issue(IssueReason::Authority)),
            (|facts| facts.generation = 2, 100, Verdict::Keep),
            (
                |facts| facts.names = names(&["keystone"]),
                100,
                Verdict::Issue(IssueReason::Names(vec!["127.0.0.1".into()])),
            ),
        ];
        for (number, (change, now, verdict)) in table.into_iter().enumerate() {
            assert_eq!(issue(change, now), verdict, "row {number}");
        }
        assert_eq!(certificate(None, &wanted, 0), Verdict::Issue(IssueReason::Unreadable));
        let newer = CertificateWanted { generation: 2, ..wanted };
        assert_eq!(certificate(Some(&leaf()), &newer, 0), Verdict::Issue(IssueReason::Asked));
    }

    #[test]
    fn nothing_new_is_signed_before_everybody_trusts_the_new_authority() {
        let more = names(&["keystone", "other"]);
        let spreading = CertificateWanted { names: &more, issuer: "new", by_issuer: false, generation: 2 };
        let old = CertificateFacts { issuer: Some("old".into()), ..leaf() };
        assert_eq!(certificate(Some(&old), &spreading, 250), Verdict::Keep);
        // An expired one serves nobody.
        assert!(matches!(certificate(Some(&old), &spreading, 300), Verdict::Issue(_)));
    }

    #[test]
    fn a_certificate_of_the_users_is_refused_by_what_is_wrong() {
        let wanted = names(&["cloud.example.org"]);
        let good = CertificateFacts {
            names: names(&["*.example.org"]),
            not_before: 100,
            not_after: 200,
            key_fits: true,
            issuer: Some("somebody".into()),
            ..CertificateFacts::default()
        };
        assert_eq!(own_certificate(Ok(&good), &wanted, 150), Verdict::Keep);
        let refused = |facts: &CertificateFacts, now| match own_certificate(Ok(facts), &wanted, now) {
            Verdict::Refuse(reason) => reason.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&good, 200), "it expired at 1970-01-01T00:03:20Z");
        assert_eq!(refused(&good, 99), "it is valid from 1970-01-01T00:01:40Z on");
        let other_key = CertificateFacts { key_fits: false, ..good.clone() };
        assert_eq!(refused(&other_key, 150), "tls.key is not the key of tls.crt");
        let alone = CertificateFacts { issuer: None, ..good.clone() };
        assert!(refused(&alone, 150).contains("put the whole chain there"));
        let other_names = CertificateFacts { names: names(&["*.example.com"]), ..good };
        assert_eq!(refused(&other_names, 150), "it is not made for cloud.example.org");
        let missing = own_certificate(Err(RefuseReason::Missing), &wanted, 0);
        assert_eq!(missing, Verdict::Refuse(RefuseReason::Missing));
    }

    #[test]
    fn a_star_stands_for_one_label() {
        let wild = names(&["*.galera.demo.svc"]);
        assert!(covers(&wild, "galera-0.galera.demo.svc"));
        assert!(!covers(&wild, "galera.demo.svc") && !covers(&wild, "a.b.galera.demo.svc"));
        assert!(!covers(&names(&["*.0.0.1"]), "127.0.0.1"));
        assert!(covers(&names(&["2001:db8::1", "cloud.example.org"]), "2001:DB8:0::1"));
        assert!(covers(&wild, "Galera-0.Galera.demo.SVC"));
    }

    fn now() -> AuthorityFacts {
        AuthorityFacts {
            fingerprint: "new".into(),
            not_before: 0,
            not_after: 3000,
            former: BTreeSet::new(),
            key_fits: true,
            generation: 1,
        }
    }

    #[test]
    fn an_authority_is_made_once_and_never_in_silence() {
        let facts = now();
        let leaf = leaf();
        let leaves = [&leaf];
        assert_eq!(authority(None, &[], 1, 1, true, 0), AuthorityStep::Make(1, MakeReason::New));
        assert_eq!(authority(None, &leaves, 1, 1, true, 0), AuthorityStep::Lost("is gone"));
        assert_eq!(authority(None, &leaves, 2, 2, true, 0), AuthorityStep::Lost("is gone"));
        assert_eq!(authority(None, &leaves, 3, 2, true, 0), AuthorityStep::Make(3, MakeReason::Asked));
        assert_eq!(authority(Some(&facts), &leaves, 1, 1, true, 1999), AuthorityStep::Keep);
        assert_eq!(
            authority(Some(&facts), &leaves, 1, 1, true, 2000),
            AuthorityStep::Make(2, MakeReason::Due)
        );
        assert_eq!(
            authority(Some(&facts), &leaves, 2, 1, false, 0),
            AuthorityStep::Make(2, MakeReason::Asked)
        );
        let broken = AuthorityFacts { key_fits: false, ..facts };
        assert!(matches!(authority(Some(&broken), &leaves, 1, 1, true, 0), AuthorityStep::Lost(_)));
        assert!(matches!(authority(Some(&broken), &[], 1, 1, true, 0), AuthorityStep::Lost(_)));
    }

    #[test]
    fn a_new_authority_comes_in_steps() {
        let facts = AuthorityFacts { former: names(&["old"]), generation: 2, ..now() };
        let old = CertificateFacts { issuer: Some("old".into()), trusts: names(&["old"]), ..leaf() };
        let both = CertificateFacts { trusts: names(&["old", "new"]), ..old.clone() };
        let new = CertificateFacts { trusts: names(&["old", "new"]), ..leaf() };
        let step = |leaves: &[&CertificateFacts], settled| authority(Some(&facts), leaves, 2, 2, settled, 0);
        assert_eq!(step(&[&old, &old], true), AuthorityStep::Spread);
        assert_eq!(step(&[&both, &old], true), AuthorityStep::Spread);
        assert_eq!(step(&[&both, &both], false), AuthorityStep::Spread);
        assert_eq!(step(&[&both, &both], true), AuthorityStep::Reissue);
        assert_eq!(step(&[&new, &both], true), AuthorityStep::Reissue);
        assert_eq!(step(&[&new, &new], false), AuthorityStep::Reissue);
        assert_eq!(step(&[&new, &new], true), AuthorityStep::Drop);
    }

    /// A cloud of pods that take what lies in their Secrets when they roll.
    #[derive(Debug, Clone)]
    struct World {
        authority: AuthorityFacts,
        secrets: Vec<CertificateFacts>,
        pods: Vec<CertificateFacts>,
    }

    impl World {
        fn settled(&self) -> bool {
            self.secrets == self.pods
        }

        /// One pass of the operator that is cut off after so many writes.
        fn pass(&mut self, writes: usize) {
            let leaves: Vec<&CertificateFacts> = self.secrets.iter().collect();
            let step = authority(Some(&self.authority), &leaves, 2, 2, self.settled(), 0);
            if step == AuthorityStep::Drop && writes > 0 {
                self.authority.former.clear();
            }
            let mut trusts = self.authority.former.clone();
            trusts.insert(self.authority.fingerprint.clone());
            for secret in self.secrets.iter_mut().take(writes) {
                let names = secret.names.clone();
                let by_issuer = !matches!(step, AuthorityStep::Spread | AuthorityStep::Lost(_));
                let wanted = CertificateWanted { names: &names, issuer: "new", by_issuer, generation: 1 };
                if let Verdict::Issue(_) = certificate(Some(secret), &wanted, 0) {
                    secret.issuer = Some("new".into());
                }
                secret.trusts.clone_from(&trusts);
            }
        }

        /// Does every pod trust every other?
        fn is_whole(&self) -> bool {
            let servers = || self.pods.iter().filter_map(|pod| pod.issuer.as_ref());
            self.pods.iter().all(|pod| servers().all(|issuer| pod.trusts.contains(issuer)))
        }
    }

    proptest! {
        /// Whatever order passes, interruptions and rolls come in: no pod ever meets one that it does not trust.
        #[test]
        fn nobody_meets_somebody_whom_it_does_not_trust(
            events in prop::collection::vec((any::<bool>(), 0usize..4), 0..60),
        ) {
            let old = CertificateFacts { issuer: Some("old".into()), trusts: names(&["old"]), ..leaf() };
            let mut world = World {
                authority: AuthorityFacts { former: names(&["old"]), generation: 2, ..now() },
                secrets: vec![old.clone(), old.clone(), old.clone()],
                pods: vec![old.clone(), old.clone(), old],
            };
            for (operator, number) in events {
                if operator {
                    world.pass(number);
                } else if let Some(pod) = world.pods.get_mut(number) {
                    *pod = world.secrets[number].clone();
                }
                prop_assert!(world.is_whole(), "{world:?}");
            }
            // Left alone it comes to its end.
            for _ in 0..8 {
                world.pass(4);
                world.pods.clone_from(&world.secrets);
            }
            prop_assert!(world.authority.former.is_empty());
            prop_assert!(world.pods.iter().all(|pod| pod.trusts == names(&["new"])));
        }
    }
}
