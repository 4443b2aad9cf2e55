//! `uptodate`, `if` and `require`: the checks of a task, in every form. Knows nothing of how they are decided.

use super::cx::Cx;
use super::world::Quote;
use super::{Node, Value};
use crate::model::task::serde_json_text::Json;
use crate::model::task::{At, Condition, Require, StatField, Uptodate};
use crate::model::{Diagnostic, words};

pub(super) const HELPERS: &[&str] =
    &["run_once", "timeout", "config_changed", "stat", "output_of", "image", "remote_tag", "shell"];
const EXPECTED: &str =
    "a list of checks (each `true`, `false`, `null`, a shell text, or a map such as `{run_once: true}`)";

/// The list of checks.
pub(super) fn checks(node: &Node, cx: &mut Cx<'_>) -> Vec<At<Uptodate>> {
    let items = cx.list(node, "uptodate", EXPECTED);
    let checks = items.iter().filter_map(|item| Some(At { value: check(item, cx)?, place: item.place.clone() }));
    checks.collect()
}

fn check(node: &Node, cx: &mut Cx<'_>) -> Option<Uptodate> {
    if node.is_null() {
        return Some(Uptodate::Null);
    }
    if let Some(truth) = node.boolean() {
        return Some(Uptodate::Bool(truth));
    }
    match &node.value {
        Value::Scalar(scalar) if cx.world.checks.contains(&&*scalar.text) => {
            Some(Uptodate::Named { name: scalar.text.clone(), args: Json::default() })
        }
        Value::Scalar(scalar) if HELPERS.contains(&&*scalar.text) => {
            let name = &scalar.text;
            let message = format!("`uptodate` of {} has the check `{name}` as shell text", cx.of);
            let example =
                if &**name == "run_once" { "{run_once: true}".to_owned() } else { format!("{{{name}: …}}") };
            cx.errors.push(
                Diagnostic::error(message).at(node.place.clone()).help(format!("write it as a map: `{example}`")),
            );
            None
        }
        Value::Scalar(_) => cx.shell_text(node, "uptodate").map(Uptodate::Shell),
        Value::Map(entries) if entries.len() == 1 => helper(&entries[0].0, &entries[0].1, cx),
        _ => {
            cx.wrong(node, "uptodate", "a check: `true`, `false`, `null`, a shell text, or a map with one key");
            None
        }
    }
}

fn helper(key: &Node, value: &Node, cx: &mut Cx<'_>) -> Option<Uptodate> {
    match key.key() {
        // `{run_once}` is a map with an empty value.
        "run_once" => match value.boolean() {
            Some(true) => Some(Uptodate::RunOnce),
            None if value.is_null() => Some(Uptodate::RunOnce),
            _ => {
                cx.wrong(value, "run_once", "`true`");
                None
            }
        },
        "timeout" => cx.duration(value, "timeout").map(Uptodate::Timeout),
        "config_changed" => Some(Uptodate::ConfigChanged(Json::new(&cx.json(value, "config_changed", false)))),
        "stat" => stat(value, cx),
        "output_of" => cx.shell_text(value, "output_of").map(Uptodate::OutputOf),
        "image" => cx.template(value, "image", Quote::Plain).map(Uptodate::Image),
        "remote_tag" => cx.template(value, "remote_tag", Quote::Plain).map(Uptodate::RemoteTag),
        "shell" => cx.shell_text(value, "shell").map(Uptodate::Shell),
        name if cx.world.checks.contains(&name) => {
            Some(Uptodate::Named { name: name.into(), args: Json::new(&cx.json(value, name, false)) })
        }
        name => {
            let known: Vec<&str> = HELPERS.iter().chain(cx.world.checks).copied().collect();
            let message = format!("`uptodate` of {} has unknown check `{}`", cx.of, super::node::shorten(name));
            let help = words::suggest("check", name, &known)
                .or_else(|| Some(format!("known checks: {}", words::list(&known))));
            cx.errors.push(Diagnostic::error(message).at(key.place.clone()).maybe_help(help));
            None
        }
    }
}

/// `{stat: path}` or `{stat: {path, field}}`.
fn stat(node: &Node, cx: &mut Cx<'_>) -> Option<Uptodate> {
    if node.map().is_none() {
        return Some(Uptodate::Stat { path: cx.path(node, "stat")?, field: StatField::Modify });
    }
    let of = format!("`stat` of {}", cx.of);
    let fields = super::read::fields(node, &of, &["path", "field"], cx.errors)?;
    let path = super::read::required(fields, node, "path", &of, cx.errors).and_then(|path| cx.path(path, "path"));
    const FIELDS: &[(&str, StatField)] =
        &[("access", StatField::Access), ("status", StatField::Status), ("modify", StatField::Modify)];
    let field = match fields.get("field") {
        Some(field) => cx.choice(field, "field", FIELDS)?,
        None => StatField::Modify,
    };
    Some(Uptodate::Stat { path: path?, field })
}

/// `if`: a truth value or a shell text.
pub(super) fn condition(node: &Node, cx: &mut Cx<'_>) -> Option<At<Condition>> {
    let value = match (node.boolean(), &node.value) {
        (Some(truth), _) => Condition::Bool(truth),
        (None, Value::Scalar(_)) => Condition::Shell(cx.shell_text(node, "if")?),
        _ => {
            cx.wrong(node, "if", "`true`, `false` or a shell text");
            return None;
        }
    };
    Some(At { value, place: node.place.clone() })
}

/// `require`: shell texts, or maps with a message for people.
pub(super) fn requirements(node: &Node, cx: &mut Cx<'_>) -> Vec<At<Require>> {
    let items = cx.list(node, "require", "a list of shell texts (or maps of `shell` and `message`)");
    let required =
        items.iter().filter_map(|item| Some(At { value: requirement(item, cx)?, place: item.place.clone() }));
    required.collect()
}

fn requirement(node: &Node, cx: &mut Cx<'_>) -> Option<Require> {
    if node.map().is_none() {
        return Some(Require { shell: cx.shell_text(node, "require")?, message: None });
    }
    let of = format!("`require` of {}", cx.of);
    let fields = super::read::fields(node, &of, &["shell", "message"], cx.errors)?;
    let shell = super::read::required(fields, node, "shell", &of, cx.errors)?;
    let message = fields.get("message").and_then(|message| cx.template(message, "message", Quote::Plain));
    Some(Require { shell: cx.shell_text(shell, "shell")?, message })
}
