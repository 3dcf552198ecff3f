//! A small cache with real images, made by the real builder: no Debian root, just artefacts.

use std::collections::BTreeMap;
use std::path::Path;

use oaas_feedback::Task;
use oaas_image::debian::lock::Lock;
use oaas_image::{BuildOptions, BuiltImages, Cache, Recipes, build};

const DEBIAN: &str =
    "suite='t'\narchitecture='amd64'\nlock='l'\nexclude=[]\ninclude=[]\nclean=[]\naccounts=[]\n";

const IMAGE: &str = "name='thing'\nabout='a thing'\n\
    [[layers]]\nname='data'\nkind='artefact'\nartefact='data'\npath='/usr/share/data'\nmode=0o644\n\
    [[layers]]\nname='agent'\nkind='artefact'\nartefact='agent'\npath='/usr/bin/oaas'\n";

/// Options whose artefacts are files in `dir` with this content.
pub fn options(dir: &Path, data: &[u8], agent: &[u8]) -> BuildOptions {
    let file = |name: &str, content: &[u8]| {
        let path = dir.join(name);
        if std::fs::read(&path).ok().as_deref() != Some(content) {
            std::fs::write(&path, content).unwrap();
        }
        (name.to_owned(), path)
    };
    BuildOptions {
        cache: Cache::at(dir.join("cache")),
        artefacts: BTreeMap::from([file("data", data), file("agent", agent)]),
    }
}

/// Build the image `thing`.
pub async fn thing(options: &BuildOptions) -> BuiltImages {
    let recipes =
        Recipes::parse([("debian.toml".to_owned(), DEBIAN), ("thing.toml".to_owned(), IMAGE)].into_iter())
            .unwrap();
    build::build_with(options, recipes, Lock::default(), &[], &Task::silent()).await.unwrap()
}

/// Bytes that do not compress, the same each time.
#[allow(dead_code)]
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}
