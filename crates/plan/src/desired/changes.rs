//! What lies between two states of a cloud, and what each change does to what runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::conceal::without_digests;
use super::state::{DesiredComponent, DesiredState};
use crate::document::LIVE;
use crate::overrides::amount;

/// What something is that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// The release of the cloud.
    Release,
    /// A workload.
    Component,
    /// One-off work.
    Job,
    /// What a service has in the identity service.
    Registration,
    /// Something that the cloud contains.
    Content,
    /// Where the cloud is reached.
    Publishing,
    /// A certificate.
    Certificate,
}

/// How something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// It becomes another.
    Changed,
}

/// What a change does to what runs, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Nothing that runs is touched.
    None,
    /// Its pods take it while they run.
    Reload,
    /// Something new is started.
    Starts,
    /// One-off work is done.
    Job,
    /// The component's pods are replaced, one after the other.
    Roll,
    /// The workload is made anew.
    Recreate,
    /// The component's pods go.
    Stops,
    /// It cannot be undone.
    Irreversible,
}

impl Effect {
    /// Does it interrupt something, or cannot it be taken back?
    pub fn is_disruptive(self) -> bool {
        self >= Self::Roll
    }

    /// In a few words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::None => "nothing restarts",
            Self::Reload => "taken without a restart",
            Self::Starts => "is started",
            Self::Job => "a job runs",
            Self::Roll => "its pods roll",
            Self::Recreate => "it is made anew",
            Self::Stops => "its pods go",
            Self::Irreversible => "cannot be undone",
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What it is a change of.
    pub part: Part,
    /// Its name: of the component, the job, the service, the thing.
    pub subject: String,
    /// What of it: `keystone.conf [token] expiration`. None where it comes or goes as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// How.
    pub kind: ChangeKind,
    /// What was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// What it does.
    pub effect: Effect,
}

impl Change {
    /// From what to what, for people.
    pub fn values(&self) -> String {
        const WIDTH: usize = 120;
        let cut = |text: &str| -> String {
            let line = text.replace('\n', " ");
            if line.chars().count() <= WIDTH {
                line
            } else {
                line.chars().take(WIDTH - 1).chain(['…']).collect()
            }
        };
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => format!("{} -> {}", cut(before), cut(after)),
            (None, Some(after)) => format!("{} (new)", cut(after)),
            (Some(before), None) => format!("{} (removed)", cut(before)),
            (None, None) => "changes".to_owned(),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = match self.part {
            Part::Component | Part::Release | Part::Publishing | Part::Content => self.subject.clone(),
            Part::Job => format!("job {}", self.subject),
            Part::Registration => format!("registration of {}", self.subject),
            Part::Certificate => format!("certificate {}", self.subject),
        };
        write!(out, "{subject}: ")?;
        match (&self.what, self.kind) {
            (Some(what), _) => write!(out, "{what}: {}", self.values())?,
            (None, ChangeKind::Added) => write!(out, "new")?,
            (None, ChangeKind::Removed) => write!(out, "removed")?,
            (None, ChangeKind::Changed) => write!(out, "{}", self.values())?,
        }
        write!(out, " ({})", self.effect.words())
    }
}

/// What lies between two states of one cloud.
pub fn changes(before: &DesiredState, after: &DesiredState) -> Vec<Change> {
    let mut found = Found { changes: Vec::new(), same_key: before.digests == after.digests };
    if before.release != after.release {
        let (old, new) = (Some(&before.release), Some(&after.release));
        // Databases go to the newer schema, and there is no way back.
        found.note(Part::Release, "release", None, old, new, Effect::Irreversible);
    }
    each(&before.components, &after.components, |name, old, new| match (old, new) {
        (Some(old), Some(new)) => component(name, old, new, &mut found),
        (old, new) => {
            let effect = if new.is_some() { Effect::Starts } else { Effect::Stops };
            let image = |one: &DesiredComponent| one.image.reference.clone();
            let (old, new) = (old.map(image), new.map(image));
            found.note(Part::Component, name, None, old.as_ref(), new.as_ref(), effect);
        }
    });
    each(&before.jobs, &after.jobs, |name, old, new| {
        if old.map(|job| &job.hash) == new.map(|job| &job.hash) {
            return;
        }
        let title = |job: &super::DesiredJob| job.title.clone();
        // What is done again and again is done at its time.
        let runs = new.is_some_and(|job| job.schedule.is_none());
        let effect = if runs { Effect::Job } else { Effect::None };
        match (old, new) {
            (Some(_), Some(new)) => found.changes.push(Change {
                part: Part::Job,
                subject: name.to_owned(),
                what: Some(title(new)),
                kind: ChangeKind::Changed,
                before: None,
                after: None,
                effect,
            }),
            (old, new) => found.whole(Part::Job, name, old.map(title), new.map(title), effect),
        }
    });
    let lines = [
        (Part::Registration, &before.registrations, &after.registrations),
        (Part::Content, &before.content, &after.content),
    ];
    for (part, before, after) in lines {
        each(before, after, |name, old, new| match (old, new) {
            (Some(old), Some(new)) => found.lines(part, name, "", old, new, |_, _| Effect::None),
            (old, new) => {
                found.whole(part, name, old.map(|_| String::new()), new.map(|_| String::new()), Effect::None);
            }
        });
    }
    found.lines(Part::Publishing, "publishing", "", &before.publishing, &after.publishing, |_, _| {
        Effect::None
    });
    each(&before.certificates, &after.certificates, |name, old, new| {
        if let (Some(old), Some(new)) = (old, new) {
            // Pods read their certificate when they start.
            found.lines(Part::Certificate, name, "", old, new, |_, _| Effect::Roll);
        }
    });
    found.changes
}

fn component(name: &str, old: &DesiredComponent, new: &DesiredComponent, found: &mut Found) {
    let first = found.changes.len();
    let part = Part::Component;
    let rolls = if old.kind != new.kind {
        Effect::Recreate
    } else if old.pods == new.pods {
        Effect::None
    } else {
        Effect::Roll
    };
    found.note(part, name, Some("workload"), Some(&old.kind), Some(&new.kind), Effect::Recreate);
    if old.image.closure != new.image.closure {
        found.note(part, name, Some("image"), Some(&old.image.reference), Some(&new.image.reference), rolls);
    }
    let count = |one: &DesiredComponent| one.replicas.map(|count| count.to_string());
    let (before, after) = (count(old), count(new));
    found.note(part, name, Some("replicas"), before.as_ref(), after.as_ref(), Effect::None);
    each(&lines_of_files(old), &lines_of_files(new), |(file, option), old, new| {
        // What comes out of a live file, or goes into one, does so as the pods roll.
        let live = [old, new].iter().flatten().all(|line| line.live);
        let (old, new) = (old.map(|line| line.value), new.map(|line| line.value));
        let what = format!("{file} {option}");
        found.note(part, name, Some(&what), old, new, if live { Effect::Reload } else { rolls });
    });
    found.lines(part, name, "port", &old.ports, &new.ports, |_, _| rolls);
    found.lines(part, name, "", &old.resources, &new.resources, |_, _| rolls);
    found.lines(part, name, "volume", &old.volumes, &new.volumes, |before, after| {
        let size =
            |text: Option<&String>| text.and_then(|text| amount(text.split(' ').next().unwrap_or_default()));
        if size(before) < size(after) { Effect::Irreversible } else { Effect::Recreate }
    });
    found.lines(part, name, "Secret", &old.secrets, &new.secrets, |_, _| rolls);
    if found.changes.len() == first && rolls != Effect::None {
        found.changes.push(Change {
            part,
            subject: name.to_owned(),
            what: Some("pod template".to_owned()),
            kind: ChangeKind::Changed,
            before: None,
            after: None,
            effect: rolls,
        });
    }
}

/// A line of a file.
struct Line<'a> {
    value: &'a String,
    /// Is it in a file that whoever reads it follows?
    live: bool,
}

/// The lines of a component's files by the file's name and the option. What is live stands under the name of the file that
/// it is a part of.
fn lines_of_files(component: &DesiredComponent) -> BTreeMap<(String, String), Line<'_>> {
    let files = component.options.iter().map(|(path, lines)| {
        let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
        lines.iter().map(move |(option, value)| {
            ((file.to_owned(), option.clone()), Line { value, live: directory == LIVE })
        })
    });
    files.flatten().collect()
}

/// Every name of either, with what each has.
fn each<K: Ord, V>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    mut see: impl FnMut(&K, Option<&V>, Option<&V>),
) {
    for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        see(name, before.get(name), after.get(name));
    }
}

struct Found {
    changes: Vec<Change>,
    /// Are the digests of both made with one key?
    same_key: bool,
}

impl Found {
    fn note(
        &mut self,
        part: Part,
        subject: &str,
        what: Option<&str>,
        before: Option<&String>,
        after: Option<&String>,
        effect: Effect,
    ) {
        let same = || before.map(|text| without_digests(text)) == after.map(|text| without_digests(text));
        if before == after || !self.same_key && same() {
            return;
        }
        let kind = match (before, after) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            _ => ChangeKind::Changed,
        };
        // Two digests tell people no more than that there are two.
        let hidden = before.map(|text| without_digests(text)) == after.map(|text| without_digests(text));
        let shown = |text: Option<&String>| text.filter(|_| !hidden).map(|text| without_digests(text));
        let (before, after) = (shown(before), shown(after));
        self.changes.push(Change {
            part,
            subject: subject.to_owned(),
            what: what.map(str::to_owned),
            kind,
            before,
            after,
            effect,
        });
    }

    fn whole(
        &mut self,
        part: Part,
        subject: &str,
        before: Option<String>,
        after: Option<String>,
        effect: Effect,
    ) {
        let kind = match (&before, &after) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            _ => ChangeKind::Changed,
        };
        let told = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (before, after) = (told(before), told(after));
        let subject = subject.to_owned();
        self.changes.push(Change { part, subject, what: None, kind, before, after, effect });
    }

    fn lines(
        &mut self,
        part: Part,
        subject: &str,
        of: &str,
        before: &BTreeMap<String, String>,
        after: &BTreeMap<String, String>,
        effect: impl Fn(Option<&String>, Option<&String>) -> Effect,
    ) {
        each(before, after, |name, old, new| {
            let what = if of.is_empty() { name.to_owned() } else { format!("{of} {name}") };
            self.note(part, subject, Some(&what), old, new, effect(old, new));
        });
    }
}
