//! The reference as a page of Markdown: commands with their options, fields of the files, actions with their arguments,
//! exit codes. Made from clap's commands and the schemas, so that it cannot say what the program does not do.

use std::fmt::Write as _;

use clap::Command;
use serde_json::Value;

use super::task_command;

pub(super) fn page([tasks, spec]: &[Value; 2]) -> String {
    let mut text =
        "# Reference\n\nMade by `cargo xtask schema reference`; a test compares. What the fields mean in full is in\n\
                    [tasks.md](tasks.md).\n\n## Commands\n\n"
            .to_owned();
    let mut commands = task_command::all_commands();
    commands.build();
    text.push_str("| command | what it does |\n|---|---|\n");
    let shown = || commands.get_subcommands().filter(|command| command.get_name() != "help");
    for command in shown() {
        let _ = writeln!(text, "| `{}` | {} |", command.get_name(), about(command));
    }
    shown().for_each(|command| options(&mut text, command, command.get_name()));
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (code, meaning) in EXIT_CODES {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    reasons(&mut text);
    text.push_str("\n## Errors\n\nAll messages, what to do about each, and the exit code: [errors.md](errors.md).\n");
    text.push_str("\n## Fields of tasks.yaml\n");
    fields(&mut text, "The file", &tasks["properties"]);
    fields(&mut text, "`config`", &tasks["properties"]["config"]["properties"]);
    fields(&mut text, "A host of `hosts`", &tasks["properties"]["hosts"]["additionalProperties"]["properties"]);
    fields(&mut text, "A task", &tasks["properties"]["tasks"]["additionalProperties"]["properties"]);
    fields(&mut text, "A param of `params`", &tasks["definitions"]["param"]["properties"]);
    actions(&mut text, &tasks["definitions"]["action"]["anyOf"][2]["properties"]);
    text.push_str("\n## Fields of spec.yml\n");
    let of = |name: &str| &spec["properties"][name];
    fields(&mut text, "The file", &spec["properties"]);
    fields(&mut text, "`tag`", &of("tag")["properties"]);
    fields(&mut text, "A plan of `plans`", &of("plans")["additionalProperties"]["properties"]);
    fields(&mut text, "A base of `bases`", &of("bases")["additionalProperties"]["properties"]);
    fields(&mut text, "A command of `all_info_cmds`", &of("all_info_cmds")["additionalProperties"]["properties"]);
    fields(&mut text, "A tagger of `taggers`", &of("taggers")["additionalProperties"]["properties"]);
    fields(&mut text, "`change_policy`", &of("change_policy")["properties"]);
    fields(&mut text, "An image of `images`", &of("images")["additionalProperties"]["properties"]);
    text
}

const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done, or up to date"),
    (1, "a task failed; something would run (`--frozen`, `explain`)"),
    (2, "an error while executing"),
    (3, "an error before anything ran: command line, tasks.yaml, spec, graph"),
    (130, "interrupted"),
];

/// Why a task runs: the kinds of `--reporter json` and of `explain --json`, with the words that people see.
fn reasons(text: &mut String) {
    text.push_str(
        "\n## Reasons\n\nWhy a task runs, as `explain`, a dry run and `--reporter json` say it. A kind may have more than one \
         form; its other facts stand beside `kind`.\n\n| kind | in words, for example | facts | what it means |\n|---|---|---|---|\n",
    );
    for (reason, meaning) in crate::model::reason::examples() {
        let facts = reason.to_json();
        let facts = facts.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| *name != "kind");
        let facts: Vec<String> = facts.map(|name| format!("`{name}`")).collect();
        let words = reason.to_string();
        let _ = writeln!(text, "| `{}` | {} | {} | {meaning} |", reason.kind(), cell(&words), facts.join(", "));
    }
}

fn about(command: &Command) -> String {
    cell(&command.get_about().map(ToString::to_string).unwrap_or_default())
}

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// The options and words of a command, then those of the commands below it.
fn options(text: &mut String, command: &Command, name: &str) {
    let args: Vec<_> = command.get_arguments().filter(|arg| arg.get_id() != "help" && !arg.is_hide_set()).collect();
    if !args.is_empty() {
        let _ = write!(text, "\n### {name}\n\n| option | what it does |\n|---|---|\n");
    }
    for arg in args {
        let short = arg.get_short().map(|short| format!("-{short}"));
        let long = arg.get_long().map(|long| format!("--{long}"));
        let names: Vec<String> = short.into_iter().chain(long).collect();
        let values: Vec<String> =
            arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
        let takes = arg.get_action().takes_values();
        let word = match (names.is_empty(), takes) {
            (true, _) => values.join(" "),
            (false, true) => format!("{} {}", names.join(", "), values.join(" ")),
            (false, false) => names.join(", "),
        };
        let choices: Vec<String> = if takes {
            arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect()
        } else {
            Vec::new()
        };
        let choices = if choices.is_empty() { String::new() } else { format!(" ({})", choices.join(", ")) };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "| `{}` | {}{choices} |", word.replace('|', "\\|"), cell(&help));
    }
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        options(text, below, &format!("{name} {}", below.get_name()));
    }
}

fn fields(text: &mut String, title: &str, properties: &Value) {
    let _ = write!(text, "\n### {title}\n\n| field | form | what it is |\n|---|---|---|\n");
    for (name, schema) in properties.as_object().into_iter().flatten() {
        let words = schema["description"].as_str().unwrap_or_default();
        let _ = writeln!(text, "| `{name}` | {} | {} |", form(schema), cell(words));
    }
}

/// What may be written, in a word or two.
fn form(schema: &Value) -> String {
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<String> =
            choices.iter().map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned)).collect();
        return choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    if let Some(forms) = schema["anyOf"].as_array() {
        let mut forms: Vec<String> =
            forms.iter().map(form).filter(|form| !form.is_empty() && form != "nothing").collect();
        forms.dedup();
        return forms.join(" or ");
    }
    if schema["$ref"].is_string() {
        return schema["$ref"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    // Numbers and null are taken where text is, and need no word.
    let shown = kinds.iter().filter(|kind| **kind != "null" && !(**kind == "number" && kinds.contains(&"string")));
    let words: Vec<&str> = shown
        .map(|kind| match *kind {
            "string" => "text",
            "array" => "list",
            "object" => "map",
            "boolean" => "true or false",
            "null" => "nothing",
            other => other,
        })
        .collect();
    words.join(" or ")
}

/// Built-in actions, and the keys of a step that is no action.
fn actions(text: &mut String, properties: &Value) {
    text.push_str("\n### Actions\n\n| action | required | optional |\n|---|---|---|\n");
    for (name, schema) in properties.as_object().into_iter().flatten() {
        let Some(map) = schema["anyOf"].as_array().and_then(|forms| forms.last()) else { continue };
        let Some(arguments) = map["properties"].as_object() else { continue };
        let required: Vec<&str> = map["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let list = |names: Vec<&str>| names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let optional = arguments.keys().map(String::as_str).filter(|name| !required.contains(name)).collect();
        let _ = writeln!(text, "| `{name}` | {} | {} |", list(required.clone()), list(optional));
    }
}
