//! The certificates of an embedded cluster: three authorities and what they sign, made once and kept.
//!
//! Everything is ECDSA on P-256. A certificate is made anew when what is asked for changed (an address, a name, its
//! authority) or when it is about to expire; its key with it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::civil::Date;
use oaas_feedback::{Explain, Kind};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use snafu::{ResultExt, Snafu};

use crate::files::{self, Access, FileError};
use crate::instance::Node;
use crate::subnets::Subnets;

/// How long an authority and what it signs are valid, in years. The embedded cluster has no one to rotate them
/// while it runs; every `up` renews what is about to expire.
const VALID_YEARS: i16 = 10;
/// How many days before it expires a certificate is made anew.
const RENEW_DAYS: i64 = 90;

/// A key or certificate could not be made.
#[derive(Debug, Snafu)]
pub enum PkiError {
    /// The making itself.
    #[snafu(display("failed to make the certificate {name}"))]
    Make {
        /// Its name.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
    /// A file.
    #[snafu(display("failed to keep the cluster's keys"))]
    Keep {
        /// Why.
        source: FileError,
    },
}

impl Explain for PkiError {
    fn kind(&self) -> Kind {
        match self {
            Self::Make { .. } => Kind::Failed,
            Self::Keep { source } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Make { .. } => None,
            Self::Keep { source } => source.hint(),
        }
    }
}

/// Who signs a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// Of everything that speaks to the API server or a kubelet.
    Cluster,
    /// Of etcd and its one client.
    Etcd,
    /// Of requests that the API server passes on to aggregated ones.
    FrontProxy,
}

impl Authority {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cluster, Self::Etcd, Self::FrontProxy];

    /// The name of its files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "ca",
            Self::Etcd => "etcd-ca",
            Self::FrontProxy => "front-proxy-ca",
        }
    }
}

/// A certificate that someone needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leaf {
    /// The name of its files.
    pub name: String,
    /// Who signs it.
    pub authority: Authority,
    /// Whom it is for; Kubernetes takes it for the user's name.
    pub common_name: String,
    /// Kubernetes takes it for the user's group.
    pub organization: Option<String>,
    /// DNS names it serves under; none and no addresses for a client.
    pub names: Vec<String>,
    /// Addresses it serves under.
    pub addresses: Vec<Ipv4Addr>,
}

impl Leaf {
    fn client(name: &str, authority: Authority, user: &str, group: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            authority,
            common_name: user.to_owned(),
            organization: group.map(str::to_owned),
            names: Vec::new(),
            addresses: Vec::new(),
        }
    }

    fn serving(mut self, names: &[&str], addresses: &[Ipv4Addr]) -> Self {
        self.names = names.iter().map(|name| (*name).to_owned()).collect();
        self.addresses = addresses.to_vec();
        self
    }
}

/// Users that reach the API server with a kubeconfig, beside the kubelets: file name, user, group.
pub const USERS: [(&str, &str, Option<&str>); 6] = [
    ("admin", "admin", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("proxy", "system:kube-proxy", None),
    ("coredns", "oaas:coredns", None),
    ("node-controllers", "oaas:node-controllers", None),
];
/// The user as which the API server speaks to kubelets.
pub const KUBELET_CLIENT: &str = "oaas:kube-apiserver";

/// All certificates of a cluster of this many nodes.
pub fn leaves(subnets: &Subnets, nodes: u8) -> Vec<Leaf> {
    use Authority::{Cluster, Etcd, FrontProxy};
    let first = subnets.node(Node::FIRST);
    let local = Ipv4Addr::LOCALHOST;
    let mut leaves = vec![
        Leaf::client("apiserver", Cluster, "kube-apiserver", None).serving(
            &[
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
                "localhost",
            ],
            &[local, first, subnets.api_service()],
        ),
        Leaf::client("apiserver-kubelet-client", Cluster, KUBELET_CLIENT, None),
        Leaf::client("apiserver-etcd-client", Etcd, "kube-apiserver", None),
        Leaf::client("etcd", Etcd, "etcd", None).serving(&["localhost"], &[local, first]),
        Leaf::client("front-proxy-client", FrontProxy, "front-proxy-client", None),
        Leaf::client("images", Cluster, "oaas.local", None).serving(&["oaas.local"], &[local, first]),
    ];
    for (file, user, group) in USERS {
        leaves.push(Leaf::client(file, Cluster, user, group));
    }
    for node in Node::all(nodes) {
        let name = node.to_string();
        leaves.push(
            Leaf::client(
                &format!("kubelet-{name}"),
                Cluster,
                &format!("system:node:{name}"),
                Some("system:nodes"),
            )
            .serving(&[&name, "localhost"], &[local, subnets.node(node)]),
        );
    }
    leaves
}

/// The directory that holds an instance's keys and certificates.
#[derive(Debug, Clone)]
pub struct Pki {
    directory: PathBuf,
}

/// What a certificate was made for, kept beside it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    leaf: Leaf,
    /// Of the authority's certificate, in hex.
    authority_sha256: String,
    expires: Date,
}

impl Pki {
    /// The keys in this directory; makes what is missing for these certificates.
    pub fn ensure(directory: &Path, leaves: &[Leaf], today: Date) -> Result<Self, PkiError> {
        let pki = Self { directory: directory.to_owned() };
        files::make_directory(directory, Access::Secret).context(KeepSnafu)?;
        for authority in Authority::ALL {
            pki.ensure_authority(authority, today)?;
        }
        for leaf in leaves {
            pki.ensure_leaf(leaf, today)?;
        }
        pki.ensure_secret("service-accounts.key", || {
            Ok(KeyPair::generate().context(MakeSnafu { name: "service-accounts" })?.serialize_pem())
        })?;
        let key = files::read(&pki.file("service-accounts.key")).context(KeepSnafu)?;
        let key = KeyPair::from_pem(&key).context(MakeSnafu { name: "service-accounts" })?;
        files::write(&pki.file("service-accounts.pub"), key.public_key_pem().as_bytes(), Access::Public)
            .context(KeepSnafu)?;
        pki.ensure_secret("encryption.json", || Ok(encryption().to_string()))?;
        Ok(pki)
    }

    /// The path of a certificate.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.crt"))
    }

    /// The path of a key.
    pub fn key(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.key"))
    }

    /// The path of another file.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A kubeconfig for a user with this certificate, as YAML.
    pub fn kubeconfig(&self, cluster: &str, server: &str, leaf: &str) -> Result<String, PkiError> {
        let data = |path: PathBuf| Ok(BASE64.encode(files::read(&path).context(KeepSnafu)?));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": cluster, "cluster": {
                "server": server,
                "certificate-authority-data": data(self.certificate(Authority::Cluster.name()))?,
            }}],
            "users": [{ "name": leaf, "user": {
                "client-certificate-data": data(self.certificate(leaf))?,
                "client-key-data": data(self.key(leaf))?,
            }}],
            "contexts": [{ "name": cluster, "context": { "cluster": cluster, "user": leaf } }],
            "current-context": cluster,
        });
        // Kubernetes' own YAML reader takes JSON; people and other tools read this file too.
        Ok(serde_yaml_ng::to_string(&config).unwrap_or_else(|_| config.to_string()))
    }

    fn ensure_authority(&self, authority: Authority, today: Date) -> Result<(), PkiError> {
        let name = authority.name();
        let (certificate, key) = (self.certificate(name), self.key(name));
        if certificate.exists() && key.exists() {
            return Ok(());
        }
        let pair = KeyPair::generate().context(MakeSnafu { name })?;
        let mut params = params(&format!("oaas {name}"), None, today);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let made = params.self_signed(&pair).context(MakeSnafu { name })?;
        // The key first: a certificate alone would make the next run believe that both are there.
        files::write(&key, pair.serialize_pem().as_bytes(), Access::Secret).context(KeepSnafu)?;
        files::write(&certificate, made.pem().as_bytes(), Access::Public).context(KeepSnafu)?;
        Ok(())
    }

    fn ensure_leaf(&self, leaf: &Leaf, today: Date) -> Result<(), PkiError> {
        let name = leaf.name.as_str();
        let authority = files::read(&self.certificate(leaf.authority.name())).context(KeepSnafu)?;
        let authority_sha256 = hex::encode(Sha256::digest(authority.as_bytes()));
        let record = self.file(&format!("{name}.json"));
        let made = files::read_if_there(&record).context(KeepSnafu)?;
        if let Some(made) = made.and_then(|text| serde_json::from_str::<Made>(&text).ok())
            && made.leaf == *leaf
            && made.authority_sha256 == authority_sha256
            && (made.expires - today).get_days() > i32::try_from(RENEW_DAYS).unwrap_or(i32::MAX)
            && self.certificate(name).exists()
            && self.key(name).exists()
        {
            return Ok(());
        }

        let authority_key = files::read(&self.key(leaf.authority.name())).context(KeepSnafu)?;
        let authority_key = KeyPair::from_pem(&authority_key).context(MakeSnafu { name })?;
        let issuer = Issuer::from_ca_cert_pem(&authority, authority_key).context(MakeSnafu { name })?;
        let pair = KeyPair::generate().context(MakeSnafu { name })?;
        let mut params = params(&leaf.common_name, leaf.organization.as_deref(), today);
        let names = leaf.names.iter().cloned().chain(leaf.addresses.iter().map(ToString::to_string));
        params.subject_alt_names =
            CertificateParams::new(names.collect::<Vec<_>>()).context(MakeSnafu { name })?.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !params.subject_alt_names.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&pair, &issuer).context(MakeSnafu { name })?;
        files::write(&self.key(name), pair.serialize_pem().as_bytes(), Access::Secret).context(KeepSnafu)?;
        files::write(&self.certificate(name), certificate.pem().as_bytes(), Access::Public)
            .context(KeepSnafu)?;
        let made = Made { leaf: leaf.clone(), authority_sha256, expires: end(today) };
        // Last, so that a run that was killed in between makes all of it again.
        files::write(&record, json!(made).to_string().as_bytes(), Access::Public).context(KeepSnafu)?;
        Ok(())
    }

    /// A file that is made once and never changed: what it encrypted or signed must stay readable.
    fn ensure_secret(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<String, PkiError>,
    ) -> Result<(), PkiError> {
        let path = self.file(name);
        if !path.exists() {
            files::write(&path, make()?.as_bytes(), Access::Secret).context(KeepSnafu)?;
        }
        Ok(())
    }
}

/// How the API server encrypts Secrets in etcd.
fn encryption() -> serde_json::Value {
    let key: [u8; 32] = rand::random();
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{
            "resources": ["secrets"],
            "providers": [
                { "secretbox": { "keys": [{ "name": "k1", "secret": BASE64.encode(key) }] } },
                { "identity": {} },
            ],
        }],
    })
}

fn params(common_name: &str, organization: Option<&str>, today: Date) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, common_name);
    // A day back: clocks of a machine that just started jump.
    let from = today.yesterday().unwrap_or(today);
    let day = |date: Date| {
        date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(from);
    params.not_after = day(end(today));
    params
}

fn end(today: Date) -> Date {
    today.with().year(today.year() + VALID_YEARS).day(today.day().min(28)).build().unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::Instance;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const TODAY: Date = jiff::civil::date(2026, 2, 28);

    fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
        fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect()
    }

    #[test]
    fn what_is_there_stays_and_what_changed_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let subnets = Subnets::of(&Instance::default(), None);
        Pki::ensure(directory.path(), &leaves(&subnets, 1), TODAY).unwrap();
        let first = contents(directory.path());
        Pki::ensure(directory.path(), &leaves(&subnets, 1), TODAY.tomorrow().unwrap()).unwrap();
        assert_eq!(contents(directory.path()), first, "a second run changes nothing");

        let mut changed = leaves(&subnets, 2);
        changed[0].addresses.push("192.0.2.1".parse().unwrap());
        Pki::ensure(directory.path(), &changed, TODAY).unwrap();
        let second = contents(directory.path());
        let differing: Vec<&str> = second
            .iter()
            .filter(|(name, content)| first.get(*name) != Some(*content))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            differing,
            [
                "apiserver.crt",
                "apiserver.json",
                "apiserver.key",
                "kubelet-node2.crt",
                "kubelet-node2.json",
                "kubelet-node2.key"
            ]
        );
    }

    #[test]
    fn what_expires_soon_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let subnets = Subnets::of(&Instance::default(), None);
        let leaves = &leaves(&subnets, 1)[..1];
        let pki = Pki::ensure(directory.path(), leaves, TODAY).unwrap();
        let before = fs::read(pki.certificate("apiserver")).unwrap();
        Pki::ensure(directory.path(), leaves, jiff::civil::date(2035, 12, 20)).unwrap();
        assert_ne!(fs::read(pki.certificate("apiserver")).unwrap(), before);
    }

    #[test]
    fn keys_are_for_their_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let subnets = Subnets::of(&Instance::default(), None);
        Pki::ensure(directory.path(), &leaves(&subnets, 1), TODAY).unwrap();
        for name in contents(directory.path()).keys() {
            let path = directory.path().join(name);
            let secret = path.extension().is_some_and(|end| end == "key") || name == "encryption.json";
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode == 0o600, secret, "{name} {mode:o}");
        }
    }

    #[test]
    fn a_kubeconfig_holds_all_it_needs() {
        let directory = tempfile::tempdir().unwrap();
        let subnets = Subnets::of(&Instance::default(), None);
        let pki = Pki::ensure(directory.path(), &leaves(&subnets, 1), TODAY).unwrap();
        let text = pki.kubeconfig("oaas", "https://10.87.0.11:6443", "admin").unwrap();
        let read: kube::config::Kubeconfig = serde_yaml_ng::from_str(&text).unwrap();
        assert_eq!(read.current_context.as_deref(), Some("oaas"));
        assert!(read.clusters[0].cluster.as_ref().unwrap().certificate_authority_data.is_some());
    }
}
