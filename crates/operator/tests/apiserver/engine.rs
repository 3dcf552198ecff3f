//! One cloud from its creation to its deletion, with the operator's own rights.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use kube::{Client, ResourceExt};
use oaas_api::{OpenStack, OpenStackComponent};
use oaas_feedback::Task;
use oaas_operator::apply::{Applier, Owner};
use oaas_operator::cache::Cache;
use oaas_operator::fence::Fence;
use oaas_operator::install;
use oaas_operator::metrics::Metrics;
use oaas_operator::{Options, run_with};
use oaas_render::Objects;
use serde_json::json;
use tokio::sync::oneshot;

use crate::brain::{Simple, object};
use crate::cluster::Cluster;
use crate::definitions::options as install_options;
use crate::eventually;

/// An operator on a thread of its own, with a runtime like the real one's.
pub struct Operator {
    pub brain: Arc<Simple>,
    pub metrics: Arc<Metrics>,
    pub ended: oneshot::Receiver<Result<(), oaas_operator::RunError>>,
    stop: oneshot::Sender<()>,
    kill: oneshot::Sender<()>,
}

impl Operator {
    pub fn start(
        client: impl Future<Output = Client> + Send + 'static,
        identity: &str,
        deletion_limit: Duration,
    ) -> Self {
        let (brain, metrics) = (Arc::new(Simple::default()), Arc::new(Metrics::default()));
        let (stop, stopped) = oneshot::channel::<()>();
        let (kill, killed) = oneshot::channel::<()>();
        let (tell, ended) = oneshot::channel();
        let options = Options {
            identity: identity.into(),
            listen: ([127, 0, 0, 1], 0).into(),
            deletion_limit,
            ..Options::default()
        };
        let (brain_there, metrics_there) = (Arc::clone(&brain), Arc::clone(&metrics));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                // The connections belong to this runtime, and end with it.
                let client = client.await;
                let stop = async { drop(stopped.await) };
                tokio::select! {
                    result = run_with(client, brain_there, options, metrics_there, stop) => drop(tell.send(result)),
                    _ = killed => {}
                }
            });
        });
        Self { brain, metrics, ended, stop, kill }
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(self) {
        let Self { stop, ended, kill, .. } = self;
        stop.send(()).unwrap();
        ended.await.unwrap().unwrap();
        drop(kill);
    }

    /// Cuts it off.
    pub fn kill(self) {
        self.kill.send(()).unwrap();
    }

    pub fn leads(&self) -> bool {
        self.metrics.leader.get() == 1
    }

    /// Waits until nothing has been written for a second.
    pub async fn quiet(&self) {
        let mut writes = self.metrics.total_writes();
        let mut since = Instant::now();
        let deadline = Instant::now() + Duration::from_secs(60);
        while since.elapsed() < Duration::from_secs(1) {
            assert!(Instant::now() < deadline, "it never stops writing:\n{}", self.metrics.text());
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.metrics.total_writes();
            if now != writes {
                (writes, since) = (now, Instant::now());
            }
        }
    }

    /// Waits until it has decided once more because of what is done.
    async fn decides_after(&self, done: impl FnOnce()) {
        let before = self.brain.decisions.load(Ordering::SeqCst);
        done();
        eventually("a decision", 30, || async {
            (self.brain.decisions.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
    }
}

pub fn cloud(spec: &str) -> String {
    format!(
        "apiVersion: oaas.dev/v1alpha1\nkind: OpenStack\nmetadata: {{ name: demo, namespace: default }}\n\
         spec: {{ release: \"2026.1\", {spec} }}\n"
    )
}

pub fn apply(cluster: &Cluster, yaml: &str) {
    let (ok, output) = cluster.kubectl_file(&["apply"], yaml);
    assert!(ok, "{output}");
}

pub fn run(cluster: &Cluster, line: &[&str]) {
    let (ok, output) = cluster.kubectl(line);
    assert!(ok, "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_cloud() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    install(&client, &install_options(), &Task::silent()).await.unwrap();
    apply(&cluster, "apiVersion: v1\nkind: Namespace\nmetadata: { name: other }\n");
    run(&cluster, &["create", "configmap", "settings", "-n", "other", "--from-literal=a=b"]);
    let operator = Operator::start(cluster.operator(), "one", Duration::from_secs(6));
    apply(&cluster, &cloud(""));

    becomes_ready(&client).await;
    operator.quiet().await;
    nothing_changed_nothing_written(&cluster, &operator).await;
    replicas_belong_to_whoever_scales(&cluster, &client, &operator).await;
    drift_is_put_back_and_credentials_are_not(&cluster, &client, &operator).await;
    what_is_not_desired_goes(&cluster, &client, &operator).await;
    what_cannot_be_applied_stops_only_who_uses_it(&cluster, &client, &operator).await;
    a_restart_writes_nothing(&cluster, operator).await;
}

async fn becomes_ready(client: &Client) {
    let clouds: Api<OpenStack> = Api::namespaced(client.clone(), "default");
    let cloud = eventually("phase Ready", 60, || async {
        let cloud = clouds.get("demo").await.unwrap();
        let status = cloud.status.clone().unwrap_or_default();
        (status.ready.as_deref() == Some("1/1")).then_some(cloud)
    })
    .await;
    assert_eq!(cloud.finalizers(), ["oaas.dev/cloud"]);
    let status = cloud.status.unwrap();
    assert_eq!(status.observed_generation, cloud.metadata.generation);
    assert_eq!(status.conditions[0].type_, "Ready");
    assert_ne!(status.conditions[0].last_transition_time.0, jiff::Timestamp::UNIX_EPOCH);

    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let web = deployments.get("web").await.unwrap();
    assert_eq!(web.spec.replicas, Some(2));
    let owns_replicas = |manager: &str| {
        web.managed_fields().iter().any(|fields| {
            fields.manager.as_deref() == Some(manager)
                && serde_json::to_string(&fields.fields_v1).unwrap().contains("f:replicas")
        })
    };
    assert!(owns_replicas("oaas-scale") && !owns_replicas("oaas"));
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    assert_eq!(maps.get("demo-ledger").await.unwrap().data.unwrap()["seen"], "2026.1");
    let home: Api<ConfigMap> = Api::namespaced(client.clone(), "oaas-system");
    assert!(home.get("oaas-clouds").await.unwrap().data.unwrap().contains_key("default.demo"));
    let components: Api<OpenStackComponent> = Api::namespaced(client.clone(), "default");
    eventually("the component's status", 20, || async {
        components.get("db").await.unwrap().status.filter(|status| status.selector.is_some())
    })
    .await;
}

async fn nothing_changed_nothing_written(cluster: &Cluster, operator: &Operator) {
    let before = operator.metrics.total_writes();
    for round in 0..3 {
        let note = format!("note={round}");
        let annotate = || run(cluster, &["annotate", "oscloud", "demo", "--overwrite", &note]);
        operator.decides_after(annotate).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(operator.metrics.total_writes(), before, "{}", operator.metrics.text());
    assert_eq!(operator.brain.acts.load(Ordering::SeqCst), 1, "the action was done once");
}

async fn replicas_belong_to_whoever_scales(cluster: &Cluster, client: &Client, operator: &Operator) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let web = || async { deployments.get("web").await.unwrap().spec.replicas };
    run(cluster, &["scale", "deployment/web", "--replicas=5"]);
    operator.quiet().await;
    apply(cluster, &cloud("services: { web: { memory: 1Gi } }"));
    operator.quiet().await;
    assert_eq!(web().await, Some(5), "the count is the one that somebody set");
    apply(cluster, &cloud("services: { web: { replicas: 4 } }"));
    eventually("the count of the resource", 20, || async { (web().await == Some(4)).then_some(()) }).await;
    run(cluster, &["scale", "deployment/web", "--replicas=7"]);
    eventually("the count is put back", 20, || async { (web().await == Some(4)).then_some(()) }).await;
    apply(cluster, &cloud(""));
    operator.quiet().await;
    assert_eq!(web().await, Some(4), "letting go of the count does not change it");

    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), "default");
    run(cluster, &["scale", "oscomp/db", "--replicas=3"]);
    eventually("the stateful set follows its component", 20, || async {
        (sets.get("db").await.unwrap().spec.replicas == Some(3)).then_some(())
    })
    .await;
}

async fn drift_is_put_back_and_credentials_are_not(cluster: &Cluster, client: &Client, operator: &Operator) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    run(
        cluster,
        &["patch", "configmap", "settings", "-p", "{\"data\":{\"release\":\"mine\",\"more\":\"kept\"}}"],
    );
    eventually("the drift is put back", 20, || async {
        (maps.get("settings").await.unwrap().data.unwrap()["release"] == "2026.1").then_some(())
    })
    .await;
    assert_eq!(
        maps.get("settings").await.unwrap().data.unwrap()["more"],
        "kept",
        "other managers' fields stay"
    );
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    run(cluster, &["patch", "secret", "db-g1", "-p", "{\"data\":{\"password\":\"bXkgb3du\"}}"]);
    operator.quiet().await;
    assert_eq!(secrets.get("db-g1").await.unwrap().data.unwrap()["password"].0, b"my own");
}

async fn what_is_not_desired_goes(cluster: &Cluster, client: &Client, operator: &Operator) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let labelled = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: somebodys, namespace: default, labels: { \
                    oaas.dev/cloud: demo, app.kubernetes.io/managed-by: oaas } }\n";
    apply(cluster, labelled);
    apply(cluster, &cloud("services: { extra: { enabled: false } }"));
    eventually("what is not desired goes", 20, || async {
        maps.get_opt("extra").await.unwrap().is_none().then_some(())
    })
    .await;
    operator.quiet().await;
    assert!(
        maps.get_opt("somebodys").await.unwrap().is_some(),
        "labels without the owner's id are not enough"
    );
    assert!(maps.get_opt("demo-ledger").await.unwrap().is_some());
}

async fn what_cannot_be_applied_stops_only_who_uses_it(
    cluster: &Cluster,
    client: &Client,
    operator: &Operator,
) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    apply(cluster, &cloud("services: { extra: { enabled: true } }"));
    eventually("extra is back", 20, || async { maps.get_opt("extra").await.unwrap() }).await;
    apply(
        cluster,
        &cloud("services: { broken: { enabled: true }, extra: { enabled: false }, web: { replicas: 3 } }"),
    );
    eventually("the others are applied and pruned", 20, || async {
        let web = deployments.get_opt("web").await.unwrap()?;
        let gone = maps.get_opt("extra").await.unwrap().is_none();
        (gone && web.spec.replicas == Some(3)).then_some(())
    })
    .await;
    assert!(
        deployments.get_opt("reader").await.unwrap().is_none(),
        "its pods would wait for what is not there"
    );
    apply(cluster, &cloud("services: { extra: { enabled: false } }"));
    operator.quiet().await;
}

async fn a_restart_writes_nothing(cluster: &Cluster, operator: Operator) {
    operator.stop().await;
    let again = Operator::start(cluster.operator(), "two", Duration::from_secs(6));
    eventually("the next leader", 30, || async { again.leads().then_some(()) }).await;
    eventually("its first decision", 30, || async {
        (again.brain.decisions.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    again.quiet().await;
    assert_eq!(again.metrics.total_writes(), 0, "{}", again.metrics.text());
    deletion(cluster, &again).await;
    again.stop().await;
}

async fn deletion(cluster: &Cluster, operator: &Operator) {
    let client = cluster.client().await;
    let clouds: Api<OpenStack> = Api::namespaced(client.clone(), "default");
    let gone = || async { clouds.get_opt("demo").await.unwrap().is_none().then_some(()) };
    run(cluster, &["delete", "oscloud", "demo", "--wait=false"]);
    eventually("the cloud goes", 30, gone).await;
    let (_, left) = cluster.kubectl(&[
        "get",
        "deploy,sts,ds,job,svc,netpol,role,oscomp",
        "-l",
        "oaas.dev/cloud=demo",
        "-o",
        "name",
    ]);
    assert!(left.trim().is_empty(), "{left}");
    let (_, stays) =
        cluster.kubectl(&["get", "secret,pvc,configmap", "-l", "oaas.dev/cloud=demo", "-o", "name"]);
    let stays: Vec<&str> = stays.split_whitespace().collect();
    assert_eq!(
        stays,
        ["secret/db-g1", "persistentvolumeclaim/images", "configmap/demo-ledger", "configmap/somebodys"]
    );
    let (_, events) = cluster.kubectl(&["get", "events", "-o", "jsonpath={.items[*].message}"]);
    assert!(
        events.contains("kubectl delete pvc,secret,configmap -n default -l oaas.dev/cloud=demo"),
        "{events}"
    );
    let (_, theirs) =
        cluster.kubectl(&["get", "configmap", "settings", "-n", "other", "-o", "jsonpath={.data.a}"]);
    assert_eq!(theirs, "b");
    let (_, known) =
        cluster.kubectl(&["get", "configmap", "oaas-clouds", "-n", "oaas-system", "-o", "jsonpath={.data}"]);
    assert!(!known.contains("demo"), "{known}");

    // The same name again takes up what stayed, and goes with all of it. Here nothing removes the volume's protection,
    // as a volume in use would not either: the limit lets go of the cloud.
    apply(cluster, &cloud("deletionPolicy: Delete"));
    becomes_ready(&client).await;
    operator.quiet().await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    let kept = secrets.get("db-g1").await.unwrap();
    assert_eq!(kept.data.as_ref().unwrap()["password"].0, b"my own");
    let uid = clouds.get("demo").await.unwrap().uid().unwrap();
    assert_eq!(kept.labels()["oaas.dev/owner-uid"], uid, "what stayed belongs to the new cloud");
    run(cluster, &["delete", "oscloud", "demo", "--wait=false"]);
    eventually("the credentials go", 30, || async {
        secrets.get_opt("db-g1").await.unwrap().is_none().then_some(())
    })
    .await;
    eventually("the cloud goes although its volume does not", 30, gone).await;
    let (_, events) = cluster.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]);
    assert!(events.contains("LeftBehind"), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_objects() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    install(&client, &install_options(), &Task::silent()).await.unwrap();
    let (concerns, _events) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = tokio::task::JoinSet::new();
    let cache = Arc::new(Cache::start(&client, &concerns, &mut tasks));
    cache.ready(Duration::from_secs(30)).await.unwrap();
    let metrics = Arc::new(Metrics::default());
    let applier = Applier::new(client.clone(), Arc::clone(&cache), Fence::open(), Arc::clone(&metrics));
    let owner = Owner { namespace: "default".into(), name: "many".into(), uid: "1".into() };
    let mut objects = Objects::default();
    for number in 0..25 {
        let cloud = object::<OpenStack>(json!({
            "metadata": { "name": "many" }, "spec": { "release": number.to_string() },
        }));
        let mut some = crate::brain::objects(&cloud, 1);
        rename(&mut some.config_maps[0].metadata, number);
        rename(&mut some.secrets[0].metadata, number);
        rename(&mut some.services[0].metadata, number);
        rename(&mut some.deployments[0].metadata, number);
        objects.config_maps.push(some.config_maps.remove(0));
        objects.secrets.append(&mut some.secrets);
        objects.services.append(&mut some.services);
        objects.deployments.append(&mut some.deployments);
    }
    assert_eq!(objects.len(), 100);
    let start = Instant::now();
    let applied = applier.apply(&owner, &objects, &Objects::default()).await;
    let first = start.elapsed();
    assert!(applied.failed.is_empty(), "{:?}", applied.failed);
    assert_eq!((applied.written.len(), applied.unchanged), (100, 0));
    // At once, before the watches have caught up: what was written is known.
    let start = Instant::now();
    let applied = applier.apply(&owner, &objects, &Objects::default()).await;
    let second = start.elapsed();
    assert_eq!((applied.written.len(), applied.unchanged), (0, 100), "{:?}", applied.written);
    println!("100 objects: {} ms, again: {} ms", first.as_millis(), second.as_millis());
    assert!(first < Duration::from_secs(10), "100 objects took {first:?}; the figure is 2 s");

    let closed = Applier::new(client.clone(), Arc::clone(&cache), Fence::closed(), Arc::clone(&metrics));
    let writes = metrics.total_writes();
    objects.config_maps[0].data = Some(BTreeMap::from([("a".into(), "b".into())]));
    let refused = closed.apply(&owner, &objects, &Objects::default()).await;
    assert_eq!((refused.failed.len(), refused.pruned.len()), (1, 0));
    assert_eq!(metrics.total_writes(), writes, "nothing is written without the lease");

    let held = Objects { deployments: std::mem::take(&mut objects.deployments), ..Objects::default() };
    let applied = applier.apply(&owner, &objects, &held).await;
    assert_eq!(applied.pruned, [], "what is held stays");
    let applied = applier.apply(&owner, &objects, &Objects::default()).await;
    assert_eq!(applied.pruned.len(), 25);
    tasks.shutdown().await;
}

fn rename(metadata: &mut kube::core::ObjectMeta, number: usize) {
    metadata.name = Some(format!("{}-{number}", metadata.name.take().unwrap()));
}
