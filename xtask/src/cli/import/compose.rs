//! Services of a compose file as targets of a bake file, with its variables put in. Knows no images.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::bake::{Bake, Field, Target};
use crate::model::{Diagnostic, Diagnostics};
use crate::taskfile::Node;

/// Names that differ, in `build` and in a target.
const NAMES: [(&str, &str); 6] = [
    ("dockerfile_inline", "dockerfile-inline"),
    ("additional_contexts", "contexts"),
    ("cache_from", "cache-from"),
    ("cache_to", "cache-to"),
    ("no_cache", "no-cache"),
    ("secrets", "secret"),
];

/// Every service that is built.
pub(super) fn read(file: &Node, environment: &dyn Fn(&str) -> Option<String>) -> Result<Bake, Diagnostics> {
    let mut reader = Reader { environment, bake: Bake::default(), errors: Vec::new() };
    let secrets = file.get("secrets").map(|node| reader.value(node)).unwrap_or_default();
    for (key, service) in file.get("services").and_then(Node::map).unwrap_or_default() {
        reader.service(key, service, &secrets);
    }
    if reader.errors.is_empty() { Ok(reader.bake) } else { Err(Diagnostics(reader.errors)) }
}

struct Reader<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    bake: Bake,
    errors: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn service(&mut self, key: &Node, service: &Node, secrets: &Value) {
        let name = key.key().to_owned();
        let Some(build) = service.get("build").filter(|node| !node.is_null()) else {
            let message = format!("service `{name}` builds nothing and was left out");
            self.bake.open.push(Diagnostic::warning(message).at(key.place.clone()));
            return;
        };
        let mut fields = self.fields(build, secrets);
        let own = fields.remove("tags").map(|field| list(&field.value)).unwrap_or_default();
        if let Some(node) = service.get("image").filter(|node| !node.is_null()) {
            let tags = [vec![self.value(node)], own].concat();
            fields.insert("tags".into(), Field { value: tags.into(), place: node.place.clone() });
        } else if !own.is_empty() {
            fields.insert("tags".into(), Field { value: own.into(), place: build.place.clone() });
        }
        if let (Some(node), false) = (service.get("platform"), fields.contains_key("platforms")) {
            let value = json!([self.value(node)]);
            fields.insert("platforms".into(), Field { value, place: node.place.clone() });
        }
        let known = ["build", "image", "platform"];
        let entries = service.map().unwrap_or_default();
        let others: Vec<_> = entries
            .iter()
            .filter(|(field, _)| !known.contains(&field.key()) && !field.key().starts_with("x-"))
            .collect();
        if let Some((first, _)) = others.first() {
            let names: Vec<String> = others.iter().map(|(field, _)| format!("`{}`", field.key())).collect();
            let message = format!("service `{name}` is built, and not run: left out was {}", names.join(", "));
            self.bake.open.push(Diagnostic::warning(message).at(first.place.clone()));
        }
        self.bake.targets.push(Target { name, place: key.place.clone(), fields });
    }

    fn fields(&mut self, build: &Node, secrets: &Value) -> BTreeMap<String, Field> {
        let mut fields = BTreeMap::new();
        let Some(entries) = build.map() else {
            // A text alone is the folder.
            let context = Field { value: self.value(build), place: build.place.clone() };
            return BTreeMap::from([("context".to_owned(), context)]);
        };
        for (key, node) in entries.iter().filter(|(_, node)| !node.is_null()) {
            let value = self.value(node);
            let value = match key.key() {
                "args" | "labels" => named(&value),
                "additional_contexts" => contexts(&named(&value)),
                "secrets" => list(&value).iter().map(|secret| resolved(secret, secrets)).collect(),
                _ => value,
            };
            let name = NAMES.iter().find(|(name, _)| *name == key.key()).map_or(key.key(), |(_, name)| name);
            fields.insert(name.to_owned(), Field { value, place: key.place.clone() });
        }
        fields
    }

    /// A value with the variables of compose put in.
    fn value(&mut self, node: &Node) -> Value {
        if let Some(items) = node.list() {
            return items.iter().map(|item| self.value(item)).collect();
        }
        if let Some(entries) = node.map() {
            let entries = entries.iter().map(|(key, value)| (key.key().to_owned(), self.value(value)));
            return Value::Object(entries.collect());
        }
        match node.text() {
            Some(text) if text.contains('$') => Value::String(self.text(text, node)),
            _ => node.json(),
        }
    }

    /// `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `$$`.
    fn text(&mut self, text: &str, node: &Node) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let is_name = |one: char| one.is_ascii_alphanumeric() || one == '_';
            let inner;
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            } else if let Some(after) = rest.strip_prefix('{') {
                let Some(end) = after.find('}') else {
                    self.errors
                        .push(Diagnostic::error(format!("`{text}` has a `${{` without `}}`")).at(node.place.clone()));
                    return out;
                };
                (inner, rest) = after.split_at(end);
                rest = &rest[1..];
            } else {
                let end = rest.find(|one| !is_name(one)).unwrap_or(rest.len());
                (inner, rest) = rest.split_at(end);
            }
            let (name, operator) = inner.split_at(inner.find(|one| !is_name(one)).unwrap_or(inner.len()));
            out.push_str(&self.variable(name, operator, node));
        }
        out + rest
    }

    fn variable(&mut self, name: &str, operator: &str, node: &Node) -> String {
        let given = (self.environment)(name);
        let default = operator.strip_prefix(":-").or_else(|| operator.strip_prefix('-'));
        let given = given.filter(|text| !text.is_empty() || !operator.starts_with(':'));
        let (value, message) = match (given, default) {
            (Some(text), _) if operator.is_empty() || default.is_some() => {
                (text, format!("variable `{name}` has its value from the environment"))
            }
            (None, Some(default)) if !default.contains('$') => return default.to_owned(),
            (None, None) if operator.is_empty() => {
                (String::new(), format!("variable `{name}` has neither a value nor a default: it became empty"))
            }
            _ => {
                let error = Diagnostic::error(format!("`${{{name}{operator}}}` is not evaluated here"));
                let help = "docker compose config > resolved.yaml && cargo xtask import resolved.yaml";
                self.errors.push(error.at(node.place.clone()).help(help));
                return String::new();
            }
        };
        let warning = Diagnostic::warning(message).at(node.place.clone());
        if !self.bake.open.contains(&warning) {
            self.bake.open.push(warning);
        }
        value
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// A map, or a list of `NAME=VALUE`; a name alone has its value from the environment and is left to the command line.
fn named(value: &Value) -> Value {
    let Value::Array(items) = value else { return value.clone() };
    let pairs = items.iter().filter_map(|item| item.as_str()?.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>().into()
}

fn contexts(value: &Value) -> Value {
    let pairs = value.as_object().into_iter().flatten().map(|(alias, source)| {
        let text = source.as_str().unwrap_or_default();
        let source = text.strip_prefix("service:").map_or(text.to_owned(), |name| format!("target:{name}"));
        (alias.clone(), Value::String(source))
    });
    pairs.collect::<Map<_, _>>().into()
}

/// What the file says at its end of a secret's source.
fn resolved(secret: &Value, secrets: &Value) -> Value {
    let name = secret.as_str().or(secret["source"].as_str()).unwrap_or_default();
    let id = secret["target"].as_str().unwrap_or(name);
    let (file, variable) = (&secrets[name]["file"], &secrets[name]["environment"]);
    match (file.as_str(), variable.as_str()) {
        (Some(path), _) => json!({ "id": id, "src": path.trim_start_matches("./") }),
        (None, variable) => json!({ "id": id, "env": variable.unwrap_or(name) }),
    }
}
