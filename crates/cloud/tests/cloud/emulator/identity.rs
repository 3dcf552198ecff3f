//! Keystone.

use oaas_cloud::service::Service;
use serde_json::{Value, json};

use super::{Answer, Ask, Emulator, Who, merge, unwrap};

const COLLECTIONS: [(&str, &str, &[&str]); 7] = [
    ("regions", "region", &["id", "description", "parent_region_id"]),
    ("domains", "domain", &["name", "description", "enabled", "tags", "options"]),
    ("roles", "role", &["name", "description", "domain_id", "options"]),
    (
        "projects",
        "project",
        &["name", "domain_id", "description", "enabled", "tags", "parent_id", "is_domain", "options"],
    ),
    (
        "users",
        "user",
        &[
            "name",
            "domain_id",
            "password",
            "enabled",
            "default_project_id",
            "email",
            "description",
            "options",
        ],
    ),
    ("services", "service", &["name", "type", "description", "enabled"]),
    ("endpoints", "endpoint", &["service_id", "interface", "region_id", "url", "enabled", "name"]),
];

fn fault(status: u16, message: &str) -> Answer {
    (status, json!({"error": {"code": status, "message": message, "title": "Fault"}}))
}

impl Emulator {
    /// Check a login; who it is, with the body of the token.
    pub fn login(&self, auth: &Value) -> Result<(Who, Value), Answer> {
        let refuse = || fault(401, "The request you have made requires authentication.");
        let user = auth.pointer("/auth/identity/password/user").ok_or_else(refuse)?;
        let domain = self.named_id("domains", &user["domain"]["name"]).ok_or_else(refuse)?;
        let found = self
            .all("users")
            .iter()
            .find(|known| known["name"] == user["name"] && known["domain_id"] == *domain);
        let found = found.filter(|known| known["enabled"] == true).ok_or_else(refuse)?;
        let id = found["id"].as_str().unwrap().to_owned();
        if self.passwords.get(&id).map(String::as_str) != user["password"].as_str() {
            return Err(refuse());
        }
        let mut token = json!({"user": {"id": id, "name": user["name"]}, "catalog": self.catalog()});
        let project = auth.pointer("/auth/scope/project").map(|scope| {
            let domain = self.named_id("domains", &scope["domain"]["name"]).unwrap_or_default();
            let all = self.all("projects").iter();
            let mut found =
                all.filter(|project| project["name"] == scope["name"] && project["domain_id"] == *domain);
            found.next().and_then(|project| project["id"].as_str()).unwrap_or_default().to_owned()
        });
        let roles = |id: &str, project: &str| {
            let here = |assignment: &&Value| {
                assignment["user"]["id"] == *id && assignment["scope"]["project"]["id"] == *project
            };
            self.all("role_assignments")
                .iter()
                .filter(here)
                .map(|role| role["role"]["id"].clone())
                .collect::<Vec<_>>()
        };
        let mut admin = false;
        if let Some(project) = &project {
            let held = roles(&id, project);
            if held.is_empty() {
                return Err(refuse());
            }
            admin = held.iter().any(|role| role == "r-admin");
            token["project"] = json!({"id": project});
        }
        if auth.pointer("/auth/scope") == Some(&json!("unscoped")) {
            token["catalog"] = json!([]);
        }
        Ok((Who { user: id, project, admin }, token))
    }

    fn named_id(&self, collection: &str, name: &Value) -> Option<String> {
        let found = self.all(collection).iter().find(|object| object["name"] == *name)?;
        Some(found["id"].as_str()?.to_owned())
    }

    fn catalog(&self) -> Value {
        let entry = |kind: &str, path: &str| {
            let interfaces = ["internal", "public"];
            let url = |interface: &str| match interface {
                "internal" => format!("{}{path}", self.base),
                _ => "http://127.0.0.1:9/unreachable".to_owned(),
            };
            let endpoints = interfaces.map(
                |interface| json!({"interface": interface, "region_id": "RegionOne", "url": url(interface)}),
            );
            json!({"type": kind, "name": kind, "endpoints": endpoints})
        };
        json!([
            entry("identity", "/identity/v3"),
            entry("image", "/image"),
            entry("compute", "/compute/v2.1/p-admin"),
            entry("network", "/network"),
            entry("placement", "/placement"),
        ])
    }

    pub fn identity(&mut self, ask: &Ask<'_>) -> Answer {
        if !ask.who.admin {
            return fault(403, "You are not authorized");
        }
        let parts: Vec<&str> = ask.path.trim_start_matches("/v3/").split('/').collect();
        match (ask.method, parts.as_slice()) {
            ("GET", ["role_assignments"]) => {
                return self.list(ask, Service::Identity, "role_assignments", |_| true);
            }
            ("PUT", [scope, target, "users", user, "roles", role]) => {
                let scope = scope.trim_end_matches('s').to_owned();
                return self.assign(role, user, &json!({ scope: {"id": target} }));
            }
            ("PUT", ["system", "users", user, "roles", role]) => {
                return self.assign(role, user, &json!({"system": {"all": true}}));
            }
            _ => {}
        }
        let Some((collection, singular, known)) =
            COLLECTIONS.iter().find(|(collection, ..)| *collection == parts[0])
        else {
            return fault(404, "no such resource");
        };
        match (ask.method, parts.as_slice()) {
            ("GET", [_]) => self.list(ask, Service::Identity, collection, |_| true),
            ("POST", [_]) => match unwrap(ask, singular, known) {
                Err(message) => fault(400, &message),
                Ok(fields) => self.create_identity(collection, singular, fields.clone()),
            },
            ("DELETE", [_, id]) => {
                self.remove(collection, |object| object["id"] == *id);
                (204, Value::Null)
            }
            ("PATCH", [_, id]) => match unwrap(ask, singular, known) {
                Err(message) => fault(400, &message),
                Ok(fields) => {
                    let mut fields = fields.clone();
                    if let Some(password) = fields.remove("password") {
                        self.passwords.insert((*id).to_owned(), password.as_str().unwrap().to_owned());
                    }
                    self.with(collection, id, |object| merge(object, &fields));
                    (200, json!({}))
                }
            },
            _ => fault(405, "no such method"),
        }
    }

    fn assign(&mut self, role: &str, user: &str, scope: &Value) -> Answer {
        let known = |collection: &str, id: &str| self.all(collection).iter().any(|object| object["id"] == id);
        if !known("roles", role) || !known("users", user) {
            return fault(404, "Could not find role or user");
        }
        self.put("role_assignments", json!({"role": {"id": role}, "user": {"id": user}, "scope": scope}));
        (204, Value::Null)
    }

    fn create_identity(
        &mut self,
        collection: &str,
        singular: &str,
        mut fields: serde_json::Map<String, Value>,
    ) -> Answer {
        let same = |name: &str, object: &Value| {
            object.get(name).unwrap_or(&Value::Null) == fields.get(name).unwrap_or(&Value::Null)
        };
        let unique: &[&str] = match collection {
            "regions" => &["id"],
            "services" | "endpoints" => &[],
            "domains" => &["name"],
            _ => &["name", "domain_id"],
        };
        if !unique.is_empty()
            && self.all(collection).iter().any(|object| unique.iter().all(|name| same(name, object)))
        {
            return fault(409, "Conflict occurred attempting to store it - Duplicate entry.");
        }
        let password = fields.remove("password");
        let mut object = json!({ "id": self.fresh(singular) });
        if collection == "roles" {
            object["domain_id"] = Value::Null;
        }
        merge(&mut object, &fields);
        if let Some(password) = password {
            self.passwords
                .insert(object["id"].as_str().unwrap().to_owned(), password.as_str().unwrap().to_owned());
        }
        self.put(collection, object.clone());
        (201, json!({ singular: object }))
    }
}
