//! Commands in the README and in docs/: each page's are run in their order, the README's in a copy of the repository,
//! the others' in an empty folder.

use std::path::Path;
use std::process::Command;

use crate::stand_in::StandIn;

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
    let stand_in = StandIn::new();
    for command in commands {
        let (fine, said) = stand_in.sh(copy.path(), &command);
        assert!(fine, "`{command}` failed:\n{said}");
    }
}

/// Pages whose commands need an engine or a registry: `chain_live::handbook` runs them.
const ELSEWHERE: &[&str] = &["publishing.md"];

#[test]
fn the_commands_of_every_page_work() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let stand_in = StandIn::new();
    let mut pages = 0;
    for entry in std::fs::read_dir(docs).expect("docs").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let commands = commands(&std::fs::read_to_string(entry.path()).unwrap_or_default());
        if commands.is_empty() || ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        pages += 1;
        let folder = tempfile::tempdir().expect("a folder");
        for command in commands {
            let (fine, said) = stand_in.sh(folder.path(), &command);
            assert!(fine, "docs/{name}: `{command}` failed:\n{said}");
        }
    }
    assert!(pages >= 4, "only {pages} pages with commands were found");
}
