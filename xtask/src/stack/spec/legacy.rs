//! The older generations of the spec: one tag (`tag.prefix`) or plans (`plans:`, `tags:`), read as they are.
//! Does not check what the names refer to.

use crate::model::task::At;
use crate::model::{Diagnostic, RepoPath};
use crate::stack::types::{Args, ChangeMode, ChangePolicy, Form, Image, Integration, Plan, Stack, Suffix};
use crate::taskfile::{Node, Value, yaml};

use super::current;
use super::fields::{Fields, Findings};
use super::read::{self, Draft};

/// Reads a spec without `version`. Unknown keys become warnings: nothing ever checked them.
pub fn read(mut fields: Fields<'_>, draft: &mut Draft, findings: &mut Findings) {
    findings.lenient = true;
    let form = form_of(&fields);
    let stack = &mut draft.stack;
    stack.form = form;
    stack.change = change_policy(form);
    stack.suffix = if form == Form::Tag { Suffix::Branch } else { Suffix::Hash };
    draft.roots = fields.texts("root", findings);
    plans(&mut fields, stack, findings);
    for name in ["all_info_cmds", "manifests", "info_cmds"] {
        if let Some(node) = fields.take(name) {
            stack.info_cmds.extend(current::info_cmds(name, node, findings));
        }
    }
    match fields.take("images") {
        Some(node) => images(node, draft, findings),
        None => findings.error(read::no_images(fields.place())),
    }
    fields.finish(findings);
}

fn form_of(fields: &Fields<'_>) -> Form {
    let plans = ["plans", "tags", "manifests"].iter().any(|name| fields.has(name));
    if plans { Form::Plans } else { Form::Tag }
}

/// What the programs did for which these specs were written.
fn change_policy(form: Form) -> ChangePolicy {
    let mut policy = ChangePolicy { mode: ChangeMode::LastCommit, ..ChangePolicy::default() };
    policy.build_all = ["tests_common", "spec.yml", "change_ignore.json", "conftest.py"].map(str::to_owned).into();
    if form == Form::Plans {
        policy.full_rebuild_message = None;
        policy.build_all.extend(["scripts/**", "model/**", "dodo.py", ".github/workflows/**"].map(str::to_owned));
    } else {
        policy.full_rebuild_branches = vec!["main".to_owned()];
        policy.full_rebuild_on_first_run = true;
    }
    policy
}

fn plans(fields: &mut Fields<'_>, stack: &mut Stack, findings: &mut Findings) {
    for name in ["plans", "tags"] {
        let Some(node) = fields.take(name) else { continue };
        for (key, node) in named(name, node, findings) {
            stack.plans.push(plan(key, node, findings));
        }
    }
    let Some((key, node)) = fields.entry("tag") else { return };
    let mut tag = Fields::of(node, "`tag`", findings);
    let prefix = tag.take("prefix").and_then(|node| current::tag_prefix("`prefix` of `tag`", node, findings));
    tag.finish(findings);
    if stack.plans.is_empty() {
        stack.plans.push(Plan::only(prefix, key.place.clone()));
    }
}

/// A map of names, or a list of maps with one name each.
fn named<'a>(what: &str, node: &'a Node, findings: &mut Findings) -> Vec<(&'a Node, &'a Node)> {
    match &node.value {
        Value::Map(entries) => entries.iter().map(|(key, node)| (key, node)).collect(),
        Value::List(items) => {
            let mut all = Vec::new();
            for item in items {
                match &item.value {
                    Value::Map(entries) => all.extend(entries.iter().map(|(key, node)| (key, node))),
                    _ => findings.wrong(&format!("an entry of `{what}`"), item, "a map with one name"),
                }
            }
            all
        }
        Value::Scalar(_) => {
            findings.wrong(&format!("`{what}`"), node, "a map");
            Vec::new()
        }
    }
}

fn plan(key: &Node, node: &Node, findings: &mut Findings) -> Plan {
    let mut plan = Plan::only(None, key.place.clone());
    plan.name = key.key().into();
    let owner = format!("plan `{}`", key.key());
    if node.text().is_some() {
        plan.tag_prefix = current::tag_prefix(&format!("the tag prefix of {owner}"), node, findings);
        return plan;
    }
    let mut fields = Fields::of(node, owner, findings);
    for name in ["tag_prefix", "prefix"] {
        let what = fields.what(name);
        if let Some(node) = fields.take(name) {
            plan.tag_prefix = current::tag_prefix(&what, node, findings);
        }
    }
    for name in ["tag_stable_postfix", "stable_postfix"] {
        if let Some(text) = fields.text(name, findings) {
            plan.stable_postfix = text.value;
        }
    }
    fields.finish(findings);
    plan
}

fn images(node: &Node, draft: &mut Draft, findings: &mut Findings) {
    let Some(entries) = node.map() else {
        return findings.wrong("`images`", node, "a map");
    };
    for (key, node) in entries {
        let image = image(key, node, &draft.stack.dir, findings);
        draft.stack.images.push(image);
    }
}

fn image(key: &Node, node: &Node, dir: &RepoPath, findings: &mut Findings) -> Image {
    let mut fields = Fields::of(node, format!("image `{}`", key.key()), findings);
    let mut image = read::image(key, &mut fields, dir, findings);
    if let Some((_, env)) = fields.entry("dbuild_env") {
        dbuild_env(&mut image, env, findings);
    }
    image.build_args.extend(fields.args("build_args", findings));
    image.integration_tests =
        if fields.boolean("integration_tests", false, findings) { Integration::BeforePush } else { Integration::None };
    for name in ["info_cmds", "manifests"] {
        image.info_cmds.extend(fields.texts(name, findings).into_iter().map(|name| name.value));
    }
    fields.finish(findings);
    image
}

/// `common` and one map per plan.
fn dbuild_env(image: &mut Image, node: &Node, findings: &mut Findings) {
    let owner = format!("`dbuild_env` of image `{}`", image.key);
    let entries = match node.map() {
        Some(entries) => entries,
        None if node.is_null() => &[],
        None => return findings.wrong(&owner, node, "a map"),
    };
    for (key, node) in entries {
        let args: Args = findings.args(&format!("`{}` of {owner}", key.key()), node);
        if key.key() == "common" {
            image.build_args.extend(args);
        } else {
            image.plan_args.insert(key.key().to_owned(), args);
        }
    }
}

/// The file `change_ignore.json` beside a spec: `ChangeIgnore` and `BuildAll`.
pub fn change_ignore(file: &str, text: &str, policy: &mut ChangePolicy, findings: &mut Findings) {
    // JSON is YAML, and this reader knows places.
    let node = match yaml::parse(file, text.as_bytes()) {
        Ok(node) => node,
        Err(errors) => return findings.errors.extend(errors.0),
    };
    let mut fields = Fields::of(&node, format!("`{file}`"), findings);
    let values = |texts: Vec<At<String>>| texts.into_iter().map(|text| text.value).collect();
    if let Some((_, node)) = fields.entry("ChangeIgnore") {
        policy.ignore = values(findings.texts("`ChangeIgnore`", node));
    }
    if let Some((_, node)) = fields.entry("BuildAll") {
        policy.build_all = values(findings.texts("`BuildAll`", node));
    }
    fields.finish(findings);
}

/// In older specs names that contain one another were mistaken for one another; here whole names count.
pub fn warn_of_contained_names(stack: &Stack, findings: &mut Findings) {
    for image in &stack.images {
        let inner = stack.images.iter().find(|other| other.key != image.key && image.key.contains(&*other.key));
        if let Some(inner) = inner {
            findings.warn(
                Diagnostic::warning(format!("image `{}` has the name of image `{}` in its own", image.key, inner.key))
                    .at(image.place.clone())
                    .at(inner.place.clone())
                    .note("whole names are compared here; tools that look for a part of a name take one for the other"),
            );
        }
    }
}
