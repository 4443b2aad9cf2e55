//! What comes from others: the crates of the program, and changes of strangers that a pipeline looks at before anybody
//! has read them. Knows the program only from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::faults::program::program;
use crate::faults::space::Space;
use crate::faults::strace;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// As many crates as the program may be made of.
const MOST_CRATES: usize = 240;

/// The texts between quotes in the list `name = [ … ]` of a TOML file, of lines that have `key` if it is not empty.
fn quoted(text: &str, name: &str, key: &str) -> BTreeSet<String> {
    let list = text.split(&format!("\n{name} = [")).nth(1).unwrap_or_else(|| panic!("no list `{name}`"));
    let lines = list.split("\n]").next().unwrap_or_default().lines();
    lines
        .filter_map(|line| line.split_once(&format!("{key}\""))?.1.split_once('"').map(|(word, _)| word.to_owned()))
        .collect()
}

/// Whether the licence, an SPDX expression, leaves a choice that is allowed.
fn is_allowed(licence: &str, allowed: &BTreeSet<String>) -> bool {
    let text = licence.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut at = 0;
    either(&words, &mut at, allowed) && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut fits = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        fits |= both(words, at, allowed);
    }
    fits
}

fn both(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut fits = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        fits &= one(words, at, allowed);
    }
    fits
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let fits = either(words, at, allowed);
        *at += 1;
        return fits;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(&name)
}

/// What cargo says of the packages that are built here, by the lock file as it is and without a network.
fn metadata() -> Value {
    let host = "x86_64-unknown-linux-gnu";
    let words = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host];
    let output = Command::new(env!("CARGO")).args(words).current_dir(root()).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The packages that are in the program or build it, without those of tests alone.
fn of_program(metadata: &Value) -> BTreeSet<&str> {
    let text = |value: &'static str| move |of: &'_ Value| of[value].as_str().map(str::to_owned);
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).map(|node| (node["id"].as_str().expect("an id"), node)).collect();
    let mut open: Vec<&str> = nodes.keys().copied().filter(|id| id.contains("xtask")).collect();
    assert!(!open.is_empty(), "the program is a package");
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        let kind = text("kind");
        let is_of_tests = |dep: &Value| list(&dep["dep_kinds"]).all(|one| kind(one).as_deref() == Some("dev"));
        let deps = list(&nodes[id]["deps"]).filter(|dep| !is_of_tests(dep));
        open.extend(deps.filter_map(|dep| dep["pkg"].as_str()));
    }
    found
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
fn s13_every_crate_is_one_that_may_be_there() {
    let rules = read("deny.toml");
    let (licences, banned) = (quoted(&rules, "allow", ""), quoted(&rules, "deny", "crate = "));
    assert!(licences.contains("MIT") && banned.contains("serde_yml"), "{licences:?} {banned:?}");
    for (licence, fits) in [
        ("MIT OR GPL-3.0", true),
        ("MIT/GPL-3.0", true),
        ("(MIT OR GPL-3.0) AND Zlib", true),
        ("MIT AND GPL-3.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-2.0 WITH LLVM-exception", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(licence, &licences), fits, "{licence}");
    }

    let mut wrong = Vec::new();
    let lock = read("Cargo.lock");
    let mut registries = BTreeSet::new();
    for package in lock.split("\n[[package]]\n").skip(1) {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        let name = field("name").expect("a name");
        if banned.contains(&name) {
            wrong.push(format!("{name} is banned"));
        }
        match (field("source"), field("checksum")) {
            (Some(source), Some(_)) if source.starts_with("registry+") => drop(registries.insert(source)),
            (None, None) if name == "xtask" || name.starts_with("xtask-") => {}
            (source, _) => wrong.push(format!("{name} comes from {source:?} without a checksum of a registry")),
        }
    }
    assert_eq!(registries.len(), 1, "{registries:?}");
    let metadata = metadata();
    for package in list(&metadata["packages"]).filter(|package| !package["source"].is_null()) {
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence, &licences) {
            wrong.push(format!("{} has the licence `{licence}`", package["name"]));
        }
    }
    for package in list(&metadata["packages"]).filter(|package| package["source"].is_null()) {
        let any = list(&package["dependencies"]).filter(|one| one["req"] == "*" && one["path"].is_null());
        wrong.extend(any.map(|one| format!("{} of any version is wanted by {}", one["name"], package["name"])));
    }
    let count = of_program(&metadata).len();
    if count > MOST_CRATES {
        wrong.push(format!("the program is made of {count} crates, at most {MOST_CRATES} are meant to be"));
    }
    assert!(count > 50 && wrong.is_empty(), "{count} crates\n{}", wrong.join("\n"));
}

/// Everything in it that could be started would be known by its name.
const TASKS: &str = r#"
version: 1
stack: images/spec.yml
vars: { name: { env: NAME, default: "stranger" } }
tasks:
  build:
    for_each: image
    file_dep: ["images/*"]
    uptodate: ["stranger-uptodate", { output_of: "stranger-output" }, { config_changed: "{{ vars.name }}" }]
    actions: [{ image_build: "{{ image.name }}" }, "stranger-action", [stranger-argv]]
    clean: ["stranger-clean"]
    teardown: ["stranger-teardown"]
  made:
    actions: [{ cmd: stranger-calc, save: more }]
  later: { calc_dep: [made], actions: ["stranger-later"], title: "{{ vars.name }}" }
"#;

/// A repository of a stranger, with one commit that changes an image.
fn strange_repository() -> Space {
    let space = Space::new();
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=A", "-c", "user.email=a@b"]).args(words).current_dir(space.root());
        let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("git");
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    space.write("tasks.yaml", TASKS);
    space.write(
        "images/spec.yml",
        "version: 1\nimages:\n  base: { image_name: lab/base }\n  app: { image_name: lab/app }\n",
    );
    space.write("images/base/Dockerfile", "FROM scratch\nCOPY note /\n");
    space.write("images/base/note", "1\n");
    space.write("images/app/Dockerfile.j2", "FROM {{ images['base'].image_name }}\nRUN stranger-step\n");
    // What git itself would start for somebody who looks at files with it.
    space.write(".gitattributes", "* filter=stranger diff=stranger\n");
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=one"]);
    space.write("images/base/note", "2\n");
    git(&["commit", "--quiet", "--all", "--message=two"]);
    space
}

#[test]
fn s14_looking_at_a_change_of_a_stranger_starts_nothing_but_git() {
    let space = strange_repository();
    for words in [
        &["affected", "--base", "HEAD~1"][..],
        &["affected", "--base", "HEAD~1", "--explain"],
        &["affected", "--files", "images/base/note"],
        &["list", "--all"],
        &["graph"],
        &["ci-plan", "--base", "HEAD~1"],
        &["schema"],
    ] {
        let (ran, lines) = strace::trace(&program(space.root(), words), "execve,execveat");
        assert_eq!(ran.exit, 0, "{words:?}: {}{}", ran.out, ran.err);
        let started: Vec<&String> = lines.iter().filter(|line| line.contains(") = 0")).skip(1).collect();
        let is_git = |line: &str| {
            let program = line.split('"').nth(1).unwrap_or_default();
            program.rsplit('/').next() == Some("git")
        };
        assert!(started.iter().all(|line| is_git(line)), "{words:?}: {started:#?}");
        assert!(!lines.iter().any(|line| line.contains("stranger")), "{words:?}: {lines:#?}");
        if words.contains(&"--base") {
            assert!(!started.is_empty(), "{words:?}: the history was asked for nothing");
        }
        if words[0] == "affected" {
            assert!(ran.out.contains("base") && ran.out.contains("app"), "{words:?}: {}", ran.out);
        }
    }
}
