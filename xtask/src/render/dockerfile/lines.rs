//! Physical lines to logical ones: parser directives, continuations, comments, heredocs. Knows no instruction's meaning.

use std::ops::Range;

use super::source::Source;
use super::words::{Word, split_words};
use crate::model::Diagnostic;

/// One instruction with its continuation lines joined.
#[derive(Clone, Debug)]
pub(super) struct Logical {
    pub(super) text: String,
    /// (offset in `text`, offset in the source) at the start of each joined piece.
    pieces: Vec<(usize, usize)>,
    pub(super) heredocs: Vec<Heredoc>,
}

/// The body of one `<<NAME`.
#[derive(Clone, Debug)]
pub(super) struct Heredoc {
    pub(super) name: String,
    /// Where the body stands in the source, without the line of the terminator.
    pub(super) body: Range<usize>,
    /// Whether variables in it are expanded (they are not if the name was quoted).
    pub(super) expand: bool,
}

impl Logical {
    /// The byte of the source from which byte `at` of the joined text came.
    pub(super) fn source_offset(&self, at: usize) -> usize {
        let index = self.pieces.partition_point(|(start, _)| *start <= at).max(1) - 1;
        self.pieces.get(index).map_or(0, |(start, source)| source + at.saturating_sub(*start))
    }

    /// The bytes of the source that hold `range` of the joined text, continuations inside it included.
    pub(super) fn source_range(&self, range: &Range<usize>) -> Range<usize> {
        if range.is_empty() {
            let at = self.source_offset(range.start);
            return at..at;
        }
        self.source_offset(range.start)..self.source_offset(range.end - 1) + 1
    }
}

/// What stands above the first instruction, as `# name=value`.
#[derive(Clone, Debug)]
pub(super) struct Directives {
    pub(super) escape: char,
    pub(super) syntax: Option<String>,
}

/// Splits the source into logical lines.
pub(super) fn logical_lines(source: &Source<'_>, errors: &mut Vec<Diagnostic>) -> (Directives, Vec<Logical>) {
    let directives = directives(source, errors);
    let mut reader = Reader { source, escape: directives.escape, at: bom(source.text), errors };
    let mut found = Vec::new();
    while let Some((line, start)) = reader.physical() {
        found.extend(reader.logical(line, start));
    }
    (directives, found)
}

fn bom(text: &str) -> usize {
    if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 }
}

fn directives(source: &Source<'_>, errors: &mut Vec<Diagnostic>) -> Directives {
    let mut found = Directives { escape: '\\', syntax: None };
    let mut seen = Vec::new();
    let mut at = bom(source.text);
    for line in source.text[at..].split_inclusive('\n') {
        let Some((name, value)) = directive(line) else { break };
        if seen.contains(&name) {
            errors.push(source.error(at, format!("`# {name}=` is given twice")).help("keep one of the two lines"));
        }
        match name.as_str() {
            "syntax" => found.syntax = Some(value.to_owned()),
            "escape" if value == "\\" || value == "`" => found.escape = if value == "`" { '`' } else { '\\' },
            "escape" => errors.push(
                source
                    .error(at, format!("`# escape={value}` is not a possible escape character"))
                    .help("write `# escape=\\` or ``# escape=` ``"),
            ),
            "check" => {}
            _ => break,
        }
        seen.push(name);
        at += line.len();
    }
    found
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let fine = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
        && !value.is_empty();
    fine.then(|| (name.to_ascii_lowercase(), value))
}

struct Reader<'s, 'e> {
    source: &'s Source<'s>,
    escape: char,
    at: usize,
    errors: &'e mut Vec<Diagnostic>,
}

impl<'s> Reader<'s, '_> {
    /// The next physical line without its line end, and where it starts.
    fn physical(&mut self) -> Option<(&'s str, usize)> {
        let start = self.at;
        let rest = self.source.text.get(start..).filter(|rest| !rest.is_empty())?;
        let end = rest.find('\n').map_or(rest.len(), |at| at + 1);
        self.at += end;
        Some((rest[..end].trim_end_matches(['\r', '\n']), start))
    }

    /// The logical line that begins with `line`; `None` for an empty line or a comment.
    fn logical(&mut self, line: &str, start: usize) -> Option<Logical> {
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return None;
        }
        let mut logical = Logical { text: String::new(), pieces: Vec::new(), heredocs: Vec::new() };
        let mut open = push_piece(&mut logical, trimmed, start + line.len() - trimmed.len(), self.escape);
        while open {
            let Some((line, start)) = self.physical() else { break };
            let trimmed = line.trim_start();
            // Comments and empty lines inside a continuation vanish; the old builders do the same, with a warning.
            if !trimmed.is_empty() && !trimmed.starts_with('#') {
                open = push_piece(&mut logical, line, start, self.escape);
            }
        }
        if logical.text.trim().is_empty() {
            return None;
        }
        self.read_heredocs(&mut logical);
        Some(logical)
    }

    fn read_heredocs(&mut self, logical: &mut Logical) {
        if !can_hold_heredoc(&logical.text) {
            return;
        }
        for word in split_words(&logical.text, 0, self.escape) {
            let Some((name, expand, chomp)) = heredoc_name(&word) else { continue };
            let body_start = self.at;
            let mut body_end = None;
            while let Some((line, start)) = self.physical() {
                if (if chomp { line.trim_start_matches('\t') } else { line }) == name {
                    body_end = Some(start);
                    break;
                }
            }
            if body_end.is_none() {
                let at = logical.source_offset(word.range.start);
                self.errors.push(
                    self.source
                        .error(at, format!("`<<{name}` has no end"))
                        .help(format!("write a line that is exactly `{name}` after the text")),
                );
            }
            logical.heredocs.push(Heredoc { name, body: body_start..body_end.unwrap_or(self.at), expand });
        }
    }
}

/// Appends one physical line without its continuation mark; true if it had one.
fn push_piece(logical: &mut Logical, line: &str, start: usize, escape: char) -> bool {
    let body = line.trim_end_matches([' ', '\t']);
    let continued = body.strip_suffix(escape).filter(|rest| !rest.ends_with(escape));
    logical.pieces.push((logical.text.len(), start));
    logical.text.push_str(continued.unwrap_or(line));
    continued.is_some()
}

fn can_hold_heredoc(text: &str) -> bool {
    if !text.contains("<<") {
        return false;
    }
    let mut words = text.split_ascii_whitespace().skip_while(|word| word.eq_ignore_ascii_case("ONBUILD"));
    let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
    let json = words.find(|word| !word.starts_with("--")).is_some_and(|word| word.starts_with('['));
    ["RUN", "COPY", "ADD"].contains(&keyword.as_str()) && !(json && text.trim_end().ends_with(']'))
}

/// The name of a word `[0-9]*<<-?NAME`, whether its body is expanded, and whether leading tabs are cut.
pub(super) fn heredoc_name(word: &Word<'_>) -> Option<(String, bool, bool)> {
    let rest = word.raw.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (rest, chomp) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let name: String = rest.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
    (!name.is_empty() && !rest.contains('<')).then(|| (name.clone(), name == rest, chomp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Directives, Vec<String>, Vec<String>) {
        let source = Source::new("Dockerfile", text);
        let mut errors = Vec::new();
        let (directives, lines) = logical_lines(&source, &mut errors);
        let texts = lines.into_iter().map(|line| line.text).collect();
        (directives, texts, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn continuations_skip_comments_and_blank_lines() {
        let (_, lines, errors) = read("FROM a\n# note\nRUN one && \\\n  # inside\n\n  two\n\nCMD x\\\\\nUSER y");
        assert_eq!(lines, ["FROM a", "RUN one &&   two", "CMD x\\\\", "USER y"].map(str::to_owned));
        assert_eq!(errors, Vec::<String>::new());
    }

    #[test]
    fn escape_directive_changes_the_continuation() {
        let (directives, lines, _) = read("# escape=`\nFROM a\nRUN c:\\ `\n x\n");
        assert_eq!(directives.escape, '`');
        assert_eq!(lines[1], "RUN c:\\  x");
    }

    #[test]
    fn directives_end_at_the_first_other_line() {
        let (directives, _, _) = read("# syntax = docker/dockerfile:1\n# hello\n# escape=`\nFROM a\n");
        assert_eq!((directives.syntax.as_deref(), directives.escape), (Some("docker/dockerfile:1"), '\\'));
        let (_, _, errors) = read("# escape=x\n# escape=x\n");
        assert_eq!(errors.len(), 3, "{errors:?}");
    }

    #[test]
    fn heredocs_swallow_their_lines() {
        let (_, lines, errors) =
            read("RUN <<EOF cat <<-'B'\nFROM no\nEOF\nx\n\tB\nRUN echo $((1 << 2)) x<<y\nCOPY <<a /b\nc\n");
        assert_eq!(lines, ["RUN <<EOF cat <<-'B'", "RUN echo $((1 << 2)) x<<y", "COPY <<a /b"].map(str::to_owned));
        assert_eq!(
            errors,
            ["error: `<<a` has no end\n  --> Dockerfile:7:6\n  help: write a line that is exactly `a` after the text"]
        );
    }

    #[test]
    fn offsets_lead_back_to_the_source() {
        let text = "FROM \\\n  deb\\\nian\n";
        let source = Source::new("Dockerfile", text);
        let (_, lines) = logical_lines(&source, &mut Vec::new());
        assert_eq!(lines[0].text, "FROM   debian");
        let range = lines[0].source_range(&(7..13));
        assert_eq!(&text[range.clone()], "deb\\\nian");
        assert_eq!(source.line_column(range.start), (2, 3));
    }
}
