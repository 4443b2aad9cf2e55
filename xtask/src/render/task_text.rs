//! The texts of tasks.yaml: templates over the names that a task knows. Knows nothing of tasks.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};

use super::guard::guarded;
use super::problem::explain;
use super::values::from_json;
use super::{filters, shell};

/// How a value is written into a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// For a shell: every value stays one word, a list becomes words; `| raw` is the way out.
    Shell,
    /// As it is; a list has to be joined.
    Plain,
}

/// Why a text could not be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// To follow a subject such as "`actions` of `build`": `uses …`, `has …`, `writes …`.
    pub message: String,
    /// The top-level name that is not defined, if that is the reason.
    pub undefined: Option<String>,
    /// Byte of the template at which it went wrong, if known.
    pub offset: Option<usize>,
    pub help: Option<String>,
}

/// Steps of the template engine for one text.
const FUEL: u64 = 50_000;
const MOST_DEPTH: usize = 32;

/// Expands one text over `scope`, a map of names.
pub fn expand_text(template: &str, scope: &serde_json::Value, quote: Quote) -> Result<String, TemplateError> {
    if is_plain(template) {
        return Ok(template.to_owned());
    }
    if shell::has_mark(template) {
        return Err(simple("has a private character that the program keeps for itself"));
    }
    VALUES.with_borrow_mut(Vec::clear);
    let text = guarded(template, || environment(quote).render_named_str("", template, names(template, scope)))
        .map_err(|error| failed(&error, scope))?;
    match quote {
        Quote::Plain => Ok(text),
        Quote::Shell => VALUES.with_borrow(|values| shell::fill(&text, values)).map_err(|why| TemplateError {
            help: Some("values are quoted where they stand; `| raw` writes one as it is".into()),
            ..simple(&why)
        }),
    }
}

/// Expands one word of an argv: a word that is exactly one `{{ list }}` becomes as many words as the list has items.
pub fn expand_words(template: &str, scope: &serde_json::Value) -> Result<Vec<String>, TemplateError> {
    if let Some(inner) = template.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"))
        && let Ok(expression) =
            guarded(template, || environment(Quote::Plain).compile_expression_owned(inner.trim_matches('-').to_owned()))
    {
        let value = expression.eval(names(template, scope)).map_err(|error| failed(&error, scope))?;
        if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
            let items = value.try_iter().map_err(|error| failed(&error, scope))?;
            return items.map(|item| plain(&item).map_err(|error| failed(&error, scope))).collect();
        }
    }
    Ok(vec![expand_text(template, scope, Quote::Plain)?])
}

/// The top-level names that a text refers to; a text with wrong syntax refers to none.
pub fn names_used(template: &str) -> BTreeSet<String> {
    if is_plain(template) {
        return BTreeSet::new();
    }
    let environment: &Environment<'_> = environment(Quote::Plain);
    let Ok(compiled) = guarded(template, || environment.template_from_str(template)) else { return BTreeSet::new() };
    let mut names: BTreeSet<String> = compiled.undeclared_variables(false).into_iter().collect();
    for (name, _) in environment.globals() {
        names.remove(name);
    }
    names
}

/// The names that a text refers to with the attributes that it takes of them: `vars.registry`, `version`.
pub fn paths_used(template: &str) -> BTreeSet<String> {
    if is_plain(template) {
        return BTreeSet::new();
    }
    let environment: &Environment<'_> = environment(Quote::Plain);
    let Ok(compiled) = guarded(template, || environment.template_from_str(template)) else { return BTreeSet::new() };
    let known = names_used(template);
    let root = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
    compiled.undeclared_variables(true).into_iter().filter(|path| known.contains(&root(path))).collect()
}

/// Checks the syntax of a text without any names.
pub fn check_syntax(template: &str) -> Result<(), TemplateError> {
    if is_plain(template) {
        return Ok(());
    }
    let environment: &Environment<'_> = environment(Quote::Plain);
    guarded(template, || environment.template_from_str(template).map(|_| ()))
        .map_err(|error| failed(&error, &serde_json::Value::Null))
}

fn is_plain(template: &str) -> bool {
    !["{{", "{%", "{#"].iter().any(|mark| template.contains(mark))
}

/// Those of the names that the template can mean: converting a long list that nobody asks for would cost the most.
fn names(template: &str, scope: &serde_json::Value) -> Value {
    let entries = scope.as_object().into_iter().flatten();
    Value::from_pairs(
        entries.filter(|(name, _)| template.contains(name.as_str())).map(|(n, v)| (n.as_str(), from_json(v))),
    )
}

fn environment(quote: Quote) -> &'static Environment<'static> {
    static SHELL: OnceLock<Environment<'static>> = OnceLock::new();
    static PLAIN: OnceLock<Environment<'static>> = OnceLock::new();
    match quote {
        Quote::Shell => SHELL.get_or_init(|| new_environment(write_marked)),
        Quote::Plain => PLAIN.get_or_init(|| new_environment(write_plain)),
    }
}

type Formatter = fn(&mut Output<'_>, &mut State<'_, '_>, &Value) -> Result<(), Error>;

fn new_environment(formatter: Formatter) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MOST_DEPTH);
    environment.set_debug(true);
    // With an escape mode, what `| raw` gives is known from plain values.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("task".into()));
    environment.set_formatter(formatter);
    filters::add(&mut environment);
    // In a shell text, values are quoted where they stand: asking for it changes nothing.
    environment.add_filter("quote", |value: Value| value);
    environment
}

thread_local! {
    /// The values of the text that this thread expands; the text has a mark for each.
    static VALUES: RefCell<Vec<Vec<String>>> = const { RefCell::new(Vec::new()) };
}

fn write_marked(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_safe() {
        return out.write_str(&value.to_string()).map_err(Error::from);
    }
    let words: Vec<String> = match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => value.try_iter()?.map(|item| plain(&item)).collect::<Result<_, _>>()?,
        _ => vec![plain(value)?],
    };
    let number = VALUES.with_borrow_mut(|values| {
        values.push(words);
        values.len() - 1
    });
    out.write_str(&shell::mark(number)).map_err(Error::from)
}

fn write_plain(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = if value.is_safe() { value.to_string() } else { plain(value)? };
    out.write_str(&text).map_err(Error::from)
}

/// The text of a single value.
fn plain(value: &Value) -> Result<String, Error> {
    let refuse = |why: fmt::Arguments<'_>| Err(Error::new(ErrorKind::InvalidOperation, why.to_string()));
    match value.kind() {
        ValueKind::String | ValueKind::Number => Ok(value.to_string()),
        ValueKind::Bool => Ok(value.is_true().to_string()),
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => refuse(format_args!("writes a value that is not set: give one with `| default('…')`")),
        ValueKind::Seq | ValueKind::Iterable => {
            refuse(format_args!("writes a list into one text: say how, e.g. with `| join(' ')`"))
        }
        kind => refuse(format_args!("writes a value of the kind {kind}, which has no text: name one of its parts")),
    }
}

fn failed(error: &Error, scope: &serde_json::Value) -> TemplateError {
    let known: Vec<&str> = scope.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let problem = explain(error, &known);
    TemplateError { message: problem.message, undefined: problem.undefined, offset: problem.offset, help: problem.help }
}

fn simple(message: &str) -> TemplateError {
    TemplateError { message: message.to_owned(), undefined: None, offset: None, help: None }
}

#[cfg(test)]
mod tests;
