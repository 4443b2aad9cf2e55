//! The current form of the spec (`version: 1`). Does not check what the names refer to.

use std::collections::BTreeMap;

use crate::model::image::is_tag;
use crate::model::task::At;
use crate::model::{Diagnostic, ImageRef, Place, RepoPath};
use crate::stack::types::{
    Args, Base, ChangeMode, ChangePolicy, Form, Image, InfoCmd, Integration, Plan, Policy, SecretSource, Suffix,
};
use crate::taskfile::Node;
use crate::taskfile::read::parse_duration;

use super::fields::{Fields, Findings, Number};
use super::read::{self, Draft};
use super::taggers;

/// Reads a spec with `version`.
pub fn read(mut fields: Fields<'_>, draft: &mut Draft, findings: &mut Findings) {
    let stack = &mut draft.stack;
    stack.form = Form::Current;
    match fields.text("version", findings) {
        Some(version) if version.value != "1" => findings.error(
            Diagnostic::error(format!("`version` is `{}`, expected 1", version.value))
                .at(version.place)
                .note("this program reads version 1 and the older forms that have no version"),
        ),
        _ => {}
    }
    if let Some((key, node)) = fields.entry("tag") {
        let mut tag = Fields::of(node, "`tag`", findings);
        let only = tag.take("prefix").and_then(|node| tag_prefix("`prefix` of `tag`", node, findings));
        if let Some(text) = tag.text("suffix", findings) {
            stack.suffix =
                one_of("`suffix` of `tag`", &text, &[("hash", Suffix::Hash), ("branch", Suffix::Branch)], findings);
        }
        tag.finish(findings);
        if only.is_some() {
            stack.plans.push(Plan::only(only, key.place.clone()));
        }
    }
    if let Some(node) = fields.take("plans") {
        let plans: Vec<Plan> =
            entries("`plans`", node, findings).iter().map(|(key, node)| plan(key, node, findings)).collect();
        if let (Some(first), true) = (stack.plans.first(), !plans.is_empty()) {
            findings.error(
                Diagnostic::error("`tag` has a prefix although there are plans")
                    .at(first.place.clone())
                    .at(plans[0].place.clone())
                    .help("move the prefix into a plan as its tag_prefix"),
            );
        }
        stack.plans = plans;
    }
    if let Some(node) = fields.take("bases") {
        stack.bases = entries("`bases`", node, findings).iter().map(|(key, node)| base(key, node, findings)).collect();
    }
    stack.build_args = fields.args("build_args", findings);
    if let Some(node) = fields.take("all_info_cmds") {
        stack.info_cmds = info_cmds("all_info_cmds", node, findings);
    }
    if let Some(node) = fields.take("taggers") {
        stack.taggers = taggers::read(entries("`taggers`", node, findings), findings);
    }
    if let Some(node) = fields.take("change_policy") {
        stack.change = change_policy(node, findings);
    }
    match fields.take("images") {
        Some(node) => {
            let dir = stack.dir.clone();
            stack.images = entries("`images`", node, findings)
                .iter()
                .map(|(key, node)| image(key, node, &dir, findings))
                .collect();
        }
        None => findings.error(read::no_images(fields.place())),
    }
    fields.finish(findings);
}

fn entries<'a>(what: &str, node: &'a Node, findings: &mut Findings) -> &'a [(Node, Node)] {
    match node.map() {
        Some(entries) => entries,
        None => {
            findings.wrong(what, node, "a map");
            &[]
        }
    }
}

fn one_of<T: Copy + Default>(what: &str, text: &At<String>, known: &[(&str, T)], findings: &mut Findings) -> T {
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == text.value) {
        return *value;
    }
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    findings.error(
        Diagnostic::error(format!("{what} is `{}`, expected one of {}", text.value, crate::model::words::list(names)))
            .at(text.place.clone()),
    );
    T::default()
}

/// A tag prefix: text that can begin a tag.
pub fn tag_prefix(what: &str, node: &Node, findings: &mut Findings) -> Option<String> {
    let text = findings.text(what, node)?;
    findings.warn_of_number(what, node, Number::WithFraction);
    if !is_tag(&format!("{}-0000000", text.value)) {
        findings.error(
            Diagnostic::error(format!("{what} is `{}`, which cannot begin a tag", text.value))
                .at(text.place)
                .note("a tag has at most 128 letters, digits, `_`, `.` and `-`, and does not begin with `.` or `-`"),
        );
        return None;
    }
    Some(text.value)
}

fn plan(key: &Node, node: &Node, findings: &mut Findings) -> Plan {
    let mut plan = Plan::only(None, key.place.clone());
    plan.name = key.key().into();
    let mut fields = Fields::of(node, format!("plan `{}`", key.key()), findings);
    let what = fields.what("tag_prefix");
    plan.tag_prefix = fields.take("tag_prefix").and_then(|node| tag_prefix(&what, node, findings));
    if let Some(text) = fields.text("stable_postfix", findings) {
        plan.stable_postfix = text.value;
    }
    plan.build_args = fields.args("build_args", findings);
    fields.finish(findings);
    plan
}

fn base(key: &Node, node: &Node, findings: &mut Findings) -> Base {
    let mut fields = Fields::of(node, format!("base `{}`", key.key()), findings);
    let what = fields.what("policy");
    let policy = fields.take("policy").map(|node| policy(&what, node, findings)).unwrap_or_default();
    let bootstrap = fields.text("bootstrap", findings).map(|text| text.value);
    fields.finish(findings);
    Base { reference: key.key().to_owned(), place: key.place.clone(), policy, bootstrap }
}

/// `pinned`, `float` or `{ttl: 7d}`.
fn policy(what: &str, node: &Node, findings: &mut Findings) -> Policy {
    if node.map().is_some() {
        let mut fields = Fields::of(node, what, findings);
        let ttl = fields.text("ttl", findings).and_then(|text| {
            let parsed = parse_duration(&text.value);
            if parsed.is_none() {
                let message = format!("`ttl` in {what} is `{}`, expected a duration such as `12h` or `7d`", text.value);
                findings.error(Diagnostic::error(message).at(text.place));
            }
            parsed
        });
        fields.finish(findings);
        return ttl.map_or(Policy::Pinned, Policy::Ttl);
    }
    match findings.text(what, node) {
        Some(text) => one_of(what, &text, &[("pinned", Policy::Pinned), ("float", Policy::Float)], findings),
        None => Policy::Pinned,
    }
}

/// `description` and `command` by name.
pub fn info_cmds(field: &str, node: &Node, findings: &mut Findings) -> Vec<InfoCmd> {
    let mut cmds = Vec::new();
    for (key, node) in entries(&format!("`{field}`"), node, findings) {
        let mut fields = Fields::of(node, format!("`{}` in `{field}`", key.key()), findings);
        let description = fields.text("description", findings).map_or_else(|| key.key().to_owned(), |text| text.value);
        match fields.text("command", findings) {
            Some(command) => cmds.push(InfoCmd {
                name: key.key().to_owned(),
                place: key.place.clone(),
                description,
                command: command.value,
            }),
            None => findings
                .error(Diagnostic::error(format!("`{}` in `{field}` has no command", key.key())).at(key.place.clone())),
        }
        fields.finish(findings);
    }
    cmds
}

fn change_policy(node: &Node, findings: &mut Findings) -> ChangePolicy {
    let mut policy = ChangePolicy::default();
    let mut fields = Fields::of(node, "`change_policy`", findings);
    if let Some(text) = fields.text("mode", findings) {
        let known = [("last_commit", ChangeMode::LastCommit), ("branch", ChangeMode::Branch)];
        policy.mode = one_of("`mode` of `change_policy`", &text, &known, findings);
    }
    let values = |texts: Vec<At<String>>| texts.into_iter().map(|text| text.value).collect::<Vec<String>>();
    for (name, list) in [
        ("ignore", &mut policy.ignore),
        ("build_all", &mut policy.build_all),
        ("full_rebuild_branches", &mut policy.full_rebuild_branches),
    ] {
        let what = fields.what(name);
        if let Some((_, node)) = fields.entry(name) {
            *list = values(findings.texts(&what, node));
        }
    }
    if let Some((_, node)) = fields.entry("full_rebuild_message") {
        // Null switches it off.
        let text = |node| findings.text("`full_rebuild_message` of `change_policy`", node).map(|text| text.value);
        policy.full_rebuild_message = Some(node).filter(|node| !node.is_null()).and_then(text);
    }
    policy.full_rebuild_on_first_run = fields.boolean("full_rebuild_on_first_run", false, findings);
    if let Some(text) = fields.text("base", findings) {
        policy.base = text.value;
    }
    fields.finish(findings);
    policy
}

fn image(key: &Node, node: &Node, dir: &RepoPath, findings: &mut Findings) -> Image {
    let mut fields = Fields::of(node, format!("image `{}`", key.key()), findings);
    let mut image = read::image(key, &mut fields, dir, findings);
    let owner = format!("image `{}`", key.key());
    image.variant = fields.text("variant", findings).and_then(|text| variant(&owner, text, findings));
    if let Some(text) = fields.text("dir", findings) {
        match RepoPath::new(dir, &text.value) {
            Some(path) => image.dir = path,
            None => findings.error(
                Diagnostic::error(format!("`dir` of {owner} is `{}`, which leaves the repository", text.value))
                    .at(text.place),
            ),
        }
    }
    if let Some(text) = fields.text("dockerfile", findings) {
        image.dockerfile = text.value;
    }
    image.build_args = fields.args("build_args", findings);
    if let Some(node) = fields.take("plan_args") {
        for (plan, node) in entries(&format!("`plan_args` of {owner}"), node, findings) {
            let args: Args = findings.args(&format!("`plan_args.{}` of {owner}", plan.key()), node);
            image.plan_args.insert(plan.key().to_owned(), args);
        }
    }
    image.integration_tests = integration(&mut fields, findings);
    let values = |texts: Vec<At<String>>| texts.into_iter().map(|text| text.value).collect::<Vec<String>>();
    image.info_cmds = values(fields.texts("info_cmds", findings));
    image.taggers = values(fields.texts("taggers", findings));
    image.platforms = values(fields.texts("platforms", findings));
    image.cache_from = values(fields.texts("cache_from", findings));
    cache_to(&owner, &mut image, fields.texts("cache_to", findings), findings);
    image.ssh = values(fields.texts("ssh", findings));
    image.labels = fields.args("labels", findings);
    image.target = fields.text("target", findings).map(|text| text.value);
    image.network = fields.text("network", findings).map(|text| text.value);
    image.title = fields.text("title", findings).map(|text| text.value);
    image.description = fields.text("description", findings).map(|text| text.value);
    image.secrets = secrets(&owner, fields.take("secrets"), findings);
    fields.finish(findings);
    image
}

/// `inline`, and references of registries: an image there has its cache within it, too.
fn cache_to(owner: &str, image: &mut Image, texts: Vec<At<String>>, findings: &mut Findings) {
    image.inline_cache = !texts.is_empty();
    for text in texts.into_iter().filter(|text| text.value != "inline") {
        if ImageRef::parse(&text.value).is_some_and(|name| name.digest.is_none()) {
            image.cache_to.push(text.value);
        } else {
            let message = format!("`cache_to` of {owner} is `{}`, which is no reference to push to", text.value);
            findings.error(Diagnostic::error(message).at(text.place).help("write `inline`, or `HOST/NAME[:TAG]`"));
        }
    }
}

fn variant(owner: &str, text: At<String>, findings: &mut Findings) -> Option<String> {
    if is_tag(&text.value) {
        return Some(text.value);
    }
    let message = format!("`variant` of {owner} is `{}`, which cannot begin a tag", text.value);
    findings.error(Diagnostic::error(message).at(text.place));
    None
}

fn integration(fields: &mut Fields<'_>, findings: &mut Findings) -> Integration {
    let what = fields.what("integration_tests");
    let Some(text) = fields.text("integration_tests", findings) else { return Integration::None };
    let known = [
        ("true", Integration::BeforePush),
        ("false", Integration::None),
        ("before_push", Integration::BeforePush),
        ("after_push", Integration::AfterPush),
    ];
    one_of(&what, &text, &known, findings)
}

/// `id: {env: NAME}` or `id: {file: path}`.
fn secrets(owner: &str, node: Option<&Node>, findings: &mut Findings) -> BTreeMap<String, SecretSource> {
    let mut secrets = BTreeMap::new();
    let Some(node) = node else { return secrets };
    for (key, node) in entries(&format!("`secrets` of {owner}"), node, findings) {
        let what = format!("secret `{}` of {owner}", key.key());
        let mut fields = Fields::of(node, what.clone(), findings);
        let (env, file) = (fields.text("env", findings), fields.text("file", findings));
        fields.finish(findings);
        let source = match (env, file) {
            (Some(env), None) => SecretSource::Env(env.value),
            (None, Some(file)) => SecretSource::File(file.value),
            _ => {
                findings.error(one_source(&what, &key.place));
                continue;
            }
        };
        secrets.insert(key.key().to_owned(), source);
    }
    secrets
}

fn one_source(what: &str, place: &Place) -> Diagnostic {
    Diagnostic::error(format!("{what} needs exactly one of `env` and `file`")).at(place.clone())
}
