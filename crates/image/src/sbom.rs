//! What software is in a layer, and the SPDX 2.3 document of an image.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use walkdir::WalkDir;

/// One piece of software.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Whose packaging.
    pub ecosystem: Ecosystem,
    /// Its name there.
    pub name: String,
    /// Its version there.
    pub version: String,
    /// Its licence as an SPDX expression, where its metadata has one.
    pub license: Option<String>,
}

/// Whose packaging a piece of software comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ecosystem {
    /// A .deb.
    Debian,
    /// A wheel.
    Python,
    /// Our own.
    Oaas,
}

impl Component {
    /// Its package URL.
    pub fn purl(&self) -> String {
        let version = self.version.replace('+', "%2B").replace('~', "%7E").replace(':', "%3A");
        match self.ecosystem {
            Ecosystem::Debian => format!("pkg:deb/debian/{}@{version}", self.name.replace('+', "%2B")),
            Ecosystem::Python => {
                format!("pkg:pypi/{}@{version}", self.name.to_ascii_lowercase().replace('_', "-"))
            }
            Ecosystem::Oaas => format!("pkg:generic/{}@{version}", self.name),
        }
    }
}

/// The installed packages of dpkg's status file.
pub fn debian(status: &str) -> Vec<Component> {
    let stanza = |stanza: &str| {
        let value = |field: &str| {
            stanza.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(": ")).map(str::to_owned)
        };
        value("Status").filter(|s| s.ends_with(" installed"))?;
        Some(Component {
            ecosystem: Ecosystem::Debian,
            name: value("Package")?,
            version: value("Version")?,
            license: None,
        })
    };
    let mut found: Vec<Component> = status.split("\n\n").filter_map(stanza).collect();
    found.sort();
    found
}

/// The distributions whose `*.dist-info/METADATA` lie below a directory.
pub fn python(root: &Path) -> Vec<Component> {
    let metadata = WalkDir::new(root).into_iter().filter_map(Result::ok).filter(|e| {
        e.file_name() == "METADATA"
            && e.path().parent().is_some_and(|p| p.extension().is_some_and(|x| x == "dist-info"))
    });
    let mut found: Vec<Component> =
        metadata.filter_map(|e| distribution(&fs::read_to_string(e.path()).ok()?)).collect();
    found.sort();
    found
}

fn distribution(text: &str) -> Option<Component> {
    let head = text.split("\n\n").next().unwrap_or_default();
    let value =
        |field: &str| head.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(": ")).map(str::to_owned);
    Some(Component {
        ecosystem: Ecosystem::Python,
        name: value("Name")?,
        version: value("Version")?,
        license: value("License-Expression"),
    })
}

/// The SPDX document of an image. `created` is in seconds since 1970.
pub fn spdx(image: &str, digest: &str, components: &BTreeSet<Component>, created: u64) -> Value {
    let packages: Vec<Value> = components
        .iter()
        .enumerate()
        .map(|(index, c)| {
            json!({
                "SPDXID": format!("SPDXRef-{index}"),
                "name": c.name,
                "versionInfo": c.version,
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": false,
                "licenseConcluded": "NOASSERTION",
                "licenseDeclared": c.license.as_deref().unwrap_or("NOASSERTION"),
                "copyrightText": "NOASSERTION",
                "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": c.purl()}],
            })
        })
        .collect();
    let contains = (0..packages.len())
        .map(|index| json!({"spdxElementId": "SPDXRef-image", "relationshipType": "CONTAINS", "relatedSpdxElement": format!("SPDXRef-{index}")}));
    let describes = json!({"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-image"});
    let relationships: Vec<Value> = std::iter::once(describes).chain(contains).collect();
    let itself = json!({
        "SPDXID": "SPDXRef-image",
        "name": image,
        "versionInfo": format!("sha256:{digest}"),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
    });
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": image,
        "documentNamespace": format!("https://oaas.dev/spdx/{image}/{digest}"),
        "creationInfo": {"created": rfc3339(created), "creators": [format!("Tool: oaas-{}", env!("CARGO_PKG_VERSION"))]},
        "documentDescribes": ["SPDXRef-image"],
        "packages": std::iter::once(itself).chain(packages).collect::<Vec<_>>(),
        "relationships": relationships,
    })
}

/// Seconds since 1970 as `YYYY-MM-DDTHH:MM:SSZ`.
pub fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_are_read_from_dpkg() {
        let status = "Package: bash\nStatus: install ok installed\nVersion: 5.2+x\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
        let found = debian(status);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].purl(), "pkg:deb/debian/bash@5.2%2Bx");
    }

    #[test]
    fn distributions_are_read_from_their_metadata() {
        let dir = tempfile::tempdir().unwrap();
        let info = dir.path().join("lib/Foo_Bar-1.0.dist-info");
        fs::create_dir_all(&info).unwrap();
        fs::write(info.join("METADATA"), "Metadata-Version: 2.4\nName: Foo_Bar\nVersion: 1.0\nLicense-Expression: MIT\n\nVersion: not this\n").unwrap();
        let found = python(dir.path());
        assert_eq!(
            (found[0].purl().as_str(), found[0].license.as_deref()),
            ("pkg:pypi/foo-bar@1.0", Some("MIT"))
        );
    }

    #[test]
    fn times_are_written_as_spdx_wants_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_767_225_599), "2025-12-31T23:59:59Z");
    }

    #[test]
    fn a_document_names_each_package_once() {
        let component =
            Component { ecosystem: Ecosystem::Oaas, name: "oaas".into(), version: "1".into(), license: None };
        let document = spdx("infra", "ab", &BTreeSet::from([component]), 0);
        assert_eq!(document["packages"].as_array().unwrap().len(), 2);
        assert_eq!(document["relationships"].as_array().unwrap().len(), 2);
        assert_eq!(document["spdxVersion"], "SPDX-2.3");
    }
}
