//! What was planned from the same inputs before. Planning is pure, and takes a good part of what a reconciliation takes; most of
//! these see only how far something is, which no plan depends on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use oaas_plan::{Blueprint, ContentState, DesiredState, Inputs, Observed, Problem};
use sha2::{Digest, Sha256};

/// So many are kept: a cloud that is judged has two, what it asks for and what was accepted.
const KEPT: usize = 8;

/// What inputs come to.
#[derive(Debug, Clone)]
pub struct Thought {
    /// The blueprint.
    pub blueprint: Blueprint,
    /// What is desired.
    pub state: DesiredState,
    /// What is said about the resource, though it can be done.
    pub warnings: Vec<Problem>,
}

/// Plans by the digest of what they were made from. Catalog and images are the same for all: they are its owner's.
#[derive(Debug, Default)]
pub struct Memo(Mutex<Vec<(Key, Arc<Thought>)>>);

type Key = [u8; 32];

impl Memo {
    /// What was thought of the same inputs before, else what `think` says of them.
    pub fn recall<E>(
        &self,
        inputs: &Inputs<'_>,
        think: impl FnOnce() -> Result<Thought, E>,
    ) -> Result<Thought, E> {
        let key = key(inputs);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, thought)) = kept.iter().find(|(of, _)| *of == key) {
            return Ok(Thought::clone(thought));
        }
        let thought = think()?;
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((key, Arc::new(thought.clone())));
        Ok(thought)
    }
}

/// What is observed, without how far anything is: plans depend on the rest alone, since this is all that they are given.
pub fn without_progress(observed: &Observed) -> Observed {
    Observed {
        components: BTreeMap::new(),
        jobs: BTreeMap::new(),
        scheduled: BTreeMap::new(),
        registered: BTreeMap::new(),
        unregistered: Vec::new(),
        locked_out: None,
        content: ContentState::default(),
        ..observed.clone()
    }
}

fn key(inputs: &Inputs<'_>) -> Key {
    let mut hash = Sha256::new();
    let mut add = |text: &[u8]| {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    };
    // A resource that was read as one can be written as one.
    add(&serde_json::to_vec(inputs.spec).unwrap_or_default());
    for (secret, values) in inputs.credentials {
        add(secret.as_bytes());
        add(&values.len().to_be_bytes());
        for (name, value) in values {
            add(name.as_bytes());
            add(value.expose().as_bytes());
        }
    }
    for (place, value) in inputs.user_secrets.into_iter().flatten() {
        add(format!("{place:?}").as_bytes());
        add(value.expose().as_bytes());
    }
    let asked = inputs.user_secrets.is_some();
    add(format!("{asked} {:?} {:?} {:?}", inputs.cloud, inputs.nodes, inputs.observed).as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use oaas_api::OpenStackSpec;
    use oaas_catalog::Catalog;
    use oaas_plan::{CloudId, Credentials, Images, Sensitive};

    use super::*;

    #[test]
    fn the_same_inputs_are_thought_of_once_and_others_anew() {
        let catalog = Catalog::built_in().unwrap();
        let names = catalog.releases().values().map(|release| release.image.clone());
        let names = names.chain(
            ["mariadb", "rabbitmq", "memcached", "haproxy", "ovn", "libvirt", "oaas"].map(String::from),
        );
        let images: Images = names.map(|name| (name.clone(), oaas_plan::Image::opaque(name))).collect();
        let cloud = CloudId { name: "demo".into(), namespace: "demo".into(), uid: "u".into() };
        let of = |release: &str| OpenStackSpec { release: release.into(), ..OpenStackSpec::default() };
        let (spec, other) = (of("2026.1"), of("2025.1"));
        let secret = |value: &str| -> Credentials {
            [("a".to_owned(), [("password".to_owned(), Sensitive::new(value.to_owned()))].into())].into()
        };
        let (one, two) = (secret("1"), secret("2"));
        let (before, lived) = (Observed::default(), Observed { database_lived: true, ..Observed::default() });
        let inputs = Inputs {
            cloud: &cloud,
            spec: &spec,
            catalog: &catalog,
            images: &images,
            credentials: &one,
            user_secrets: None,
            nodes: &[],
            observed: &before,
        };
        let (memo, thoughts) = (Memo::default(), Cell::new(0));
        let ask = |inputs: &Inputs<'_>| {
            let think = || -> Result<Thought, oaas_plan::PlanError> {
                thoughts.set(thoughts.get() + 1);
                let blueprint = oaas_plan::blueprint(inputs)?;
                Ok(Thought { blueprint, state: DesiredState::default(), warnings: Vec::new() })
            };
            let thought = memo.recall(inputs, think).unwrap();
            assert_eq!(thought.blueprint.release, inputs.spec.release);
            thoughts.get()
        };
        assert_eq!([ask(&inputs), ask(&inputs)], [1, 1]);
        let changed = [
            Inputs { spec: &other, ..inputs },
            Inputs { credentials: &two, ..inputs },
            Inputs { observed: &lived, ..inputs },
        ];
        assert_eq!(changed.each_ref().map(ask), [2, 3, 4]);
        assert_eq!(changed.each_ref().map(ask), [4, 4, 4]);
        assert_eq!(ask(&inputs), 4);
    }
}
