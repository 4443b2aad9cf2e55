//! The library embedded in another repository: an action and a check written in Rust, used from its tasks.yaml.

use std::path::Path;
use std::process::Command;

use crate::space::Space;

/// The example is the documentation; it is compiled and run here.
#[test]
fn an_embedding_repository_uses_its_own_actions() {
    let space = Space::new();
    space.write(
        "tasks.yaml",
        "version: 1\ntasks:\n  greet:\n    file_dep: [name]\n    targets: [greeting]\n    actions:\n      - greet: { who: name, to: greeting }\n",
    );
    space.write("name", "world");
    let example = space.path(".program");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/embed/main.rs");
    crate::cargo::compile(&source, "2024", &example);
    let run = || {
        let output = Command::new(&example).args(["greet", "--reporter", "json"]).current_dir(space.root()).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", example.display()));
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, events) = run();
    assert_eq!(code, Some(0), "{events}");
    assert_eq!(std::fs::read_to_string(space.path("greeting")).expect("a greeting"), "hello, world\n");
    let (_, events) = run();
    assert!(events.contains(r#""verdict":"up-to-date""#), "{events}");
}
