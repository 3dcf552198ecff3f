//! What a member does next, case by case.

use proptest::prelude::*;

use super::*;

/// A cloud that never ran, as far as this member knows.
const NEW: Empty = Empty { new_cloud: true, content: Content::Own };

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
    assert_eq!(decide(&me, &File::Missing, None, &BTreeMap::new(), NEW), Decision::Create { to_fill: false });
    assert_eq!(decide(&me, &file(&me), None, &BTreeMap::new(), NEW), Decision::Start);
    let remembered = Remembered { cluster: "c1".to_owned() };
    assert!(matches!(
        decide(&me, &File::Missing, Some(&remembered), &BTreeMap::new(), NEW),
        Decision::Refuse { what, .. } if what == "the database of cluster c1 is gone from its volume"
    ));
}

#[test]
fn the_first_of_three_waits_for_the_others_word() {
    let me = me(0, 3);
    let peers = BTreeMap::from([(1, Peer::Empty), (2, Peer::Unknown("connection refused".to_owned()))]);
    assert_eq!(
        decide(&me, &File::Missing, None, &peers, NEW),
        Decision::Wait("ovn-nb-2 (connection refused) to say that there is no database yet".to_owned())
    );
    let peers = BTreeMap::from([(1, Peer::Empty), (2, Peer::Empty)]);
    assert_eq!(decide(&me, &File::Missing, None, &peers, NEW), Decision::Create { to_fill: false });
}

#[test]
fn others_join_and_never_create() {
    let me = me(2, 3);
    let peers = BTreeMap::from([(0, Peer::Empty), (1, Peer::Empty)]);
    assert_eq!(
        decide(&me, &File::Missing, None, &peers, NEW),
        Decision::Wait("ovn-nb-0 to make the cluster".to_owned())
    );
    let peers = BTreeMap::from([(0, member("c1")), (1, Peer::Empty)]);
    let join = Decision::Join { cluster: "c1".to_owned(), members: vec![0] };
    assert_eq!(decide(&me, &File::Missing, None, &peers, NEW), join);
}

#[test]
fn refuses_foreign_and_split_databases() {
    let me = me(1, 3);
    let foreign = File::Member { cluster: None, address: me.address(0) };
    assert!(matches!(decide(&me, &foreign, None, &BTreeMap::new(), NEW), Decision::Refuse { .. }));
    let peers = BTreeMap::from([(0, member("c2"))]);
    assert!(matches!(decide(&me, &file(&me), None, &peers, NEW), Decision::Refuse { .. }));
    let peers = BTreeMap::from([(0, member("c2")), (2, member("c1"))]);
    assert!(matches!(decide(&me, &File::Missing, None, &peers, NEW), Decision::Refuse { .. }));
    assert!(matches!(decide(&me, &File::Standalone, None, &BTreeMap::new(), NEW), Decision::Refuse { .. }));
}

/// Of the only member, and of the first of three whose others have no database either.
#[test]
fn what_a_lost_database_becomes() {
    let alone = (me(0, 1), BTreeMap::new());
    let all = (me(0, 3), BTreeMap::from([(1, Peer::Empty), (2, Peer::Empty)]));
    let remembered = Remembered { cluster: "c1".to_owned() };
    for (new_cloud, remembers, content, wanted) in [
        (true, false, Content::Own, Some(false)),
        (true, false, Content::Northd, Some(false)),
        (true, false, Content::Filler, Some(false)),
        (true, true, Content::Own, None),
        (true, true, Content::Northd, Some(false)),
        (true, true, Content::Filler, Some(true)),
        (false, false, Content::Own, None),
        (false, false, Content::Northd, Some(false)),
        (false, false, Content::Filler, Some(true)),
    ] {
        for (me, peers) in [&alone, &all] {
            let remembered = remembers.then_some(&remembered);
            let decision = decide(me, &File::Missing, remembered, peers, Empty { new_cloud, content });
            let case = (new_cloud, remembers, content, me.replicas);
            match wanted {
                Some(to_fill) => assert_eq!(decision, Decision::Create { to_fill }, "{case:?}"),
                None if me.replicas == 1 => assert!(matches!(decision, Decision::Refuse { .. }), "{case:?}"),
                None => assert!(matches!(decision, Decision::Wait(_)), "{case:?}"),
            }
        }
    }
}

/// One of three has lost its volume, or cannot read it: it gets the data from the others, whatever else is known.
#[test]
fn one_of_three_is_rebuilt_from_the_others() {
    let me = me(1, 3);
    let peers = BTreeMap::from([(0, member("c1")), (2, member("c1"))]);
    let remembered = Remembered { cluster: "c1".to_owned() };
    let join = Decision::Join { cluster: "c1".to_owned(), members: vec![0, 2] };
    for content in [Content::Own, Content::Northd, Content::Filler] {
        let empty = Empty { new_cloud: false, content };
        for remembered in [None, Some(&remembered)] {
            assert_eq!(decide(&me, &File::Missing, remembered, &peers, empty), join);
        }
        let broken = File::Broken("syntax error".to_owned());
        assert_eq!(decide(&me, &broken, None, &peers, empty), Decision::SetAside);
    }
}

#[test]
fn a_damaged_database_is_given_up_only_for_another_copy() {
    let broken = File::Broken("syntax error".to_owned());
    let unknown = BTreeMap::from([(1, Peer::Empty), (2, Peer::Unknown("no route".to_owned()))]);
    for (content, alone) in [(Content::Own, false), (Content::Northd, true), (Content::Filler, true)] {
        let empty = Empty { new_cloud: false, content };
        let decision = decide(&me(0, 1), &broken, None, &BTreeMap::new(), empty);
        assert_eq!(decision == Decision::SetAside, alone, "{content:?}");
        assert_eq!(matches!(decision, Decision::Refuse { .. }), !alone, "{content:?}");
        assert!(
            matches!(decide(&me(0, 3), &broken, None, &unknown, empty), Decision::Wait(what) if what.contains("ovn-nb-2"))
        );
    }
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
    assert!(matches!(lead(&me(0, 3), &status, 1000, &lost), Some(Lead::Remove { id, .. }) if id == "9999"));
    // It came back before the leader looked: the one that is not heard of is the lost one.
    let back = STATUS.replace("last msg 120 ms ago\n", "last msg 120 ms ago\n    aaaa (aaaa at ssl:ovn-nb-2.ovn-nb.demo.svc.cluster.local:6643) next_index=3 last msg 9 ms ago\n");
    let action = lead(&me(0, 3), &parse_status(&back).unwrap(), 1000, &none);
    assert!(matches!(action, Some(Lead::Remove { id, why }) if id == "9999" && why.contains("joined anew")));
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

fn any_content() -> impl Strategy<Value = Content> {
    prop_oneof![Just(Content::Own), Just(Content::Northd), Just(Content::Filler)]
}

proptest! {
    /// However members come and go, no second cluster is made while someone may have the first, and none in place of a lost
    /// one whose content is nowhere else or is not written yet.
    #[test]
    fn creates_only_when_nobody_has_it(
        ordinal in 0_u32..5,
        peers in proptest::collection::btree_map(0_u32..5, any_peer(), 0..5),
        remembers: bool,
        new_cloud: bool,
        content in any_content(),
    ) {
        let me = me(ordinal, 5);
        let mut peers = peers;
        peers.remove(&ordinal);
        let remembered = remembers.then(|| Remembered { cluster: "c1".to_owned() });
        let decision = decide(&me, &File::Missing, remembered.as_ref(), &peers, Empty { new_cloud, content });
        if let Decision::Create { to_fill } = decision {
            let lost = remembers || !new_cloud;
            prop_assert_eq!(ordinal, 0);
            prop_assert!(me.others().all(|other| peers.get(&other) == Some(&Peer::Empty)));
            prop_assert!(!lost || content != Content::Own);
            prop_assert_eq!(to_fill, lost && content == Content::Filler);
        }
    }
}
