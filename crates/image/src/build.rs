//! Building images: what is out of date is made anew, side by side where it can be, the rest is taken from the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, try_join_all};
use oaas_feedback::{Explain, Kind, Task};
use snafu::{OptionExt as _, ResultExt as _, Snafu, ensure};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::archive::{self, Packed};
use crate::debian::lock::{self, Lock};
use crate::debian::mirror::{self, Mirrors};
use crate::debian::{bootstrap, fetch};
use crate::key::Inputs;
use crate::oci::{self, BuiltImages};
use crate::python::Index;
use crate::recipe::{self, Layer, Recipes, Source};
use crate::sandbox::{self, Access, Sandbox};
use crate::sbom::{self, Component, Ecosystem};
use crate::store::{self, Cache, Lookup};
use crate::tree::{self, Content, Entry};

/// How often a second build looks whether the first is done.
const LOCK_PAUSE: Duration = Duration::from_millis(500);

/// What a build needs to know beyond the recipes.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The cache to build in.
    pub cache: Cache,
    /// Files that recipes name as artefacts. `agent` is the `oaas` binary.
    pub artefacts: BTreeMap<String, PathBuf>,
}

impl BuildOptions {
    /// The user's cache, and the running program as the agent.
    pub fn of_user() -> Result<Self, Error> {
        let agent = std::env::current_exe().context(error::OwnBinarySnafu)?;
        let cache = Cache::of_user().context(error::StoreSnafu)?;
        Ok(Self { cache, artefacts: BTreeMap::from([("agent".into(), agent)]) })
    }
}

/// An image could not be built.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// The recipes.
    #[snafu(display("failed to read the image recipes"))]
    Recipe {
        /// What went wrong.
        source: recipe::Error,
    },
    /// The Debian lock.
    #[snafu(display("failed to use the Debian lock"))]
    Lock {
        /// What went wrong.
        source: lock::Error,
    },
    /// The cache.
    #[snafu(display("failed to use the image cache"))]
    Store {
        /// What went wrong.
        source: store::Error,
    },
    /// The mirror.
    #[snafu(display("failed to choose a Debian mirror"))]
    Mirror {
        /// What went wrong.
        source: mirror::Error,
    },
    /// Fetching packages.
    #[snafu(display("failed to fetch the packages of layer {layer}"))]
    Fetch {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: fetch::Error,
    },
    /// A Debian root.
    #[snafu(display("failed to build layer {layer}"))]
    Bootstrap {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: bootstrap::Error,
    },
    /// A script.
    #[snafu(display("failed to build layer {layer}"))]
    Script {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: sandbox::Error,
    },
    /// A script made nothing.
    #[snafu(display("failed to build layer {layer}: its script left nothing in {path}"))]
    Nothing {
        /// The layer.
        layer: String,
        /// The directory it was to fill.
        path: String,
    },
    /// A tree.
    #[snafu(display("failed to read what was built for layer {layer}"))]
    Tree {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: tree::Error,
    },
    /// A layer file.
    #[snafu(display("failed to pack or unpack layer {layer}"))]
    Archive {
        /// The layer.
        layer: String,
        /// What went wrong.
        source: archive::Error,
    },
    /// An image.
    #[snafu(display("failed to put together the image {image}"))]
    Assemble {
        /// The image.
        image: String,
        /// What went wrong.
        source: oci::Error,
    },
    /// A file under construction.
    #[snafu(display("failed to prepare {}", path.display()))]
    Prepare {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A recipe names an artefact that the caller did not hand over.
    #[snafu(display("failed to find the artefact {artefact}, which a recipe puts into an image"))]
    ArtefactMissing {
        /// Its name.
        artefact: String,
    },
    /// An artefact cannot be read.
    #[snafu(display("failed to read the artefact {artefact} at {}", path.display()))]
    Artefact {
        /// Its name.
        artefact: String,
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// An image that is not in the cache.
    #[snafu(display("failed to find the image {image} in the cache"))]
    NotBuilt {
        /// The image.
        image: String,
    },
    /// We do not know what we are.
    #[snafu(display("failed to find our own binary, which goes into images as the agent"))]
    OwnBinary {
        /// What the kernel says.
        source: io::Error,
    },
    /// Roots have owners and mounts.
    #[snafu(display("failed to build images as an ordinary user"))]
    NotRoot,
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Recipe { source } => source.kind(),
            Self::Lock { source } => source.kind(),
            Self::Store { source } => source.kind(),
            Self::Mirror { source } => source.kind(),
            Self::Fetch { source, .. } => source.kind(),
            Self::Bootstrap { source, .. } => source.kind(),
            Self::Script { source, .. } => source.kind(),
            Self::Archive { source, .. } => source.kind(),
            Self::Assemble { source, .. } => source.kind(),
            Self::NotRoot => Kind::Environment,
            Self::ArtefactMissing { .. } | Self::Artefact { .. } | Self::NotBuilt { .. } => Kind::Input,
            Self::Nothing { .. } | Self::Tree { .. } | Self::Prepare { .. } | Self::OwnBinary { .. } => {
                Kind::Failed
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe { source } => source.hint(),
            Self::Lock { source } => source.hint(),
            Self::Store { source } => source.hint(),
            Self::Mirror { source } => source.hint(),
            Self::Fetch { source, .. } => source.hint(),
            Self::Bootstrap { source, .. } => source.hint(),
            Self::Script { source, .. } => source.hint(),
            Self::Archive { source, .. } => source.hint(),
            Self::Assemble { source, .. } => source.hint(),
            Self::NotBuilt { image } => Some(format!("build it first: oaas image build {image}")),
            Self::NotRoot => Some("run it as root: files in images have owners, and packages are configured in a root of their own".into()),
            Self::ArtefactMissing { artefact } => Some(format!("hand it over: --artefact {artefact}=FILE")),
            _ => None,
        }
    }
}

type Result<T, E = Error> = std::result::Result<T, E>;
type Cells<T> = Mutex<BTreeMap<String, Arc<OnceCell<T>>>>;

/// Build the named images, or all that are published. Nothing is done for what is up to date.
pub async fn build(options: &BuildOptions, names: &[String], task: &Task) -> Result<BuiltImages> {
    let recipes = Recipes::embedded().context(error::RecipeSnafu)?;
    let text = recipe::file(&format!("locks/{}", recipes.debian.lock)).context(error::RecipeSnafu)?;
    let lock = Lock::parse(text).context(error::LockSnafu)?;
    build_with(options, recipes, lock, names, task).await
}

/// Names of the artefacts that these images, or all that are published, are made of. Fails for an image that no recipe
/// describes.
pub fn artefacts(names: &[String]) -> Result<BTreeSet<String>> {
    let recipes = Recipes::embedded().context(error::RecipeSnafu)?;
    let names = if names.is_empty() { recipes.published() } else { names.to_vec() };
    let mut found = BTreeSet::new();
    for name in &names {
        let layers = recipes.layers(name).context(error::RecipeSnafu)?;
        found.extend(layers.iter().filter_map(|layer| match &layer.source {
            Source::Artefact { artefact, .. } => Some(artefact.clone()),
            _ => None,
        }));
    }
    Ok(found)
}

/// Build by these recipes and this lock.
pub async fn build_with(
    options: &BuildOptions,
    recipes: Recipes,
    lock: Lock,
    names: &[String],
    task: &Task,
) -> Result<BuiltImages> {
    let names = if names.is_empty() { recipes.published() } else { names.to_vec() };
    for name in &names {
        recipes.get(name).context(error::RecipeSnafu)?;
    }
    let artefacts = hash_artefacts(options, &recipes, &names).await?;
    let builder = Builder::new(options, recipes, lock, artefacts, task);
    let images = try_join_all(names.iter().map(|name| builder.image(name))).await?;
    // The index is one file: images are entered one after the other.
    let mut built = BuiltImages::default();
    for (name, layers) in names.iter().zip(images) {
        let recipe = builder.recipes.get(name).context(error::RecipeSnafu)?;
        let image = oci::assemble(&options.cache, recipe, &layers, builder.lock.epoch)
            .context(error::AssembleSnafu { image: name })?;
        built.images.insert(name.clone(), image);
    }
    let path = options.cache.images().join("built.json");
    record(&options.cache, &path, &built)?;
    Ok(built)
}

/// Make the layers of an unpublished recipe and lay out the last one, for what scripts make that is no image. It lies in
/// a directory that is removed when dropped.
pub(crate) async fn lay_out(
    options: &BuildOptions,
    mut recipes: Recipes,
    lock: Lock,
    recipe: recipe::Recipe,
    task: &Task,
) -> Result<tempfile::TempDir> {
    let name = recipe.name.clone();
    recipes.images.insert(name.clone(), recipe);
    let builder = Builder::new(options, recipes, lock, BTreeMap::new(), task);
    let layers = builder.image(&name).await?;
    let into = options.cache.work().context(error::StoreSnafu)?;
    if let Some((layer, _)) = layers.into_iter().next_back() {
        let (blob, root) = (options.cache.blob(&layer.digest), into.path().to_owned());
        let done = blocking(move || archive::unpack(&blob, &layer.digest, &root)).await;
        done.context(error::ArchiveSnafu { layer: &layer.name })?;
    }
    Ok(into)
}

/// Copy the files below a path out of a built image into a directory, under their names there. Hands back how many.
pub async fn extract(cache: &Cache, image: &str, path: &str, into: &Path) -> Result<usize> {
    let built = list(cache)?.images.remove(image);
    let built = built.context(error::NotBuiltSnafu { image })?;
    fs::create_dir_all(into).context(error::PrepareSnafu { path: into })?;
    let mut copied = 0;
    for layer in built.layers {
        let digest = layer.digest.trim_start_matches("sha256:").to_owned();
        let (blob, from, to) =
            (cache.blob(&digest), path.trim_start_matches('/').to_owned(), into.to_owned());
        let done = blocking(move || archive::copy_out(&blob, &digest, Path::new(&from), &to)).await;
        copied += done.context(error::ArchiveSnafu { layer: layer.name })?;
    }
    Ok(copied)
}

/// What was built last, by image name.
pub fn list(cache: &Cache) -> Result<BuiltImages> {
    let path = cache.images().join("built.json");
    Ok(cache.read_json(&path).context(error::StoreSnafu)?.unwrap_or_default())
}

fn record(cache: &Cache, path: &Path, built: &BuiltImages) -> Result<()> {
    let mut all = list(cache)?;
    let before = all.clone();
    all.images.extend(built.images.clone());
    if all != before {
        let json = serde_json::to_vec_pretty(&all)
            .map_err(|source| store::Error::Json { path: path.into(), source });
        cache.write(path, &json.context(error::StoreSnafu)?).context(error::StoreSnafu)?;
    }
    Ok(())
}

/// sha256 of the artefacts that these images need.
async fn hash_artefacts(
    options: &BuildOptions,
    recipes: &Recipes,
    names: &[String],
) -> Result<BTreeMap<String, String>> {
    let mut hashes = BTreeMap::new();
    for name in names {
        for layer in recipes.layers(name).context(error::RecipeSnafu)? {
            let Source::Artefact { artefact, .. } = &layer.source else { continue };
            if hashes.contains_key(artefact) {
                continue;
            }
            let path =
                options.artefacts.get(artefact).context(error::ArtefactMissingSnafu { artefact })?.clone();
            let hash = blocking({
                let path = path.clone();
                move || archive::sha256(&path)
            })
            .await;
            hashes.insert(artefact.clone(), hash.context(error::ArtefactSnafu { artefact, path })?);
        }
    }
    Ok(hashes)
}

/// Run what computes or waits for the disk off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

struct Builder<'a> {
    options: &'a BuildOptions,
    recipes: Recipes,
    lock: Lock,
    artefacts: BTreeMap<String, String>,
    /// Layers by key, each made or found once.
    made: Cells<store::Layer>,
    /// Roots by the keys of their layers, each laid out once.
    roots: Cells<PathBuf>,
    mirrors: OnceCell<Mirrors>,
    task: Task,
    /// Where roots lie, from the first layer that has to be made until the end.
    work: Mutex<Option<Arc<tempfile::TempDir>>>,
    /// The lock on the cache, for as long.
    held: tokio::sync::Mutex<Option<nix::fcntl::Flock<fs::File>>>,
}

impl<'a> Builder<'a> {
    fn new(
        options: &'a BuildOptions,
        recipes: Recipes,
        lock: Lock,
        artefacts: BTreeMap<String, String>,
        task: &Task,
    ) -> Self {
        Self {
            options,
            recipes,
            lock,
            artefacts,
            made: Mutex::default(),
            roots: Mutex::default(),
            mirrors: OnceCell::new(),
            task: task.clone(),
            work: Mutex::default(),
            held: tokio::sync::Mutex::default(),
        }
    }

    fn cache(&self) -> &Cache {
        &self.options.cache
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs { recipes: &self.recipes, lock: &self.lock, artefacts: &self.artefacts, file: &recipe::file }
    }

    /// All layers of an image, each with whether it is the agent's.
    async fn image(&self, name: &str) -> Result<Vec<(store::Layer, bool)>> {
        let keys = self.inputs().chain(name)?;
        let layers = self.recipes.layers(name).context(error::RecipeSnafu)?;
        let made =
            try_join_all((0..layers.len()).map(|at| self.layer(name.to_owned(), at, keys.clone()))).await?;
        Ok(made.into_iter().zip(layers).map(|(made, layer)| (made, layer.is_thin())).collect())
    }

    /// One layer of an image, from the cache or made.
    fn layer(&self, image: String, at: usize, keys: Vec<String>) -> BoxFuture<'_, Result<store::Layer>> {
        async move {
            let cell = cell(&self.made, &keys[at]);
            let made = cell.get_or_try_init(|| async {
                let layers = self.recipes.layers(&image).context(error::RecipeSnafu)?;
                let (name, key) = (&layers[at].name, &keys[at]);
                if let Some(layer) = self.find(name, key)? {
                    return Ok(layer);
                }
                self.begin().await?;
                if let Some(layer) = self.find(name, key)? {
                    return Ok(layer);
                }
                let task = self.task.child(format!("layer {name}"));
                let made = self.make(&image, at, &keys, layers[at], &task).await;
                task.end_with(made)
            });
            made.await.cloned()
        }
        .boxed()
    }

    /// Look in the cache; a corrupt entry is reported and counts as missing.
    fn find(&self, name: &str, key: &str) -> Result<Option<store::Layer>> {
        match self.cache().find(key).context(error::StoreSnafu)? {
            Lookup::Hit(layer) => Ok(Some(*layer)),
            Lookup::Miss => Ok(None),
            Lookup::Corrupt { wanted, got } => {
                let task = self.task.child(format!("layer {name}"));
                task.failed(format!(
                    "its file in the cache is corrupt (sha256 {got}, wanted {wanted}); it is made anew"
                ));
                tracing::warn!(layer = name, wanted, got, "corrupt cache entry removed");
                Ok(None)
            }
        }
    }

    /// Become the one that builds, before the first layer is made.
    async fn begin(&self) -> Result<()> {
        let mut held = self.held.lock().await;
        if held.is_some() {
            return Ok(());
        }
        ensure!(nix::unistd::geteuid().is_root(), error::NotRootSnafu);
        loop {
            *held = self.cache().try_lock().context(error::StoreSnafu)?;
            if held.is_some() {
                break;
            }
            self.task.status("waits for another build in the same cache");
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        self.cache().sweep().context(error::StoreSnafu)?;
        let work = Arc::new(self.cache().work().context(error::StoreSnafu)?);
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
        Ok(())
    }

    /// A new directory below the build's.
    fn scratch(&self, name: &str) -> Result<PathBuf> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let up = work.map_or_else(|| self.cache().root().join("work"), |w| w.path().to_owned());
        let made = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(&up);
        let path = made.context(error::PrepareSnafu { path: up })?.keep();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .context(error::PrepareSnafu { path: &path })?;
        Ok(path)
    }

    async fn make(
        &self,
        image: &str,
        at: usize,
        keys: &[String],
        layer: &Layer,
        task: &Task,
    ) -> Result<store::Layer> {
        let name = layer.name.clone();
        let scratch = self.scratch(&name)?;
        let (entries, components) = match &layer.source {
            Source::Debian { .. } => self.debian(image, at, keys, layer, &scratch, task).await?,
            Source::Script { .. } => self.script(image, at, keys, layer, &scratch, task).await?,
            Source::Artefact { artefact, path, mode } => self.artefact(artefact, path, *mode)?,
        };
        task.status("packs");
        let (file, epoch) = (scratch.join("layer.tar.zst"), self.lock.epoch);
        let packed = blocking({
            let file = file.clone();
            move || archive::pack(&entries, epoch, &file)
        })
        .await;
        let packed: Packed = packed.context(error::ArchiveSnafu { layer: &name })?;
        let kept =
            self.cache().keep(&name, &keys[at], &file, &packed, components).context(error::StoreSnafu)?;
        // What is not wanted as a root any more makes room.
        blocking(move || fs::remove_dir_all(&scratch).ok()).await;
        Ok(kept)
    }

    async fn debian(
        &self,
        image: &str,
        at: usize,
        keys: &[String],
        layer: &Layer,
        scratch: &Path,
        task: &Task,
    ) -> Result<(Vec<Entry>, Vec<Component>)> {
        let name = &layer.name;
        let Source::Debian { extract, .. } = &layer.source else { return Ok(Default::default()) };
        let packages = self.lock.set(name).context(error::LockSnafu)?;
        let parts = if extract.is_empty() {
            vec![]
        } else {
            self.lock.set(&format!("{name}+extract")).context(error::LockSnafu)?
        };
        let wanted: Vec<_> = packages.iter().chain(&parts).map(|package| (*package).into()).collect();
        let mirrors =
            self.mirrors.get_or_try_init(|| Mirrors::of_machine(task)).await.context(error::MirrorSnafu)?;
        fetch::fetch(self.cache(), &wanted, mirrors, task)
            .await
            .context(error::FetchSnafu { layer: name })?;
        let root = self.scratch(&format!("{name}-root"))?;
        let layers = self.recipes.layers(image).context(error::RecipeSnafu)?;
        let below: Vec<usize> = (0..at).filter(|i| !layers[*i].is_artefact()).collect();
        let mut all = below.clone();
        all.push(at);
        let (below, ()) = futures::try_join!(self.root(image, below, keys.to_vec()), async {
            bootstrap::bootstrap(
                self.cache(),
                &self.recipes.debian,
                self.lock.epoch,
                name,
                &packages,
                &root,
                scratch,
                task,
            )
            .await
            .context(error::BootstrapSnafu { layer: name })?;
            bootstrap::extract(self.cache(), name, extract, &parts, &root, scratch)
                .await
                .context(error::BootstrapSnafu { layer: name })
        })?;
        task.status("compares with the layers below");
        let (entries, status) = blocking({
            let root = root.clone();
            move || {
                let entries = if below.as_os_str().is_empty() {
                    tree::list(&root, Path::new(""))
                } else {
                    tree::diff(&below, &root)
                };
                (entries, fs::read_to_string(root.join("var/lib/dpkg/status")).unwrap_or_default())
            }
        })
        .await;
        let mut components = sbom::debian(&status);
        components.extend(parts.iter().map(|p| Component {
            ecosystem: Ecosystem::Debian,
            name: p.name.clone(),
            version: p.version.clone(),
            license: None,
        }));
        // The whole root is at hand: who asks for it need not unpack layers.
        cell(&self.roots, &root_name(&all, keys)).set(root).ok();
        Ok((entries.context(error::TreeSnafu { layer: name })?, components))
    }

    async fn script(
        &self,
        image: &str,
        at: usize,
        keys: &[String],
        layer: &Layer,
        scratch: &Path,
        task: &Task,
    ) -> Result<(Vec<Entry>, Vec<Component>)> {
        let name = &layer.name;
        let Source::Script { script, root, on, with, network, inputs, arguments, keep, at: place, .. } =
            &layer.source
        else {
            return Ok(Default::default());
        };
        let prepare = |path: PathBuf| -> Result<PathBuf> {
            fs::create_dir_all(&path).context(error::PrepareSnafu { path: &path }).map(|()| path)
        };
        task.status("waits for the roots it works in");
        let own = async {
            if let Some(other) = root {
                self.whole(other).await
            } else {
                let layers = self.recipes.layers(image).context(error::RecipeSnafu)?;
                let used = (0..at)
                    .filter(|i| !layers[*i].is_artefact() && (on.is_empty() || on.contains(&layers[*i].name)))
                    .collect();
                self.root(image, used, keys.to_vec()).await
            }
        };
        let (own, with_roots) =
            futures::try_join!(own, try_join_all(with.iter().map(|other| self.whole(other))))?;
        task.status("runs");
        let input = prepare(scratch.join("inputs"))?;
        let path = format!("scripts/{script}");
        for file in inputs.iter().chain([&path]) {
            let text = recipe::file(file).context(error::RecipeSnafu)?;
            let path = input.join(Path::new(file).file_name().unwrap_or_default());
            fs::write(&path, text).context(error::PrepareSnafu { path: &path })?;
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .context(error::PrepareSnafu { path })?;
        }
        let mut sandbox = Sandbox::new(&own)
            .mount(Access::Read, &input, "/mnt/inputs")
            .set("INPUTS", "/mnt/inputs")
            .set("SOURCE_DATE_EPOCH", self.lock.epoch.to_string());
        for (other, root) in with.iter().zip(&with_roots) {
            sandbox = sandbox.mount(Access::Root, root, &format!("/mnt/{other}"));
        }
        let mut outs = Vec::new();
        for (number, path) in keep.iter().enumerate() {
            let out = prepare(scratch.join(format!("out{number}")))?;
            sandbox = sandbox.mount(Access::Write, &out, path);
            outs.push(out);
        }
        if *network {
            sandbox = self.networked(sandbox)?;
        }
        let mut command = vec![format!("/mnt/inputs/{script}")];
        command.extend(arguments.iter().cloned());
        sandbox.run(script, &command, task).await.context(error::ScriptSnafu { layer: name })?;
        let mut entries = Vec::new();
        let mut components = Vec::new();
        for (out, path) in outs.into_iter().zip(keep) {
            let to = PathBuf::from(place.as_ref().unwrap_or(path));
            let (listed, found) = blocking(move || (tree::list(&out, &to), sbom::python(&out))).await;
            let listed = listed.context(error::TreeSnafu { layer: name })?;
            ensure!(
                listed.iter().any(|e| !matches!(e.content, Content::Directory)),
                error::NothingSnafu { layer: name, path }
            );
            entries.extend(listed);
            components.extend(found);
        }
        Ok((entries, components))
    }

    /// Give a sandbox the machine's network, its Python index, and a place to keep what it downloads.
    fn networked(&self, sandbox: Sandbox) -> Result<Sandbox> {
        let wheels = self.cache().directory("wheels").context(error::StoreSnafu)?;
        let index = Index::of_machine();
        let mut sandbox = sandbox
            .network()
            .mount(Access::Read, Path::new("/etc/resolv.conf"), "/etc/resolv.conf")
            .mount(Access::Read, Path::new("/etc/hosts"), "/etc/hosts")
            .mount(Access::Write, &wheels, "/mnt/cache")
            .set("UV_CACHE_DIR", "/mnt/cache/uv")
            .set("PIP_CACHE_DIR", "/mnt/cache/pip");
        if let Some(bundle) = &index.certificates {
            let inside = "/etc/ssl/certs/ca-certificates.crt";
            sandbox = sandbox
                .mount(Access::Read, bundle, inside)
                .set("SSL_CERT_FILE", inside)
                .set("PIP_CERT", inside);
        }
        for (name, value) in index.environment {
            sandbox = sandbox.set(&name, value);
        }
        Ok(sandbox)
    }

    fn artefact(&self, artefact: &str, path: &str, mode: u32) -> Result<(Vec<Entry>, Vec<Component>)> {
        let from = self.options.artefacts.get(artefact).context(error::ArtefactMissingSnafu { artefact })?;
        let path = Path::new(path.trim_start_matches('/'));
        let above = path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty());
        let entry = |path: &Path, mode, content| Entry {
            path: path.into(),
            mode,
            uid: 0,
            gid: 0,
            mtime: self.lock.epoch,
            content,
        };
        let mut entries: Vec<Entry> = above.map(|p| entry(p, 0o755, Content::Directory)).collect();
        entries.reverse();
        entries.push(entry(path, mode, Content::File(from.clone())));
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok((
            entries,
            vec![Component {
                ecosystem: Ecosystem::Oaas,
                name: artefact.into(),
                version,
                license: Some("Apache-2.0".into()),
            }],
        ))
    }

    /// The root of an image with all its layers but the files that callers hand over.
    async fn whole(&self, image: &str) -> Result<PathBuf> {
        let layers = self.recipes.layers(image).context(error::RecipeSnafu)?;
        let used = (0..layers.len()).filter(|i| !layers[*i].is_artefact()).collect();
        let keys = self.inputs().chain(image)?;
        self.root(image, used, keys).await
    }

    /// A root made of some of an image's layers, laid out once. Empty for no layers. Not to be written to.
    fn root(&self, image: &str, used: Vec<usize>, keys: Vec<String>) -> BoxFuture<'_, Result<PathBuf>> {
        let image = image.to_owned();
        async move {
            if used.is_empty() {
                return Ok(PathBuf::new());
            }
            let layers =
                try_join_all(used.iter().map(|at| self.layer(image.clone(), *at, keys.clone()))).await?;
            let cell = cell(&self.roots, &root_name(&used, &keys));
            let root = cell.get_or_try_init(|| async {
                let root = self.scratch("root")?;
                for layer in layers {
                    let (blob, into) = (self.cache().blob(&layer.digest), root.clone());
                    let done = blocking(move || archive::unpack(&blob, &layer.digest, &into)).await;
                    done.context(error::ArchiveSnafu { layer: &layer.name })?;
                }
                Ok(root)
            });
            root.await.cloned()
        }
        .boxed()
    }
}

/// Names a root by the keys of its layers.
fn root_name(used: &[usize], keys: &[String]) -> String {
    used.iter().map(|at| keys[*at].as_str()).collect::<Vec<_>>().join("+")
}

fn cell<T>(cells: &Cells<T>, name: &str) -> Arc<OnceCell<T>> {
    let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(cells.entry(name.to_owned()).or_default())
}
