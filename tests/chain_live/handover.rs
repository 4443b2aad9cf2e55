//! What the jobs of `ci-plan` do to each other, with a registry between them: the commands of the plan, as printed.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use xtask::registry::testing::RealRegistry;

use super::space::{Space, docker};

/// Runs a command of the plan as its job does; what it prints.
fn step(space: &Space, registry: &RealRegistry, command: &str, stdin: &str) -> String {
    let mut shell = Command::new("sh")
        .args(["-euc", command])
        .current_dir(space.root())
        .env("HANDOVER", format!("{}/ci", registry.host()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    shell.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("written");
    let output = shell.wait_with_output().expect("an end");
    assert!(output.status.success(), "`{command}` failed");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_job_takes_its_parents_by_digest_from_the_jobs_before() {
    let registry = RealRegistry::start().expect("a registry");
    let space = Space::new("handover");
    let plan = space.say(&["ci-plan", "--format", "json", "--all"]).stdout;
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let jobs = plan["jobs"].as_array().expect("jobs");
    let job = |image: &str| jobs.iter().find(|job| job["image"] == image).expect("a job");
    let text = |image: &str, part: &str| job(image)[part].as_str().expect("a command").to_owned();
    assert_eq!(job("leaf")["needs"], serde_json::json!(["base", "mid"]));
    // The first job.
    space.run(&["build:base"]).fine();
    let id = space.id("base");
    let handed = step(&space, &registry, &text("base", "hand_on"), "");
    let reference = handed.split(' ').next().expect("a reference");
    assert!(reference.starts_with(&format!("{}/ci/{}/base@sha256:", registry.host(), space.prefix)), "{handed}");
    // The machine of the second has nothing.
    docker(&["rmi", "--force", &id]);
    assert_eq!(space.id("base"), "");
    step(&space, &registry, &text("mid", "fetch"), &handed);
    let second = space.run(&["build:mid"]).fine();
    assert!(!second.built("base") && second.built("mid"), "{}", second.stdout);
    assert_eq!(space.id("base"), id, "the very image that was handed on");
    assert!(text("mid", "build").ends_with("test:mid"));
    docker(&["rmi", "--force", reference]);
}
