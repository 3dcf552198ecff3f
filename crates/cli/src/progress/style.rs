//! How lines look: with colour or without, with symbols of Unicode or of ASCII.

use std::time::Duration;

use anstyle::{AnsiColor, Style as Ansi};

/// What the screen can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Colours and weights may be used.
    pub color: bool,
    /// Symbols beyond ASCII may be used.
    pub unicode: bool,
}

/// What a piece of text is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Plain text.
    Plain,
    /// A heading or a name that matters now.
    Strong,
    /// Succeeded.
    Good,
    /// Failed.
    Bad,
    /// In progress.
    Active,
    /// Of less weight: durations, what is over.
    Faint,
}

impl Style {
    /// No colour, ASCII only.
    pub const PLAIN: Self = Self { color: false, unicode: false };

    /// What the locale says about symbols; colour is decided by the caller.
    pub fn from_environment(color: bool) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_lowercase();
        Self { color, unicode: locale.contains("utf-8") || locale.contains("utf8") }
    }

    /// `text` in its tone.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let ansi = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => Ansi::new().bold(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::Active => AnsiColor::Cyan.on_default(),
            Tone::Faint => Ansi::new().dimmed(),
        };
        if self.color { format!("{ansi}{text}{ansi:#}") } else { text.to_owned() }
    }

    /// The mark of a finished task.
    pub const fn done(self) -> &'static str {
        if self.unicode { "✓" } else { "+" }
    }

    /// The mark of a task that had nothing to do.
    pub const fn unchanged(self) -> &'static str {
        if self.unicode { "•" } else { "=" }
    }

    /// The mark of a failed task.
    pub const fn failed(self) -> &'static str {
        if self.unicode { "✗" } else { "x" }
    }

    /// The mark of a running task, turning eight times a second.
    pub fn spinner(self, elapsed: Duration) -> &'static str {
        const DOTS: [&str; 8] = ["⠋", "⠙", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇"];
        const BARS: [&str; 4] = ["|", "/", "-", "\\"];
        let frames: &[&str] = if self.unicode { &DOTS } else { &BARS };
        let turn = usize::try_from(elapsed.as_millis() / 125).unwrap_or(0);
        frames[turn % frames.len()]
    }

    /// What is left out.
    pub const fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }
}
