//! Targets of a bake file with all their fields: `matrix` spread out, `inherits` followed. Knows no images.

use std::collections::{BTreeMap, BTreeSet};

use hcl::Value as HclValue;
use serde_json::Value;

use super::evaluate::Scope;
use super::{Bake, Block, Field, File, Group, Target, Written};
use crate::model::{Diagnostic, Diagnostics, words};

/// Lists to which an heir adds; every other list replaces what was there.
const ADDED: [&str; 7] = ["annotations", "attest", "cache-from", "entitlements", "secret", "ssh", "ulimits"];
/// Members of one matrix.
const MAX_MEMBERS: usize = 1000;

/// Every target, and the groups; those of a matrix are a group under the name of its block.
pub(super) fn resolve(file: &File, scope: &Scope) -> Result<Bake, Diagnostics> {
    let mut own = Vec::new();
    let mut bake = Bake::default();
    let mut errors = Vec::new();
    for block in merged(&file.targets) {
        match members(&block, scope) {
            Ok(members) => {
                if block.fields.iter().any(|field| field.name == "matrix") {
                    let names = members.iter().map(|target| target.name.clone()).collect();
                    bake.groups.push(Group { name: block.name.clone(), place: block.place.clone(), members: names });
                }
                own.extend(members);
            }
            Err(found) => errors.extend(found.0),
        }
    }
    for block in merged(&file.groups) {
        match group(&block, scope) {
            Ok(group) => bake.groups.push(group),
            Err(found) => errors.push(found),
        }
    }
    if errors.is_empty() {
        errors.extend(twice(&own));
        errors.extend(unknown_members(&bake.groups, &own));
    }
    if errors.is_empty() {
        let heirs = Heirs { own: own.iter().map(|target| (target.name.as_str(), target)).collect() };
        for target in &own {
            match heirs.whole(target, &mut Vec::new()) {
                Ok(fields) => bake.targets.push(Target { fields, ..target.clone() }),
                Err(error) => errors.push(error),
            }
        }
    }
    if !errors.is_empty() {
        return Err(Diagnostics(errors));
    }
    leave_out_ancestors(&mut bake, &own);
    Ok(bake)
}

/// Blocks of one name are one block; the later has the last word.
fn merged(blocks: &[Block]) -> Vec<Block> {
    let mut whole: Vec<Block> = Vec::new();
    for block in blocks {
        match whole.iter_mut().find(|other| other.name == block.name) {
            Some(other) => {
                other.fields.retain(|field| block.fields.iter().all(|newer| newer.name != field.name));
                other.fields.extend(block.fields.iter().cloned());
            }
            None => whole.push(block.clone()),
        }
    }
    whole
}

fn json(value: &HclValue) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn group(block: &Block, scope: &Scope) -> Result<Group, Diagnostic> {
    let mut members = Vec::new();
    for field in &block.fields {
        let what = format!("`{}` of group `{}`", field.name, block.name);
        let value = scope.value(&what, &field.expression, &field.place, &[])?;
        match (field.name.as_str(), &value) {
            ("targets", HclValue::Array(names)) => {
                members.extend(names.iter().filter_map(|name| Some(name.as_str()?.to_owned())));
            }
            ("description", _) => {}
            _ => {
                let error = Diagnostic::error(format!("{what} is {value}, expected `targets` with a list of names"));
                return Err(error.at(field.place.clone()));
            }
        }
    }
    Ok(Group { name: block.name.clone(), place: block.place.clone(), members })
}

/// The targets of one block: one, or one for each combination of its matrix.
fn members(block: &Block, scope: &Scope) -> Result<Vec<Target>, Diagnostics> {
    let field = |name: &str| block.fields.iter().find(|field| field.name == name);
    let mut targets = Vec::new();
    for more in combinations(block, field("matrix"), scope)? {
        let name = match (field("name"), more.is_empty()) {
            (Some(name), false) => {
                let what = format!("`name` of target `{}`", block.name);
                let value = scope.value(&what, &name.expression, &name.place, &more)?;
                value.as_str().map(str::to_owned).ok_or_else(|| {
                    Diagnostic::error(format!("{what} is {value}, expected a text")).at(name.place.clone())
                })?
            }
            (None, false) => {
                return Err(Diagnostic::error(format!("target `{}` has a matrix and no `name`", block.name))
                    .at(block.place.clone())
                    .help("give each of its targets a name of its own: `name = \"NAME-${VARIABLE}\"`")
                    .into());
            }
            _ => block.name.clone(),
        };
        targets.push(Target { fields: fields(block, &name, &more, scope)?, name, place: block.place.clone() });
    }
    Ok(targets)
}

type Named = Vec<(String, HclValue)>;

fn combinations(block: &Block, matrix: Option<&Written>, scope: &Scope) -> Result<Vec<Named>, Diagnostic> {
    let Some(matrix) = matrix else { return Ok(vec![Named::new()]) };
    let what = format!("`matrix` of target `{}`", block.name);
    let value = scope.value(&what, &matrix.expression, &matrix.place, &[])?;
    let refuse = |text: String| Diagnostic::error(format!("{what} {text}")).at(matrix.place.clone());
    let axes = value.as_object().ok_or_else(|| refuse(format!("is {value}, expected a map of lists")))?;
    let mut all = vec![Named::new()];
    for (name, values) in axes {
        let values = values.as_array().ok_or_else(|| refuse(format!("has `{name}`, expected a list")))?;
        all = all
            .iter()
            .flat_map(|before| {
                values.iter().map(|value| [before.clone(), vec![(name.clone(), value.clone())]].concat())
            })
            .collect();
        if all.len() > MAX_MEMBERS {
            return Err(refuse(format!("has more than {MAX_MEMBERS} combinations")));
        }
    }
    Ok(all)
}

fn fields(
    block: &Block,
    name: &str,
    more: &[(String, HclValue)],
    scope: &Scope,
) -> Result<BTreeMap<String, Field>, Diagnostics> {
    let (mut fields, mut errors) = (BTreeMap::new(), Vec::new());
    for field in block.fields.iter().filter(|field| !["matrix", "name"].contains(&field.name.as_str())) {
        match scope.value(&format!("`{}` of target `{name}`", field.name), &field.expression, &field.place, more) {
            Ok(HclValue::Null) => {}
            Ok(value) => {
                fields.insert(field.name.clone(), Field { value: json(&value), place: field.place.clone() });
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(fields) } else { Err(Diagnostics(errors)) }
}

fn twice(targets: &[Target]) -> Option<Diagnostic> {
    let mut seen = BTreeMap::new();
    let (one, other) = targets.iter().find_map(|target| Some((seen.insert(&target.name, target)?, target)))?;
    let error = Diagnostic::error(format!("two targets are called `{}`", one.name));
    Some(error.at(one.place.clone()).at(other.place.clone()).help("use every variable of the matrix in `name`"))
}

fn unknown_members(groups: &[Group], targets: &[Target]) -> Vec<Diagnostic> {
    let known: Vec<&str> = groups
        .iter()
        .map(|group| group.name.as_str())
        .chain(targets.iter().map(|target| target.name.as_str()))
        .collect();
    let mut errors = Vec::new();
    for group in groups {
        for member in group.members.iter().filter(|member| !known.contains(&member.as_str())) {
            let error = Diagnostic::error(format!("group `{}` names unknown target `{member}`", group.name));
            errors.push(error.at(group.place.clone()).maybe_help(words::suggest("target", member, &known)));
        }
    }
    errors
}

fn texts(value: Option<&Field>) -> Vec<String> {
    let list = value.and_then(|field| field.value.as_array()).into_iter().flatten();
    list.filter_map(|text| Some(text.as_str()?.to_owned())).collect()
}

struct Heirs<'a> {
    own: BTreeMap<&'a str, &'a Target>,
}

impl<'a> Heirs<'a> {
    /// All fields: those of the ancestors in their order, then its own.
    fn whole(&self, target: &'a Target, open: &mut Vec<&'a str>) -> Result<BTreeMap<String, Field>, Diagnostic> {
        let mut fields = BTreeMap::new();
        if open.contains(&target.name.as_str()) {
            let cycle = format!("target `{}` inherits itself", target.name);
            return Err(Diagnostic::error(cycle).at(target.place.clone()));
        }
        open.push(&target.name);
        for parent in texts(target.fields.get("inherits")) {
            let Some(ancestor) = self.own.get(parent.as_str()) else {
                let known: Vec<&str> = self.own.keys().copied().collect();
                let place = target.fields.get("inherits").map_or(&target.place, |field| &field.place);
                let error = Diagnostic::error(format!("target `{}` inherits unknown target `{parent}`", target.name));
                return Err(error.at(place.clone()).maybe_help(words::suggest("target", &parent, &known)));
            };
            for (name, field) in self.whole(ancestor, open)? {
                add(&mut fields, name, field);
            }
        }
        open.pop();
        for (name, field) in &target.fields {
            add(&mut fields, name.clone(), field.clone());
        }
        fields.remove("inherits");
        Ok(fields)
    }
}

fn add(fields: &mut BTreeMap<String, Field>, name: String, newer: Field) {
    match (fields.get_mut(&name), newer) {
        (Some(Field { value: Value::Object(older), place }), Field { value: Value::Object(values), place: own }) => {
            older.extend(values);
            *place = own;
        }
        (Some(Field { value: Value::Array(older), place }), Field { value: Value::Array(values), place: own })
            if ADDED.contains(&name.as_str()) =>
        {
            older.extend(values.into_iter().filter(|value| !older.contains(value)).collect::<Vec<_>>());
            *place = own;
        }
        (_, newer) => {
            fields.insert(name, newer);
        }
    }
}

/// What is there to be inherited only is no image: no group has it, no context names it, and it has no tags.
fn leave_out_ancestors(bake: &mut Bake, own: &[Target]) {
    let inherited: BTreeSet<String> = own.iter().flat_map(|target| texts(target.fields.get("inherits"))).collect();
    let mut used: BTreeSet<String> = bake.groups.iter().flat_map(|group| group.members.iter().cloned()).collect();
    for target in &bake.targets {
        let contexts = target.fields.get("contexts").and_then(|field| field.value.as_object());
        let sources = contexts.into_iter().flatten().filter_map(|(_, source)| source.as_str());
        used.extend(sources.filter_map(|source| Some(source.strip_prefix("target:")?.to_owned())));
    }
    let Bake { targets, open, .. } = bake;
    targets.retain(|target| {
        let name = &target.name;
        let is_image = !inherited.contains(name)
            || used.contains(name)
            || own.iter().any(|own| own.name == *name && own.fields.contains_key("tags"));
        if !is_image {
            let message = format!("target `{name}` is only inherited, and became no image");
            open.push(Diagnostic::warning(message).at(target.place.clone()));
        }
        is_image
    });
}
