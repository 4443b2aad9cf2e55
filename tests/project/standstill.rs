//! A run that finds by what earlier runs saw that nothing has changed must see every change all the same. Knows the file
//! formats of the state only as far as it damages them.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::space::{Ran, Space};

const TASKS: &str = r#"
version: 1
config: { default_tasks: ["*"] }
vars: { mode: { env: MODE, default: plain } }
tasks:
  content: { file_dep: [in/content], targets: [out/content], actions: ["cat in/content > out/content"] }
  glob: { file_dep: ["in/glob/*.txt"], targets: [out/glob], actions: ["cat in/glob/*.txt > out/glob"] }
  deep: { file_dep: ["in/deep/**/*.txt"], targets: [out/deep], actions: ["ls -R in/deep > out/deep"] }
  folder: { file_dep: [in/folder], targets: [out/folder], actions: ["ls in/folder > out/folder"] }
  link: { file_dep: [in/link], targets: [out/link], actions: ["cat in/link > out/link"] }
  none: { file_dep: ["in/none/*"], targets: [out/none], actions: ["ls in > out/none"] }
  mode: { file_dep: [in/mode], targets: [out/mode], actions: ["echo {{ vars.mode }} > out/mode"] }
  each: { for_each: { files: "in/each/*" }, file_dep: ["{{ item }}"], actions: ["cat {{ item }}"] }
  first: { file_dep: [in/first], actions: ["cat in/first"] }
  second: { result_dep: [first], file_dep: [in/second], actions: ["cat in/second"] }
  third: { task_dep: [second], result_dep: [second], file_dep: [in/third], actions: ["true"] }
"#;

fn space() -> Space {
    let space = Space::new();
    space.write("tasks.yaml", TASKS);
    for name in
        ["content", "glob/a.txt", "deep/a/b/c.txt", "folder/a", "real", "mode", "each/a", "first", "second", "third"]
    {
        space.write(&format!("in/{name}"), "1\n");
    }
    space.write("in/folder/.gitignore", "*.log\n");
    std::os::unix::fs::symlink("real", space.path("in/link")).unwrap();
    space.write("out/.keep", "");
    space
}

/// `run --reporter json` with these words.
fn run(space: &Space, words: &[&str]) -> Ran {
    space.command(&[&["run", "--reporter", "json"], words].concat(), "")
}

/// Runs until nothing runs, and long enough after the last change that stats alone prove it.
fn settle(space: &Space) {
    assert_eq!(run(space, &[]).exit, 0);
    std::thread::sleep(Duration::from_millis(2100));
    let second = run(space, &[]);
    assert!(second.outcome("ran").is_empty(), "{:?}", second.outcome("ran"));
    let (third, quick) = watched_run(space);
    assert!(quick && third.outcome("ran").is_empty() && third.outcome("up-to-date").len() == 11, "{third:?}");
}

/// A run, and whether it went without the stat cache: then it was decided from what was seen.
fn watched_run(space: &Space) -> (Ran, bool) {
    let cache = space.path(".xtask/files.bin");
    let kept = std::fs::read(&cache).unwrap();
    std::fs::write(&cache, "spoilt").unwrap();
    let ran = run(space, &[]);
    let quick = std::fs::read(&cache).unwrap() == b"spoilt";
    if quick {
        std::fs::write(&cache, kept).unwrap();
    }
    (ran, quick)
}

fn ran(space: &Space, words: &[&str]) -> String {
    let ran = run(space, words);
    assert_eq!(ran.exit, 0, "{}", ran.err);
    ran.outcome("ran").into_iter().collect::<Vec<_>>().join(" ")
}

/// Writes another content of the same length and sets the time of modification back.
fn sneak(space: &Space, name: &str, content: &str) {
    let path = space.path(name);
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, content).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
}

#[test]
fn every_change_is_seen() {
    let space = space();
    settle(&space);
    type Change = fn(&Space);
    let changes: [(&str, Change); 17] = [
        ("content", |space| sneak(space, "in/content", "2\n")),
        ("content", |space| std::fs::remove_file(space.path("out/content")).unwrap()),
        ("content", |space| space.write("out/content", "other\n")),
        ("content", |space| {
            std::fs::set_permissions(space.path("in/content"), std::fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("glob", |space| space.write("in/glob/b.txt", "1\n")),
        ("glob", |space| std::fs::remove_file(space.path("in/glob/b.txt")).unwrap()),
        ("glob", |space| std::fs::rename(space.path("in/glob/a.txt"), space.path("in/glob/z.txt")).unwrap()),
        ("deep", |space| space.write("in/deep/a/b/new/d.txt", "")),
        ("deep", |space| std::fs::remove_dir_all(space.path("in/deep/a/b/new")).unwrap()),
        ("folder", |space| space.write("in/folder/sub/new", "")),
        ("folder", |space| space.write("in/folder/.gitignore", "sub\n")),
        ("link", |space| sneak(space, "in/real", "2\n")),
        ("none", |space| space.write("in/none/now", "")),
        ("each:in/each/b", |space| space.write("in/each/b", "")),
        ("mode", |space| {
            let text = TASKS.replace("default: plain", "default: other");
            space.write("tasks.yaml", &text);
        }),
        ("first", |space| assert_eq!(space.command(&["forget", "first"], "").exit, 0)),
        ("third", |space| {
            let far = SystemTime::now() + Duration::from_secs(1000);
            sneak(space, "in/third", "2\n");
            std::fs::File::options().write(true).open(space.path("in/third")).unwrap().set_modified(far).unwrap();
        }),
    ];
    for (expected, change) in changes {
        change(&space);
        assert_eq!(ran(&space, &[]), expected);
        assert_eq!(ran(&space, &[]), "", "after a change for {expected}");
    }
}

#[test]
fn the_environment_the_records_and_the_program_count() {
    let space = space();
    settle(&space);
    let words = ["run", "--reporter", "json"].map(str::to_owned);
    let with_mode = space.call(&words, "", &[("MODE".into(), "loud".into())]);
    assert_eq!(with_mode.outcome("ran").into_iter().collect::<Vec<_>>(), ["mode"]);
    assert_eq!(ran(&space, &[]), "mode");
    // Asked for more than a plain run, and by other words.
    assert_eq!(ran(&space, &["-W", "in/first", "first"]), "first");
    assert_eq!(ran(&space, &["-a", "-s", "second"]), "second");
    assert_eq!(run(&space, &["nothing"]).exit, 3);
    assert_eq!(space.command(&["ignore", "content"], "").exit, 0);
    assert_eq!(run(&space, &[]).outcome("ignored").into_iter().collect::<Vec<_>>(), ["content"]);
    // The binary is another program than this test: it reads everything anew, and so does this one after it.
    let binary = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("-q").current_dir(space.root()).status().unwrap();
    assert!(binary.success());
    assert_eq!(ran(&space, &[]), "");
}

#[test]
fn what_is_kept_of_other_tasks_does_not_outlive_their_needs() {
    let space = space();
    settle(&space);
    // `second` was up to date, but what it depends on runs alone and leaves another result.
    space.write("in/first", "2\n");
    assert_eq!(ran(&space, &["first"]), "first");
    assert_eq!(ran(&space, &["content"]), "");
    assert_eq!(ran(&space, &["third"]), "second");
    assert_eq!(ran(&space, &[]), "");
    // Tasks that nothing happened to are still known after a run of others.
    space.write("in/content", "3\n");
    assert_eq!(ran(&space, &["content"]), "content");
    assert!(watched_run(&space).1);
}

#[test]
fn damage_costs_work_only() {
    let space = space();
    settle(&space);
    let file = space.path(".xtask/seen.bin");
    let whole = std::fs::read(&file).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 20) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&file, damaged).unwrap();
        let (second, quick) = watched_run(&space);
        assert!(!quick && second.outcome("ran").is_empty(), "{second:?}");
    }
    // Without the records nothing was ever done.
    std::fs::remove_file(space.path(".xtask/state.db")).unwrap();
    let _ = std::fs::remove_file(space.path(".xtask/state.db-wal"));
    assert_eq!(run(&space, &[]).outcome("ran").len(), 11);
}

#[test]
fn the_program_tells_what_its_own_time_went_to() {
    let space = space();
    let told = |space: &Space| {
        let ran = space.command(&["run", "-q", "--self-profile"], "");
        assert_eq!(ran.exit, 0, "{}", ran.err);
        for part in ["planning", "stat", "hash", "database", "seen", "spawn", "wait"] {
            let line = ran.err.lines().find(|line| line.trim_start().starts_with(part)).unwrap_or_default();
            assert!(line.contains(" ms") && line.ends_with(" times"), "no `{part}` in: {}", ran.err);
        }
        let total = ran.err.lines().find_map(|line| line.strip_prefix("self-profile: ")?.strip_suffix(" ms"));
        total.and_then(|ms| ms.parse::<f64>().ok()).expect("the whole time")
    };
    assert!(told(&space) > 0.0);
    settle(&space);
    assert!(told(&space) > 0.0);
}

#[test]
fn only_what_something_happened_to_is_looked_at_closely() {
    let space = space();
    settle(&space);
    space.write("in/first", "2\n");
    space.write("in/glob/b.txt", "1\n");
    // The others are up to date all the same, each told once.
    let both = run(&space, &[]);
    let names = |outcome: &str| both.outcome(outcome).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!((both.exit, names("ran")), (0, "first glob second".to_owned()), "{}", both.err);
    assert_eq!(names("up-to-date"), "content deep each:in/each/a folder link mode none third");
    assert_eq!(both.reasons("first"), ["file_dep_changed"]);
    assert!(watched_run(&space).1, "what has run is known, too");
    // `-a` runs all, whatever is known.
    assert_eq!(run(&space, &["-a"]).outcome("ran").len(), 11);
}
