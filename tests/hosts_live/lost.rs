//! An engine that goes away in the middle of a build, or has no room left: rows K1 and K15.

use std::process::Stdio;
use std::time::Duration;

use super::program::{Run, end_of, processes_with, wait_for};
use super::space::Space;
use crate::support::spare::Spare;

/// A space on an engine of its own, whose image `side` ends with a step of two seconds.
fn lab(name: &str, engine: &Spare) -> Space {
    let mut space = Space::new(name);
    space.env.insert("DOCKER_HOST".to_owned(), engine.url());
    space.replace("images/spec.yml", "/side, ", "/side, network: none, ");
    let step = format!("RUN [\"/tool\", \"say\", \"{}\", \",\", \"sleep\", \"2\"]", mark(&space));
    space.dockerfile("side", "base", &format!("COPY note.txt /note/side.txt\n{step}"));
    space
}

/// What the process of the step is known by, on this machine too.
fn mark(space: &Space) -> String {
    format!("mark-of-{}", space.prefix)
}

fn id(engine: &Spare, name: &str) -> String {
    engine.says(&["image", "inspect", "--format={{.Id}}", name])
}

/// Builds `side`, and has `fate` happen to the engine while its step runs.
fn while_it_builds(space: &Space, fate: impl FnOnce()) -> Run {
    let command = space.command(&["build:side", "--reporter", "json"]);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| end_of(command));
        wait_for("the step runs", || !processes_with(&mark(space)).is_empty());
        fate();
        run.join().expect("a run")
    })
}

#[test]
fn k1_a_build_whose_engine_is_killed_is_finished_when_it_is_back_and_not_noted_before() {
    let mut engine = Spare::start();
    let space = lab("k1", &engine);
    space.run(&["build:base"]).fine();
    for round in 0..2 {
        space.append("images/side/note.txt", &format!("round {round}"));
        let run = while_it_builds(&space, || engine.restart()).fine();
        let log = space.read("logs/side.build.log");
        assert!(log.contains("the engine was lost: "), "{log}");
        assert!(log.contains("the engine answers; the build is asked for again (1 of 2)"), "{log}");
        assert!(run.built("side"));
        assert!(!id(&engine, &space.name("side")).is_empty());
        assert_eq!(space.run(&["build:side"]).fine().started(), [""; 0]);
    }

    space.append("images/side/note.txt", "a last one");
    let run = while_it_builds(&space, || engine.kill());
    assert_eq!(run.code, 2, "a fault of the surroundings, not of the image: {}\n{}", run.stdout, run.stderr);
    let problem = run.problem("build:side");
    assert!(problem.contains("the connection to the engine ended") || problem.contains("does not answer"), "{problem}");
    assert!(run.time < Duration::from_mins(1), "{:?}", run.time);
    engine.restart();
    let again = space.run(&["build:side"]).fine();
    assert!(again.built("side"), "nothing says that it was built before: {}", again.stdout);
    assert_eq!(space.run(&["build:side"]).fine().started(), [""; 0]);
}

#[test]
fn k15_an_engine_without_room_is_told_with_what_makes_room_and_not_asked_again() {
    let engine = Spare::start_with("48m");
    let space = lab("k15", &engine);
    space.run(&["build:base"]).fine();
    let mut noise = std::process::Command::new("head");
    noise.args(["-c", "60M", "/dev/urandom"]).stdout(std::fs::File::create(space.path("images/side/big")).unwrap());
    assert!(noise.stderr(Stdio::null()).status().unwrap().success());
    space.dockerfile("side", "base", "COPY big /big");
    let run = space.run(&["build:side"]);
    assert_eq!(run.code, 2, "{}\n{}", run.stdout, run.stderr);
    let problem = run.problem("build:side");
    assert!(problem.contains("the disk of the engine is full"), "{problem}");
    assert!(!space.read("logs/side.build.log").contains("asked for again"));
    let said = space.say(&["build:side"]).stderr;
    assert!(said.contains("docker system df"), "{said}");
}
