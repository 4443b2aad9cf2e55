//! `init` from an empty folder: what it writes is a project, and its crate is a program that runs the project's tasks.
//!
//! Cargo is asked what it makes of the manifests; the crate itself is compiled by hand. To cargo the library would be
//! another one than that of the tests, since it is outside of the new workspace, and compiling it takes minutes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::space::Space;

/// Runs cargo in a folder: whether it went well, and what it said.
fn cargo(dir: &Path, words: &[&str]) -> (bool, String) {
    let output = crate::cargo::cargo(dir, words).output().expect("cargo");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = if output.status.success() { text(&output.stdout) } else { text(&output.stderr) };
    (output.status.success(), told)
}

/// Compiles the crate of a project as its manifest says, and gives the program.
fn compiled(root: &Path, package: &Value) -> PathBuf {
    let target = package["targets"].as_array().expect("targets").iter().find(|target| target["kind"][0] == "bin");
    let target = target.expect("a program");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let program = root.join("target/program");
    crate::cargo::compile(Path::new(&text(&target["src_path"])), &text(&target["edition"]), &program);
    program
}

fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below").display().to_string();
                found.insert(name, std::fs::read_to_string(&path).expect("text"));
            }
        }
    }
    found
}

#[test]
fn an_empty_folder_becomes_a_project_that_its_own_crate_runs() {
    let space = Space::new();
    let ran = space.command(&["init", "My.Lab", "--image", "first", "--base", "lab/none:1"], "");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert!(ran.err.contains("next: cd My.Lab && cargo xtask build-stack --yes"), "{}", ran.err);
    let root = space.path("My.Lab");
    let before = files(&root);
    assert!(before["images/spec.yml"].contains("image_name: my.lab/first"), "{}", before["images/spec.yml"]);
    assert!(before.values().all(|text| !text.contains("@IMAGE@") && !text.contains("@BASE@")));
    // The versions that this project is tested with are there without a network.
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock"), root.join("Cargo.lock"))
        .expect("versions");
    let (fine, aliases) = cargo(&root, &["--list"]);
    assert!(fine && aliases.contains("alias: run --quiet --package repo-xtask --"), "{aliases}");
    // What other platforms need is not there.
    let (fine, host) = cargo(&root, &["-vV"]);
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).filter(|_| fine).expect("a platform");
    let (fine, text) = cargo(&root, &["metadata", "--filter-platform", host, "--format-version", "1"]);
    assert!(fine, "{text}");
    let metadata: Value = serde_json::from_str(&text).expect("metadata");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = |name: &str| packages.iter().find(|one| one["name"] == name).expect("a package");
    assert_eq!(metadata["workspace_members"], serde_json::json!([package("repo-xtask")["id"]]));
    let manifest = package("xtask")["manifest_path"].as_str().expect("a path");
    assert_eq!(Path::new(manifest), Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    let program = compiled(&root, package("repo-xtask"));
    for (words, wanted) in [
        (&["list", "--all"][..], "build:first"),
        (&["spec", "check"], "is fine: 1 image"),
        (&["render"], "render:first"),
    ] {
        let output = Command::new(&program).args(words).current_dir(&root).output().expect("the program");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains(wanted), "{words:?} said:\n{text}");
    }
    std::fs::remove_dir_all(root.join("target")).expect("removed");
    // Once more changes nothing.
    std::fs::remove_file(root.join("Cargo.lock")).expect("removed");
    std::fs::remove_dir_all(root.join(".xtask")).expect("removed");
    let ran = space.command(&["init", "--image", "second"], "My.Lab");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert!(!ran.err.contains("wrote") && !ran.err.contains("changed"), "{}", ran.err);
    assert_eq!(files(&root), before);
}

#[test]
fn an_existing_workspace_keeps_what_it_has() {
    let space = Space::new();
    space.write("Cargo.toml", "[workspace]\nmembers = [\n    \"one\",\n]\nresolver = \"3\"\n");
    space.write("one/Cargo.toml", "[package]\nname = \"one\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    space.write("one/src/lib.rs", "");
    space.write("tasks.yaml", "version: 1\ntasks:\n  init: { actions: [\"echo own init\"], verbosity: 2 }\n");
    space.write(".gitignore", "/target");
    // Its own task of that name comes first.
    let ran = space.command(&["init"], "");
    assert!(ran.exit == 0 && ran.err.contains("own init"), "{}", ran.err);
    // Its options are not those of the command, whatever is wrong with the file.
    space.write("tasks.yaml", "version: 1\ntasks:\n  init: { acions: [\"echo own init\"] }\n");
    let ran = space.command(&["init", "--style", "x"], "");
    assert!(ran.exit == 3 && ran.err.contains("unknown field `acions`"), "{}", ran.err);
    space.write("tasks.yaml", "version: 1\ntasks: {}\n");
    let ran = space.command(&["init"], "");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert!(!space.path("images").exists(), "a file of tasks has its own stack");
    let (fine, text) = cargo(space.root(), &["metadata", "--no-deps", "--format-version", "1"]);
    assert!(fine && text.contains("\"repo-xtask\"") && text.contains("\"one\""), "{text}");
    let ignored = std::fs::read_to_string(space.path(".gitignore")).expect("a file");
    assert!(ignored.starts_with("/target\n/.xtask\n"), "{ignored}");
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_is_written() {
    for (words, wanted) in [
        (&["init", "new", "--image", "No Name"][..], "`--image No Name` is no name of an image"),
        (&["init", "new", "--base", "a b"], "`--base a b` is no reference of an image"),
        (&["init", "new", "--path", "nowhere"], "the library was not found in"),
        (&["init", "new", "--rev", "abc"], "--git"),
    ] {
        let space = Space::new();
        let ran = space.command(words, "");
        assert!(ran.exit == 3 && ran.err.contains(wanted), "{words:?}: {}", ran.err);
        assert!(!space.path("new").exists(), "{words:?}");
    }
}
