//! Actions in their four forms: shell text, argv, step, built-in. Knows nothing of what they do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cx::Cx;
use super::world::{ActionForm, Quote};
use super::{Node, Value};
use crate::model::task::serde_json_text::Json;
use crate::model::task::{Action, ActionKind, Step, Template};
use crate::model::{Diagnostic, words};

const STEP_FIELDS: &[&str] = &["cwd", "env", "shell", "timeout", "ignore_error", "save"];
const EXPECTED: &str = "a list of actions (each a shell text, an argv, a step with `cmd`, or a built-in action)";

/// `actions`, and the lists of actions in `clean` and `teardown`.
pub(super) fn actions(node: &Node, field: &str, cx: &mut Cx<'_>) -> Vec<Action> {
    let items = cx.list(node, field, EXPECTED);
    items.iter().filter_map(|item| action(item, field, cx)).collect()
}

fn action(node: &Node, field: &str, cx: &mut Cx<'_>) -> Option<Action> {
    let (kind, step) = match &node.value {
        Value::Scalar(_) => (ActionKind::Shell(cx.shell_text(node, field)?), Step::default()),
        Value::List(_) => (ActionKind::Argv(argv(node, field, cx)?), Step::default()),
        Value::Map(entries) => map_action(node, entries, field, cx)?,
    };
    Some(Action { place: node.place.clone(), kind, step })
}

fn argv(node: &Node, field: &str, cx: &mut Cx<'_>) -> Option<Vec<Template>> {
    let items = node.list().unwrap_or_default();
    if items.is_empty() {
        cx.wrong(node, field, "an argv of at least one word");
        return None;
    }
    let words: Vec<Template> = items.iter().filter_map(|item| cx.template(item, field, Quote::Plain)).collect();
    (words.len() == items.len()).then_some(words)
}

fn map_action(node: &Node, entries: &[(Node, Node)], field: &str, cx: &mut Cx<'_>) -> Option<(ActionKind, Step)> {
    let mut kind = None;
    let mut step = Step::default();
    for (key, value) in entries {
        match key.key() {
            name if STEP_FIELDS.contains(&name) => step_field(&mut step, name, value, cx),
            _ if kind.is_some() => {
                let message =
                    format!("`{field}` of {} has an action with two names: `{}` is the second", cx.of, key.key());
                cx.error(&key.place, message);
            }
            "cmd" => kind = Some(command(value, cx)),
            name => kind = Some(built_in(name, key, value, cx)),
        }
    }
    let Some(kind) = kind else {
        cx.error(&node.place, format!("`{field}` of {} has a step without `cmd`", cx.of));
        return None;
    };
    let kind = kind?;
    if step.shell.is_some() && !matches!(kind, ActionKind::Shell(_)) {
        cx.error(&node.place, format!("`shell` of a step of {} has no meaning, because it runs no shell text", cx.of));
    }
    Some((kind, step))
}

fn command(value: &Node, cx: &mut Cx<'_>) -> Option<ActionKind> {
    match value.value {
        Value::List(_) => argv(value, "cmd", cx).map(ActionKind::Argv),
        Value::Scalar(_) => cx.shell_text(value, "cmd").map(ActionKind::Shell),
        Value::Map(_) => {
            cx.wrong(value, "cmd", "a shell text or an argv");
            None
        }
    }
}

fn step_field(step: &mut Step, name: &str, value: &Node, cx: &mut Cx<'_>) {
    match name {
        "cwd" => step.cwd = cwd(value, cx),
        "env" => env(&mut step.env, value, cx),
        "shell" => step.shell = shell(value, cx),
        "timeout" => step.timeout = cx.duration(value, name),
        "ignore_error" => step.ignore_error = cx.boolean(value, name).unwrap_or_default(),
        _ => step.save = cx.fixed(value, name),
    }
}

fn built_in(name: &str, key: &Node, value: &Node, cx: &mut Cx<'_>) -> Option<ActionKind> {
    let Some(form) = cx.world.actions.iter().find(|form| form.name == name).copied() else {
        let known: Vec<&str> = cx.world.actions.iter().map(|form| form.name).chain(["cmd"]).collect();
        let message = format!("{} has unknown action `{}`", cx.of, super::node::shorten(name));
        cx.errors.push(Diagnostic::error(message).at(key.place.clone()).maybe_help(words::suggest(
            "built-in action",
            name,
            &known,
        )));
        return None;
    };
    let args = match (&value.value, form.short) {
        (Value::Map(_), _) => cx.json(value, name, false),
        _ if value.is_null() => serde_json::Value::Object(serde_json::Map::new()),
        (_, Some(short)) => {
            serde_json::Value::Object([(short.to_owned(), cx.json(value, name, false))].into_iter().collect())
        }
        (_, None) => {
            cx.wrong(value, name, "a map of arguments");
            return None;
        }
    };
    check_arguments(form, key, value, &args, cx);
    Some(ActionKind::BuiltIn { name: name.into(), args: Json::new(&args) })
}

fn check_arguments(form: ActionForm<'_>, key: &Node, value: &Node, args: &serde_json::Value, cx: &mut Cx<'_>) {
    let of = format!("action `{}` of {}", form.name, cx.of);
    for missing in form.required.iter().filter(|name| args.get(**name).is_none_or(serde_json::Value::is_null)) {
        cx.error(&key.place, format!("{of} has no `{missing}`"));
    }
    if form.optional.contains(&"*") {
        return;
    }
    let known: Vec<&str> = form.required.iter().chain(form.optional).copied().collect();
    for (argument, _) in value.map().unwrap_or_default() {
        if !known.contains(&argument.key()) {
            super::read::unknown_field(argument, &of, &known, cx.errors);
        }
    }
}

/// `cwd`, relative to the file's folder.
pub(super) fn cwd(node: &Node, cx: &mut Cx<'_>) -> Option<Template> {
    let text = cx.fixed_or_template(node, "cwd")?;
    if super::template::is_template(&text) {
        let dir = cx.dir.lossy();
        return Some(if dir.is_empty() { text } else { format!("{dir}/{text}").into() });
    }
    cx.path_text(&text, &node.place, "cwd")
}

/// `env`: adds to what is there.
pub(super) fn env(into: &mut BTreeMap<Arc<str>, Template>, node: &Node, cx: &mut Cx<'_>) {
    for (key, value) in cx.map(node, "env", "a map of names to texts") {
        if key.key().contains('=') {
            cx.error(&key.place, format!("`env` of {} has name `{}`, expected one without `=`", cx.of, key.key()));
        } else if let Some(text) = cx.template(value, key.key(), Quote::Plain) {
            into.insert(key.key().into(), text);
        }
    }
}

/// `shell`: an argv, or its words in one text; a text of one word gets `-c`.
pub(super) fn shell(node: &Node, cx: &mut Cx<'_>) -> Option<Vec<Arc<str>>> {
    let words: Vec<Arc<str>> = match &node.value {
        Value::List(_) => cx.fixed_list(node, "shell", "an argv"),
        _ => {
            let text = cx.fixed(node, "shell")?;
            let mut words: Vec<Arc<str>> = text.split_whitespace().map(Into::into).collect();
            if words.len() == 1 {
                words.push("-c".into());
            }
            words
        }
    };
    if words.is_empty() {
        cx.wrong(node, "shell", "an argv such as `[bash, -euc]`");
        return None;
    }
    Some(words)
}
