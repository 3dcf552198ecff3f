//! The one place that tells people what went wrong.

use std::error::Error;
use std::fmt;

use oaas_feedback::{Explain, Kind, within};
use serde_json::{Value, json};

use crate::progress::Style;
use crate::progress::style::Tone;

/// Longest word or quoted text of a message: whoever repeats input cuts it to less, and paths and commands are shorter.
const WIDEST: usize = 250;

/// Any command's failure: an explained error of some crate.
pub struct Failure(Box<dyn Explain>);

impl Failure {
    /// The exit code that goes with it.
    pub fn exit_code(&self) -> u8 {
        self.0.kind().exit_code()
    }

    /// The error itself.
    pub fn error(&self) -> &dyn Explain {
        self.0.as_ref()
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is said of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    kind: Kind,
}

impl Report {
    /// Everything that the error says: its message, its sources outermost first, its hint.
    pub fn of(error: &dyn Explain) -> Self {
        let causes =
            std::iter::successors(error.source(), |cause| (*cause).source()).map(words).collect::<Vec<_>>();
        // A source that its parent hands on unchanged (a transparent variant) or repeats at its end is said once; so is one
        // that only adds the name of its kind.
        let mut message = vec![error.to_string()];
        for cause in causes {
            let repeats = |said: &String| said.ends_with(&cause) || cause.starts_with(&format!("{said}: "));
            if !message.last().is_some_and(repeats) {
                message.push(cause);
            }
        }
        let causes = message.split_off(1);
        let short = |text: String| within(&text, WIDEST).into_owned();
        Self {
            message: short(message.concat()),
            causes: causes.into_iter().map(short).collect(),
            hint: error.hint().map(short),
            kind: error.kind(),
        }
    }

    /// For people.
    pub fn text(&self, style: Style) -> String {
        let indent = |text: &str| text.trim_end().replace('\n', "\n    ");
        let first = format!("{} {}\n", style.paint(Tone::Bad, "error:"), indent(&self.message));
        let causes = self
            .causes
            .iter()
            .map(|cause| format!("  {} {}\n", style.paint(Tone::Faint, "caused by:"), indent(cause)));
        let hint =
            self.hint.iter().map(|hint| format!("{} {}\n", style.paint(Tone::Active, "hint:"), indent(hint)));
        std::iter::once(first).chain(causes).chain(hint).collect()
    }

    /// For programs: one line.
    pub fn json(&self) -> Value {
        json!({
            "event": "error",
            "kind": kind_name(self.kind),
            "exitCode": self.kind.exit_code(),
            "message": self.message,
            "causes": self.causes,
            "hint": self.hint,
        })
    }
}

/// What a cause says. The client of Kubernetes wraps it into words for programmers.
fn words(cause: &(dyn Error + 'static)) -> String {
    let boxed = || cause.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref);
    let streamed = || cause.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<kube::Error>();
    match cause.downcast_ref::<kube::Error>().or_else(boxed).or_else(streamed) {
        Some(kube::Error::Api(status)) => status.message.clone(),
        Some(kube::Error::Service(source)) => source.to_string(),
        _ => cause.to_string(),
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "failed",
        Kind::Input => "input",
        Kind::Environment => "environment",
        Kind::Busy => "busy",
        Kind::NotReady => "notReady",
        Kind::Integrity => "integrity",
        Kind::Interrupted => "interrupted",
    }
}

/// A command line that clap refused, as an explained error.
#[derive(Debug)]
pub struct ArgumentError {
    message: String,
    hint: String,
}

impl ArgumentError {
    /// Take clap's rendering apart: its first paragraph is the message, its tips and the usage are the hint.
    pub fn new(error: &clap::Error) -> Self {
        let rendered = error.to_string();
        let mut message = Vec::new();
        let mut tips = Vec::new();
        let mut usage = None;
        for line in rendered.lines().map(str::trim) {
            if let Some(tip) = line.strip_prefix("tip: ") {
                tips.push(tip.to_owned());
            } else if let Some(line) = line.strip_prefix("Usage: ") {
                usage = Some(line.to_owned());
            } else if usage.is_none() && !line.is_empty() && !line.starts_with("For more information") {
                message.push(line.strip_prefix("error: ").unwrap_or(line).to_owned());
            }
        }
        let hint = match (tips.is_empty(), usage) {
            (false, _) => tips.join("; "),
            (true, Some(usage)) => format!("the form is `{usage}`; more with `--help`"),
            (true, None) => "see `oaas --help`".to_owned(),
        };
        Self { message: message.join("\n"), hint }
    }
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ArgumentError {}

impl Explain for ArgumentError {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

/// The user (SIGINT) or the system (SIGTERM) stopped the command.
#[derive(Debug)]
pub struct Interrupted {
    /// What stopped it, such as `Ctrl-C`.
    pub by: &'static str,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by {}", self.by)
    }
}

impl Error for Interrupted {}

impl Explain for Interrupted {
    fn kind(&self) -> Kind {
        Kind::Interrupted
    }

    fn hint(&self) -> Option<String> {
        Some("nothing is broken: the same command goes on where it stopped".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{Interrupted, Report};
    use crate::progress::Style;
    use oaas_feedback::{Explain, Kind};
    use snafu::{ResultExt, Snafu};

    #[derive(Debug, Snafu)]
    enum Inner {
        #[snafu(display("failed to read the lock of image infra"))]
        Lock { source: std::io::Error },
    }

    #[derive(Debug, Snafu)]
    enum Outer {
        #[snafu(transparent)]
        Handed { source: Inner },
        #[snafu(display("failed to build image infra"))]
        Build { source: Inner },
    }

    impl Explain for Outer {
        fn kind(&self) -> Kind {
            Kind::Integrity
        }
        fn hint(&self) -> Option<String> {
            Some("run `oaas image lock --refresh`\nand read the difference".to_owned())
        }
    }

    fn inner() -> Result<(), Inner> {
        Err(std::io::Error::other("line one\nline two")).context(LockSnafu)
    }

    #[test]
    fn the_chain_is_told_from_the_outside_in() {
        let error = inner().context(BuildSnafu).unwrap_err();
        insta::assert_snapshot!(Report::of(&error).text(Style::PLAIN), @r"
        error: failed to build image infra
          caused by: failed to read the lock of image infra
          caused by: line one
            line two
        hint: run `oaas image lock --refresh`
            and read the difference
        ");
        insta::assert_json_snapshot!(Report::of(&error).json());
    }

    #[test]
    fn what_is_handed_on_unchanged_is_told_once() {
        let error = Outer::from(inner().unwrap_err());
        assert_eq!(Report::of(&error).causes, ["line one\nline two"]);
    }

    #[test]
    fn what_others_said_is_cut_to_what_a_screen_shows() {
        #[derive(Debug, Snafu)]
        #[snafu(display("Invalid value: \"{given}\": is too long"))]
        struct Refused {
            given: String,
        }
        impl Explain for Refused {
            fn kind(&self) -> Kind {
                Kind::Input
            }
            fn hint(&self) -> Option<String> {
                Some(format!("write something shorter than {}", self.given))
            }
        }
        let report = Report::of(&Refused { given: "a".repeat(1_000_000) });
        let text = report.text(Style::PLAIN);
        assert!(text.chars().count() < 700, "{text}");
        assert!(text.contains("aaa\": is too long\n"), "{text}");
        assert!(report.json().to_string().len() < 900);
    }

    #[test]
    fn an_interrupt_says_that_the_command_can_go_on() {
        insta::assert_snapshot!(Report::of(&Interrupted { by: "Ctrl-C" }).text(Style::PLAIN), @r"
        error: interrupted by Ctrl-C
        hint: nothing is broken: the same command goes on where it stopped
        ");
    }
}
