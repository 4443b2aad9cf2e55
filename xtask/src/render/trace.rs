//! Which line of which template each line of a rendered text comes from. Knows nothing of Dockerfiles.
//!
//! Templates are rendered once more with marks in them, which stand where they change no spacing: behind the text of a
//! line, and before an expression. If that gives another text, nothing is known.

use std::sync::{Mutex, PoisonError};

use crate::model::Place;

/// Begin and end of a mark; between them stand `t` or `e`, the number of the file and the line.
const OPEN: char = '\u{E000}';
const CLOSE: char = '\u{E001}';

/// Gives files their numbers, and marks their texts.
#[derive(Debug, Default)]
pub(super) struct Tracer {
    files: Mutex<Vec<String>>,
}

impl Tracer {
    /// The text of a template with marks; the first one is the template itself.
    pub(super) fn mark(&self, file: &str, text: &str) -> String {
        if text.contains([OPEN, CLOSE]) {
            return text.to_owned();
        }
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let number = files.iter().position(|known| known == file).unwrap_or_else(|| {
            files.push(file.to_owned());
            files.len() - 1
        });
        marked(text, number)
    }

    pub(super) fn into_files(self) -> Vec<String> {
        self.files.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece of a template: text, or something between braces with both of its delimiters.
enum Piece<'t> {
    Text(&'t str),
    Expression(&'t str),
    Other(&'t str),
}

/// Splits a template; what is never closed is text, as the engine refuses it anyway.
fn pieces(mut text: &str) -> Vec<Piece<'_>> {
    let mut all = Vec::new();
    while let Some(at) = next_open(text) {
        let (before, rest) = text.split_at(at);
        if !before.is_empty() {
            all.push(Piece::Text(before));
        }
        let length = closed(rest).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(length);
        text = after;
        all.push(if piece.starts_with("{{") { Piece::Expression(piece) } else { Piece::Other(piece) });
        let inner = piece.trim_start_matches(['{', '%', '-', '+', ' ']);
        if piece.starts_with("{%") && inner.starts_with("raw") && inner[3..].trim_start().starts_with(['%', '-', '+']) {
            let end = text
                .match_indices("{%")
                .find(|(at, _)| text[at + 2..].trim_start_matches(['-', '+']).trim_start().starts_with("endraw"));
            let end = end.map_or(text.len(), |(at, _)| at);
            all.push(Piece::Text(&text[..end]));
            text = &text[end..];
        }
    }
    if !text.is_empty() {
        all.push(Piece::Text(text));
    }
    all
}

fn next_open(text: &str) -> Option<usize> {
    ["{{", "{%", "{#"].iter().filter_map(|open| text.find(open)).min()
}

/// Where the tag at the start of `text` ends; quotes may hold what would close it.
fn closed(text: &str) -> Option<usize> {
    let close = match text.get(..2)? {
        "{{" => "}}",
        "{%" => "%}",
        _ => return text.find("#}").map(|at| at + 2),
    };
    let mut quote = None;
    let mut chars = text.char_indices().skip(2);
    while let Some((at, c)) = chars.next() {
        match quote {
            Some(_) if c == '\\' => _ = chars.next(),
            Some(open) => quote = Some(open).filter(|open| *open != c),
            None if c == '"' || c == '\'' => quote = Some(c),
            None if text[at..].starts_with(close) => return Some(at + 2),
            None => {}
        }
    }
    None
}

fn marked(text: &str, file: usize) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut line = 1;
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => {
                for part in text.split_inclusive('\n') {
                    let solid = part.trim_end();
                    out.push_str(solid);
                    if !solid.trim_start().is_empty() {
                        out.push_str(&format!("{OPEN}t{file}:{line}{CLOSE}"));
                    }
                    out.push_str(&part[solid.len()..]);
                    line += part.matches('\n').count();
                }
            }
            Piece::Expression(text) => {
                // A mark would stand in the way of what `{{-` takes away.
                if !text.starts_with("{{-") {
                    out.push_str(&format!("{OPEN}e{file}:{line}{CLOSE}"));
                }
                out.push_str(text);
                line += text.matches('\n').count();
            }
            Piece::Other(text) => {
                out.push_str(text);
                line += text.matches('\n').count();
            }
        }
    }
    out
}

/// One mark in a line of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// Characters before it in its line.
    column: u32,
    is_text: bool,
    file: usize,
    line: u32,
}

/// Where the lines of a rendered text come from.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    files: Vec<String>,
    lines: Vec<(String, Vec<Mark>)>,
}

/// Takes the marks out of one line.
fn unmarked(line: &str) -> (String, Vec<Mark>) {
    let (mut text, mut marks) = (String::with_capacity(line.len()), Vec::new());
    let mut rest = line;
    while let Some(at) = rest.find(OPEN) {
        text.push_str(&rest[..at]);
        let inner = &rest[at + OPEN.len_utf8()..];
        let Some(end) = inner.find(CLOSE) else { break };
        let (is_text, numbers) = (inner.starts_with('t'), inner[..end].get(1..).unwrap_or_default());
        if let Some((file, line)) = numbers.split_once(':')
            && let (Ok(file), Ok(line)) = (file.parse(), line.parse())
        {
            marks.push(Mark { column: text.chars().count() as u32, is_text, file, line });
        }
        rest = &inner[end + CLOSE.len_utf8()..];
    }
    text.push_str(rest);
    (text, marks)
}

impl Trace {
    /// Reads what was rendered with marks. `kept` are the numbers of its lines that are in the final text.
    pub(super) fn read(files: Vec<String>, rendered: &str, kept: impl FnOnce(&str) -> Vec<usize>) -> (String, Self) {
        let lines: Vec<(String, Vec<Mark>)> = rendered.lines().map(unmarked).collect();
        let plain: String = lines.iter().map(|(text, _)| format!("{text}\n")).collect();
        let lines = kept(&plain).into_iter().filter_map(|at| lines.get(at).cloned()).collect();
        (plain, Self { files, lines })
    }

    /// The line of a template that wrote this place of the text, and where that was used from, outermost last. The
    /// place itself where nothing is known.
    pub fn source(&self, line: u32, column: u32) -> Option<Vec<Place>> {
        let at = (line as usize).checked_sub(1)?;
        let (_, here) = self.lines.get(at)?;
        let before = column.saturating_sub(1);
        let own = here.iter().find(|mark| mark.is_text && mark.column > before);
        let own = own.or_else(|| here.iter().rev().find(|mark| mark.column <= before)).or_else(|| here.first());
        // A line of nothing but a value, as a macro writes it: its tag stands further up.
        let earlier = || self.lines[..at].iter().rev().flat_map(|(_, marks)| marks.iter().rev());
        let own = own.or_else(|| earlier().next())?;
        let mut places = vec![self.place(own)];
        if own.file != 0 {
            let on_line = here.iter().rev().filter(|mark| mark.column <= before);
            // Text of the template in between means that it was included, not written by an expression.
            let user = on_line.chain(earlier()).find(|mark| mark.file == 0).filter(|mark| !mark.is_text);
            places.extend(user.map(|mark| self.place(mark)));
        }
        Some(places)
    }

    /// A line of the text, from 1.
    pub fn line(&self, line: u32) -> Option<&str> {
        Some(self.lines.get((line as usize).checked_sub(1)?)?.0.as_str())
    }

    fn place(&self, mark: &Mark) -> Place {
        let file = self.files.get(mark.file).map_or("", String::as_str);
        Place::new(file, mark.line, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.lines().map(|line| unmarked(line).0 + "\n").collect()
    }

    #[test]
    fn marks_stand_beside_text_and_expressions_and_come_out_again() {
        let text =
            "FROM {{ base }} AS x\n{% if a == \"%}\" -%}\n  RUN a \\\n    b\n{%- endif %}\n{# {{ no }}\n #}\nUSER y\n";
        let marked = marked(text, 0);
        assert_eq!(plain(&marked), text, "{marked}");
        let lines: Vec<Vec<u32>> =
            marked.lines().map(|line| unmarked(line).1.iter().map(|m| m.line).collect()).collect();
        assert_eq!(lines, [vec![1, 1, 1], vec![], vec![3], vec![4], vec![], vec![], vec![], vec![8]]);
    }

    #[test]
    fn raw_blocks_are_text() {
        let text = "{% raw %}\nRUN {{ x }}\n{% endraw %}\nUSER y\n";
        let marked = marked(text, 3);
        assert_eq!(plain(&marked), text);
        assert_eq!(marked.matches("t3:2").count(), 1);
        assert_eq!(marked.matches("e3").count(), 0);
    }
}
