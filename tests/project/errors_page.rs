//! docs/errors.md is made from the code: every message with what to do about it. Knows Rust only as far as string
//! literals go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Rooms with what their errors are about and the exit code, in the order of the page.
const ROOMS: &[(&str, &str, &str)] = &[
    ("cli", "The command line", "3, unless it says otherwise"),
    ("taskfile", "tasks.yaml", "3"),
    ("graph", "The graph of tasks", "3"),
    ("stack", "The stack: spec.yml, tags, git", "3; 2 while a task runs"),
    ("render", "Dockerfiles and templates", "3; 2 while a task runs"),
    ("context", "Build contexts", "3; 2 while a task runs"),
    ("environment", "Environments", "3; 125 from `env run`"),
    ("engine", "Runs", "1 if a task failed, 2 if it could not be executed"),
    ("exec", "Commands of tasks", "1 if it failed, 2 if it could not be executed"),
    ("action", "Built-in actions", "1 if it failed, 2 if it could not be executed"),
    ("docker", "The engine", "2"),
    ("registry", "Registries", "1 if it refused, 2 if it could not be asked"),
    ("remote", "Hosts", "2"),
    ("store", "The state in .xtask/", "2"),
    ("watch", "Watching", "2"),
];

/// One message and what helps.
type Found = BTreeMap<String, Vec<String>>;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a room").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["tests", "testing"].contains(&name.as_str()) {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|kind| kind == "rs") && !name.contains("test") {
            found.push(path);
        }
    }
}

/// The first string literal of `text`, if nothing but the opening of a call stands before it.
fn literal(text: &str) -> Option<String> {
    let start = text.find('"')?;
    let before = text[..start].trim_matches(|c: char| c.is_whitespace() || c == '(');
    if !["", "format!", "&format!"].contains(&before) {
        return None;
    }
    let mut out = String::new();
    let mut chars = text[start + 1..].chars();
    while let Some(one) = chars.next() {
        match one {
            '"' => return Some(out),
            '\\' => match chars.next()? {
                'n' => out.push(' '),
                '\n' => {
                    let rest = chars.as_str().trim_start();
                    chars = rest.chars();
                }
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    None
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

/// Messages of one file, each with the helps of the same statement.
fn read(text: &str, found: &mut Found) {
    let text = text.split("\n#[cfg(test)]").next().unwrap_or(text);
    for opening in ["Diagnostic::error(", "Diagnostic::warning(", "Self::error(", "refuse(", "#[error("] {
        for (at, _) in text.match_indices(opening) {
            let rest = &text[at + opening.len()..];
            let Some(message) = literal(rest) else { continue };
            let message = shape(&message);
            // A message without a word of its own is another error's.
            if message.split(' ').filter(|word| word.chars().all(|c| c.is_lowercase() || ",.:".contains(c))).count() < 2
            {
                continue;
            }
            let statement = &rest[..rest.find(";\n").unwrap_or(rest.len()).min(900)];
            let statement = &statement[..statement.find("Diagnostic::").unwrap_or(statement.len())];
            let helps = found.entry(message).or_default();
            for (at, _) in statement.match_indices(".help(") {
                if let Some(help) = literal(&statement[at + 6..]).map(|help| shape(&help))
                    && !helps.contains(&help)
                {
                    helps.push(help);
                }
            }
        }
    }
}

fn page() -> String {
    let mut page = "# Errors\n\nEvery message, and what to do about it. Made from the code by a test (`UPDATE_GOLDEN=1 cargo nextest run \
                    errors_page` writes\nit). Words in capitals stand for names of yours. Each message is followed by the file, line and column that \
                    it is about,\nwhere there is one; all errors of a file are told at once.\n\nExit codes: 1 a task failed, 2 an error \
                    while executing, 3 an error before anything ran.\n"
        .to_owned();
    for (room, title, exit) in ROOMS {
        let mut files = Vec::new();
        sources(&root().join("xtask/src").join(room), &mut files);
        files.sort();
        let mut found = Found::new();
        for file in files {
            read(&std::fs::read_to_string(file).expect("a source"), &mut found);
        }
        page += &format!("\n## {title}\n\nExit code {exit}.\n\n| message | what to do |\n|---|---|\n");
        for (message, helps) in found {
            page += &format!("| {message} | {} |\n", helps.join("; or "));
        }
    }
    page
}

#[test]
fn the_page_of_errors_is_made_from_the_code() {
    let made = page();
    let path = root().join("docs/errors.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &made).expect("written");
    }
    let kept = std::fs::read_to_string(path).expect("docs/errors.md");
    // A message that changes need not touch the page at once, but the page cannot rot.
    let rows = |page: &str| -> BTreeSet<String> {
        page.lines().filter(|line| line.starts_with("| ")).map(str::to_owned).collect()
    };
    let (made_rows, kept_rows) = (rows(&made), rows(&kept));
    let differ: Vec<&String> = made_rows.symmetric_difference(&kept_rows).collect();
    let is_old = differ.len() * 20 > made_rows.len();
    assert!(
        !is_old,
        "docs/errors.md is old: UPDATE_GOLDEN=1 cargo nextest run -p xtask --test project errors_page\n{differ:#?}"
    );
    assert!(made_rows.len() > 350, "only {} messages were found", made_rows.len());
    for wanted in ["has unknown FIELD `NAME`", "| the spec `FILE` does not exist | name the spec in"] {
        assert!(made.contains(wanted), "{wanted}");
    }
}
