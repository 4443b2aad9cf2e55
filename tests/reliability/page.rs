//! Keeps `docs/reliability.md` true: each named test exists, and each test here is named. Knows nothing of what they test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Names of functions behind `#[test]`, and of those inside `proptest!`, below a file or folder, with their modules.
fn tests_below(path: &Path, found: &mut BTreeSet<(String, String)>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder").flatten() {
            tests_below(&entry.path(), found);
        }
        return;
    }
    if path.extension().is_none_or(|kind| kind != "rs") {
        return;
    }
    let text = fs::read_to_string(path).expect("a source");
    let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("fn ").filter(|_| is_test) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.insert((stem.clone(), name));
        }
        is_test = line == "#[test]" || (is_test && line.starts_with('#'));
    }
}

/// Target, module path and name of every test on the page.
fn named() -> Vec<(String, String)> {
    let page = fs::read_to_string(root().join("docs/reliability.md")).expect("the page");
    let mut found = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_, _, tests, _, _] = cells[..] else { continue };
        let names = tests.split(", ").filter_map(|test| test.strip_prefix('`')?.strip_suffix('`')?.split_once(' '));
        found.extend(names.map(|(target, test)| (target.to_owned(), test.to_owned())));
    }
    found
}

#[test]
fn the_page_names_tests_that_exist_and_all_that_are_here() {
    let named = named();
    assert!(named.len() > 70, "only {} tests were found on the page", named.len());
    let mut wrong = Vec::new();
    let [in_library, in_tests] = ["xtask/src", "tests"].map(|folder| {
        let mut known = BTreeSet::new();
        tests_below(&root().join(folder), &mut known);
        known
    });
    for (target, test) in &named {
        let known = if target == "lib" { &in_library } else { &in_tests };
        let parts: Vec<&str> = test.split("::").collect();
        let name = parts.last().expect("a name");
        // The file is the module, or the one that it names by `#[path]`.
        let of_name: Vec<&String> = known.iter().filter(|(_, known)| known == name).map(|(stem, _)| stem).collect();
        let fits = |stem: &&&String| target != "reliability" || parts.contains(&stem.as_str());
        if !of_name.iter().any(|stem| fits(&stem)) {
            wrong.push(format!("`{target} {test}` does not exist"));
        }
    }
    let mut here = BTreeSet::new();
    tests_below(&root().join("tests/reliability"), &mut here);
    for (module, name) in here.iter().filter(|(module, _)| module != "page") {
        let test = format!("{module}::{name}");
        if !named.iter().any(|(target, known)| target == "reliability" && *known == test) {
            wrong.push(format!("`reliability {test}` is not on the page"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
