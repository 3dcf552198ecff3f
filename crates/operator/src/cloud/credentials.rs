//! A cloud's secrets: what is missing is made, what is due is made anew, what is rotated goes over from one generation to
//! the next, what is lost is told. Pure but for the randomness in [`Generate`].
//!
//! Nothing here remembers where a rotation is: which generations there are, and what runs with them, says it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use oaas_api::status::CredentialSummary;
use oaas_plan::{
    AUTHORITY, Blueprint, CERTIFICATES, CredentialKind, CredentialSpec, Credentials, Inputs, rotatable,
};

use super::certificates;
use super::generate::{Generate, GenerateError, Values, staying_keys};
use crate::brain::Doomed;
use crate::observe::Observed;

/// What begins the names of the ledger's entries about generations: `generation.<name>`.
const REMEMBERED: &str = "generation.";
/// How long a new Secret may take to reach those who follow it: the kubelet looks once a minute, they every few seconds.
const YOUNG: SignedDuration = SignedDuration::from_mins(2);
/// How long a changed certificate may take to be in use with those who follow theirs: the bus looks every two minutes,
/// after the kubelet.
const FOLLOWED: SignedDuration = SignedDuration::from_mins(4);
/// How long a key stays after it was the one that encrypts: longer than any token is valid.
const KEYS_STAY: SignedDuration = SignedDuration::from_hours(24 * 30);

/// The secrets as they shall be.
#[derive(Debug, Default)]
pub struct Secured {
    /// All of them.
    pub credentials: Credentials,
    /// What the ledger shall remember.
    pub remember: BTreeMap<String, String>,
    /// What is said of them in the status.
    pub told: Vec<CredentialSummary>,
    /// Secrets of former generations that nobody uses any more.
    pub former: Vec<Doomed>,
    /// When there is something to do, if nothing happens before.
    pub due: Option<Timestamp>,
    specs: Vec<CredentialSpec>,
}

/// Why nothing can be done.
#[derive(Debug)]
pub enum Unsecured {
    /// Secrets are gone that something needs, a line each.
    Lost(Vec<String>),
    /// One could not be made.
    Failed(String),
}

impl Secured {
    /// The Secrets. A certificate's follows what is wanted; any other is written once.
    pub fn objects(&self, blueprint: &Blueprint) -> Vec<Secret> {
        let object = |spec: &CredentialSpec| {
            let values = self.credentials.get(&spec.name)?;
            Some(oaas_render::credential(blueprint, &spec.name, values, is_signed(spec)))
        };
        self.specs.iter().filter_map(object).collect()
    }
}

fn is_signed(spec: &CredentialSpec) -> bool {
    matches!(spec.kind, CredentialKind::Authority { .. } | CredentialKind::Certificate { .. })
}

/// The name of a secret without its generation.
fn base(spec: &CredentialSpec) -> &str {
    spec.name.strip_suffix(&format!("-g{}", spec.generation)).unwrap_or(&spec.name)
}

/// What the ledger remembers of the generation of something.
fn remembered(ledger: &BTreeMap<String, String>, name: &str) -> u32 {
    ledger.get(&format!("{REMEMBERED}{name}")).and_then(|value| value.parse().ok()).unwrap_or(1)
}

/// How old a Secret is.
fn age(observed: &Observed, name: &str) -> Option<SignedDuration> {
    let secret = observed.secrets.iter().find(|secret| secret.name_any() == name)?;
    Some(observed.now.duration_since(secret.creation_timestamp()?.0))
}

/// How long it still takes until whoever follows a Secret has read it; nothing where that is over.
fn unread(secret: &Secret, now: Timestamp) -> Option<SignedDuration> {
    let changed = secret.data.as_ref().and_then(|data| data.get(certificates::SINCE));
    let changed = changed.and_then(|text| std::str::from_utf8(&text.0).ok()?.parse::<i64>().ok());
    let changed = changed.and_then(|second| Timestamp::from_second(second).ok());
    let made = secret.creation_timestamp().map(|made| made.0);
    let left = [(made, YOUNG), (changed, FOLLOWED)]
        .into_iter()
        .filter_map(|(since, takes)| Some(takes - now.duration_since(since?)));
    left.max().filter(SignedDuration::is_positive)
}

/// The Secrets that whoever follows them has read.
pub fn read(observed: &Observed) -> BTreeSet<String> {
    let read = observed.secrets.iter().filter(|secret| unread(secret, observed.now).is_none());
    read.map(|secret| secret.name_any()).collect()
}

/// Bring the secrets to what they shall be.
pub fn secure(
    inputs: &Inputs<'_>,
    observed: &Observed,
    generate: Generate<'_>,
) -> Result<Secured, Unsecured> {
    let (now, ledger) = (observed.now, &observed.ledger.entries);
    let specs = oaas_plan::credentials(inputs);
    let mut lost = lost(&specs, inputs, ledger);
    let mut credentials = inputs.credentials.clone();
    let failed = |error: GenerateError| Unsecured::Failed(error.to_string());
    let outcome = certificates::reconcile(
        &specs,
        &mut credentials,
        inputs.user_secrets,
        remembered(ledger, AUTHORITY),
        &|| oaas_plan::unsettled(inputs),
        now.as_second(),
        generate,
    )
    .map_err(failed)?;
    lost.extend(outcome.lost.clone());
    if !lost.is_empty() {
        return Err(Unsecured::Lost(lost));
    }
    for spec in specs.iter().filter(|spec| !is_signed(spec)) {
        if !credentials.contains_key(&spec.name) {
            let former = former_keys(spec, inputs, observed);
            credentials.insert(spec.name.clone(), generate(spec, former.as_ref()).map_err(failed)?);
        }
    }
    for (name, reason) in &outcome.issued {
        tracing::debug!(secret = %name, %reason, "certificate made");
    }
    let mut secured = Secured { told: told(&outcome, inputs), credentials, ..Secured::default() };
    if let Some(generation) = outcome.generation.filter(|generation| *generation > 1) {
        secured.remember.insert(format!("{REMEMBERED}{AUTHORITY}"), generation.to_string());
    }
    rotations(&specs, inputs, observed, &mut secured);
    let rotates = secured.told.iter().any(|told| told.message.is_some());
    let left = observed.secrets.iter().filter_map(|secret| unread(secret, now)).min();
    let wake = left.filter(|_| rotates).and_then(|left| now.checked_add(left).ok());
    secured.due = outcome.due.and_then(|due| Timestamp::from_second(due).ok()).into_iter().chain(wake).min();
    secured.specs = specs;
    Ok(secured)
}

/// The keys that the next generation of keys is made from: those of the newest that is there.
fn former_keys(spec: &CredentialSpec, inputs: &Inputs<'_>, observed: &Observed) -> Option<Values> {
    let CredentialKind::FernetKeys { keeps } = spec.kind else { return None };
    let newest = oaas_plan::generations(inputs, base(spec)).last().copied()?;
    let name = format!("{}-g{newest}", base(spec));
    let long_ago = age(observed, &name).is_some_and(|age| age > KEYS_STAY);
    Some(staying_keys(inputs.credentials.get(&name)?, keeps || !long_ago))
}

/// Secrets that are missing while data that needs them exists. Whoever asks for another generation than there was
/// knows that the former is gone.
fn lost(specs: &[CredentialSpec], inputs: &Inputs<'_>, ledger: &BTreeMap<String, String>) -> Vec<String> {
    let known = inputs.observed;
    let rotatable = rotatable(inputs);
    let gone = |spec: &&CredentialSpec| {
        known.database_lived
            && oaas_plan::generations(inputs, base(spec)).is_empty()
            && spec.generation <= remembered(ledger, base(spec))
            && spec.guards.iter().any(|component| known.volumes.contains_key(component))
    };
    let line = |spec: &CredentialSpec| {
        let way_out = if rotatable.iter().any(|known| known.name == base(spec)) {
            format!("; `oaas rotate {}` makes another", base(spec))
        } else {
            String::new()
        };
        let (name, purpose) = (&spec.name, &spec.purpose);
        format!("the Secret {name} ({purpose}) is gone while the volumes that need it exist{way_out}")
    };
    specs.iter().filter(gone).map(line).collect()
}

/// How far each rotation is, and which former Secrets go.
fn rotations(specs: &[CredentialSpec], inputs: &Inputs<'_>, observed: &Observed, secured: &mut Secured) {
    let mut unsettled: Option<Option<String>> = None;
    for spec in specs.iter().filter(|spec| !is_signed(spec)) {
        let base = base(spec);
        let there = oaas_plan::generations(inputs, base);
        let Some(newest) = there.last().copied() else { continue };
        if newest > 1 {
            secured.remember.insert(format!("{REMEMBERED}{base}"), newest.to_string());
        }
        let wish = inputs.spec.rotation.get(base).map_or(1, |wish| wish.0);
        let rotates = there.len() > 1;
        if !rotates && wish <= newest {
            if newest > 1 {
                let name = base.to_owned();
                secured.told.push(CredentialSummary {
                    name,
                    generation: newest,
                    ..CredentialSummary::default()
                });
            }
            continue;
        }
        let waits = if inputs.observed.read_secrets.contains(&format!("{base}-g{newest}")) {
            unsettled.get_or_insert_with(|| oaas_plan::unsettled(inputs)).clone()
        } else {
            Some(format!("{} to be told of it", spec.purpose))
        };
        let words = match &waits {
            Some(on) => format!("generation {} comes; waits for {on}", spec.generation),
            None => format!("generation {} is in use; the former one goes", spec.generation),
        };
        secured.told.push(CredentialSummary {
            name: base.to_owned(),
            generation: there.first().copied().unwrap_or(newest),
            expires: None,
            message: Some(words),
        });
        if rotates && waits.is_none() {
            let names: BTreeSet<String> = there
                .iter()
                .filter(|generation| **generation < newest)
                .map(|generation| format!("{base}-g{generation}"))
                .collect();
            let of_former = observed.secrets.iter().filter(|secret| names.contains(&secret.name_any()));
            secured.former.extend(of_former.map(|secret| Doomed {
                kind: "Secret".to_owned(),
                name: secret.name_any(),
                uid: secret.uid().unwrap_or_default(),
            }));
        }
    }
}

/// What is said of the authority and of all certificates together.
fn told(outcome: &certificates::Outcome, inputs: &Inputs<'_>) -> Vec<CredentialSummary> {
    let moment = |second: Option<i64>| second.map(|second| oaas_plan::Moment(second).to_string());
    let waits = outcome.waits.as_ref().map(|on| {
        format!("a new one comes, the former ones are trusted beside it; waits for {on} to run with it")
    });
    let asked = inputs.spec.rotation.get(CERTIFICATES).map_or(1, |wish| wish.0);
    let authority = CredentialSummary {
        name: AUTHORITY.to_owned(),
        generation: outcome.generation.unwrap_or(1),
        expires: moment(outcome.authority_ends),
        message: waits,
    };
    let certificates = CredentialSummary {
        name: CERTIFICATES.to_owned(),
        generation: outcome.generation_of_leaves.unwrap_or(asked),
        expires: moment(outcome.first_ends),
        message: None,
    };
    let refused = outcome.refused.iter().map(|(secret, why)| CredentialSummary {
        name: "publish.tls".to_owned(),
        generation: 1,
        expires: None,
        message: Some(format!(
            "the certificate in the Secret {secret} is not used: {why}; the former one serves on"
        )),
    });
    [authority, certificates].into_iter().chain(refused).collect()
}

#[cfg(test)]
mod tests;
