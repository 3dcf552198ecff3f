//! Everybody who acts in a cloud.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use oaas_feedback::Task;
use serde_json::Value;

use super::auth::{Identity, Scope};
use super::client::Session;
use super::error::Error;
use super::upload::{digest_of_file, place};
use crate::Secret;
use crate::content::spec::Qualified;
use crate::engine::{Actor, Api, Call, Checksum, ImageSource, Place};
use crate::service::Service;

/// The administrator's session and those of users whose passwords are known: what [`apply`](crate::engine::apply)
/// acts through. Keep one per cloud over many passes: it holds tokens, and remembers which passwords worked (for ten
/// minutes, because a login costs Keystone a bcrypt) and the hashes of files (while size and time stay).
#[derive(Debug)]
pub struct Sessions {
    admin: Session,
    passwords: Mutex<BTreeMap<Qualified, Secret>>,
    users: Mutex<BTreeMap<(Qualified, Qualified), (Secret, Session)>>,
    worked: Mutex<BTreeMap<(Qualified, Secret), Instant>>,
    hashes: Mutex<BTreeMap<PathBuf, (u64, SystemTime, String)>>,
}

/// How long a password that worked is taken to work.
const TRUST: Duration = Duration::from_mins(10);

impl Sessions {
    /// With an administrator's session, and the passwords of users who act themselves.
    pub fn new(admin: Session, passwords: BTreeMap<Qualified, Secret>) -> Self {
        Self {
            admin,
            passwords: Mutex::new(passwords),
            users: Mutex::default(),
            worked: Mutex::default(),
            hashes: Mutex::default(),
        }
    }

    /// The administrator's session.
    pub fn admin(&self) -> &Session {
        &self.admin
    }

    /// Replace the passwords of users, as a Secret changed.
    pub fn set_passwords(&self, passwords: BTreeMap<Qualified, Secret>) {
        *lock(&self.passwords) = passwords;
    }

    /// The session of whoever acts.
    pub fn of(&self, actor: &Actor) -> Result<Session, Error> {
        let Actor::User { user, project } = actor else { return Ok(self.admin.clone()) };
        let password = lock(&self.passwords).get(user).cloned();
        let password = password.ok_or_else(|| Error::NoPassword { user: user.clone() })?;
        let mut users = lock(&self.users);
        let key = (user.clone(), project.clone());
        if let Some((used, session)) = users.get(&key)
            && *used == password
        {
            return Ok(session.clone());
        }
        let session = self.admin.with_identity(Identity {
            user: user.clone(),
            password: password.clone(),
            scope: Scope::Project(project.clone()),
        });
        users.insert(key, (password, session.clone()));
        Ok(session)
    }
}

impl Api for Sessions {
    async fn begin(&self) -> Result<(), Error> {
        self.admin.token().await.map(drop)
    }

    async fn send(&self, actor: &Actor, call: &Call) -> Result<Value, Error> {
        Ok(self.of(actor)?.send(call).await?.body)
    }

    async fn password_works(&self, user: &Qualified, password: &Secret) -> Result<bool, Error> {
        let key = (user.clone(), password.clone());
        if lock(&self.worked).get(&key).is_some_and(|at| at.elapsed() < TRUST) {
            return Ok(true);
        }
        let works = self.admin.password_works(user, password).await?;
        if works {
            lock(&self.worked).insert(key, Instant::now());
        }
        Ok(works)
    }

    async fn upload(
        &self,
        actor: &Actor,
        call: &Call,
        source: &ImageSource,
        task: &Task,
    ) -> Result<(), Error> {
        let session = self.of(actor)?;
        let sent = session.upload(call, source, task).await?;
        let path = call.path.trim_end_matches("/file");
        let image = session.send(&Call::get(Service::Image, path)).await?.body;
        let stored = image.get("os_hash_value").and_then(Value::as_str);
        match stored {
            Some(stored)
                if image.get("os_hash_algo").is_some_and(|algo| algo == "sha512")
                    && stored != sent.sha512 =>
            {
                Err(Error::Stored {
                    place: place(&source.place),
                    sent: sent.sha512,
                    stored: stored.to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    async fn checksum(&self, source: &ImageSource) -> Option<Checksum> {
        if let Some(declared) = &source.checksum {
            return Some(declared.clone());
        }
        let Place::File(path) = &source.place else { return None };
        // A file that cannot be read is no reason to do anything about an image that is there; when it is needed, the
        // upload says so.
        let about = tokio::fs::metadata(path).await.ok()?;
        let changed = about.modified().ok()?;
        let known = lock(&self.hashes).get(path).cloned();
        if let Some((length, time, hex)) = known
            && length == about.len()
            && time == changed
        {
            return Some(Checksum::Sha512(hex));
        }
        let hex = digest_of_file(path).await.ok()?.sha512;
        lock(&self.hashes).insert(path.clone(), (about.len(), changed, hex.clone()));
        Some(Checksum::Sha512(hex))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
