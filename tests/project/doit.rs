//! doit itself plays the cases of the rows that are kept, so that the contract stays honest. Knows how doit says what
//! a case says; `tests/doit/dodo.py` knows how its tasks are written there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cases;
use crate::contract;
use crate::play::{self, Call, Case, Doit, Runner, pairs};
use crate::space::{Ran, Space};

/// From a virtual environment that `cargo xtask ci` makes, or from the path.
fn program() -> PathBuf {
    let own = contract::root().join("target/doit/bin/doit");
    if own.exists() { own } else { "doit".into() }
}

/// The words of the same call.
fn words(call: &Call) -> Vec<String> {
    let mut words: Vec<&str> = call.words.iter().map(String::as_str).collect();
    let command = match words.first().copied() {
        Some("run" | "list" | "forget" | "ignore" | "clean" | "help") => words.remove(0),
        Some("accept") => {
            words.remove(0);
            "reset-dep"
        }
        Some("explain") => {
            words.remove(0);
            "info"
        }
        _ => "run",
    };
    let dodo = contract::root().join("tests/doit/dodo.py").display().to_string();
    let mut found: Vec<String> = [command, "-f", &dodo, "-d", "."].map(str::to_owned).to_vec();
    let mut rest = words.into_iter();
    while let Some(word) = rest.next() {
        match word {
            "--reporter" => drop(rest.next()),
            // One worker is no option there, but the absence of workers.
            "-n" if command == "run" => {
                let count = rest.next().unwrap_or_default();
                if count != "1" {
                    found.extend(["-n".to_owned(), count.to_owned()]);
                }
            }
            "--allow-empty" => {}
            word => found.push(word.to_owned()),
        }
    }
    found
}

/// The settings that doit reads from a file of its own.
fn configuration(tasks: &Value) -> String {
    let mut text = String::new();
    for (task, params) in pairs(&tasks["config"]["params"]) {
        text.push_str(&format!("[task:{task}]\n"));
        pairs(params).for_each(|(name, value)| text.push_str(&format!("{name} = {}\n", value.as_str().unwrap_or(""))));
    }
    text
}

fn call(space: &Space, call: &Call) -> Ran {
    let text = std::fs::read(space.path("tasks.yaml")).expect("tasks.yaml");
    let tasks: Value = serde_yaml::from_slice(&text).expect("tasks that YAML can hold");
    space.write(".doit.json", &tasks.to_string());
    space.write(".doit.events", "");
    space.write("doit.cfg", &configuration(&tasks));
    let output = Command::new(program())
        .args(words(call))
        .current_dir(space.root().join(&call.cwd))
        .env_clear()
        .envs(Space::environment(&call.env))
        .env("DOIT_TASKS", space.path(".doit.json"))
        .env("DOIT_EVENTS", space.path(".doit.events"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .expect("doit is needed: cargo xtask ci installs it");
    let events = std::fs::read_to_string(space.path(".doit.events")).unwrap_or_default();
    let exit = output.status.code().and_then(|exit| u8::try_from(exit).ok()).unwrap_or(255);
    let mut ran = Ran::new(exit, &events, &String::from_utf8_lossy(&output.stderr));
    ran.out = String::from_utf8_lossy(&output.stdout).into_owned();
    ran.speaks_our_words = false;
    ran
}

fn section_holds(sections: &str) {
    let runner: Runner<'_> = &call;
    let mut problems = Vec::new();
    let mut replayed = 0;
    for case in cases::all() {
        if !case.row.starts_with(|letter| sections.contains(letter)) || !contract::is_kept(&case.row) {
            continue;
        }
        match &case.doit {
            Doit::None(_) => continue,
            Doit::Same => problems.extend(play::play_as_doit(&case, runner)),
            Doit::Differs(_) if play::play_as_doit(&case, runner).is_empty() => {
                problems.push(format!("{}: doit does the same now", case.row));
            }
            Doit::Differs(_) => {}
        }
        replayed += 1;
    }
    assert!(replayed > 5, "only {replayed} cases were replayed");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn doit_agrees_on_files_and_targets() {
    section_holds("AB");
}

#[test]
fn doit_agrees_on_checks_and_graph() {
    section_holds("CD");
}

#[test]
fn doit_agrees_on_failures_and_setup() {
    section_holds("ES");
}

#[test]
fn doit_agrees_on_values_and_selection() {
    section_holds("VHI");
}

#[test]
fn doit_agrees_on_the_rest() {
    section_holds("JKLMN");
}

#[test]
fn the_page_names_every_row_that_doit_plays_otherwise() {
    let page = std::fs::read_to_string(contract::root().join("docs/doit.md")).expect("the page");
    let rows: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).collect();
    let is_named = |row: &str| rows.iter().any(|cell| cell.split(", ").any(|named| named == row));
    let otherwise =
        |case: &Case| matches!(case.doit, Doit::Differs(_)) || case.steps.iter().any(|step| !step["ours"].is_null());
    let all: Vec<String> = cases::all().into_iter().filter(otherwise).map(|case| case.row).collect();
    assert!(all.len() > 10, "only {} rows", all.len());
    let missing: Vec<&String> = all.iter().filter(|row| !is_named(row)).collect();
    assert!(missing.is_empty(), "docs/doit.md does not say what doit does in {missing:?}");
}
