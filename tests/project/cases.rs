//! The conformance cases: one file per row of the contract, `tests/cases/<row>.yaml`.
//!
//! A file has `tasks` (the text of tasks.yaml), `files`, and `steps`: `write touch delete link redefine
//! replace_keeping_mtime run command content present absent`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use xtask::taskfile::yaml;

use crate::space::{Ran, Space};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases")
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).expect("the cases").flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn read(file: &Path) -> Value {
    let bytes = std::fs::read(file).expect("a case");
    yaml::parse(&file.display().to_string(), &bytes).unwrap_or_else(|errors| panic!("{errors}")).json()
}

/// How a run is made: through the library, or through the real binary.
type Runner<'r> = &'r dyn Fn(&Space, &[&str], &str) -> Ran;

#[test]
fn every_row_holds_through_the_library() {
    let runner: Runner<'_> = &|space, words, cwd| space.command(words, cwd);
    let mut problems = Vec::new();
    let files = files();
    assert!(files.len() > 100, "only {} cases", files.len());
    for file in &files {
        problems.extend(play(file, runner));
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn a_sample_holds_through_the_binary() {
    let runner: Runner<'_> = &|space, words, cwd| {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(words)
            .current_dir(space.root().join(cwd))
            .output()
            .expect("the binary");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let events =
            out.lines().filter(|line| line.starts_with('{')).filter_map(|line| serde_json::from_str(line).ok());
        let exit = u8::try_from(output.status.code().unwrap_or(255)).unwrap_or(255);
        Ran { exit, events: events.collect(), err: String::from_utf8_lossy(&output.stderr).into_owned(), out }
    };
    let mut problems = Vec::new();
    for row in ["A03", "A11", "B12", "C18", "E06", "E15", "S06", "V04", "I08"] {
        problems.extend(play(&folder().join(format!("{row}.yaml")), runner));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Plays one case; every expectation that fails, with the row and the step.
fn play(file: &Path, runner: Runner<'_>) -> Vec<String> {
    let row = file.file_stem().expect("a name").to_string_lossy().into_owned();
    let case = read(file);
    let space = Space::new();
    let text = case["tasks"].as_str().expect("tasks").to_owned();
    let mut tasks =
        yaml::parse("tasks.yaml", text.as_bytes()).unwrap_or_else(|errors| panic!("{row}: {errors}")).json();
    space.write("tasks.yaml", &text);
    write_all(&space, &case["files"]);
    let mut problems = Vec::new();
    for (number, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
        let mut fail = |what: String| problems.push(format!("{row}, step {number}: {what}"));
        for (verb, argument) in step.as_object().expect("a step") {
            match verb.as_str() {
                "run" => {
                    let words = [vec!["run", "--reporter", "json"], words(argument)].concat();
                    let ran = runner(&space, &words, step["cwd"].as_str().unwrap_or(""));
                    expect(&ran, &step["expect"], &mut fail);
                }
                "command" => {
                    let ran = runner(&space, &words(argument), "");
                    let exit = step["exit"].as_str().map_or(0, |exit| exit.parse().expect("a code"));
                    if ran.exit != exit {
                        fail(format!("exit {} instead of {exit}: {}", ran.exit, ran.err));
                    }
                }
                "expect" | "cwd" | "exit" => {}
                "redefine" => {
                    for (name, task) in argument.as_object().expect("tasks") {
                        tasks["tasks"][name] = task.clone();
                    }
                    // Every scalar was read as text, and a version is a number.
                    space.write("tasks.yaml", &tasks.to_string().replacen(r#""version":"1""#, r#""version":1"#, 1));
                }
                other => change(&space, other, argument, &mut fail),
            }
        }
    }
    problems
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn write_all(space: &Space, files: &Value) {
    for (name, content) in files.as_object().into_iter().flatten() {
        space.write(name, content.as_str().unwrap_or_default());
    }
}

/// Steps that change or check files.
fn change(space: &Space, verb: &str, argument: &Value, fail: &mut dyn FnMut(String)) {
    match verb {
        "write" => write_all(space, argument),
        "touch" => {
            for name in words(argument) {
                let file = std::fs::File::options().append(true).open(space.path(name)).expect("a file");
                file.set_modified(std::time::SystemTime::now()).expect("a time");
            }
        }
        "delete" => {
            for name in words(argument) {
                let path = space.path(name);
                let is_dir = path.symlink_metadata().expect("a path").is_dir();
                if is_dir { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.expect("removed");
            }
        }
        "link" => {
            for (name, target) in argument.as_object().expect("links") {
                std::os::unix::fs::symlink(target.as_str().expect("a target"), space.path(name)).expect("a link");
            }
        }
        "replace_keeping_mtime" => {
            for (name, content) in argument.as_object().expect("files") {
                let before = std::fs::metadata(space.path(name)).expect("a file").modified().expect("a time");
                space.write(name, content.as_str().expect("a text"));
                let file = std::fs::File::options().append(true).open(space.path(name)).expect("a file");
                file.set_modified(before).expect("a time");
            }
        }
        "content" => {
            for (name, wanted) in argument.as_object().expect("files") {
                let found = std::fs::read_to_string(space.path(name)).ok();
                if found.as_deref() != wanted.as_str() {
                    fail(format!("`{name}` has {found:?} instead of {wanted}"));
                }
            }
        }
        "present" => words(argument)
            .iter()
            .filter(|name| !space.path(name).exists())
            .for_each(|name| fail(format!("`{name}` is missing"))),
        "absent" => words(argument)
            .iter()
            .filter(|name| space.path(name).exists())
            .for_each(|name| fail(format!("`{name}` is there"))),
        other => panic!("unknown step `{other}`"),
    }
}

fn expect(ran: &Ran, wanted: &Value, fail: &mut dyn FnMut(String)) {
    let context = || format!("\n  stderr: {}", ran.err.trim());
    if let Some(exit) = wanted["exit"].as_str()
        && ran.exit.to_string() != exit
    {
        fail(format!("exit {} instead of {exit}{}", ran.exit, context()));
    }
    for (field, outcome) in [
        ("ran", "ran"),
        ("up_to_date", "up-to-date"),
        ("failed", "failed"),
        ("error", "error"),
        ("unmet", "unmet"),
        ("ignored", "ignored"),
    ] {
        if wanted[field].is_null() {
            continue;
        }
        let names: BTreeSet<String> = words(&wanted[field]).into_iter().map(str::to_owned).collect();
        let found = ran.outcome(outcome);
        let fine = if field == "up_to_date" { names.is_subset(&found) } else { names == found };
        if !fine {
            fail(format!("{field}: {found:?} instead of {names:?}{}", context()));
        }
    }
    for (task, kinds) in wanted["reasons"].as_object().into_iter().flatten() {
        let found = ran.reasons(task);
        if !words(kinds).iter().all(|kind| found.iter().any(|known| known == kind)) {
            fail(format!("reasons of `{task}`: {found:?} instead of {kinds}"));
        }
    }
    for (task, verdict) in wanted["decided"].as_object().into_iter().flatten() {
        if ran.verdict(task).as_deref() != verdict.as_str() {
            fail(format!("verdict of `{task}`: {:?} instead of {verdict}", ran.verdict(task)));
        }
    }
    if let Some(message) = wanted["message"].as_str()
        && !ran.err.contains(message)
        && !ran.out.contains(message)
    {
        fail(format!("no `{message}`{}", context()));
    }
}
