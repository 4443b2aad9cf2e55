//! Fuzzing for a bounded time: taskfiles, templates, Dockerfiles and the bytes of the state. Inputs are mutations of a corpus
//! (files of the tests, and `tests/data/fuzz/<target>`, where an input that once broke something stays). Knows no row.
//!
//! No panic, no input that takes a second, no growth of memory without bound; an error has a place.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use xtask::render::dockerfile::{BuildOptions, Dockerfile};
use xtask::render::task_text::{self, Quote};
use xtask::taskfile::yaml;

use crate::faults::Space;
use crate::faults::counts::{Random, report, soak};
use crate::state::converges;

/// Seconds of each target in CI.
const SECONDS: u64 = 8;
/// The most memory of this process, in MiB.
const MEMORY: u64 = 512;

fn data(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)
}

/// All files below these folders.
fn corpus(folders: &[&str]) -> Vec<Vec<u8>> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| data(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let mut below: Vec<PathBuf> =
                fs::read_dir(path).expect("a folder").flatten().map(|one| one.path()).collect();
            below.sort();
            open.extend(below);
        } else {
            found.push(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        }
    }
    assert!(!found.is_empty());
    found
}

/// Changes an input in up to four places: bits, bytes, pieces of itself, of another one, and words that mean something.
fn mutate(random: &mut Random, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(40)).min(bytes.len());
        match random.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                let times = if random.below(50) == 0 { 2_000 } else { 1 + random.below(3) };
                bytes.splice(to..to, piece.repeat(times));
            }
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(200)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            5 => bytes.truncate(at),
            6 => {
                let length = random.below(8);
                let noise = random.bytes(length);
                bytes.splice(at..at, noise);
            }
            _ => {
                let word = words[random.below(words.len())].as_bytes();
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
    bytes.truncate(200_000);
    bytes
}

/// Seconds of processor time of this thread: other work on the machine does not count.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("the times of a thread");
    stat.split_whitespace().next().and_then(|text| text.parse::<f64>().ok()).expect("a number") / 1e9
}

fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the state of this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// Tries inputs until the time is over; one that breaks a promise is kept and named.
fn fuzz(target: &str, corpus: &[Vec<u8>], words: &[&str], mut attempt: impl FnMut(&[u8])) {
    let time = soak().unwrap_or(Duration::from_secs(SECONDS));
    let mut random = Random::new();
    let begun = Instant::now();
    let mut tried = 0_u64;
    let mut slowest = 0.0_f64;
    let mut one = |input: &[u8]| {
        let before = cpu();
        let result = catch_unwind(AssertUnwindSafe(|| attempt(input)));
        let took = cpu() - before;
        slowest = slowest.max(took);
        if result.is_err() || took > 1.0 || peak_memory() > MEMORY {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}-{tried}"));
            fs::write(&file, input).expect("a file");
            let why = if result.is_err() {
                "broke a promise".to_owned()
            } else {
                format!("took {took:.1} s, {} MiB", peak_memory())
            };
            panic!("{target}: {why}; the input is {}, and belongs into tests/data/fuzz/{target}", file.display());
        }
        tried += 1;
    };
    // First everything as it is: what once broke something must not do so again.
    for input in corpus {
        one(input);
    }
    while begun.elapsed() < time {
        one(&mutate(&mut random, corpus, words));
    }
    report(
        &format!("fuzz {target}"),
        &format!("{tried} inputs, slowest {slowest:.2} s, {} MiB, 0 broken promises", peak_memory()),
    );
}

const YAML: &[&str] = &[
    "version: 1\n",
    "tasks:\n",
    "  t:\n    ",
    "- ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: *a",
    "? ",
    "|\n",
    ">-\n",
    "!!str ",
    "---\n",
    "\t",
    "\u{feff}",
    "\u{0}",
    "actions: [echo]",
    "file_dep: [\"**\"]",
    "for_each: [a, b]",
    "matrix: {x: [1]}",
    "{{ vars.x }}",
    "{{ ",
    " }}",
    "{% for i in range(9999999) %}",
    "include: [tasks.yaml]",
    "params: [{name: x, type: int}]",
    "999999999999999999999",
    "-1",
    "1e999",
    ".nan",
    "1h",
    "null",
    "true",
    "uptodate: [{timeout: 1h}]",
    "getargs: {x: t.y}",
    "setup: [t]",
    "calc_dep: [t]",
    "result_dep: [\"*\"]",
    "../..",
    "\u{1f980}",
    "\"\\u0000\"",
    "pools: {a: 0}",
    "pool: a",
];

#[test]
fn fuzz_taskfiles() {
    let corpus = corpus(&["tests/data/taskfiles", "tests/cases", "tests/data/fuzz/taskfile", "tasks.yaml"]);
    let space = Space::new();
    let mut number = 0_usize;
    fuzz("taskfile", &corpus, YAML, |input| {
        if let Err(errors) = yaml::parse("tasks.yaml", input) {
            assert!(
                !errors.0.is_empty() && errors.0.iter().all(|error| !error.places.is_empty()),
                "an error without a place"
            );
        }
        // The whole way from bytes to a graph costs more: every third time.
        number += 1;
        if !number.is_multiple_of(3) {
            return;
        }
        space.write("tasks.yaml", input);
        let ran = space.command(&["list", "--all", "--private", "--quiet"]);
        assert!(ran.exit == 0 || ran.exit == 3, "exit {}: {}", ran.exit, ran.err);
        if ran.exit == 3 {
            assert!(ran.err.contains("error: "), "refused without a word");
            let errors =
                ran.err.lines().filter(|line| line.starts_with("error: ") && !line.contains(" more error")).count();
            let places = ran.err.lines().filter(|line| line.trim_start().starts_with("--> ")).count();
            assert!(places >= errors, "an error without a place: {}", ran.err);
        }
    });
}

const TEMPLATE: &[&str] = &[
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{#",
    "#}",
    "{{ a }}",
    "{{ list | join(' ') }}",
    "{% for i in list %}",
    "{% endfor %}",
    "{% if a %}",
    "{% endif %}",
    "{% set x = a %}",
    "{% macro m(a) %}",
    "{% endmacro %}",
    "{% import 'macros.j2' as m %}",
    "{% include 'x' %}",
    "| raw",
    "| lines",
    "| upper",
    "~",
    "a.b.c",
    "list[0]",
    "range(1000000)",
    "'",
    "\"",
    "'x' * 100000",
    "FROM a\n",
    "RUN x \\\n",
    "<<EOF\n",
    "EOF\n",
    "# syntax=x\n",
    "ARG A=${B:-c}\n",
    "COPY --from=a b c\n",
    "\\",
    "\n",
    "\u{0}",
    "\u{e000}",
    "\u{1f980}",
    "loop.index",
    "not in",
    "-%}",
];

#[test]
fn fuzz_templates() {
    let corpus = corpus(&["images", "tests/data/golden", "tests/data/fuzz/template"]);
    let space = Space::new();
    let scope = json!({"a": "x y", "list": ["1", "b c"], "number": 7, "vars": {"x": "'"}, "image": {"name": "base"}});
    fuzz("template", &corpus, TEMPLATE, |input| {
        let text = String::from_utf8_lossy(input);
        for quote in [Quote::Plain, Quote::Shell] {
            if let Err(error) = task_text::expand_text(&text, &scope, quote) {
                assert!(!error.message.is_empty());
            }
        }
        let _ = (task_text::names_used(&text), task_text::paths_used(&text), task_text::expand_words(&text, &scope));
        if task_text::check_syntax(&text).is_err() {
            assert!(
                task_text::expand_text(&text, &scope, Quote::Plain).is_err(),
                "a syntax error that only the check sees"
            );
        }
        space.write("t/Dockerfile.j2", text.as_bytes());
        let rendered = xtask::render::template::render(space.root(), Path::new("t/Dockerfile.j2"), &[], &scope);
        let dockerfile = match &rendered {
            Ok(rendered) => &rendered.text,
            Err(error) => {
                assert!(!error.places.is_empty(), "an error without a place: {error}");
                &*text
            }
        };
        match Dockerfile::read("Dockerfile", dockerfile, &BuildOptions::default()) {
            Ok(file) => assert_eq!(file.pin(&std::collections::HashMap::new()), *dockerfile),
            Err(errors) => assert!(errors.0.iter().all(|error| !error.places.is_empty()), "{errors}"),
        }
    });
}

#[test]
fn fuzz_state() {
    let space = Space::new();
    space.write("tasks.yaml", "version: 1\nconfig: { default_tasks: [a, b] }\ntasks:\n  a: { file_dep: [in], targets: [x], actions: [{ copy: { from: in, to: x } }] }\n  b: { file_dep: [x], result_dep: [a], targets: [y], actions: [{ copy: { from: x, to: y } }] }\n");
    space.write("in", "0");
    space.run(&[]).fine();
    let database = rusqlite::Connection::open(space.path(".xtask/state.db")).expect("a database");
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;").expect("a journal");
    drop(database);
    let whole = |name: &str| fs::read(space.path(&format!(".xtask/{name}"))).expect("a file");
    let (state, files) = (whole("state.db"), whole("files.bin"));
    let mut number = 0_usize;
    let corpus = [state.clone(), files.clone()];
    fuzz("state", &corpus, &["SQLite format 3\0", "xtfiles1", "\0\0\0\0", "\u{ff}", "CREATE TABLE", "a"], |input| {
        number += 1;
        let is_database = input.starts_with(b"SQLite");
        for extra in ["state.db-wal", "state.db-shm", "state.db-journal"] {
            let _ = fs::remove_file(space.path(&format!(".xtask/{extra}")));
        }
        space.write(".xtask/state.db", if is_database { input } else { &state });
        space.write(".xtask/files.bin", if is_database { &files } else { input });
        // A change that must be seen, whatever the state says.
        space.write("in", format!("{number}"));
        let ran = converges(&space, "mutated state");
        assert!(space.read("y") == number.to_string(), "a change was missed: {}", ran.out);
        for aside in fs::read_dir(space.path(".xtask")).expect("a folder").flatten() {
            if aside.file_name().to_string_lossy().contains("damaged") {
                fs::remove_file(aside.path()).expect("a file");
            }
        }
    });
}
