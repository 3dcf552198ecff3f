//! What lines of logs mean.

/// What a line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clue {
    /// The cause in words.
    pub cause: &'static str,
    /// What to do.
    pub advice: Advice,
}

/// What to do about a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Give its volume more room.
    GrowVolume,
    /// Raise its memory limit.
    RaiseMemory,
    /// Find out who has the port.
    FreePort,
    /// Look at the database.
    Database,
    /// Look at the message bus.
    MessageBus,
    /// Nothing that would always help is known.
    None,
}

/// Words that a line contains (in lower case), and what they mean; the first that fits counts. Sources: errno texts of
/// glibc, oslo.db's, PyMySQL's and oslo.messaging's exceptions, MariaDB's and RabbitMQ's logs, Python's ssl module.
const CLUES: &[(&[&str], Clue)] = &[
    (&["no space left on device"], Clue { cause: "its volume is full", advice: Advice::GrowVolume }),
    (&["errcode: 28"], Clue { cause: "its volume is full", advice: Advice::GrowVolume }),
    (&["disk is full"], Clue { cause: "its volume is full", advice: Advice::GrowVolume }),
    (&["enospc"], Clue { cause: "its volume is full", advice: Advice::GrowVolume }),
    (&["disk quota exceeded"], Clue { cause: "its volume is full", advice: Advice::GrowVolume }),
    (
        &["address already in use"],
        Clue { cause: "its port is taken by somebody else", advice: Advice::FreePort },
    ),
    (&["eaddrinuse"], Clue { cause: "its port is taken by somebody else", advice: Advice::FreePort }),
    (&["cannot bind socket"], Clue { cause: "its port is taken by somebody else", advice: Advice::FreePort }),
    (&["cannot allocate memory"], Clue { cause: "it gets no more memory", advice: Advice::RaiseMemory }),
    (
        &["because memory ran out"],
        Clue { cause: "it needs more memory than its limit", advice: Advice::RaiseMemory },
    ),
    (&["memoryerror"], Clue { cause: "it gets no more memory", advice: Advice::RaiseMemory }),
    (
        &["access denied for user"],
        Clue { cause: "the database refuses its password", advice: Advice::Database },
    ),
    (&["unknown database"], Clue { cause: "its database does not exist", advice: Advice::Database }),
    (
        &["doesn't exist", "(1146"],
        Clue { cause: "a table of its database is missing", advice: Advice::Database },
    ),
    (&["can't connect to mysql"], Clue { cause: "the database does not answer", advice: Advice::Database }),
    (
        &["can't connect to server", "mysql"],
        Clue { cause: "the database does not answer", advice: Advice::Database },
    ),
    (&["lost connection to mysql"], Clue { cause: "the database does not answer", advice: Advice::Database }),
    (&["dbconnectionerror"], Clue { cause: "the database does not answer", advice: Advice::Database }),
    (
        &["wsrep has not yet prepared node"],
        Clue { cause: "the database has lost its quorum", advice: Advice::Database },
    ),
    (&["access_refused"], Clue { cause: "the message bus refuses its password", advice: Advice::MessageBus }),
    (&["amqp", "unreachable"], Clue { cause: "the message bus does not answer", advice: Advice::MessageBus }),
    (
        &["messagedeliveryfailure"],
        Clue { cause: "the message bus does not answer", advice: Advice::MessageBus },
    ),
    (&["certificate has expired"], Clue { cause: "a certificate has expired", advice: Advice::None }),
    (&["certificate verify failed"], Clue { cause: "a certificate is not trusted", advice: Advice::None }),
    (&["permission denied"], Clue { cause: "it may not read or write something", advice: Advice::None }),
    (&["read-only file system"], Clue { cause: "it writes where it may not", advice: Advice::None }),
    (&["modulenotfounderror"], Clue { cause: "its image lacks a module", advice: Advice::None }),
    (&["no such file or directory"], Clue { cause: "a file is missing", advice: Advice::None }),
    (&["name or service not known"], Clue { cause: "a name does not resolve", advice: Advice::None }),
    (
        &["connection refused"],
        Clue { cause: "something that it needs does not answer", advice: Advice::None },
    ),
];

/// Words that make a line one that tells of a failure, where no clue fits: levels of logs and names of exceptions, as
/// programs write them, so that prose and markup that only speak of errors do not count.
const LOUD: [&str; 11] = [
    "CRITICAL",
    "FATAL",
    "ERROR",
    "Traceback",
    "panicked",
    "Error:",
    "Exception:",
    "error:",
    "fatal:",
    "failed:",
    "FAILED",
];
/// The agent's own lines about probes say only that the program does not answer, which is known.
const PROBE: &str = "oaas_agent: failed to ";
/// Longer lines are cut: a page of HTML is no explanation.
const LONGEST: usize = 300;

/// The newest line that means something that is known, else the newest that tells of a failure; lines of the program
/// before lines of the agent about its probes.
pub fn telling(log: &[String]) -> Option<(String, Option<Clue>)> {
    let (probes, own): (Vec<&String>, Vec<&String>) = log.iter().partition(|line| line.contains(PROBE));
    newest(&own).or_else(|| newest(&probes))
}

fn newest(log: &[&String]) -> Option<(String, Option<Clue>)> {
    let known = log.iter().rev().find_map(|line| clue(line).map(|clue| (cut(line), Some(clue))));
    let loud = || {
        let found = log.iter().rev().find(|line| LOUD.iter().any(|word| line.contains(word)));
        found.map(|line| (cut(line), None))
    };
    known.or_else(loud)
}

/// The line without what surrounds it, and without its end when it is very long.
fn cut(line: &str) -> String {
    let line = line.trim();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line.to_owned(),
    }
}

/// What the line means.
pub fn clue(line: &str) -> Option<Clue> {
    let line = line.to_lowercase();
    CLUES.iter().find(|(words, _)| words.iter().all(|word| line.contains(word))).map(|(_, clue)| *clue)
}
