//! How a script gets into a container, is run there, and how its end is told: all in one command of the engine. Knows
//! nothing of containers.
//!
//! The script's bytes are the input of that command, so that nothing in them has to be quoted. Behind everything the
//! script prints, the wrapper writes one record to stderr, which is taken out here.

use super::metadata::Language;

/// What belongs to the runs, in every container.
pub const HOME_DIR: &str = "/xtask";

/// What a container does while nothing runs in it.
pub const IDLE: &str = "echo $$ >/xtask/runs/.idle; exec sleep 2147483647";

/// Runs what its words say. Leftovers of the run before, and processes that this one leaves behind, are ended: the
/// next run finds the container as the first one did, but for files outside of `/xtask/runs`. The folders of the runs
/// are made here where nobody has put them there.
pub const WRAPPER: &str = r#"
d=/xtask/runs/$1 mark=$2 kind=$3 file=$4; shift 4
say() { printf '\000xtask %s %s %s %s\000' "$mark" "$1" "$2" "$3" >&2; }
killed() {
    oom=0
    for f in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
        [ -r $f ] && while read -r word count; do [ "$word" = oom_kill ] && oom=$count; done <$f
    done
}
[ -d /xtask/runs ] || { mkdir -m 1777 /xtask; mkdir /xtask/runs /xtask/home; } 2>/dev/null
for old in /xtask/runs/*; do [ "$old" = "$d" ] || [ ! -e "$old" ] || rm -rf "$old"; done
mkdir -p "$d/result" "$d/script" || { say unready 0 0; exit 125; }
if [ "$kind" != command ]; then cat >"$d/script/$file" || { say unready 0 0; exit 125; }; fi
if [ "$kind" = python ]; then
    if command -v python3 >/dev/null; then set -- python3 "$@"; else set -- python "$@"; fi
fi
killed; before=$oom
"$@" </dev/null
code=$?
idle=
[ ! -e /xtask/runs/.idle ] || read -r idle </xtask/runs/.idle
for p in /proc/[0-9]*; do
    p=${p#/proc/}
    [ "$p" = 1 ] || [ "$p" = $$ ] || [ "$p" = "$idle" ] || kill -9 "$p"
done 2>/dev/null
some=0
for f in "$d"/result/* "$d"/result/.[!.]*; do if [ -e "$f" ] || [ -L "$f" ]; then some=1; fi; done
killed
say $code $((oom - before)) $some
exit $code
"#;

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    Script {
        bytes: Vec<u8>,
        /// As tracebacks show it.
        file: String,
        interpreter: Interpreter,
        args: Vec<String>,
    },
    Command(Vec<String>),
}

/// What a script is given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpreter {
    /// `python3`, else `python`: what the image has.
    Python(Vec<String>),
    /// These words.
    Words(Vec<String>),
}

impl Work {
    /// A script with its language: the first line says it, else the name, else `default`.
    pub fn script(bytes: Vec<u8>, name: &str, given: Option<Language>, default: Language, args: Vec<String>) -> Self {
        let by_name = match name.rsplit_once('.').map(|(_, end)| end) {
            Some("py") => Some(Language::Python),
            Some("sh") => Some(Language::Sh),
            Some("bash") => Some(Language::Bash),
            _ => None,
        };
        let interpreter = match given {
            Some(language) => of_language(language),
            None => shebang(&bytes).unwrap_or_else(|| of_language(by_name.unwrap_or(default))),
        };
        let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let file: String = name.chars().map(|c| if fine(c) { c } else { '_' }).collect();
        let file = if file.trim_matches('.').is_empty() { "script".to_owned() } else { file };
        Self::Script { bytes, file, interpreter, args }
    }

    /// The words behind `sh -c WRAPPER sh`.
    pub fn words(&self, run: &str, mark: &str) -> Vec<String> {
        let (kind, file, words) = match self {
            Self::Command(words) => ("command", "-", words.clone()),
            Self::Script { file, interpreter, args, .. } => {
                let (kind, mut words) = match interpreter {
                    Interpreter::Python(options) => ("python", options.clone()),
                    Interpreter::Words(words) => ("script", words.clone()),
                };
                words.push(format!("{HOME_DIR}/runs/{run}/script/{file}"));
                words.extend(args.iter().cloned());
                (kind, file.as_str(), words)
            }
        };
        let mut all: Vec<String> = [run, mark, kind, file].map(str::to_owned).to_vec();
        all.extend(words);
        all
    }

    /// What the wrapper reads.
    pub fn input(&self) -> Option<&[u8]> {
        match self {
            Self::Script { bytes, .. } => Some(bytes),
            Self::Command(_) => None,
        }
    }

    /// For messages.
    pub fn subject(&self) -> String {
        match self {
            Self::Script { file, .. } => format!("script `{file}`"),
            Self::Command(words) => format!("`{}`", words.first().map_or("", String::as_str)),
        }
    }
}

fn of_language(language: Language) -> Interpreter {
    match language {
        Language::Sh => Interpreter::Words(vec!["sh".to_owned()]),
        Language::Bash => Interpreter::Words(vec!["bash".to_owned()]),
        Language::Python => Interpreter::Python(Vec::new()),
    }
}

/// The interpreter that the first line names. `env` is looked through, with `-S`.
fn shebang(bytes: &[u8]) -> Option<Interpreter> {
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words: Vec<String> = std::str::from_utf8(line).ok()?.split_whitespace().map(str::to_owned).collect();
    if words.first().is_some_and(|word| word.ends_with("/env")) {
        words.remove(0);
        words.retain(|word| word != "-S");
    }
    let (first, rest) = words.split_first()?;
    // By name: where it lies in the image is the image's matter.
    let name = first.rsplit('/').next().unwrap_or(first);
    Some(match name {
        "python" | "python3" => Interpreter::Python(rest.to_vec()),
        _ => Interpreter::Words([name.to_owned()].iter().chain(rest).cloned().collect()),
    })
}

/// What the wrapper says at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// `None`: the place for the script could not be made.
    pub code: Option<i64>,
    /// Processes that were killed for want of memory.
    pub killed: u64,
    /// Something lies in the folder for results.
    pub has_results: bool,
}

/// Passes stderr on, but for the record.
#[derive(Debug)]
pub struct Filter {
    start: Vec<u8>,
    held: Vec<u8>,
}

impl Filter {
    pub fn new(mark: &str) -> Self {
        Self { start: format!("\0xtask {mark} ").into_bytes(), held: Vec::new() }
    }

    /// What of these bytes is the script's for sure.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let keep = match find(&self.held, &self.start) {
            Some(at) => at,
            None => self.held.len() - overlap(&self.held, &self.start),
        };
        self.held.drain(..keep).collect()
    }

    /// What was held back that is no record, and the record.
    pub fn end(self) -> (Vec<u8>, Option<Record>) {
        let text = self.held.strip_prefix(&self.start[..]).and_then(|rest| rest.strip_suffix(b"\0"));
        match text.and_then(|text| record(std::str::from_utf8(text).ok()?)) {
            Some(record) => (Vec::new(), Some(record)),
            None => (self.held, None),
        }
    }
}

fn record(text: &str) -> Option<Record> {
    let [code, killed, some] = text.split(' ').collect::<Vec<_>>()[..] else { return None };
    let code = if code == "unready" { None } else { Some(code.parse().ok()?) };
    Some(Record { code, killed: killed.parse().ok()?, has_results: some == "1" })
}

/// Where `needle` begins.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// How many bytes at the end may be the beginning of `needle`.
fn overlap(bytes: &[u8], needle: &[u8]) -> usize {
    (1..needle.len().min(bytes.len() + 1)).rev().find(|count| bytes.ends_with(&needle[..*count])).unwrap_or(0)
}

/// Hides values in a stream, also where they come in pieces.
#[derive(Debug)]
pub struct Veil {
    values: Vec<Vec<u8>>,
    held: Vec<u8>,
}

impl Veil {
    pub fn new(values: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut values: Vec<Vec<u8>> = values.into_iter().collect();
        // The longest first: one may be the beginning of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self { values, held: Vec::new() }
    }

    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.values.is_empty() {
            return bytes.to_vec();
        }
        self.held.extend_from_slice(bytes);
        let mut shown = self.replace();
        let keep = self.values.iter().map(|value| overlap(&self.held, value)).max().unwrap_or(0);
        shown.extend(self.held.drain(..self.held.len() - keep));
        shown
    }

    pub fn end(mut self) -> Vec<u8> {
        let mut shown = self.replace();
        shown.append(&mut self.held);
        shown
    }

    /// Everything up to the last whole value, hidden.
    fn replace(&mut self) -> Vec<u8> {
        let mut shown = Vec::new();
        while let Some((at, length)) =
            self.values.iter().filter_map(|value| Some((find(&self.held, value)?, value.len()))).min_by_key(|hit| hit.0)
        {
            shown.extend(self.held.drain(..at));
            shown.extend_from_slice(b"***");
            self.held.drain(..length);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(text: &str, name: &str, default: Language) -> Interpreter {
        match Work::script(text.into(), name, None, default, Vec::new()) {
            Work::Script { interpreter, .. } => interpreter,
            Work::Command(_) => panic!("a script"),
        }
    }

    #[test]
    fn the_first_line_wins_over_the_name_over_the_metadata() {
        let words = |words: &[&str]| Interpreter::Words(words.iter().map(|word| (*word).to_owned()).collect());
        let python = Interpreter::Python(Vec::new());
        assert_eq!(interpreter("#!/usr/bin/env python3\n", "a.sh", Language::Sh), python);
        assert_eq!(interpreter("#!/bin/sh -eu\n", "a.py", Language::Python), words(&["sh", "-eu"]));
        assert_eq!(interpreter("#!/usr/bin/env -S awk -f\n", "a", Language::Sh), words(&["awk", "-f"]));
        assert_eq!(interpreter("print(1)", "a.py", Language::Sh), python);
        assert_eq!(interpreter("echo", "a.bash", Language::Python), words(&["bash"]));
        assert_eq!(interpreter("print(1)", "command", Language::Python), python);
        let Work::Script { file, .. } = Work::script(Vec::new(), "a b'$(x).py", None, Language::Sh, Vec::new()) else {
            panic!("a script")
        };
        assert_eq!(file, "a_b___x_.py");
    }

    #[test]
    fn the_record_is_taken_out_wherever_it_is_cut() {
        let text = b"\0xtask no\0error\0xtask m 3 1 1\0";
        for cut in 0..text.len() {
            let mut filter = Filter::new("m");
            let mut shown = filter.pass(&text[..cut]);
            shown.extend(filter.pass(&text[cut..]));
            let (rest, record) = filter.end();
            shown.extend(rest);
            assert_eq!(shown, b"\0xtask no\0error", "cut at {cut}");
            assert_eq!(record, Some(Record { code: Some(3), killed: 1, has_results: true }));
        }
        let mut filter = Filter::new("m");
        let mut shown = filter.pass(b"all\0xtask m 3");
        let (rest, record) = filter.end();
        shown.extend(rest);
        assert_eq!((shown.as_slice(), record), (&b"all\0xtask m 3"[..], None));
    }

    #[test]
    fn s7_values_are_hidden_wherever_they_are_cut() {
        let text = b"see token-12345678, token-1234 and token-123";
        for cut in 0..text.len() {
            let mut veil = Veil::new([b"token-1234".to_vec(), b"token-12345678".to_vec()]);
            let mut shown = veil.pass(&text[..cut]);
            shown.extend(veil.pass(&text[cut..]));
            shown.extend(veil.end());
            let shown = String::from_utf8(shown).unwrap();
            assert!(!shown.contains("token-1234"), "cut at {cut}: {shown}");
            assert!(shown.ends_with("and token-123"), "{shown}");
        }
    }
}
