//! What layers are made of: Debian packages, scripts, files that callers hand over.

use std::fs;
use std::path::{Path, PathBuf};

use futures::future::try_join_all;
use oaas_feedback::Task;
use snafu::{OptionExt as _, ResultExt as _, ensure};

use super::builder::{Builder, Result, blocking, cell};
use super::failure::error;
use super::roots::root_name;
use crate::debian::mirror::Mirrors;
use crate::debian::{bootstrap, fetch};
use crate::python::Index;
use crate::recipe::{Layer, Source};
use crate::sandbox::{Access, Sandbox};
use crate::sbom::{self, Component, Ecosystem};
use crate::tree::{self, Content, Entry};

impl Builder<'_> {
    pub(super) async fn debian(
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
        task.status("waits for its turn to fetch packages");
        let turn = self.fetching.lock().await;
        fetch::fetch(self.cache(), &wanted, mirrors, task)
            .await
            .context(error::FetchSnafu { layer: name })?;
        drop(turn);
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

    pub(super) async fn script(
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
        let layers = self.recipes.layers(image).context(error::RecipeSnafu)?;
        let taken = |name: &String| on.contains(name) || on.is_empty() && root.is_none();
        let used = (0..at).filter(|i| !layers[*i].is_artefact() && taken(&layers[*i].name)).collect();
        let other = async {
            match root {
                Some(other) => self.whole(other).await.map(Some),
                None => Ok(None),
            }
        };
        let (so_far, other, with_roots) = futures::try_join!(
            self.root(image, used, keys.to_vec()),
            other,
            try_join_all(with.iter().map(|other| self.whole(other)))
        )?;
        task.status("runs");
        let input = prepare(scratch.join("inputs"))?;
        let path = format!("scripts/{script}");
        for file in inputs.iter().chain([&path]) {
            let text = self.inputs().text(file).context(error::RecipeSnafu)?.to_owned();
            let path = input.join(Path::new(file).file_name().unwrap_or_default());
            fs::write(&path, text).context(error::PrepareSnafu { path: &path })?;
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .context(error::PrepareSnafu { path })?;
        }
        let mut sandbox = Sandbox::new(other.as_ref().unwrap_or(&so_far))
            .mount(Access::Read, &input, "/mnt/inputs")
            .set("INPUTS", "/mnt/inputs")
            .set("SOURCE_DATE_EPOCH", self.lock.epoch.to_string());
        if other.is_some() && !on.is_empty() {
            sandbox = sandbox.mount(Access::Root, &so_far, "/mnt/image");
        }
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

    pub(super) fn artefact(
        &self,
        artefact: &str,
        path: &str,
        mode: u32,
    ) -> Result<(Vec<Entry>, Vec<Component>)> {
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
}
