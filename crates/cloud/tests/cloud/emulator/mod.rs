//! A small cloud in memory that answers REST calls the way Keystone, Glance, Nova, Neutron and Placement do, as far as
//! this crate uses them. It refuses fields that the real ones do not know, and counts what is written.

mod compute;
mod identity;
mod image;
mod network;

use std::collections::BTreeMap;

use oaas_cloud::service::Service;
use serde_json::{Value, json};

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    pub user: String,
    pub project: Option<String>,
    pub admin: bool,
}

/// A call.
pub struct Ask<'a> {
    pub who: &'a Who,
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a [(String, String)],
    pub body: &'a Value,
}

/// Status and body.
pub type Answer = (u16, Value);

#[derive(Debug, Clone, Default)]
pub struct Emulator {
    /// Objects by collection.
    pub objects: BTreeMap<String, Vec<Value>>,
    /// Passwords by user id.
    pub passwords: BTreeMap<String, String>,
    /// Bytes of images by id.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// Every call that changed something: `METHOD path`.
    pub writes: Vec<String>,
    /// Every call that only read.
    pub reads: Vec<String>,
    /// Objects on a page of a list; 0 means all.
    pub page: usize,
    /// Whether a compute host is up, mapped, and has its agent.
    pub compute_ready: bool,
    /// The endpoints' base for next links and the catalog.
    pub base: String,
    /// Just before a POST to this path, somebody else makes the same.
    pub race_on: Option<String>,
    counter: u64,
}

pub const PASSWORD: &str = "the administrator's";

impl Emulator {
    /// A cloud as `keystone-manage bootstrap` leaves it.
    pub fn bootstrapped() -> Self {
        let mut cloud = Self { compute_ready: true, base: "http://cloud".to_owned(), ..Self::default() };
        cloud.put(
            "domains",
            json!({"id": "default", "name": "Default", "description": "The default domain", "enabled": true}),
        );
        cloud.put(
            "projects",
            json!({"id": "p-admin", "name": "admin", "domain_id": "default", "tags": [], "enabled": true}),
        );
        cloud
            .put("users", json!({"id": "u-admin", "name": "admin", "domain_id": "default", "enabled": true}));
        cloud.passwords.insert("u-admin".to_owned(), PASSWORD.to_owned());
        for role in ["admin", "manager", "member", "reader", "service"] {
            cloud.put("roles", json!({"id": format!("r-{role}"), "name": role, "domain_id": null}));
        }
        cloud.put("role_assignments", json!({"role": {"id": "r-admin"}, "user": {"id": "u-admin"}, "scope": {"project": {"id": "p-admin"}}}));
        cloud.put("regions", json!({"id": "RegionOne", "description": ""}));
        cloud.put(
            "services",
            json!({"id": "s-keystone", "name": "keystone", "type": "identity", "enabled": true}),
        );
        for interface in ["public", "internal", "admin"] {
            cloud.put("endpoints", json!({"id": format!("e-{interface}"), "service_id": "s-keystone", "interface": interface,
                "region_id": "RegionOne", "region": "RegionOne", "url": "http://old:5000/v3", "enabled": true}));
        }
        cloud
    }

    pub fn admin() -> Who {
        Who { user: "u-admin".to_owned(), project: Some("p-admin".to_owned()), admin: true }
    }

    /// Put an object into a collection as it is.
    pub fn put(&mut self, collection: &str, object: Value) {
        self.objects.entry(collection.to_owned()).or_default().push(object);
    }

    pub fn all(&self, collection: &str) -> &[Value] {
        self.objects.get(collection).map_or(&[], Vec::as_slice)
    }

    /// The only object with this name.
    pub fn named(&self, collection: &str, name: &str) -> Value {
        let found: Vec<_> = self.all(collection).iter().filter(|object| object["name"] == name).collect();
        assert_eq!(found.len(), 1, "{collection} named {name}: {found:?}");
        found[0].clone()
    }

    /// Change one object by id.
    pub fn with(&mut self, collection: &str, id: &str, change: impl FnOnce(&mut Value)) {
        let found =
            self.objects.get_mut(collection).and_then(|all| all.iter_mut().find(|object| object["id"] == id));
        change(found.unwrap_or_else(|| panic!("no {collection} {id}")));
    }

    /// Remove objects.
    pub fn remove(&mut self, collection: &str, which: impl Fn(&Value) -> bool) {
        if let Some(all) = self.objects.get_mut(collection) {
            all.retain(|object| !which(object));
        }
    }

    pub fn fresh(&mut self, prefix: &str) -> String {
        self.counter += 1;
        format!("{prefix}-{:04}", self.counter)
    }

    pub fn handle(&mut self, service: Service, ask: &Ask<'_>) -> Answer {
        if ask.method == "GET" {
            self.reads.push(ask.path.to_owned());
        }
        if ask.method == "POST" && self.race_on.as_deref() == Some(ask.path) {
            self.race_on = None;
            let (status, _) = self.handle(service, ask);
            assert!(status < 300, "the other one failed");
        }
        let answer = match service {
            Service::Identity => self.identity(ask),
            Service::Image => self.image(ask),
            Service::Compute => self.compute(ask),
            Service::Network => self.network(ask),
            Service::Placement => self.placement(ask),
        };
        if ask.method != "GET" && answer.0 < 300 && !ask.path.ends_with("/action") {
            self.writes.push(format!("{} {}", ask.method, ask.path));
        }
        answer
    }

    fn placement(&self, ask: &Ask<'_>) -> Answer {
        let wanted = ask.query.iter().find(|(name, _)| name == "resources").map(|(_, value)| value.as_str());
        if ask.path != "/allocation_candidates" || !wanted.is_some_and(|wanted| wanted.starts_with("VCPU:")) {
            return (
                400,
                json!({"errors": [{"status": 400, "title": "Bad Request", "detail": "no such query"}]}),
            );
        }
        let candidates: &[u8] = if self.compute_ready { &[1] } else { &[] };
        (200, json!({"allocation_requests": candidates, "provider_summaries": {}}))
    }

    /// A list, filtered by the query, in pages.
    fn list(
        &self,
        ask: &Ask<'_>,
        service: Service,
        collection: &str,
        keep: impl Fn(&Value) -> bool,
    ) -> Answer {
        let one =
            |name: &str| ask.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let filtered: Vec<&Value> = self
            .all(collection)
            .iter()
            .filter(|object| keep(object))
            .filter(|object| {
                ask.query.iter().all(|(name, value)| match name.as_str() {
                    "limit" | "marker" | "is_public" | "all_tenants" => true,
                    "name" if service == Service::Compute => {
                        object["name"].as_str() == Some(&value.trim_matches(['^', '$']).replace('\\', ""))
                    }
                    "user.id" => object.pointer("/user/id").is_some_and(|id| id == value),
                    "scope.system" => object.pointer("/scope/system").is_some(),
                    "device_owner" | "name" | "user_id" | "project_id" | "network_id" | "device_id"
                    | "domain_id" | "security_group_id" => {
                        object.get(name).is_some_and(|found| found == value)
                    }
                    other => panic!("the emulator does not know the filter {other}"),
                })
            })
            .collect();
        let id = |object: &Value| object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let start = one("marker")
            .and_then(|marker| filtered.iter().position(|object| id(object) == marker))
            .map_or(0, |at| at + 1);
        let size = if self.page == 0 { usize::MAX } else { self.page };
        let page: Vec<&Value> = filtered.iter().skip(start).take(size).copied().collect();
        let more = start + page.len() < filtered.len();
        let field = collection.replace('-', "_");
        let mut body = json!({ field.clone(): page });
        if more && let Some(last) = page.last() {
            let mut query: Vec<String> = ask
                .query
                .iter()
                .filter(|(name, _)| name != "marker")
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            query.push(format!("marker={}", id(last)));
            let path = format!("{}?{}", ask.path, query.join("&"));
            match service {
                Service::Identity => {
                    body["links"] = json!({"next": format!("{}/identity{path}", self.base), "self": "x"});
                }
                Service::Image => body["next"] = json!(path),
                _ => {
                    body[format!("{field}_links")] =
                        json!([{"rel": "next", "href": format!("http://elsewhere{path}")}]);
                }
            }
        } else if service == Service::Identity {
            body["links"] = json!({"next": null});
        }
        (200, body)
    }
}

/// The one member of a request's body, if its fields are all known.
fn unwrap<'a>(
    ask: &'a Ask<'_>,
    singular: &str,
    known: &[&str],
) -> Result<&'a serde_json::Map<String, Value>, String> {
    let fields = ask
        .body
        .get(singular)
        .and_then(Value::as_object)
        .ok_or_else(|| format!("no {singular} in the body"))?;
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(format!("Additional properties are not allowed ('{unknown}' was unexpected)")),
        None => Ok(fields),
    }
}

fn merge(object: &mut Value, fields: &serde_json::Map<String, Value>) {
    for (name, value) in fields {
        object[name] = value.clone();
    }
}
