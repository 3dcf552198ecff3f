//! What the pod's shell does around the client, and how its end is told. Pure.
//!
//! stdout and stderr end with a mark that only this run knows. After stdout's come the files that the client wrote, after
//! stderr's its exit code. The shell then reads what is left of its stdin, so that data which is still on its way never
//! holds up the end.

use std::fmt::Write;

/// How many clients run at once in a pod: each takes about 110 MiB of its memory limit.
pub const AT_ONCE: usize = 16;
/// Longest end of an output that may be the beginning of its mark.
const KEPT: usize = 64;

/// Sets the end of an output apart from the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// With a word that no output has by chance: letters and digits.
    pub fn new(word: &str) -> Self {
        Self(word.chars().filter(char::is_ascii_alphanumeric).take(KEPT - 2).collect())
    }

    fn bytes(&self) -> Vec<u8> {
        format!("\0{}\0", self.0).into_bytes()
    }
}

/// What the shell gives the client as stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// What is left of its own.
    Own,
    /// An empty one.
    Empty,
    /// None.
    Closed,
}

/// The shell's commands. `reads`: places and sizes of the files that come first on stdin; `writes`: places of those that
/// go back. The client and its arguments are the shell's own arguments.
pub fn script(mark: &Mark, reads: &[(String, u64)], writes: &[String], input: Input) -> String {
    let mut out = String::from("umask 077\n");
    // Writing to a String does not fail.
    if !(reads.is_empty() && writes.is_empty()) {
        out += "d=$(mktemp -d) && cd \"$d\" || exit 1\ntrap 'rm -rf \"$d\"' EXIT\ntrap 'exit 129' HUP INT TERM\n";
        let parents =
            reads.iter().map(|(place, _)| place).chain(writes).filter_map(|place| place.split_once('/'));
        let parents: Vec<&str> = parents.map(|(parent, _)| parent).collect();
        let _ = writeln!(out, "mkdir {} || exit 1", parents.join(" "));
        for (place, size) in reads {
            let _ = writeln!(out, "head -c {size} >{place} || exit 1");
        }
    }
    let _ = write!(
        out,
        "s= w= t=${{TMPDIR:-/tmp}}\nuntil [ \"$s\" ]; do i=0\n\
         while [ $i -lt {AT_ONCE} ]; do i=$((i+1)); exec 9>\"$t/.client-$i\"; flock -n 9 && s=$i && break; done\n\
         [ \"$s\" ] || {{ [ \"$w\" ] || echo 'waits: {AT_ONCE} clients run at once already' >&2; w=1; sleep 0.2; }}\n\
         done\n"
    );
    let from = match input {
        Input::Own => "",
        Input::Empty => " </dev/null",
        Input::Closed => " <&-",
    };
    let Mark(mark) = mark;
    let _ = write!(out, "\"$@\"{from}\nc=$?\nexec 9>&-\nprintf '\\0{mark}\\0'\n");
    for (index, place) in writes.iter().enumerate() {
        let _ = writeln!(out, "[ -f {place} ] && echo {index} $(stat -c %s {place}) && cat {place}");
    }
    // The last line of stdout's end.
    let _ = write!(out, "echo end\nprintf '\\0{mark}\\0%s\\n' $c >&2\ncat >/dev/null\nexit $c\n");
    out
}

/// Takes an output apart into what the client wrote and what stands behind the mark.
#[derive(Debug)]
pub struct Splitter {
    mark: Vec<u8>,
    held: Vec<u8>,
    /// What stands behind the mark; `None` as long as the mark did not come.
    behind: Option<Vec<u8>>,
}

impl Splitter {
    /// For an output that ends with `mark`.
    pub fn new(mark: &Mark) -> Self {
        Self { mark: mark.bytes(), held: Vec::new(), behind: None }
    }

    /// Take in more; what of it and of what was held back is the client's.
    pub fn push(&mut self, more: &[u8]) -> Vec<u8> {
        if let Some(behind) = &mut self.behind {
            behind.extend_from_slice(more);
            return Vec::new();
        }
        self.held.extend_from_slice(more);
        if let Some(at) = self.held.windows(self.mark.len()).position(|window| window == self.mark) {
            let behind = self.held.split_off(at + self.mark.len());
            self.behind = Some(behind);
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let begins = |from: &usize| self.mark.starts_with(&self.held[*from..]);
        let first = self.held.len().saturating_sub(self.mark.len() - 1);
        let kept = (first..self.held.len()).find(begins).unwrap_or(self.held.len());
        let rest = self.held.split_off(kept);
        std::mem::replace(&mut self.held, rest)
    }

    /// The end of an output that broke off: what was held back is the client's after all.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// The client's exit code, once stderr is complete.
    pub fn code(&self) -> Option<u8> {
        let (line, _) = std::str::from_utf8(self.behind.as_ref()?).ok()?.split_once('\n')?;
        line.parse().ok()
    }

    /// The files that the client wrote, by their number, once stdout is complete.
    pub fn files(&self) -> Option<Vec<(usize, &[u8])>> {
        let mut rest = self.behind.as_deref()?;
        let mut files = Vec::new();
        loop {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = std::str::from_utf8(&rest[..end]).ok()?;
            rest = &rest[end + 1..];
            if line == "end" {
                return Some(files);
            }
            let (index, size) = line.split_once(' ')?;
            let size: usize = size.parse().ok()?;
            files.push((index.parse().ok()?, rest.get(..size)?));
            rest = &rest[size..];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::{Input, Mark, Splitter, script};

    /// Run it as the pod does: what the client wrote to stdout and stderr, its files and its exit code.
    fn run(
        reads: &[(&str, &str)],
        writes: &[&str],
        input: Input,
        stdin: &str,
        client: &str,
    ) -> (String, String, Vec<String>, u8) {
        let mark = Mark::new("x7");
        let sizes: Vec<(String, u64)> =
            reads.iter().map(|(place, text)| ((*place).to_owned(), text.len() as u64)).collect();
        let writes: Vec<String> = writes.iter().map(|place| (*place).to_owned()).collect();
        let script = script(&mark, &sizes, &writes, input);
        let mut child = Command::new("sh")
            .args(["-c", &script, "oaas", "sh", "-c", client])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut given = child.stdin.take().unwrap();
        for (_, text) in reads {
            given.write_all(text.as_bytes()).unwrap();
        }
        given.write_all(stdin.as_bytes()).unwrap();
        drop(given);
        let output = child.wait_with_output().unwrap();
        let (mut out, mut err) = (Splitter::new(&mark), Splitter::new(&mark));
        // Byte by byte, so that every place where data may be cut is cut.
        let text = |splitter: &mut Splitter, bytes: &[u8]| {
            let client: Vec<u8> = bytes.iter().flat_map(|byte| splitter.push(&[*byte])).collect();
            String::from_utf8(client).unwrap()
        };
        let (stdout, stderr) = (text(&mut out, &output.stdout), text(&mut err, &output.stderr));
        let files = out
            .files()
            .unwrap()
            .into_iter()
            .map(|(at, data)| format!("{at} {}", String::from_utf8_lossy(data)));
        let code = err.code().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(code)));
        (stdout, stderr, files.collect(), code)
    }

    #[test]
    fn files_go_there_and_back_around_the_client_and_its_stdin_stays_its_own() {
        let client = "cat 0/id.pub; echo -; cat; echo secret >1/k.pem; echo oh >&2; pwd >&2; exit 3";
        let (out, err, files, code) =
            run(&[("0/id.pub", "line\nno end")], &["1/k.pem"], Input::Own, "the rest", client);
        assert_eq!(out, "line\nno end-\nthe rest");
        let (oh, place) = err.trim_end().split_once('\n').unwrap();
        assert_eq!(oh, "oh");
        assert!(!std::path::Path::new(place).exists(), "{place} is left behind");
        assert_eq!((files, code), (vec!["0 secret\n".to_owned()], 3));
    }

    #[test]
    fn a_client_that_reads_nothing_does_not_wait_for_what_is_there() {
        let much = "x".repeat(1_000_000);
        assert_eq!(run(&[], &[], Input::Own, &much, "exit 1").3, 1);
        assert_eq!(run(&[], &[], Input::Empty, "", "wc -c").0.trim(), "0");
        let closed = "if [ -e /proc/self/fd/0 ] && readlink /proc/$$/fd/0; then :; else echo none; fi";
        assert_eq!(run(&[], &[], Input::Closed, "", closed).0, "none\n");
        // A file that was not written does not come back.
        assert_eq!(run(&[], &["0/k"], Input::Empty, "", "exit 1").2, Vec::<String>::new());
    }

    #[test]
    fn an_output_that_looks_like_the_mark_is_still_the_client_s() {
        let mut splitter = Splitter::new(&Mark::new("ab"));
        assert_eq!(splitter.push(b"1\0a"), b"1");
        assert_eq!(splitter.push(b"c\0"), b"\0ac");
        assert_eq!(splitter.push(b"ab\0end\n"), b"");
        assert_eq!(splitter.files(), Some(Vec::new()));
        let mut broken = Splitter::new(&Mark::new("ab"));
        assert_eq!(broken.push(b"text\0a"), b"text");
        assert_eq!((broken.finish(), broken.files(), broken.code()), (b"\0a".to_vec(), None, None));
    }
}
