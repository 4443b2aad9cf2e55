//! Targets of a bake file as images of a spec that stands beside that file. Whatever a spec cannot say is told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Imported;
use super::bake::{Bake, Field, Group, Target};
use crate::model::image::is_tag;
use crate::model::{Diagnostic, words};

/// Fields that mean the same here, by their names there and here.
const SAME: [(&str, &str); 5] = [
    ("dockerfile", "dockerfile"),
    ("target", "target"),
    ("network", "network"),
    ("platforms", "platforms"),
    ("description", "description"),
];
/// Values that change nothing.
const USUAL: [(&str, &str); 6] = [
    ("dockerfile", "Dockerfile"),
    ("network", "default"),
    ("call", "build"),
    ("no-cache", "false"),
    ("pull", "false"),
    ("shm-size", "0"),
];

/// A spec with an image for each target. `noun` is what the file calls a target.
pub(super) fn spec(bake: Bake, noun: &'static str) -> Imported {
    let mut writer = Writer { noun, open: bake.open, tags: BTreeSet::new() };
    let mut images = Map::new();
    for target in &bake.targets {
        images.insert(target.name.clone(), writer.image(target).into());
    }
    writer.variants(&mut images, &bake.targets);
    writer.groups(&bake.groups, &bake.targets);
    if !writer.tags.is_empty() {
        let message = format!("tags were left out: {}", words::list(&writer.tags));
        writer.open.push(Diagnostic::warning(message).note("tags are made from plans, versions and commits"));
    }
    Imported { value: json!({ "version": 1, "images": images }), open: writer.open }
}

struct Writer {
    noun: &'static str,
    open: Vec<Diagnostic>,
    /// Tags of all targets.
    tags: BTreeSet<String>,
}

impl Writer {
    fn warn(&mut self, message: String, field: &Field) {
        self.open.push(Diagnostic::warning(message).at(field.place.clone()));
    }

    fn left_out(&mut self, target: &Target, name: &str, field: &Field) {
        self.warn(format!("`{name}` of {} `{}` was left out", self.noun, target.name), field);
    }

    fn image(&mut self, target: &Target) -> Map<String, Value> {
        let mut image = Map::new();
        let mut fields = target.fields.clone();
        let name = self.repository(target, fields.remove("tags"));
        image.insert("image_name".into(), json!(name));
        self.folder(target, fields.remove("context"), &mut image);
        if let Some(inline) = fields.remove("dockerfile-inline") {
            fields.remove("dockerfile");
            self.inline(target, &inline, &mut image);
        }
        fields.retain(|name, field| {
            let usual =
                USUAL.iter().any(|(known, value)| known == name && scalar(&field.value).as_deref() == Some(value));
            !usual && !is_empty(&field.value)
        });
        for (there, here) in SAME {
            if let Some(field) = fields.remove(there) {
                image.insert(here.into(), field.value);
            }
        }
        for (there, here) in [("args", "build_args"), ("labels", "labels")] {
            if let Some(texts) = fields.remove(there).and_then(|field| texts(&field.value)) {
                image.insert(here.into(), texts);
            }
        }
        if let Some(contexts) = fields.remove("contexts") {
            self.contexts(target, &contexts, &mut image);
        }
        for (there, here, read) in [
            ("cache-from", "cache_from", cache_from as fn(&Value) -> Option<Value>),
            ("cache-to", "cache_to", cache_to),
            ("ssh", "ssh", ssh),
        ] {
            if let Some(field) = fields.remove(there) {
                self.each(target, (there, here), &field, read, &mut image);
            }
        }
        if let Some(field) = fields.remove("secret") {
            self.secrets(target, &field, &mut image);
        }
        if let Some(field) = fields.remove("output") {
            let is_image = |value: &Value| ["docker", "image", "registry"].contains(&&*settings(value, "type").kind);
            if !items(&field.value).iter().all(is_image) {
                self.left_out(target, "output", &field);
            }
        }
        for (name, field) in &fields {
            self.left_out(target, name, field);
        }
        image
    }

    /// The repository of the first tag; a reference to another is told.
    fn repository(&mut self, target: &Target, tags: Option<Field>) -> String {
        let Some(field) = tags else { return target.name.clone() };
        let references: Vec<&str> = field
            .value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|tag| !tag.is_empty())
            .collect();
        let Some(first) = references.first() else { return target.name.clone() };
        let (name, _) = split(first);
        self.tags.extend(references.iter().filter_map(|reference| split(reference).1.map(str::to_owned)));
        let others: BTreeSet<&str> = references.iter().map(|one| split(one).0).filter(|other| *other != name).collect();
        if !others.is_empty() {
            let others = words::list(others);
            let message = format!("{} `{}` became `{name}` only: left out was {others}", self.noun, target.name);
            self.warn(message, &field);
        }
        name.to_owned()
    }

    fn folder(&mut self, target: &Target, context: Option<Field>, image: &mut Map<String, Value>) {
        let path = context.as_ref().and_then(|field| field.value.as_str()).unwrap_or(".");
        let dir = path.trim_start_matches("./").trim_end_matches('/');
        if dir.is_empty() || dir == "." || dir.starts_with("..") || dir.contains(':') {
            let name = &target.name;
            let place = context.as_ref().map_or(&target.place, |field| &field.place);
            let message = format!("the context of {} `{name}` is `{path}`, expected a folder of its own", self.noun);
            let help = format!("move its files into the folder `{name}` beside the spec");
            self.open.push(Diagnostic::warning(message).at(place.clone()).help(help));
        } else if dir != target.name {
            image.insert("dir".into(), json!(dir));
        }
    }

    fn inline(&mut self, target: &Target, inline: &Field, image: &mut Map<String, Value>) {
        let name = format!("Dockerfile.{}", target.name);
        let dir = image.get("dir").and_then(Value::as_str).unwrap_or(&target.name).to_owned();
        let message = format!("the Dockerfile of {} `{}` has no file yet", self.noun, target.name);
        let lines = inline.value.as_str().unwrap_or_default().trim_end().lines();
        let lines: Vec<String> = lines.map(|line| format!(" '{}'", line.replace('\'', "'\\''"))).collect();
        let help = format!("mkdir -p {dir} && printf '%s\\n'{} > {dir}/{name}", lines.concat());
        self.open.push(Diagnostic::warning(message).at(inline.place.clone()).help(help));
        image.insert("dockerfile".into(), json!(name));
    }

    /// Other targets become parents; images are named in the Dockerfile itself.
    fn contexts(&mut self, target: &Target, contexts: &Field, image: &mut Map<String, Value>) {
        let mut parents = Vec::new();
        for (alias, source) in contexts.value.as_object().into_iter().flatten() {
            let source = source.as_str().unwrap_or_default();
            let name = format!("{} `{}`", self.noun, target.name);
            let (message, help) = if let Some(parent) = source.strip_prefix("target:") {
                parents.push(parent.to_owned());
                let reference = format!("{{{{ images[\"{parent}\"].image_name }}}}");
                (
                    format!("{name} is built FROM {alias}, which is the image `{parent}`"),
                    format!("call the Dockerfile Dockerfile.j2, and write {reference} for {alias}"),
                )
            } else if let Some(reference) = source.strip_prefix("docker-image://") {
                (
                    format!("{name} is built FROM {alias}, which is `{reference}`"),
                    format!("write {reference} for {alias} in the Dockerfile"),
                )
            } else {
                self.warn(format!("context `{alias}` of {name} was left out: {source}"), contexts);
                continue;
            };
            self.open.push(Diagnostic::warning(message).at(contexts.place.clone()).help(help));
        }
        parents.dedup();
        match parents.as_slice() {
            [] => {}
            [one] => drop(image.insert("depend_on".into(), json!(one))),
            all => drop(image.insert("depend_on".into(), json!(all))),
        }
    }

    /// A list of which each item means something here, or is told.
    fn each(
        &mut self,
        target: &Target,
        (there, here): (&str, &str),
        field: &Field,
        read: fn(&Value) -> Option<Value>,
        image: &mut Map<String, Value>,
    ) {
        let all = items(&field.value);
        let known: Vec<Value> = all.iter().filter_map(read).collect();
        if known.len() < all.len() {
            let what = if known.is_empty() { String::new() } else { "a part of ".to_owned() };
            self.warn(format!("{what}`{there}` of {} `{}` was left out", self.noun, target.name), field);
        }
        if !known.is_empty() {
            image.insert(here.into(), known.into());
        }
    }

    fn secrets(&mut self, target: &Target, field: &Field, image: &mut Map<String, Value>) {
        let mut secrets = Map::new();
        for item in items(&field.value) {
            let said = settings(&item, "id");
            let of = |name: &str| said.more.get(name).filter(|text| !text.is_empty());
            let Some(id) = of("id").cloned().or_else(|| Some(said.kind.clone()).filter(|id| !id.is_empty())) else {
                self.left_out(target, "secret", field);
                continue;
            };
            let source = match (of("env"), of("src").or(of("source"))) {
                (None, Some(path)) => json!({ "file": path }),
                (env, _) => json!({ "env": env.unwrap_or(&id) }),
            };
            secrets.insert(id, source);
        }
        image.insert("secrets".into(), secrets.into());
    }

    /// Images of one repository need variants, which lead their tags.
    fn variants(&mut self, images: &mut Map<String, Value>, targets: &[Target]) {
        let mut of_name: BTreeMap<String, Vec<&Target>> = BTreeMap::new();
        for target in targets {
            let name = images[&target.name]["image_name"].as_str().unwrap_or_default().to_owned();
            of_name.entry(name).or_default().push(target);
        }
        for (name, targets) in of_name.into_iter().filter(|(_, targets)| targets.len() > 1) {
            let tag = |target: &Target| {
                let tags = target.fields.get("tags").and_then(|field| field.value.as_array());
                let first = tags.and_then(|tags| tags.iter().filter_map(Value::as_str).find(|tag| !tag.is_empty()));
                first.and_then(|reference| split(reference).1).filter(|tag| is_tag(tag)).map(str::to_owned)
            };
            let tags: BTreeSet<String> = targets.iter().filter_map(|target| tag(target)).collect();
            for target in &targets {
                let variant = if tags.len() == targets.len() { tag(target) } else { None };
                if let Some(image) = images.get_mut(&target.name).and_then(Value::as_object_mut) {
                    image.insert("variant".into(), json!(variant.unwrap_or_else(|| target.name.clone())));
                }
            }
            let names = words::list(targets.iter().map(|target| &target.name));
            let message = format!("{names} share the repository `{name}`, so each has a `variant` that leads its tags");
            let mut places: Vec<_> = targets.iter().map(|target| target.place.clone()).collect();
            places.dedup();
            self.open.push(places.into_iter().fold(Diagnostic::warning(message), Diagnostic::at));
        }
    }

    /// A group is a task; one of everything is the task `build`.
    fn groups(&mut self, groups: &[Group], targets: &[Target]) {
        for group in groups {
            let mut members = BTreeSet::new();
            let mut seen = BTreeSet::new();
            spread(&group.name, groups, &mut seen, &mut members);
            if targets.iter().all(|target| members.contains(target.name.as_str())) {
                continue;
            }
            let tasks: Vec<String> = members.iter().map(|name| format!("\"build:{name}\"")).collect();
            let message = format!("group `{}` is no part of a spec", group.name);
            let help = format!("in tasks.yaml: {}: {{ task_dep: [{}] }}", group.name, tasks.join(", "));
            self.open.push(Diagnostic::warning(message).at(group.place.clone()).help(help));
        }
    }
}

/// The targets of a group and of the groups within it.
fn spread<'a>(name: &'a str, groups: &'a [Group], seen: &mut BTreeSet<&'a str>, members: &mut BTreeSet<&'a str>) {
    match groups.iter().find(|group| group.name == name) {
        Some(group) if seen.insert(name) => {
            for member in &group.members {
                // A group may have a target of its own name.
                if member == name {
                    members.insert(member);
                } else {
                    spread(member, groups, seen, members);
                }
            }
        }
        Some(_) => {}
        None => {
            members.insert(name);
        }
    }
}

/// A reference without its digest, cut into repository and tag.
fn split(reference: &str) -> (&str, Option<&str>) {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn items(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list.clone(),
        other => vec![other.clone()],
    }
}

/// A map whose values are texts; what has no value is not there.
fn texts(value: &Value) -> Option<Value> {
    let map: Map<String, Value> = value
        .as_object()?
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), Value::String(scalar(value)?))))
        .collect();
    (!map.is_empty()).then_some(Value::Object(map))
}

/// `KIND,name=value,…`, or the same as a map.
struct Settings {
    kind: String,
    more: BTreeMap<String, String>,
}

/// `first` names the setting that may stand alone.
fn settings(value: &Value, first: &str) -> Settings {
    let more: BTreeMap<String, String> = match value {
        Value::Object(map) => map.iter().filter_map(|(name, value)| Some((name.clone(), scalar(value)?))).collect(),
        other => {
            let text = scalar(other).unwrap_or_default();
            let pair = |part: &str| {
                let (name, value) = part.split_once('=').unwrap_or((first, part));
                (name.trim().to_owned(), value.trim().to_owned())
            };
            text.split(',').map(pair).collect()
        }
    };
    Settings { kind: more.get(first).cloned().unwrap_or_default(), more }
}

fn cache_from(value: &Value) -> Option<Value> {
    let said = settings(value, "ref");
    let is_registry = said.more.get("type").is_none_or(|kind| kind == "registry");
    said.more.get("ref").filter(|_| is_registry).map(|reference| json!(reference))
}

fn cache_to(value: &Value) -> Option<Value> {
    let said = settings(value, "ref");
    if said.more.get("type").is_some_and(|kind| kind == "inline") { Some(json!("inline")) } else { cache_from(value) }
}

/// Ids of agents; a key of its own cannot be named here.
fn ssh(value: &Value) -> Option<Value> {
    let said = settings(value, "id");
    let has_id_alone = said.more.len() == 1 && !said.kind.is_empty();
    has_id_alone.then(|| json!(said.kind))
}
