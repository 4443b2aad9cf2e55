//! The table of docs/contract.md: every row of the contract has a proof, and every proof exists. Knows only names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cases;
use crate::play::Doit;

/// Sections of the contract and how many rows each has: 227 together.
const SECTIONS: [(char, usize); 15] = [
    ('A', 28),
    ('B', 17),
    ('C', 24),
    ('D', 15),
    ('E', 21),
    ('S', 12),
    ('V', 16),
    ('H', 8),
    ('I', 20),
    ('J', 20),
    ('K', 10),
    ('L', 11),
    ('M', 7),
    ('N', 9),
    ('W', 9),
];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A row of the table.
struct Row {
    /// `K`, `K+`, `F` with a number, or `n/a`.
    usage: String,
    /// `case`, names of tests as `path::name`, or `n/a: reason`.
    proof: String,
}

fn rows() -> BTreeMap<String, Row> {
    let text = std::fs::read_to_string(root().join("docs/contract.md")).expect("docs/contract.md");
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, _, _, usage, proof] = cells[..] else { continue };
        if id.len() == 3 && id.starts_with(char::is_uppercase) {
            let row = Row { usage: usage.to_owned(), proof: proof.to_owned() };
            assert!(rows.insert(id.to_owned(), row).is_none(), "{id} is there twice");
        }
    }
    rows
}

/// Whether the row is as in doit.
pub fn is_kept(row: &str) -> bool {
    rows().get(row).is_some_and(|row| row.usage.starts_with('K'))
}

#[test]
fn every_row_is_there_and_none_is_invented() {
    let wanted: BTreeSet<String> =
        SECTIONS.iter().flat_map(|(letter, count)| (1..=*count).map(move |n| format!("{letter}{n:02}"))).collect();
    assert_eq!(wanted.len(), 227);
    let found: BTreeSet<String> = rows().into_keys().collect();
    assert_eq!(found.difference(&wanted).collect::<Vec<_>>(), Vec::<&String>::new(), "invented");
    assert_eq!(wanted.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new(), "missing");
}

#[test]
fn every_row_has_a_proof_that_exists() {
    let cases: BTreeSet<String> = cases::all().into_iter().map(|case| case.row).collect();
    let mut problems = Vec::new();
    for (id, row) in rows() {
        let mut proofs = row.proof.split(", ").map(|proof| proof.trim_matches('`'));
        if row.proof.starts_with("n/a: ") && row.usage == "n/a" {
            continue;
        }
        if cases.contains(&id) != proofs.clone().any(|proof| proof == "case") {
            problems.push(format!("{id}: `case` stands for tests/cases/{id}.yaml"));
        }
        problems.extend(
            proofs
                .find(|proof| *proof != "case" && !exists(proof))
                .map(|proof| format!("{id}: there is no test `{proof}`")),
        );
    }
    let rows = rows();
    problems.extend(cases.iter().filter(|case| !rows.contains_key(*case)).map(|case| format!("{case} is no row")));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// `path::name`: the file has a test of that name.
fn exists(proof: &str) -> bool {
    let Some((path, name)) = proof.split_once("::") else { return false };
    let Ok(text) = std::fs::read_to_string(root().join(path)) else { return false };
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    before.trim_end().ends_with("#[test]")
}

/// Rows that doit itself does not keep are told to people who come from it.
#[test]
fn what_differs_from_doit_is_told() {
    let page = std::fs::read_to_string(root().join("docs/doit.md")).expect("docs/doit.md");
    let told = |row: &str| page.lines().any(|line| line.starts_with('|') && line.contains(row));
    let untold: Vec<String> = cases::all()
        .into_iter()
        .filter(|case| {
            let differs =
                matches!(case.doit, Doit::Differs(_)) || case.steps.iter().any(|step| step["ours"].is_string());
            differs && is_kept(&case.row) && !told(&case.row)
        })
        .map(|case| case.row)
        .collect();
    assert!(untold.is_empty(), "docs/doit.md does not name {untold:?}");
}
