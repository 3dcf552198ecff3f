//! `oaas image`: builds, lists and locks the images of clouds.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use oaas_feedback::Task;
use oaas_image::{BuildOptions, BuiltImages, Cache};

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
    /// Take the newest packages into the lock files, and print the difference
    Lock(Lock),
}

#[derive(Debug, Args)]
struct Build {
    /// Only these images, such as `infra`; all when left out
    names: Vec<String>,
    /// Write where the time went: a Chrome trace, and beside it a picture (.svg)
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Lock {
    /// The directory of the lock files in a checkout
    #[arg(long, value_name = "DIRECTORY", default_value = "images/locks")]
    directory: PathBuf,
    /// Ask the mirrors for newer packages
    #[arg(long, required = true)]
    refresh: bool,
}

/// Do it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<(), Failure> {
    match arguments.action {
        Action::Build(arguments) => build(arguments, context).await,
        Action::List => context.answer(&oaas_image::list(&Cache::of_user()?)?, table),
        Action::Lock(arguments) => lock(arguments, context).await,
    }
}

async fn build(arguments: Build, context: &Context) -> Result<(), Failure> {
    let progress = context.progress(arguments.trace);
    let mut options = BuildOptions::of_user()?;
    let task = Task::root(progress.sink(), "images");
    let cache = Cache::of_user()?;
    options.artefacts.insert("guest".into(), guest::ensure(&cache, &task).await?);
    let built = task.end_with(oaas_image::build(&options, &arguments.names, &task).await);
    progress.finish()?;
    context.answer(&built?, table)
}

async fn lock(arguments: Lock, context: &Context) -> Result<(), Failure> {
    let progress = context.progress(None);
    let task = Task::root(progress.sink(), "locks");
    let refreshed =
        task.end_with(oaas_image::lock::debian(&Cache::of_user()?, &arguments.directory, &task).await);
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
