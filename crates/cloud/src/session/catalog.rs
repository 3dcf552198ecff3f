//! Endpoints: out of the catalog, brought to one form.

use reqwest::Url;
use serde::Deserialize;

use super::error::Error;
use crate::service::Service;

/// Which of a service's endpoints is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interface {
    /// For use within the cluster.
    #[default]
    Internal,
    /// For everybody.
    Public,
    /// For administration.
    Admin,
}

impl Interface {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Internal, Self::Public, Self::Admin];

    /// Its name in the catalog.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Public => "public",
            Self::Admin => "admin",
        }
    }
}

/// A service in a token's catalog (Identity API v3, "Authentication and token management").
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint in a token's catalog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// `internal`, `public` or `admin`.
    pub interface: String,
    /// The region.
    #[serde(default)]
    pub region_id: Option<String>,
    /// The address.
    pub url: String,
}

/// The root of a service's endpoint in a catalog.
pub(super) fn choose(
    catalog: &[Entry],
    service: Service,
    interface: Interface,
    region: Option<&str>,
) -> Result<Url, Error> {
    let mut known = Vec::new();
    let entries = catalog.iter().filter(|entry| entry.kind == service.catalog_type());
    for endpoint in entries.flat_map(|entry| &entry.endpoints) {
        let here = region.is_none() || endpoint.region_id.as_deref() == region;
        if here && endpoint.interface == interface.as_str() {
            return address(&endpoint.url);
        }
        known.push(format!(
            "{} in {}",
            endpoint.interface,
            endpoint.region_id.as_deref().unwrap_or("no region")
        ));
    }
    Err(Error::NoEndpoint {
        service,
        interface: interface.as_str(),
        region: region.unwrap_or("any").to_owned(),
        known,
    })
}

/// Parse an address and take its root.
pub(super) fn address(text: &str) -> Result<Url, Error> {
    let fail = |what: String| Error::Address { address: text.to_owned(), what };
    let url = Url::parse(text).map_err(|error| fail(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(fail("it is not http or https".to_owned()));
    }
    Ok(root(&url))
}

/// An endpoint without its version and what follows it: services are registered as `http://h:5000/v3`,
/// `http://h:8774/v2.1/PROJECT` or `https://h/compute/v2.1`, and our paths begin with the version.
pub fn root(url: &Url) -> Url {
    let mut root = url.clone();
    root.set_query(None);
    root.set_fragment(None);
    let kept: Vec<&str> =
        url.path().split('/').filter(|part| !part.is_empty()).take_while(|part| !is_version(part)).collect();
    root.set_path(&kept.join("/"));
    root
}

fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|first: char| first.is_ascii_digit())
            && rest.chars().all(|character| character.is_ascii_digit() || character == '.')
    })
}

/// A root with a path below it.
pub(super) fn below(root: &Url, path: &str) -> Url {
    let mut url = root.clone();
    url.set_path(&format!("{}{path}", root.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(text: &str) -> String {
        address(text).map_or_else(|error| error.to_string(), |url| url.to_string())
    }

    #[test]
    fn versions_are_cut_off() {
        assert_eq!(roots("http://k:5000/v3"), "http://k:5000/");
        assert_eq!(roots("http://k:5000"), "http://k:5000/");
        assert_eq!(roots("https://c/compute/v2.1/6f7"), "https://c/compute");
        assert_eq!(roots("https://c/volumes/"), "https://c/volumes");
        assert!(roots("keystone:5000").contains("not http"));
    }

    #[test]
    fn paths_go_below_the_root() {
        let below = |root: &str, path: &str| below(&address(root).unwrap(), path).to_string();
        assert_eq!(below("https://c/compute/v2.1", "/v2.1/servers"), "https://c/compute/v2.1/servers");
        assert_eq!(below("http://c:8774", "/v2.1/servers"), "http://c:8774/v2.1/servers");
    }

    #[test]
    fn interface_and_region_are_heeded() {
        let endpoint = |interface: &str, region: &str, url: &str| Endpoint {
            interface: interface.to_owned(),
            region_id: Some(region.to_owned()),
            url: url.to_owned(),
        };
        let catalog = [Entry {
            kind: "image".to_owned(),
            endpoints: vec![
                endpoint("public", "RegionOne", "https://p/image"),
                endpoint("internal", "Two", "https://two"),
            ],
        }];
        let choose = |interface, region| choose(&catalog, Service::Image, interface, region);
        assert_eq!(choose(Interface::Public, Some("RegionOne")).unwrap().as_str(), "https://p/image");
        assert_eq!(choose(Interface::Internal, None).unwrap().as_str(), "https://two/");
        let error = choose(Interface::Internal, Some("RegionOne")).unwrap_err().to_string();
        assert!(error.contains("public in RegionOne, internal in Two"), "{error}");
    }
}
