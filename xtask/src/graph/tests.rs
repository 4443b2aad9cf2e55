//! Tests of the graph as a whole: edges, errors, selection.

use super::*;
use crate::model::task::{At, FileDep, Target, TargetPolicy};

/// A task with only a name, for tests of every room.
pub(crate) fn task(name: &str) -> Task {
    let place = Place::new("tasks.yaml", 1, 1);
    let json = serde_json::json!({});
    Task {
        name: name.into(),
        place,
        group: None,
        members: Vec::new(),
        doc: String::new(),
        title: None,
        actions: Vec::new(),
        file_dep: Vec::new(),
        targets: Vec::new(),
        task_dep: Vec::new(),
        result_dep: Vec::new(),
        setup: Vec::new(),
        calc_dep: Vec::new(),
        getargs: Vec::new(),
        uptodate: Vec::new(),
        teardown: Vec::new(),
        teardown_best_effort: false,
        clean: Default::default(),
        params: Vec::new(),
        pos_arg: None,
        verbosity: None,
        watch: Vec::new(),
        watch_only: false,
        env: Default::default(),
        pass_env: Vec::new(),
        cwd: None,
        shell: None,
        timeout: None,
        retry: None,
        pool: None,
        mutex: None,
        condition: None,
        require: Vec::new(),
        interactive: false,
        delete_on_error: false,
        in_out: false,
        track_definition: true,
        restart: false,
        run: Default::default(),
        expand_after: None,
        tags: Vec::new(),
        meta: crate::model::task::serde_json_text::Json::new(&json),
    }
}

fn at(name: &str) -> At<Arc<str>> {
    At { value: name.into(), place: Place::new("tasks.yaml", 2, 3) }
}

fn target(path: &str) -> Target {
    let path = RepoPath::from_root(path).unwrap();
    Target {
        path,
        directory: false,
        policy: TargetPolicy::Auto,
        optional: false,
        place: Place::new("tasks.yaml", 3, 3),
    }
}

fn file(pattern: &str) -> FileDep {
    FileDep { pattern: pattern.into(), negated: false, place: Place::new("tasks.yaml", 4, 3) }
}

fn graph(tasks: Vec<Task>) -> Result<Graph, crate::model::Diagnostics> {
    let links = vec![Links::default(); tasks.len()];
    build(tasks.into_iter().map(Arc::new).collect(), links)
}

fn names(graph: &Graph, words: &[&str], single: bool) -> Vec<String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let selection = select(graph, &words, &RepoPath::root(), false).unwrap();
    closure(graph, &selection, single).into_iter().map(|id| graph.name(id).to_string()).collect()
}

#[test]
fn a_file_dep_on_a_target_is_an_edge_also_by_glob_and_directory() {
    for pattern in ["out/a.txt", "./out/a.txt", "out/*.txt", "out", "**/*.txt"] {
        let pattern = pattern.trim_start_matches("./");
        let make = Task { targets: vec![target("out/a.txt")], ..task("make") };
        let take = Task { file_dep: vec![file(pattern)], ..task("take") };
        let graph = graph(vec![take, make]).unwrap();
        assert_eq!(names(&graph, &["take"], false), ["make", "take"], "{pattern}");
        assert_eq!(names(&graph, &["out/a.txt"], false), ["make"]);
    }
}

#[test]
fn single_mode_drops_order_but_keeps_members() {
    let one = Task { task_dep: vec![at("two")], ..task("one") };
    let group = Task { task_dep: vec![at("one")], ..task("group") };
    let action = crate::model::task::Action {
        place: Place::file("x"),
        kind: crate::model::task::ActionKind::Shell("true".into()),
        step: Default::default(),
    };
    let one = Task { actions: vec![action], ..one };
    let graph = graph(vec![group, one, task("two")]).unwrap();
    assert_eq!(names(&graph, &["group"], false), ["two", "one", "group"]);
    assert_eq!(names(&graph, &["group"], true), ["one", "group"]);
}

#[test]
fn a_cycle_shows_its_whole_path() {
    let a = Task { task_dep: vec![at("b")], ..task("a") };
    let b = Task { task_dep: vec![at("c")], ..task("b") };
    let c = Task { file_dep: vec![file("x")], ..task("c") };
    let a = Task { targets: vec![target("x")], ..a };
    let error = graph(vec![a, b, c]).unwrap_err().to_string();
    assert!(error.contains("in a cycle: a -> b -> c -> a"), "{error}");
    assert!(error.contains("`c` lists `x` in file_dep, a target of `a`"), "{error}");
}

#[test]
fn every_unknown_name_is_reported_with_the_nearest() {
    let a = Task { task_dep: vec![at("buidl")], setup: vec![at("nothing-like-it")], ..task("build") };
    let error = graph(vec![a]).unwrap_err();
    assert_eq!(error.0.len(), 2);
    assert!(error.to_string().contains("a task with a similar name exists: `build`"), "{error}");
}

#[test]
fn one_target_has_one_task() {
    let a = Task { targets: vec![target("o")], ..task("a") };
    let b = Task { targets: vec![target("o")], ..task("b") };
    let error = graph(vec![a, b]).unwrap_err().to_string();
    assert!(error.starts_with("error: target `o` belongs to two tasks: `a` and `b`"), "{error}");
    let dir = Task { targets: vec![target("d")], ..task("dir") };
    let inside = Task { targets: vec![target("d/f")], ..task("inside") };
    assert!(graph(vec![dir, inside]).unwrap_err().to_string().contains("lies in target `d`"));
}

#[test]
fn resources_tie_tasks_together() {
    let links = |provides: &[&str], needs: &[&str]| Links {
        provides: provides.iter().map(|name| (*name).into()).collect(),
        needs: needs.iter().map(|name| Need { resource: (*name).into(), dirties: true }).collect(),
        ..Links::default()
    };
    let tasks = vec![Arc::new(task("child")), Arc::new(task("parent"))];
    let graph = build(tasks, vec![links(&["image:c"], &["image:p"]), links(&["image:p"], &[])]).unwrap();
    assert_eq!(names(&graph, &["child"], false), ["parent", "child"]);
}
