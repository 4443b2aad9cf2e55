//! `for_each` and `matrix`: the members of a group, each with its name and what it binds. Knows nothing of the
//! attributes that the members have.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::cx::Cx;
use super::{Node, Value, names};
use crate::model::task::Host;
use crate::model::{Diagnostic, words};

/// One member to be.
pub(super) struct Member {
    /// What follows `group:`.
    pub name: String,
    /// Names and values that its texts may use.
    pub bindings: Map<String, Json>,
}

/// What the lists of members may draw on.
pub(super) struct Sources<'a> {
    pub images: &'a mut dyn FnMut(&Node, &mut Cx<'_>) -> Vec<super::world::ImageInfo>,
    pub environments: &'a mut dyn FnMut(&mut Cx<'_>) -> Vec<super::world::ImageInfo>,
    pub hosts: &'a BTreeMap<Arc<str>, Host>,
}

/// The members of `for_each`; nothing after an error.
pub(super) fn for_each(node: &Node, sources: &mut Sources<'_>, cx: &mut Cx<'_>) -> Vec<Member> {
    const EXPECTED: &str = "`image`, `environment`, `host`, a list, a map of one name and its list, or `{files: GLOB}`";
    match &node.value {
        Value::Scalar(_) => match node.text().map(|text| &**text) {
            Some("image") => described((sources.images)(node, cx), "image"),
            Some("environment") => described((sources.environments)(cx), "environment"),
            Some("host") => sources.hosts.iter().map(|(name, host)| host_member(name, host)).collect(),
            _ => {
                cx.wrong(node, "for_each", EXPECTED);
                Vec::new()
            }
        },
        Value::List(_) => items(node, "item", cx),
        Value::Map(entries) => match entries.as_slice() {
            [(key, value)] if key.key() == "files" && value.list().is_none() => files(value, "item", cx),
            [(key, value)] => match value.get("files") {
                Some(pattern) => files(pattern, key.key(), cx),
                None => items(value, key.key(), cx),
            },
            _ => {
                let message = format!("`for_each` of {} has {} names, expected one", cx.of, entries.len());
                cx.errors.push(Diagnostic::error(message).at(node.place.clone()).help("use `matrix` for several"));
                Vec::new()
            }
        },
    }
}

fn described(found: Vec<super::world::ImageInfo>, variable: &str) -> Vec<Member> {
    let member = |image: super::world::ImageInfo| {
        let mut fields = image.fields.as_object().cloned().unwrap_or_default();
        fields.insert("name".to_owned(), json!(image.name));
        bound(image.name, variable, Json::Object(fields))
    };
    found.into_iter().map(member).collect()
}

fn host_member(name: &str, host: &Host) -> Member {
    let fields = json!({
        "name": name, "ssh": host.ssh, "context": host.context, "docker": host.docker, "root": host.root,
        "port": host.port,
    });
    bound(name.to_owned(), "host", fields)
}

/// A member that binds its value to `variable`, and its name to `item`.
fn bound(name: String, variable: &str, value: Json) -> Member {
    let mut bindings = Map::new();
    bindings.insert("item".to_owned(), json!(name));
    bindings.insert(variable.to_owned(), value);
    Member { name, bindings }
}

fn items(node: &Node, variable: &str, cx: &mut Cx<'_>) -> Vec<Member> {
    let items = cx.list(node, "for_each", "a list of texts or of maps with `name`");
    items
        .iter()
        .filter_map(|item| Some(bound(item_name(item, cx)?, variable, cx.json(item, "for_each", true))))
        .collect()
}

fn item_name(item: &Node, cx: &mut Cx<'_>) -> Option<String> {
    let node = match &item.value {
        Value::Map(_) => item.get("name"),
        Value::Scalar(_) => Some(item),
        Value::List(_) => None,
    };
    let Some(node) = node else {
        cx.wrong(item, "for_each", "text, or a map with `name`");
        return None;
    };
    let name = cx.fixed(node, "for_each")?.to_string();
    let Some(fault) = names::fault_of_member(&name) else { return Some(name) };
    let error = Diagnostic::error(format!("member `{name}` of {} {fault}", cx.of)).at(node.place.clone());
    let help = match item.value {
        Value::Map(_) => "choose another name; the other fields of the map can hold any text".to_owned(),
        _ => format!("name it: `{{ name: {}, value: {name:?} }}`, and use `item.value`", names::like(&name)),
    };
    cx.errors.push(error.help(help));
    None
}

fn files(pattern: &Node, variable: &str, cx: &mut Cx<'_>) -> Vec<Member> {
    let Some(text) = cx.fixed(pattern, "files") else { return Vec::new() };
    let Some(text) = cx.path_text(&text, &pattern.place, "files") else { return Vec::new() };
    let mut members = Vec::new();
    for path in (cx.world.glob)(&text) {
        let Ok(path) = std::str::from_utf8(path.as_bytes()) else {
            let message = format!("`for_each` of {} meets file `{path}`, whose name is not UTF-8", cx.of);
            cx.error(&pattern.place, message);
            continue;
        };
        if let Some(fault) = names::fault_of_member(path) {
            let error = Diagnostic::error(format!("member `{path}` of {} {fault}", cx.of)).at(pattern.place.clone());
            cx.errors.push(error.help("rename the file"));
            continue;
        }
        members.push(bound(path.to_owned(), variable, json!(path)));
    }
    members
}

/// The members of `matrix`: every combination, without `exclude`, with `include` added.
pub(super) fn matrix(node: &Node, cx: &mut Cx<'_>) -> Vec<Member> {
    let entries = cx.map(node, "matrix", "a map of names to lists");
    let mut axes: Vec<(&str, Vec<Json>)> = Vec::new();
    for (key, value) in entries.iter().filter(|(key, _)| !matches!(key.key(), "include" | "exclude")) {
        let items = cx.list(value, key.key(), "a list of texts");
        axes.push((key.key(), items.iter().filter_map(|item| cell(item, key.key(), cx)).collect()));
    }
    let names: Vec<&str> = axes.iter().map(|(name, _)| *name).collect();
    let excluded = cells(node.get("exclude"), "exclude", &names, cx);
    let mut rows = vec![Map::new()];
    if axes.is_empty() {
        rows.clear();
    }
    for (axis, values) in &axes {
        rows = rows.iter().flat_map(|row| values.iter().map(move |value| with(row, axis, value))).collect();
        if rows.len() > MAX_MEMBERS {
            cx.error(&node.place, format!("`matrix` of {} makes more than {MAX_MEMBERS} members", cx.of));
            return Vec::new();
        }
    }
    rows.retain(|row| !excluded.iter().any(|cells| cells.iter().all(|(axis, value)| row.get(axis) == Some(value))));
    rows.extend(cells(node.get("include"), "include", &names, cx));
    rows.into_iter().map(row_member).collect()
}

/// A group larger than this is a mistake.
const MAX_MEMBERS: usize = 10_000;

fn with(row: &Map<String, Json>, axis: &str, value: &Json) -> Map<String, Json> {
    let mut row = row.clone();
    row.insert(axis.to_owned(), value.clone());
    row
}

fn cell(node: &Node, axis: &str, cx: &mut Cx<'_>) -> Option<Json> {
    cx.fixed(node, axis).map(|text| json!(text))
}

/// `include` or `exclude`: maps from names of the matrix to one value each. `include` must name all of them.
fn cells(node: Option<&Node>, field: &str, axes: &[&str], cx: &mut Cx<'_>) -> Vec<Map<String, Json>> {
    let Some(node) = node else { return Vec::new() };
    let mut found = Vec::new();
    for item in cx.list(node, field, "a list of maps from names of the matrix to texts") {
        let mut row = Map::new();
        for (key, value) in cx.map(item, field, "a map from names of the matrix to texts") {
            if !axes.is_empty() && !axes.contains(&key.key()) {
                let message = format!("`{field}` of {} has unknown name `{}`", cx.of, key.key());
                let help = words::suggest("name", key.key(), axes);
                cx.errors.push(Diagnostic::error(message).at(key.place.clone()).maybe_help(help));
            } else if let Some(value) = cell(value, key.key(), cx) {
                row.insert(key.key().to_owned(), value);
            }
        }
        if let Some(missing) = axes.iter().find(|axis| field == "include" && !row.contains_key(**axis)) {
            cx.error(&item.place, format!("`include` of {} has no value for `{missing}`", cx.of));
        } else if !row.is_empty() {
            found.push(row);
        }
    }
    found
}

fn row_member(mut row: Map<String, Json>) -> Member {
    let name = row.values().filter_map(Json::as_str).collect::<Vec<_>>().join("-");
    row.insert("item".to_owned(), json!(name));
    row.insert("matrix".to_owned(), Json::Object(row.clone().into_iter().filter(|(key, _)| key != "item").collect()));
    Member { name, bindings: row }
}
