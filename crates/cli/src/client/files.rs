//! Files of the caller that the client's arguments name. Pure.
//!
//! The client runs in a pod, which has none of them. Which options name files is taken from python-openstackclient and the
//! plug-ins in its image: what they open, and nothing else, since any word may happen to be a file's name as well.

use std::path::{Path, PathBuf};

use super::stdin::{OWN, given, names};

/// How an argument's file is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Read.
    Read,
    /// Read if there is such a file; else the value itself is meant.
    ReadIfThere,
    /// Read; the value is `PLACE=FILE`.
    ReadAfterEquals,
    /// Read from stdin when the option is left out, which spares a copy of what may be large.
    Input,
    /// Written.
    Write,
    /// Written to stdout when the option is left out.
    Output,
}

/// A command's option that names a file; `""` is its word that is no option's.
const PLACES: &[(&[&str], &str, Use)] = &[
    (&["keypair", "create"], "--public-key", Use::Read),
    (&["keypair", "create"], "--private-key", Use::Write),
    (&["image", "create"], "--file", Use::Input),
    (&["image", "create"], "--sign-key-path", Use::Read),
    (&["image", "stage"], "--file", Use::Input),
    (&["image", "save"], "--file", Use::Output),
    (&["server", "create"], "--user-data", Use::Read),
    (&["server", "create"], "--file", Use::ReadAfterEquals),
    (&["server", "create"], "--block-device", Use::ReadIfThere),
    (&["server", "rebuild"], "--user-data", Use::Read),
    (&["application", "credential", "create"], "--access-rules", Use::ReadIfThere),
    (&["identity", "provider", "create"], "--remote-id-file", Use::Read),
    (&["identity", "provider", "set"], "--remote-id-file", Use::Read),
    (&["mapping", "create"], "--rules", Use::Read),
    (&["mapping", "set"], "--rules", Use::Read),
    (&["policy", "create"], "", Use::ReadIfThere),
    (&["policy", "set"], "--rules", Use::Read),
    (&["endpoint", "group", "create"], "", Use::ReadIfThere),
    (&["endpoint", "group", "set"], "--filters", Use::Read),
    (&["stack", "create"], "--template", Use::ReadIfThere),
    (&["stack", "create"], "-t", Use::ReadIfThere),
    (&["stack", "create"], "--environment", Use::Read),
    (&["stack", "create"], "-e", Use::Read),
    (&["stack", "update"], "--template", Use::ReadIfThere),
    (&["stack", "update"], "-t", Use::ReadIfThere),
    (&["stack", "update"], "--environment", Use::Read),
    (&["stack", "update"], "-e", Use::Read),
    (&["stack", "adopt"], "--adopt-file", Use::Read),
    (&["stack", "abandon"], "--output-file", Use::Write),
];

/// A file that goes one way or the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The caller's.
    pub here: PathBuf,
    /// Its place in the pod, below the directory that the client runs in: no word of it needs quotes.
    pub there: String,
}

/// Arguments whose files are the pod's, and which files go there and back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// What the client is given.
    pub arguments: Vec<String>,
    /// Files that it reads.
    pub reads: Vec<Copy>,
    /// Files that it writes.
    pub writes: Vec<Copy>,
    /// The file that becomes its stdin.
    pub input: Option<PathBuf>,
    /// The file that its stdout goes to.
    pub output: Option<PathBuf>,
}

/// What has to be carried for these arguments. `exists`: is there such a file here? `home`: what `~` stands for.
pub fn carried(arguments: &[String], exists: &dyn Fn(&Path) -> bool, home: Option<&Path>) -> Carried {
    // A signature is made of the file, which is therefore read twice.
    let signs = given(arguments, "--sign-key-path");
    let places: Vec<(&str, Use)> = PLACES
        .iter()
        .filter(|(command, ..)| names(arguments, command))
        .map(|(_, option, used)| (*option, if signs && *used == Use::Input { Use::Read } else { *used }))
        .collect();
    let place = |option: &str| places.iter().find(|(name, _)| *name == option).map(|(_, used)| *used);
    let mut out = Carried::default();
    let mut words = arguments.iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            out.arguments.push(word.clone());
            out.arguments.extend(words.by_ref().cloned());
            break;
        }
        let joined = word.split_once('=').filter(|(option, _)| option.starts_with("--"));
        if let Some((option, value, used)) =
            joined.and_then(|(option, value)| Some((option, value, place(option)?)))
        {
            if let Some(value) = out.take(value, used, exists, home) {
                out.arguments.push(format!("{option}={value}"));
            }
        } else if let (true, Some(used)) = (word.starts_with('-'), place(word)) {
            let taken = words.next().map(|value| out.take(value, used, exists, home));
            match taken {
                // The client says that a value is missing.
                None => out.arguments.push(word.clone()),
                Some(Some(value)) => out.arguments.extend([word.clone(), value]),
                Some(None) => {}
            }
        } else if let (false, Some(used)) = (word.starts_with('-'), place("")) {
            let value = out.take(word, used, exists, home);
            out.arguments.extend(value);
        } else {
            out.arguments.push(word.clone());
        }
    }
    out
}

impl Carried {
    /// Take in the file that a value names; what the value becomes, nothing when its option is left out.
    fn take(
        &mut self,
        value: &str,
        used: Use,
        exists: &dyn Fn(&Path) -> bool,
        home: Option<&Path>,
    ) -> Option<String> {
        let (before, named) = match used {
            Use::ReadAfterEquals => value.split_once('=').map_or(("", value), |(place, file)| (place, file)),
            _ => ("", value),
        };
        let here = match (named.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(named),
        };
        if OWN.contains(&named) || named == "/dev/null" || used == Use::ReadIfThere && !exists(&here) {
            return Some(value.to_owned());
        }
        let there = format!("{}/{}", self.reads.len() + self.writes.len(), plain(&here));
        match used {
            Use::Input => self.input = Some(here),
            Use::Output => self.output = Some(here),
            Use::Write => self.writes.push(Copy { here, there: there.clone() }),
            Use::Read | Use::ReadIfThere | Use::ReadAfterEquals => {
                self.reads.push(Copy { here, there: there.clone() });
            }
        }
        match used {
            Use::Input | Use::Output => None,
            Use::ReadAfterEquals => Some(format!("{before}={there}")),
            Use::Read | Use::ReadIfThere | Use::Write => Some(there),
        }
    }
}

/// A file's own name without what a shell would take apart; the client's messages show it.
fn plain(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let keep = |c: char| if c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c) { c } else { '_' };
    let name: String = name.chars().map(keep).collect();
    if name.chars().all(|c| c == '.') { "file".to_owned() } else { name }
}

/// Words of the arguments that are files here and were not carried: a command that fails may have wanted them.
pub fn left_behind<'a>(arguments: &'a [String], exists: &dyn Fn(&Path) -> bool) -> Option<&'a str> {
    let values = arguments.iter().map(|word| word.rsplit_once('=').map_or(word.as_str(), |(_, value)| value));
    values
        .filter(|value| value.contains(['/', '.']) && !value.starts_with('-') && !value.starts_with("/dev/"))
        .find(|value| exists(Path::new(value)))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Carried, Copy, carried, left_behind};

    fn of(line: &str) -> Carried {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let exists = |path: &Path| path.ends_with("there.json") || path == Path::new("nova");
        carried(&arguments, &exists, Some(Path::new("/home/me")))
    }

    fn copy(here: &str, there: &str) -> Copy {
        Copy { here: here.into(), there: there.into() }
    }

    #[test]
    fn files_that_are_read_become_the_pod_s() {
        let found = of("keypair create --public-key ~/.ssh/id.pub k");
        assert_eq!(found.arguments, ["keypair", "create", "--public-key", "0/id.pub", "k"]);
        assert_eq!(found.reads, [copy("/home/me/.ssh/id.pub", "0/id.pub")]);
        let found = of(
            "--os-cloud demo server create --user-data=./u --file /etc/motd=m$m --block-device there.json vm",
        );
        assert_eq!(
            found.arguments.join(" "),
            "--os-cloud demo server create --user-data=0/u --file /etc/motd=1/m_m --block-device 2/there.json vm"
        );
        assert_eq!(
            found.reads,
            [copy("./u", "0/u"), copy("m$m", "1/m_m"), copy("there.json", "2/there.json")]
        );
        // What is not there is a value, not a file.
        let found = of("application credential create --access-rules [{}] c");
        assert_eq!(found.arguments, ["application", "credential", "create", "--access-rules", "[{}]", "c"]);
        assert_eq!(found.reads, []);
        assert_eq!(of("policy create there.json").arguments, ["policy", "create", "0/there.json"]);
    }

    #[test]
    fn what_may_be_large_goes_through_stdin_and_stdout() {
        let found = of("image create --disk-format raw --file big.raw x");
        assert_eq!(found.arguments, ["image", "create", "--disk-format", "raw", "x"]);
        assert_eq!((found.input, found.reads.len()), (Some(PathBuf::from("big.raw")), 0));
        let found = of("image save --file=x.raw x");
        assert_eq!(found.arguments, ["image", "save", "x"]);
        assert_eq!(found.output, Some(PathBuf::from("x.raw")));
        // A signed image is read twice.
        let found = of("image create --file big.raw --sign-key-path k.pem x");
        assert_eq!((found.input, found.reads.len()), (None, 2));
    }

    #[test]
    fn what_is_written_comes_back_and_the_rest_is_left_alone() {
        let found = of("keypair create --private-key k.pem k");
        assert_eq!(found.arguments, ["keypair", "create", "--private-key", "0/k.pem", "k"]);
        assert_eq!(found.writes, [copy("k.pem", "0/k.pem")]);
        for line in [
            "server delete nova",
            "keypair create --public-key /dev/stdin k",
            "server create -- --user-data",
            "server create --user-data",
            "image list --property nova=1",
        ] {
            assert_eq!(of(line), Carried { arguments: of(line).arguments, ..Carried::default() }, "{line}");
            assert_eq!(of(line).arguments.join(" "), line);
        }
    }

    #[test]
    fn a_file_that_stayed_here_is_named() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let exists = |path: &Path| path == Path::new("./o.bin") || path == Path::new("vm");
        assert_eq!(left_behind(&words("object create c ./o.bin"), &exists), Some("./o.bin"));
        assert_eq!(left_behind(&words("server delete vm"), &exists), None);
    }
}
