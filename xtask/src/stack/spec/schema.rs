//! The JSON Schema of spec.yml (`version: 1`), for editors. Knows nothing of reading; a test holds its names equal to
//! those that are read.

use serde_json::{Value, json};

/// The schema, draft 07.
pub fn schema() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "spec.yml",
        "type": "object",
        "required": ["version", "images"],
        "additionalProperties": false,
        "properties": {
            "version": { "enum": [1, "1"], "description": "Version of the format" },
            "tag": closed("How images are tagged where there are no plans", json!({
                "prefix": text("In front of every tag"),
                "suffix": choice("Behind the prefix: the commit, or the branch", &["hash", "branch"]),
            })),
            "plans": named("Release tracks: every image is built for each", plan()),
            "bases": named("Images from outside, as in the FROM lines", base()),
            "build_args": args("Build args of every image in every plan"),
            "all_info_cmds": named("What manifests can tell, by name", info_cmd()),
            "taggers": named("Commands that give images tags, by name", tagger()),
            "change_policy": change_policy(),
            "images": named("The images by the names of their folders", image()),
        },
    })
}

fn described(mut schema: Value, words: &str) -> Value {
    schema["description"] = json!(words);
    schema
}

/// Null is the same as absent, everywhere.
fn text(words: &str) -> Value {
    json!({ "type": ["string", "number", "null"], "description": words })
}

fn flag(words: &str) -> Value {
    json!({ "type": ["boolean", "null"], "description": words })
}

fn choice(words: &str, names: &[&str]) -> Value {
    json!({ "enum": names, "description": words })
}

/// One, or a list.
fn texts(words: &str) -> Value {
    let one = json!({ "type": ["string", "number"] });
    json!({ "anyOf": [one, { "type": "array", "items": one }, { "type": "null" }], "description": words })
}

fn args(words: &str) -> Value {
    json!({ "type": ["object", "null"], "description": words, "additionalProperties": { "type": ["string", "number", "boolean"] } })
}

fn named(words: &str, value: Value) -> Value {
    json!({ "type": ["object", "null"], "description": words, "additionalProperties": value })
}

fn closed(words: &str, properties: Value) -> Value {
    json!({ "type": ["object", "null"], "description": words, "additionalProperties": false, "properties": properties })
}

fn plan() -> Value {
    closed(
        "A release track",
        json!({
            "tag_prefix": text("In front of the tags of this plan; without it the tag is `latest`"),
            "stable_postfix": text("Follows the prefix in the stable tag; `-stable` unless given"),
            "build_args": args("Build args of every image in this plan"),
        }),
    )
}

fn base() -> Value {
    let ttl = json!({ "type": "object", "additionalProperties": false, "properties": { "ttl": text("such as `12h` or `7d`") } });
    closed(
        "An image from outside",
        json!({
            "policy": {
                "anyOf": [{ "enum": ["pinned", "float"] }, ttl],
                "description": "When its digest is looked up again: when told, at every run, or when the record is older",
            },
            "bootstrap": text("A program that makes an equal base where no registry can be reached"),
        }),
    )
}

fn info_cmd() -> Value {
    let mut schema = closed(
        "A command whose output describes an image",
        json!({ "description": text("The heading"), "command": text("Run in the image, without a shell") }),
    );
    schema["required"] = json!(["command"]);
    schema
}

fn tagger() -> Value {
    let mut schema = closed(
        "A command whose output gives an image tags",
        json!({
            "command": text("Run in the image, without a shell"),
            "pattern": text("A regular expression to be found in the output; the first word unless given"),
            "tags": texts("`$1` stands for what the first group of the pattern has found, `$0` for all of it"),
        }),
    );
    schema["required"] = json!(["command", "tags"]);
    schema
}

fn change_policy() -> Value {
    closed(
        "Which changed files concern which images",
        json!({
            "mode": choice("Which commits are looked at", &["last_commit", "branch"]),
            "ignore": texts("Never a reason: names below the folder of the images, or globs from the root"),
            "build_all": texts("A reason for every image"),
            "full_rebuild_message": { "type": ["string", "null"], "description": "A commit message with this rebuilds everything" },
            "full_rebuild_branches": texts("Branches on which everything is built"),
            "full_rebuild_on_first_run": flag("Build everything where the branch was not built before"),
            "base": text("The branch that others are compared with"),
        }),
    )
}

fn image() -> Value {
    let source = json!({
        "type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
        "properties": { "env": text("The name of an environment variable"), "file": text("A file") },
    });
    closed(
        "One image of the stack",
        json!({
            "image_name": text("Its repository, without a tag; the name of the folder unless given"),
            "variant": text("Leads each tag; images of one repository differ by it"),
            "dir": text("The build context, from the folder of the spec"),
            "dockerfile": text("Its Dockerfile in that folder; `Dockerfile.j2` is rendered"),
            "depend_on": texts("The images that it is built from, as in its FROM lines"),
            "build_args": args("Build args of this image"),
            "plan_args": named("Build args of this image by plan", args("Build args")),
            "skip_plans": texts("Plans for which it is not built"),
            "integration_tests": described(
                json!({ "enum": [true, false, "true", "false", "before_push", "after_push"] }),
                "When the tests in `integration_tests/` run",
            ),
            "info_cmds": texts("Names of `all_info_cmds` for its manifest"),
            "taggers": texts("Names of `taggers`; those of its ancestors count as well"),
            "prune": flag("Remove it from the engine when it is done"),
            "prepull": flag("With `cache_to`: take what was published last as cache, too; true unless given"),
            "target": text("The stage to build"),
            "platforms": texts("such as `linux/amd64`; that of the engine unless given. Several are built, tested and published as one"),
            "network": text("Of the RUN steps"),
            "labels": args("More labels"),
            "cache_from": texts("References whose cache the builder may use"),
            "cache_to": texts("`inline`: the image carries its cache; a reference: it is pushed there with it, too"),
            "secrets": named("Id of a secret to where its value is read from", source),
            "ssh": texts("Ids of ssh agents that RUN steps may use"),
            "title": text("Of the image, for registries"),
            "description": text("Of the image, for registries"),
        }),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                    found.extend(properties.keys().cloned());
                }
                map.values().for_each(|value| names(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| names(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_schema_has_exactly_the_names_that_are_read() {
        let mut known = BTreeSet::new();
        names(&schema(), &mut known);
        let asks = regex_lite::Regex::new(r#"\.(?:take|text|texts|boolean|args|entry)\(\s*"(\w+)""#).unwrap();
        let listed = regex_lite::Regex::new(r#"\("(\w+)", &mut policy\.\w+\)"#).unwrap();
        let mut read: BTreeSet<String> = BTreeSet::new();
        let shared = include_str!("read.rs");
        let shared = &shared[shared.find("pub fn image(").unwrap()..];
        for text in [include_str!("current.rs"), include_str!("taggers.rs"), shared] {
            read.extend(asks.captures_iter(text).map(|found| found[1].to_owned()));
            read.extend(listed.captures_iter(text).map(|found| found[1].to_owned()));
        }
        assert_eq!(known, read);
    }
}
