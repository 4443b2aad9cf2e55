//! The library embedded in another repository: an action and a check written in Rust, used from its tasks.yaml.

use std::process::Command;

use crate::cargo::cargo;
use crate::space::Space;

/// The example is the documentation; it is compiled with the tests and run here.
#[test]
fn an_embedding_repository_uses_its_own_actions() {
    let space = Space::new();
    space.write(
        "tasks.yaml",
        "version: 1\ntasks:\n  greet:\n    file_dep: [name]\n    targets: [greeting]\n    actions:\n      - greet: { who: name, to: greeting }\n",
    );
    space.write("name", "world");
    // A run of single tests does not build examples.
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = cargo(root).args(["build", "--quiet", "--package", "xtask", "--example", "embed"]).status();
    assert!(built.is_ok_and(|status| status.success()), "the example does not compile");
    let example = std::path::Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("examples").join("embed");
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
