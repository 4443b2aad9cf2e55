//! `graph`, `--timings`, `history` and `hosts` on a small project. Knows nothing of engines: none is needed.

use std::path::Path;

use crate::exec::environment::Variables;
use crate::world::World;

const TASKS: &str = "version: 1
hosts:
  gone: { docker: \"unix:///nowhere/docker.sock\", slots: 2 }
tasks:
  all: { task_dep: [two] }
  two:
    doc: Copy it
    file_dep: [one.txt]
    targets: [two.txt]
    actions: [\"cp one.txt two.txt\"]
  one:
    file_dep: [zero.txt]
    targets: [one.txt]
    actions: [\"cp zero.txt one.txt\"]
  shaky:
    file_dep: [zero.txt]
    targets: [shaky.txt]
    actions: [\"test -e good && touch shaky.txt\"]
";

fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tasks.yaml"), TASKS).unwrap();
    std::fs::write(dir.path().join("zero.txt"), "0").unwrap();
    dir
}

/// Exit code, stdout, stderr of one command line.
fn call(dir: &Path, line: &str) -> (u8, String, String) {
    let env: Variables =
        [("PATH".into(), std::env::var_os("PATH").unwrap()), ("HOME".into(), dir.as_os_str().to_owned())].into();
    let (world, captured) = World::captured(dir.to_owned(), env);
    let exit = crate::run(line.split_whitespace(), &world);
    (exit, captured.out(), captured.err())
}

#[test]
fn the_graph_has_what_the_named_tasks_need() {
    let dir = project();
    let (exit, out, err) = call(dir.path(), "graph two");
    assert_eq!((exit, err.as_str()), (0, ""));
    assert!(out.contains("two") && out.contains("one") && !out.contains("all"), "{out}");
    let (_, out, _) = call(dir.path(), "graph --format json --status");
    let whole: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(whole.to_string().contains("file_dep one.txt"), "{out}");
    assert!(whole.to_string().contains("\"run\""), "{out}");
    for (format, start) in [("dot", "digraph"), ("mermaid", "flowchart"), ("svg", "<svg"), ("html", "<!doctype html")] {
        let (exit, out, _) = call(dir.path(), &format!("graph all --format {format}"));
        assert_eq!(exit, 0);
        assert!(out.to_lowercase().contains(start), "{format}: {out}");
    }
    assert_eq!(call(dir.path(), "graph nothing").0, 3);
    assert!(!dir.path().join(".xtask").exists(), "graph wrote something");
}

#[test]
fn timings_are_a_page_and_a_trace() {
    let dir = project();
    let (exit, _, err) = call(dir.path(), "--timings all");
    assert_eq!(exit, 0, "{err}");
    assert!(err.contains("note: timings are in") && err.contains(".xtask/timings.html"), "{err}");
    let page = std::fs::read_to_string(dir.path().join(".xtask/timings.html")).unwrap();
    assert!(page.contains("two") && page.contains("never ran"), "{page}");
    let (exit, _, err) = call(dir.path(), "run -a all --timings=out/t.html");
    assert_eq!(exit, 0, "{err}");
    let trace = std::fs::read_to_string(dir.path().join("out/t.html.trace.json")).unwrap();
    let trace: serde_json::Value = serde_json::from_str(&trace).unwrap();
    assert!(trace.to_string().contains("\"two\""), "{trace}");
    assert_eq!(call(dir.path(), "all --dry-run --timings").0, 3);
}

#[test]
fn history_shows_runs_one_run_and_two_runs() {
    let dir = project();
    assert_eq!(call(dir.path(), "all").0, 0);
    assert_eq!(call(dir.path(), "shaky").0, 1);
    std::fs::write(dir.path().join("good"), "").unwrap();
    assert_eq!(call(dir.path(), "shaky").0, 0);
    let (exit, out, _) = call(dir.path(), "history");
    assert_eq!(exit, 0);
    assert!(out.contains("command") && out.contains("shaky"), "{out}");
    let (_, out, _) = call(dir.path(), "history 1");
    assert!(out.contains("two") && out.contains("never ran"), "{out}");
    let (_, out, _) = call(dir.path(), "history --compare 2 3");
    assert!(out.contains("shaky") && out.contains("failed"), "{out}");
    let (_, out, _) = call(dir.path(), "history --compare 2 3 --json");
    assert!(out.contains("\"old\":{\"outcome\":\"failed\""), "{out}");
    let (_, out, _) = call(dir.path(), "history --json --limit 1");
    assert!(out.starts_with("{\"run\":3,") && out.lines().count() == 1, "{out}");
    let (exit, _, err) = call(dir.path(), "history 99");
    assert_eq!(exit, 3);
    assert!(err.contains("run `99` is not remembered"), "{err}");
    let (_, out, _) = call(dir.path(), "explain --last shaky");
    assert!(out.contains("its last run failed") || out.contains("never ran"), "{out}");
}

#[test]
fn hosts_that_are_gone_are_shown_as_such() {
    let dir = project();
    let (exit, out, err) = call(dir.path(), "hosts");
    assert_eq!(exit, 0, "{err}");
    let line = out.lines().find(|line| line.contains("gone")).unwrap();
    assert!(line.contains("tasks.yaml") && line.contains("not reachable"), "{out}");
    let (_, out, _) = call(dir.path(), "hosts --json");
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(list[0]["name"], "gone");
    assert_eq!(list[0]["slots"], 2);
    assert_eq!(list[0]["reachable"], false);
    assert_eq!(list[1]["name"], "default");
    assert_eq!(list[1]["chosen"], true);
}
