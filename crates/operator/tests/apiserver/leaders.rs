//! Two operators: one writes at a time.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use oaas_feedback::Task;
use oaas_operator::{RunError, install};

use crate::cluster::Cluster;
use crate::definitions::options;
use crate::engine::Operator;
use crate::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_operator_leads() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    install(&client, &options(), &Task::silent()).await.unwrap();
    let limit = Duration::from_secs(60);
    let first = Operator::start(cluster.operator(), "first", limit);
    eventually("the first leader", 30, || async { first.leads().then_some(()) }).await;
    let second = Operator::start(cluster.operator(), "second", limit);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(first.leads() && !second.leads());

    // A leader that stops hands over at once.
    let start = Instant::now();
    first.stop().await;
    eventually("the second takes over", 30, || async { second.leads().then_some(()) }).await;
    println!("handed over in {} ms", start.elapsed().as_millis());
    assert!(start.elapsed() < Duration::from_secs(10));

    // A leader that is cut off is waited for, for the duration of its lease.
    let third = Operator::start(cluster.operator(), "third", limit);
    let start = Instant::now();
    second.kill();
    eventually("the third takes over", 60, || async { third.leads().then_some(()) }).await;
    println!("taken over in {} ms", start.elapsed().as_millis());
    assert!(start.elapsed() > Duration::from_secs(10), "not before the lease has ended");

    // A leader whose lease is taken stops.
    let stolen = "{\"spec\":{\"holderIdentity\":\"thief\"}}";
    let (ok, output) = cluster.kubectl(&[
        "patch",
        "lease",
        "oaas-operator",
        "-n",
        "oaas-system",
        "--type=merge",
        "-p",
        stolen,
    ]);
    assert!(ok, "{output}");
    let decisions = third.brain.decisions.load(Ordering::SeqCst);
    let ended = tokio::time::timeout(Duration::from_secs(30), third.ended).await.unwrap().unwrap();
    assert!(matches!(ended, Err(RunError::LostLease)), "{ended:?}");
    assert_eq!(third.brain.decisions.load(Ordering::SeqCst), decisions);
}
