//! What every command has at hand: the global options, the clock, progress, and where the answer goes.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anstream::AutoStream;
use clap::ColorChoice;
use oaas_feedback::{Explain, Kind, Sink};
use serde::Serialize;
use snafu::{ResultExt, Snafu};

use crate::global::{Global, Output};
use crate::progress::json::Json;
use crate::progress::lines::Lines;
use crate::progress::live::Live;
use crate::progress::trace::Trace;
use crate::progress::{Clock, Shown, Style, SystemClock, Tee};
use crate::report::Failure;

/// Why an answer could not be given.
#[derive(Debug, Snafu)]
pub enum Error {
    /// stdout is closed or full.
    #[snafu(display("failed to write to stdout"))]
    Stdout {
        /// What the system said.
        source: std::io::Error,
    },
    /// The answer has no JSON form.
    #[snafu(display("failed to write the answer as JSON"))]
    Json {
        /// What the writer said.
        source: serde_json::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Failed
    }
}

/// What every command has at hand.
pub struct Context {
    /// The global options.
    pub global: Global,
    /// Time since the command began.
    pub clock: Arc<dyn Clock>,
}

impl Context {
    /// A context whose clock begins now.
    pub fn new(global: Global) -> Self {
        Self { global, clock: Arc::new(SystemClock::start()) }
    }

    /// Whether answers, progress and errors are JSON.
    pub fn json(&self) -> bool {
        self.global.output == Output::Json
    }

    /// Whether the answer on stdout may be coloured.
    pub fn colors(&self) -> bool {
        match stream_choice(self.global.color) {
            anstream::ColorChoice::Auto => {
                AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
            }
            choice => choice != anstream::ColorChoice::Never,
        }
    }

    /// Print the answer: `value` as JSON, or the text made of it.
    pub fn answer<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let printed =
            if self.json() { serde_json::to_string_pretty(value).context(JsonSnafu)? } else { text(value) };
        self.print(&format!("{}\n", printed.trim_end_matches('\n')))
    }

    /// Print to stdout, without colours where they are not wanted.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = AutoStream::new(std::io::stdout(), stream_choice(self.global.color)).lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // The reader has seen enough (`oaas logs … | head`).
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => Ok(result.context(StdoutSnafu)?),
        }
    }

    /// Begin to show progress on stderr; with a file, keep a trace for it too.
    pub fn progress(&self, trace: Option<PathBuf>) -> Progress {
        let clock = Arc::clone(&self.clock);
        let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
        let mut live = None;
        match Shown::choose(self.json(), self.global.verbose > 0) {
            Shown::Live => {
                let style = Style::from_environment(colors_on_stderr(self.global.color));
                let drawn = Arc::new(Live::start(Arc::clone(&clock), style));
                live = Some(Arc::clone(&drawn));
                sinks.push(drawn);
            }
            Shown::Lines => {
                let lines = Arc::new(Lines::new(Arc::clone(&clock), std::io::stderr()));
                lines.keep_alive();
                sinks.push(lines);
            }
            Shown::Json => sinks.push(Arc::new(Json::new(Arc::clone(&clock), std::io::stderr()))),
        }
        let trace = trace.map(|path| (path, Arc::new(Trace::new(clock))));
        if let Some((_, trace)) = &trace {
            sinks.push(Arc::clone(trace) as Arc<dyn Sink>);
        }
        Progress { sink: Arc::new(Tee::new(sinks)), live, trace }
    }
}

/// Progress being shown. Dropped (also by an interrupt), it leaves the screen in order and the trace written.
pub struct Progress {
    sink: Arc<dyn Sink>,
    live: Option<Arc<Live>>,
    trace: Option<(PathBuf, Arc<Trace>)>,
}

impl Progress {
    /// Where tasks report.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.sink)
    }

    /// Leave the finished tree on the screen and write the trace.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.close()
    }

    fn close(&mut self) -> Result<(), Failure> {
        if let Some(live) = self.live.take() {
            live.finish();
        }
        match self.trace.take() {
            Some((path, trace)) => Ok(trace.write(&path)?),
            None => Ok(()),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Err(failure) = self.close() {
            tracing::warn!("{failure}");
        }
    }
}

/// `--color` for streams that strip colours themselves.
pub fn stream_choice(color: ColorChoice) -> anstream::ColorChoice {
    match color {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
}

/// Whether stderr is to be coloured.
pub fn colors_on_stderr(color: ColorChoice) -> bool {
    match stream_choice(color) {
        anstream::ColorChoice::Auto => AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never,
        choice => choice != anstream::ColorChoice::Never,
    }
}
