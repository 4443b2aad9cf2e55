//! Replaces in a template what is constant and leaves the rest for the run. Knows nothing of tasks, nor of the
//! language within the braces.

use std::sync::Arc;

use serde_json::Value as Json;

use super::world::{Expand, Quote};
use crate::model::words;

/// What became of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Partial {
    /// A template again: values that look like one are protected.
    pub text: Arc<str>,
    /// Names (without attributes) that are still in it.
    pub left: Vec<String>,
}

/// Whether there is anything to replace.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// What is wrong with a text, to follow a subject, with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phrase {
    pub text: String,
    pub help: Option<String>,
}

impl From<String> for Phrase {
    fn from(text: String) -> Self {
        Self { text, help: None }
    }
}

/// Replaces everything: for what must be known before the run. An error says which names are not.
pub(super) fn complete(text: &str, scope: &Json, expand: &dyn Expand, quote: Quote) -> Result<String, Trouble> {
    let names = expand.names(text)?;
    let unknown = unknown(&names, scope);
    if !unknown.is_empty() {
        return Err(Trouble::NotConstant(unknown));
    }
    missing(text, &names, scope).map_err(Trouble::Wrong)?;
    Ok(expand.expand(text, scope, quote)?)
}

/// A text for people in which each `{{ x }}` reads `<x>`: the doc of a group, whose members differ there.
pub(super) fn outline(text: &str) -> String {
    let Ok(pieces) = pieces(text) else { return text.to_owned() };
    let show = |piece: Piece<'_>| match piece {
        Piece::Text(literal) => literal.to_owned(),
        Piece::Expression(source) => format!("<{}>", source.trim_matches(['{', '}', ' ', '-'])),
        Piece::Block => String::new(),
    };
    pieces.into_iter().map(show).collect()
}

/// Why a text cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Wrong(Vec<Phrase>),
    /// These names are no constants.
    NotConstant(Vec<String>),
}

impl From<String> for Trouble {
    fn from(words: String) -> Self {
        Self::Wrong(vec![words.into()])
    }
}

/// Replaces what is constant. An error holds a phrase for each expression that is wrong.
///
/// In a plain text, each `{{ … }}` whose names are all constants is replaced. A shell's text is replaced as a whole or
/// left as a whole, because how a value is quoted depends on what stands around it. Where constants are left, beside
/// names of the run or in blocks (`{% … %}`), they are set at the start of the text, with no more of each than is used.
pub(super) fn partial(text: &str, scope: &Json, expand: &dyn Expand, quote: Quote) -> Result<Partial, Vec<Phrase>> {
    let one = |phrase: String| vec![phrase.into()];
    let pieces = pieces(text).map_err(one)?;
    let names = expand.names(text).map_err(one)?;
    missing(text, &names, scope)?;
    let left = unknown(&names, scope);
    let block = pieces.contains(&Piece::Block);
    if left.is_empty() && (block || quote == Quote::Shell) {
        let whole = expand.expand(text, scope, quote).map_err(one)?;
        let mut out = String::with_capacity(whole.len());
        push_value(&mut out, &whole, quote);
        return Ok(Partial { text: out.into(), left });
    }
    if block || quote == Quote::Shell {
        return Ok(Partial { text: (settings(&names, scope) + text).into(), left });
    }
    plain(pieces, scope, expand)
}

/// Expression by expression.
fn plain(pieces: Vec<Piece<'_>>, scope: &Json, expand: &dyn Expand) -> Result<Partial, Vec<Phrase>> {
    let (mut out, mut used, mut left) = (String::new(), Vec::new(), Vec::new());
    let mut phrases: Vec<Phrase> = Vec::new();
    for piece in pieces {
        let Piece::Expression(source) = piece else {
            out.push_str(piece.literal());
            continue;
        };
        let names = expand.names(source).unwrap_or_default();
        let run_time = unknown(&names, scope);
        if run_time.is_empty() {
            match expand.expand(source, scope, Quote::Plain) {
                Ok(value) => push_value(&mut out, &value, Quote::Plain),
                Err(phrase) => phrases.push(phrase.into()),
            }
        } else {
            out.push_str(source);
            left.extend(run_time);
            used.extend(names);
        }
    }
    phrases.dedup();
    if phrases.is_empty() { Ok(Partial { text: (settings(&used, scope) + &out).into(), left }) } else { Err(phrases) }
}

/// Constants whose parts do not exist would be an error of the run; it is told now. A text that asks whether
/// something is there is left alone.
fn missing(text: &str, names: &[String], scope: &Json) -> Result<(), Vec<Phrase>> {
    if text.contains("default") || text.contains("defined") {
        return Ok(());
    }
    let phrases: Vec<Phrase> = names.iter().filter_map(|name| missing_part(name, scope)).collect();
    if phrases.is_empty() { Ok(()) } else { Err(phrases) }
}

/// The first part of a dotted name that does not exist, if its beginning is a constant.
fn missing_part(name: &str, scope: &Json) -> Option<Phrase> {
    let mut parts = name.split('.');
    let mut at = scope.get(parts.next()?)?;
    for part in parts {
        let Json::Object(fields) = at else { return None };
        let Some(value) = fields.get(part) else {
            let known: Vec<&str> = fields.keys().map(String::as_str).collect();
            let text = format!("uses `{name}`, which is not defined");
            return Some(Phrase {
                text,
                help: words::suggest(if name.starts_with("vars.") { "var" } else { "field" }, part, &known),
            });
        };
        at = value;
    }
    None
}

/// Appends a value so that no template can come out of it, whatever stands beside it.
fn push_value(out: &mut String, value: &str, quote: Quote) {
    let joins = out.ends_with('{') && value.starts_with(['{', '%', '#']);
    if !joins && !is_template(value) && !value.ends_with('{') {
        out.push_str(value);
        return;
    }
    let filter = if quote == Quote::Shell { " | raw" } else { "" };
    out.push_str("{{ ");
    out.push_str(&literal(&Json::String(value.to_owned())));
    out.push_str(filter);
    out.push_str(" }}");
}

/// `{% set … %}` for the constants among `names`, with no more of each than is used.
fn settings(names: &[String], scope: &Json) -> String {
    let mut reduced = Json::Object(serde_json::Map::new());
    for name in names {
        keep(&mut reduced, scope, name);
    }
    let Json::Object(reduced) = reduced else { return String::new() };
    reduced.iter().fold(String::new(), |text, (name, value)| text + "{% set " + name + " = " + &literal(value) + " %}")
}

/// Copies what the dotted `name` means from `scope`.
fn keep(reduced: &mut Json, scope: &Json, name: &str) {
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    let Some(value) = scope.get(first) else { return };
    match rest {
        Some(rest) if value.is_object() => {
            if reduced.get(first).is_none() {
                reduced[first] = Json::Object(serde_json::Map::new());
            }
            keep(&mut reduced[first], value, rest);
        }
        _ => reduced[first] = value.clone(),
    }
}

/// A value in the template language: JSON, but for `none`.
fn literal(value: &Json) -> String {
    match value {
        Json::Null => "none".to_owned(),
        Json::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Json::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", literal(&Json::String(key.clone())), literal(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn roots(names: &[String]) -> impl Iterator<Item = String> {
    names.iter().map(|name| name.split('.').next().unwrap_or(name).to_owned())
}

fn unknown(names: &[String], scope: &Json) -> Vec<String> {
    roots(names).filter(|name| scope.get(name).is_none()).collect()
}

/// A part of a template.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    /// With its braces.
    Expression(&'a str),
    /// A statement or a comment; its text is of no use alone.
    Block,
}

impl<'a> Piece<'a> {
    fn literal(&self) -> &'a str {
        match self {
            Piece::Text(text) | Piece::Expression(text) => text,
            Piece::Block => "",
        }
    }
}

/// Takes a template apart. An error is a phrase.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(['{']) {
        let (open, tail) = (&rest[start..], &rest[start + 1..]);
        let close = match tail.as_bytes().first() {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            _ => {
                pieces.push(Piece::Text(&rest[..=start]));
                rest = tail;
                continue;
            }
        };
        let end = end_of(open, close).ok_or_else(|| format!("has `{}` that is not closed", &open[..2]))?;
        pieces.push(Piece::Text(&rest[..start]));
        let source = &open[..end];
        // One that takes away the space around it cannot be replaced alone either.
        let alone = close == "}}" && !source.starts_with("{{-") && !source.ends_with("-}}");
        pieces.push(if alone { Piece::Expression(source) } else { Piece::Block });
        rest = &open[end..];
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Ok(pieces)
}

/// Where `open` ends, braces in texts and maps not counted.
fn end_of(open: &str, close: &str) -> Option<usize> {
    if close == "#}" {
        return open[2..].find(close).map(|at| at + 4);
    }
    let bytes = open.as_bytes();
    let (mut at, mut quote, mut depth) = (2, None, 0_usize);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(mark), byte) if mark == byte => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth > 0 => depth -= 1,
            (None, _) if bytes[at..].starts_with(close.as_bytes()) => return Some(at + 2),
            _ => {}
        }
        at += 1;
    }
    None
}
