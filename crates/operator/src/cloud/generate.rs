//! Makes the secrets of a cloud: the only place where randomness and the clock come in.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use oaas_feedback::{Explain, Kind};
use oaas_plan::{CredentialKind, CredentialSpec, Sensitive};
use rand::Rng as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use snafu::{ResultExt, Snafu};

/// The keys and values of one Secret.
pub type Values = BTreeMap<String, Sensitive<String>>;

/// Makes the values of a missing secret; certificates are signed by the authority, which is given.
pub type Generate<'a> = &'a dyn Fn(&CredentialSpec, Option<&Values>) -> Result<Values, GenerateError>;

/// Why a secret could not be made.
#[derive(Debug, Snafu)]
pub enum GenerateError {
    /// A certificate could not be made.
    #[snafu(display("failed to make the certificate {name}"))]
    Certificate {
        /// The Secret.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
    /// An SSH key could not be made.
    #[snafu(display("failed to make the SSH key {name}"))]
    SshKey {
        /// The Secret.
        name: String,
        /// Why.
        source: ssh_key::Error,
    },
    /// The authority that signs is not there.
    #[snafu(display(
        "failed to make the certificate {name}: the Secret with the cloud's authority lacks {key}"
    ))]
    NoAuthority {
        /// The Secret.
        name: String,
        /// The missing key.
        key: &'static str,
    },
}

impl Explain for GenerateError {
    fn kind(&self) -> Kind {
        match self {
            Self::Certificate { .. } | Self::SshKey { .. } => Kind::Failed,
            Self::NoAuthority { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoAuthority { .. } => Some("put the Secret back from a backup".to_owned()),
            Self::Certificate { .. } | Self::SshKey { .. } => None,
        }
    }
}

/// Characters of a password: none needs escaping in a URL, a file or a shell.
const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
/// The Fernet key that does not encrypt yet.
const STAGED: &str = "0";
/// 32 characters of 57 are 186 bits.
const PASSWORD_LENGTH: usize = 32;
/// Clocks of nodes may differ: certificates are valid from a little earlier.
const BACKDATED: Duration = Duration::from_hours(1);

/// Make one secret. `former` is what it follows: for certificates the values of the Secret of kind
/// [`CredentialKind::Authority`] that signs them, for keys those of the generation before that are to stay.
pub fn generate(
    spec: &CredentialSpec,
    former: Option<&Values>,
    now: SystemTime,
) -> Result<Values, GenerateError> {
    let values = match &spec.kind {
        CredentialKind::Password { username } => {
            let mut values = vec![("password", password())];
            values.extend(username.clone().map(|username| ("username", username)));
            values
        }
        CredentialKind::FernetKeys { .. } => return Ok(fernet_keys(former)),
        CredentialKind::SshKey => ssh_key(&spec.name)?,
        CredentialKind::Authority { life } => self::authority(&spec.name, spec.generation, now, *life)?,
        CredentialKind::Certificate { life, names, addresses, .. } => {
            certificate(&spec.name, names, addresses, former, now, *life)?
        }
    };
    Ok(values.into_iter().map(|(key, value)| (key.to_owned(), Sensitive::new(value))).collect())
}

fn password() -> String {
    let mut random = rand::rng();
    (0..PASSWORD_LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// 32 random bytes in URL-safe base64, as the Fernet specification has its keys.
fn fernet_key() -> String {
    base64::engine::general_purpose::URL_SAFE.encode(rand::rng().random::<[u8; 32]>())
}

/// The next keys: everybody knows the one that is numbered 0 already, so it becomes the one that encrypts; a new one
/// takes its place for the next time. The others stay, as they still open what they encrypted.
fn fernet_keys(former: Option<&Values>) -> Values {
    let mut keys = former.cloned().unwrap_or_default();
    let greatest = keys.keys().filter_map(|number| number.parse::<u32>().ok()).max().unwrap_or(0);
    let encrypts = keys.remove(STAGED).unwrap_or_else(|| Sensitive::new(fernet_key()));
    keys.insert((greatest + 1).to_string(), encrypts);
    keys.insert(STAGED.to_owned(), Sensitive::new(fernet_key()));
    keys
}

/// Of the former keys those that stay: all, or the one that encrypted last and the next one.
pub fn staying_keys(former: &Values, all: bool) -> Values {
    let mut keys = former.clone();
    let greatest = keys.keys().filter_map(|number| number.parse::<u32>().ok()).max().unwrap_or(0).to_string();
    keys.retain(|number, _| all || number == STAGED || *number == greatest);
    keys
}

fn ssh_key(name: &str) -> Result<Vec<(&'static str, String)>, GenerateError> {
    let seed: [u8; 32] = rand::rng().random();
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&seed);
    let mut key = ssh_key::PrivateKey::from(pair);
    key.set_comment(name);
    let private = key.to_openssh(ssh_key::LineEnding::LF).context(SshKeySnafu { name })?;
    let public = key.public_key().to_openssh().context(SshKeySnafu { name })?;
    Ok(vec![("ssh-privatekey", private.to_string()), ("ssh-publickey", public)])
}

fn validity(params: &mut CertificateParams, now: SystemTime, life: Duration) {
    params.not_before = (now - BACKDATED.min(life / 10)).into();
    params.not_after = (now + life).into();
}

fn authority(
    name: &str,
    generation: u32,
    now: SystemTime,
    life: Duration,
) -> Result<Vec<(&'static str, String)>, GenerateError> {
    let key = KeyPair::generate().context(CertificateSnafu { name })?;
    let mut params = CertificateParams::default();
    validity(&mut params, now, life);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name = DistinguishedName::new();
    // Whoever checks a certificate looks for its issuer by name: two of one name, both trusted, would be one too many.
    let common = match generation {
        0 | 1 => "OpenStack cloud CA".to_owned(),
        later => format!("OpenStack cloud CA {later}"),
    };
    params.distinguished_name.push(DnType::CommonName, common);
    let certificate = params.self_signed(&key).context(CertificateSnafu { name })?;
    Ok(vec![("ca.crt", certificate.pem()), ("ca.key", key.serialize_pem())])
}

fn certificate(
    name: &str,
    names: &[String],
    addresses: &[String],
    authority: Option<&Values>,
    now: SystemTime,
    life: Duration,
) -> Result<Vec<(&'static str, String)>, GenerateError> {
    let part = |key: &'static str| {
        let value = authority.and_then(|values| values.get(key)).map(|value| value.expose().clone());
        value.ok_or(GenerateError::NoAuthority { name: name.to_owned(), key })
    };
    let (ca_certificate, ca_key) = (part("ca.crt")?, part("ca.key")?);
    let issuer_key = KeyPair::from_pem(&ca_key).context(CertificateSnafu { name })?;
    let issuer = Issuer::from_ca_cert_pem(&ca_certificate, issuer_key).context(CertificateSnafu { name })?;
    let key = KeyPair::generate().context(CertificateSnafu { name })?;
    let mut params = CertificateParams::new(names.to_vec()).context(CertificateSnafu { name })?;
    let addresses = addresses.iter().filter_map(|address| address.parse().ok()).map(SanType::IpAddress);
    params.subject_alt_names.extend(addresses);
    validity(&mut params, now, life);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    // Members of clusters are servers and clients of each other with one certificate.
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.first().map_or(name, String::as_str));
    let certificate = params.signed_by(&key, &issuer).context(CertificateSnafu { name })?;
    Ok(vec![("tls.crt", certificate.pem()), ("tls.key", key.serialize_pem()), ("ca.crt", ca_certificate)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: CredentialKind) -> CredentialSpec {
        CredentialSpec { name: "x".into(), kind, purpose: String::new(), generation: 1, guards: Vec::new() }
    }

    const LIFE: Duration = Duration::from_hours(24);

    #[test]
    fn passwords_differ_and_need_no_escape() {
        let kind = CredentialKind::Password { username: Some("nova_g1".into()) };
        let first = generate(&spec(kind.clone()), None, SystemTime::now()).expect("made");
        let second = generate(&spec(kind), None, SystemTime::now()).expect("made");
        assert_ne!(first["password"], second["password"]);
        assert_eq!(first["password"].expose().len(), PASSWORD_LENGTH);
        assert!(first["password"].expose().chars().all(|character| character.is_ascii_alphanumeric()));
        assert_eq!(first["username"].expose(), "nova_g1");
    }

    #[test]
    fn a_certificate_is_signed_by_the_authority() {
        let authority =
            generate(&spec(CredentialKind::Authority { life: LIFE }), None, SystemTime::now()).expect("made");
        let kind = CredentialKind::Certificate {
            life: LIFE,
            names: vec!["a.b".into()],
            addresses: vec!["127.0.0.1".into()],
            own: None,
        };
        let values = generate(&spec(kind.clone()), Some(&authority), SystemTime::now()).expect("made");
        assert_eq!(values["ca.crt"], authority["ca.crt"]);
        assert!(values["tls.crt"].expose().contains("BEGIN CERTIFICATE"));
        assert!(generate(&spec(kind), None, SystemTime::now()).is_err());
    }

    #[test]
    fn fernet_keys_are_32_bytes() {
        let kind = CredentialKind::FernetKeys { keeps: false };
        let values = generate(&spec(kind), None, SystemTime::now()).expect("made");
        let key = base64::engine::general_purpose::URL_SAFE.decode(values["0"].expose()).expect("base64");
        assert_eq!(key.len(), 32);
    }

    #[test]
    fn the_next_keys_open_what_the_former_ones_encrypted() {
        let kind = CredentialKind::FernetKeys { keeps: false };
        let next =
            |former: Option<&Values>| generate(&spec(kind.clone()), former, SystemTime::now()).expect("made");
        let numbers = |keys: &Values| keys.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
        let first = next(None);
        let second = next(Some(&staying_keys(&first, false)));
        assert_eq!((numbers(&first), numbers(&second)), ("0 1".to_owned(), "0 1 2".to_owned()));
        assert_eq!(second["2"], first["0"], "the one that everybody knew encrypts");
        assert_eq!(second["1"], first["1"]);
        assert_ne!(second["0"], first["0"]);
        assert_eq!(numbers(&next(Some(&staying_keys(&second, false)))), "0 2 3");
        assert_eq!(numbers(&next(Some(&staying_keys(&second, true)))), "0 1 2 3");
    }

    #[test]
    fn ssh_keys_are_openssh() {
        let values = generate(&spec(CredentialKind::SshKey), None, SystemTime::now()).expect("made");
        assert!(values["ssh-privatekey"].expose().starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
        assert!(values["ssh-publickey"].expose().starts_with("ssh-ed25519 "));
    }
}
