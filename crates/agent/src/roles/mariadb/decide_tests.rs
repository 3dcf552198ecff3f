//! The table of starts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::decide::*;

const UUID: &str = "6c5cf6fd-c2b1-11ef-8a4e-0242ac110002";
const OTHER: &str = "11111111-c2b1-11ef-8a4e-0242ac110002";

fn at(seqno: i64) -> Position {
    Position { uuid: UUID.to_owned(), seqno }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn report(volume: Volume) -> Report {
    Report { volume: Some(volume), ..Report::default() }
}

fn data(seqno: i64) -> Report {
    Report { last_view: Some(view(1)), ..report(Volume::Data(at(seqno))) }
}

fn view(seqno: i64) -> LastView {
    LastView { position: at(seqno), members: names(&["a", "b", "c"]) }
}

fn serving(primary: bool, seqno: i64) -> Report {
    let serving = Serving {
        connected: true,
        primary,
        synced: primary,
        position: Some(at(seqno)),
        members: names(&["a", "b", "c"]),
    };
    Report { serving: Some(serving), ..data(seqno) }
}

fn intent(members: &[&str]) -> Intent {
    Intent {
        members: members.iter().map(|name| (*name).to_owned()).collect(),
        new_cloud: false,
        chosen: None,
    }
}

fn three() -> Intent {
    intent(&["a", "b", "c"])
}

fn reports<const N: usize>(all: [(&str, Report); N]) -> BTreeMap<String, Report> {
    all.into_iter().map(|(name, report)| (name.to_owned(), report)).collect()
}

fn bootstrap(seqno: i64) -> Decision {
    Decision::Bootstrap { position: Some(at(seqno)) }
}

#[test]
fn one_member_begins_anew_only_when_told() {
    let mut one = intent(&["a"]);
    let fresh = reports([("a", report(Volume::New))]);
    assert_eq!(decide("a", &one, &fresh), Decision::Refuse(Refusal::NothingLeft));
    one.new_cloud = true;
    assert_eq!(decide("a", &one, &fresh), Decision::Initialise);
}

#[test]
fn one_member_restarts_at_once() {
    let mut mine = data(9);
    mine.last_view = Some(LastView { position: at(5), members: names(&["a"]) });
    assert_eq!(decide("a", &intent(&["a"]), &reports([("a", mine)])), bootstrap(9));
}

#[test]
fn one_member_goes_on_after_a_killed_first_start() {
    let mut one = intent(&["a"]);
    for new_cloud in [true, false] {
        one.new_cloud = new_cloud;
        let decision = decide("a", &one, &reports([("a", report(Volume::Initialised))]));
        assert_eq!(decision, Decision::Bootstrap { position: None });
    }
}

#[test]
fn an_emptied_volume_is_never_begun_with_even_in_a_new_cloud() {
    let one = Intent { new_cloud: true, ..intent(&["a"]) };
    let mut mine = report(Volume::Emptied { why: "empty".to_owned() });
    mine.last_view = Some(LastView { position: at(5), members: names(&["a"]) });
    let decision = decide("a", &one, &reports([("a", mine)]));
    assert_eq!(decision, Decision::Refuse(Refusal::MembersLost { lost: names(&["a"]), best: None }));
}

#[test]
fn three_new_members_wait_for_each_other_and_the_first_begins() {
    let new = Intent { new_cloud: true, ..three() };
    let two = reports([("a", report(Volume::New)), ("b", report(Volume::New))]);
    assert_eq!(decide("a", &new, &two), Decision::Wait(Wait::Reports(names(&["c"]))));
    let all = reports([("a", report(Volume::New)), ("b", report(Volume::New)), ("c", report(Volume::New))]);
    assert_eq!(decide("a", &new, &all), Decision::Initialise);
    assert_eq!(decide("b", &new, &all), Decision::Wait(Wait::Starter("a".to_owned())));
}

#[test]
fn all_killed_the_most_advanced_begins_and_the_first_among_equals() {
    let all = reports([("a", data(7)), ("b", data(9)), ("c", data(9))]);
    assert_eq!(decide("b", &three(), &all), bootstrap(9));
    for waits in ["a", "c"] {
        assert_eq!(decide(waits, &three(), &all), Decision::Wait(Wait::Starter("b".to_owned())));
    }
}

#[test]
fn a_silent_member_of_the_last_view_is_waited_for() {
    let two = reports([("a", data(9)), ("b", data(9))]);
    assert_eq!(decide("a", &three(), &two), Decision::Wait(Wait::Reports(names(&["c"]))));
    let mut surveying = data(9);
    surveying.volume = None;
    let all = reports([("a", data(9)), ("b", data(9)), ("c", surveying)]);
    assert_eq!(decide("a", &three(), &all), Decision::Wait(Wait::Reports(names(&["c"]))));
}

#[test]
fn a_member_that_left_the_last_view_is_not_needed() {
    let mut a = data(9);
    a.last_view = Some(LastView { position: at(8), members: names(&["a", "b"]) });
    // b has not noticed yet that c had gone: the newest view counts.
    assert_eq!(decide("a", &three(), &reports([("a", a), ("b", data(9))])), bootstrap(9));
}

#[test]
fn a_lost_volume_of_the_last_view_needs_a_person() {
    let all = reports([("a", data(9)), ("b", data(8)), ("c", report(Volume::New))]);
    let best = Some(("a".to_owned(), at(9)));
    assert_eq!(
        decide("a", &three(), &all),
        Decision::Refuse(Refusal::MembersLost { lost: names(&["c"]), best })
    );
    let chosen = Intent { chosen: Some(("a".to_owned(), at(9))), ..three() };
    assert_eq!(decide("a", &chosen, &all), bootstrap(9));
    assert_eq!(decide("c", &chosen, &all), Decision::Wait(Wait::Starter("a".to_owned())));
    let outdated = Intent { chosen: Some(("a".to_owned(), at(3))), ..three() };
    assert!(matches!(decide("a", &outdated, &all), Decision::Refuse(_)));
}

#[test]
fn an_aborted_transfer_is_neither_begun_with_nor_a_loss() {
    let mut aborted = data(0);
    aborted.volume = Some(Volume::AbortedTransfer);
    let all = reports([("a", aborted.clone()), ("b", data(9)), ("c", data(9))]);
    assert_eq!(decide("b", &three(), &all), bootstrap(9));
    assert_eq!(decide("a", &three(), &all), Decision::Wait(Wait::Starter("b".to_owned())));
    let alone = reports([("a", aborted.clone()), ("b", aborted.clone()), ("c", aborted)]);
    for member in ["a", "b", "c"] {
        assert_eq!(decide(member, &three(), &alone), Decision::Refuse(Refusal::NothingLeft));
    }
}

#[test]
fn where_others_serve_one_joins_whatever_the_volume_holds() {
    let volumes = [Volume::New, Volume::Initialised, Volume::AbortedTransfer, Volume::Data(at(3))];
    for volume in volumes {
        let all = reports([("a", report(volume)), ("b", serving(true, 9))]);
        assert_eq!(decide("a", &three(), &all), Decision::Join);
    }
}

#[test]
fn different_histories_never_meet() {
    let foreign = report(Volume::Data(Position { uuid: OTHER.to_owned(), seqno: 99 }));
    let all = reports([("a", foreign.clone()), ("b", data(9)), ("c", data(9))]);
    for member in ["a", "b", "c"] {
        assert!(matches!(decide(member, &three(), &all), Decision::Refuse(Refusal::DivergentHistory { .. })));
    }
    let beside = reports([("a", foreign), ("b", serving(true, 9))]);
    assert!(matches!(decide("a", &three(), &beside), Decision::Refuse(Refusal::DivergentHistory { .. })));
}

#[test]
fn a_database_behind_the_record_is_refused() {
    let old = |seqno| Report { last_view: Some(view(50)), ..report(Volume::Data(at(seqno))) };
    let all = reports([("a", old(9)), ("b", old(8)), ("c", old(7))]);
    let refusal = Refusal::Behind { best: ("a".to_owned(), at(9)), recorded: at(50) };
    assert_eq!(decide("a", &three(), &all), Decision::Refuse(refusal));
}

#[test]
fn of_equals_the_one_that_runs_makes_the_new_component() {
    let all = reports([("a", data(9)), ("b", data(9)), ("c", serving(false, 9))]);
    assert_eq!(decide("c", &three(), &all), bootstrap(9));
    assert_eq!(decide("a", &three(), &all), Decision::Wait(Wait::Starter("c".to_owned())));
    let behind = reports([("a", data(10)), ("b", data(9)), ("c", serving(false, 9))]);
    assert_eq!(decide("a", &three(), &behind), bootstrap(10));
}

#[test]
fn a_member_that_was_fed_since_its_start_is_not_lost() {
    let mut fed = serving(false, 9);
    fed.volume = Some(Volume::New);
    let all = reports([("a", data(9)), ("b", data(9)), ("c", fed)]);
    assert_eq!(decide("c", &three(), &all), bootstrap(9));
}

#[test]
fn members_join_one_after_another() {
    let order = three().members;
    let joins = |joining| Report { joining, decision: Some(Decision::Join), ..data(9) };
    let both = reports([("a", serving(true, 9)), ("b", joins(false)), ("c", joins(false))]);
    assert_eq!(turn("b", &order, &both, Duration::ZERO), None);
    assert_eq!(turn("c", &order, &both, Duration::ZERO), Some("b".to_owned()));
    assert_eq!(
        turn("c", &order, &both, TURN_LIMIT),
        None,
        "a member that never catches up does not block others"
    );
    let late = reports([("a", serving(true, 9)), ("b", joins(false)), ("c", joins(true))]);
    assert_eq!(turn("b", &order, &late, Duration::ZERO), Some("c".to_owned()));
    let done = Report { decision: Some(Decision::Join), ..serving(true, 9) };
    let after = reports([("a", serving(true, 9)), ("b", done), ("c", joins(false))]);
    assert_eq!(turn("c", &order, &after, Duration::ZERO), None);
}

#[test]
fn a_stranger_is_refused() {
    let decision = decide("z", &three(), &reports([("z", report(Volume::New))]));
    assert_eq!(decision, Decision::Refuse(Refusal::NotAMember { name: "z".to_owned() }));
}

#[test]
fn refusals_say_what_to_do() {
    let text = Refusal::MembersLost { lost: names(&["c"]), best: Some(("a".to_owned(), at(9))) }.to_string();
    assert!(text.contains("the best left is a at 6c5c") && text.contains("override"), "{text}");
    let text = Refusal::DivergentHistory { histories: BTreeMap::from([("a".to_owned(), UUID.to_owned())]) }
        .to_string();
    assert!(text.contains("DivergentHistory"), "{text}");
}

#[test]
fn positions_are_read_strictly() {
    assert_eq!(format!("{UUID}:12").parse::<Position>().unwrap(), at(12));
    for wrong in ["", "x:1", UUID, &format!("{UUID}:x")] {
        assert!(wrong.parse::<Position>().unwrap_err().contains("not a position"), "{wrong}");
    }
}

fn any_volume() -> impl Strategy<Value = Volume> {
    prop_oneof![
        Just(Volume::New),
        Just(Volume::Initialised),
        Just(Volume::AbortedTransfer),
        Just(Volume::Emptied { why: "empty".to_owned() }),
        (0..5i64).prop_map(|seqno| Volume::Data(at(seqno))),
    ]
}

fn any_report() -> impl Strategy<Value = Report> {
    let members = proptest::sample::subsequence(vec!["a", "b", "c"], 1..=3);
    (proptest::option::weighted(0.9, any_volume()), proptest::option::of((0..5i64, members)), any::<bool>())
        .prop_map(|(volume, last_view, _)| {
            let last_view =
                last_view.map(|(seqno, members)| LastView { position: at(seqno), members: names(&members) });
            Report { volume, last_view, ..Report::default() }
        })
}

proptest! {
    /// Whatever the volumes hold: at most one member begins, never from nothing once there was something, and never
    /// from less than the best that is known.
    #[test]
    fn at_most_one_begins_and_nothing_known_is_lost(
        all in proptest::collection::vec(proptest::option::weighted(0.9, any_report()), 3),
        new_cloud in any::<bool>(),
    ) {
        let order = ["a", "b", "c"];
        let known: BTreeMap<String, Report> = order.iter().zip(all)
            .filter_map(|(name, report)| Some(((*name).to_owned(), report?)))
            .collect();
        let intent = Intent { new_cloud, ..three() };
        let best = known.values().filter_map(|report| match &report.volume {
            Some(Volume::Data(position)) => Some(position.seqno),
            _ => None,
        }).max();
        let recorded = known.values().filter_map(|report| report.last_view.as_ref()).map(|view| view.position.seqno).max();
        let mut beginners = 0;
        for member in known.keys() {
            match decide(member, &intent, &known) {
                Decision::Initialise => {
                    beginners += 1;
                    prop_assert!(new_cloud && best.is_none() && recorded.is_none() && known.len() == 3);
                }
                Decision::Bootstrap { position: None } => {
                    beginners += 1;
                    prop_assert!(best.is_none() && recorded.is_none());
                }
                Decision::Bootstrap { position: Some(position) } => {
                    beginners += 1;
                    prop_assert_eq!(Some(position.seqno), best);
                    prop_assert!(recorded.is_none_or(|recorded| position.seqno >= recorded));
                }
                Decision::Join => prop_assert!(false, "nobody serves"),
                Decision::Wait(_) | Decision::Refuse(_) => {}
            }
        }
        prop_assert!(beginners <= 1);
    }
}
