//! Values of params: typed, and by precedence default < file < environment < command line. Knows nothing of how
//! the words of a command line are told apart (that is [`super::words`]), nor of the graph.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::model::task::{Config, Param, ParamKind, Task};
use crate::model::{Diagnostic, words};

/// Where a value comes from; a later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Default,
    /// `config.params` of the file.
    File,
    Environment,
    CommandLine,
}

/// The value of one param. Its `Debug` hides a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ParamValue {
    /// In canonical form: `true` and `false`, a number, JSON text of a list. Empty where nothing was given and there
    /// is no default.
    pub text: Arc<str>,
    pub kind: ParamKind,
    pub source: Source,
    pub secret: bool,
}

impl ParamValue {
    /// As templates see it: numbers, truth values and lists keep their type, an absent value is empty text.
    pub fn json(&self) -> Json {
        let text = || json!(&*self.text);
        match self.kind {
            ParamKind::Int => self.text.parse::<i64>().map_or_else(|_| text(), |number| json!(number)),
            ParamKind::Float => self.text.parse::<f64>().map_or_else(|_| text(), |number| json!(number)),
            ParamKind::Bool => json!(&*self.text == "true"),
            ParamKind::List => serde_json::from_str(&self.text).unwrap_or_else(|_| json!([])),
            _ => text(),
        }
    }
}

impl fmt::Debug for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret { f.write_str("Secret(..)") } else { write!(f, "{} ({:?})", self.text, self.source) }
    }
}

/// Values by name.
pub type Values = BTreeMap<Arc<str>, ParamValue>;

/// Texts that the command line gives, by name of the param; several only for a list.
pub type Given = BTreeMap<Arc<str>, Vec<String>>;

/// The values of all params of a task. Every wrong or missing one is an error.
pub fn values(
    task: &Task,
    config: &Config,
    env: &dyn Fn(&str) -> Option<String>,
    given: &Given,
) -> Result<Values, Vec<Diagnostic>> {
    let (mut values, mut errors) = (Values::new(), Vec::new());
    let is_alone = is_alone(task, given);
    for param in &task.params {
        if is_alone && param.required && !given.contains_key(&param.name) {
            let none = finished(param, absent(param.kind), Source::Default);
            values.insert(param.name.clone(), none);
            continue;
        }
        match value(task, param, config, env, given) {
            Ok(value) => {
                values.insert(param.name.clone(), value);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

/// Whether an option was given that lets the task run without the tasks that it needs.
pub fn is_alone(task: &Task, given: &Given) -> bool {
    let is_given = |param: &Param| match given.get(&param.name).and_then(|texts| texts.last()) {
        Some(text) if param.kind == ParamKind::Bool => truth(text) == Some(true),
        Some(text) => !text.is_empty(),
        None => false,
    };
    task.params.iter().any(|param| param.alone && is_given(param))
}

fn value(
    task: &Task,
    param: &Param,
    config: &Config,
    env: &dyn Fn(&str) -> Option<String>,
    given: &Given,
) -> Result<ParamValue, Diagnostic> {
    let (text, source) = find(task, param, config, env, given);
    let Some(raw) = text else {
        return if param.required {
            Err(missing(task, param))
        } else {
            Ok(finished(param, absent(param.kind), source))
        };
    };
    match normal(param, raw) {
        Ok(text) => Ok(finished(param, text, source)),
        Err((shown, expected)) => Err(refused(task, param, source, &shown, &expected)),
    }
}

/// What was found: one text, or the items of a list.
enum Raw {
    Text(String),
    Items(Vec<String>),
}

fn find(
    task: &Task,
    param: &Param,
    config: &Config,
    env: &dyn Fn(&str) -> Option<String>,
    given: &Given,
) -> (Option<Raw>, Source) {
    if let Some(texts) = given.get(&param.name) {
        let raw = match (param.kind, texts.last()) {
            (ParamKind::List, _) => Some(Raw::Items(texts.clone())),
            (_, last) => last.cloned().map(Raw::Text),
        };
        return (raw, Source::CommandLine);
    }
    if let Some(text) = param.env.as_deref().and_then(env) {
        let raw = if param.kind == ParamKind::List {
            Raw::Items(text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect())
        } else {
            Raw::Text(text)
        };
        return (Some(raw), Source::Environment);
    }
    // A member takes what the file says for its group, unless there is something for itself.
    let own = |name: &str| config.params.get(name)?.get(&param.name).cloned();
    if let Some(text) = own(&task.name).or_else(|| own(task.group.as_deref()?)) {
        return (Some(stored(param, &text)), Source::File);
    }
    (param.default.as_ref().map(|text| stored(param, text)), Source::Default)
}

/// A text of the file: that of a list is JSON.
fn stored(param: &Param, text: &str) -> Raw {
    match (param.kind, serde_json::from_str::<Vec<String>>(text)) {
        (ParamKind::List, Ok(items)) => Raw::Items(items),
        (ParamKind::List, Err(_)) => Raw::Items(vec![text.to_owned()]),
        _ => Raw::Text(text.to_owned()),
    }
}

fn absent(kind: ParamKind) -> String {
    match kind {
        ParamKind::Bool => "false".to_owned(),
        ParamKind::List => "[]".to_owned(),
        _ => String::new(),
    }
}

fn finished(param: &Param, text: String, source: Source) -> ParamValue {
    ParamValue { text: text.into(), kind: param.kind, source, secret: param.secret }
}

/// The canonical text, or the wrong text with what is expected.
fn normal(param: &Param, raw: Raw) -> Result<String, (String, String)> {
    match raw {
        Raw::Text(text) => check(param, &text).map_err(|expected| (text, expected)),
        Raw::Items(items) => {
            for item in &items {
                check(param, item).map_err(|expected| (item.clone(), expected))?;
            }
            Ok(json!(items).to_string())
        }
    }
}

/// Whether `text` can be a value of the param (of a list: one item), in its canonical form; if not, what is expected.
fn check(param: &Param, text: &str) -> Result<String, String> {
    let typed = match param.kind {
        ParamKind::Int => text.parse::<i64>().ok().map(|number| number.to_string()).ok_or("a whole number"),
        ParamKind::Float => number(text).ok_or("a number"),
        ParamKind::Bool => truth(text).map(|truth| truth.to_string()).ok_or("`true` or `false`"),
        ParamKind::Semver => {
            semver::Version::parse(text).map(|version| version.to_string()).map_err(|_| "a version such as `1.4.0`")
        }
        ParamKind::Path if text.is_empty() => Err("a path"),
        _ => Ok(text.to_owned()),
    };
    let text = typed.map_err(str::to_owned)?;
    if !param.choices.is_empty() && !param.choices.iter().any(|choice| **choice == *text) {
        return Err(format!("one of {}", words::list(&param.choices)));
    }
    match &param.pattern {
        Some(pattern) if !matches_whole(pattern, &text) => Err(format!("text that matches `{pattern}`")),
        _ => Ok(text),
    }
}

/// Whether a default of the file can be a value; if not, what is expected. That of a list is JSON text.
pub(super) fn check_default(param: &Param, text: &str) -> Result<(), String> {
    normal(param, stored(param, text)).map(drop).map_err(|(_, expected)| expected)
}

fn number(text: &str) -> Option<String> {
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number.to_string())
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// The pattern was compiled when the file was read, so it compiles again.
fn matches_whole(pattern: &str, text: &str) -> bool {
    regex_lite::Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(text))
}

fn missing(task: &Task, param: &Param) -> Diagnostic {
    let error = Diagnostic::error(format!("task `{}` needs option `--{}`", task.name, param.long));
    let error = if param.help.is_empty() { error } else { error.note(format!("`--{}`: {}", param.long, param.help)) };
    let value = match param.kind {
        ParamKind::Semver => "1.0.0".to_owned(),
        _ => param.choices.first().map_or_else(|| param.name.to_uppercase(), |choice| choice.to_string()),
    };
    error.help(format!("give it: cargo xtask {} --{} {value}", task.name, param.long))
}

fn refused(task: &Task, param: &Param, source: Source, shown: &str, expected: &str) -> Diagnostic {
    let shown = if param.secret { "a secret value".to_owned() } else { format!("`{shown}`") };
    let option = format!("option `--{}` of task `{}`", param.long, task.name);
    let message = match source {
        Source::Environment => {
            format!("`{}` in the environment, for {option}, is {shown}", param.env.as_deref().unwrap_or_default())
        }
        Source::File => format!("`config.params` has {shown} for {option}"),
        Source::CommandLine | Source::Default => format!("{option} is {shown}"),
    };
    let error = Diagnostic::error(format!("{message}, expected {expected}"));
    if source < Source::Environment { error.at(param.place.clone()) } else { error }
}
