//! The tutorial of the README: its commands are run, in their order, in a copy of the repository.

use std::path::Path;
use std::process::Command;

/// Lines behind `$ ` in the console blocks.
fn commands(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if inside => found.extend(line.strip_prefix("$ ").map(str::to_owned)),
            _ => {}
        }
    }
    found
}

#[test]
fn the_commands_of_the_tutorial_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let commands = commands(&readme);
    assert!(commands.len() >= 12, "only {} commands were found", commands.len());
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["tasks.yaml", "images", "environments", "scripts", "benches"] {
        let status = Command::new("cp").arg("-r").arg(root.join(name)).arg(copy.path()).status().expect("cp");
        assert!(status.success());
    }
    // `cargo xtask` is an alias for the program that is under test.
    let bin = tempfile::tempdir().expect("a folder");
    let stand_in = format!("#!/bin/sh\nshift\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_xtask"));
    let cargo = bin.path().join("cargo");
    std::fs::write(&cargo, stand_in).expect("a script");
    std::fs::set_permissions(&cargo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap_or_default());
    for command in commands {
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir(copy.path())
            .env("PATH", &path)
            .output()
            .expect("a shell");
        assert!(
            output.status.success(),
            "`{command}` failed:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
