//! From layers to images: configuration, manifest, software list and index, as the OCI image specification has them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use oaas_feedback::{Explain, Kind};
use oci_spec::OciSpecError;
use oci_spec::image::{
    ANNOTATION_CREATED, ANNOTATION_DESCRIPTION, ANNOTATION_REF_NAME, ConfigBuilder, Descriptor,
    DescriptorBuilder, Digest, HistoryBuilder, ImageConfigurationBuilder, ImageIndex, ImageIndexBuilder,
    ImageManifest, ImageManifestBuilder, MediaType, RootFsBuilder,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use snafu::{ResultExt as _, Snafu};

use crate::archive::sha256_of;
use crate::recipe::Recipe;
use crate::sbom::{self, Component};
use crate::store::{self, Cache, Layer};

/// The host part of every reference. No registry answers to it: nodes are told where the endpoint is.
pub const HOST: &str = "oaas.local";
/// Media type of the software list.
pub const SPDX: &str = "application/spdx+json";
/// What containerd's importer reads as the image's name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The images that a build gave, as the operator and the command line use them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuiltImages {
    /// By image name.
    pub images: BTreeMap<String, BuiltImage>,
}

/// One image in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuiltImage {
    /// `oaas.local/<name>@sha256:<digest>`.
    pub reference: String,
    /// Bytes of its blobs, compressed.
    pub size: u64,
    /// Bytes of its files, as tar.
    pub unpacked: u64,
    /// Digest over its layers without the agent's: what pods roll on.
    pub closure: String,
    /// Its layers, lowest first.
    pub layers: Vec<BuiltLayer>,
    /// How many packages the software list names.
    pub packages: usize,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuiltLayer {
    /// Its name in the recipe.
    pub name: String,
    /// `sha256:…` of the blob.
    pub digest: String,
    /// Bytes of the blob.
    pub size: u64,
}

/// An image could not be put together.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// It would not follow the specification.
    #[snafu(display("failed to describe the image {image}"))]
    Spec {
        /// The image.
        image: String,
        /// What is wrong.
        source: OciSpecError,
    },
    /// It could not be written.
    #[snafu(display("failed to store the image {image}"))]
    Store {
        /// The image.
        image: String,
        /// What went wrong.
        source: store::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Spec { .. } => Kind::Failed,
            Self::Store { source, .. } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Spec { .. } => None,
            Self::Store { source, .. } => source.hint(),
        }
    }
}

/// Write configuration, manifest and software list of an image whose layers are in the cache. `created` is in seconds
/// since 1970; `thin` says which layers are the agent's.
pub fn assemble(
    cache: &Cache,
    recipe: &Recipe,
    layers: &[(Layer, bool)],
    created: u64,
) -> Result<BuiltImage, Error> {
    let image = recipe.name.as_str();
    let spec = || error::SpecSnafu { image };
    let put = |bytes: &[u8]| cache.put(bytes).context(error::StoreSnafu { image });
    let diff_ids: Vec<String> = layers.iter().map(|(l, _)| format!("sha256:{}", l.diff_id)).collect();
    let time = sbom::rfc3339(created);
    let history = |(layer, _): &(Layer, bool)| {
        HistoryBuilder::default()
            .created(time.clone())
            .created_by(format!("oaas: layer {}", layer.name))
            .build()
    };
    let mut config = ConfigBuilder::default().env(recipe.config.env.clone());
    if !recipe.config.entrypoint.is_empty() {
        config = config.entrypoint(recipe.config.entrypoint.clone());
    }
    let config = ImageConfigurationBuilder::default()
        .architecture("amd64")
        .os("linux")
        .created(time.clone())
        .config(config.build().with_context(|_| spec())?)
        .rootfs(RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build().with_context(|_| spec())?)
        .history(layers.iter().map(history).collect::<Result<Vec<_>, _>>().with_context(|_| spec())?)
        .build()
        .with_context(|_| spec())?;
    let config = canonical(image, &config)?;
    put(&config)?;
    let descriptors = layers
        .iter()
        .map(|(l, _)| descriptor(image, MediaType::ImageLayerZstd, &l.digest, l.size))
        .collect::<Result<Vec<_>, _>>()?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(image, MediaType::ImageConfig, &sha256_of(&config), config.len() as u64)?)
        .layers(descriptors)
        .annotations(HashMap::from([
            (ANNOTATION_CREATED.to_owned(), time),
            (ANNOTATION_DESCRIPTION.to_owned(), recipe.about.clone()),
        ]))
        .build()
        .with_context(|_| spec())?;
    let manifest = canonical(image, &manifest)?;
    let digest = put(&manifest)?;
    let components: BTreeSet<Component> =
        layers.iter().flat_map(|(l, _)| l.components.iter().cloned()).collect();
    let list = software(cache, image, &digest, manifest.len() as u64, &components, created)?;
    index(cache, image, &digest, manifest.len() as u64, list)?;
    Ok(BuiltImage {
        reference: format!("{HOST}/{image}@sha256:{digest}"),
        size: layers.iter().map(|(l, _)| l.size).sum::<u64>() + config.len() as u64 + manifest.len() as u64,
        unpacked: layers.iter().map(|(l, _)| l.unpacked).sum(),
        closure: closure(layers),
        layers: layers
            .iter()
            .map(|(l, _)| BuiltLayer {
                name: l.name.clone(),
                digest: format!("sha256:{}", l.digest),
                size: l.size,
            })
            .collect(),
        packages: components.len(),
    })
}

/// Digest over the layers that are not the agent's, by what they hold.
fn closure(layers: &[(Layer, bool)]) -> String {
    let ids: String =
        layers.iter().filter(|(_, thin)| !thin).map(|(l, _)| format!("{}\n", l.diff_id)).collect();
    format!("sha256:{}", sha256_of(ids.as_bytes()))
}

/// The software list as an artefact that refers to the image.
fn software(
    cache: &Cache,
    image: &str,
    digest: &str,
    size: u64,
    components: &BTreeSet<Component>,
    created: u64,
) -> Result<Descriptor, Error> {
    let spec = || error::SpecSnafu { image };
    let put = |bytes: &[u8]| cache.put(bytes).context(error::StoreSnafu { image });
    let document = canonical(image, &sbom::spdx(image, digest, components, created))?;
    let list = put(&document)?;
    let empty = put(b"{}")?;
    let artifact = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .artifact_type(MediaType::Other(SPDX.into()))
        .config(descriptor(image, MediaType::EmptyJSON, &empty, 2)?)
        .layers(vec![descriptor(image, MediaType::Other(SPDX.into()), &list, document.len() as u64)?])
        .subject(descriptor(image, MediaType::ImageManifest, digest, size)?)
        .build()
        .with_context(|_| spec())?;
    let artifact = canonical(image, &artifact)?;
    let digest = put(&artifact)?;
    let mut found = descriptor(image, MediaType::ImageManifest, &digest, artifact.len() as u64)?;
    found.set_artifact_type(Some(MediaType::Other(SPDX.into())));
    found.set_annotations(Some(HashMap::from([(
        ANNOTATION_REF_NAME.to_owned(),
        format!("{HOST}/{image}:spdx"),
    )])));
    Ok(found)
}

/// Put the image and its software list into the layout's index, in place of what had their names.
fn index(cache: &Cache, image: &str, digest: &str, size: u64, list: Descriptor) -> Result<(), Error> {
    let path = cache.images().join("index.json");
    let mut found = descriptor(image, MediaType::ImageManifest, digest, size)?;
    let name = format!("{HOST}/{image}:latest");
    found.set_annotations(Some(HashMap::from([
        (ANNOTATION_REF_NAME.to_owned(), name.clone()),
        (CONTAINERD_NAME.to_owned(), name.clone()),
    ])));
    let old: Option<ImageIndex> = cache.read_json(&path).context(error::StoreSnafu { image })?;
    let ours = [name, format!("{HOST}/{image}:spdx")];
    let mut manifests: Vec<Descriptor> = old.map(|i| i.manifests().clone()).unwrap_or_default();
    manifests.retain(|d| reference(d).is_none_or(|r| !ours.contains(r)));
    manifests.extend([found, list]);
    manifests.sort_by(|a, b| reference(a).cmp(&reference(b)));
    let index = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .build()
        .context(error::SpecSnafu { image })?;
    let index = canonical(image, &index)?;
    let write = |path: &Path, bytes: &[u8]| match std::fs::read(path) {
        Ok(old) if old == bytes => Ok(()),
        _ => cache.write(path, bytes).context(error::StoreSnafu { image }),
    };
    write(&cache.images().join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    write(&path, &index)
}

/// The name that an entry of the index has.
pub fn reference(descriptor: &Descriptor) -> Option<&String> {
    descriptor.annotations().as_ref()?.get(ANNOTATION_REF_NAME)
}

/// The layout's index; empty if nothing was built.
pub fn read_index(cache: &Cache) -> Result<Vec<Descriptor>, store::Error> {
    let index: Option<ImageIndex> = cache.read_json(&cache.images().join("index.json"))?;
    Ok(index.map(|i| i.manifests().clone()).unwrap_or_default())
}

/// A manifest of the layout, by the hex of its sha256.
pub fn read_manifest(cache: &Cache, digest: &str) -> Result<Option<ImageManifest>, store::Error> {
    cache.read_json(&cache.blob(digest))
}

fn descriptor(image: &str, media_type: MediaType, digest: &str, size: u64) -> Result<Descriptor, Error> {
    let digest = Digest::try_from(format!("sha256:{digest}")).context(error::SpecSnafu { image })?;
    DescriptorBuilder::default()
        .media_type(media_type)
        .digest(digest)
        .size(size)
        .build()
        .context(error::SpecSnafu { image })
}

/// JSON with sorted keys: the same document is the same bytes.
fn canonical(image: &str, document: &impl Serialize) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_value(document).map(sorted).and_then(|v| serde_json::to_vec(&v));
    json.map_err(OciSpecError::SerDe).context(error::SpecSnafu { image })
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<String, Value> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            Value::Object(map.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::image::ImageConfiguration;

    use super::*;
    use crate::archive;
    use crate::recipe::Config;
    use crate::sbom::Ecosystem;

    fn layer(cache: &Cache, name: &str) -> Layer {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), name).unwrap();
        let file = cache.directory("work").unwrap().join(name);
        let packed = archive::pack(&crate::tree::list(dir.path(), Path::new("")).unwrap(), 9, &file).unwrap();
        let software =
            Component { ecosystem: Ecosystem::Oaas, name: name.into(), version: "1".into(), license: None };
        cache.keep(name, name, &file, &packed, vec![software]).unwrap()
    }

    fn recipe(name: &str) -> Recipe {
        let config = Config { env: vec!["A=b".into()], entrypoint: vec!["/x".into()] };
        Recipe {
            name: name.into(),
            about: "about".into(),
            from: None,
            published: true,
            config,
            layers: vec![],
        }
    }

    #[test]
    fn an_image_follows_the_specification_and_repeats() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let layers = [(layer(&cache, "base"), false), (layer(&cache, "agent"), true)];
        let built = assemble(&cache, &recipe("infra"), &layers, 9).unwrap();
        assert_eq!(built, assemble(&cache, &recipe("infra"), &layers, 9).unwrap());
        let digest = built.reference.strip_prefix("oaas.local/infra@sha256:").unwrap();
        let manifest = ImageManifest::from_file(cache.blob(digest)).unwrap();
        assert_eq!(manifest.layers().len(), 2);
        let config = ImageConfiguration::from_file(cache.blob(manifest.config().digest().digest())).unwrap();
        assert_eq!(config.rootfs().diff_ids()[0], format!("sha256:{}", layers[0].0.diff_id));
        for blob in manifest.layers().iter().chain([manifest.config()]) {
            let path = cache.blob(blob.digest().digest());
            assert_eq!(path.metadata().unwrap().len(), blob.size());
            assert_eq!(archive::sha256(&path).unwrap(), blob.digest().digest());
        }
        assert_eq!(
            std::fs::read_to_string(cache.images().join("oci-layout")).unwrap(),
            r#"{"imageLayoutVersion":"1.0.0"}"#
        );
    }

    #[test]
    fn the_index_keeps_other_images_and_replaces_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let (one, two) = (layer(&cache, "one"), layer(&cache, "two"));
        assemble(&cache, &recipe("a"), &[(one.clone(), false)], 9).unwrap();
        assemble(&cache, &recipe("b"), &[(one, false)], 9).unwrap();
        assemble(&cache, &recipe("a"), &[(two, false)], 9).unwrap();
        let names: Vec<_> =
            read_index(&cache).unwrap().iter().map(|d| reference(d).unwrap().clone()).collect();
        assert_eq!(
            names,
            ["oaas.local/a:latest", "oaas.local/a:spdx", "oaas.local/b:latest", "oaas.local/b:spdx"]
        );
    }

    #[test]
    fn the_software_list_refers_to_its_image() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let built = assemble(&cache, &recipe("a"), &[(layer(&cache, "one"), false)], 9).unwrap();
        let found = read_index(&cache)
            .unwrap()
            .into_iter()
            .find(|d| reference(d).unwrap().ends_with(":spdx"))
            .unwrap();
        let artifact = read_manifest(&cache, found.digest().digest()).unwrap().unwrap();
        assert!(built.reference.ends_with(artifact.subject().as_ref().unwrap().digest().digest()));
        let document: Value =
            cache.read_json(&cache.blob(artifact.layers()[0].digest().digest())).unwrap().unwrap();
        assert_eq!(document["packages"][1]["name"], "one");
    }

    #[test]
    fn another_agent_leaves_the_closure_alone() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let (base, old, new) = (layer(&cache, "base"), layer(&cache, "old"), layer(&cache, "new"));
        let one = assemble(&cache, &recipe("a"), &[(base.clone(), false), (old.clone(), true)], 9).unwrap();
        let two = assemble(&cache, &recipe("a"), &[(base, false), (new, true)], 9).unwrap();
        assert_ne!(one.reference, two.reference);
        assert_eq!(one.closure, two.closure);
        let three = assemble(&cache, &recipe("a"), &[(old, false)], 9).unwrap();
        assert_ne!(one.closure, three.closure);
    }
}
