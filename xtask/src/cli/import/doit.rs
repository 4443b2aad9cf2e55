//! A JSON list of doit's tasks, each a map of its attributes, as tasks of tasks.yaml. docs/from-doit.md has the lines
//! that print it.

use serde_json::{Map, Value, json};

use super::Imported;
use crate::model::Diagnostic;

/// Attributes that are the same there and here.
const SAME: &[&str] = &["file_dep", "targets", "task_dep", "setup", "calc_dep", "doc", "title", "verbosity", "pos_arg"];

pub(super) fn tasks(list: &Value) -> Imported {
    let mut open = Vec::new();
    let mut tasks = Map::new();
    for task in list.as_array().into_iter().flatten() {
        let name = task["name"].as_str().or(task["basename"].as_str()).unwrap_or_default().to_owned();
        if name.is_empty() {
            open.push(format!("a task has no name and was left out: {task}"));
            continue;
        }
        let value = Value::Object(one(&name, task, &mut open));
        tasks.insert(name, value);
    }
    let open = open.into_iter().map(Diagnostic::warning).collect();
    Imported { value: json!({ "version": 1, "tasks": tasks }), open }
}

fn one(name: &str, task: &Value, open: &mut Vec<String>) -> Map<String, Value> {
    let mut fields = Map::new();
    for field in SAME {
        let value = &task[*field];
        let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty) || value == "";
        if !is_empty {
            fields.insert((*field).to_owned(), escaped(value));
        }
    }
    let actions: Vec<Value> = list(&task["actions"]).iter().map(|action| self::action(name, action, open)).collect();
    if !actions.is_empty() {
        fields.insert("actions".into(), actions.into());
    }
    let uptodate: Vec<Value> =
        list(&task["uptodate"]).into_iter().filter(|check| known_check(name, check, open)).collect();
    if !uptodate.is_empty() {
        fields.insert("uptodate".into(), uptodate.into());
    }
    let params: Vec<Value> = list(&task["params"]).iter().filter_map(param).collect();
    if !params.is_empty() {
        fields.insert("params".into(), params.into());
    }
    if let Some(getargs) = task["getargs"].as_object().filter(|map| !map.is_empty()) {
        let from = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([task, key]) if key.is_string() => json!(format!("{}.{}", text(task), text(key))),
            Some([task, ..]) => task.clone(),
            _ => value.clone(),
        };
        let getargs: Map<String, Value> = getargs.iter().map(|(name, value)| (name.clone(), from(value))).collect();
        fields.insert("getargs".into(), getargs.into());
    }
    // There, targets stay unless `clean` is true; here they go unless it is false.
    if task["clean"] != json!(true) && fields.contains_key("targets") {
        fields.insert("clean".into(), json!(false));
    }
    fields
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Text in which nothing is a template.
fn escaped(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(escape(text)),
        Value::Array(items) => items.iter().map(escaped).collect(),
        other => other.clone(),
    }
}

fn escape(text: &str) -> String {
    text.replace("{{", "{{ '{{' }}").replace("{%", "{{ '{%' }}")
}

fn action(task: &str, action: &Value, open: &mut Vec<String>) -> Value {
    match action {
        Value::String(command) => json!(command_text(command)),
        Value::Array(words) if words.iter().all(|word| !word.is_object()) => escaped(action),
        _ => {
            let what = action["python"].as_str().map_or_else(|| action.to_string(), str::to_owned);
            open.push(format!(
                "task `{task}` has an action in Python, `{what}`: write it as a command, or register it in Rust"
            ));
            json!(escape(&format!("echo {} >&2; exit 1", shell_word(&format!("not taken over from doit: {what}")))))
        }
    }
}

fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// `%(name)s` as a template, `%%` as `%`.
fn command_text(command: &str) -> String {
    let mut text = String::new();
    let mut rest = command;
    while let Some(at) = rest.find('%') {
        text.push_str(&escape(&rest[..at]));
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            text.push('%');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(")s")) {
            let name = if name == "dependencies" { "file_dep" } else { name };
            text.push_str(&format!("{{{{ {name} }}}}"));
            rest = after;
        } else {
            text.push('%');
        }
    }
    text + &escape(rest)
}

fn known_check(task: &str, check: &Value, open: &mut Vec<String>) -> bool {
    let known = match check {
        Value::Bool(_) | Value::Null => true,
        Value::String(command) => !command.starts_with('<'),
        _ => false,
    };
    if !known {
        open.push(format!(
            "`uptodate` of task `{task}` holds {check}, which was left out: see `uptodate` in docs/tasks.md"
        ));
    }
    known
}

fn param(param: &Value) -> Option<Value> {
    let mut fields = Map::new();
    fields.insert("name".into(), json!(param["name"].as_str()?));
    let kind = match text(&param["type"]) {
        "int" => "int",
        "float" => "float",
        "bool" => "bool",
        "list" => "list",
        _ => "string",
    };
    fields.insert("type".into(), json!(kind));
    for field in ["short", "long", "help", "inverse", "default"] {
        if !param[field].is_null() && param[field] != "" {
            fields.insert(field.into(), param[field].clone());
        }
    }
    let choices: Vec<Value> =
        list(&param["choices"]).iter().map(|choice| choice.get(0).unwrap_or(choice).clone()).collect();
    if !choices.is_empty() {
        fields.insert("choices".into(), choices.into());
    }
    Some(fields.into())
}
