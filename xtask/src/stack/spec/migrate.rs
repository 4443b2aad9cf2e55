//! Writes a stack in the current form of the spec. Knows nothing of where it came from.

use serde_json::{Map, Value, json};

use crate::stack::types::{
    Args, Base, ChangeMode, ChangePolicy, Image, Integration, Plan, Policy, STABLE_POSTFIX, SecretSource, Stack,
    Suffix, Tagger,
};
use crate::taskfile::yaml;

/// The text of a spec that reads as the same stack. What has its default is left out; comments are lost.
pub fn to_current_form(stack: &Stack) -> String {
    let mut spec = Map::new();
    spec.insert("version".to_owned(), json!(1));
    plans(stack, &mut spec);
    let named = |entries: Vec<(String, Map<String, Value>)>| -> Value {
        entries.into_iter().map(|(name, fields)| (name, Value::Object(fields))).collect::<Map<_, _>>().into()
    };
    if !stack.bases.is_empty() {
        let bases = stack.bases.iter().map(|entry| (entry.reference.clone(), base(entry))).collect();
        spec.insert("bases".to_owned(), named(bases));
    }
    put_args(&mut spec, "build_args", &stack.build_args);
    let images = stack.images.iter().map(|entry| (entry.key.to_string(), image(stack, entry))).collect();
    spec.insert("images".to_owned(), named(images));
    if !stack.info_cmds.is_empty() {
        let cmds: Map<String, Value> = stack
            .info_cmds
            .iter()
            .map(|cmd| (cmd.name.clone(), json!({ "description": cmd.description, "command": cmd.command })))
            .collect();
        spec.insert("all_info_cmds".to_owned(), cmds.into());
    }
    if !stack.taggers.is_empty() {
        let tagger =
            |tagger: &Tagger| json!({ "command": tagger.command, "pattern": tagger.pattern, "tags": tagger.tags });
        let taggers: Map<String, Value> =
            stack.taggers.iter().map(|entry| (entry.name.clone(), tagger(entry))).collect();
        spec.insert("taggers".to_owned(), taggers.into());
    }
    let change = change_policy(&stack.change);
    if !change.is_empty() {
        spec.insert("change_policy".to_owned(), change.into());
    }
    yaml::write(&spec.into())
}

/// One plan with the name that a spec without plans gives it is written as `tag`.
fn plans(stack: &Stack, spec: &mut Map<String, Value>) {
    let mut tag = Map::new();
    match stack.plans.as_slice() {
        [only] if *only.name == *"default" && only.build_args.is_empty() && only.stable_postfix == STABLE_POSTFIX => {
            put(&mut tag, "prefix", only.tag_prefix.as_deref());
        }
        plans => {
            let plans: Map<String, Value> =
                plans.iter().map(|entry| (entry.name.to_string(), plan(entry).into())).collect();
            spec.insert("plans".to_owned(), plans.into());
        }
    }
    if stack.suffix == Suffix::Branch {
        tag.insert("suffix".to_owned(), json!("branch"));
    }
    if !tag.is_empty() {
        spec.insert("tag".to_owned(), tag.into());
    }
}

fn plan(plan: &Plan) -> Map<String, Value> {
    let mut fields = Map::new();
    put(&mut fields, "tag_prefix", plan.tag_prefix.as_deref());
    if plan.stable_postfix != STABLE_POSTFIX {
        fields.insert("stable_postfix".to_owned(), json!(plan.stable_postfix));
    }
    put_args(&mut fields, "build_args", &plan.build_args);
    fields
}

fn base(base: &Base) -> Map<String, Value> {
    let mut fields = Map::new();
    let policy = match base.policy {
        Policy::Pinned => json!("pinned"),
        Policy::Float => json!("float"),
        Policy::Ttl(time) => json!({ "ttl": format!("{}s", time.as_secs()) }),
    };
    fields.insert("policy".to_owned(), policy);
    put(&mut fields, "bootstrap", base.bootstrap.as_deref());
    fields
}

fn image(stack: &Stack, image: &Image) -> Map<String, Value> {
    let mut fields = Map::new();
    put(&mut fields, "image_name", Some(&image.image_name));
    put(&mut fields, "variant", image.variant.as_deref());
    let skip = stack.dir.parts().count();
    let parts: Vec<_> = image.dir.parts().skip(skip).map(String::from_utf8_lossy).collect();
    let dir = parts.join("/");
    if dir != *image.key {
        put(&mut fields, "dir", Some(&dir));
    }
    if image.dockerfile != "Dockerfile" {
        put(&mut fields, "dockerfile", Some(&image.dockerfile));
    }
    let parents: Vec<&str> = image.depend_on.iter().map(|parent| &*parent.value).collect();
    match parents.as_slice() {
        [] => {}
        [one] => put(&mut fields, "depend_on", Some(one)),
        several => put_list(&mut fields, "depend_on", several),
    }
    put_args(&mut fields, "build_args", &image.build_args);
    let known = |name: &&String| stack.plan(name).is_some();
    let plan_args: Map<String, Value> = image
        .plan_args
        .iter()
        .filter(|(plan, _)| known(plan))
        .map(|(plan, args)| (plan.clone(), json!(args)))
        .collect();
    if !plan_args.is_empty() {
        fields.insert("plan_args".to_owned(), plan_args.into());
    }
    put_list(&mut fields, "skip_plans", &image.skip_plans.iter().filter(known).collect::<Vec<_>>());
    match image.integration_tests {
        Integration::None => {}
        Integration::BeforePush => put_bool(&mut fields, "integration_tests", true),
        Integration::AfterPush => put(&mut fields, "integration_tests", Some("after_push")),
    }
    let cmds: Vec<&String> = image.info_cmds.iter().filter(|name| stack.info_cmd(name).is_some()).collect();
    put_list(&mut fields, "info_cmds", &cmds);
    put_list(&mut fields, "taggers", &image.taggers);
    if image.prune {
        put_bool(&mut fields, "prune", true);
    }
    if !image.prepull {
        put_bool(&mut fields, "prepull", false);
    }
    put(&mut fields, "target", image.target.as_deref());
    put_list(&mut fields, "platforms", &image.platforms);
    put(&mut fields, "network", image.network.as_deref());
    put_args(&mut fields, "labels", &image.labels);
    put_list(&mut fields, "cache_from", &image.cache_from);
    let inline = ["inline".to_owned()].into_iter().filter(|_| image.inline_cache);
    put_list(&mut fields, "cache_to", &inline.chain(image.cache_to.iter().cloned()).collect::<Vec<_>>());
    secrets(image, &mut fields);
    put_list(&mut fields, "ssh", &image.ssh);
    put(&mut fields, "title", image.title.as_deref());
    put(&mut fields, "description", image.description.as_deref());
    fields
}

fn secrets(image: &Image, fields: &mut Map<String, Value>) {
    let secrets: Map<String, Value> = image
        .secrets
        .iter()
        .map(|(id, source)| match source {
            SecretSource::Env(name) => (id.clone(), json!({ "env": name })),
            SecretSource::File(path) => (id.clone(), json!({ "file": path })),
        })
        .collect();
    if !secrets.is_empty() {
        fields.insert("secrets".to_owned(), secrets.into());
    }
}

fn change_policy(policy: &ChangePolicy) -> Map<String, Value> {
    let usual = ChangePolicy::default();
    let mut fields = Map::new();
    if policy.mode == ChangeMode::LastCommit {
        put(&mut fields, "mode", Some("last_commit"));
    }
    if policy.ignore != usual.ignore {
        fields.insert("ignore".to_owned(), json!(policy.ignore));
    }
    if policy.build_all != usual.build_all {
        fields.insert("build_all".to_owned(), json!(policy.build_all));
    }
    if policy.full_rebuild_message != usual.full_rebuild_message {
        fields.insert("full_rebuild_message".to_owned(), json!(policy.full_rebuild_message));
    }
    put_list(&mut fields, "full_rebuild_branches", &policy.full_rebuild_branches);
    if policy.full_rebuild_on_first_run {
        put_bool(&mut fields, "full_rebuild_on_first_run", true);
    }
    if policy.base != usual.base {
        put(&mut fields, "base", Some(&policy.base));
    }
    fields
}

fn put(fields: &mut Map<String, Value>, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        fields.insert(name.to_owned(), json!(text));
    }
}

fn put_bool(fields: &mut Map<String, Value>, name: &str, value: bool) {
    fields.insert(name.to_owned(), json!(value));
}

fn put_list<T: serde::Serialize>(fields: &mut Map<String, Value>, name: &str, list: &[T]) {
    if !list.is_empty() {
        fields.insert(name.to_owned(), json!(list));
    }
}

fn put_args(fields: &mut Map<String, Value>, name: &str, args: &Args) {
    if !args.is_empty() {
        fields.insert(name.to_owned(), json!(args));
    }
}
