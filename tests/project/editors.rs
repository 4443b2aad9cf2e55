//! The schemas for editors: what is committed is what the program says, and every file and example is valid by them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::space::Space;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Debian's validator, which is not ours: prints the names of the documents that are not valid, with the first reason.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft7Validator
given = json.load(sys.stdin)
Draft7Validator.check_schema(given['schema'])
validator = Draft7Validator(given['schema'])
for name, document in given['documents']:
    for error in list(validator.iter_errors(document))[:1]:
        print(name, list(error.absolute_path), error.message[:200])
";

fn invalid(schema: &Value, documents: &[(String, Value)]) -> String {
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let given = json!({ "schema": schema, "documents": documents }).to_string();
    python.stdin.take().expect("a pipe").write_all(given.as_bytes()).expect("written");
    let output = python.wait_with_output().expect("an end");
    assert!(output.status.success(), "python3-jsonschema is needed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn committed(name: &str) -> Value {
    let text = std::fs::read_to_string(root().join("schemas").join(name)).expect(name);
    serde_json::from_str(&text).expect("JSON")
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("YAML")
}

/// Blocks of a page that are marked as YAML and begin a whole file.
fn examples(page: &str, marker: &str) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(root().join(page)).expect(page);
    // Behind the language may stand the name of a file.
    let blocks = text.split("```yaml").skip(1).filter_map(|rest| rest.split_once('\n')?.1.split("```").next());
    let whole = blocks.filter(|block| block.lines().any(|line| line.starts_with(marker)));
    whole.enumerate().map(|(number, block)| (format!("{page}#{number}"), yaml(block))).collect()
}

fn pages() -> Vec<String> {
    let files = std::fs::read_dir(root().join("docs")).expect("docs").flatten().map(|entry| entry.file_name());
    let names = files
        .map(|name| format!("docs/{}", name.to_string_lossy()))
        .filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "md"));
    let mut names: Vec<String> = names.chain(["README.md".to_owned()]).collect();
    names.sort();
    names
}

#[test]
fn committed_schemas_are_those_of_the_program() {
    let space = Space::new();
    let ran = space.command(&["schema", "--write", "schemas"], "");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    for name in ["tasks.json", "spec.json"] {
        let made = std::fs::read_to_string(space.path("schemas").join(name)).expect(name);
        let kept = std::fs::read_to_string(root().join("schemas").join(name)).expect(name);
        assert!(made == kept, "schemas/{name} is old: cargo xtask schema --write schemas");
    }
    let ran = space.command(&["schema", "spec"], "");
    assert_eq!(serde_json::from_str::<Value>(&ran.out).expect("JSON"), committed("spec.json"));
}

#[test]
fn the_reference_is_made_by_the_program() {
    let made = Space::new().command(&["schema", "reference"], "").out;
    let kept = std::fs::read_to_string(root().join("docs/reference.md")).expect("docs/reference.md");
    assert!(made == kept, "docs/reference.md is old: cargo xtask schema reference > docs/reference.md");
    for wanted in [
        "| `explain` |",
        "| `file_dep` | list |",
        "| `image_build` | `image` |",
        "| 130 | interrupted |",
        "| `depend_on` |",
    ] {
        assert!(made.contains(wanted), "{wanted} is not in the reference");
    }
}

#[test]
fn every_file_and_example_is_valid() {
    let read = |name: &str| (name.to_owned(), yaml(&std::fs::read_to_string(root().join(name)).expect(name)));
    let mut tasks = vec![read("tasks.yaml"), read("tests/chain_live/tasks.yaml")];
    let mut specs = vec![read("images/spec.yml"), read("tests/data/specs/current.yml")];
    for page in pages() {
        tasks.extend(examples(&page, "tasks:"));
        specs.extend(examples(&page, "images:"));
    }
    assert!(tasks.len() >= 12, "only {} files of tasks were found", tasks.len());
    let space = Space::new();
    assert_eq!(space.command(&["init", "--no-crate"], "").exit, 0);
    for (name, list) in [("tasks.yaml", &mut tasks), ("images/spec.yml", &mut specs)] {
        let text = std::fs::read_to_string(space.path(name)).expect(name);
        assert!(text.starts_with("# yaml-language-server: $schema="), "{name} names no schema");
        list.push((format!("the new {name}"), yaml(&text)));
    }
    assert_eq!(invalid(&committed("tasks.json"), &tasks), "");
    assert_eq!(invalid(&committed("spec.json"), &specs), "");
}

#[test]
fn what_is_wrong_is_not_valid() {
    let wrong = |text: &str| ("x".to_owned(), yaml(text));
    for text in ["version: 2", "version: 1\ntasks: { a: { actoins: [] } }", "version: 1\ntasks: { a: { pool: [1] } }"] {
        assert_ne!(invalid(&committed("tasks.json"), &[wrong(text)]), "", "{text}");
    }
    for text in
        ["version: 1", "version: 1\nimages: { a: { dependon: b } }", "version: 1\nimages: {}\nplans: { a: { tag: b } }"]
    {
        assert_ne!(invalid(&committed("spec.json"), &[wrong(text)]), "", "{text}");
    }
}
