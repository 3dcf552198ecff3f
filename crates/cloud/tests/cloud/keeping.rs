//! What tests of passes share: a cloud in memory as an [`Api`], and content whose image is at hand.

use std::sync::Mutex;

use oaas_cloud::Secret;
use oaas_cloud::content::{Content, Given, Qualified, demo, items};
use oaas_cloud::engine::{Actor, Api, Call, Checksum, ImageSource, Item, Options, Report, apply};
use oaas_cloud::session::{Error, fault_message};
use oaas_feedback::Task;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::emulator::{Ask, Emulator, Who};

pub const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ demo";
pub const BYTES: &[u8] = b"the bytes of the image";

/// What the caller reads out of Secrets.
pub fn given() -> Given {
    let demo = Qualified::from("demo");
    Given {
        passwords: [(demo.clone(), Secret::new("demo's own"))].into(),
        public_keys: [((demo, "demo-key".to_owned()), PUBLIC_KEY.to_owned())].into(),
    }
}

pub fn demo_items() -> Vec<Item> {
    of(&demo())
}

pub fn of(content: &Content) -> Vec<Item> {
    items(content, &given()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A cloud in memory.
pub struct Local(pub Mutex<Emulator>);

impl Local {
    pub fn new() -> Self {
        Self(Mutex::new(Emulator::bootstrapped()))
    }

    pub fn cloud<T>(&self, use_it: impl FnOnce(&mut Emulator) -> T) -> T {
        use_it(&mut self.0.lock().unwrap())
    }

    pub async fn pass(&self, items: &[Item]) -> Report {
        self.cloud(|cloud| {
            cloud.writes.clear();
            cloud.reads.clear();
        });
        apply(items, self, &Options::default(), &Task::silent()).await.unwrap()
    }

    fn who(&self, actor: &Actor) -> Who {
        let Actor::User { user, project } = actor else { return Emulator::admin() };
        self.cloud(|cloud| {
            let id = |all: &[Value], name: &str| {
                all.iter()
                    .find(|object| object["name"] == name)
                    .and_then(|object| object["id"].as_str())
                    .map(str::to_owned)
            };
            Who {
                user: id(cloud.all("users"), &user.name).expect("the user is there before it acts"),
                project: id(cloud.all("projects"), &project.name),
                admin: false,
            }
        })
    }
}

impl Api for Local {
    async fn begin(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn send(&self, actor: &Actor, call: &Call) -> Result<Value, Error> {
        let who = self.who(actor);
        let body = call.body.clone().unwrap_or(Value::Null);
        let ask = Ask {
            who: &who,
            method: call.method.as_str(),
            path: &call.path,
            query: &call.query,
            body: &body,
        };
        let (status, body) = self.cloud(|cloud| cloud.handle(call.service, &ask));
        if status < 400 || (status == 404 && ask.method == "DELETE") {
            return Ok(body);
        }
        Err(Error::Status {
            service: call.service,
            method: call.method.as_str(),
            path: call.path.clone(),
            status,
            message: fault_message(&body.to_string()),
            request_id: None,
            retry_after: None,
        })
    }

    async fn password_works(&self, user: &Qualified, password: &Secret) -> Result<bool, Error> {
        let identity =
            json!({"name": user.name, "domain": {"name": user.domain}, "password": password.expose()});
        let body = json!({"auth": {"identity": {"password": {"user": identity}}, "scope": "unscoped"}});
        Ok(self.cloud(|cloud| cloud.login(&body)).is_ok())
    }

    async fn upload(&self, _: &Actor, call: &Call, _: &ImageSource, _: &Task) -> Result<(), Error> {
        let id = call.path.trim_start_matches("/v2/images/").trim_end_matches("/file").to_owned();
        self.cloud(|cloud| cloud.stored(&id, BYTES));
        Ok(())
    }

    async fn checksum(&self, _: &ImageSource) -> Option<Checksum> {
        Some(Checksum::Sha512(hex::encode(Sha512::digest(BYTES))))
    }
}

/// A report, a line per item.
pub fn lines(report: &Report) -> Vec<String> {
    report.items.iter().map(ToString::to_string).collect()
}

/// Passes until the server is up and nothing is open.
pub async fn settle(local: &Local, items: &[Item]) -> Report {
    for _ in 0..4 {
        let report = local.pass(items).await;
        local.cloud(Emulator::built);
        if report.settled() && report.untouched() {
            return report;
        }
    }
    let report = local.pass(items).await;
    panic!("no fixpoint: {:#?}\n{:?}", lines(&report), local.cloud(|cloud| cloud.writes.clone()));
}
