//! What is up to date and what is not: rows U4 to U20. Edits of every kind, before, during and between runs; the oracle is
//! the content of the files. Knows nothing of kills.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use xtask::model::{Digest, RepoPath};
use xtask::store::{FileState, Files};

use crate::faults::counts::{Random, count};
use crate::faults::helper::helper;
use crate::faults::{Ran, Space};

/// One task `t` with these attributes, and `in` as its input.
fn space(task: &str) -> Space {
    let space = Space::new();
    space.write("tasks.yaml", format!("version: 1\ntasks:\n  t:\n{task}"));
    space.write("in", "0");
    space
}

const COPY: &str = "    file_dep: [in]\n    targets: [out]\n    actions: [{ copy: { from: in, to: out } }]\n";

#[track_caller]
fn settled(space: &Space) {
    assert_eq!(space.run(&["t"]).fine().started(), [""; 0], "nothing is left to do");
}

fn set_modified(path: &Path, time: SystemTime) {
    fs::File::options().read(true).open(path).expect("a file").set_modified(time).expect("a time");
}

/// Runs a task 200 times whose input is changed by `edit` while it runs, before and after it was read.
fn edited_while_running(edit: impl Fn(&Path, usize) + Send + Clone + 'static) -> Vec<(usize, Ran, Ran)> {
    let order = [
        "{ copy: { from: in, to: out } }, { poke: { at: end } }",
        "{ poke: { at: start } }, { copy: { from: in, to: out } }",
    ];
    let spaces = order.map(|order| space(&format!("    file_dep: [in]\n    targets: [out]\n    actions: [{order}]\n")));
    let mut all = Vec::new();
    for round in 0..200 {
        let space = &spaces[round % 2];
        fs::write(space.path("in"), format!("{round:>64}")).expect("a file");
        let (edit, file) = (edit.clone(), space.path("in"));
        space.mixer.on_poke(move || edit(&file, round));
        let first = space.run(&["t"]);
        space.mixer.on_poke(|| ());
        let second = space.run(&["t"]);
        assert_eq!(space.read("out"), space.read("in"), "round {round}");
        if round % 25 == 0 {
            settled(space);
        }
        all.push((round, first, second));
    }
    all
}

#[test]
fn u4_an_input_edited_during_the_run_voids_its_success() {
    let edit = |file: &Path, round: usize| {
        let mut text = fs::read(file).expect("a file");
        let at = round * 7 % text.len();
        text[at] ^= 1;
        fs::write(file, text).expect("a file");
    };
    for (round, first, second) in edited_while_running(edit) {
        assert!(first.out.contains("`in` of task `t` changed while it ran"), "round {round}: {}", first.out);
        assert!(second.kinds("t").contains(&"input_changed_during_run"), "round {round}: {}", second.out);
        assert_eq!(second.reasons("t").expect("reasons")[0]["path"], "in", "round {round}");
        assert_eq!(second.outcome("t"), Some("ran"), "round {round}");
    }
}

#[test]
fn u5_there_and_back_during_the_run_voids_its_success() {
    let edit = |file: &Path, _: usize| {
        let (text, time) =
            (fs::read(file).expect("a file"), fs::metadata(file).expect("a file").modified().expect("a time"));
        fs::write(file, "something else of any length").expect("a file");
        fs::write(file, text).expect("a file");
        set_modified(file, time);
    };
    for (round, _, second) in edited_while_running(edit) {
        assert_eq!(second.kinds("t"), ["input_changed_during_run"], "round {round}");
        assert_eq!(second.outcome("t"), Some("ran"), "round {round}");
    }
}

fn digest(files: &mut Files, name: &RepoPath) -> Digest {
    match files.get(name) {
        FileState::File { digest, .. } => digest,
        other => panic!("{other:?}"),
    }
}

fn name(text: &str) -> RepoPath {
    RepoPath::from_root(text).expect("a path")
}

#[test]
fn u6_a_rewrite_in_the_same_tick_is_seen() {
    for space in [Space::new(), Space::on_disk()] {
        fs::create_dir(space.path(".xtask")).expect("a folder");
        let (file, old) = (space.path("in"), SystemTime::now() - Duration::from_hours(1));
        let mut files = Files::open(space.root()).expect("a root");
        for round in 0..5_000 {
            // Of one size, so that only times could tell; every other time not even the modification time does.
            let text = format!("{round:>8}");
            fs::write(&file, &text).expect("a file");
            if round % 2 == 0 {
                set_modified(&file, old);
            }
            files.next_epoch();
            assert_eq!(digest(&mut files, &name("in")), Digest::of(text.as_bytes()), "round {round}");
            if round % 500 == 0 {
                files.save();
                files = Files::open(space.root()).expect("a root");
            }
        }
    }
}

#[test]
fn u7_other_content_with_the_old_times_is_seen() {
    let space = Space::new();
    fs::create_dir(space.path(".xtask")).expect("a folder");
    let paths: Vec<RepoPath> = (0..1_000).map(|number| name(&format!("in/{number}"))).collect();
    let old = SystemTime::now() - Duration::from_hours(1000);
    for path in &paths {
        space.write(&path.lossy(), "one");
        set_modified(&space.path(&path.lossy()), old);
    }
    // So long that their digests are taken from the stat cache.
    std::thread::sleep(Duration::from_millis(2100));
    let mut files = Files::open(space.root()).expect("a root");
    files.observe(&paths);
    files.save();
    for (number, path) in paths.iter().enumerate() {
        let file = space.path(&path.lossy());
        match number % 3 {
            // In place, as an editor and `touch -r`; another file in its place, as tar and `mv`; an older file.
            0 => fs::write(&file, "two").expect("a file"),
            _ => {
                space.write("new", "two");
                set_modified(&space.path("new"), if number % 3 == 1 { old } else { old - Duration::from_secs(5) });
                fs::rename(space.path("new"), &file).expect("a file");
            }
        }
        if number % 3 == 0 {
            set_modified(&file, old);
        }
    }
    let mut files = Files::open(space.root()).expect("a root");
    files.observe(&paths);
    let missed = paths.iter().filter(|path| digest(&mut files, path) != Digest::of(b"two")).count();
    assert_eq!(missed, 0);
}

#[test]
fn u8_times_alone_are_no_change() {
    let space = space(COPY);
    space.run(&["t"]).fine();
    for round in 0..20 {
        let file = space.path("in");
        match round % 3 {
            0 => set_modified(&file, SystemTime::now()),
            // A checkout and a clone: another file with the same content.
            1 => {
                fs::write(space.path("new"), "0").expect("a file");
                fs::rename(space.path("new"), &file).expect("a file");
            }
            _ => fs::write(&file, "0").expect("a file"),
        }
        settled(&space);
    }
}

#[test]
fn u9_no_date_of_a_file_or_of_the_state_decides() {
    let decade = Duration::from_hours(24 * 3653);
    let now = SystemTime::now();
    let dates = [now - decade, now + decade, SystemTime::UNIX_EPOCH, now + Duration::from_hours(1)];
    let space = space(COPY);
    let mut number = 0;
    for input in dates {
        for state in dates {
            number += 1;
            space.write("in", format!("{number}"));
            set_modified(&space.path("in"), input);
            let ran = space.run(&["t"]).fine();
            assert_eq!(
                ran.kinds("t"),
                if number == 1 { vec!["target_missing", "never_ran"] } else { vec!["file_dep_changed"] }
            );
            for file in ["state.db", "files.bin"] {
                set_modified(&space.path(&format!(".xtask/{file}")), state);
            }
            set_modified(&space.path("out"), state);
            settled(&space);
            set_modified(&space.path("in"), state);
            settled(&space);
            assert_eq!(space.read("out"), number.to_string());
        }
    }
}

#[test]
fn u10_every_output_is_looked_at() {
    let all = "a, b, c";
    let space = space(&format!(
        "    file_dep: [in]\n    targets: [{all}]\n    actions: [{{ mix: {{ task: \"0\", definition: \"0\", coarse: \"false\", from: [in], to: [{all}] }} }}]\n"
    ));
    space.run(&["t"]).fine();
    for output in ["a", "b", "c"] {
        let (file, right) = (space.path(output), space.read(output));
        let time = fs::metadata(&file).expect("a file").modified().expect("a time");
        let faults: [(&str, &dyn Fn()); 6] = [
            ("target_missing", &|| fs::remove_file(&file).expect("a file")),
            ("target_changed", &|| fs::write(&file, "").expect("a file")),
            ("target_changed", &|| fs::write(&file, format!("{right}more")).expect("a file")),
            // Of the same size and date.
            ("target_changed", &|| {
                fs::write(&file, right.to_uppercase().replace('\n', " ")).expect("a file");
                set_modified(&file, time);
            }),
            ("target_missing", &|| {
                fs::remove_file(&file).expect("a file");
                symlink("nowhere", &file).expect("a link");
            }),
            ("target_changed", &|| {
                fs::remove_file(&file).expect("a file");
                fs::create_dir(&file).expect("a folder");
            }),
        ];
        for (kind, fault) in faults {
            fault();
            let seen = space.run(&["t", "--dry-run"]);
            assert_eq!(
                (seen.kinds("t"), &seen.reasons("t").expect("reasons")[0]["path"]),
                (vec![kind], &output.into())
            );
            // The task's own action cannot write over these two.
            let meta = file.symlink_metadata();
            if meta.as_ref().is_ok_and(fs::Metadata::is_dir) {
                fs::remove_dir(&file).expect("a folder");
            } else if meta.is_ok_and(|meta| meta.is_symlink()) {
                fs::remove_file(&file).expect("a link");
            }
            assert_eq!(space.run(&["t"]).fine().outcome("t"), Some("ran"));
            assert_eq!(space.read(output), right);
            settled(&space);
        }
    }
}

#[test]
fn u12_there_and_back_between_runs_ends_where_it_began() {
    let space = space(COPY);
    for _ in 0..20 {
        for content in ["a", "b", "a"] {
            space.write("in", content);
            space.run(&["t"]).fine();
            assert_eq!(space.read("out"), content);
        }
    }
}

#[test]
fn u13_what_failed_runs_again_although_nothing_changed() {
    let space = space("    file_dep: [in]\n    targets: [out]\n    actions: [\"echo half > out; exit 1\"]\n");
    for round in 0..10 {
        let ran = space.run(&["t"]);
        assert_eq!((ran.exit, ran.outcome("t")), (1, Some("failed")), "round {round}");
        assert_eq!(ran.kinds("t").last(), Some(&if round == 0 { "never_ran" } else { "last_failed" }));
    }
}

#[test]
fn u15_the_set_of_files_counts() {
    let space = space("    file_dep: [\"src/**/*.txt\", data]\n    actions: [{ note: { text: ran } }]\n");
    for file in ["src/a.txt", "src/deep/b.txt", "data/x", "data/y"] {
        space.write(file, "same");
    }
    space.run(&["t"]).fine();
    let at = |name: &str| space.path(name);
    let moved = |from: &str, to: &str| fs::rename(at(from), at(to)).expect("a file");
    let changes: [(&[&str], &dyn Fn()); 10] = [
        (&["file_dep_added"], &|| space.write("src/c.txt", "same")),
        (&["file_dep_added"], &|| space.write("src/new/deeper/d.txt", "same")),
        (&["file_dep_added"], &|| space.write("data/z", "same")),
        (&["file_dep_added", "file_dep_removed"], &|| moved("src/c.txt", "src/e.txt")),
        (&["file_dep_added", "file_dep_removed"], &|| moved("data/x", "data/w")),
        (&["file_dep_removed"], &|| fs::remove_dir_all(at("src/new")).expect("a folder")),
        (&["file_dep_removed"], &|| moved("src/e.txt", "src/e.md")),
        // A file becomes a link with the same content, then a folder.
        (&["file_dep_changed"], &|| {
            fs::remove_file(at("data/y")).expect("a file");
            symlink("w", at("data/y")).expect("a link");
        }),
        (&["file_dep_added", "file_dep_removed"], &|| {
            fs::remove_file(at("data/y")).expect("a link");
            space.write("data/y/inner", "same");
        }),
        (&["file_dep_removed"], &|| fs::remove_dir_all(at("src/deep")).expect("a folder")),
    ];
    for (number, (kinds, change)) in changes.iter().enumerate() {
        change();
        let ran = space.run(&["t"]).fine();
        let mut seen = ran.kinds("t");
        seen.sort_unstable();
        assert_eq!(seen, *kinds, "change {number}");
        settled(&space);
    }
}

#[test]
fn u16_modes_and_links_count() {
    let space = space("    file_dep: [in, link]\n    actions: [{ note: { text: ran } }]\n");
    for other in ["one", "two"] {
        space.write(other, "same");
    }
    let link = |to: &str| {
        let _ = fs::remove_file(space.path("link"));
        symlink(to, space.path("link")).expect("a link");
    };
    link("one");
    space.run(&["t"]).fine();
    let mode = |mode: u32| fs::set_permissions(space.path("in"), fs::Permissions::from_mode(mode)).expect("a mode");
    let changes: [&dyn Fn(); 5] =
        [&|| mode(0o755), &|| mode(0o644), &|| link("two"), &|| space.write("two", "other"), &|| link("one")];
    for (number, change) in changes.iter().enumerate() {
        change();
        assert_eq!(space.run(&["t"]).fine().kinds("t"), ["file_dep_changed"], "change {number}");
        settled(&space);
    }
    // A link to nothing has no content; whatever is said of it, it is not "up to date".
    link("nowhere");
    let ran = space.run(&["t"]);
    assert_ne!(ran.outcome("t"), Some("up-to-date"), "{}", ran.out);
}

#[test]
fn u17_declared_variables_count_and_others_are_not_there() {
    let helper = helper();
    let space = space(&format!(
        "    file_dep: [in]\n    pass_env: [DECLARED]\n    actions: [\"{} env > out\"]\n",
        helper.display()
    ));
    let with = |variables: &[(&str, &str)]| {
        let ran = space.run_with(&["t"], variables).fine();
        let text = space.read("out");
        assert!(!text.contains("UNDECLARED"), "{text}");
        let declared = variables.iter().find(|(name, _)| *name == "DECLARED").map(|(_, value)| *value);
        let seen = text.lines().find_map(|line| line.strip_prefix("DECLARED="));
        assert_eq!(seen, declared);
        ran.outcome("t") == Some("ran")
    };
    assert!(with(&[]));
    for _ in 0..5 {
        assert!(!with(&[("UNDECLARED", "a")]));
        assert!(!with(&[("UNDECLARED", "b")]));
        assert!(with(&[("DECLARED", "a"), ("UNDECLARED", "b")]));
        assert!(!with(&[("DECLARED", "a")]));
        assert!(with(&[("DECLARED", "")]));
        assert!(with(&[]));
        assert!(!with(&[]));
    }
}

#[test]
fn u19_an_identical_result_stops_there() {
    let space = space(
        "    file_dep: [in]\n    targets: [middle]\n    actions: [\"wc -c < in > middle\"]\n  u:\n    file_dep: [middle]\n    result_dep: [t]\n    targets: [out]\n    actions: [{ copy: { from: middle, to: out } }]\n",
    );
    space.run(&["u"]).fine();
    let mut random = Random::new();
    for round in 0..count(50, 500) {
        space.write("in", format!("{}", random.below(10)));
        let ran = space.run(&["u"]).fine();
        assert_eq!(ran.outcome("u"), Some("up-to-date"), "round {round}");
    }
    space.write("in", "longer");
    assert_eq!(space.run(&["u"]).fine().started(), ["t", "u"]);
}

#[test]
fn u20_a_newer_state_is_refused_and_a_foreign_one_put_aside() {
    let space = space(COPY);
    space.run(&["t"]).fine();
    let file = space.path(".xtask/state.db");
    let sql =
        |text: &str| rusqlite::Connection::open(&file).expect("a database").execute_batch(text).expect("a change");
    sql("PRAGMA user_version = 1000; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;");
    let before = fs::read(&file).expect("a file");
    for words in
        [&["run", "t"][..], &["list", "--status"], &["explain", "t"], &["forget", "t"], &["run", "--dry-run", "t"]]
    {
        let ran = space.command(words);
        assert_eq!(ran.exit, 3, "{words:?}: {}", ran.out);
        assert!(
            ran.err.contains("was written by a newer version") && ran.err.contains("help:"),
            "{words:?}: {}",
            ran.err
        );
        assert_eq!(fs::read(&file).expect("a file"), before, "{words:?}");
    }
    // One that no release has written: of an older format by its number, of another shape by its tables.
    fs::remove_file(&file).expect("a file");
    sql("CREATE TABLE task (id INTEGER); CREATE TABLE other (x TEXT); PRAGMA user_version = 0;");
    let ran = space.run(&["t"]).fine();
    assert!(ran.err.contains("put aside"), "{}", ran.err);
    assert_eq!(ran.outcome("t"), Some("ran"));
    settled(&space);
}
