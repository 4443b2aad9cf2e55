//! `params`: the definition of a task's options. Knows nothing of the command line's words.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cx::Cx;
use super::params::check_default;
use super::read;
use super::{Node, Value};
use crate::model::task::{Param, ParamKind};
use crate::model::{Diagnostic, Place};

pub(super) const FIELDS: &[&str] = &[
    "name", "type", "short", "long", "env", "choices", "inverse", "pattern", "required", "alone", "member", "secret",
    "default", "help",
];
const KINDS: &[(&str, ParamKind)] = &[
    ("string", ParamKind::String),
    ("int", ParamKind::Int),
    ("bool", ParamKind::Bool),
    ("float", ParamKind::Float),
    ("path", ParamKind::Path),
    ("semver", ParamKind::Semver),
    ("enum", ParamKind::Enum),
    ("list", ParamKind::List),
];

/// The list of definitions.
pub(super) fn params(node: &Node, cx: &mut Cx<'_>) -> Vec<Param> {
    let items = cx.list(node, "params", "a list of maps with `name` and `type`");
    let params: Vec<Param> = items.iter().filter_map(|item| param(item, cx)).collect();
    clashes(&params, cx);
    params
}

fn param(node: &Node, cx: &mut Cx<'_>) -> Option<Param> {
    let owner = cx.of.clone();
    let of = format!("a param of {owner}");
    let fields = read::fields(node, &of, FIELDS, cx.errors)?;
    cx.of.clone_from(&of);
    let name = read::required(fields, node, "name", &of, cx.errors).and_then(|name| identifier(name, "name", cx));
    cx.of.clone_from(&owner);
    let name = name?;
    cx.of = format!("param `{name}` of {owner}");
    let param = filled(node, name, fields, cx);
    check(&param, cx);
    cx.of = owner;
    Some(param)
}

fn filled(node: &Node, name: Arc<str>, fields: read::Fields<'_>, cx: &mut Cx<'_>) -> Param {
    let choices =
        fields.get("choices").map(|choices| cx.fixed_list(choices, "choices", "a list of texts")).unwrap_or_default();
    let kind = match fields.get("type") {
        Some(kind) => cx.choice(kind, "type", KINDS).unwrap_or_default(),
        None if choices.is_empty() => ParamKind::String,
        None => ParamKind::Enum,
    };
    let flag =
        |field: &str, cx: &mut Cx<'_>| fields.get(field).and_then(|node| cx.boolean(node, field)).unwrap_or_default();
    let text = |field: &str, cx: &mut Cx<'_>| fields.get(field).and_then(|node| cx.fixed(node, field));
    let long = text("long", cx).unwrap_or_else(|| name.replace('_', "-").into());
    let inverse = match fields.get("inverse") {
        Some(node) if node.boolean() == Some(true) => Some(format!("no-{long}").into()),
        Some(node) if node.boolean() == Some(false) => None,
        Some(node) => cx.fixed(node, "inverse"),
        None => None,
    };
    Param {
        place: node.place.clone(),
        kind,
        short: fields.get("short").and_then(|node| short(node, cx)),
        env: text("env", cx),
        default: fields.get("default").and_then(|node| default(node, kind, cx)),
        choices,
        inverse: inverse.map(|inverse: Arc<str>| inverse.trim_start_matches('-').into()),
        pattern: fields.get("pattern").and_then(|node| pattern(node, cx)),
        required: flag("required", cx),
        alone: flag("alone", cx),
        member: flag("member", cx),
        secret: flag("secret", cx),
        help: text("help", cx).map(|help| help.to_string()).unwrap_or_default(),
        long: long.trim_start_matches('-').into(),
        name,
    }
}

/// A name that templates can use.
pub(super) fn identifier(node: &Node, field: &str, cx: &mut Cx<'_>) -> Option<Arc<str>> {
    let name = cx.fixed(node, field)?;
    let fine = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if !fine {
        cx.wrong(node, field, "letters, digits and `_`, not starting with a digit");
        return None;
    }
    Some(name)
}

fn short(node: &Node, cx: &mut Cx<'_>) -> Option<char> {
    let text = cx.fixed(node, "short")?;
    let mut chars = text.trim_start_matches('-').chars();
    match (chars.next(), chars.next()) {
        (Some(letter), None) if letter.is_ascii_alphanumeric() => Some(letter),
        _ => {
            cx.wrong(node, "short", "one letter or digit");
            None
        }
    }
}

fn pattern(node: &Node, cx: &mut Cx<'_>) -> Option<Arc<str>> {
    // Braces are common in patterns, so they are not taken for a template.
    let text = node.text().cloned();
    let Some(text) = text else {
        cx.wrong(node, "pattern", "a regular expression");
        return None;
    };
    if let Err(error) = regex_lite::Regex::new(&text) {
        cx.error(&node.place, format!("`pattern` of {} is no regular expression: {error}", cx.of));
        return None;
    }
    Some(text)
}

/// As text; a list as JSON text.
fn default(node: &Node, kind: ParamKind, cx: &mut Cx<'_>) -> Option<Arc<str>> {
    match (&node.value, kind) {
        _ if node.is_null() => None,
        (Value::List(_), ParamKind::List) => {
            Some(serde_json::json!(cx.fixed_list(node, "default", "a list")).to_string().into())
        }
        (_, ParamKind::List) | (Value::List(_) | Value::Map(_), _) => {
            cx.wrong(node, "default", if kind == ParamKind::List { "a list" } else { "text" });
            None
        }
        (Value::Scalar(scalar), _) => cx.expand_fixed(&scalar.text, &node.place, "default"),
    }
}

/// What does not fit together within one definition.
fn check(param: &Param, cx: &mut Cx<'_>) {
    let refuse = |what: String, cx: &mut Cx<'_>| {
        let message = format!("{} {what}", cx.of);
        cx.error(&param.place, message);
    };
    if param.kind == ParamKind::Enum && param.choices.is_empty() {
        refuse("has type `enum` but no `choices`".to_owned(), cx);
    }
    if param.inverse.is_some() && param.kind != ParamKind::Bool {
        refuse("has `inverse`, which only a `bool` can have".to_owned(), cx);
    }
    if param.required && param.default.is_some() {
        refuse("is `required` and has a `default`, expected one of the two".to_owned(), cx);
    }
    if (param.alone || param.member) && (param.required || param.default.is_some()) {
        let what = if param.alone { "alone" } else { "member" };
        refuse(format!("is `{what}` and has a value every time, expected one that may be left out"), cx);
    }
    if param.member && !matches!(param.kind, ParamKind::String | ParamKind::Enum) {
        refuse("is `member`, which only text can be".to_owned(), cx);
    }
    if param.secret && param.default.is_some() {
        let error = Diagnostic::error(format!("{} is `secret` and has its `default` in the file", cx.of));
        let variable = param.name.to_uppercase().replace('-', "_");
        let help = format!("take it from the environment: `env: {variable}` in place of `default`");
        cx.errors.push(error.at(param.place.clone()).help(help));
    }
    if let Some(default) = &param.default
        && let Err(expected) = check_default(param, default)
    {
        refuse(format!("has default `{default}`, expected {expected}"), cx);
    }
}

/// Names, long and short options must be unique within a task.
fn clashes(params: &[Param], cx: &mut Cx<'_>) {
    let mut seen: BTreeMap<String, &Place> = BTreeMap::new();
    for param in params {
        let spellings = [format!("param `{}`", param.name), format!("option `--{}`", param.long)]
            .into_iter()
            .chain(param.short.map(|letter| format!("option `-{letter}`")))
            .chain(param.inverse.as_ref().map(|inverse| format!("option `--{inverse}`")));
        for spelling in spellings {
            if let Some(first) = seen.insert(spelling.clone(), &param.place) {
                let message = format!("{spelling} is defined twice for {}", cx.of);
                let error =
                    Diagnostic::error(message).at(param.place.clone()).at_because(first.clone(), "first defined here");
                cx.errors.push(error);
            }
        }
    }
}
