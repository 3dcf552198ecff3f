//! Building with the real cache: digests repeat, only what is concerned is made again, corruption is noticed.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use common::{noise, options, thing};
use oaas_feedback::{Event, Outcome, Sink, Task};
use oaas_image::{Recipes, build, debian::lock::Lock};

#[tokio::test]
async fn two_caches_give_the_same_digests() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let a = thing(&options(one.path(), b"data", b"agent")).await;
    let b = thing(&options(two.path(), b"data", b"agent")).await;
    assert_eq!(a, b);
}

#[tokio::test]
async fn a_new_agent_makes_one_thin_layer_and_keeps_the_closure() {
    let dir = tempfile::tempdir().unwrap();
    let old = thing(&options(dir.path(), b"data", b"old")).await.images.remove("thing").unwrap();
    let data = dir
        .path()
        .join("cache/images/blobs/sha256")
        .join(old.layers[0].digest.strip_prefix("sha256:").unwrap());
    let before = data.metadata().unwrap().modified().unwrap();
    let new = thing(&options(dir.path(), b"data", b"new")).await.images.remove("thing").unwrap();
    assert_ne!(old.reference, new.reference);
    assert_eq!(old.closure, new.closure);
    assert_eq!(old.layers[0], new.layers[0]);
    assert_ne!(old.layers[1], new.layers[1]);
    assert_eq!(data.metadata().unwrap().modified().unwrap(), before);
}

/// Keeps failures.
#[derive(Default)]
struct Failures(Mutex<Vec<String>>);

impl Sink for Failures {
    fn event(&self, event: Event) {
        if let Event::Ended { outcome: Outcome::Failed(why), .. } = event {
            self.0.lock().unwrap().push(why);
        }
    }
}

#[tokio::test]
async fn a_corrupt_blob_is_reported_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), &noise(10_000), b"agent");
    let built = thing(&options).await;
    let digest = built.images["thing"].layers[0].digest.strip_prefix("sha256:").unwrap().to_owned();
    let blob = options.cache.blob(&digest);
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&blob, &bytes).unwrap();
    let failures = Arc::new(Failures::default());
    let recipes = Recipes::parse(
        [
            ("debian.toml".to_owned(), "suite='t'\narchitecture='amd64'\nlock='l'\nexclude=[]\ninclude=[]\nclean=[]\naccounts=[]\n"),
            ("thing.toml".to_owned(), "name='thing'\nabout='a thing'\n[[layers]]\nname='data'\nkind='artefact'\nartefact='data'\npath='/usr/share/data'\nmode=0o644\n"),
        ]
        .into_iter(),
    )
    .unwrap();
    build::build_with(&options, recipes, Lock::default(), &[], &Task::root(failures.clone(), "images"))
        .await
        .unwrap();
    let said = failures.0.lock().unwrap().clone();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("corrupt") && said[0].contains(&digest), "{said:?}");
    assert_eq!(oaas_image::archive::sha256(&blob).unwrap(), digest);
}

#[tokio::test]
async fn a_second_build_does_nothing_quickly() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), &noise(1_000_000), b"agent");
    let first = thing(&options).await;
    let start = Instant::now();
    assert_eq!(thing(&options).await, first);
    // Five times the second that a build of all real images may take when nothing changed.
    assert!(start.elapsed().as_secs() < 5);
    assert_eq!(oaas_image::list(&options.cache).unwrap(), first);
}

#[tokio::test]
async fn an_artefact_that_is_not_there_names_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), b"data", b"agent");
    options.artefacts.insert("data".into(), dir.path().join("nothing"));
    let recipes = Recipes::embedded().unwrap();
    options.artefacts.insert("agent".into(), dir.path().join("nothing"));
    let lock = Lock::default();
    let error =
        build::build_with(&options, recipes.clone(), lock.clone(), &["libvirt".into()], &Task::silent())
            .await
            .unwrap_err();
    assert!(error.to_string().contains("guest"), "{error}");
    options.artefacts.insert("guest".into(), dir.path().join("nothing"));
    let error =
        build::build_with(&options, recipes, lock, &["libvirt".into()], &Task::silent()).await.unwrap_err();
    assert!(error.to_string().contains("guest") && error.to_string().contains("nothing"), "{error}");
}
