//! A logical line as keyword, flags and words. Knows nothing of stages or of variables' values.

use std::ops::Range;

use super::lines::Logical;
use super::words::{Word, split_words};

/// Every keyword that builders know.
pub(super) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// One instruction, taken apart but not interpreted.
#[derive(Clone, Debug)]
pub(super) struct Instruction<'l> {
    pub(super) line: &'l Logical,
    /// In capitals.
    pub(super) keyword: String,
    /// Bytes of the logical line that hold the keyword.
    pub(super) keyword_range: Range<usize>,
    pub(super) flags: Vec<Flag>,
    /// Where the arguments begin in the logical line.
    pub(super) args_at: usize,
    pub(super) escape: char,
}

/// `--name=value`
#[derive(Clone, Debug)]
pub(super) struct Flag {
    pub(super) name: String,
    /// Without quotes; empty for a flag without a value.
    pub(super) value: String,
    /// Bytes of the logical line that hold the whole flag.
    pub(super) range: Range<usize>,
    /// Bytes of the logical line that hold the value.
    pub(super) value_range: Range<usize>,
}

impl<'l> Instruction<'l> {
    /// Takes a line apart. An `ONBUILD` keeps its trigger as arguments.
    pub(super) fn read(line: &'l Logical, escape: char) -> Self {
        Self::read_from(line, 0, escape)
    }

    fn read_from(line: &'l Logical, from: usize, escape: char) -> Self {
        let text = &line.text;
        let start = from + text[from..].len() - text[from..].trim_start().len();
        let end = text[start..].find(char::is_whitespace).map_or(text.len(), |at| start + at);
        let mut args_at = end;
        let mut flags = Vec::new();
        for word in split_words(text, end, escape) {
            if !word.raw.starts_with("--") || word.raw == "--" {
                break;
            }
            args_at = word.range.end;
            flags.push(Flag::read(&word));
        }
        args_at += text[args_at..].len() - text[args_at..].trim_start().len();
        let keyword = text[start..end].to_ascii_uppercase();
        Self { line, keyword, keyword_range: start..end, flags, args_at, escape }
    }

    /// The arguments as written.
    pub(super) fn args(&self) -> &'l str {
        self.line.text[self.args_at..].trim_end()
    }

    /// The arguments, split at white space outside quotes.
    pub(super) fn words(&self) -> Vec<Word<'l>> {
        split_words(self.line.text.trim_end(), self.args_at, self.escape)
    }

    /// The arguments of the form `["a", "b"]`.
    pub(super) fn json(&self) -> Option<Vec<String>> {
        self.args().starts_with('[').then(|| serde_json::from_str(self.args()).ok())?
    }

    /// The arguments as texts with their bytes in the logical line, from either form.
    pub(super) fn arguments(&self) -> Vec<(String, Range<usize>)> {
        match self.json() {
            Some(list) => list.into_iter().map(|text| (text, self.keyword_range.clone())).collect(),
            None => self.words().into_iter().map(|Word { raw, range }| (raw.to_owned(), range)).collect(),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }

    /// What an `ONBUILD` holds back.
    pub(super) fn trigger(&self) -> Self {
        Self::read_from(self.line, self.args_at, self.escape)
    }

    /// Byte of the source at which the instruction starts.
    pub(super) fn offset(&self) -> usize {
        self.line.source_offset(self.keyword_range.start)
    }
}

impl Flag {
    fn read(word: &Word<'_>) -> Self {
        let body = &word.raw[2..];
        let (name, value) = body.split_once('=').unwrap_or((body, ""));
        let end = word.range.end;
        Self {
            name: name.to_owned(),
            value: unquote(value),
            range: word.range.clone(),
            value_range: end - value.len()..end,
        }
    }

    /// The comma-separated `key=value` pairs of a `--mount`, keys in lower case, each with the bytes of the
    /// logical line that hold its value.
    pub(super) fn pairs(&self, text: &str) -> Vec<(String, String, Range<usize>)> {
        let raw = &text[self.value_range.clone()];
        let mut pairs = Vec::new();
        let mut start = 0;
        let mut quoted = false;
        for (at, c) in raw.char_indices().chain([(raw.len(), ',')]) {
            if c == '"' {
                quoted = !quoted;
            } else if c == ',' && (!quoted || at == raw.len()) {
                let pair = &raw[start..at];
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                let end = self.value_range.start + at;
                let key = unquote(key).to_ascii_lowercase();
                pairs.push((key, unquote(value), end - value.len()..end));
                start = at + 1;
            }
        }
        pairs
    }
}

fn unquote(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '"' | '\'')).collect()
}

/// `a=b c="d e"` as pairs of raw texts; the old form `a b c` is one pair. `None` if a word has no `=`.
pub(super) fn name_values<'l>(instruction: &Instruction<'l>) -> Option<Vec<(&'l str, &'l str)>> {
    let words = instruction.words();
    if words.first().is_some_and(|word| !word.raw.contains('=')) {
        let (name, value) = instruction.args().split_once(char::is_whitespace)?;
        return Some(vec![(name, value.trim_start())]);
    }
    words.iter().map(|word| word.raw.split_once('=')).collect()
}

#[cfg(test)]
mod tests {
    use super::super::lines::logical_lines;
    use super::super::source::Source;
    use super::*;

    fn with<T>(text: &str, check: impl FnOnce(Instruction<'_>) -> T) -> T {
        let (_, lines) = logical_lines(&Source::new("Dockerfile", text), &mut Vec::new());
        check(Instruction::read(&lines[0], '\\'))
    }

    #[test]
    fn flags_end_at_the_first_word() {
        with("copy --from=\"a\" --chown=1:1 x --y z", |copy| {
            assert_eq!(copy.keyword, "COPY");
            assert_eq!(copy.flags.iter().map(|flag| &*flag.value).collect::<Vec<_>>(), ["a", "1:1"]);
            assert_eq!(copy.args(), "x --y z");
        });
    }

    #[test]
    fn mounts_are_pairs_with_places() {
        let text = "RUN --mount=type=bind,from=img:1,\"source=a,b\",rw true";
        with(text, |run| {
            let pairs = run.flags[0].pairs(&run.line.text);
            assert_eq!(pairs[1].0, "from");
            assert_eq!(&text[pairs[1].2.clone()], "img:1");
            assert_eq!((&*pairs[2].0, &*pairs[2].1), ("source", "a,b"));
            assert_eq!((&*pairs[3].0, &*pairs[3].1), ("rw", ""));
        });
    }

    #[test]
    fn both_forms_of_env_are_read() {
        with("ENV A=1 B=\"x y\"", |env| assert_eq!(name_values(&env), Some(vec![("A", "1"), ("B", "\"x y\"")])));
        with("ENV A x y=z", |env| assert_eq!(name_values(&env), Some(vec![("A", "x y=z")])));
        with("ENV A=1 B", |env| assert_eq!(name_values(&env), None));
    }

    #[test]
    fn onbuild_holds_an_instruction() {
        with("ONBUILD  copy --from=x a b", |onbuild| {
            let trigger = onbuild.trigger();
            assert_eq!((&*trigger.keyword, &*trigger.flags[0].value, trigger.args()), ("COPY", "x", "a b"));
        });
    }
}
