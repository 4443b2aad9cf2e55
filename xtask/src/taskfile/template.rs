//! Replaces in a template what is constant and leaves the rest for the run. Knows nothing of tasks, nor of the
//! language within the braces.

use std::sync::Arc;

use serde_json::Value as Json;

use super::world::{Expand, Quote};

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

/// Replaces everything: for what must be known before the run. An error says which name is not.
pub(super) fn complete(text: &str, scope: &Json, expand: &dyn Expand, quote: Quote) -> Result<String, Trouble> {
    let unknown: Vec<String> = roots(&expand.names(text)?).filter(|name| scope.get(name).is_none()).collect();
    if unknown.is_empty() { Ok(expand.expand(text, scope, quote)?) } else { Err(Trouble::NotConstant(unknown)) }
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
    /// The language's own words.
    Language(String),
    /// These names are no constants.
    NotConstant(Vec<String>),
}

impl From<String> for Trouble {
    fn from(words: String) -> Self {
        Self::Language(words)
    }
}

/// Replaces each `{{ … }}` whose names are all constants. One that mixes constants with names of the run is left,
/// and so is a text with blocks (`{% … %}`); the constants that they use are then set at the start of the text.
pub(super) fn partial(text: &str, scope: &Json, expand: &dyn Expand, quote: Quote) -> Result<Partial, Vec<String>> {
    let one = |phrase: String| vec![phrase];
    let pieces = pieces(text).map_err(one)?;
    if pieces.iter().any(|piece| matches!(piece, Piece::Block)) {
        let names = expand.names(text).map_err(one)?;
        let left = unknown(&names, scope);
        return Ok(Partial { text: format!("{}{text}", settings(&names, scope)).into(), left });
    }
    let (mut out, mut used, mut left) = (String::with_capacity(text.len()), Vec::new(), Vec::new());
    let mut phrases = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(literal) => out.push_str(literal),
            Piece::Expression(source) => {
                let names = expand.names(source).unwrap_or_else(|phrase| {
                    phrases.push(phrase);
                    Vec::new()
                });
                let run_time = unknown(&names, scope);
                if run_time.is_empty() {
                    match expand.expand(source, scope, quote) {
                        Ok(value) => push_value(&mut out, &value, quote),
                        Err(phrase) => phrases.push(phrase),
                    }
                } else {
                    out.push_str(source);
                    left.extend(run_time);
                    used.extend(names);
                }
            }
            Piece::Block => {}
        }
    }
    phrases.dedup();
    if phrases.is_empty() { Ok(Partial { text: (settings(&used, scope) + &out).into(), left }) } else { Err(phrases) }
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
        let end = end_of(open, close).ok_or_else(|| format!("`{}` is not closed", &open[..2]))?;
        pieces.push(Piece::Text(&rest[..start]));
        pieces.push(if close == "}}" { Piece::Expression(&open[..end]) } else { Piece::Block });
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
