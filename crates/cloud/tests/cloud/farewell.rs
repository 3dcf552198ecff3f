//! The servers of a cloud that goes.

use oaas_cloud::farewell::{Left, delete_servers};

use crate::keeping::{Local, demo_items, settle};

#[tokio::test]
async fn servers_go_and_then_none_is_left() {
    let local = Local::new();
    settle(&local, &demo_items()).await;
    let left = delete_servers(&local).await.unwrap();
    assert_eq!(left.to_string(), "servers being deleted: 1");
    let left = delete_servers(&local).await.unwrap();
    assert!(left.none(), "{left:?}");
}

/// Nova would delete it in its database alone.
#[tokio::test]
async fn a_server_whose_compute_is_silent_waits_for_it() {
    let local = Local::new();
    settle(&local, &demo_items()).await;
    local.cloud(|cloud| cloud.compute_ready = false);
    let left = delete_servers(&local).await.unwrap();
    assert_eq!(left, Left { going: 0, waiting: 1, silent: ["node1".to_owned()].into() });
    assert_eq!(left.to_string(), "servers that wait until nova-compute reports from node1: 1");
    local.cloud(|cloud| assert_eq!(cloud.all("servers").len(), 1));
    local.cloud(|cloud| cloud.compute_ready = true);
    assert_eq!(delete_servers(&local).await.unwrap().going, 1);
}

/// No host has it: Nova deletes it in its database, and that is all there is of it.
#[tokio::test]
async fn a_server_without_a_host_goes_whoever_is_silent() {
    let local = Local::new();
    settle(&local, &demo_items()).await;
    local.cloud(|cloud| {
        cloud.compute_ready = false;
        for server in cloud.objects.get_mut("servers").into_iter().flatten() {
            server["OS-EXT-SRV-ATTR:host"] = serde_json::Value::Null;
        }
    });
    assert_eq!(delete_servers(&local).await.unwrap().going, 1);
    assert!(delete_servers(&local).await.unwrap().none());
}
