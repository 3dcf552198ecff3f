//! How a Galera member starts: a pure function of what its volume holds, what the other members report, and what the
//! operator says.
//!
//! # Guarantees
//! - Nothing is bootstrapped from an empty volume, or from one whose state transfer was aborted, once the database had
//!   members; `safe_to_bootstrap` is not believed.
//! - A bootstrap happens only when every member of the newest known primary view has reported, and from the most
//!   advanced of them. All members decide alike from the same reports, so one of them does it.
//! - Two histories never meet: a volume of another cluster UUID is neither joined with nor bootstrapped.
//!
//! # Assumptions
//! One member takes writes at a time, and `innodb_flush_log_at_trx_commit` is 1: what was acknowledged is on the
//! volume of the member that acknowledged it. A member whose volume is lost can only be left out by a person's
//! override, since it may have been the most advanced.
//!
//! Galera's own `pc.recovery` needs the reports of all members as well, and takes five times as long (FAULTS, table of
//! measured floors); so its memory (`gvwstate.dat`) is dropped before each start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A place in a cluster's history: `uuid:seqno`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Position {
    /// The history's name: the cluster's UUID.
    pub uuid: String,
    /// The last transaction.
    pub seqno: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.uuid, self.seqno)
    }
}

impl From<Position> for String {
    fn from(position: Position) -> Self {
        position.to_string()
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a position such as 6c5c...:1234");
        let (uuid, rest) = text.trim().rsplit_once(':').ok_or_else(wrong)?;
        // A server with GTIDs adds `,domain-server-sequence`.
        let seqno = rest.split(',').next().unwrap_or(rest);
        if uuid.len() != 36
            || !uuid.chars().all(|character| character.is_ascii_hexdigit() || character == '-')
        {
            return Err(wrong());
        }
        Ok(Self { uuid: uuid.to_owned(), seqno: seqno.parse().map_err(|_| wrong())? })
    }
}

impl TryFrom<String> for Position {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Position {
    /// Whether it names a place at all: Galera writes zeros and -1 where it knows none.
    pub fn is_defined(&self) -> bool {
        self.seqno >= 0 && self.uuid.chars().any(|character| character != '0' && character != '-')
    }
}

/// What a member's volume holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Volume {
    /// Nothing, and no memory of a database: a new volume.
    New,
    /// A database that was initialised and never took part in a cluster.
    Initialised,
    /// A database at a known position.
    Data(Position),
    /// A state transfer from another member was cut off: what is there is no database.
    AbortedTransfer,
    /// No usable database, though the volume remembers one.
    Emptied {
        /// What is wrong, in words.
        why: String,
    },
}

/// The last primary view a member took part in, kept on its volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastView {
    /// A position of that time: the cluster was at least there.
    pub position: Position,
    /// The members by name.
    pub members: BTreeSet<String>,
}

/// What a member says of itself while its server runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Whether it is connected to a cluster at all, primary or not: a server that gave up never connects again.
    #[serde(default)]
    pub connected: bool,
    /// Whether it is part of a primary component.
    pub primary: bool,
    /// Whether it takes queries.
    pub synced: bool,
    /// Where it is.
    pub position: Option<Position>,
    /// The names of the members in its view.
    pub members: BTreeSet<String>,
}

/// What one member reports to the others and to the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What its volume held when the agent started; not set before that is known.
    pub volume: Option<Volume>,
    /// The last primary view that its volume remembers.
    pub last_view: Option<LastView>,
    /// What its running server says; not set while none runs.
    pub serving: Option<Serving>,
    /// Whether its server was started to join and has not caught up yet.
    #[serde(default)]
    pub joining: bool,
    /// What it decided, for people and for the operator.
    pub decision: Option<Decision>,
    /// Whether it is the one that takes the writes.
    #[serde(default)]
    pub writer: bool,
    /// Whether its agent was asked to end; known of others alone.
    #[serde(skip)]
    pub leaving: bool,
}

/// What the operator and people say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// All members by name, in order.
    pub members: Vec<String>,
    /// Whether this cloud's database has had no earlier life.
    pub new_cloud: bool,
    /// A person's choice of the member to bootstrap from, and the position they saw there.
    pub chosen: Option<(String, Position)>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Make a new database, and begin a cluster with it.
    Initialise,
    /// Begin the cluster with the database that is here; without a position it never took part in one.
    Bootstrap {
        /// Where it is.
        position: Option<Position>,
    },
    /// Start and join the members that serve.
    Join,
    /// Do nothing yet.
    Wait(Wait),
    /// Do nothing until a person has decided.
    Refuse(Refusal),
}

/// What a member waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Reports of these members, without which nobody knows who is most advanced.
    Reports(BTreeSet<String>),
    /// This member to begin the cluster.
    Starter(String),
    /// This member to catch up first.
    Turn(String),
}

/// Why a member does not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Volumes hold databases of different histories.
    DivergentHistory {
        /// UUIDs by member.
        histories: BTreeMap<String, String>,
    },
    /// Members of the last primary view have no database any more, and might have been the most advanced.
    MembersLost {
        /// The members whose volumes are new or were emptied.
        lost: BTreeSet<String>,
        /// The best of what is left, for an override.
        best: Option<(String, Position)>,
    },
    /// The most advanced database is behind what was recorded while it served.
    Behind {
        /// The best of what is left, for an override.
        best: (String, Position),
        /// What was recorded.
        recorded: Position,
    },
    /// All volumes are empty, and the operator knows of an earlier life of this database.
    NothingLeft,
    /// This member is not one of the configured ones.
    NotAMember {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reports(members) => write!(formatter, "reports of {}", list(members)),
            Self::Starter(member) => write!(formatter, "{member} to begin the cluster"),
            Self::Turn(member) => write!(formatter, "{member} to catch up with the cluster first"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let best = |best: &(String, Position)| format!("{} at {}", best.0, best.1);
        match self {
            Self::DivergentHistory { histories } => {
                let all: Vec<String> = histories.iter().map(|(member, uuid)| format!("{member} {uuid}")).collect();
                write!(formatter, "a person's decision: DivergentHistory: the volumes hold different databases ({}); remove the volume of the wrong one, or set the override", all.join(", "))
            }
            Self::MembersLost { lost, best: left } => {
                let left = left.as_ref().map_or_else(|| "nothing is left".to_owned(), |left| format!("the best left is {}", best(left)));
                write!(formatter, "a person's decision: MembersLost: {} of the last primary view lost their data and may have been ahead; {left}: restore a volume or a backup, or set the override", list(lost))
            }
            Self::Behind { best: left, recorded } => write!(formatter, "a person's decision: Behind: the most advanced database is {}, but {recorded} was recorded while it served; restore the newer volume, or set the override", best(left)),
            Self::NothingLeft => formatter.write_str("a person's decision: NothingLeft: every volume is empty, but this cloud's database has lived before; restore a backup, or tell the operator to begin anew"),
            Self::NotAMember { name } => write!(formatter, "a person's decision: NotAMember: {name} is not one of the configured members"),
        }
    }
}

fn list(members: &BTreeSet<String>) -> String {
    members.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// Decide how the member `me` starts (or, where it runs outside of a primary component, whether it makes one).
///
/// `reports` holds its own report and those of the members that answer.
pub fn decide(me: &str, intent: &Intent, reports: &BTreeMap<String, Report>) -> Decision {
    if !intent.members.iter().any(|member| member == me) {
        return Decision::Refuse(Refusal::NotAMember { name: me.to_owned() });
    }
    let Some(Report { volume: Some(mine), .. }) = reports.get(me) else {
        return Decision::Wait(Wait::Reports(BTreeSet::from([me.to_owned()])));
    };

    if let Some(decision) = beside_a_primary(me, mine, reports) {
        return decision;
    }

    // A person's choice counts for the state that the person saw.
    if let Some((chosen, position)) = &intent.chosen
        && reports.get(chosen).and_then(position_of).as_ref() == Some(position)
    {
        if chosen == me {
            return Decision::Bootstrap { position: Some(position.clone()) };
        }
        return Decision::Wait(Wait::Starter(chosen.clone()));
    }

    let histories: BTreeMap<String, String> = reports
        .iter()
        .filter_map(|(member, report)| Some((member.clone(), position_of(report)?.uuid)))
        .collect();
    if histories.values().collect::<BTreeSet<_>>().len() > 1 {
        return Decision::Refuse(Refusal::DivergentHistory { histories });
    }

    let last_view = reports
        .values()
        .filter_map(|report| report.last_view.as_ref())
        .max_by_key(|view| view.position.seqno);
    let required: BTreeSet<String> = match last_view {
        Some(view) => view.members.clone(),
        None => intent.members.iter().cloned().collect(),
    };
    let silent: BTreeSet<String> = required
        .iter()
        .filter(|member| reports.get(*member).is_none_or(|report| report.volume.is_none()))
        .cloned()
        .collect();
    if !silent.is_empty() {
        return Decision::Wait(Wait::Reports(silent));
    }

    let best = most_advanced(&intent.members, reports);
    let lost: BTreeSet<String> =
        required.iter().filter(|member| is_lost(&reports[*member])).cloned().collect();
    if (last_view.is_some() || best.is_some()) && !lost.is_empty() {
        return Decision::Refuse(Refusal::MembersLost { lost, best });
    }
    match (best, last_view) {
        (Some(best), Some(view)) if best.1.seqno < view.position.seqno => {
            Decision::Refuse(Refusal::Behind { best, recorded: view.position.clone() })
        }
        (Some((member, position)), _) if member == me => Decision::Bootstrap { position: Some(position) },
        (Some((member, _)), _) => Decision::Wait(Wait::Starter(member)),
        (None, Some(_)) => Decision::Refuse(Refusal::NothingLeft),
        (None, None) => begin(me, mine, intent, reports),
    }
}

/// For how long a member that joins lets others go first.
pub const TURN_LIMIT: Duration = Duration::from_mins(1);

/// The member that has to catch up before `me` joins: members that join at the same time are fed at the same time, and
/// Galera 26.4.23 loses transactions of one of them (`IST didn't contain all write sets`, seen with three members killed
/// at once), which costs it a restart. `waited` is how long this member has waited for its turn already.
pub fn turn(
    me: &str,
    order: &[String],
    reports: &BTreeMap<String, Report>,
    waited: Duration,
) -> Option<String> {
    if waited >= TURN_LIMIT {
        return None;
    }
    let before_me = order.iter().take_while(|member| *member != me);
    let decided = before_me.filter(|member| {
        reports.get(*member).is_some_and(|report| {
            let synced = report.serving.as_ref().is_some_and(|serving| serving.synced);
            report.decision == Some(Decision::Join) && !synced
        })
    });
    let joining = order
        .iter()
        .filter(|member| *member != me && reports.get(*member).is_some_and(|report| report.joining));
    decided.chain(joining).next().cloned()
}

/// Where others serve there is nothing to decide but whether our data belongs to them.
fn beside_a_primary(me: &str, mine: &Volume, reports: &BTreeMap<String, Report>) -> Option<Decision> {
    let (member, position) =
        reports.iter().filter(|(member, _)| *member != me).find_map(|(member, report)| {
            let serving = report.serving.as_ref()?;
            serving.primary.then_some((member, serving.position.as_ref()))
        })?;
    if let (Volume::Data(own), Some(theirs)) = (mine, position)
        && own.uuid != theirs.uuid
    {
        let histories = [(me, own), (member, theirs)]
            .into_iter()
            .map(|(name, at)| (name.to_owned(), at.uuid.clone()))
            .collect();
        return Some(Decision::Refuse(Refusal::DivergentHistory { histories }));
    }
    Some(Decision::Join)
}

/// Where a member is: by its running server where there is one, else by its volume.
fn position_of(report: &Report) -> Option<Position> {
    let running = report.serving.as_ref().and_then(|serving| serving.position.clone());
    let stored = match &report.volume {
        Some(Volume::Data(position)) => Some(position.clone()),
        _ => None,
    };
    running.or(stored).filter(Position::is_defined)
}

/// The member to begin with: the most advanced; among equals one whose server runs; among those the first in order.
fn most_advanced(order: &[String], reports: &BTreeMap<String, Report>) -> Option<(String, Position)> {
    let rank = |member: &String| order.iter().position(|name| name == member).unwrap_or(usize::MAX);
    reports
        .iter()
        .filter_map(|(member, report)| Some((member, position_of(report)?, report.serving.is_some())))
        .max_by_key(|(member, position, runs)| (position.seqno, *runs, std::cmp::Reverse(rank(member))))
        .map(|(member, position, _)| (member.clone(), position))
}

/// Whether a member of the last view has nothing left that could be compared. One whose state transfer was cut off was
/// behind the member that fed it, so it is no loss.
fn is_lost(report: &Report) -> bool {
    // What the volume held at the start says nothing once the server has followed the cluster.
    position_of(report).is_none()
        && matches!(report.volume, Some(Volume::New | Volume::Initialised | Volume::Emptied { .. }))
}

/// Nobody has data, nobody remembers any: a first start.
fn begin(me: &str, mine: &Volume, intent: &Intent, reports: &BTreeMap<String, Report>) -> Decision {
    // Someone initialised and was killed before the cluster began: go on there.
    let initialised = intent.members.iter().find(|member| {
        reports.get(*member).and_then(|report| report.volume.as_ref()) == Some(&Volume::Initialised)
    });
    if let Some(starter) = initialised {
        return if starter == me {
            Decision::Bootstrap { position: None }
        } else {
            Decision::Wait(Wait::Starter(starter.clone()))
        };
    }
    if !intent.new_cloud {
        return Decision::Refuse(Refusal::NothingLeft);
    }
    match intent.members.first() {
        Some(first) if first != me => Decision::Wait(Wait::Starter(first.clone())),
        _ if *mine == Volume::New => Decision::Initialise,
        _ => Decision::Refuse(Refusal::NothingLeft),
    }
}
