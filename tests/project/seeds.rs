//! The table of docs/seeds.md: every row of the contract is in it, and the tests and files that it names are there.
//! Knows nothing of what the rows say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Ids of rows: letter, first and last number.
const ROWS: [(char, u32, u32); 13] = [
    ('D', 1, 12),
    ('D', 20, 27),
    ('D', 30, 50),
    ('D', 60, 73),
    ('D', 80, 90),
    ('D', 100, 109),
    ('D', 120, 133),
    ('D', 140, 146),
    ('J', 1, 21),
    ('A', 1, 24),
    ('M', 1, 35),
    ('R', 1, 11),
    ('R', 20, 28),
];

fn id(letter: char, number: u32) -> String {
    format!("{letter}{number:02}")
}

/// First and last cell of each row of the tables, with the ids of the first.
fn rows() -> Vec<(BTreeSet<String>, String)> {
    let text = std::fs::read_to_string(root().join("docs/seeds.md")).expect("the page");
    let lines =
        text.lines().filter(|line| ["| D", "| J", "| A", "| M", "| R"].iter().any(|start| line.starts_with(start)));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            (ids(cells[0]), cells.last().expect("a cell").trim_matches('|').trim().to_owned())
        })
        .collect()
}

fn ids(cell: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in cell.split(", ") {
        let (first, last) = part.split_once('–').unwrap_or((part, part));
        let number = |id: &str| -> u32 { id[1..].parse().unwrap_or_else(|_| panic!("`{id}` is no id")) };
        let letter = first.chars().next().expect("a letter");
        found.extend((number(first)..=number(last)).map(|number| id(letter, number)));
    }
    found
}

/// All Rust code of the project as one text.
fn code() -> String {
    let mut all = String::new();
    let mut open = vec![root().join("xtask/src"), root().join("tests")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                all += &std::fs::read_to_string(path).expect("a source");
            }
        }
    }
    all
}

#[test]
fn every_row_is_in_the_table_once() {
    let wanted: BTreeSet<String> =
        ROWS.iter().flat_map(|(letter, first, last)| (*first..=*last).map(move |number| id(*letter, number))).collect();
    let mut found = BTreeSet::new();
    for id in rows().into_iter().flat_map(|(ids, _)| ids) {
        assert!(found.insert(id.clone()), "{id} is there twice");
    }
    let missing: Vec<&String> = wanted.difference(&found).collect();
    let unknown: Vec<&String> = found.difference(&wanted).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
}

#[test]
fn every_test_that_the_table_names_is_there() {
    let code = code();
    let exists = |path: &str| root().join(path).exists() || root().join("xtask/src").join(path).exists();
    let mut problems = Vec::new();
    for (ids, cell) in rows() {
        for name in cell.split('`').skip(1).step_by(2) {
            let pattern = name.strip_suffix('*');
            let is_there = if name.contains('/') {
                exists(name)
            } else if let Some(start) = pattern {
                std::fs::read_dir(root().join("tests/data/specs"))
                    .expect("the specs")
                    .flatten()
                    .any(|entry| entry.file_name().to_string_lossy().starts_with(start))
            } else if name.contains('_') {
                code.contains(&format!("fn {name}("))
            } else {
                exists(&format!("tests/data/specs/{name}.yml"))
            };
            if !is_there {
                problems.push(format!("{ids:?}: `{name}`"));
            }
        }
    }
    assert!(problems.is_empty(), "named, but not there:\n{}", problems.join("\n"));
}
