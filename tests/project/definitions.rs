//! What of a task's definition makes it run, and what is said of it: the opt-out, families of variables, names that differ
//! by case, params of printed members, the output of a teardown.

use crate::space::Space;

fn with(tasks: &str) -> Space {
    let space = Space::new();
    space.write("tasks.yaml", &format!("version: 1\ntasks:\n{tasks}"));
    space
}

fn ran(space: &Space, env: &[(&str, &str)]) -> Vec<String> {
    let words = ["run", "--reporter", "json", "t"].map(str::to_owned);
    let env: Vec<(String, String)> = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let ran = space.call(&words, "", &env);
    assert_eq!(ran.exit, 0, "{}", ran.err);
    ran.reasons("t")
}

#[test]
fn a_task_may_opt_out_of_its_definition() {
    let task = |action: &str, more: &str| format!("  t: {{ file_dep: [in], actions: [\"{action}\"]{more} }}\n");
    let space = with(&task("true", ""));
    space.write("in", "1");
    let define = |text: String| {
        space.write("tasks.yaml", &format!("version: 1\ntasks:\n{text}"));
        ran(&space, &[])
    };
    assert_eq!(define(task("true", "")), ["never_ran"]);
    assert_eq!(define(task("true 2", "")), ["definition_changed"]);
    let opt_out = ", track_definition: false";
    define(task("true 3", opt_out));
    assert!(define(task("true 4", opt_out)).is_empty());
    assert_eq!(define(task("true 4", ", track_definition: false, env: { A: b }")), ["env_changed"]);
    space.write("in", "2");
    assert_eq!(ran(&space, &[]), ["file_dep_changed"]);
}

#[test]
fn each_variable_of_a_passed_family_counts() {
    let space = with("  t: { file_dep: [in], pass_env: [\"MY_*\"], actions: [\"env\"] }\n");
    space.write("in", "1");
    ran(&space, &[("MY_A", "1")]);
    assert!(ran(&space, &[("MY_A", "1"), ("OTHER", "2")]).is_empty());
    assert_eq!(ran(&space, &[("MY_A", "2")]), ["env_changed"]);
    assert_eq!(ran(&space, &[("MY_A", "2"), ("MY_B", "")]), ["env_changed"]);
    assert_eq!(ran(&space, &[("MY_A", "2")]), ["env_changed"]);
}

#[test]
fn names_that_differ_only_by_case_are_told() {
    let space = with(
        "  t: { file_dep: [in/A, in/b], actions: [\"true\"] }\n  u: { file_dep: [in/a, in/b], actions: [\"true\"] }\n",
    );
    for name in ["in/A", "in/a", "in/b"] {
        space.write(name, "1");
    }
    let told = space.command(&["run", "t", "u"], "");
    assert_eq!(told.exit, 0, "{}", told.err);
    assert_eq!(told.err.matches("differ only by case").count(), 1, "{}", told.err);
    assert!(told.err.contains("`in/a` and `in/A`") && told.err.contains("tasks.yaml:3"), "{}", told.err);
}

#[test]
fn names_that_differ_only_by_how_letters_are_put_together_are_told() {
    let (one, two) = ("in/caf\u{e9}", "in/cafe\u{301}");
    let space = with(&format!(
        "  t: {{ file_dep: ['{one}'], actions: [\"true\"] }}\n  u: {{ file_dep: ['{two}'], actions: [\"true\"] }}\n"
    ));
    space.write(one, "1");
    space.write(two, "2");
    let told = space.command(&["run", "t", "u"], "");
    assert_eq!(told.exit, 0, "on this disk they are two files: {}", told.err);
    let wanted = format!("`{two}` and `{one}` differ only by how letters are put together");
    assert_eq!(told.err.matches(&wanted).count(), 1, "{}", told.err);
}

#[test]
fn members_that_a_task_prints_have_params() {
    let tasks =
        "  p: { actions: [\"cat members\"] }\n  g: { expand_after: p, params: [{ name: word, default: none }] }\n";
    let space = with(tasks);
    let member = r#"{"a": {"params": [{"name": "word", "default": "own"}, {"name": "more", "default": "x"}], "actions": ["echo {{ word }} {{ more }} > out"]}}"#;
    space.write("members", member);
    assert_eq!(space.command(&["run", "g"], "").exit, 0);
    assert_eq!(std::fs::read_to_string(space.path("out")).unwrap(), "own x\n");
    let told = space.command(&["run", "g", "--word", "given"], "");
    assert_eq!((told.exit, &*std::fs::read_to_string(space.path("out")).unwrap()), (0, "given x\n"), "{}", told.err);
    let required = member.replace("\"default\": \"x\"", "\"required\": true");
    space.write("members", &required);
    let told = space.command(&["run", "g"], "");
    assert!(told.exit != 0 && told.err.contains("more"), "{}", told.err);
}

#[test]
fn a_failing_teardown_shows_what_it_wrote() {
    let space = with("  t: { actions: [\"echo begun\"], teardown: [\"echo the disk is full; exit 1\"] }\n");
    let told = space.command(&["run", "--reporter", "plain", "t"], "");
    assert_eq!(told.exit, 1);
    assert!(told.err.contains("teardown of task `t`") && told.err.contains("the disk is full"), "{}", told.err);
    let log = std::fs::read_to_string(space.path(".xtask/logs/t.log")).expect("a log");
    assert_eq!(log, "begun\nthe disk is full\n");
    // What an earlier run has left is not continued.
    space.write(
        "tasks.yaml",
        "version: 1\ntasks:\n  t: { actions: [\"true\"], teardown: [\"echo over\"], clean: [\"echo bad; exit 1\"] }\n",
    );
    for _ in 0..2 {
        space.command(&["run", "t"], "");
        assert_eq!(std::fs::read_to_string(space.path(".xtask/logs/t.log")).expect("a log"), "over\n");
    }
    let told = space.command(&["clean", "t"], "");
    assert_eq!(
        (told.exit, told.out.matches("bad\n").count(), told.err.matches("bad").count()),
        (1, 1, 0),
        "{}",
        told.err
    );
    assert_eq!(std::fs::read_to_string(space.path(".xtask/logs/t.log")).expect("a log"), "over\n");
}

#[test]
fn a_secret_param_is_hidden_in_whatever_variable_it_is_passed() {
    let space = with(
        "  t: { params: [{ name: token, env: TOKEN, secret: true }], pass_env: [TOKEN], env: { MORE: \"Bearer {{ token }}\" }, actions: [\"env\"] }\n",
    );
    let words = ["run", "--reporter", "json", "t"].map(str::to_owned);
    let told = space.call(&words, "", &[("TOKEN".into(), "hunter2-hunter2".into())]);
    assert_eq!(told.exit, 0, "{}", told.err);
    assert!(told.out.contains("Bearer ***") && told.out.contains("TOKEN=***"), "{}", told.out);
    let log = std::fs::read_to_string(space.path(".xtask/logs/t.log")).unwrap();
    assert!(!format!("{}{}{log}", told.out, told.err).contains("hunter2"), "{log}");
}

/// What is accepted and what is shown is what a run would take: params count with their values.
#[test]
fn accept_and_status_know_the_values_of_params() {
    let style = "params: [{ name: style, default: x }], file_dep: [in], actions: [\"echo {{ style }}\"]";
    let space = with(&format!(
        "  t: {{ {style} }}\n  g: {{ for_each: [a, b], {style} }}\n  v: {{ params: [{{ name: version, required: \
         true }}], actions: [\"echo {{{{ version }}}}\"] }}\n"
    ));
    space.write("in", "1");
    let is_current = |words: &[&str]| space.command(&[&["--frozen"], words].concat(), "").exit == 0;
    let ran = space.command(&["accept"], "");
    assert!(ran.exit == 0 && ran.out.contains("left out  v   "), "{} {}", ran.out, ran.err);
    assert!(is_current(&["t", "g"]) && !is_current(&["t", "--style", "y"]));
    let status = space.command(&["list", "--all", "--status"], "").out;
    assert!(["U t", "U g:a", "U g:b"].iter().all(|line| status.contains(line)), "{status}");
    let graph = space.command(&["graph", "--status", "--format", "json", "t"], "").out;
    assert!(graph.contains("\"status\": \"up-to-date\""), "{graph}");
    let ran = space.command(&["accept", "t", "--style", "y", "g", "--style=z"], "");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert!(is_current(&["t", "--style", "y"]) && is_current(&["g", "--style", "z"]) && !is_current(&["t"]));
    let ran = space.command(&["accept", "t", "--stile", "y"], "");
    assert!(ran.exit == 3 && ran.err.contains("`--style`"), "{}", ran.err);
    let ran = space.command(&["accept", "v"], "");
    assert!(ran.exit == 3 && ran.err.contains("version"), "{}", ran.err);
}

#[test]
fn actions_of_clean_are_run_like_those_of_the_task() {
    let space = with(
        "  t:\n    cwd: sub\n    env: { A: b }\n    params: [{ name: style, default: x }]\n    targets: [sub/site/]\n    \
         actions: [mkdir site]\n    clean:\n      - remove: [sub/site]\n      - \"echo $A {{ style }} > here\"\n      \
         - { cmd: \"pwd; exit 3\", cwd: sub, ignore_error: true }\n      - [echo, \"{{ targets }}\"]\n",
    );
    space.write("sub/.keep", "");
    assert_eq!(space.command(&["t"], "").exit, 0);
    let ran = space.command(&["clean", "t"], "");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert!(!space.path("sub/site").exists());
    assert_eq!(std::fs::read_to_string(space.path("sub/here")).expect("written"), "b x\n");
    assert!(ran.out.contains("removed sub/site") && ran.out.contains("\nsub/site\n"), "{}", ran.out);
}

/// A service that a setup task starts runs until its teardown, unless it holds the output of the task.
#[test]
fn a_background_process_runs_until_the_teardown() {
    let tasks = |output: &str| {
        format!(
            "  svc:\n    actions: [\"sleep 100 {output} & echo $! > pid\"]\n    teardown: [\"kill $(cat pid)\"]\n  t: {{ \
             setup: [svc], actions: [\"kill -0 $(cat pid)\"] }}\n"
        )
    };
    let ran = with(&tasks("> log 2>&1")).command(&["t"], "");
    assert!(ran.exit == 0 && !ran.err.contains("left processes"), "{}", ran.err);
    let ran = with(&tasks("")).command(&["t"], "");
    assert!(ran.exit == 1 && ran.err.contains("they may run until the teardown"), "{}", ran.err);
}
