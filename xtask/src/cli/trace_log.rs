//! What strace wrote, as files that were read and written. Knows nothing of tasks.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The calls that are asked for: those that open, run, make or move a file, and those that a path hangs on.
pub(super) const CALLS: &str = "open,openat,openat2,creat,execve,execveat,truncate,rename,renameat,renameat2,link,linkat,\
                                symlink,symlinkat,chdir,fchdir,fork,vfork,clone,clone3";

/// How a file was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Use {
    Read,
    Written,
}

/// The files in the order in which they were first read and first written; each once for each. Folders are none.
/// `start` is where processes are of which the log does not tell.
pub(super) fn uses(log: &[u8], start: &Path) -> Vec<(Use, PathBuf)> {
    let mut reader = Reader { start, places: HashMap::new(), seen: HashSet::new(), found: Vec::new() };
    let mut open: HashMap<&[u8], Vec<u8>> = HashMap::new();
    for line in log.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii_start();
        let Some(end) = line.iter().position(|byte| *byte == b' ') else { continue };
        let (process, text) = (&line[..end], line[end..].trim_ascii());
        if let Some(begun) = text.strip_suffix(b"<unfinished ...>") {
            open.insert(process, begun.to_vec());
        } else if text.starts_with(b"<... ") {
            let end = text.windows(9).position(|part| part == b" resumed>").map(|at| at + 9);
            if let (Some(mut whole), Some(end)) = (open.remove(process), end) {
                whole.extend(&text[end..]);
                reader.call(process, &whole);
            }
        } else {
            reader.call(process, text);
        }
    }
    reader.found
}

struct Reader<'a> {
    start: &'a Path,
    /// The folder in which each process is.
    places: HashMap<Vec<u8>, PathBuf>,
    seen: HashSet<(Use, PathBuf)>,
    found: Vec<(Use, PathBuf)>,
}

impl Reader<'_> {
    /// One call: `name(words) = result`. Others, and those that failed, say nothing.
    fn call(&mut self, process: &[u8], text: &[u8]) {
        let Some((name, words, result)) = parts(text) else { return };
        if !result.first().is_some_and(u8::is_ascii_digit) {
            return;
        }
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        // The folder of the process comes with most calls.
        if let Some(place) =
            words.iter().filter(|word| word.starts_with(b"AT_FDCWD<")).find_map(|word| in_brackets(word))
        {
            self.places.insert(process.to_vec(), place);
        }
        let flags = |at: usize| String::from_utf8_lossy(word(at)).into_owned();
        match name {
            b"open" => self.opened(process, None, word(0), &flags(1), result),
            b"creat" => self.opened(process, None, word(0), "O_WRONLY", result),
            b"openat" | b"openat2" => self.opened(process, Some(word(0)), word(1), &flags(2), result),
            b"execve" => self.add(Use::Read, process, None, word(0)),
            b"execveat" => self.add(Use::Read, process, Some(word(0)), word(1)),
            b"truncate" => self.add(Use::Written, process, None, word(0)),
            b"rename" | b"link" | b"symlink" => self.add(Use::Written, process, None, word(1)),
            b"renameat" | b"renameat2" | b"linkat" => self.add(Use::Written, process, Some(word(2)), word(3)),
            b"symlinkat" => self.add(Use::Written, process, Some(word(1)), word(2)),
            b"chdir" => {
                let place = self.path(process, None, word(0));
                self.places.insert(process.to_vec(), place);
            }
            b"fchdir" => {
                if let Some(place) = in_brackets(word(0)) {
                    self.places.insert(process.to_vec(), place);
                }
            }
            // A new process is where the one is that made it.
            _ => {
                let place = self.place(process);
                self.places.entry(result.to_vec()).or_insert(place);
            }
        }
    }

    fn opened(&mut self, process: &[u8], dir: Option<&[u8]>, path: &[u8], flags: &str, result: &[u8]) {
        if flags.contains("O_DIRECTORY") {
            return;
        }
        let writes = ["O_WRONLY", "O_RDWR"].iter().any(|flag| flags.contains(flag));
        let used = if writes { Use::Written } else { Use::Read };
        match in_brackets(result) {
            Some(path) => self.note(used, path),
            None => self.add(used, process, dir, path),
        }
    }

    fn add(&mut self, used: Use, process: &[u8], dir: Option<&[u8]>, path: &[u8]) {
        let path = self.path(process, dir, path);
        self.note(used, path);
    }

    fn note(&mut self, used: Use, path: PathBuf) {
        if self.seen.insert((used, path.clone())) {
            self.found.push((used, path));
        }
    }

    fn place(&self, process: &[u8]) -> PathBuf {
        self.places.get(process).cloned().unwrap_or_else(|| self.start.to_owned())
    }

    /// The whole path of a quoted one.
    fn path(&self, process: &[u8], dir: Option<&[u8]>, quoted: &[u8]) -> PathBuf {
        let inner = quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(quoted);
        let base = dir.and_then(in_brackets).unwrap_or_else(|| self.place(process));
        plain(&base.join(decoded(inner)))
    }
}

/// Without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                found.pop();
            }
            part => found.push(part),
        }
    }
    found
}

/// The path that strace tells of a descriptor: `3</path>`.
fn in_brackets(word: &[u8]) -> Option<PathBuf> {
    let start = word.iter().position(|byte| *byte == b'<')?;
    let inner = word[start + 1..].strip_suffix(b">")?;
    inner.starts_with(b"/").then(|| decoded(inner))
}

/// Name, words and result of a call.
type Parts<'a> = (&'a [u8], Vec<&'a [u8]>, &'a [u8]);

fn parts(text: &[u8]) -> Option<Parts<'_>> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let (mut words, mut begun, mut depth, mut quoted) = (Vec::new(), open + 1, 0_usize, false);
    let mut at = open + 1;
    while at < text.len() {
        match text[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b']' | b'}' | b'>' => depth = depth.saturating_sub(1),
            b')' if depth == 0 => {
                words.push(text[begun..at].trim_ascii());
                let rest = text[at + 1..].trim_ascii().strip_prefix(b"= ")?;
                return Some((&text[..open], words, rest.trim_ascii()));
            }
            b')' => depth -= 1,
            b',' if depth == 0 => {
                words.push(text[begun..at].trim_ascii());
                begun = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Bytes that strace has escaped as C does.
fn decoded(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let octal = rest.iter().take(3).take_while(|byte| (b'0'..=b'7').contains(*byte)).count();
        if octal > 0 {
            let value = rest[..octal].iter().fold(0_u32, |value, byte| value * 8 + u32::from(byte - b'0'));
            bytes.push(value as u8);
            rest = &rest[octal..];
        } else if let [escaped, tail @ ..] = rest {
            rest = tail;
            bytes.push(match escaped {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'v' => 11,
                b'f' => 12,
                other => *other,
            });
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(log: &str) -> Vec<String> {
        let word = |used| if used == Use::Read { 'R' } else { 'W' };
        let found = uses(log.as_bytes(), Path::new("/r"));
        found.into_iter().map(|(used, path)| format!("{} {}", word(used), path.display())).collect()
    }

    #[test]
    fn files_that_were_opened_run_and_made() {
        let log = r#"
10    execve("/bin/sh", ["/bin/sh", "-c", "x \"(\", y"], 0x7ffd /* 3 vars */) = 0
10    openat(AT_FDCWD</r>, "in", O_RDONLY|O_CLOEXEC) = 3</r/in>
10    openat(AT_FDCWD</r>, "in", O_RDONLY) = 3</r/in>
10    openat(AT_FDCWD</r>, "none", O_RDONLY) = -1 ENOENT (No such file or directory)
10    openat(AT_FDCWD</r>, ".", O_RDONLY|O_DIRECTORY) = 3</r>
10    openat(AT_FDCWD</r>, "out", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</r/out>
10    open("old", O_RDWR) = 4</r/old>
10    renameat2(AT_FDCWD</r>, "a", AT_FDCWD</r>, "b\303\244 (1), \"x\"", RENAME_NOREPLACE) = 0
10    +++ exited with 0 +++
"#;
        assert_eq!(told(log), ["R /bin/sh", "R /r/in", "W /r/out", "W /r/old", "W /r/bä (1), \"x\""]);
    }

    #[test]
    fn a_process_is_where_it_went_or_where_its_maker_was() {
        let log = r#"
10    chdir("sub") = 0
10    vfork( <unfinished ...>
11    rename("../a", "./b") = 0
10    <... vfork resumed>) = 11
10    clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f) = 12
12    execve("./tool", ["./tool"], 0x55 /* 1 var */) = 0
12    rename("a", "c") = 0
10    fchdir(5</r/other>) = 0
10    openat(AT_FDCWD</r/other>, "x", O_RDONLY <unfinished ...>
12    symlink("/nowhere", "link") = 0
10    <... openat resumed>) = 7
"#;
        let found = told(log);
        assert_eq!(found, ["W /r/b", "R /r/sub/tool", "W /r/sub/c", "W /r/sub/link", "R /r/other/x"]);
    }
}
