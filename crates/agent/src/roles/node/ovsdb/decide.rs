//! What a member of an OVN database cluster does next: pure functions of what is on its volume, what the other members'
//! agents say, and what the server says of its cluster.

use std::collections::BTreeMap;

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
    Create,
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

/// What to do before the server runs.
///
/// A new cluster is made by the first member alone, and only when every other member's agent said that it has no
/// database: a member that cannot be asked might have one.
pub fn decide(
    me: &Member,
    file: &File,
    remembered: Option<&Remembered>,
    peers: &BTreeMap<u32, Peer>,
) -> Decision {
    match file {
        File::Member { cluster, address } => decide_with_file(me, cluster.as_deref(), address, peers),
        File::Standalone => Decision::Refuse {
            what: "the volume holds a database without a cluster".to_owned(),
            hint: "move the file away, or make a cluster of it with `ovsdb-tool create-cluster`".to_owned(),
        },
        File::Broken(said) => Decision::Refuse {
            what: format!("the database on the volume cannot be read: {said}"),
            hint: if me.replicas > 1 {
                "move the file away: the member then joins the others and gets the data from them".to_owned()
            } else {
                "restore the volume from a backup".to_owned()
            },
        },
        File::Missing => decide_without_file(me, remembered, peers),
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

fn decide_without_file(
    me: &Member,
    remembered: Option<&Remembered>,
    peers: &BTreeMap<u32, Peer>,
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
    if let Some(Remembered { cluster }) = remembered {
        if me.replicas == 1 {
            return Decision::Refuse {
                what: format!("the database of cluster {cluster} is gone from its volume"),
                hint: "restore it from a backup; to begin with an empty one, empty the volume".to_owned(),
            };
        }
        return Decision::Wait(format!(
            "a member of cluster {cluster}, as its database is gone from this volume"
        ));
    }
    if me.ordinal != 0 {
        return Decision::Wait(format!("{} to make the cluster", me.pod(0)));
    }
    let unknown: Vec<String> = me
        .others()
        .filter_map(|ordinal| match peers.get(&ordinal) {
            Some(Peer::Empty) => None,
            Some(Peer::Unknown(why)) => Some(format!("{} ({why})", me.pod(ordinal))),
            Some(Peer::Member { .. }) | None => Some(me.pod(ordinal)),
        })
        .collect();
    if unknown.is_empty() {
        Decision::Create
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn me(ordinal: u32, replicas: u32) -> Member {
        let (name, service) = ("ovn-nb".to_owned(), "ovn-nb.demo.svc.cluster.local".to_owned());
        Member { name, service, ordinal, replicas, port: 6643 }
    }

    fn member(cluster: &str) -> Peer {
        Peer::Member { cluster: cluster.to_owned() }
    }

    fn file(me: &Member) -> File {
        File::Member { cluster: Some("c1".to_owned()), address: me.address(me.ordinal) }
    }

    #[test]
    fn a_single_member_creates_once() {
        let me = me(0, 1);
        assert_eq!(decide(&me, &File::Missing, None, &BTreeMap::new()), Decision::Create);
        assert_eq!(decide(&me, &file(&me), None, &BTreeMap::new()), Decision::Start);
        let remembered = Remembered { cluster: "c1".to_owned() };
        assert!(matches!(
            decide(&me, &File::Missing, Some(&remembered), &BTreeMap::new()),
            Decision::Refuse { what, .. } if what == "the database of cluster c1 is gone from its volume"
        ));
    }

    #[test]
    fn the_first_of_three_waits_for_the_others_word() {
        let me = me(0, 3);
        let peers = BTreeMap::from([(1, Peer::Empty), (2, Peer::Unknown("connection refused".to_owned()))]);
        assert_eq!(
            decide(&me, &File::Missing, None, &peers),
            Decision::Wait("ovn-nb-2 (connection refused) to say that there is no database yet".to_owned())
        );
        let peers = BTreeMap::from([(1, Peer::Empty), (2, Peer::Empty)]);
        assert_eq!(decide(&me, &File::Missing, None, &peers), Decision::Create);
    }

    #[test]
    fn others_join_and_never_create() {
        let me = me(2, 3);
        let peers = BTreeMap::from([(0, Peer::Empty), (1, Peer::Empty)]);
        assert_eq!(
            decide(&me, &File::Missing, None, &peers),
            Decision::Wait("ovn-nb-0 to make the cluster".to_owned())
        );
        let peers = BTreeMap::from([(0, member("c1")), (1, Peer::Empty)]);
        let join = Decision::Join { cluster: "c1".to_owned(), members: vec![0] };
        assert_eq!(decide(&me, &File::Missing, None, &peers), join);
    }

    #[test]
    fn refuses_foreign_and_split_databases() {
        let me = me(1, 3);
        let foreign = File::Member { cluster: None, address: me.address(0) };
        assert!(matches!(decide(&me, &foreign, None, &BTreeMap::new()), Decision::Refuse { .. }));
        let peers = BTreeMap::from([(0, member("c2"))]);
        assert!(matches!(decide(&me, &file(&me), None, &peers), Decision::Refuse { .. }));
        let peers = BTreeMap::from([(0, member("c2")), (2, member("c1"))]);
        assert!(matches!(decide(&me, &File::Missing, None, &peers), Decision::Refuse { .. }));
        assert!(matches!(decide(&me, &File::Standalone, None, &BTreeMap::new()), Decision::Refuse { .. }));
    }

    #[test]
    fn finds_its_ordinal() {
        assert_eq!(ordinal("ovn-nb-12", "ovn-nb"), Some(12));
        assert_eq!(ordinal("ovn-nb", "ovn-nb"), None);
        assert_eq!(ordinal("node1", "ovn-nb"), None);
    }

    const STATUS: &str = "7139\nName: OVN_Northbound\nCluster ID: f717 (f7175557-60b9-41ed-b3c3-08a4dc57cf69)\n\
        Server ID: 7139 (713982ad-2858-4487-9050-0033a182745d)\nAddress: ssl:x:6643\nStatus: cluster member\n\
        Role: leader\nTerm: 2\nLeader: self\nVote: self\n\nLast Election won: 2962 ms ago\nElection timer: 1000\n\
        Log: [2, 4]\nEntries not yet committed: 0\nConnections: ->0000\nDisconnections: 0\nServers:\n    \
        7139 (7139 at ssl:ovn-nb-0.ovn-nb.demo.svc.cluster.local:6643) (self) next_index=3 match_index=3\n    \
        8240 (8240 at ssl:ovn-nb-1.ovn-nb.demo.svc.cluster.local:6643) next_index=3 match_index=3 last msg 120 ms ago\n    \
        9999 (9999 at ssl:ovn-nb-2.ovn-nb.demo.svc.cluster.local:6643) next_index=3 match_index=0\n";

    #[test]
    fn reads_the_servers_status() {
        let status = parse_status(STATUS).unwrap();
        assert_eq!(status.cluster.as_deref(), Some("f7175557-60b9-41ed-b3c3-08a4dc57cf69"));
        assert!(status.takes_part() && status.leads());
        assert_eq!(status.members.len(), 3);
        assert_eq!(status.members[1].heard_ms, Some(120));
        assert!(status.members[0].own && !status.members[2].own);
        let joining = STATUS.replace("f717 (f7175557-60b9-41ed-b3c3-08a4dc57cf69)", "not yet known");
        assert_eq!(parse_status(&joining).unwrap().cluster, None);
        assert_eq!(parse_status("no such database"), None);
    }

    #[test]
    fn the_leader_tends_its_cluster() {
        let status = parse_status(STATUS).unwrap();
        let none = BTreeMap::new();
        assert_eq!(lead(&me(0, 3), &status, 10_000, &none), Some(Lead::SetElectionTimer(2000)));
        assert_eq!(lead(&me(0, 3), &status, 500, &none), Some(Lead::SetElectionTimer(500)));
        assert_eq!(lead(&me(0, 3), &status, 1000, &none), None);
        let lost = BTreeMap::from([(2, Peer::Empty)]);
        assert!(
            matches!(lead(&me(0, 3), &status, 1000, &lost), Some(Lead::Remove { id, .. }) if id == "9999")
        );
        // It came back before the leader looked: the one that is not heard of is the lost one.
        let back = STATUS.replace("last msg 120 ms ago\n", "last msg 120 ms ago\n    aaaa (aaaa at ssl:ovn-nb-2.ovn-nb.demo.svc.cluster.local:6643) next_index=3 last msg 9 ms ago\n");
        let action = lead(&me(0, 3), &parse_status(&back).unwrap(), 1000, &none);
        assert!(
            matches!(action, Some(Lead::Remove { id, why }) if id == "9999" && why.contains("joined anew"))
        );
        // Without the second member there is no majority to agree.
        let alone = parse_status(&STATUS.replace("last msg 120 ms", "last msg 99999 ms")).unwrap();
        assert_eq!(lead(&me(0, 3), &alone, 1000, &lost), None);
        let follower = parse_status(&STATUS.replace("Role: leader", "Role: follower")).unwrap();
        assert_eq!(lead(&me(0, 3), &follower, 10_000, &none), None);
    }

    #[test]
    fn a_leader_that_is_one_too_many_leaves_last() {
        let status = parse_status(STATUS).unwrap();
        let status = ClusterStatus { members: status.members[..2].to_vec(), ..status };
        let own = |index: usize| {
            let mut status = status.clone();
            status.members.iter_mut().enumerate().for_each(|(n, member)| {
                member.own = n == index;
                member.heard_ms = Some(1);
            });
            status
        };
        assert_eq!(lead(&me(1, 1), &own(1), 1000, &BTreeMap::new()), Some(Lead::Leave));
        assert!(
            matches!(lead(&me(0, 1), &own(0), 1000, &BTreeMap::new()), Some(Lead::Remove { id, .. }) if id == "8240")
        );
        assert_eq!(lead(&me(1, 2), &own(1), 1000, &BTreeMap::new()), None);
    }

    #[test]
    fn a_smaller_cluster_loses_who_is_away_first() {
        let status = parse_status(STATUS).unwrap();
        assert!(matches!(
            lead(&me(0, 1), &status, 1000, &BTreeMap::new()),
            Some(Lead::Remove { why, .. }) if why == "ovn-nb-2 is one too many, there are to be 1"
        ));
    }

    fn any_peer() -> impl Strategy<Value = Peer> {
        prop_oneof![
            Just(Peer::Unknown("no route".to_owned())),
            Just(Peer::Empty),
            "c[12]".prop_map(|cluster| Peer::Member { cluster }),
        ]
    }

    proptest! {
        /// However members come and go, no second cluster is made while someone may have the first.
        #[test]
        fn creates_only_when_nobody_has_it(
            ordinal in 0_u32..5,
            peers in proptest::collection::btree_map(0_u32..5, any_peer(), 0..5),
            remembers: bool,
        ) {
            let me = me(ordinal, 5);
            let mut peers = peers;
            peers.remove(&ordinal);
            let remembered = remembers.then(|| Remembered { cluster: "c1".to_owned() });
            if decide(&me, &File::Missing, remembered.as_ref(), &peers) == Decision::Create {
                prop_assert_eq!(ordinal, 0);
                prop_assert!(!remembers);
                prop_assert!(me.others().all(|other| peers.get(&other) == Some(&Peer::Empty)));
            }
        }
    }
}
