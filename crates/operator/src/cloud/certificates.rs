//! What is known of certificates that lie in Secrets, and how they are made so.
//!
//! The judgement is in `oaas_plan` ([`oaas_plan::certificate()`], [`oaas_plan::authority()`]); here certificates are read,
//! and made by a function that is passed in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use oaas_plan::{
    AUTHORITY, AuthorityFacts, AuthorityStep, CertificateFacts, CertificateWanted, CredentialKind,
    CredentialSpec, Credentials, IssueReason, OWN_AUTHORITY, OWN_CERTIFICATE, RefuseReason, SecretKey,
    Sensitive, UserSecrets, Verdict,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::generate::{Generate, GenerateError, Values};

/// The key of a Secret that tells the generation of what is in it, from the second on.
const GENERATION: &str = "generation";

/// The key of a Secret that tells since when it is as it is, in seconds since 1970: for those who follow it.
pub const SINCE: &str = "since";

/// A certificate of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    /// SHA-256 of it, in hexadecimal digits.
    pub fingerprint: String,
}

/// The certificates of a PEM file, in their order; what is none is left out.
pub fn authorities(pem: &str) -> Vec<Authority> {
    const END: &str = "-----END CERTIFICATE-----";
    let mut found = Vec::new();
    for part in pem.split_inclusive(END) {
        if let Ok(der) = CertificateDer::from_pem_slice(part.as_bytes()) {
            let fingerprint = hex::encode(Sha256::digest(&der));
            found.push(Authority { pem: format!("{}\n", part.trim()), der: der.into_owned(), fingerprint });
        }
    }
    found
}

fn text<'a>(values: &'a Values, key: &str) -> &'a str {
    values.get(key).map_or("", |value| value.expose().as_str())
}

/// The generation of what is in a Secret.
pub fn generation(values: &Values) -> u32 {
    text(values, GENERATION).parse().unwrap_or(1)
}

/// Do a certificate and a private key, both PEM, belong together?
fn fits(certificate: &CertificateDer<'_>, key: &str) -> bool {
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.as_bytes()) else { return false };
    let Ok(key) = rustls::crypto::ring::sign::any_supported_type(&key) else { return false };
    rustls::sign::CertifiedKey::new(vec![certificate.clone().into_owned()], key).keys_match().is_ok()
}

fn names(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            _ => None,
        },
        _ => None,
    };
    alternatives.iter().flat_map(|all| &all.value.general_names).filter_map(name).collect()
}

/// What is known of a certificate in `tls.crt` with its key in `tls.key`; why nothing is, else. `known` are the
/// authorities that may have signed it, beside those in its own `ca.crt`.
pub fn facts(values: &Values, known: &[Authority]) -> Result<CertificateFacts, String> {
    let der = CertificateDer::from_pem_slice(text(values, "tls.crt").as_bytes())
        .map_err(|error| format!("tls.crt holds no certificate ({error})"))?;
    let (_, certificate) =
        X509Certificate::from_der(&der).map_err(|error| format!("tls.crt holds no certificate ({error})"))?;
    let beside = authorities(text(values, "ca.crt"));
    let issuer = known.iter().chain(&beside).find(|authority| {
        X509Certificate::from_der(&authority.der).is_ok_and(|(_, authority)| {
            authority.subject() == certificate.issuer()
                && certificate.verify_signature(Some(authority.public_key())).is_ok()
        })
    });
    let validity = certificate.validity();
    Ok(CertificateFacts {
        names: names(&certificate),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        issuer: issuer.map(|authority| authority.fingerprint.clone()),
        trusts: beside.into_iter().map(|authority| authority.fingerprint).collect(),
        key_fits: fits(&der, text(values, "tls.key")),
        generation: generation(values),
    })
}

/// What is known of the authority that signs: the first certificate of `ca.crt`, with its key in `ca.key`.
pub fn authority_facts(values: &Values) -> AuthorityFacts {
    let all = authorities(text(values, "ca.crt"));
    let Some((first, former)) = all.split_first() else { return AuthorityFacts::default() };
    let Ok((_, certificate)) = X509Certificate::from_der(&first.der) else {
        return AuthorityFacts::default();
    };
    AuthorityFacts {
        fingerprint: first.fingerprint.clone(),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        former: former.iter().map(|authority| authority.fingerprint.clone()).collect(),
        key_fits: fits(&first.der, text(values, "ca.key")),
        generation: generation(values),
    }
}

/// What came of looking at the authority and all certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What stands in the way of anything else.
    pub lost: Option<String>,
    /// Certificates that are made anew, and why.
    pub issued: Vec<(String, IssueReason)>,
    /// Certificates of the user's that cannot be used: the Secret, and why.
    pub refused: BTreeSet<(String, String)>,
    /// What a new authority waits for.
    pub waits: Option<String>,
    /// The generation of the authority that is there.
    pub generation: Option<u32>,
    /// The least generation of the certificates that are there.
    pub generation_of_leaves: Option<u32>,
    /// When the authority that signs ends, in seconds.
    pub authority_ends: Option<i64>,
    /// When the first certificate ends, in seconds.
    pub first_ends: Option<i64>,
    /// When there is something to do if nothing happens before, in seconds.
    pub due: Option<i64>,
}

/// Bring the authority and all certificates to what they shall be. `unsettled` names a component that does not run with
/// the Secrets as they are.
pub fn reconcile(
    specs: &[CredentialSpec],
    credentials: &mut Credentials,
    users: Option<&UserSecrets>,
    remembered: u32,
    unsettled: &dyn Fn() -> Option<String>,
    now: i64,
    generate: Generate<'_>,
) -> Result<Outcome, GenerateError> {
    let mut outcome = Outcome::default();
    let of_authority = specs.iter().find(|spec| matches!(spec.kind, CredentialKind::Authority { .. }));
    let Some(of_authority) = of_authority else { return Ok(outcome) };
    let is_leaf = |spec: &&CredentialSpec| matches!(spec.kind, CredentialKind::Certificate { .. });
    let leaves: Vec<&CredentialSpec> = specs.iter().filter(is_leaf).collect();
    let there = credentials.get(AUTHORITY).cloned();
    let known = there.as_ref().map(|values| authorities(text(values, "ca.crt"))).unwrap_or_default();
    let of_leaves: Vec<CertificateFacts> =
        leaves.iter().filter_map(|spec| facts(credentials.get(&spec.name)?, &known).ok()).collect();
    let authority = there.as_ref().map(authority_facts);
    outcome.generation_of_leaves = of_leaves.iter().map(|leaf| leaf.generation).min();
    outcome.generation = authority.as_ref().map(|authority| authority.generation);
    let spreads = authority.as_ref().is_some_and(|authority| !authority.former.is_empty());
    let waits = if spreads { unsettled() } else { None };
    let step = oaas_plan::authority(
        authority.as_ref(),
        &of_leaves.iter().collect::<Vec<_>>(),
        of_authority.generation,
        remembered,
        waits.is_none(),
        now,
    );
    outcome.waits = waits.filter(|_| step != AuthorityStep::Keep);
    let signer = match (&step, there) {
        (AuthorityStep::Lost(how), _) => {
            outcome.lost = Some(format!(
                "the Secret {AUTHORITY} ({}) {how} while certificates that it signed are in use",
                of_authority.purpose
            ));
            return Ok(outcome);
        }
        (AuthorityStep::Make(generation, _), there) => {
            let wanted = CredentialSpec { generation: *generation, ..of_authority.clone() };
            let mut made = generate(&wanted, None)?;
            // Whoever signed what is in use stays trusted.
            let mut former = known;
            for spec in &leaves {
                let beside = credentials.get(&spec.name).map(|values| authorities(text(values, "ca.crt")));
                former.extend(beside.unwrap_or_default());
            }
            trust(&mut made, &former);
            number(&mut made, *generation);
            outcome.waits = there.map(|_| "every part of the cloud".to_owned());
            made
        }
        (AuthorityStep::Drop, Some(mut there)) => {
            let mut own = authorities(text(&there, "ca.crt"));
            own.truncate(1);
            there.insert("ca.crt".to_owned(), Sensitive::new(String::new()));
            trust(&mut there, &own);
            there
        }
        (_, there) => there.unwrap_or_default(),
    };
    let bundle = text(&signer, "ca.crt").to_owned();
    let facts_now = authority_facts(&signer);
    let known = authorities(&bundle);
    let mut alone = signer.clone();
    if let Some(first) = known.first() {
        alone.insert("ca.crt".to_owned(), Sensitive::new(first.pem.clone()));
    }
    let by_issuer = matches!(step, AuthorityStep::Keep | AuthorityStep::Reissue | AuthorityStep::Drop);
    let before = credentials.clone();
    let mut moments = vec![oaas_plan::due(facts_now.not_before, facts_now.not_after)];
    for spec in leaves {
        let CredentialKind::Certificate { names, addresses, own, .. } = &spec.kind else { continue };
        if let Some(shown) = own_certificate(own.as_ref(), spec, credentials, users, now, &mut outcome) {
            let mut shown = shown;
            shown.insert("ca.crt".to_owned(), Sensitive::new(bundle.clone()));
            credentials.insert(spec.name.clone(), shown);
            continue;
        }
        if credentials.get(&spec.name).is_some_and(|values| values.contains_key(OWN_AUTHORITY)) {
            // The user's own is asked for no more.
            credentials.remove(&spec.name);
        }
        let names: BTreeSet<String> = names.iter().chain(addresses).cloned().collect();
        let wanted = CertificateWanted {
            names: &names,
            issuer: &facts_now.fingerprint,
            by_issuer,
            generation: spec.generation,
        };
        let (verdict, had) = match credentials.get(&spec.name) {
            None => (Verdict::Issue(IssueReason::Missing), 0),
            Some(values) => {
                let facts = facts(values, &known).ok();
                (oaas_plan::certificate(facts.as_ref(), &wanted, now), generation(values))
            }
        };
        let mut values = match verdict {
            Verdict::Issue(reason) => {
                let mut made = generate(spec, Some(&alone))?;
                number(&mut made, spec.generation.max(had));
                outcome.issued.push((spec.name.clone(), reason));
                made
            }
            Verdict::Keep | Verdict::Refuse(_) => credentials.get(&spec.name).cloned().unwrap_or_default(),
        };
        values.insert("ca.crt".to_owned(), Sensitive::new(bundle.clone()));
        if let Ok(facts) = facts(&values, &known) {
            moments.push(oaas_plan::due(facts.not_before, facts.not_after));
            outcome.first_ends =
                Some(outcome.first_ends.map_or(facts.not_after, |first| first.min(facts.not_after)));
        }
        credentials.insert(spec.name.clone(), values);
    }
    for spec in specs.iter().filter(is_leaf) {
        if let Some(values) = credentials.get_mut(&spec.name) {
            date(values, before.get(&spec.name), now);
        }
    }
    credentials.insert(AUTHORITY.to_owned(), signer);
    outcome.authority_ends = Some(facts_now.not_after);
    // What is due and does not come, because a new authority is spread, is asked for by what that waits for.
    outcome.due = moments.into_iter().filter(|moment| *moment > now).min();
    Ok(outcome)
}

/// The certificate of the user's that a component shows, if it shows one: the one in the user's Secret if that can be
/// used, else the one that it has shown so far. Why one cannot be used is noted.
fn own_certificate(
    own: Option<&(String, String)>,
    spec: &CredentialSpec,
    credentials: &Credentials,
    users: Option<&UserSecrets>,
    now: i64,
    outcome: &mut Outcome,
) -> Option<Values> {
    let (secret, name) = own?;
    let given = own_values(secret, users?);
    let looked = match &given {
        None => Err(RefuseReason::Missing),
        Some(given) => {
            facts(given, &authorities(text(given, OWN_AUTHORITY))).map_err(RefuseReason::Unreadable)
        }
    };
    let names = BTreeSet::from([name.clone()]);
    match oaas_plan::own_certificate(looked.as_ref().map_err(Clone::clone), &names, now) {
        Verdict::Refuse(reason) => {
            outcome.refused.insert((secret.clone(), reason.to_string()));
            credentials.get(&spec.name).filter(|values| values.contains_key(OWN_AUTHORITY)).cloned()
        }
        Verdict::Keep | Verdict::Issue(_) => given,
    }
}

/// What a Secret of the user's holds, with who signed it.
fn own_values(secret: &str, users: &UserSecrets) -> Option<Values> {
    let value = |key: &str| {
        let found = users.get(&SecretKey { name: secret.to_owned(), key: key.to_owned() })?;
        // Files are put together out of these, so each ends with its line.
        Some(Sensitive::new(format!("{}\n", found.expose().trim_end())))
    };
    let mut given: Values =
        OWN_CERTIFICATE.iter().filter_map(|key| Some(((*key).to_owned(), value(key)?))).collect();
    if given.is_empty() {
        return None;
    }
    let chain = authorities(text(&given, "tls.crt"));
    let mut signers = authorities(text(&given, "ca.crt"));
    // One that nobody else signed is its own authority.
    signers.extend(if chain.len() > 1 { chain[1..].to_vec() } else { chain });
    let mut texts: Vec<&str> = signers.iter().map(|authority| authority.pem.as_str()).collect();
    texts.dedup();
    let signers = Sensitive::new(texts.concat());
    given.insert(OWN_AUTHORITY.to_owned(), signers);
    Some(given)
}

/// Puts further authorities behind those of `ca.crt`, each once.
fn trust(values: &mut Values, further: &[Authority]) {
    let mut bundle = text(values, "ca.crt").to_owned();
    let mut seen: BTreeSet<String> =
        authorities(&bundle).into_iter().map(|authority| authority.fingerprint).collect();
    for authority in further {
        if seen.insert(authority.fingerprint.clone()) {
            bundle.push_str(&authority.pem);
        }
    }
    values.insert("ca.crt".to_owned(), Sensitive::new(bundle));
}

/// Writes when it changed. What was never changed has no date, as whoever runs with it started with it.
fn date(values: &mut Values, before: Option<&Values>, now: i64) {
    let Some(before) = before else { return };
    values.remove(SINCE);
    let without = |values: &Values| {
        values
            .iter()
            .filter(|(key, _)| *key != SINCE)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect::<Values>()
    };
    let since = if without(before) == *values {
        before.get(SINCE).cloned()
    } else {
        Some(Sensitive::new(now.to_string()))
    };
    values.extend(since.map(|since| (SINCE.to_owned(), since)));
}

fn number(values: &mut Values, generation: u32) {
    if generation > 1 {
        values.insert(GENERATION.to_owned(), Sensitive::new(generation.to_string()));
    }
}

#[cfg(test)]
mod tests;
