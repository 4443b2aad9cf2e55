//! A run that is ended in the middle of a build: row 7. Knows processes and containers by a mark in their words.

use rustix::process::Signal;

use super::program::{Running, processes_with, wait_for};
use super::space::{IMAGES, Space, docker};

/// A stack whose image `side` has a step that sleeps so long, under a mark that no other process has.
pub fn sleeper(name: &str, builder: &str, seconds: &str) -> (Space, String) {
    let space = Space::new(&format!("{name}-{builder}"));
    let mark = format!("mark-of-{}", space.prefix);
    let line =
        format!("COPY note.txt /note/side.txt\nRUN [\"/tool\", \"say\", \"{mark}\", \",\", \"sleep\", \"{seconds}\"]");
    space.dockerfile("side", "base", &line);
    let action = "image_build: { image: \"{{ image.name }}\"";
    space.replace("tasks.yaml", action, &format!("{action}, builder: {builder}"));
    (space, mark)
}

pub fn containers(mark: &str) -> Vec<String> {
    let all = docker(&["ps", "--all", "--no-trunc", "--format={{.ID}} {{.Command}}"]);
    all.lines().filter(|line| line.contains(mark)).map(str::to_owned).collect()
}

/// The program in the middle of that step.
pub fn in_the_step(space: &Space, mark: &str) -> Running {
    let running = Running::start(space.command(&["build:side", "--reporter", "json"]));
    wait_for("the step runs", || !processes_with(mark).is_empty());
    running
}

fn interrupted_with(builder: &str) {
    let (space, mark) = sleeper("sigint", builder, "300");
    let running = in_the_step(&space, &mark);
    running.signal(Signal::INT);
    assert_eq!(running.end(), 130);
    assert_eq!(processes_with(&space.root().to_string_lossy()), [""; 0], "no child is left");
    wait_for("the step is gone", || processes_with(&mark).is_empty());
    // The engine removes it in its own time.
    wait_for("its container is gone", || containers(&mark).is_empty());
    // The next run finishes the job, and says why.
    space.replace("images/side/Dockerfile.j2", "\"300\"", "\"0\"");
    let run = space.run(&["build:side"]).fine();
    assert!(run.built("side"));
    assert!(space.cat("side", "/note/side.txt").starts_with("note of side"));
    assert_eq!(space.run(&["build:side"]).fine().started(), [""; 0]);
}

#[test]
fn sigint_leaves_nothing_of_a_buildkit_build() {
    interrupted_with("buildkit");
}

#[test]
fn sigint_leaves_nothing_of_a_classic_build() {
    interrupted_with("classic");
}

#[test]
fn after_sigkill_the_next_run_finishes_the_job() {
    let (space, mark) = sleeper("sigkill", "buildkit", "3");
    let running = in_the_step(&space, &mark);
    running.signal(Signal::KILL);
    assert_eq!(running.end(), 128 + 9);
    let run = space.run(&["build:side"]).fine();
    assert_eq!(run.started(), ["build:side"], "what was done before is not done again");
    assert!(space.cat("side", "/note/side.txt").starts_with("note of side"));
    assert_eq!(space.run(&["build:side"]).fine().started(), [""; 0]);
    wait_for("the step is gone", || processes_with(&mark).is_empty());
}

#[test]
fn sigint_in_a_test_of_an_image_ends_pytest() {
    let space = Space::new("sigint-test");
    space.run(&["build:base"]).fine();
    space.write("images/base/test/test_base.py", "import time\n\n\ndef test_base():\n    time.sleep(300)\n");
    let report = space.path("artifacts/base").to_string_lossy().into_owned();
    let running = Running::start(space.command(&["test:base", "--reporter", "json"]));
    wait_for("pytest runs", || !processes_with(&report).is_empty());
    running.signal(Signal::INT);
    assert_eq!(running.end(), 130);
    assert_eq!(processes_with(&report), [""; 0]);
    space.write("images/base/test/test_base.py", "def test_base():\n    pass\n");
    let run = space.run(&["test:base"]).fine();
    assert_eq!(run.started(), ["test:base"]);
}

#[test]
fn killed_again_and_again_the_last_run_is_right() {
    let space = Space::new("killed");
    for (round, millis) in [0_u64, 60, 200, 500, 900, 1400, 2000].into_iter().enumerate() {
        space.append("images/base/note.txt", &format!("line {round}"));
        space.append("images/leaf/note.txt", &format!("line {round}"));
        let running = Running::start(space.command(&["build-stack", "--reporter", "json"]));
        std::thread::sleep(std::time::Duration::from_millis(millis));
        // It has ended by itself where the machine is fast.
        running.signal(Signal::KILL);
        running.end();
    }
    space.build();
    for image in IMAGES {
        assert_eq!(space.cat(image, "/note/base.txt"), space.read("images/base/note.txt").trim_end(), "{image}");
        assert_eq!(space.layers(image)[..2], space.layers("base")[..], "{image}");
    }
    assert_eq!(space.cat("leaf", "/note/leaf.txt"), space.read("images/leaf/note.txt").trim_end());
    assert_eq!(space.build().started(), [""; 0]);
    wait_for("nothing runs any more", || processes_with(&space.root().to_string_lossy()).is_empty());
}

#[test]
fn two_runs_at_once_do_the_work_once() {
    let space = Space::new("two");
    let runs: Vec<_> = std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| space.run(&["build:side"]).fine()));
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let built = |image: &str| runs.iter().filter(|run| run.built(image)).count();
    assert_eq!((built("base"), built("side")), (1, 1));
    assert!(runs.iter().any(|run| run.stderr.starts_with("waiting for process ")), "the other one says that it waits");
    assert!(space.cat("side", "/note/base.txt").starts_with("note of base"));
}
