//! Commands in the README and on the pages of docs/: each is run, or named with the reason why not. Knows nothing of
//! what they do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::handbook::{Shown, commands, play};
use crate::stand_in::StandIn;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Tables and generated pages: their rows name tests, or the types that they are made from.
const NO_PROSE: &[&str] = &["docs/reference.md", "docs/errors.md", "docs/contract.md", "docs/seeds.md"];

/// Pages whose consoles need an engine or a registry, with the test that runs them.
const CONSOLES_ELSEWHERE: &[(&str, &str)] = &[
    ("docs/publishing.md", "the_commands_of_the_page_about_publishing_work"),
    ("docs/publish-an-environment.md", "the_commands_of_the_page_about_publishing_an_environment_work"),
];

/// Commands in prose that are not run here: how they begin, and where they are run or why they cannot be.
const PROSE_ELSEWHERE: &[(&str, &str)] = &[
    ("cargo xtask build-stack", "`ci` runs it on the real stack, `chain_live` on a small one"),
    ("cargo xtask ci --", "it is what runs this test"),
    ("cargo xtask ci", "it is what runs this test"),
    ("cargo xtask watch", "it never ends: `watch_live` runs it"),
    ("cargo xtask push", "needs a registry: `chain_live::handbook` and `chain_live::publish` run it"),
    ("cargo xtask -s push-image", "needs a registry: `chain_live::pushing` runs it"),
    ("cargo xtask stable", "needs a registry: `chain_live::stable` runs it"),
    ("cargo xtask join", "needs two machines: `chain_live::platforms` runs it"),
    ("cargo xtask env run", "needs an engine: `environments_live::handbook` runs it"),
    ("cargo xtask env build", "needs an engine: `environments_live::handbook` runs it"),
    ("cargo xtask env stop", "needs an engine: `environments_live::handbook` runs it"),
    ("cargo xtask env gc", "needs an engine: `environments_live::handbook` runs it"),
    ("cargo xtask env cache", "needs an engine: `environments_live::handbook` runs it"),
    ("cargo xtask env ps", "needs an engine: `environments_live::handbook` runs it"),
    ("cargo xtask test-env", "needs an engine: `environments_live::handbook` runs it"),
    ("cargo xtask spec lock", "needs a registry: `chain_live::bases` runs it"),
    ("cargo xtask sync", "needs a host: `hosts_live::sync` runs it"),
    ("cargo xtask soak", "takes minutes, and runs these tests itself"),
    ("cargo xtask explain build:", "needs an engine: `chain_live::changes` runs it"),
    ("cargo run -p xtask --example pictures", "takes minutes, an engine and a browser"),
    ("cargo run -- init", "`project::init` runs `init` in an empty folder"),
    ("cargo bench", "takes minutes, and measures only on a machine that does nothing else"),
    ("cargo nextest", "it is what runs this test"),
    ("cargo test", "it is what runs this test"),
];

/// Words that stand for something of the reader's, and what is put there.
const STAND_FOR: &[(&str, &str)] =
    &[("TASK", "lint-shell"), ("NAME", "lint-shell"), ("DIR", "new"), ("@docs", "lint-shell")];

/// All pages that are read by people: path relative to the root, and text.
fn pages() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned(), "ARCHITECTURE.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).expect("docs").flatten() {
        names.push(format!("docs/{}", entry.file_name().to_string_lossy()));
    }
    names.retain(|name| {
        Path::new(name).extension().is_some_and(|kind| kind == "md") && !NO_PROSE.contains(&name.as_str())
    });
    names.sort();
    names.iter().map(|name| (name.clone(), std::fs::read_to_string(root().join(name)).expect("a page"))).collect()
}

/// A copy of the repository under git, as somebody has it who cloned it.
fn copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["tasks.yaml", "images", "environments", "scripts", "benches", ".gitignore"] {
        let status = Command::new("cp").arg("-r").arg(root().join(name)).arg(copy.path()).status().expect("cp");
        assert!(status.success());
    }
    let begin = "git init --quiet --initial-branch=main && git add --all && \
                 git -c user.name=Test -c user.email=test@localhost commit --quiet --message=Begin";
    let (fine, said) = StandIn::new().sh(copy.path(), begin);
    assert!(fine, "{said}");
    copy
}

#[test]
fn the_consoles_of_every_page_work() {
    let stand_in = StandIn::new();
    let mut played = 0;
    for (name, text) in pages() {
        if CONSOLES_ELSEWHERE.iter().any(|(page, _)| *page == name) || !commands(&text).iter().any(Shown::is_console) {
            continue;
        }
        played += 1;
        let folder = if name == "README.md" { copy() } else { tempfile::tempdir().expect("a folder") };
        // As `cargo xtask ci` installs doit.
        let own = root().join("target/doit/bin/python3");
        let python = if own.exists() { own.display().to_string() } else { "python3".to_owned() };
        let with_doit = format!("{python} tasks_as");
        play(&text, folder.path(), &|text| text.replace("python3 tasks_as", &with_doit), &mut |command| {
            let (fine, said) = stand_in.sh(folder.path(), command);
            assert!(fine, "{name}: `{command}` failed:\n{said}");
        });
    }
    assert!(played >= 5, "only {played} pages with consoles were found");
}

#[test]
fn the_commands_in_prose_work_or_say_why_they_are_not_run() {
    let stand_in = StandIn::new();
    let copy = copy();
    let (mut run, mut unused) = (BTreeSet::new(), PROSE_ELSEWHERE.to_vec());
    for (name, text) in pages() {
        for shown in commands(&text).into_iter().filter(|shown| !shown.is_console()) {
            let command = shown.command();
            unused.retain(|(start, _)| !command.starts_with(start));
            let is_bare = matches!(command, "cargo xtask" | "cargo xtask run");
            // What is meant for another machine is run by `hosts_live`, against an sshd and an engine of its own.
            let is_away = command.contains("--host ");
            if is_bare || is_away || PROSE_ELSEWHERE.iter().any(|(start, _)| command.starts_with(start)) {
                continue;
            }
            let command = STAND_FOR.iter().fold(command.to_owned(), |text, (word, with)| text.replace(word, with));
            if run.insert(command.clone()) {
                // `explain` says by 1 that something would run.
                let (fine, said) =
                    stand_in.sh(copy.path(), &format!("mkdir -p .github/workflows; {command} || test $? = 1"));
                assert!(fine, "{name}: `{command}` failed:\n{said}");
            }
        }
    }
    assert!(run.len() >= 8, "only {run:?} were run");
    assert!(unused.is_empty(), "no page has these any more: {unused:?}");
}

#[test]
fn tests_that_run_pages_elsewhere_are_there() {
    for (page, test) in CONSOLES_ELSEWHERE {
        assert!(root().join(page).exists(), "{page}");
        let found = ["tests/chain_live/handbook.rs", "tests/environments_live/handbook.rs"].iter().any(|file| {
            std::fs::read_to_string(root().join(file)).is_ok_and(|text| text.contains(&format!("fn {test}(")))
        });
        assert!(found, "{page}: no test `{test}`");
    }
    // A test of a handbook finds its commands on the pages that it plays.
    let pages = CONSOLES_ELSEWHERE.iter().map(|(page, _)| *page).chain(["docs/environments.md"]);
    let played: String = pages
        .flat_map(|page| commands(&std::fs::read_to_string(root().join(page)).expect("a page")))
        .map(|shown| format!("{}\n", shown.command()))
        .collect();
    for (command, why) in PROSE_ELSEWHERE {
        let last = command.split([' ', ':']).rfind(|word| !word.is_empty()).expect("a word");
        for test in why.split('`').skip(1).step_by(2).filter(|name| name.contains("::")) {
            let file = root().join("tests").join(test.replace("::", "/")).with_extension("rs");
            let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("`{command}`: no file of `{test}`"));
            let is_played = test.ends_with("::handbook") && played.contains(*command);
            assert!(is_played || text.contains(last), "`{command}`: nothing of `{last}` in `{test}`");
        }
    }
}

/// More would make the repository slow to get, and the page slow to read.
const LARGEST_PICTURE: u64 = 30_000;

#[test]
fn pictures_are_small_and_shown_for_light_and_dark() {
    let all: String = pages().into_iter().map(|(_, text)| text).collect();
    let mut found = 0;
    for entry in std::fs::read_dir(root().join("docs/pictures")).expect("pictures").flatten() {
        found += 1;
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(entry.metadata().expect("a file").len() < LARGEST_PICTURE, "{name} is too large");
        assert!(all.contains(&format!("pictures/{name}")), "no page shows {name}");
        let twin = name.replace("-light.", "-dark.");
        if twin == name && !name.contains("-dark.") {
            let text = std::fs::read_to_string(entry.path()).expect("text");
            assert!(text.starts_with("<svg ") && text.contains("prefers-color-scheme:dark"), "{name}");
        } else {
            assert!(root().join("docs/pictures").join(twin).exists(), "{name} has no dark twin");
        }
    }
    assert!(found > 0, "there are no pictures");
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    for shown in all.split("pictures/").skip(1).filter_map(|rest| rest.split(|c| !is_part(c)).next()) {
        let is_picture = Path::new(shown).extension().is_some_and(|kind| kind == "svg" || kind == "png");
        assert!(!is_picture || root().join("docs/pictures").join(shown).exists(), "there is no picture {shown}");
    }
}
