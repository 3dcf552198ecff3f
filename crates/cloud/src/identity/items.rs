//! Keystone's things as items.
//!
//! Source: Identity API v3 (api-ref of keystone): "Domains", "Projects", "Roles", "Users", "Service catalog and
//! endpoints", "Regions". Services and endpoints have no unique key there, so two operators at once may register one
//! twice: of services the later copy is taken back, of endpoints every copy is kept at the declared address, which
//! makes copies harmless.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::spec::Catalog;
use crate::content::spec::Qualified;
use crate::engine::{
    Absent, Actor, CallTemplate, Correction, Fields, Fixed, Item, Judge, Key, Kind, Look, Method, Piece,
    Shape, Step, Template, fields, id_of,
};
use crate::service::Service::Identity;
use crate::{MARKER, Secret};

/// What is to be kept for a catalog.
pub fn items(catalog: &Catalog) -> Vec<Item> {
    let mut builder = Builder::default();
    for region in &catalog.regions {
        builder.region(region);
    }
    for domain in &catalog.domains {
        builder.domain(domain, None);
    }
    for role in &catalog.roles {
        builder.role(role);
    }
    for project in &catalog.projects {
        builder.project(project, None);
    }
    for service in &catalog.services {
        builder.service(&service.name, &service.kind, service.description.as_deref());
        for (interface, url) in &service.endpoints {
            builder.endpoint(&service.name, &service.kind, interface, &service.region, url);
        }
    }
    for user in &catalog.users {
        builder.user(&User {
            name: &user.name,
            password: Some(&user.password),
            project: None,
            email: None,
            service: true,
        });
        builder.password(&user.name, &user.password);
        for role in &user.roles {
            builder.assignment(&user.name, role, &Target::Project(user.project.clone()));
        }
        for (domain, roles) in &user.domain_roles {
            for role in roles {
                builder.assignment(&user.name, role, &Target::Domain(domain.clone()));
            }
        }
        for role in &user.system_roles {
            builder.assignment(&user.name, role, &Target::System);
        }
    }
    builder.finish()
}

/// Where a role is held.
pub(crate) enum Target {
    Project(Qualified),
    Domain(String),
    System,
}

/// What is declared of a user.
pub(crate) struct User<'a> {
    pub name: &'a Qualified,
    pub password: Option<&'a Secret>,
    pub project: Option<&'a Qualified>,
    pub email: Option<&'a str>,
    /// Whether a service acts as it: then password rules for people do not apply.
    pub service: bool,
}

/// Collects items; what is mentioned and not declared becomes an item that is only looked up.
#[derive(Default)]
pub(crate) struct Builder {
    declared: Vec<Item>,
    mentioned: BTreeMap<Key, Item>,
}

/// A description with our mark.
fn marked(description: Option<&str>) -> String {
    match description {
        None => MARKER.to_owned(),
        Some(text) if text.contains(MARKER) => text.to_owned(),
        Some(text) => format!("{text} ({MARKER})"),
    }
}

/// Where things of one kind are in the API.
struct Rest {
    path: &'static str,
    plural: &'static str,
    singular: &'static str,
}

impl Builder {
    /// The items: declared ones in their order, then those that are only looked up.
    pub fn finish(self) -> Vec<Item> {
        let declared: BTreeSet<Key> = self.declared.iter().map(|item| item.key.clone()).collect();
        let mentioned = self.mentioned.into_values().filter(|item| !declared.contains(&item.key));
        let mut items = self.declared;
        items.extend(mentioned);
        items
    }

    /// Add an item.
    pub fn push(&mut self, item: Item) {
        self.declared.push(item);
    }

    fn mention(&mut self, key: &Key, look: CallTemplate, field: &'static str, identify: Fields) {
        if !self.mentioned.contains_key(key) {
            let missing = format!("there is no {key}");
            self.mentioned.insert(key.clone(), Item::lookup(key.clone(), look, field, identify, missing));
        }
    }

    fn region(&mut self, id: &str) {
        let rest = Rest { path: "/v3/regions", plural: "regions", singular: "region" };
        let initial = fields([("id", id.into()), ("description", MARKER.into())]);
        self.push(simple(
            Key::new(Kind::Region, [id]),
            &rest,
            get(&rest),
            fields([("id", id.into())]),
            initial,
            Fields::new(),
        ));
    }

    pub fn domain(&mut self, name: &str, description: Option<&str>) {
        let rest = Rest { path: "/v3/domains", plural: "domains", singular: "domain" };
        let initial = fields([
            ("name", name.into()),
            ("description", marked(description).into()),
            ("enabled", true.into()),
        ]);
        let declared = kept_description(description);
        let look = get(&rest).query("name", name);
        self.push(simple(domain_key(name), &rest, look, fields([("name", name.into())]), initial, declared));
    }

    /// A domain that is mentioned.
    pub fn domain_ref(&mut self, name: &str) -> Key {
        let key = domain_key(name);
        let look = CallTemplate::new(Identity, Method::Get, ["/v3/domains".into()]).query("name", name);
        self.mention(&key, look, "domains", fields([("name", name.into())]));
        key
    }

    pub fn role(&mut self, name: &str) {
        let rest = Rest { path: "/v3/roles", plural: "roles", singular: "role" };
        let initial = fields([("name", name.into())]);
        // Roles of a domain have names of their own.
        let identify = fields([("name", name.into()), ("domain_id", Value::Null.into())]);
        self.push(simple(role_key(name), &rest, get(&rest), identify, initial, Fields::new()));
    }

    fn role_ref(&mut self, name: &str) -> Key {
        let key = role_key(name);
        let look = CallTemplate::new(Identity, Method::Get, ["/v3/roles".into()]);
        self.mention(&key, look, "roles", fields([("name", name.into()), ("domain_id", Value::Null.into())]));
        key
    }

    pub fn project(&mut self, name: &Qualified, description: Option<&str>) {
        let domain = self.domain_ref(&name.domain);
        let rest = Rest { path: "/v3/projects", plural: "projects", singular: "project" };
        let identify = fields([("name", name.name.as_str().into()), ("domain_id", id_of(&domain))]);
        let mut initial = identify.clone();
        initial.insert("description".to_owned(), marked(description).into());
        initial.insert("enabled".to_owned(), true.into());
        initial.insert("tags".to_owned(), json!([MARKER]).into());
        let look = in_domain(get(&rest), &domain, &name.name);
        self.push(simple(project_key(name), &rest, look, identify, initial, kept_description(description)));
    }

    /// A project that is mentioned.
    pub fn project_ref(&mut self, name: &Qualified) -> Key {
        let key = project_key(name);
        let domain = self.domain_ref(&name.domain);
        let look = CallTemplate::new(Identity, Method::Get, ["/v3/projects".into()]);
        let identify = fields([("name", name.name.as_str().into()), ("domain_id", id_of(&domain))]);
        self.mention(&key, in_domain(look, &domain, &name.name), "projects", identify);
        key
    }

    pub fn user(&mut self, user: &User<'_>) {
        let name = user.name;
        let domain = self.domain_ref(&name.domain);
        let rest = Rest { path: "/v3/users", plural: "users", singular: "user" };
        let identify = fields([("name", name.name.as_str().into()), ("domain_id", id_of(&domain))]);
        let mut declared = fields([("enabled", true.into())]);
        if let Some(project) = user.project {
            declared.insert("default_project_id".to_owned(), id_of(&self.project_ref(project)));
        }
        if let Some(email) = user.email {
            declared.insert("email".to_owned(), email.into());
        }
        let mut initial = identify.clone();
        initial.extend(declared.clone());
        initial.insert("description".to_owned(), MARKER.into());
        if user.service {
            // Identity API v3, "User options": a service must not be locked out by rules that are for people.
            let options = json!({
                "ignore_password_expiry": true,
                "ignore_change_password_upon_first_use": true,
                "ignore_lockout_failure_attempts": true,
            });
            initial.insert("options".to_owned(), options.into());
        }
        let look = in_domain(get(&rest), &domain, &name.name);
        let mut item = simple(user_key(name), &rest, look, identify, initial.clone(), declared);
        item.absent = match user.password {
            Some(password) => {
                initial.insert("password".to_owned(), Template::Secret(password.clone()));
                Absent::Create(vec![create(&rest, initial)])
            }
            None => Absent::Wait("its password was not given".to_owned()),
        };
        self.push(item);
    }

    /// A user that is mentioned.
    pub fn user_ref(&mut self, name: &Qualified) -> Key {
        let key = user_key(name);
        let domain = self.domain_ref(&name.domain);
        let look = CallTemplate::new(Identity, Method::Get, ["/v3/users".into()]);
        let identify = fields([("name", name.name.as_str().into()), ("domain_id", id_of(&domain))]);
        self.mention(&key, in_domain(look, &domain, &name.name), "users", identify);
        key
    }

    /// That a user's password is this one.
    pub fn password(&mut self, name: &Qualified, password: &Secret) {
        let user = user_key(name);
        let look = Look::Password { user: name.clone(), password: password.clone(), of: user.clone() };
        let call = CallTemplate::new(Identity, Method::Patch, ["/v3/users/".into(), Piece::from(&user)])
            .body(Shape::Wrapped("user"), fields([("password", Template::Secret(password.clone()))]));
        self.push(Item {
            key: password_key(name),
            look,
            absent: Absent::Correct(vec![Step::Call { call, id: None }]),
            ..bare(password_key(name))
        });
    }

    pub fn assignment(&mut self, user: &Qualified, role: &str, target: &Target) {
        let user_key = self.user_ref(user);
        let role_key = self.role_ref(role);
        let (scope, base, name): (Template, Vec<Piece>, String) = match target {
            Target::Project(project) => {
                let key = self.project_ref(project);
                let scope = json_scope("project", fields([("id", id_of(&key))]));
                (scope, vec!["/v3/projects/".into(), Piece::from(&key)], project.to_string())
            }
            Target::Domain(domain) => {
                let key = self.domain_ref(domain);
                let scope = json_scope("domain", fields([("id", id_of(&key))]));
                (scope, vec!["/v3/domains/".into(), Piece::from(&key)], format!("domain {domain}"))
            }
            Target::System => {
                let scope = json_scope("system", fields([("all", true.into())]));
                (scope, vec!["/v3/system".into()], "system".to_owned())
            }
        };
        let mut path = base;
        path.extend(["/users/".into(), Piece::from(&user_key), "/roles/".into(), Piece::from(&role_key)]);
        let look = CallTemplate::new(Identity, Method::Get, ["/v3/role_assignments".into()])
            .query("user.id", &user_key);
        let look = if matches!(target, Target::System) { look.query("scope.system", "all") } else { look };
        let put = CallTemplate { path, ..CallTemplate::new(Identity, Method::Put, []) };
        let own = |key: &Key| Template::Map(fields([("id", id_of(key))]));
        let key = Key::new(Kind::RoleAssignment, [role.to_owned(), user.to_string(), name]);
        self.push(Item {
            look: Look::List { call: look, field: "role_assignments", inner: None },
            identify: vec![fields([("role", own(&role_key)), ("user", own(&user_key)), ("scope", scope)])],
            absent: Absent::Create(vec![Step::Call { call: put, id: None }]),
            ..bare(key)
        });
    }

    fn service(&mut self, name: &str, kind: &str, description: Option<&str>) {
        let rest = Rest { path: "/v3/services", plural: "services", singular: "service" };
        let identify = fields([("type", kind.into()), ("name", name.into())]);
        let mut declared = fields([("enabled", true.into())]);
        declared.extend(kept_description(description));
        let mut initial = identify.clone();
        initial.extend(declared.clone());
        initial.insert("description".to_owned(), marked(description).into());
        let key = service_key(name, kind);
        let delete = CallTemplate::new(Identity, Method::Delete, ["/v3/services/".into(), Piece::from(&key)]);
        let item = simple(key, &rest, get(&rest), identify, initial, declared);
        self.push(Item { sole: Some(delete), ..item });
    }

    fn endpoint(&mut self, service: &str, kind: &str, interface: &str, region: &str, url: &str) {
        let rest = Rest { path: "/v3/endpoints", plural: "endpoints", singular: "endpoint" };
        let service_key = service_key(service, kind);
        let region_key = Key::new(Kind::Region, [region]);
        let look = CallTemplate::new(Identity, Method::Get, ["/v3/regions".into()]);
        self.mention(&region_key, look, "regions", fields([("id", region.into())]));
        let identify = fields([
            ("service_id", id_of(&service_key)),
            ("interface", interface.into()),
            ("region_id", id_of(&region_key)),
        ]);
        let declared = fields([("url", url.into()), ("enabled", true.into())]);
        let mut initial = identify.clone();
        initial.extend(declared.clone());
        let key = Key::new(Kind::Endpoint, [service, interface, region]);
        let item = simple(key, &rest, get(&rest), identify, initial, declared);
        self.push(Item { every: true, ..item });
    }
}

/// An item without anything in it.
pub(crate) fn bare(key: Key) -> Item {
    Item {
        key,
        actor: Actor::Admin,
        needs: BTreeSet::new(),
        gates: Vec::new(),
        look: Look::List { call: CallTemplate::new(Identity, Method::Get, []), field: "", inner: None },
        identify: vec![Fields::new()],
        every: false,
        id: "/id",
        fixed: Fixed::default(),
        declared: Vec::new(),
        absent: Absent::Wait(String::new()),
        conflict_is_presence: false,
        sole: None,
        judge: Judge::Fields,
        facts: Vec::new(),
    }
}

/// A thing with the usual collection: POST to create, PATCH to change.
fn simple(
    key: Key,
    rest: &Rest,
    look: CallTemplate,
    identify: Fields,
    initial: Fields,
    declared: Fields,
) -> Item {
    let own =
        CallTemplate::new(Identity, Method::Patch, [format!("{}/", rest.path).into(), Piece::from(&key)]);
    let corrections = if declared.is_empty() {
        Vec::new()
    } else {
        vec![Correction { fields: declared, call: own, shape: Shape::Wrapped(rest.singular) }]
    };
    Item {
        look: Look::List { call: look, field: rest.plural, inner: None },
        identify: vec![identify],
        declared: corrections,
        absent: Absent::Create(vec![create(rest, initial)]),
        facts: vec![("id", "/id".into())],
        ..bare(key)
    }
}

fn get(rest: &Rest) -> CallTemplate {
    CallTemplate::new(Identity, Method::Get, [rest.path.into()])
}

fn create(rest: &Rest, initial: Fields) -> Step {
    let call = CallTemplate::new(Identity, Method::Post, [rest.path.into()])
        .body(Shape::Wrapped(rest.singular), initial);
    Step::Call { call, id: Some(format!("/{}/id", rest.singular)) }
}

fn in_domain(look: CallTemplate, domain: &Key, name: &str) -> CallTemplate {
    look.query("domain_id", domain).query("name", name)
}

fn json_scope(name: &str, scope: Fields) -> Template {
    Template::Map(fields([(name, Template::Map(scope))]))
}

fn kept_description(description: Option<&str>) -> Fields {
    description.map(|text| fields([("description", marked(Some(text)).into())])).unwrap_or_default()
}

fn domain_key(name: &str) -> Key {
    Key::new(Kind::Domain, [name])
}

fn role_key(name: &str) -> Key {
    Key::new(Kind::Role, [name])
}

pub(crate) fn project_key(name: &Qualified) -> Key {
    Key::new(Kind::Project, [name.to_string()])
}

pub(crate) fn user_key(name: &Qualified) -> Key {
    Key::new(Kind::User, [name.to_string()])
}

pub(crate) fn password_key(name: &Qualified) -> Key {
    Key::new(Kind::Password, [name.to_string()])
}

fn service_key(name: &str, kind: &str) -> Key {
    Key::new(Kind::Service, [name, kind])
}
