//! Services of a compose file and targets of a bake file as images of a spec that stands beside that file.

use serde_json::{Map, Value, json};

use super::Imported;

/// Every service that is built.
pub(super) fn compose(file: &Value) -> Imported {
    let mut imported = Imported::default();
    let mut images = Map::new();
    for (name, service) in file["services"].as_object().into_iter().flatten() {
        let build = &service["build"];
        if build.is_null() {
            imported.open.push(format!("service `{name}` builds nothing and was left out"));
            continue;
        }
        let context = build.as_str().or(build["context"].as_str()).unwrap_or(".");
        let image_name = service["image"].as_str().map_or_else(|| name.clone(), |image| repository(image).to_owned());
        let mut image = image(name, &image_name, context, build, &mut imported.open);
        if let Some(arguments) = arguments(&build["args"]) {
            image.insert("build_args".into(), arguments);
        }
        images.insert(name.clone(), image.into());
    }
    imported.value = json!({ "version": 1, "images": images });
    imported
}

/// Every target.
pub(super) fn bake(file: &Value) -> Imported {
    let mut imported = Imported::default();
    let mut images = Map::new();
    for (name, target) in file["target"].as_object().into_iter().flatten() {
        let first = target["tags"].as_array().and_then(|tags| tags.first()?.as_str());
        let image_name = first.map_or_else(|| name.clone(), |tag| repository(tag).to_owned());
        let mut image = image(name, &image_name, target["context"].as_str().unwrap_or("."), target, &mut imported.open);
        if let Some(arguments) = arguments(&target["args"]) {
            image.insert("build_args".into(), arguments);
        }
        for field in ["platforms", "labels"] {
            let is_empty = |value: &Value| {
                value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
            };
            if !target[field].is_null() && !is_empty(&target[field]) {
                image.insert(field.into(), target[field].clone());
            }
        }
        for (alias, source) in target["contexts"].as_object().into_iter().flatten() {
            match source.as_str().and_then(|source| source.strip_prefix("target:")) {
                Some(parent) => {
                    image.insert("depend_on".into(), json!(parent));
                    imported.open.push(format!(
                        "target `{name}` is built FROM {alias}: write the name of the image `{parent}` there, \
                         in a template {{{{ images[\"{parent}\"].image_name }}}}"
                    ));
                }
                None => imported.open.push(format!("the context `{alias}` of target `{name}` was left out: {source}")),
            }
        }
        images.insert(name.clone(), image.into());
    }
    imported.value = json!({ "version": 1, "images": images });
    imported
}

/// What both kinds of file call by the same names.
fn image(name: &str, image_name: &str, context: &str, build: &Value, open: &mut Vec<String>) -> Map<String, Value> {
    let mut image = Map::new();
    image.insert("image_name".into(), json!(image_name));
    let dir = context.trim_start_matches("./").trim_end_matches('/');
    if dir.is_empty() || dir == "." || dir.starts_with("..") || dir.contains(':') {
        open.push(format!(
            "the context of `{name}` is `{context}`: move its files into the folder `{name}` beside the spec"
        ));
    } else if dir != name {
        image.insert("dir".into(), json!(dir));
    }
    for field in ["dockerfile", "target", "network"] {
        if let Some(text) = build[field].as_str().filter(|text| *text != "Dockerfile") {
            image.insert(field.into(), json!(text));
        }
    }
    image
}

/// A reference without its tag and digest.
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// A map, or a list of `NAME=VALUE`; a name alone has its value from the environment and is left to the command line.
fn arguments(args: &Value) -> Option<Value> {
    let map: Map<String, Value> = match args {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        Value::Array(list) => {
            let pairs = list.iter().filter_map(|item| item.as_str()?.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), json!(value))).collect()
        }
        _ => Map::new(),
    };
    (!map.is_empty()).then_some(Value::Object(map))
}
