//! `oaas why`: the chain of causes of what is not ready.

use std::fmt::Write;

use clap::Args;
use oaas_catalog::Catalog;
use oaas_diagnosis::chain::{Chain, chains};
use oaas_diagnosis::facts::Facts;
use oaas_feedback::{Explain, Kind, nearest};
use snafu::{ResultExt, Snafu};

use crate::clouds::{self, CloudArgs};
use crate::context::Context;
use crate::kubernetes::Patience;
use crate::progress::Style;
use crate::progress::style::Tone;
use crate::report::Failure;
use crate::silence;
use crate::why::gather;

/// Arguments of `oaas why`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The component that is asked about, such as `nova-compute`; all when left out
    pub component: Option<String>,
    #[command(flatten)]
    cloud: CloudArgs,
}

/// Why the question cannot be answered.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The cloud has no such component.
    #[snafu(display("cloud {cloud} has no component `{component}`"))]
    NoComponent {
        /// The cloud.
        cloud: String,
        /// What was asked for.
        component: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The catalog that is compiled in cannot be read.
    #[snafu(display("failed to read the service catalog of this program"))]
    Catalog {
        /// Why.
        source: oaas_catalog::LoadError,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NoComponent { .. } => Kind::Input,
            Self::Catalog { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoComponent { component, known, .. } => Some(no_component_hint(component, known)),
            Self::Catalog { .. } => None,
        }
    }
}

/// The nearest component, or all of them.
pub fn no_component_hint(given: &str, known: &[String]) -> String {
    match nearest(given, known) {
        Some(nearest) => format!("the nearest is `{nearest}`"),
        None if known.is_empty() => "it has no component yet; `oaas why` says what it waits for".to_owned(),
        None => format!("its components are: {}", known.join(", ")),
    }
}

/// Ask and answer.
pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let (client, cloud) = clouds::connect(&context.global, &arguments.cloud, Patience::Answer).await?;
    let catalog = Catalog::built_in().context(CatalogSnafu)?;
    let mut facts = gather::facts(&client, &cloud, &catalog).await?;
    facts.silence = silence::of_operator(&client).await.map(|silence| silence.words());
    let unknown = |component: &&String| !facts.components.contains_key(*component);
    if let Some(component) = arguments.component.as_ref().filter(unknown) {
        let known: Vec<String> = facts.components.keys().cloned().collect();
        return Err(NoComponentSnafu { cloud: facts.cloud, component, known }.build().into());
    }
    let found = chains(&facts, arguments.component.as_deref());
    let style = Style::from_environment(context.colors());
    context.answer(&found, |found| text(&facts, arguments.component.as_deref(), found, style))
}

/// The chains as people read them.
pub fn text(facts: &Facts, asked: Option<&str>, chains: &[Chain], style: Style) -> String {
    if chains.is_empty() {
        let ready =
            asked.map_or_else(|| format!("cloud {}", facts.cloud), |name| format!("component {name}"));
        let settled = asked.is_some() || facts.phase == Some(oaas_api::Phase::Ready);
        let words = if settled { "is ready" } else { "has nothing that fails; the operator is at work" };
        return format!("{ready} {words}\n");
    }
    chains.iter().map(|chain| one(chain, style)).collect::<Vec<_>>().join("\n")
}

fn one(chain: &Chain, style: Style) -> String {
    let arrow = if style.unicode { "←" } else { "<-" };
    let mut out = String::new();
    // Writing to a String does not fail.
    for (depth, name) in chain.components.iter().enumerate() {
        let _ = match depth {
            0 => writeln!(out, "{} is not ready", style.paint(Tone::Strong, name)),
            _ => writeln!(out, "  {arrow} waits for {}", style.paint(Tone::Strong, name)),
        };
    }
    let cause = &chain.cause;
    let lead = if chain.components.is_empty() { String::new() } else { format!("  {arrow} ") };
    let _ = writeln!(out, "{lead}{}: {}", style.paint(Tone::Bad, &cause.object), cause.says);
    if let Some(log) = &cause.log {
        let _ = writeln!(out, "    {} {log}", style.paint(Tone::Faint, "log:"));
    }
    if let Some(advice) = &cause.advice {
        let _ = writeln!(out, "    {} {advice}", style.paint(Tone::Active, "hint:"));
    }
    if !chain.also_waiting.is_empty() {
        let _ = writeln!(
            out,
            "    {} {}",
            style.paint(Tone::Faint, "also waiting:"),
            chain.also_waiting.join(", ")
        );
    }
    out
}
