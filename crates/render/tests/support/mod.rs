//! A small cloud to render in tests.

use std::collections::BTreeMap;

use oaas_api::OpenStackSpec;
use oaas_catalog::Catalog;
use oaas_plan::{
    Blueprint, CloudId, ComponentState, ContentState, Credentials, DesiredState, Gates, Image, Images,
    Inputs, JobState, Node, Observed, PodsMade, Sensitive, UserSecrets,
};
use oaas_render::{ANNOTATION_HASH, ANNOTATION_IMAGE, ANNOTATION_PODS, Rendered};

/// What a test may change before it plans.
#[derive(Clone)]
pub struct Cloud {
    pub id: CloudId,
    pub spec: OpenStackSpec,
    pub catalog: Catalog,
    pub images: Images,
    pub credentials: Credentials,
    pub user_secrets: UserSecrets,
    pub nodes: Vec<Node>,
    pub observed: Observed,
}

impl Cloud {
    /// The smallest resource on one node.
    pub fn small() -> Self {
        let catalog = Catalog::built_in().expect("the catalog is consistent");
        let label = |name: &str| (name.to_owned(), "true".to_owned());
        let node = Node {
            name: "node1".into(),
            labels: BTreeMap::from([label("controller"), label("compute"), label("network")]),
            address: Some("10.87.0.11".parse().expect("an address")),
            interfaces: Some(r#"{"tunnel":"eth1","physicalNetworks":{"public":"eth2"}}"#.into()),
            allocatable_memory_mib: 16384,
            ready: true,
        };
        let mut images = Images::new();
        let of_releases = catalog.releases().values().map(|release| release.image.clone());
        let of_daemons =
            ["mariadb", "rabbitmq", "memcached", "haproxy", "ovn", "libvirt", "oaas"].map(str::to_owned);
        for name in of_releases.chain(of_daemons) {
            let image =
                Image { reference: format!("oaas.local/{name}@sha256:0000"), closure: format!("{name}-1") };
            images.insert(name, image);
        }
        let mut cloud = Self {
            id: CloudId { name: "demo".into(), namespace: "demo".into(), uid: "uid-1".into() },
            spec: OpenStackSpec { release: "2026.1".into(), ..OpenStackSpec::default() },
            catalog,
            images,
            credentials: Credentials::new(),
            user_secrets: UserSecrets::new(),
            nodes: vec![node],
            observed: Observed::default(),
        };
        cloud.fill_credentials();
        cloud
    }

    /// The same of a release.
    #[allow(dead_code)]
    pub fn of_release(release: &str) -> Self {
        let mut cloud = Self::small();
        cloud.spec.release = release.into();
        cloud.fill_credentials();
        cloud
    }

    /// Give every secret a value that tells what it is.
    pub fn fill_credentials(&mut self) {
        let specs = self.with_inputs(oaas_plan::credentials);
        for spec in specs {
            let secret = spec.kind.keys().iter().filter(|key| **key != "username");
            let values =
                secret.map(|key| ((*key).to_owned(), Sensitive::new(format!("SECRET-{}-{key}", spec.name))));
            let values = values.collect();
            self.credentials.insert(spec.name, values);
        }
    }

    pub fn with_inputs<T>(&self, use_inputs: impl FnOnce(&Inputs<'_>) -> T) -> T {
        use_inputs(&Inputs {
            cloud: &self.id,
            spec: &self.spec,
            catalog: &self.catalog,
            images: &self.images,
            credentials: &self.credentials,
            user_secrets: Some(&self.user_secrets),
            nodes: &self.nodes,
            observed: &self.observed,
        })
    }

    pub fn blueprint(&self) -> Blueprint {
        self.with_inputs(oaas_plan::blueprint).expect("plans")
    }

    /// With a second node, in a group of its own whose computes have these options of Nova: section, option, value. Gives
    /// what was planned with the node and without the options.
    #[allow(dead_code, reason = "each test is a crate of its own")]
    pub fn with_fast_node(&mut self, options: &serde_json::Value) -> Blueprint {
        let mut other = self.nodes[0].clone();
        other.name = "node2".into();
        other.labels.insert("disk".into(), "fast".into());
        self.nodes.push(other);
        let before = self.blueprint();
        let group =
            serde_json::json!([{"name": "fast", "selector": {"disk": "fast"}, "config": {"nova": options}}]);
        self.spec.nodes = serde_json::from_value(group).expect("parses");
        assert_eq!(self.with_inputs(oaas_plan::validate), []);
        before
    }

    /// What is desired.
    #[allow(dead_code)]
    pub fn state(&self) -> DesiredState {
        let state =
            |inputs: &Inputs<'_>| oaas_plan::desired_state(inputs, &oaas_render::templates).expect("plans");
        self.with_inputs(state)
    }

    /// What is applied now.
    pub fn rendered(&self) -> (Blueprint, Gates, Rendered) {
        let mut blueprint = self.blueprint();
        oaas_render::keep_images(&mut blueprint, &self.observed);
        let gates = oaas_plan::gates(&blueprint, &self.observed);
        let rendered = oaas_render::render(&blueprint, &gates);
        (blueprint, gates, rendered)
    }

    /// One step of a cluster that does what it is told: everything whose gate is open becomes ready.
    /// Says whether anything changed.
    #[allow(dead_code)]
    pub fn step(&mut self) -> bool {
        let (blueprint, gates, rendered) = self.rendered();
        let before = self.observed.clone();
        for (name, gate) in &gates.components {
            if gate.is_open() {
                let plan = &blueprint.components[name];
                let annotations = annotations(&rendered, name);
                let state = ComponentState {
                    desired: plan.replicas,
                    ready: plan.replicas,
                    updated: plan.replicas,
                    hash: annotations.get(ANNOTATION_HASH).cloned(),
                    pods: Some(PodsMade {
                        hash: annotations[ANNOTATION_PODS].clone(),
                        image: annotations[ANNOTATION_IMAGE].clone(),
                    }),
                    trouble: None,
                };
                self.observed.components.insert(name.clone(), state);
            }
        }
        for (name, gate) in &gates.jobs {
            if gate.is_open() {
                self.observed.jobs.insert(blueprint.jobs[name].object_name(), JobState::Succeeded);
            }
        }
        if gates.registration.is_some_and(|gate| gate.is_open()) {
            for registration in &blueprint.registrations {
                self.observed.registered.insert(registration.service.clone(), registration.hash.clone());
            }
        }
        if gates.content.is_some_and(|gate| gate.is_open()) {
            self.observed.content = ContentState::Settled;
        }
        self.observed != before
    }
}

/// The annotations of a workload that is applied.
fn annotations(rendered: &Rendered, name: &str) -> BTreeMap<String, String> {
    let objects = &rendered.apply;
    let deployments = objects.deployments.iter().map(|object| &object.metadata);
    let stateful_sets = objects.stateful_sets.iter().map(|object| &object.metadata);
    let daemon_sets = objects.daemon_sets.iter().map(|object| &object.metadata);
    let mut all = deployments.chain(stateful_sets).chain(daemon_sets);
    let found = all.find(|metadata| metadata.name.as_deref() == Some(name));
    found.and_then(|metadata| metadata.annotations.clone()).expect("applied, with annotations")
}

/// Components whose pods are made from something else.
#[allow(dead_code, reason = "each test is a crate of its own")]
pub fn changed<'a>(before: &Blueprint, after: &'a Blueprint) -> Vec<&'a String> {
    let other = after.components.iter().filter(|(name, plan)| plan.hash != before.components[*name].hash);
    other.map(|(name, _)| name).collect()
}
