//! Files that are odd, huge, forbidden, or change under the reader: rows F1 to F7, F9 and F10.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use xtask::model::{Digest, RepoPath};
use xtask::store::{FileState, Files};

use crate::faults::counts::{count, report, soak};
use crate::faults::program::{Running, end_of, program};
use crate::faults::{Space, namespace};

fn space(task: &str) -> Space {
    let space = Space::new();
    space.write(
        "tasks.yaml",
        format!(
            "version: 1\ntasks:\n  t: {task}\n  other: {{ run: always, actions: [{{ note: {{ text: other }} }}] }}\n"
        ),
    );
    space.write("in", "0");
    space
}

#[test]
fn f1_no_name_of_a_file_is_lost() {
    let long = "n".repeat(255);
    let names: [&[u8]; 12] = [
        b"\xff\xfe",
        b"new\nline",
        b"tab\there",
        b"-leading",
        long.as_bytes(),
        "\u{e9}".as_bytes(),
        "e\u{301}".as_bytes(),
        b"a:b",
        b"'quo\"te'",
        b"$(touch hacked)",
        b"back\\slash",
        b"  ",
    ];
    let space = space("{ file_dep: [src], actions: [{ note: { text: ran } }] }");
    fs::create_dir(space.path("src")).expect("a folder");
    let file = |name: &[u8]| -> PathBuf { space.path("src").join(OsStr::from_bytes(name)) };
    for name in names {
        fs::write(file(name), "0").expect("a file");
    }
    space.run(&["t"]).fine();
    assert_eq!(space.run(&["t"]).fine().started(), [""; 0]);
    for name in names {
        fs::write(file(name), "1").expect("a file");
        let ran = space.run(&["t"]).fine();
        let reasons = ran.reasons("t").expect("reasons");
        let path = format!("src/{}", String::from_utf8_lossy(name));
        assert_eq!(reasons.len(), 1, "{path:?}: {reasons:?}");
        assert_eq!((&reasons[0]["kind"], &reasons[0]["path"]), (&"file_dep_changed".into(), &path.clone().into()));
        assert_eq!(space.run(&["t"]).fine().started(), [""; 0], "{path:?}");
    }
    assert!(!space.path("hacked").exists());
}

/// The most memory that a process has held, in MiB, and how long it took.
fn watched(mut running: Running) -> (u8, u64, Duration) {
    let begun = Instant::now();
    let status = PathBuf::from(format!("/proc/{}/status", running.child.id()));
    let mut peak = 0;
    let code = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        peak = peak.max(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024);
        if running.child.try_wait().expect("a status").is_some() {
            break running.end();
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    (code, peak, begun.elapsed())
}

#[test]
fn f2_a_huge_file_needs_little_memory_and_can_be_cancelled() {
    let space = space("{ file_dep: [huge], actions: [{ note: { text: ran } }] }");
    space.write(
        "tasks.yaml",
        "version: 1\ntasks:\n  t: { file_dep: [huge], actions: [{ remove: { paths: [never] } }] }\n",
    );
    let file = fs::File::create(space.path("huge")).expect("a file");
    let size = if soak().is_some() { 20_u64 << 30 } else { 512 << 20 };
    file.set_len(size).expect("a sparse file");
    let (code, peak, took) = watched(Running::start(space.root(), &["run", "t"]));
    assert_eq!(code, 0);
    assert!(peak < 64, "{peak} MiB");
    file.set_len(1 << 42).expect("a sparse file");
    let mut running = Running::start(space.root(), &["run", "t"]);
    std::thread::sleep(Duration::from_millis(500));
    let asked = Instant::now();
    running.signal(Signal::INT);
    assert_eq!(running.end(), 128 + 2);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    report(
        "F2",
        &format!(
            "{} MiB hashed in {took:.1?} with {peak} MiB of memory; cancelled after {:.1?}",
            size >> 20,
            asked.elapsed()
        ),
    );
}

#[test]
fn f3_a_file_that_shrinks_while_it_is_read_is_another_file() {
    let space = Space::new();
    fs::create_dir(space.path(".xtask")).expect("a folder");
    let (path, done) = (RepoPath::from_root("in").expect("a path"), AtomicBool::new(false));
    space.write("in", "x".repeat(4 << 20));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::File::options().write(true).open(space.path("in")).expect("a file");
            while !done.load(Ordering::Relaxed) {
                for length in [0, 1, 4 << 20, 70_000] {
                    file.set_len(length).expect("a length");
                }
            }
        });
        let mut files = Files::open(space.root()).expect("a root");
        for _ in 0..200 {
            files.next_epoch();
            assert!(matches!(files.get(&path), FileState::File { .. }));
        }
        done.store(true, Ordering::Relaxed);
    });
    space.write("in", "quiet");
    let mut files = Files::open(space.root()).expect("a root");
    let FileState::File { digest, .. } = files.get(&path) else { panic!("a file") };
    assert_eq!(digest, Digest::of(b"quiet"));
}

#[test]
fn f4_files_that_vanish_are_no_error() {
    let space = space("{ file_dep: [\"src/**\"], actions: [{ note: { text: ran } }] }");
    for number in 0..20 {
        space.write(&format!("src/{number}/file"), "0");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for number in 0..20 {
                    // Files, then their folders, vanish and come back.
                    let dir = space.path(&format!("src/{number}"));
                    let _ = fs::remove_dir_all(&dir);
                    fs::create_dir_all(&dir).expect("a folder");
                    fs::write(dir.join("file"), "0").expect("a file");
                }
            }
        });
        for round in 0..count(150, 1_000) {
            let ran = space.run(&["t"]);
            assert_eq!(ran.exit, 0, "round {round}: {}", ran.err);
        }
        done.store(true, Ordering::Relaxed);
    });
    space.run(&["t"]).fine();
    assert_eq!(space.run(&["t"]).fine().started(), [""; 0]);
}

#[test]
fn f5_what_has_no_content_is_refused_at_once() {
    let space = space("{ file_dep: [odd], actions: [{ note: { text: ran } }] }");
    let odd = space.path("odd");
    let make: [(&str, &dyn Fn()); 2] = [
        ("a pipe", &|| assert!(Command::new("mkfifo").arg(&odd).status().expect("mkfifo").success())),
        ("a socket", &|| drop(std::os::unix::net::UnixListener::bind(&odd).expect("a socket"))),
    ];
    for (what, make) in make {
        make();
        let begun = Instant::now();
        let ran = space.run(&["t", "other", "--continue"]);
        assert_eq!(ran.exit, 2, "{what}: {}", ran.err);
        assert!(
            ran.out.contains("file_dep `odd` of task `t` is neither a file nor a directory"),
            "{what}: {}",
            ran.out
        );
        assert_eq!(ran.outcome("other"), Some("ran"), "{what}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}");
        fs::remove_file(&odd).expect("it");
    }
    // A link to a device, and a file that says that it is empty: both end, neither is read for ever.
    for target in ["/dev/zero", "/proc/self/status"] {
        symlink(target, &odd).expect("a link");
        let begun = Instant::now();
        space.run(&["t"]);
        assert!(begun.elapsed() < Duration::from_secs(5), "{target}");
        fs::remove_file(&odd).expect("it");
    }
}

#[test]
fn f6_an_input_outside_the_root_is_refused() {
    for (dep, is_target) in
        [("../outside", false), ("/etc/passwd", false), ("a/../../outside", false), ("../outside", true)]
    {
        let field = if is_target { "targets" } else { "file_dep" };
        let space = space(&format!("{{ {field}: [\"{dep}\"], actions: [{{ note: {{ text: ran }} }}] }}"));
        let ran = space.run(&["t"]);
        assert_eq!(ran.exit, 3, "{dep}: {}", ran.out);
        assert!(ran.err.contains("--> tasks.yaml:3:"), "{dep}: {}", ran.err);
        assert!(ran.started().is_empty());
    }
}

#[test]
fn f7_what_may_not_be_read_is_named_and_holds_up_nobody() {
    let space = Space::on_disk();
    space.write(
        "tasks.yaml",
        "version: 1\nconfig: { default_tasks: [t, u, other] }\ntasks:\n  t: { file_dep: [secret], actions: [{ remove: { paths: [never] } }] }\n  u: { file_dep: [closed/in], actions: [{ remove: { paths: [never] } }] }\n  other: { file_dep: [in], targets: [out], actions: [{ copy: { from: in, to: out } }] }\n",
    );
    space.write("in", "0");
    space.write("secret", "0");
    space.write("closed/in", "0");
    let script = "chmod 777 . && chmod 000 secret closed";
    assert!(Command::new("sh").args(["-c", script]).current_dir(space.root()).status().expect("a shell").success());
    let run = program(space.root(), &["run", "--reporter", "json", "--continue"]);
    let ran = end_of(namespace::as_nobody(&run));
    assert_eq!(ran.exit, 2, "{}\n{}", ran.out, ran.err);
    let problem = |task: &str| {
        let found = ran.of("task_finished").find(|one| one["task"] == task).expect("it ended");
        found["problem"]["message"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(problem("t"), "file_dep `secret` of task `t` cannot be read");
    assert_eq!(problem("u"), "file_dep `closed/in` of task `u` cannot be read");
    assert_eq!(ran.outcome("other"), Some("ran"));
    // For whoever removes the folder.
    assert!(
        Command::new("chmod").args(["-R", "u+rwX", "."]).current_dir(space.root()).status().expect("chmod").success()
    );
}

#[test]
fn f9_a_large_tree_is_looked_at_quickly() {
    let (files, per_folder) = (count(5_000, 100_000), 200);
    let space = Space::new();
    space.write(
        "tasks.yaml",
        "version: 1\ntasks:\n  t: { file_dep: [src], actions: [{ remove: { paths: [never] } }] }\n",
    );
    for number in 0..files {
        space.write(&format!("src/{}/{number}", number / per_folder), format!("{number}"));
    }
    let begun = Instant::now();
    let code = end_of(program(space.root(), &["run", "t"])).exit;
    let cold = begun.elapsed();
    assert_eq!(code, 0);
    // Older than the doubt about the file system's clock; the second run notes their digests again.
    std::thread::sleep(Duration::from_millis(2100));
    end_of(program(space.root(), &["run", "t"])).fine();
    let begun = Instant::now();
    let listed = end_of(program(space.root(), &["list", "--status"])).fine();
    let warm = begun.elapsed();
    assert!(listed.out.contains('U'), "{}", listed.out);
    let limit = Duration::from_secs(if soak().is_some() { 5 } else { 10 });
    assert!(warm < limit, "{warm:?}");
    report("F9", &format!("{files} files: cold run {cold:.2?}, warm status {warm:.2?} (this build)"));
}

#[test]
fn f10_a_target_that_cannot_be_written_is_a_clear_failure() {
    let space = Space::new();
    space.write("tasks.yaml", "version: 1\ntasks:\n  t: { file_dep: [in], targets: [dir/out], actions: [{ copy: { from: in, to: dir/out } }] }\n");
    space.write("in", "0");
    fs::create_dir(space.path("dir")).expect("a folder");
    let run = program(space.root(), &["run", "--reporter", "json", "t"]);
    let ran = end_of(namespace::command(&namespace::read_only(&space.path("dir")), &run));
    assert_eq!((ran.exit, ran.outcome("t")), (1, Some("failed")), "{}\n{}", ran.out, ran.err);
    assert!(ran.out.contains("failed to copy `in` to `dir/out`"), "{}", ran.out);
    assert!(!space.path("dir/out").exists(), "nothing is left half-done");
    // A folder where the file should be; another device below the folder.
    fs::create_dir(space.path("dir/out")).expect("a folder");
    let ran = space.run(&["t"]);
    assert_eq!(ran.exit, 1, "{}", ran.err);
    fs::remove_dir(space.path("dir/out")).expect("a folder");
    let disk = namespace::small_disk(&space.path("dir"), 256);
    let check = format!("{disk} && trap 'test -s dir/out' EXIT");
    let ran = end_of(namespace::command(&check, &run));
    assert_eq!(ran.exit, 0, "{}\n{}", ran.out, ran.err);
}
