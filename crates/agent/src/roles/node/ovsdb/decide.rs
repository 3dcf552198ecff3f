//! What a member of an OVN database cluster does next: pure functions of what is on its volume, what the other members'
//! agents say, and what the server says of its cluster.

use std::collections::BTreeMap;

use oaas_agent_config::Content;
use serde::{Deserialize, Serialize};

/// What is at the place of the database file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// Nothing.
    Missing,
    /// The database of a cluster's member.
    Member {
        /// The cluster's id; not known yet while the member has not finished joining.
        cluster: Option<String>,
        /// The member's own address within the cluster.
        address: String,
    },
    /// A database without a cluster.
    Standalone,
    /// Not a database, or a damaged one.
    Broken(
        /// What `ovsdb-tool` says of it.
        String,
    ),
}

/// What the volume remembers of a database that was on it, in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The cluster's id.
    pub cluster: String,
}

/// What another member's agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Nothing, for this reason.
    Unknown(String),
    /// It has no database.
    Empty,
    /// It has the database of this cluster.
    Member {
        /// The cluster's id.
        cluster: String,
    },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Start the server on the file that is there.
    Start,
    /// Make a new cluster with this member alone.
    Create {
        /// Whether what it held before is to be written to it before clients see it.
        to_fill: bool,
    },
    /// Give the file another name: what can be had anew is not worth a stop.
    SetAside,
    /// Join the cluster of these members.
    Join {
        /// The cluster's id.
        cluster: String,
        /// The ordinals of members to ask.
        members: Vec<u32>,
    },
    /// Look again later.
    Wait(
        /// What is waited for.
        String,
    ),
    /// Stop here: going on could lose data.
    Refuse {
        /// What is wrong.
        what: String,
        /// What a person can do.
        hint: String,
    },
}

/// Who this member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The StatefulSet's name.
    pub name: String,
    /// The headless Service's full name.
    pub service: String,
    /// The number at the end of the pod's name.
    pub ordinal: u32,
    /// How many members there are to be.
    pub replicas: u32,
    /// The port that members talk to each other on.
    pub port: u16,
}

impl Member {
    /// The name of a member's pod.
    pub fn pod(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.name)
    }

    /// A member's host name.
    pub fn host(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}.{}", self.name, self.service)
    }

    /// A member's address within the cluster.
    pub fn address(&self, ordinal: u32) -> String {
        format!("ssl:{}:{}", self.host(ordinal), self.port)
    }

    /// The ordinals of all others.
    pub fn others(&self) -> impl Iterator<Item = u32> {
        let own = self.ordinal;
        (0..self.replicas).filter(move |ordinal| *ordinal != own)
    }

    /// The ordinal of the member with this address, also of one that is not to be.
    fn ordinal_of(&self, address: &str) -> Option<u32> {
        let number = address.strip_prefix(&format!("ssl:{}-", self.name))?.split('.').next()?.parse().ok()?;
        (self.address(number) == address).then_some(number)
    }
}

/// The ordinal at the end of a pod's name.
pub fn ordinal(host: &str, name: &str) -> Option<u32> {
    host.strip_prefix(name)?.strip_prefix('-')?.parse().ok()
}

/// What the configuration says of a volume without a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Empty {
    /// Whether the cloud never ran, so that there was no database.
    pub new_cloud: bool,
    /// Where the content comes from where it is lost.
    pub content: Content,
}

/// What to do before the server runs.
///
/// A new cluster is made by the first member alone, and only when every other member's agent said that it has no
/// database: a member that cannot be asked might have one. Where there was a database before, a new one is made only if
/// its content comes from elsewhere.
pub fn decide(
    me: &Member,
    file: &File,
    remembered: Option<&Remembered>,
    peers: &BTreeMap<u32, Peer>,
    empty: Empty,
) -> Decision {
    match file {
        File::Member { cluster, address } => decide_with_file(me, cluster.as_deref(), address, peers),
        File::Standalone => Decision::Refuse {
            what: "the volume holds a database without a cluster".to_owned(),
            hint: "move the file away, or make a cluster of it with `ovsdb-tool create-cluster`".to_owned(),
        },
        File::Broken(said) => decide_with_broken_file(me, said, peers, empty),
        File::Missing => decide_without_file(me, remembered, peers, empty),
    }
}

fn decide_with_file(
    me: &Member,
    cluster: Option<&str>,
    address: &str,
    peers: &BTreeMap<u32, Peer>,
) -> Decision {
    let own = me.address(me.ordinal);
    if address != own {
        return Decision::Refuse {
            what: format!("the volume holds the database of {address}, but this member is {own}"),
            hint: "give each member its own volume back".to_owned(),
        };
    }
    let other = peers.iter().find_map(|(ordinal, peer)| match (peer, cluster) {
        (Peer::Member { cluster: theirs }, Some(ours)) if theirs != ours => Some((*ordinal, theirs, ours)),
        _ => None,
    });
    match other {
        Some((ordinal, theirs, ours)) => Decision::Refuse {
            what: format!("{} belongs to cluster {theirs}, this member to cluster {ours}", me.pod(ordinal)),
            hint: "two clusters of one database: keep the one with the data, empty the other's volumes"
                .to_owned(),
        },
        None => Decision::Start,
    }
}

/// A damaged database is given up where others have its data, or where nobody has and they come from elsewhere.
fn decide_with_broken_file(me: &Member, said: &str, peers: &BTreeMap<u32, Peer>, empty: Empty) -> Decision {
    let others = peers.values().any(|peer| matches!(peer, Peer::Member { .. }));
    let unknown = silent(me, peers);
    if others || (unknown.is_empty() && empty.content != Content::Own) {
        return Decision::SetAside;
    }
    if !unknown.is_empty() {
        return Decision::Wait(format!(
            "{} to say whether there is another copy, as the database on this volume cannot be read: {said}",
            unknown.join(" and ")
        ));
    }
    Decision::Refuse {
        what: format!("the database on the volume cannot be read: {said}"),
        hint: "restore the volume from a backup".to_owned(),
    }
}

/// The other members who have not said that they have no database, with the reason where there is one.
fn silent(me: &Member, peers: &BTreeMap<u32, Peer>) -> Vec<String> {
    let name = |ordinal| match peers.get(&ordinal) {
        Some(Peer::Empty) => None,
        Some(Peer::Unknown(why)) => Some(format!("{} ({why})", me.pod(ordinal))),
        Some(Peer::Member { .. }) | None => Some(me.pod(ordinal)),
    };
    me.others().filter_map(name).collect()
}

fn decide_without_file(
    me: &Member,
    remembered: Option<&Remembered>,
    peers: &BTreeMap<u32, Peer>,
    empty: Empty,
) -> Decision {
    let mut clusters: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (ordinal, peer) in peers {
        if let Peer::Member { cluster } = peer {
            clusters.entry(cluster).or_default().push(*ordinal);
        }
    }
    if clusters.len() > 1 {
        let all: Vec<&str> = clusters.keys().copied().collect();
        return Decision::Refuse {
            what: format!("the other members belong to different clusters: {}", all.join(", ")),
            hint: "keep the one with the data, empty the other's volumes".to_owned(),
        };
    }
    if let Some((cluster, members)) = clusters.pop_first() {
        return Decision::Join { cluster: cluster.to_owned(), members };
    }
    let was = remembered.map(|Remembered { cluster }| format!("the database of cluster {cluster}"));
    let lost = was.or_else(|| (!empty.new_cloud).then(|| "this cloud's database".to_owned()));
    if let Some(was) = lost.as_ref().filter(|_| empty.content == Content::Own) {
        if me.replicas == 1 {
            return Decision::Refuse {
                what: format!("{was} is gone from its volume"),
                hint: "restore it from a backup; to begin with an empty one, empty the volume".to_owned(),
            };
        }
        return Decision::Wait(format!("another member, as {was} is gone from this volume"));
    }
    if me.ordinal != 0 {
        return Decision::Wait(format!("{} to make the cluster", me.pod(0)));
    }
    let unknown = silent(me, peers);
    if unknown.is_empty() {
        Decision::Create { to_fill: lost.is_some() && empty.content == Content::Filler }
    } else {
        Decision::Wait(format!("{} to say that there is no database yet", unknown.join(" and ")))
    }
}

/// What the server says of its cluster (`cluster/status`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// The cluster's id; not known while joining.
    pub cluster: Option<String>,
    /// The member's id.
    pub server: String,
    /// Such as `cluster member` or `joining cluster`.
    pub status: String,
    /// `leader`, `follower` or `candidate`.
    pub role: String,
    /// Whether a leader is known.
    pub has_leader: bool,
    /// Number of the term.
    pub term: u64,
    /// Milliseconds without a leader until an election.
    pub election_ms: u64,
    /// All members, this one too.
    pub members: Vec<MemberStatus>,
}

/// One member as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// The beginning of its id, which is enough to name it.
    pub id: String,
    /// Its address within the cluster.
    pub address: String,
    /// Milliseconds since it was heard of; none for the member itself, and for one that was never heard of.
    pub heard_ms: Option<u64>,
    /// Whether it is the member asked.
    pub own: bool,
}

impl ClusterStatus {
    /// Whether this member takes part: it is in the cluster and knows a leader.
    pub fn takes_part(&self) -> bool {
        self.status == "cluster member" && self.has_leader
    }

    /// Whether it is the leader.
    pub fn leads(&self) -> bool {
        self.role == "leader"
    }
}

/// Read what `cluster/status` prints.
pub fn parse_status(text: &str) -> Option<ClusterStatus> {
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::trim));
    // `f717 (f7175557-60b9-41ed-b3c3-08a4dc57cf69)`; `not yet known` while joining.
    let id = |name: &str| Some(field(name)?.split_once('(')?.1.trim_end_matches(')').to_owned());
    let members = text.lines().skip_while(|line| *line != "Servers:").skip(1).filter_map(|line| {
        let (id, rest) = line.trim().split_once(" (")?;
        let (_, rest) = rest.split_once(" at ")?;
        let (address, rest) = rest.split_once(')')?;
        let heard_ms = rest.split_once("last msg ").and_then(|(_, ago)| ago.split(' ').next()?.parse().ok());
        Some(MemberStatus {
            id: id.to_owned(),
            address: address.to_owned(),
            heard_ms,
            own: rest.contains("(self)"),
        })
    });
    Some(ClusterStatus {
        cluster: id("Cluster ID"),
        server: id("Server ID")?,
        status: field("Status")?.to_owned(),
        role: field("Role")?.to_owned(),
        has_leader: field("Leader")? != "unknown",
        term: field("Term")?.parse().ok()?,
        election_ms: field("Election timer")?.parse().ok()?,
        members: members.collect(),
    })
}

/// What the leader does for its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// Set the election timer, in milliseconds.
    SetElectionTimer(u64),
    /// Leave the cluster and let another lead: this member is one too many, and the last that is.
    Leave,
    /// Remove this member, so that its successor counts alone or a smaller cluster has its quorum.
    Remove {
        /// The beginning of its id: after a volume was lost two members have one address.
        id: String,
        /// Why.
        why: String,
    },
}

/// A member not heard of for this many election timers counts as away.
const AWAY_TIMERS: u64 = 4;

/// What the leader does next, if anything.
pub fn lead(
    me: &Member,
    status: &ClusterStatus,
    election_ms: u64,
    peers: &BTreeMap<u32, Peer>,
) -> Option<Lead> {
    if !status.leads() || !status.takes_part() {
        return None;
    }
    if status.election_ms != election_ms {
        // The server lets it grow by no more than a factor of two at a time.
        return Some(Lead::SetElectionTimer(election_ms.min(status.election_ms.saturating_mul(2))));
    }
    let mut candidates: Vec<(bool, u32, &MemberStatus, String)> = Vec::new();
    for member in status.members.iter().filter(|member| !member.own) {
        let Some(ordinal) = me.ordinal_of(&member.address) else { continue };
        let here = is_here(member, status);
        let succeeded = status
            .members
            .iter()
            .any(|other| other.address == member.address && other.id != member.id && is_here(other, status));
        let why = if succeeded && !here {
            format!("{} has lost its database and joined anew", me.pod(ordinal))
        } else if peers.get(&ordinal) == Some(&Peer::Empty) {
            format!("{} has lost its database and is to join anew", me.pod(ordinal))
        } else if ordinal >= me.replicas {
            format!("{} is one too many, there are to be {}", me.pod(ordinal), me.replicas)
        } else {
            continue;
        };
        candidates.push((here, ordinal, member, why));
    }
    // Who is away first: without them the others' majority is easier to keep. Then the last ones.
    candidates.sort_by_key(|(here, ordinal, ..)| (*here, std::cmp::Reverse(*ordinal)));
    // Removing is itself agreed on by a majority, and those who remain should be able to go on.
    let goes_on_without = |lost: &MemberStatus| {
        let remaining = status.members.iter().filter(|member| member.id != lost.id);
        let (all, here) = remaining
            .fold((0, 0), |(all, here), member| (all + 1, here + usize::from(is_here(member, status))));
        here * 2 > all
    };
    if let Some((.., lost, why)) = candidates.iter().find(|(.., lost, _)| goes_on_without(lost)) {
        return Some(Lead::Remove { id: lost.id.clone(), why: why.clone() });
    }
    let own = status.members.iter().find(|member| member.own)?;
    (me.ordinal >= me.replicas && candidates.is_empty() && goes_on_without(own)).then_some(Lead::Leave)
}

fn is_here(member: &MemberStatus, status: &ClusterStatus) -> bool {
    member.own || member.heard_ms.is_some_and(|heard| heard < AWAY_TIMERS.saturating_mul(status.election_ms))
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
