//! What lines of logs mean, and which of them tells why something fails.

use oaas_api::Reason;

/// What a line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clue {
    /// The cause in words.
    pub cause: &'static str,
    /// What to do.
    pub advice: Advice,
    /// The typed reason, where there is one of its own.
    pub reason: Option<Reason>,
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
    /// Name an image that there is.
    CheckImage,
    /// Make room on the nodes.
    MakeRoom,
    /// Another pod has the port on every node.
    PortOnEveryNode,
    /// A node takes no new pods.
    Uncordon,
    /// Label a node.
    LabelNode,
    /// Nothing that would always help is known.
    None,
}

/// Words that a line contains (in lower case), and what they mean; the first that fits counts. Sources: errno texts of
/// glibc, oslo.db's, PyMySQL's and oslo.messaging's exceptions, MariaDB's and RabbitMQ's logs, Python's ssl module.
const CLUES: &[(&[&str], Clue)] = &[
    (&["no space left on device"], FULL),
    (&["errcode: 28"], FULL),
    (&["disk is full"], FULL),
    (&["enospc"], FULL),
    (&["disk quota exceeded"], FULL),
    (&["address already in use"], TAKEN),
    (&["eaddrinuse"], TAKEN),
    (&["cannot bind socket"], TAKEN),
    (&["cannot allocate memory"], NO_MEMORY),
    (&[KILLED], memory("it needs more memory than its limit")),
    (&["memoryerror"], NO_MEMORY),
    (&["access denied for user"], database("the database refuses its password")),
    (&["unknown database"], database("its database does not exist")),
    (&["doesn't exist", "(1146"], database("a table of its database is missing")),
    (&["can't connect to mysql"], SILENT_DATABASE),
    (&["can't connect to server", "mysql"], SILENT_DATABASE),
    (&["lost connection to mysql"], SILENT_DATABASE),
    (&["dbconnectionerror"], SILENT_DATABASE),
    (&["wsrep has not yet prepared node"], database("the database has lost its quorum")),
    (&["access_refused"], bus("the message bus refuses its password")),
    (&["amqp", "unreachable"], bus("the message bus does not answer")),
    (&["messagedeliveryfailure"], bus("the message bus does not answer")),
    (&["certificate has expired"], other("a certificate has expired")),
    (&["certificate verify failed"], other("a certificate is not trusted")),
    (&["permission denied"], other("it may not read or write something")),
    (&["read-only file system"], other("it writes where it may not")),
    (&["modulenotfounderror"], other("its image lacks a module")),
    (&["no such file or directory"], other("a file is missing")),
    (&["name or service not known"], other("a name does not resolve")),
    (&["connection refused"], other("something that it needs does not answer")),
];

/// What the agent says of a program that the kernel has killed: it has seen it, so it counts before what the program says.
const KILLED: &str = "because memory ran out";

const FULL: Clue =
    Clue { cause: "its volume is full", advice: Advice::GrowVolume, reason: Some(Reason::VolumeFull) };
const TAKEN: Clue = Clue {
    cause: "its port is taken by somebody else",
    advice: Advice::FreePort,
    reason: Some(Reason::PortTaken),
};
const NO_MEMORY: Clue = memory("it gets no more memory");
const SILENT_DATABASE: Clue = database("the database does not answer");

const fn memory(cause: &'static str) -> Clue {
    Clue { cause, advice: Advice::RaiseMemory, reason: Some(Reason::OutOfMemory) }
}

const fn database(cause: &'static str) -> Clue {
    Clue { cause, advice: Advice::Database, reason: Some(Reason::DatabaseDown) }
}

const fn bus(cause: &'static str) -> Clue {
    Clue { cause, advice: Advice::MessageBus, reason: Some(Reason::MessagingDown) }
}

/// One that is often an effect of something else.
const fn other(cause: &'static str) -> Clue {
    Clue { cause, advice: Advice::None, reason: None }
}

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
/// Levels as logs write them, of which the rest of the line is the message.
const LEVELS: [&str; 3] = ["CRITICAL", "FATAL", "ERROR"];
/// How the agent in the pod names itself in its own lines, beside those of the program that it runs.
const AGENT: [&str; 2] = [" oaas_agent: ", " oaas_agent::"];
/// Longer lines are cut: a page of HTML is no explanation.
const LONGEST: usize = 300;

/// The line that tells why the program fails, and what it means if that is known.
///
/// The program's own lines count before the agent's, which can only tell that the program ended or does not answer; but for a
/// program that the kernel has killed, which cannot tell it itself. Among them, in this order: the newest whose cause is
/// known for sure, the newest that tells of a failure, the newest with a cause that may be an effect.
pub fn telling(log: &[String]) -> Option<(String, Option<Clue>)> {
    let (agent, own): (Vec<&str>, Vec<&str>) =
        log.iter().map(String::as_str).partition(|line| AGENT.iter().any(|name| line.contains(name)));
    let killed = agent.iter().rev().find(|line| line.contains(KILLED));
    killed.map(|line| told(line)).or_else(|| most_telling(&own)).or_else(|| most_telling(&agent))
}

fn told(line: &str) -> (String, Option<Clue>) {
    (cut(line), clue(line))
}

fn most_telling(log: &[&str]) -> Option<(String, Option<Clue>)> {
    let newest =
        |fits: &dyn Fn(&str) -> bool| log.iter().rev().find(|line| fits(line)).map(|line| told(line));
    newest(&|line| clue(line).is_some_and(|clue| clue.reason.is_some()))
        .or_else(|| raised(log).map(told))
        .or_else(|| newest(&is_loud))
        .or_else(|| newest(&|line| clue(line).is_some()))
}

/// Does the line tell of a failure? A level and a logger's name without a message do not.
fn is_loud(line: &str) -> bool {
    let bare = LEVELS.iter().any(|level| {
        line.split_once(level)
            .is_some_and(|(_, rest)| rest.starts_with(' ') && rest.split_whitespace().count() < 2)
    });
    !bare && LOUD.iter().any(|word| line.contains(word))
}

/// The exception of the newest traceback of Python, where no later line tells of a failure: the first line behind it that is
/// not indented. Its name need not have the word error in it.
fn raised<'a>(log: &[&'a str]) -> Option<&'a str> {
    let start = log.iter().rposition(|line| line.contains("Traceback (most recent call last)"))?;
    // Behind the logger's prefix, which every line of a logged traceback has.
    let indent = log[start].find("Traceback")?;
    let message = |line: &&&'a str| {
        line.get(indent..).is_some_and(|rest| !rest.is_empty() && !rest.starts_with([' ', '^', '~']))
    };
    let at = start + 1 + log[start + 1..].iter().position(|line| message(&line))?;
    let later = log[at + 1..].iter().any(|line| is_loud(line));
    (!later).then_some(log[at])
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

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    fn line(lines: &[&str]) -> Option<String> {
        telling(&log(lines)).map(|(line, _)| line)
    }

    #[test]
    fn clues_tell_what_lines_mean() {
        assert_eq!(clue("INFO ready to accept connections"), None);
        assert_eq!(
            clue("OSError: [Errno 98] Address already in use").unwrap().cause,
            "its port is taken by somebody else"
        );
        assert_eq!(
            line(&["ERROR first", "no space left on device", "ERROR last"]).unwrap(),
            "no space left on device"
        );
        assert_eq!(line(&["ERROR the first", "all good"]).unwrap(), "ERROR the first");
        assert_eq!(line(&["all good"]), None);
        // Markup that speaks of errors is no failure, and very long lines are cut.
        assert_eq!(line(&["<div class=\"error-message\" ng-show=\"hasError\">"]), None);
        let long = format!("ERROR x {}", "é".repeat(1000));
        assert_eq!(line(&[&long]).unwrap().chars().count(), 302);
        // A cause that may be an effect gives way to what the program says of itself.
        let both = ["2026 WARNING urllib3 [-] retrying: Connection refused", "ValueError: no such provider"];
        assert_eq!(line(&both).unwrap(), both[1]);
        assert_eq!(line(&both[..1]).unwrap(), both[0]);
    }

    #[test]
    fn the_program_s_own_line_counts_before_the_agent_s() {
        let agent = [
            "2026-11-29T10:00:01Z ERROR oaas_agent: program=\"uwsgi\" pid=12 the program ended: with exit code 22",
            "2026-11-29T10:00:02Z  WARN oaas_agent: failed to get https://localhost:5000/: Connection refused",
            "2026-11-29T10:00:02Z ERROR oaas_agent::health: failed to answer",
        ];
        let own = "ImportError: Unable to find 'nothing' driver in 'keystone.token.provider'.";
        let all = [&[own][..], &agent].concat();
        assert_eq!(line(&all).unwrap(), own);
        assert_eq!(line(&agent).unwrap(), agent[2]);
        // What the kernel did the program cannot tell.
        let killed =
            "2026-11-29T10:00:03Z ERROR oaas_agent: the program ended: by signal 9, because memory ran out";
        assert_eq!(line(&[own, killed]).unwrap(), killed);
    }

    #[test]
    fn an_exception_is_told_by_its_last_line() {
        let plain = [
            "Traceback (most recent call last):",
            "  File \"x.py\", line 3, in <module>",
            "    raise NoMatches()",
            "    ^^^^^^^^^^^^^^^^^",
            "stevedore.exception.NoMatches: No 'keystone.token.provider' driver found, looking for 'nothing'",
            "unable to load app 0 (mountpoint='') (callable not found or import error)",
            "*** no app loaded. GAME OVER ***",
        ];
        assert!(line(&plain).unwrap().starts_with("stevedore.exception.NoMatches"));
        let logged = [
            "2026-11-29 10:00:00.000 7 ERROR nova Traceback (most recent call last):",
            "2026-11-29 10:00:00.000 7 ERROR nova   File \"x.py\", line 3",
            "2026-11-29 10:00:00.000 7 ERROR nova nova.exception.Odd: it is odd",
            "2026-11-29 10:00:00.000 7 ERROR nova ",
        ];
        assert!(line(&logged).unwrap().ends_with("it is odd"));
        // What comes later counts.
        let later = [&plain[..], &["CRITICAL x: gave up"]].concat();
        assert_eq!(line(&later).unwrap(), "CRITICAL x: gave up");
    }
}
