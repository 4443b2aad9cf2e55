//! The rows of the conformance table that are decided when the file is read, under their ids. Knows only `load`.

use super::testing::World;
use crate::model::task::*;

/// The message for a file with these tasks.
fn refused(tasks: &str) -> String {
    World::tasks(tasks).refused()
}

/// A task `t` with these attributes.
fn task(attributes: &str) -> crate::model::Task {
    World::tasks(&format!("  base: {{actions: [echo]}}\n  t: {{actions: [echo], {attributes}}}\n")).task("t")
}

#[test]
fn a25_names_may_be_in_any_script() {
    let found = World::tasks("  größe: {file_dep: [дом.txt], actions: ['cat дом.txt']}\n").task("größe");
    assert_eq!(&*found.file_dep[0].pattern, "дом.txt");
}

#[test]
fn a26_inputs_of_a_wrong_type() {
    let text = refused("  t: {actions: [echo], file_dep: [{a: b}]}\n");
    assert_eq!(text, "error: `file_dep` of task `t` is a map, expected text that is not empty\n  --> tasks.yaml:3:35");
}

#[test]
fn b08_f20_spellings_of_one_path() {
    let found = task("file_dep: [./a, b//c, d/../e, f/], targets: [./o, p/]");
    assert_eq!(found.file_dep.iter().map(|dep| &*dep.pattern).collect::<Vec<_>>(), ["a", "b/c", "e", "f"]);
    let targets: Vec<(String, bool)> =
        found.targets.iter().map(|target| (target.path.lossy(), target.directory)).collect();
    assert_eq!(targets, [("o".to_owned(), false), ("p".to_owned(), true)]);
}

#[test]
fn c10_checks_of_a_wrong_type() {
    assert!(
        refused("  t: {actions: [echo], uptodate: [[x]]}\n")
            .contains("`uptodate` of task `t` is a list, expected a check")
    );
}

#[test]
fn c14_config_in_another_order_is_equal() {
    let one = task("uptodate: [{config_changed: {a: 1, b: {c: 2, d: 3}}}]");
    let two = task("uptodate: [{config_changed: {b: {d: 3, c: 2}, a: 1}}]");
    assert_eq!(one.uptodate[0].value, two.uptodate[0].value);
    let other = task("uptodate: [{config_changed: {a: 1, b: {c: 3, d: 2}}}]");
    assert_ne!(one.uptodate[0].value, other.uptodate[0].value);
}

#[test]
fn c16_timeout_takes_seconds_or_a_duration() {
    let timeout = |text: &str| task(&format!("uptodate: [{{timeout: {text}}}]")).uptodate[0].value.clone();
    assert_eq!(timeout("90"), timeout("1m30s"));
    assert_eq!(timeout("'90'"), timeout("90"));
    assert!(
        refused("  t: {actions: [echo], uptodate: [{timeout: [1]}]}\n")
            .contains("`timeout` of task `t` is a list, expected seconds")
    );
}

#[test]
fn d07_n04_names_are_unique() {
    assert!(refused("  t: {actions: [echo]}\n  t: {actions: [echo]}\n").contains("key `t` is given twice"));
    assert!(
        refused("  g: {for_each: [a], actions: [echo]}\n  'g:a': {actions: [echo]}\n")
            .contains("task `g:a` is defined twice")
    );
    assert!(refused("  g: {for_each: [a, a], actions: [echo]}\n").contains("task `g:a` is defined twice"));
    assert!(
        refused("  g: {for_each: [{x: 1}], actions: [echo]}\n")
            .contains("is a map, expected text, or a map with `name`")
    );
}

#[test]
fn d10_a_group_may_be_empty() {
    assert_eq!(World::tasks("  g: {for_each: [], actions: [echo]}\n").task("g").members.len(), 0);
}

#[test]
fn d11_a_group_has_words_of_its_own() {
    let group = World::tasks("  g: {for_each: [], doc: 'About {{ item }}', tags: [slow], actions: [echo]}\n").task("g");
    assert_eq!((&*group.doc, &group.tags[..]), ("About <item>", &["slow".into()][..]));
}

#[test]
fn i14_names_that_a_command_line_could_not_mean() {
    assert!(refused("  a=b: {actions: [echo]}\n").starts_with("error: task name `a=b` holds `=`"));
    for command in super::COMMANDS {
        let text = refused(&format!("  {command}: {{actions: [echo]}}\n"));
        assert!(text.starts_with(&format!("error: task `{command}` has the name of a built-in command")), "{text}");
    }
}

#[test]
fn i15_private_names() {
    assert!(World::tasks("  _x: {actions: [echo]}\n").task("_x").is_private());
}

#[test]
fn i19_the_file_says_which_version_it_needs() {
    let file = |version: &str| {
        World::of(&format!("version: 1\nconfig: {{minversion: {version}}}\ntasks: {{t: {{actions: [echo]}}}}\n"))
    };
    assert_eq!(file("0.0.1").refused(), "");
    assert!(file("99.0.0").refused().starts_with("error: `tasks.yaml` needs version 99.0.0, but this is version "));
    assert!(file("soon").refused().contains("`minversion` of `config` is `soon`, expected a version such as `1.4.0`"));
}

#[test]
fn l11_the_doc_may_have_lines_before_its_first() {
    assert_eq!(task(r#"doc: "\n\n  First\nSecond\n""#).doc, "First\nSecond");
}

#[test]
fn n01_unknown_attributes() {
    assert_eq!(
        refused("  t: {actions: [echo], fiel_dep: [a]}\n"),
        "error: task `t` has unknown field `fiel_dep`\n  --> tasks.yaml:3:24\n  \
         help: a field with a similar name exists: `file_dep`"
    );
}

#[test]
fn n02_actions_missing() {
    assert!(refused("  t: {doc: x}\n").starts_with("error: task `t` has no `actions`, and no `task_dep`"));
    assert_eq!(World::tasks("  a: {actions: [echo]}\n  t: {task_dep: [a]}\n").refused(), "");
}

#[test]
fn n03_a_scalar_where_a_list_is_expected() {
    for field in [
        "file_dep",
        "targets",
        "task_dep",
        "result_dep",
        "setup",
        "calc_dep",
        "uptodate",
        "teardown",
        "params",
        "watch",
        "pass_env",
        "tags",
        "require",
    ] {
        let text = refused(&format!("  t: {{actions: [echo], {field}: x}}\n"));
        assert!(text.starts_with(&format!("error: `{field}` of task `t` is `x`, expected a list")), "{text}");
    }
}

#[test]
fn n05_actions_of_a_wrong_shape() {
    for (field, value) in [("actions", "[{a: 1, b: 2}]"), ("clean", "[[]]"), ("teardown", "[{timeout: 1}]")] {
        let head = if field == "actions" { "" } else { "actions: [echo], " };
        let text = refused(&format!("  t: {{{head}{field}: {value}}}\n"));
        assert!(text.contains("task `t`") && text.contains("tasks.yaml:3:"), "{text}");
    }
}

#[test]
fn n06_config_of_a_wrong_type() {
    let text =
        World::of("version: 1\nconfig: {jobs: many, verbosity: 9, default_tasks: t}\ntasks: {t: {actions: [echo]}}\n")
            .refused();
    assert_eq!(text.matches("error: ").count(), 3, "{text}");
}

#[test]
fn n07_params_without_name_or_with_an_unknown_field() {
    let text = refused("  t: {actions: [echo], params: [{type: int}, {name: x, typ: int}]}\n");
    assert!(text.contains("a param of task `t` has no `name`"), "{text}");
    assert!(text.contains("a param of task `t` has unknown field `typ`"), "{text}");
}

#[test]
fn v06_malformed_value_references() {
    assert!(
        refused("  t: {actions: [echo], getargs: {x: [a, b, c]}}\n")
            .contains("`getargs` of task `t` is a list, expected `TASK.KEY`")
    );
    assert!(refused("  t: {actions: [echo], getargs: [x]}\n").contains("expected a map of names to `TASK.KEY`"));
    let found = task("getargs: {x: base.a.b, y: base}");
    assert_eq!((&*found.getargs[0].task, found.getargs[0].key.as_deref()), ("base", Some("a.b")));
    assert_eq!(found.getargs[1].key, None);
}

#[test]
fn v06_a_task_name_may_have_dots() {
    let world =
        World::tasks("  py3.11: {actions: [echo]}\n  t: {actions: [echo], getargs: {x: py3.11, y: py3.11.out}}\n");
    let found = world.task("t");
    let keys: Vec<(&str, Option<&str>)> = found.getargs.iter().map(|arg| (&*arg.task, arg.key.as_deref())).collect();
    assert_eq!(keys, [("py3.11", None), ("py3.11", Some("out"))]);
    assert_eq!(found.clean, Clean::Targets);
}
