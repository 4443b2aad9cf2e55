//! The JSON Schema of tasks.yaml, for editors: completion, hovers, wrong words underlined. Knows nothing of reading;
//! a test holds its names equal to those that are read.

use serde_json::{Map, Value, json};

use super::task::{ATTRIBUTES, DEFAULTS};
use super::world::ActionForm;

/// The schema (draft 07) with the given actions and checks.
pub fn schema(actions: &[ActionForm<'_>], checks: &[&str]) -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "tasks.yaml",
        "type": "object",
        "required": ["version"],
        "additionalProperties": false,
        "patternProperties": { "^x-": {} },
        "properties": {
            "version": { "const": 1, "description": "Version of the format" },
            "config": config(),
            "vars": named(&json!({ "anyOf": [scalar(), {
                "type": "object", "required": ["env"], "additionalProperties": false,
                "properties": { "env": { "type": "string" }, "default": scalar() },
            }] }), "Constants, used as {{ vars.name }}; set on the command line by name=value"),
            "pools": named(&json!({ "type": "integer", "minimum": 1 }), "How many tasks of a pool may run at once"),
            "stack": { "type": "string", "description": "Path of the spec of the stack" },
            "hosts": named(&host(), "Other machines"),
            "storage": described(closed(json!({
                "ids": named(&json!({ "type": "string" }), "Id to path"), "folders": list(&json!({ "type": "string" })),
            }), &[]), "Folders that `sync` knows by an id"),
            "include": include(),
            "defaults": object(DEFAULTS),
            "tasks": named(&object(ATTRIBUTES), "Tasks by name"),
        },
        "definitions": {
            "action": action(actions),
            "check": check(checks),
            "param": param(),
        },
    })
}

fn described(mut schema: Value, words: &str) -> Value {
    schema["description"] = json!(words);
    schema
}

fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn text() -> Value {
    json!({ "type": ["string", "number"] })
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn named(value: &Value, words: &str) -> Value {
    json!({ "type": "object", "additionalProperties": value, "description": words })
}

fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

fn closed(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

fn duration() -> Value {
    json!({ "type": ["string", "number"], "examples": ["90s", "1h30m"] })
}

fn config() -> Value {
    closed(
        json!({
            "default_tasks": list(&text()), "jobs": { "type": "integer", "minimum": 1 }, "verbosity": { "enum": [0, 1, 2] },
            "continue_on_failure": { "type": "boolean" },
            "reporter": { "enum": ["auto", "fancy", "plain", "json", "junit", "github", "console", "executed-only", "zero", "error-only"] }, "grace": duration(),
            "params": named(&named(&json!({}), "Values by param"), "Values of params by task"), "minversion": { "type": "string" },
            "checker": { "enum": ["content", "timestamp"] }, "host": { "type": "string" },
            "transfer": { "type": "string" },
        }),
        &[],
    )
}

fn host() -> Value {
    closed(
        json!({
            "ssh": { "type": "string" }, "context": { "type": "string" }, "docker": { "type": "string" },
            "root": { "type": "string" }, "slots": { "type": "integer", "minimum": 1 },
            "port": { "type": "integer", "minimum": 1, "maximum": 65535 }, "identity": { "type": "string" }, "compress": { "enum": [true, false, "auto"] },
            "build": { "enum": ["engine", "staged"] },
        }),
        &[],
    )
}

fn include() -> Value {
    let file = closed(json!({ "file": { "type": "string" }, "namespace": { "type": "string" } }), &["file"]);
    described(list(&json!({ "anyOf": [{ "type": "string" }, file] })), "Other files, relative to this one")
}

/// A map of those attributes.
fn object(attributes: &[&str]) -> Value {
    let properties: Map<String, Value> = attributes.iter().map(|name| ((*name).to_owned(), attribute(name))).collect();
    closed(Value::Object(properties), &[])
}

/// The schema of one attribute, with its words.
fn attribute(name: &str) -> Value {
    let tasks = || list(&text());
    let (schema, words) = match name {
        "actions" => (list(&refer("action")), "What the task does, in order"),
        "file_dep" => (list(&text()), "Files, globs, directories; `!` in front takes away"),
        "targets" => (list(&target()), "What the actions make; a trailing `/` means a directory"),
        "task_dep" => (tasks(), "Tasks that run before, with `*` wildcards; order only"),
        "result_dep" => (tasks(), "Tasks that run before and whose other result makes this one run"),
        "setup" => (tasks(), "Tasks that run before, but only if this one must run"),
        "uptodate" => (list(&refer("check")), "Checks; the task runs if one of them says no"),
        "calc_dep" => (
            list(&json!({ "anyOf": [text(), closed(json!({ "depfile": text() }), &["depfile"])] })),
            "Tasks or files that name more inputs",
        ),
        "getargs" => (named(&json!({ "type": ["string", "array"] }), ""), "Values of other tasks: `name: TASK.KEY`"),
        "teardown" => (
            json!({ "anyOf": [list(&refer("action")), closed(json!({ "actions": list(&refer("action")), "best_effort": { "type": "boolean" } }), &["actions"])] }),
            "Actions after all tasks",
        ),
        "clean" => (
            json!({ "anyOf": [{ "type": "boolean" }, list(&refer("action"))] }),
            "What `clean` does: remove the targets, nothing, or these actions",
        ),
        "params" => (list(&refer("param")), "Options on the command line"),
        "pos_arg" => (json!({ "type": "string" }), "Name of the remaining words of the command line"),
        "doc" => (text(), "Shown by `list`"),
        "title" => (text(), "Shown while it runs"),
        "verbosity" => (json!({ "enum": [0, 1, 2] }), "0: output only on failure, 1: stderr, 2: stdout too"),
        "watch" => (list(&text()), "More inputs"),
        "env" => (named(&scalar(), ""), "Environment of the actions; part of what makes the task run"),
        "pass_env" => (list(&text()), "Names taken from the caller's environment"),
        "cwd" => (text(), "Folder in which the actions run"),
        "shell" => (
            json!({ "anyOf": [text(), list(&text())] }),
            "In front of the text of a shell action, such as `[bash, -euc]`",
        ),
        "timeout" => (duration(), "After this the task fails"),
        "retry" => (
            json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, closed(json!({ "times": { "type": "integer" }, "delay": duration() }), &["times"])] }),
            "Attempts after the first",
        ),
        "pool" => (text(), "Of `pools`: bounds how many run at once"),
        "mutex" => (text(), "Tasks with the same word never run at once"),
        "for_each" => (
            json!({ "anyOf": [{ "enum": ["image", "environment", "host"] }, { "type": "array" }, { "type": "object", "maxProperties": 1 }] }),
            "Makes a group with a member for each",
        ),
        "matrix" => (named(&json!({ "type": "array" }), ""), "Makes a group with a member for each combination"),
        "if" => (json!({ "type": ["boolean", "string"] }), "Skips the task when false"),
        "require" => (
            list(&json!({ "anyOf": [text(), closed(json!({ "shell": text(), "message": text() }), &["shell"])] })),
            "Commands that must succeed before",
        ),
        "run" => {
            (json!({ "enum": ["on-change", "always", "when-missing", "once"] }), "When a task without inputs runs")
        }
        "tags" => (list(&text()), "Words to select tasks by"),
        "meta" => (json!({}), "Anything, for other programs"),
        "expand_after" => (text(), "A task that prints the members of this group"),
        "watch_only" => (json!({ "type": "boolean" }), "Paths of `watch` wake the watch, but make nothing run"),
        "interactive" => (json!({ "type": "boolean" }), "Owns the terminal while it runs"),
        "delete_on_error" => (json!({ "type": "boolean" }), "Removes the targets when it fails"),
        "in_out" => (json!({ "type": "boolean" }), "The actions rewrite their own inputs"),
        "track_definition" => {
            (json!({ "type": "boolean" }), "Whether another definition (actions, cwd, shell, targets) makes it run")
        }
        "restart" => (json!({ "type": "boolean" }), "Watch restarts it when an input changes"),
        // Whoever adds an attribute is told by the test below.
        _ => (json!({}), ""),
    };
    described(schema, words)
}

fn target() -> Value {
    let map = json!({ "path": text(), "policy": { "enum": ["auto", "exists", "stat", "hash"] }, "optional": { "type": "boolean" } });
    json!({ "anyOf": [text(), closed(map, &["path"])] })
}

fn action(actions: &[ActionForm<'_>]) -> Value {
    let mut properties = json!({
        "cmd": { "type": ["string", "array"] }, "cwd": text(), "env": named(&scalar(), ""),
        "shell": { "type": ["string", "array"] }, "timeout": duration(), "ignore_error": { "type": "boolean" }, "save": text(),
    });
    for form in actions {
        let arguments: Map<String, Value> = form
            .required
            .iter()
            .chain(form.optional)
            .filter(|name| **name != "*")
            .map(|name| ((*name).to_owned(), json!({})))
            .collect();
        let mut map = closed(Value::Object(arguments), form.required);
        map["additionalProperties"] = json!(form.optional.contains(&"*"));
        properties[form.name] = if form.short.is_some() {
            json!({ "anyOf": [text(), { "type": "array" }, map] })
        } else {
            json!({ "anyOf": [{ "type": "null" }, map] })
        };
    }
    json!({ "anyOf": [text(), list(&scalar()), closed(properties, &[])] })
}

fn check(checks: &[&str]) -> Value {
    let mut properties = json!({
        "run_once": { "enum": [true, null] }, "timeout": duration(), "config_changed": {}, "stat": { "type": ["string", "object"] },
        "output_of": text(), "image": text(), "remote_tag": text(), "shell": text(),
    });
    for name in checks {
        properties[*name] = json!({});
    }
    let mut map = closed(properties, &[]);
    map["minProperties"] = json!(1);
    map["maxProperties"] = json!(1);
    json!({ "anyOf": [{ "type": ["boolean", "null", "string"] }, map] })
}

fn param() -> Value {
    let word = || json!({ "type": "string" });
    let flag = || json!({ "type": "boolean" });
    closed(
        json!({
            "name": word(), "type": { "enum": ["string", "int", "bool", "float", "path", "semver", "enum", "list"] },
            "short": text(), "long": word(), "env": word(), "choices": list(&scalar()),
            "inverse": { "type": ["string", "boolean"] }, "pattern": word(), "required": flag(), "secret": flag(),
            "alone": flag(), "member": flag(),
            "default": {}, "help": word(),
        }),
        &["name"],
    )
}

#[cfg(test)]
mod tests {
    use super::super::{options, testing, toplevel, uptodate};
    use super::*;

    fn keys(value: &Value) -> Vec<&str> {
        let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
        let mut names = names.to_vec();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_schema_has_exactly_the_names_that_are_read() {
        let schema = schema(testing::ACTIONS, &["engine_runs"]);
        let tasks = &schema["properties"]["tasks"]["additionalProperties"]["properties"];
        assert_eq!(keys(tasks), sorted(ATTRIBUTES));
        for name in ATTRIBUTES {
            assert_ne!(tasks[*name]["description"], "", "{name}");
        }
        assert_eq!(keys(&schema["properties"]["defaults"]["properties"]), sorted(DEFAULTS));
        assert_eq!(keys(&schema["properties"]["config"]["properties"]), sorted(toplevel::CONFIG));
        assert_eq!(keys(&schema["definitions"]["param"]["properties"]), sorted(options::FIELDS));
        let checks: Vec<&str> = uptodate::HELPERS.iter().copied().chain(["engine_runs"]).collect();
        assert_eq!(keys(&schema["definitions"]["check"]["anyOf"][1]["properties"]), sorted(&checks));
        assert!(schema["definitions"]["action"]["anyOf"][2]["properties"]["image_build"].is_object());
    }
}
