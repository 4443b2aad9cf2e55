//! docs/errors.md is made from the code: every message with its exit code and what to do about it. What no message was
//! found for is named here with its reason, so that none is missing unseen.

#[path = "errors_page/read.rs"]
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use read::{Found, Reader, Source};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Rooms with what their errors are about and the exit code, in the order of the page.
const ROOMS: &[(&str, &str, &str)] = &[
    ("cli", "The command line", "3"),
    ("taskfile", "tasks.yaml", "3"),
    ("graph", "The graph of tasks", "3"),
    ("stack", "The stack: spec.yml, tags, git", "3 or 1"),
    ("render", "Dockerfiles and templates", "3 or 1"),
    ("context", "Build contexts", "3 or 1"),
    ("environment", "Environments", "3 or 1"),
    ("engine", "Runs", "2"),
    ("exec", "Commands of tasks", "1"),
    ("action", "Built-in actions", "1"),
    ("docker", "The engine", "1"),
    ("registry", "Registries", "1"),
    ("remote", "Hosts", "1"),
    ("store", "The state in .xtask/", "3 or 2"),
    ("watch", "Watching", "2"),
];

/// Messages with another exit code than others of their room: file, beginning, code.
const EXITS: &[(&str, &str, &str)] = &[
    ("cli/clean.rs", "failed to remove", "1"),
    ("cli/tags.rs", "`{}` is not in the registry", "1 or 3"),
    ("cli/timings.rs", "failed to write timings", "2"),
    ("cli/env/run.rs", "{what} ended with exit code 2", "2"),
    ("cli/env/run.rs", "{what} ended with exit code {code}", "CODE"),
    ("cli/env/run.rs", "{what} was ended, because", "124"),
    ("cli/env/run.rs", "{what} was killed", "of the script"),
    ("cli/env/run.rs", "{what} was lost", "125"),
    ("cli/env/run.rs", "{what} was interrupted", "130"),
    ("cli/env/run.rs", "", "125"),
    ("cli/env/prepare.rs", "", "125"),
    ("engine/worker.rs", "", "1"),
];

/// Places that make an error of which no message is listed, with the reason.
const NOT_LISTED: &[(&str, &str, &str)] = &[
    ("action/image/fleet.rs", "error.to_string()", "says what `docker/endpoint.rs` says"),
    ("action/image/stage.rs", "other.to_string()", "says what `context/stage.rs` says"),
    ("cli/doctor.rs", "error.to_string()", "says what `docker/endpoint.rs` says"),
    ("cli/meant.rs", "text.lines()", "the words of the library that reads the command line"),
    ("context/visible.rs", r#""{0}""#, "says what the rooms below it say"),
    ("docker/error.rs", r#""{what}"#, "what was done, and what the engine says of it"),
    ("model/diagnostic.rs", "message", "where diagnostics are made"),
    ("registry/error.rs", "self.to_string()", "says what its variants say, which are listed"),
    ("remote/error.rs", "self.to_string()", "says what its variants say, which are listed"),
    ("remote/error.rs", r#""{message}""#, "says what another error says"),
    ("render/task_text.rs", r#""{message}""#, "says what another error says"),
    ("render/template.rs", "format!", "`render/problem.rs` has the words"),
    ("store/lock.rs", "self.to_string()", "says what its variants say, which are listed"),
    ("taskfile/cx.rs", "format!", "`render/problem.rs` and `taskfile/template.rs` have the words"),
];

/// Functions whose texts other places put behind a subject: file, function, how the whole reads.
const ENDINGS: &[(&str, &str, &str)] = &[
    ("exec/exit.rs", "describe", "task `{task}` failed: {}"),
    ("render/problem.rs", "explain", "`{file}` {}"),
    ("taskfile/names.rs", "fault", "task name `{name}` {}"),
];

/// What stands above the tables.
const HEAD: &str = "# Errors

Every message, its exit code and what to do about it. Made from the code by a test (`UPDATE_GOLDEN=1 cargo nextest run
errors_page` writes it). Words in capitals stand for names of yours. Each message is followed by the file, line and
column that it is about, where there is one; all errors of a file are told at once.

Exit codes: 1 a task failed, 2 an error while executing, 3 an error before anything ran. `3 or 1` is 3 before anything
ran, and 1 where a task meets it; `–` is a warning, which changes no exit code. With `env run`, what keeps the script
from running is 125. Words about options that are missing or too many come from the library that reads them (3).
";

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a room").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["tests", "testing"].contains(&name.as_str()) {
                files(&path, found);
            }
        } else if path.extension().is_some_and(|kind| kind == "rs") && !name.contains("test") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = root().join("xtask/src");
    let mut all = Vec::new();
    files(&root, &mut all);
    all.sort();
    let source = |path: &PathBuf| {
        let name = path.strip_prefix(&root).expect("below").to_string_lossy().into_owned();
        let room = name.split(['/', '.']).next().unwrap_or_default().to_owned();
        Source::new(&room, &name, &std::fs::read_to_string(path).expect("a source"))
    };
    all.iter().map(source).collect()
}

/// `{name}` becomes `NAME`, `{}` becomes `…`.
fn shape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    while let Some(start) = rest.find('{') {
        let end = rest[start..].find('}').map_or(rest.len() - 1, |end| start + end);
        let name: String =
            rest[start + 1..end].chars().take_while(|one| one.is_alphanumeric() || *one == '_').collect();
        out.push_str(&rest[..start]);
        out.push_str(&if name.is_empty() || name == "0" { "…".to_owned() } else { name.to_uppercase() });
        rest = rest[end + 1..].to_owned();
    }
    (out + &rest)
        .replace('\u{1}', "{")
        .replace('\u{2}', "}")
        .replace('|', "\\|")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// What the statement says itself (`Failure::error`), what is listed, else what is usual in the room.
fn exit<'a>(found: &'a Found, usual: &'a str) -> &'a str {
    let listed = EXITS.iter().find(|(file, start, _)| found.file == *file && found.message.starts_with(start));
    match (found.warning, found.exit, listed) {
        (true, ..) => "–",
        (_, _, Some((_, _, code))) => code,
        (_, Some(code), None) => code,
        _ => usual,
    }
}

/// All messages, those of `ENDINGS` among them.
fn messages(sources: &[Source], reader: &Reader<'_>) -> Vec<Found> {
    let mut found = reader.found.clone();
    for (file, function, form) in ENDINGS {
        let source = sources.iter().find(|source| source.name == *file).expect(file);
        let endings = read::of_function(source, function, form);
        assert!(endings.len() > 2, "`{function}` of {file} has no texts");
        found.extend(endings);
    }
    found
}

fn page(found: &[Found]) -> String {
    let mut page = HEAD.to_owned();
    for (room, title, usual) in ROOMS {
        // Message to exit codes and helps.
        let mut rows: BTreeMap<String, (BTreeSet<&str>, Vec<String>)> = BTreeMap::new();
        for one in
            found.iter().filter(|one| one.file.starts_with(&format!("{room}/")) || one.file == format!("{room}.rs"))
        {
            let (codes, helps) = rows.entry(shape(&one.message)).or_default();
            codes.insert(exit(one, usual));
            for help in one.helps.iter().map(|help| shape(help)) {
                if !helps.contains(&help) {
                    helps.push(help);
                }
            }
        }
        page += &format!("\n## {title}\n\n| message | exit | what to do |\n|---|---|---|\n");
        for (message, (codes, helps)) in rows {
            let codes: Vec<&str> = codes.into_iter().collect();
            page += &format!("| {message} | {} | {} |\n", codes.join(", "), helps.join("; or "));
        }
    }
    page
}

#[test]
fn the_page_of_errors_is_made_from_the_code() {
    let sources = sources();
    let reader = Reader::read(&sources);
    every_place_is_on_the_page_or_named_here(&reader);
    let made = page(&messages(&sources, &reader));
    let path = root().join("docs/errors.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &made).expect("written");
    }
    let kept = std::fs::read_to_string(path).expect("docs/errors.md");
    let rows = |page: &str| -> BTreeSet<String> { page.lines().map(str::to_owned).collect() };
    let (made_rows, kept_rows) = (rows(&made), rows(&kept));
    let differ: Vec<&String> = made_rows.symmetric_difference(&kept_rows).collect();
    assert!(
        made == kept,
        "docs/errors.md is old: UPDATE_GOLDEN=1 cargo nextest run -p xtask --test project errors_page\n{differ:#?}"
    );
    assert!(made_rows.len() > 500, "only {} messages were found", made_rows.len());
    for wanted in [
        "has unknown FIELD `NAME`",
        "| the spec `FILE` does not exist | 3 or 1 | name the spec in",
        "`FILE` holds a NUL byte",
    ] {
        assert!(made.contains(wanted), "{wanted}");
    }
}

fn every_place_is_on_the_page_or_named_here(reader: &Reader<'_>) {
    let is_named = |file: &str, argument: &str| {
        NOT_LISTED.iter().any(|(one, start, _)| *one == file && argument.starts_with(start))
    };
    let unnamed: Vec<_> = reader.missed.iter().filter(|missed| !is_named(&missed.file, &missed.argument)).collect();
    assert!(unnamed.is_empty(), "no message was found for these: name them with a reason\n{unnamed:#?}");
    let is_there = |file: &str, start: &str| {
        reader.missed.iter().any(|missed| missed.file == file && missed.argument.starts_with(start))
    };
    let gone: Vec<_> = NOT_LISTED.iter().filter(|(file, start, _)| !is_there(file, start)).collect();
    assert!(gone.is_empty(), "these are listed by now: {gone:#?}");
    let is_used = |(file, start, _): &&(&str, &str, &str)| {
        reader.found.iter().any(|found| found.file == *file && found.message.starts_with(start))
    };
    let unused: Vec<_> = EXITS.iter().filter(|exit| !is_used(exit)).collect();
    assert!(unused.is_empty(), "no message is so: {unused:#?}");
}
