//! Tasks with `restart: true`: ended with their whole process group and started again when their inputs are others.

use std::process::Command;
use std::time::{Duration, Instant};

use super::space::{PATIENCE, Space, Start, Watch};

/// A service that has a child of its own which does not listen to polite signals, and a task beside it.
const TASKS: &str = r#"
version: 1
config: { grace: 1s }
tasks:
  build: { file_dep: [src], targets: [out/built], actions: ["cp src out/built"] }
  serve:
    restart: true
    file_dep: [config, out/built]
    actions: ["echo serves $(cat config out/built); sh -c 'trap \"\" TERM INT; sleep SECONDS' & sleep SECONDS"]
  other: { file_dep: [other], actions: [[cat, other]] }
"#;

fn space(seconds: &str) -> Space {
    let space = Space::new(&TASKS.replace("SECONDS", seconds));
    for (path, content) in [("src", "built\n"), ("config", "one\n"), ("other", "1")] {
        space.write(path, content);
    }
    std::fs::create_dir(space.path("out")).unwrap();
    space
}

/// The numbers of all sleepers.
fn sleeping(seconds: &str) -> Vec<String> {
    let found = Command::new("pgrep").args(["-f", "-x", &format!("sleep {seconds}")]).output().expect("pgrep");
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

/// How many sleepers there are.
fn sleepers(seconds: &str) -> usize {
    sleeping(seconds).len()
}

#[track_caller]
fn wait_for_sleepers(seconds: &str, count: usize) {
    let end = Instant::now() + PATIENCE;
    while sleepers(seconds) != count {
        assert!(Instant::now() < end, "{} sleepers", sleepers(seconds));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The words of the service once it serves; a round that makes way for others may end before.
#[track_caller]
fn serves(watch: &Watch) -> String {
    loop {
        let served = |start: &&Start| start.task == "serve" && !start.lines.is_empty();
        let round = watch.until(|round| round.starts.iter().any(|start| served(&start)));
        if let Some(start) = round.starts.iter().find(served) {
            return start.lines.concat();
        }
    }
}

#[test]
fn a_service_starts_again_when_its_inputs_change_and_only_then() {
    let seconds = format!("7{:05}.25", std::process::id() % 100_000);
    let space = space(&seconds);
    let watch = space.watch(&["serve", "other"]);
    assert_eq!(serves(&watch), "serves one built");
    wait_for_sleepers(&seconds, 2);
    // The content decides: a touch is none, nor is a file that nobody reads.
    watch.settle(Duration::from_millis(500));
    space.write("config", "one\n");
    space.write("elsewhere", "1");
    assert_eq!(watch.settle(Duration::from_millis(500)).started(), [""; 0]);
    space.write("config", "two\n");
    assert_eq!(serves(&watch), "serves two built");
    wait_for_sleepers(&seconds, 2);
    // What it needs is built first, by the next round; then it serves that.
    space.write("src", "rebuilt\n");
    assert_eq!(serves(&watch), "serves two rebuilt");
    wait_for_sleepers(&seconds, 2);
    // Somebody else's change has its turn, and the service does not notice.
    let before = sleeping(&seconds);
    space.write("other", "2");
    let ran = ("other".into(), "ran".into());
    let mut started = Vec::new();
    while !started.iter().any(|task| task == "other") {
        let round = watch.until(|round| round.finished.contains(&ran));
        started.extend(round.starts.into_iter().map(|start| start.task));
    }
    assert_eq!(started, ["other"]);
    assert_eq!(sleeping(&seconds), before, "the service went on");
    // The same for what it needs, if that comes to the same.
    space.write("src", "rebuilt\n");
    assert_eq!(watch.settle(Duration::from_millis(500)).started(), [""; 0]);
    assert_eq!(sleeping(&seconds), before);
    // New tasks are another matter: they are read while it serves.
    let tasks = TASKS.replace("SECONDS", &seconds);
    space.write("tasks.yaml", &tasks.replace("[[cat, other]]", "[[cat, other, src]]"));
    while !watch.until(|round| round.finished.contains(&ran)).finished.contains(&ran) {}
    wait_for_sleepers(&seconds, 2);
    watch.interrupt();
    wait_for_sleepers(&seconds, 0);
}

/// What runs beside a service has an end, although the run has none.
#[test]
fn the_end_of_what_runs_beside_a_service_is_told() {
    let seconds = format!("8{:05}.25", std::process::id() % 100_000);
    let space = space(&seconds);
    space
        .write("tasks.yaml", &TASKS.replace("SECONDS", &seconds).replace("[[cat, other]]", "[\"grep -q good other\"]"));
    let watch =
        space.watch(&["serve", "other", "--on-success", "echo good >> story", "--on-failure", "echo bad >> story"]);
    let next = || loop {
        let event = watch.events.recv_timeout(PATIENCE).expect("an event");
        if event["event"] == "watch_serving" {
            let counts = &event["counts"];
            let number = |value: &serde_json::Value| value.as_u64().expect("a number");
            return [&event["exit"], &event["bad"], &counts["ran"], &counts["failed"], &counts["up-to-date"]]
                .map(number);
        }
    };
    assert_eq!(next(), [1, 1, 1, 1, 0], "`build` ran, `other` failed");
    space.replace("other", "good");
    assert_eq!(next(), [0, 0, 1, 0, 0]);
    // Nothing runs, so nobody is called.
    space.replace("other", "good");
    assert_eq!(next(), [0, 0, 0, 0, 1]);
    assert_eq!(std::fs::read_to_string(space.path("story")).unwrap(), "bad\ngood\n");
    watch.interrupt();
    wait_for_sleepers(&seconds, 0);
}

/// Without it a change waits for the end of the run.
#[test]
fn other_tasks_are_let_to_their_end() {
    let space =
        Space::new("version: 1\ntasks: { slow: { file_dep: [in], actions: [\"cat in; sleep 0.4; echo end\"] } }\n");
    space.write("in", "one\n");
    let watch = space.watch(&["slow"]);
    watch.until(|round| round.starts.iter().any(|start| !start.lines.is_empty()));
    space.write("in", "two\n");
    let rest = watch.until(|round| !round.finished.is_empty());
    assert_eq!(rest.finished, [("slow".into(), "ran".into())]);
    let mut lines = Vec::new();
    while lines.is_empty() {
        lines = watch.round().starts.into_iter().flat_map(|start| start.lines).collect();
    }
    assert_eq!(lines, ["two", "end"]);
}
