//! Errors of the template engine in words for people. Knows nothing of what is rendered.

use std::ops::Range;

use minijinja::{Error, ErrorKind};

use crate::model::words::suggest;

/// What went wrong in a template, without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Follows a subject, e.g. `uses …`.
    pub(super) message: String,
    /// The name that is not defined, if that is the problem.
    pub(super) undefined: Option<String>,
    pub(super) help: Option<String>,
    /// Template, line from 1, column from 1: innermost first.
    pub(super) places: Vec<(String, u32, u32)>,
    /// Byte of the template at which it went wrong.
    pub(super) offset: Option<usize>,
}

/// Explains `error`; `known` are the names that templates may use.
pub(super) fn explain(error: &Error, known: &[&str]) -> Problem {
    let mut chain = vec![error];
    let mut next = std::error::Error::source(error);
    while let Some(inner) = next {
        if let Some(inner) = inner.downcast_ref::<Error>() {
            chain.push(inner);
        }
        next = inner.source();
    }
    let cause = chain.iter().rev().find(|error| error.line().is_some()).copied().unwrap_or(error);
    let deepest = chain.last().copied().unwrap_or(error);
    let range = whole_range(cause);
    let expression = range.clone().and_then(|range| cause.template_source()?.get(range));
    let detail = deepest.detail().unwrap_or_default().to_owned();
    let mut undefined = None;
    let mut help = None;
    let message = match deepest.kind() {
        ErrorKind::UndefinedError => {
            let name = expression.map_or_else(|| quoted(&detail), |text| Some(text.trim().to_owned()));
            let name = name.unwrap_or_else(|| "a value".to_owned());
            let root = name.split(['.', '[', ' ', '|']).next().unwrap_or(&name).to_owned();
            help = suggest("name", &root, known).filter(|_| !known.contains(&root.as_str()));
            undefined = Some(root);
            format!("uses `{name}`, which is not defined")
        }
        ErrorKind::OutOfFuel => "does too many steps".to_owned(),
        ErrorKind::SyntaxError => format!("has a syntax error: {detail}"),
        ErrorKind::TemplateNotFound => detail.clone(),
        _ if detail.is_empty() => format!("fails: {}", deepest.kind()),
        _ => detail.clone(),
    };
    if deepest.kind() == ErrorKind::OutOfFuel {
        help = Some("look for a loop or a macro that calls itself without end".to_owned());
    }
    let mut places: Vec<(String, u32, u32)> = Vec::new();
    for error in chain.iter().rev() {
        let (Some(name), Some(line)) = (error.name(), error.line()) else { continue };
        if places.iter().all(|(seen, ..)| seen != name) {
            places.push((name.to_owned(), line as u32, column(error)));
        }
    }
    Problem { message, undefined, help, places, offset: range.map(|range| range.start) }
}

/// The bytes of the expression that failed; the engine's own range of `a.b` begins at its last dot.
fn whole_range(error: &Error) -> Option<Range<usize>> {
    let range = error.range()?;
    let source = error.template_source()?;
    if !source.get(range.clone())?.starts_with(['.', '[']) {
        return Some(range);
    }
    let part = |c: char| c.is_alphanumeric() || "_.[]'\"-".contains(c);
    let before = source.get(..range.start)?;
    Some(before.trim_end_matches(part).len()..range.end)
}

fn column(error: &Error) -> u32 {
    let before = whole_range(error).and_then(|range| error.template_source()?.get(..range.start));
    let line = before.map_or("", |text| text.rsplit('\n').next().unwrap_or(text));
    line.chars().count() as u32 + 1
}

fn quoted(detail: &str) -> Option<String> {
    detail.split(['\'', '`', '"']).nth(1).map(str::to_owned)
}
