//! The value of a build's secret is nowhere but in the step that was given it: row 10. Knows the places where it could be.

use std::path::Path;
use std::process::Command;

use super::space::{Space, docker};

/// Two values that nothing else contains.
const FROM_ENV: &str = "canary-9f31c0d7-from-the-environment";
const FROM_FILE: &str = "canary-52be8a16-from-a-file";

/// Files below a folder that contain one of the canaries.
fn tainted(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tainted(&path, found);
        } else if has_canary(&std::fs::read(&path).expect("a file")) {
            found.push(path.to_string_lossy().into_owned());
        }
    }
}

fn has_canary(bytes: &[u8]) -> bool {
    // What both values begin with, so that a part of one is found, too.
    let canaries = ["canary-9f31c0d7", "canary-52be8a16"];
    canaries.iter().any(|canary| bytes.windows(canary.len()).any(|window| window == canary.as_bytes()))
}

/// A stack with an image whose step is given both, and does with them what `words` say.
fn space(name: &str, builder: &str, words: &str, file: &Path) -> Space {
    let mut space = Space::new(name);
    std::fs::write(file, format!("{FROM_FILE}\n")).expect("the secret file");
    space.env.insert("CANARY".to_owned(), FROM_ENV.to_owned());
    let secrets = format!("{{ token: {{ env: CANARY }}, netrc: {{ file: {} }} }}", file.display());
    let action = "image_build: { image: \"{{ image.name }}\"";
    space.replace("tasks.yaml", action, &format!("{action}, builder: {builder}, secrets: {secrets}"));
    let mounts = "--mount=type=secret,id=token,required=true --mount=type=secret,id=netrc,required=true";
    space.dockerfile("side", "base", &format!("COPY note.txt /note/side.txt\nRUN {mounts} [\"/tool\", {words}]"));
    space
}

#[test]
fn a_secret_is_in_no_log_no_state_no_label_and_no_layer_even_if_its_step_prints_it() {
    let dir = tempfile::tempdir().unwrap();
    let words = r#""cat", "/run/secrets/token", ",", "say", "|", ",", "cat", "/run/secrets/netrc""#;
    let space = space("canary", "buildkit", words, &dir.path().join("netrc"));
    let run = space.run(&["build:side", "test:side", "--verbosity", "2"]).fine();
    assert!(run.built("side"));
    assert!(!has_canary(run.stdout.as_bytes()) && !has_canary(run.stderr.as_bytes()), "{}", run.stdout);
    let log = space.read("logs/side.build.log");
    assert!(log.contains("***"), "the step was given both and printed them: {log}");
    let again = space.say(&["build:side", "--always", "--verbosity", "2"]).fine();
    assert!(!has_canary(again.stdout.as_bytes()) && !has_canary(again.stderr.as_bytes()));
    let explained = space.say(&["explain", "build:side"]);
    assert!(!has_canary(explained.stdout.as_bytes()) && !has_canary(explained.stderr.as_bytes()));

    let mut found = Vec::new();
    tainted(space.root(), &mut found);
    assert_eq!(found, [""; 0], "files with a secret");

    let name = space.name("side");
    let archive = Command::new("docker").args(["save", &name]).output().unwrap().stdout;
    assert!(archive.len() > 100_000 && !has_canary(&archive), "its layers");
    // The search finds what is there: the note is in a layer.
    assert!(String::from_utf8_lossy(&archive).contains("note of side"));
    let history = docker(&["history", "--no-trunc", &name]);
    assert!(history.contains("--mount=type=secret") || history.contains("/tool"), "{history}");
    assert!(!has_canary(history.as_bytes()));
    assert!(!has_canary(docker(&["image", "inspect", &name]).as_bytes()), "its labels and settings");
}

#[test]
fn a_secret_is_not_in_the_message_of_a_step_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let words = r#""cat", "/run/secrets/token", ",", "say", "|", ",", "exit", "3""#;
    let space = space("canary-fails", "buildkit", words, &dir.path().join("netrc"));
    let run = space.run(&["build:side"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    assert!(run.problem("build:side").ends_with("ended with exit code 3"), "{}", run.problem("build:side"));
    assert!(!has_canary(run.stdout.as_bytes()), "{}", run.stdout);
    let people = space.say(&["build:side"]);
    assert!(people.stderr.contains("***"), "the end of its output is shown: {}", people.stderr);
    assert!(!has_canary(people.stdout.as_bytes()) && !has_canary(people.stderr.as_bytes()), "{}", people.stderr);
    let mut found = Vec::new();
    tainted(space.root(), &mut found);
    assert_eq!(found, [""; 0]);
}
