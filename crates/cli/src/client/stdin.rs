//! Whether the client reads its stdin. Pure.
//!
//! A client that is given a stdin which it does not need takes it away from whoever does: the rest of a shell's
//! `while read` loop.

/// What the client gets as its stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing: an empty one.
    Empty,
    /// None at all, which tells the client that no data is meant (`get_data_from_stdin` of python-openstackclient).
    Closed,
    /// The caller's.
    Callers,
}

/// Names of one's own stdin.
pub const OWN: [&str; 3] = ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];
/// Options without which these commands take data from stdin: an image's bytes.
const DATA: [(&[&str], &[&str]); 2] =
    [(&["image", "create"], &["--file", "--volume"]), (&["image", "stage"], &["--file"])];
/// Commands and options that ask a question: the commands, and the option that asks, or the one that spares it.
const QUESTIONS: [(&[&str], &str, bool); 2] =
    [(&["project", "cleanup"], "--auto-approve", false), (&["server", "set"], "--root-password", true)];
/// Global options of the client that stand alone; the others below `--os-` take a value.
const ALONE: [&str; 1] = ["--os-beta-command"];

/// What the client gets as stdin with these arguments; `terminal`: the caller's stdin is a terminal.
pub fn wanted(arguments: &[String], terminal: bool) -> Stdin {
    let has = |option: &str| given(arguments, option);
    if has("--help") || has("-h") || has("--version") {
        return Stdin::Empty;
    }
    let value_of =
        |argument: &String| argument.rsplit_once('=').map_or(argument.clone(), |(_, value)| value.to_owned());
    if arguments
        .iter()
        .any(|argument| OWN.contains(&argument.as_str()) || OWN.contains(&value_of(argument).as_str()))
    {
        return Stdin::Callers;
    }
    for (command, spared_by) in DATA {
        if names(arguments, command) && !spared_by.iter().any(|option| has(option)) {
            // A terminal holds no image: as where the client runs beside it, the image is made without data.
            return if terminal { Stdin::Closed } else { Stdin::Callers };
        }
    }
    let asks =
        |(command, option, when): &(&[&str], &str, bool)| names(arguments, command) && has(option) == *when;
    if QUESTIONS.iter().any(asks) || interactive(arguments) {
        return Stdin::Callers;
    }
    Stdin::Empty
}

/// Is an option given, alone or with a value?
pub fn given(arguments: &[String], option: &str) -> bool {
    let with_value = format!("{option}=");
    arguments.iter().any(|argument| argument == option || argument.starts_with(&with_value))
}

/// Do the arguments have the words of that command, one after the other?
pub fn names(arguments: &[String], command: &[&str]) -> bool {
    arguments
        .windows(command.len())
        .any(|words| words.iter().zip(command).all(|(word, wanted)| word == wanted))
}

/// Without a command the client reads commands from its stdin.
fn interactive(arguments: &[String]) -> bool {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            return false;
        }
        if (word.starts_with("--os-") || word == "--log-file")
            && !word.contains('=')
            && !ALONE.contains(&word.as_str())
        {
            words.next();
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Stdin, wanted};

    fn of(line: &str, terminal: bool) -> Stdin {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        wanted(&arguments, terminal)
    }

    #[test]
    fn a_loop_s_stdin_is_left_to_the_loop() {
        for line in [
            "flavor show 42",
            "server create --image i --flavor f --network n vm",
            "--os-cloud demo server list",
            "image create --file disk.raw x",
            "image create --volume v x",
            "image save x",
            "image list",
            "image create --help",
            "--help",
            "--version",
            "project cleanup --auto-approve --project p",
            "server set --name other vm",
        ] {
            assert_eq!(of(line, false), Stdin::Empty, "{line}");
            assert_eq!(of(line, true), Stdin::Empty, "{line}");
        }
    }

    #[test]
    fn what_reads_it_gets_it() {
        for line in [
            "image create --disk-format raw x",
            "--os-cloud demo image stage x",
            "keypair create --public-key /dev/stdin k",
            "server create --user-data=/dev/fd/0 vm",
            "project cleanup --project p",
            "server set --root-password vm",
            "",
            "--os-cloud demo",
            "--os-beta-command",
        ] {
            assert_eq!(of(line, false), Stdin::Callers, "{line}");
        }
        // Nobody types an image; without data it is queued.
        assert_eq!(of("image create --disk-format raw x", true), Stdin::Closed);
        assert_eq!(of("--os-cloud demo", true), Stdin::Callers);
    }
}
