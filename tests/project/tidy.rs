//! What every file of the project must keep: a head, the layers, no leftovers. A rule that only review keeps is none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust files below a folder, with their text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
                found.push((name, std::fs::read_to_string(&path).expect("a source")));
            }
        }
    }
    found.sort();
    found
}

/// Code without comments and without the tests at its end.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    body.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The table of ARCHITECTURE.md: room to the rooms it may import.
fn layers() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).filter(|cell| !cell.is_empty());
        let name = cells.next()?.trim_matches('`').to_owned();
        let allowed = cells.nth(1)?.split_whitespace().map(str::to_owned).collect();
        Some((name, allowed))
    })
    .collect()
}

#[test]
fn every_file_says_what_it_is() {
    let without: Vec<String> = ["xtask/src", "tests"]
        .iter()
        .flat_map(|folder| sources(folder))
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    assert!(without.is_empty(), "files without a head: {without:?}");
}

#[test]
fn rooms_import_only_what_the_architecture_allows() {
    let layers = layers();
    assert!(layers.len() > 15, "the table of rooms was not found");
    let mut problems = Vec::new();
    for (name, text) in sources("xtask/src") {
        let mut parts = name.trim_start_matches("xtask/src/").split('/');
        let room = parts.next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        if name.contains("test") || ["lib", "main"].contains(&room.as_str()) {
            continue;
        }
        let Some(allowed) = layers.get(&room) else {
            problems.push(format!("room `{room}` is not in ARCHITECTURE.md"));
            continue;
        };
        if allowed.iter().any(|word| word == "everything" || word == "all") {
            continue;
        }
        let code = code(&text);
        for other in layers.keys().filter(|other| **other != room && !allowed.contains(other)) {
            if code.contains(&format!("crate::{other}::")) || code.contains(&format!("crate::{other};")) {
                problems.push(format!("{name} imports `{other}`, which `{room}` may not"));
            }
        }
    }
    problems.sort();
    problems.dedup();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn external_crates_have_one_room() {
    let owners: &[(&str, &[&str])] = &[
        ("bollard", &["docker"]),
        ("tokio", &["docker"]),
        ("tonic", &["docker"]),
        ("hyper", &["docker"]),
        ("ureq", &["registry"]),
        ("rusqlite", &["store", "environment"]),
        ("minijinja", &["render"]),
        ("duct", &["exec"]),
        ("notify", &["watch"]),
        ("indicatif", &["report"]),
        ("clap", &["cli"]),
        ("icu_normalizer", &["graph"]),
        ("serde_saphyr", &["taskfile"]),
        ("serde_yaml", &["taskfile", "stack"]),
    ];
    let mut problems = Vec::new();
    for (name, text) in sources("xtask/src") {
        let room = name.trim_start_matches("xtask/src/").split('/').next().unwrap_or_default().to_owned();
        // Test support stands in for other rooms.
        if name.contains("test") {
            continue;
        }
        let code = code(&text);
        for (crate_name, rooms) in owners {
            let uses = code.contains(&format!("use {crate_name}::")) || code.contains(&format!(" {crate_name}::"));
            if uses && !rooms.contains(&room.as_str()) {
                problems.push(format!("{name} uses `{crate_name}`"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn nothing_is_left_half_done() {
    let words =
        ["to".to_owned() + "do!(", "unimple".to_owned() + "mented!(", "FIX".to_owned() + "ME", "db".to_owned() + "g!("];
    let mut problems = Vec::new();
    for folder in ["xtask/src", "tests"] {
        for (name, text) in sources(folder) {
            problems
                .extend(words.iter().filter(|word| text.contains(word.as_str())).map(|word| format!("{name}: {word}")));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
