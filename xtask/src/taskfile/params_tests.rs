//! Rows I08 to I13: words of the command line to tasks and values. Knows only `select` and `values`.

use std::collections::BTreeMap;

use serde_json::json;

use super::Selection;
use super::params::{self, Source};
use super::testing::World;
use super::words::{globals, select};
use crate::model::Diagnostics;
use crate::model::task::Taskfile;

const FILE: &str = r"
version: 1
config: {params: {t3: {level: from-file}, build: {n: 4}}}
vars: {registry: here, other: x}
tasks:
  t1: {actions: [echo]}
  t3:
    actions: [echo]
    params:
      - {name: message, short: m}
      - {name: level, default: from-default, env: LEVEL}
      - {name: n, type: int, short: n, default: 1}
      - {name: ratio, type: float}
      - {name: fast, type: bool, short: f, inverse: true}
      - {name: dry, type: bool, short: d}
      - {name: mode, choices: [quick, full]}
      - {name: tags, type: list, default: [a], env: TAGS}
      - {name: to_version, type: semver}
      - {name: code, pattern: '[a-z]{2}\d+'}
  rest: {actions: [echo], pos_arg: words, params: [{name: x}]}
  push: {actions: [echo], params: [{name: version, type: semver, required: true, help: what to publish}, {name: token, secret: true, pattern: 'T.*'}]}
  build: {for_each: [a, b], actions: [echo], params: [{name: n, type: int, default: 2}]}
";

fn taskfile() -> Taskfile {
    World::of(FILE).load().unwrap_or_else(|errors| panic!("{errors}")).taskfile
}

fn try_select(line: &str, env: &[(&str, &str)]) -> Result<Selection, Diagnostics> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    select(&words, &taskfile(), &|name| env.get(name).map(|value| (*value).to_owned()))
}

fn chosen(line: &str) -> Selection {
    try_select(line, &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn refused(line: &str) -> String {
    try_select(line, &[]).unwrap_err().to_string()
}

/// The value of a param of the first task.
fn value(line: &str, env: &[(&str, &str)], name: &str) -> (serde_json::Value, Source) {
    let selection = try_select(line, env).unwrap_or_else(|errors| panic!("{errors}"));
    let value = &selection.selected[0].params[name];
    (value.json(), value.source)
}

#[test]
fn i08_options_belong_to_the_task_before() {
    let selection = chosen("t3 --message x t1");
    assert_eq!(selection.selected.iter().map(|selected| &*selected.word).collect::<Vec<_>>(), ["t3", "t1"]);
    assert_eq!(&*selection.selected[0].params["message"].text, "x");
    assert!(selection.selected[1].params.is_empty());
}

#[test]
fn i08_every_spelling() {
    for line in ["t3 --message=x", "t3 -m x", "t3 -mx", "t3 -m=x", "t3 --message y --message x"] {
        assert_eq!(value(line, &[], "message").0, json!("x"), "{line}");
    }
    assert_eq!(value("t3 -n -5", &[], "n").0, json!(-5));
    assert_eq!(value("t3 -fd", &[], "dry").0, json!(true));
    assert_eq!(value("t3 -fmx", &[], "message").0, json!("x"));
}

#[test]
fn i09_positional_words_take_the_rest() {
    let selection = chosen("t1 rest --x 1 a --x t1 k=v");
    assert_eq!(selection.selected.len(), 2);
    assert_eq!(selection.selected[1].pos, ["a", "--x", "t1", "k=v"]);
    assert_eq!(chosen("rest -- --x").selected[0].pos, ["--x"]);
    assert!(selection.globals.is_empty());
}

#[test]
fn i10_precedence() {
    assert_eq!(value("t3", &[], "level"), (json!("from-file"), Source::File));
    assert_eq!(value("t3", &[("LEVEL", "from-env")], "level"), (json!("from-env"), Source::Environment));
    assert_eq!(value("t3 --level cli", &[("LEVEL", "from-env")], "level"), (json!("cli"), Source::CommandLine));
    assert_eq!(value("t3", &[], "n"), (json!(1), Source::Default));
    let file = taskfile();
    let member = file.tasks.iter().find(|task| &*task.name == "build:a").unwrap();
    let values = params::values(member, &file.config, &|_| None, &params::Given::new()).unwrap();
    assert_eq!((values["n"].json(), values["n"].source), (json!(4), Source::File));
}

#[test]
fn i11_types() {
    assert_eq!(value("t3 --n 007", &[], "n").0, json!(7));
    assert_eq!(value("t3 --ratio 2.50", &[], "ratio").0, json!(2.5));
    assert_eq!(value("t3", &[], "ratio").0, json!(""));
    assert_eq!(value("t3", &[], "fast").0, json!(false));
    assert_eq!(value("t3 --fast", &[], "fast").0, json!(true));
    assert_eq!(value("t3 --fast --no-fast", &[], "fast").0, json!(false));
    assert_eq!(value("t3 --fast=no", &[], "fast").0, json!(false));
    assert_eq!(value("t3 --mode full", &[], "mode").0, json!("full"));
    assert_eq!(value("t3", &[], "tags").0, json!(["a"]));
    assert_eq!(value("t3 --tags b --tags c,d", &[], "tags").0, json!(["b", "c,d"]));
    assert_eq!(value("t3", &[("TAGS", "x,y")], "tags").0, json!(["x", "y"]));
    assert_eq!(value("t3 --to-version 1.4.0-rc.1", &[], "to_version").0, json!("1.4.0-rc.1"));
    assert_eq!(value("t3 --code ab12", &[], "code").0, json!("ab12"));
}

#[test]
fn i11_bad_values_say_what_is_allowed() {
    let message = |option: &str, found: &str, expected: &str| {
        format!("error: option `--{option}` of task `t3` is `{found}`, expected {expected}")
    };
    assert_eq!(refused("t3 --n x"), message("n", "x", "a whole number"));
    assert_eq!(refused("t3 --mode slow"), message("mode", "slow", "one of `quick` and `full`"));
    assert_eq!(refused("t3 --fast=maybe"), message("fast", "maybe", "`true` or `false`"));
    assert_eq!(refused("t3 --to-version 1.4"), message("to-version", "1.4", "a version such as `1.4.0`"));
    assert_eq!(refused("t3 --code xab1"), message("code", "xab1", r"text that matches `[a-z]{2}\d+`"));
    let two = refused("t3 --n x --mode y");
    assert_eq!(two.matches("error:").count(), 2, "{two}");
    assert_eq!(
        refused("push"),
        "error: task `push` needs option `--version`\n  note: `--version`: what to publish\n  \
         help: give it: cargo xtask push --version 1.0.0"
    );
}

#[test]
fn i12_unknown_options() {
    assert_eq!(
        refused("t3 --mesage x"),
        "error: task `t3` has no option `--mesage`\n  help: an option with a similar name exists: `--message`"
    );
    assert_eq!(refused("t1 -z"), "error: task `t1` has no option `-z`\n  note: it has no options");
    assert_eq!(refused("--x t1").lines().next().unwrap(), "error: option `--x` stands before any task");
    assert_eq!(refused("build:* --n 3"), "error: option `--n` follows `build:*`, which is not the name of one task");
    assert_eq!(
        refused("t3 --message --fast"),
        "error: option `--message` of task `t3` has no value\n  help: give it as `--message=VALUE`"
    );
    assert_eq!(refused("t3 --no-fast=1"), "error: option `--no-fast` of task `t3` takes no value");
    assert_eq!(refused("t3 -n 1 t3 -n 2"), "error: task `t3` is named twice with different options");
}

#[test]
fn i13_globals() {
    let selection = chosen("registry=there t1 other=");
    assert_eq!(
        selection.globals,
        BTreeMap::from([("registry".to_owned(), "there".to_owned()), ("other".to_owned(), String::new())])
    );
    assert_eq!(selection.selected.len(), 1);
    assert!(chosen("t3 --message registry=x").globals.is_empty());
    assert!(
        refused("registri=x").contains(
            "variable `registri` is not in `vars`\n  help: a variable with a similar name exists: `registry`"
        )
    );
    assert_eq!(chosen("out/a=b").selected[0].word, "out/a=b");
    assert_eq!(globals(&["a=1".to_owned(), "--b=2".to_owned(), "--".to_owned(), "c=3".to_owned()]).len(), 1);
}

#[test]
fn i13_a_global_is_no_var_of_its_own() {
    let mut world = World::of("version: 1\nvars: {a: {env: NOT_SET}}\ntasks: {t: {actions: [echo]}}\n");
    world.globals = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
    let vars = world.load().unwrap_or_else(|errors| panic!("{errors}")).taskfile.vars;
    assert_eq!(vars, BTreeMap::from([("a".into(), "1".into())]));
}

#[test]
fn groups_hand_options_to_their_members() {
    let selection = chosen("build -- t1");
    assert_eq!(selection.selected.len(), 2);
    let given = &chosen("build --n 9").selected[0].given;
    assert_eq!(given["n"], ["9"]);
}

#[test]
fn secrets_are_not_shown() {
    let selection = chosen("push --version 1.0.0 --token T-hunter2");
    assert!(!format!("{:?}", selection.selected[0].params).contains("hunter2"));
    let text = refused("push --version 1.0.0 --token hunter2");
    assert_eq!(text, "error: option `--token` of task `push` is a secret value, expected text that matches `T.*`");
}
