//! Which pods of the nodes' own workloads are made anew now.
//!
//! Kubernetes leaves the pods of daemon sets alone when their template changes (`OnDelete`): a node's switch, its
//! virtual machines and its agents hang on each other, and only we know how.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A pod that starts holds the other workloads of its node up for so long; after that it is broken, and perhaps by what
/// the others still have to take over.
const STARTS: Duration = Duration::from_mins(10);

/// A workload with a pod on each of its nodes. Nodes that are not ready are left out, and so are their pods: what is
/// there neither counts nor can be replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeWorkload {
    /// Its name.
    pub name: String,
    /// Does another of the nodes' workloads need it? Then nothing else goes on where it does.
    pub carries: bool,
    /// The hash of the template that new pods of it get.
    pub wanted: String,
    /// Nodes that should have a pod and have none.
    pub missing: BTreeSet<String>,
    /// Its pods.
    pub pods: Vec<NodePod>,
}

/// A pod of a node's own workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodePod {
    /// Its name.
    pub name: String,
    /// Its unique id.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// The hash of the template that it was made from.
    pub hash: Option<String>,
    /// Is it ready?
    pub ready: bool,
    /// Is it being deleted?
    pub leaving: bool,
    /// How old it is.
    pub age: Duration,
}

impl NodeWorkload {
    fn is_new(&self, pod: &NodePod) -> bool {
        pod.hash.as_ref() == Some(&self.wanted)
    }

    /// Is a pod on its way on some node? Also one that fails: then nothing of this workload goes on elsewhere.
    fn is_rolling(&self) -> bool {
        let on_its_way = |pod: &NodePod| pod.leaving || self.is_new(pod) && !pod.ready;
        !self.missing.is_empty() || self.pods.iter().any(on_its_way)
    }

    /// Is a pod on its way on that node?
    fn keeps_busy(&self, node: &str) -> bool {
        let starts = |pod: &NodePod| self.is_new(pod) && !pod.ready && pod.age < STARTS;
        let here = |pod: &&NodePod| pod.node == node;
        self.missing.contains(node) || self.pods.iter().filter(here).any(|pod| pod.leaving || starts(pod))
    }
}

/// The pods to delete now, so that their successors come: of each workload one at a time, and none while another of its
/// pods is on its way; on each node one at a time, but those that carry no other, which may go together. Pods that are not
/// ready go first: they serve nobody.
pub fn roll(workloads: &[NodeWorkload]) -> Vec<&NodePod> {
    // Node → does what was chosen there carry others?
    let mut taken: BTreeMap<&str, bool> = BTreeMap::new();
    let mut chosen = Vec::new();
    for workload in workloads.iter().filter(|workload| !workload.is_rolling()) {
        let is_free = |node: &str| {
            let in_the_way = |carries: bool| carries || workload.carries;
            let busy = workloads.iter().any(|other| in_the_way(other.carries) && other.keeps_busy(node));
            !busy && !taken.get(node).is_some_and(|carries| in_the_way(*carries))
        };
        let outdated = workload.pods.iter().filter(|pod| !workload.is_new(pod) && is_free(&pod.node));
        if let Some(next) = outdated.min_by_key(|pod| (pod.ready, &pod.node)) {
            *taken.entry(&next.node).or_default() |= workload.carries;
            chosen.push(next);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod(workload: &str, node: u8, hash: &str) -> NodePod {
        NodePod {
            name: format!("{workload}-{node}-{hash}"),
            uid: format!("{workload}-{node}-{hash}"),
            node: format!("node{node}"),
            hash: Some(hash.into()),
            ready: true,
            leaving: false,
            age: Duration::from_hours(1),
        }
    }

    /// A workload that wants `new`, with pods of the given hashes on node1, node2, ….
    fn workload(name: &str, hashes: &[&str]) -> NodeWorkload {
        NodeWorkload {
            name: name.into(),
            carries: name != "agent",
            wanted: "new".into(),
            missing: BTreeSet::new(),
            pods: (1..).zip(hashes).map(|(node, hash)| pod(name, node, hash)).collect(),
        }
    }

    fn names(workloads: &[NodeWorkload]) -> Vec<String> {
        roll(workloads).into_iter().map(|pod| pod.name.clone()).collect()
    }

    #[test]
    fn what_is_new_stays() {
        assert_eq!(names(&[workload("switch", &["new", "new"])]), [""; 0]);
    }

    #[test]
    fn one_pod_of_a_workload_and_one_of_a_node_at_a_time() {
        let both = [workload("guests", &["old", "old", "old"]), workload("switch", &["old", "old"])];
        assert_eq!(names(&both), ["guests-1-old", "switch-2-old"]);
    }

    #[test]
    fn none_goes_while_another_is_on_its_way() {
        let mut leaving = workload("switch", &["old", "old"]);
        leaving.pods[0].leaving = true;
        assert_eq!(names(&[leaving]), [""; 0]);
        let mut starts = workload("switch", &["new", "old"]);
        starts.pods[0].ready = false;
        assert_eq!(names(&[starts.clone()]), [""; 0]);
        starts.pods[0].ready = true;
        assert_eq!(names(&[starts]), ["switch-2-old"]);
        let mut missing = workload("switch", &["new", "old"]);
        missing.pods.remove(0);
        missing.missing.insert("node1".into());
        assert_eq!(names(&[missing]), [""; 0]);
    }

    #[test]
    fn a_new_pod_that_fails_stops_the_rest_until_something_newer_is_wanted() {
        let mut failed = workload("switch", &["old", "new", "old"]);
        failed.pods[1].ready = false;
        assert_eq!(names(&[failed.clone()]), [""; 0]);
        failed.wanted = "newer".into();
        assert_eq!(names(&[failed]), ["switch-2-new"], "the broken one goes first");
    }

    #[test]
    fn a_workload_of_the_same_node_waits_but_not_for_ever() {
        let mut switch = workload("switch", &["new"]);
        switch.pods[0].ready = false;
        switch.pods[0].age = Duration::from_secs(5);
        let guests = workload("guests", &["old"]);
        assert_eq!(names(&[switch.clone(), guests.clone()]), [""; 0]);
        switch.pods[0].age = STARTS;
        assert_eq!(names(&[switch, guests]), ["guests-1-old"]);
    }

    #[test]
    fn those_that_carry_no_other_go_together() {
        let agent = || workload("agent", &["old"]);
        assert_eq!(names(&[agent(), agent()]).len(), 2);
        assert_eq!(names(&[agent(), agent(), workload("switch", &["old"])]), ["agent-1-old", "agent-1-old"]);
        assert_eq!(names(&[workload("switch", &["old"]), agent()]), ["switch-1-old"]);
        let mut starts = workload("agent", &["new"]);
        starts.pods[0].ready = false;
        starts.pods[0].age = Duration::ZERO;
        assert_eq!(names(&[starts.clone(), agent()]), ["agent-1-old"]);
        assert_eq!(names(&[starts, workload("switch", &["old"])]), [""; 0]);
    }

    #[test]
    fn pods_of_before_there_was_a_hash_are_replaced() {
        let mut old = workload("switch", &["x"]);
        old.pods[0].hash = None;
        assert_eq!(names(&[old]).len(), 1);
    }

    prop_compose! {
        fn any_pod(node: u8)(
            hash in prop::sample::select(vec!["old", "new"]), ready: bool, leaving: bool, young: bool,
        ) -> NodePod {
            let age = if young { Duration::ZERO } else { STARTS };
            NodePod { ready, leaving, age, ..pod("any", node, hash) }
        }
    }

    fn any_workload() -> impl Strategy<Value = NodeWorkload> {
        (any_pod(1), any_pod(2), any_pod(3), 0..4_usize).prop_map(|(one, two, three, without)| {
            let mut workload = NodeWorkload { pods: vec![one, two, three], ..workload("any", &[]) };
            if without < 3 {
                workload.missing.insert(workload.pods.remove(without).node);
            }
            workload
        })
    }

    proptest! {
        #[test]
        fn whatever_is_seen_no_two_go_at_once(workloads in prop::collection::vec(any_workload(), 1..4)) {
            let chosen = roll(&workloads);
            let nodes: BTreeSet<&String> = chosen.iter().map(|pod| &pod.node).collect();
            prop_assert_eq!(nodes.len(), chosen.len(), "two of one node");
            for workload in &workloads {
                let of_it = chosen.iter().filter(|pod| workload.pods.iter().any(|own| std::ptr::eq(own, **pod)));
                let gone = workload.missing.len() + workload.pods.iter().filter(|pod| pod.leaving).count();
                prop_assert!(of_it.count() + gone.min(1) <= 1, "two of one workload");
            }
            for pod in chosen {
                prop_assert!(pod.hash.as_deref() == Some("old") && !pod.leaving);
            }
        }

        /// Pods that are deleted come again, new and ready: at the end every one is new.
        #[test]
        fn it_comes_to_an_end(mut workloads in prop::collection::vec(any_workload(), 1..4)) {
            for _ in 0..20 {
                let chosen: Vec<NodePod> = roll(&workloads).into_iter().cloned().collect();
                for (number, workload) in (0..).zip(workloads.iter_mut()) {
                    for node in std::mem::take(&mut workload.missing) {
                        workload.pods.push(NodePod { node, ..pod("any", 0, "new") });
                    }
                    for own in &mut workload.pods {
                        let same = |pod: &NodePod| pod == own && chosen.contains(own);
                        if own.leaving || chosen.iter().any(same) {
                            *own = NodePod { node: own.node.clone(), ..pod("any", number, "new") };
                        } else if own.hash.as_deref() == Some("new") {
                            own.ready = true;
                        }
                    }
                }
            }
            for workload in &workloads {
                prop_assert!(workload.pods.iter().all(|pod| workload.is_new(pod)));
            }
        }
    }
}
