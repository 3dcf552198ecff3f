//! `oaas image`: builds, lists and locks the images of clouds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use oaas_feedback::{Explain, Kind, Task};
use oaas_image::push::{self, Registry};
use oaas_image::{BuildOptions, BuiltImages, Cache};
use snafu::{ResultExt, Snafu};

use crate::context::Context;
use crate::guest;
use crate::report::Failure;
use crate::table::columns;

/// Arguments of `oaas image`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
enum Action {
    /// Build what is out of date
    Build(Build),
    /// List what was built
    List,
    /// Push what was built to a registry
    Push(Push),
    /// Copy files out of an image that was built
    Extract(Extract),
    /// Take newer packages into a lock file, and print the difference
    Lock(Lock),
}

#[derive(Debug, Args)]
struct Build {
    /// Only these images, such as `mariadb`; all when left out
    names: Vec<String>,
    /// Write where the time went: a Chrome trace, and beside it a picture (.svg)
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Push {
    /// The registry, with the path before image names, such as `https://registry.example:5000/cloud`
    registry: String,
    /// Only these images; all that were built when left out
    names: Vec<String>,
    /// The tag
    #[arg(long, default_value = "latest")]
    tag: String,
    /// Who pushes
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// File with that user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// A certificate authority to trust besides the machine's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Why images cannot be pushed or locked.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The registry is not named by a URL.
    #[snafu(display("{given:?} is not the URL of a registry: {why}"))]
    Registry {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file that was named cannot be read.
    #[snafu(display("failed to read {}", path.display()))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Registry { .. } => Some("write it like https://registry.example:5000/cloud".to_owned()),
            Self::Read { .. } => Some("name a file that exists and that you may read".to_owned()),
        }
    }
}

#[derive(Debug, Args)]
struct Extract {
    /// The image
    name: String,
    /// A directory in it, such as `/usr/share/oaas/options`
    path: String,
    /// Where its files go, under their names there
    into: PathBuf,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["refresh", "python"]))]
struct Lock {
    /// The directory of the lock files in a checkout
    #[arg(long, value_name = "DIRECTORY", default_value = "images/locks")]
    directory: PathBuf,
    /// Lock the newest Debian packages of all images
    #[arg(long)]
    refresh: bool,
    /// Lock the Python packages of this release, by its file in images/releases (or `build-tools`)
    #[arg(long, value_name = "RELEASE")]
    python: Option<String>,
    /// The release's upper constraints; without it versions stay as they are where the release's file allows
    #[arg(long, value_name = "FILE", requires = "python")]
    constraints: Option<PathBuf>,
}

/// Do it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<(), Failure> {
    match arguments.action {
        Action::Build(arguments) => build(arguments, context).await,
        Action::List => context.answer(&oaas_image::list(&Cache::of_user()?)?, table),
        Action::Push(arguments) => push(arguments, context).await,
        Action::Extract(Extract { name, path, into }) => {
            let copied = oaas_image::extract(&Cache::of_user()?, &name, &path, &into).await?;
            context.answer(&copied, |copied| format!("{copied} files\n"))
        }
        Action::Lock(arguments) => lock(arguments, context).await,
    }
}

async fn build(arguments: Build, context: &Context) -> Result<(), Failure> {
    let needed = oaas_image::artefacts(&arguments.names)?;
    let progress = context.progress(arguments.trace);
    let task = Task::root(progress.sink(), "images");
    let built = async {
        let mut options = BuildOptions::of_user()?;
        if needed.contains("guest") {
            options.artefacts.insert("guest".into(), guest::ensure(&Cache::of_user()?, &task).await?);
        }
        Ok::<_, Failure>(oaas_image::build(&options, &arguments.names, &task).await?)
    };
    let built = task.end_with(built.await);
    progress.finish()?;
    context.answer(&built?, table)
}

/// Push, and print the references by digest.
async fn push(arguments: Push, context: &Context) -> Result<(), Failure> {
    let given = &arguments.registry;
    let url = given.parse().map_err(|error| RegistrySnafu { given, why: format!("{error}") }.build())?;
    let read = |path: &PathBuf| std::fs::read(path).context(ReadSnafu { path });
    let password = arguments.password_file.as_ref().map(read).transpose()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
    let registry = Registry {
        url,
        credentials: arguments.user.zip(password.map(text)),
        authority: arguments.ca.as_ref().map(read).transpose()?,
    };
    let cache = Cache::of_user()?;
    let names = if arguments.names.is_empty() {
        oaas_image::list(&cache)?.images.into_keys().collect()
    } else {
        arguments.names
    };
    let progress = context.progress(None);
    let task = Task::root(progress.sink(), "push");
    let mut pushed = BTreeMap::new();
    for name in names {
        let part = task.child(name.clone());
        let reference = part.end_with(push::push(&cache, &name, &registry, &arguments.tag, &part).await)?;
        pushed.insert(name, reference);
    }
    task.done();
    progress.finish()?;
    context.answer(&pushed, |pushed| pushed.values().map(|reference| format!("{reference}\n")).collect())
}

async fn lock(arguments: Lock, context: &Context) -> Result<(), Failure> {
    let constraints = arguments.constraints.as_ref();
    let constraints =
        constraints.map(|path| std::fs::read_to_string(path).context(ReadSnafu { path })).transpose()?;
    let progress = context.progress(None);
    let task = Task::root(progress.sink(), "locks");
    let directory = &arguments.directory;
    let refreshed = match &arguments.python {
        None => oaas_image::lock::debian(&Cache::of_user()?, directory, &task).await,
        Some(of) => {
            let options = BuildOptions::of_user()?;
            oaas_image::lock::python(&options, directory, of, constraints, &task).await
        }
    };
    let refreshed = task.end_with(refreshed);
    progress.finish()?;
    context.answer(&refreshed?, |refreshed| {
        let lines = refreshed.changes.iter().map(|(file, changes)| match changes.len() {
            0 => format!("{file}: unchanged\n"),
            _ => format!(
                "{file}:\n{}",
                changes.iter().map(|change| format!("  {change}\n")).collect::<String>()
            ),
        });
        lines.collect()
    })
}

/// The images as people read them.
fn table(built: &BuiltImages) -> String {
    if built.images.is_empty() {
        return "no image was built yet; `oaas image build` builds them\n".to_owned();
    }
    let mut rows = vec![["IMAGE", "SIZE", "UNPACKED", "PACKAGES", "REFERENCE"].map(str::to_owned).to_vec()];
    rows.extend(built.images.iter().map(|(name, image)| {
        vec![
            name.clone(),
            megabytes(image.size),
            megabytes(image.unpacked),
            image.packages.to_string(),
            image.reference.clone(),
        ]
    }));
    columns(&rows)
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}
