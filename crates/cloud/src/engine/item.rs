//! One thing to keep, as data: how to look for it, what must be true of it, which calls make it so.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use super::key::{Ids, Key};
use super::template::{Fields, Piece, Template, Unknown, resolve_fields, resolve_pieces};
use crate::Secret;
use crate::content::spec::Qualified;
use crate::service::Service;

/// HTTP methods that the APIs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Read.
    Get,
    /// Create.
    Post,
    /// Put in place.
    Put,
    /// Change parts.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// Its name in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether sending it twice is the same as once. PATCH is so in these APIs: it sets absolute values.
    pub const fn idempotent(self) -> bool {
        !matches!(self, Self::Post)
    }
}

/// How changed fields are written into a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{"network": {...}}`.
    Wrapped(&'static str),
    /// `{...}`.
    Bare,
    /// A list of JSON-patch operations `add`, which replaces what is there, as Glance takes it (Image API v2,
    /// "Update image").
    JsonPatch,
}

/// A call with ids left open.
#[derive(Debug, Clone, PartialEq)]
pub struct CallTemplate {
    /// Which service.
    pub service: Service,
    /// How.
    pub method: Method,
    /// The path, version included, such as `/v2.0/networks`.
    pub path: Vec<Piece>,
    /// The query.
    pub query: Vec<(String, Vec<Piece>)>,
    /// The body's fields, if it has a body.
    pub body: Option<(Shape, Fields)>,
}

impl CallTemplate {
    /// A call without query and body.
    pub fn new<const N: usize>(service: Service, method: Method, path: [Piece; N]) -> Self {
        Self { service, method, path: path.into(), query: Vec::new(), body: None }
    }

    /// With one more query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl Into<Piece>) -> Self {
        self.query.push((name.to_owned(), vec![value.into()]));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, shape: Shape, fields: Fields) -> Self {
        self.body = Some((shape, fields));
        self
    }

    /// With ids put in.
    ///
    /// # Errors
    /// The first object whose id is not in `ids`.
    pub fn resolve(&self, ids: &Ids) -> Result<Call, Unknown> {
        let mut hidden = Vec::new();
        let body = match &self.body {
            None => None,
            Some((shape, fields)) => {
                for field in fields.values() {
                    field.secrets(&mut hidden);
                }
                let value = resolve_fields(fields, ids)?;
                Some(match shape {
                    Shape::Wrapped(name) => json!({ *name: value }),
                    Shape::Bare => value,
                    Shape::JsonPatch => patch(&value),
                })
            }
        };
        let mut query = Vec::new();
        for (name, value) in &self.query {
            query.push((name.clone(), resolve_pieces(value, ids)?));
        }
        Ok(Call {
            service: self.service,
            method: self.method,
            path: resolve_pieces(&self.path, ids)?,
            query,
            body,
            json_patch: matches!(self.body, Some((Shape::JsonPatch, _))),
            hidden,
        })
    }

    fn keys(&self, into: &mut BTreeSet<Key>) {
        for piece in self.path.iter().chain(self.query.iter().flat_map(|(_, value)| value)) {
            if let Piece::Id(key) = piece {
                into.insert(key.clone());
            }
        }
        if let Some((_, fields)) = &self.body {
            for field in fields.values() {
                field.keys(into);
            }
        }
    }
}

fn patch(fields: &Value) -> Value {
    let operation = |(name, value): (&String, &Value)| {
        let path = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        json!({"op": "add", "path": path, "value": value})
    };
    Value::Array(fields.as_object().into_iter().flatten().map(operation).collect())
}

/// A call that can be sent. Its `Debug` leaves the body out, which may hold a password.
#[derive(Clone, PartialEq)]
pub struct Call {
    /// Which service.
    pub service: Service,
    /// How.
    pub method: Method,
    /// The path, version included.
    pub path: String,
    /// The query, not yet encoded.
    pub query: Vec<(String, String)>,
    /// The body.
    pub body: Option<Value>,
    /// Whether the body is a JSON patch, which has a content type of its own.
    pub json_patch: bool,
    /// Secrets in the body, blacked out of whatever the service answers.
    pub hidden: Vec<Secret>,
}

impl Call {
    /// A call without a body.
    pub fn new(service: Service, method: Method, path: impl Into<String>) -> Self {
        Self {
            service,
            method,
            path: path.into(),
            query: Vec::new(),
            body: None,
            json_patch: false,
            hidden: Vec::new(),
        }
    }

    /// A GET.
    pub fn get(service: Service, path: impl Into<String>) -> Self {
        Self::new(service, Method::Get, path)
    }

    /// With one more query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {} {:?}", self.service, self.method.as_str(), self.path, self.query)
    }
}

/// Who makes the calls of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// The cloud's administrator.
    Admin,
    /// A user of the cloud in a project: servers belong to who boots them, and keypairs are found by that.
    User {
        /// Who.
        user: Qualified,
        /// Where.
        project: Qualified,
    },
}

/// How an item is looked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// A GET that lists candidates.
    List {
        /// The call.
        call: CallTemplate,
        /// The field of the answer that has them: a list, or one object.
        field: &'static str,
        /// A field that each is wrapped in once more (Nova's keypairs).
        inner: Option<&'static str>,
    },
    /// A login with this password: one candidate if it works, none if not.
    Password {
        /// Whose.
        user: Qualified,
        /// The declared password.
        password: Secret,
        /// The user's item: when this pass created the user, the password is right.
        of: Key,
    },
}

impl Look {
    /// The service that answers.
    pub fn service(&self) -> Service {
        match self {
            Self::List { call, .. } => call.service,
            Self::Password { .. } => Service::Identity,
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A call; `id` is where the answer has the id of the item's object (a JSON pointer).
    Call {
        /// The call.
        call: CallTemplate,
        /// Where the answer has the id.
        id: Option<String>,
    },
    /// Bytes of an image to Glance.
    Upload {
        /// The PUT.
        call: CallTemplate,
        /// Where the bytes come from.
        source: ImageSource,
        /// Removes the object again when the bytes did not arrive whole.
        undo: CallTemplate,
    },
}

/// Where an image's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageSource {
    /// A file here or an address elsewhere.
    pub place: Place,
    /// What their hash must be.
    pub checksum: Option<Checksum>,
}

/// Where bytes are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A file on the machine that runs this.
    File(std::path::PathBuf),
    /// An http or https address.
    Url(String),
}

/// A pinned hash, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checksum {
    /// SHA-256.
    Sha256(String),
    /// SHA-512: what Glance computes itself (`os_hash_value`).
    Sha512(String),
}

impl fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hex) => write!(formatter, "sha256:{hex}"),
            Self::Sha512(hex) => write!(formatter, "sha512:{hex}"),
        }
    }
}

/// What to do when the thing is not there.
#[derive(Debug, Clone, PartialEq)]
pub enum Absent {
    /// Make it.
    Create(Vec<Step>),
    /// Make it so; people read that as a correction (a password).
    Correct(Vec<Step>),
    /// Somebody else makes it: wait, and say for what.
    Wait(String),
    /// Nobody makes it: fail, and say what is missing.
    Missing(String),
}

/// Fields that are kept as declared, and the call that sets them.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// The declared fields.
    pub fields: Fields,
    /// The call; the differing fields become its body.
    pub call: CallTemplate,
    /// How the body is written.
    pub shape: Shape,
}

/// What sort of judgement an item needs beyond comparing fields.
#[derive(Debug, Clone, PartialEq)]
pub enum Judge {
    /// None.
    Fields,
    /// An image: its bytes count, and half-uploaded ones are replaced.
    Image(ImageSource),
    /// A server: its status counts.
    Server,
}

/// What must be true of the cloud before an item is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Some compute host takes a server of this size.
    Room {
        /// Virtual CPUs.
        vcpus: u32,
        /// Memory in MiB.
        ram_mib: u32,
        /// Disk in GiB, over all of the flavor's disks.
        disk_gib: u32,
    },
}

/// One thing to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its name.
    pub key: Key,
    /// Who makes its calls.
    pub actor: Actor,
    /// What must be there first, beyond what its templates mention.
    pub needs: BTreeSet<Key>,
    /// What must be true before it is created.
    pub gates: Vec<Gate>,
    /// How it is looked for.
    pub look: Look,
    /// What it is recognised by among the candidates: alternatives, best first.
    pub identify: Vec<Fields>,
    /// Whether every candidate that fits is kept as declared, not only the best (endpoints have no unique key).
    pub every: bool,
    /// Where the object has its id (a JSON pointer).
    pub id: &'static str,
    /// Fields that cannot be changed, and what to do when they differ.
    pub fixed: Fixed,
    /// Fields that are kept.
    pub declared: Vec<Correction>,
    /// What to do when it is absent.
    pub absent: Absent,
    /// An answer 409 to its creation means that it is there, though the list shows it in other words.
    pub conflict_is_presence: bool,
    /// For kinds whose names are not unique: removes the copy that this pass made when somebody else made one at the
    /// same moment and theirs is the one that everybody picks.
    pub sole: Option<CallTemplate>,
    /// Judgement beyond fields.
    pub judge: Judge,
    /// What to report of it: name and JSON pointer.
    pub facts: Vec<(&'static str, Cow<'static, str>)>,
}

/// Fields that cannot be changed in place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fixed {
    /// The fields.
    pub fields: Fields,
    /// How to delete the object so that it can be made anew, for kinds of which nothing hangs on the object; done
    /// only to objects that carry our mark.
    pub replace: Option<CallTemplate>,
}

impl Item {
    /// An item that is only looked up: somebody else makes it.
    pub fn lookup(
        key: Key,
        look: CallTemplate,
        field: &'static str,
        identify: Fields,
        missing: String,
    ) -> Self {
        Self {
            key,
            actor: Actor::Admin,
            needs: BTreeSet::new(),
            gates: Vec::new(),
            look: Look::List { call: look, field, inner: None },
            identify: vec![identify],
            every: false,
            id: "/id",
            fixed: Fixed::default(),
            declared: Vec::new(),
            absent: Absent::Missing(missing),
            conflict_is_presence: false,
            sole: None,
            judge: Judge::Fields,
            facts: Vec::new(),
        }
    }

    /// Everything that must be there before it.
    pub fn all_needs(&self) -> BTreeSet<Key> {
        let mut keys = self.needs.clone();
        match &self.look {
            Look::List { call, .. } => call.keys(&mut keys),
            Look::Password { of, .. } => {
                keys.insert(of.clone());
            }
        }
        let identified = self.identify.iter().flat_map(Fields::values);
        let declared = self.declared.iter().flat_map(|correction| correction.fields.values());
        for template in identified.chain(declared).chain(self.fixed.fields.values()) {
            template.keys(&mut keys);
        }
        for correction in &self.declared {
            correction.call.keys(&mut keys);
        }
        if let Absent::Create(steps) | Absent::Correct(steps) = &self.absent {
            for step in steps {
                let (Step::Call { call, .. } | Step::Upload { call, .. }) = step;
                call.keys(&mut keys);
            }
        }
        keys.remove(&self.key);
        keys
    }
}

/// A template of an object's id.
pub fn id_of(key: &Key) -> Template {
    Template::Id(key.clone())
}
