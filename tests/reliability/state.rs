//! State that is damaged, in the way, full, gone or shared: rows D1 to D13. Knows nothing of what a state holds.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::faults::counts::{Random, count, report};
use crate::faults::helper::helper;
use crate::faults::program::{Running, end_of, program, wait_for};
use crate::faults::{Ran, Space, namespace, strace};

/// Three tasks: two copies, and one that has no targets.
const TASKS: &str = "version: 1
config: { default_tasks: [a, b, c] }
tasks:
  a: { file_dep: [in], targets: [a.out], actions: [{ copy: { from: in, to: a.out } }] }
  b: { file_dep: [a.out, other], targets: [b.out], actions: [{ copy: { from: a.out, to: b.out } }] }
  c: { file_dep: [other], actions: [{ remove: { paths: [never] } }] }
";

fn space(space: Space) -> Space {
    space.write("tasks.yaml", TASKS);
    space.write("in", "0");
    space.write("other", "0");
    space
}

/// The files of the state folder with their content.
fn state(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut open = vec![root.join(".xtask")];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                all.push((path.display().to_string(), fs::read(&path).expect("a file")));
            }
        }
    }
    all.sort();
    all
}

fn restore(saved: &[(String, Vec<u8>)], root: &Path) {
    fs::remove_dir_all(root.join(".xtask")).expect("the state");
    for (name, content) in saved {
        fs::create_dir_all(Path::new(name).parent().expect("a parent")).expect("a folder");
        fs::write(name, content).expect("a file");
    }
}

/// A state as a killed run leaves it, too: with a journal beside the database.
fn with_journal(space: &Space) -> Vec<(String, Vec<u8>)> {
    let holder = rusqlite::Connection::open(space.path(".xtask/state.db")).expect("a database");
    holder.query_row("SELECT count(*) FROM task", [], |row| row.get::<_, i64>(0)).expect("a table");
    space.write("in", "1");
    space.run(&[]).fine();
    // The last connection would fold the journal into the database.
    let saved = state(space.root());
    drop(holder);
    assert!(saved.iter().any(|(name, content)| name.ends_with("-wal") && !content.is_empty()), "there is a journal");
    saved
}

/// Moves the journal into the file.
fn folded(space: &Space) {
    let connection = rusqlite::Connection::open(space.path(".xtask/state.db")).expect("a database");
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;").expect("a journal");
}

/// Runs until the state is of use again: damage may cost one run, which says so, and never more.
#[track_caller]
pub fn converges(space: &Space, what: &str) -> Ran {
    let ran = space.run(&[]);
    if ran.exit == 0 {
        return ran;
    }
    if ran.err.contains("was written by a newer version") {
        // The number of the format itself was hit. What the message says helps.
        fs::remove_dir_all(space.path(".xtask")).expect("the state");
    } else {
        assert!(ran.err.contains("was put aside"), "{what}: exit {}: {}", ran.exit, ran.err);
    }
    space.run(&[]).fine()
}

#[test]
fn d1_a_truncated_state_costs_only_work() {
    let space = space(Space::new());
    space.run(&[]).fine();
    let saved = with_journal(&space);
    let mut random = Random::new();
    let mut tried = 0;
    for file in ["state.db", "state.db-wal", "files.bin"] {
        let Some((name, whole)) = saved.iter().find(|(name, _)| name.ends_with(file)) else { panic!("no {file}") };
        let every = (0..whole.len()).step_by(512);
        let odd: Vec<usize> = (0..count(22, 64)).map(|_| random.below(whole.len())).collect();
        for length in every.chain(odd) {
            restore(&saved, space.root());
            fs::write(name, &whole[..length]).expect("a file");
            converges(&space, &format!("{file} of {length} bytes"));
            assert_eq!(space.run(&[]).fine().started(), [""; 0], "{file} of {length} bytes: the second run");
            assert_eq!((space.read("a.out"), space.read("b.out")), ("1".into(), "1".into()));
            tried += 1;
        }
    }
    report("D1", &format!("{tried} lengths, 0 failures, every second run did nothing"));
}

#[test]
fn d2_no_flipped_bit_hides_a_change() {
    let space = space(Space::new());
    space.run(&[]).fine();
    let saved = with_journal(&space);
    let mut random = Random::new();
    let seed = random.0;
    let mut put_aside = 0;
    let rounds = count(150, 1_000);
    for round in 0..rounds {
        restore(&saved, space.root());
        let file = ["state.db", "state.db-wal", "files.bin"][round % 3];
        let (name, whole) = saved.iter().find(|(name, _)| name.ends_with(file)).expect("a file");
        let mut flipped = whole.clone();
        let bit = random.below(flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(name, flipped).expect("a file");
        space.write("in", format!("{round} changed"));
        let what = format!("seed {seed}, round {round}, bit {bit} of {file}");
        let ran = converges(&space, &what);
        assert_eq!(space.read("b.out"), format!("{round} changed"), "{what}");
        assert_eq!(space.run(&[]).fine().started(), [""; 0], "{what}: the second run");
        put_aside += usize::from(ran.err.contains("put aside"));
    }
    report("D2", &format!("{rounds} flipped bits, 0 wrong, {put_aside} databases put aside"));
}

#[test]
fn d2_no_flipped_bit_makes_a_withdrawn_record_count() {
    let space = space(Space::new());
    space.run(&[]).fine();
    // As a run that was killed in the middle leaves it.
    let (mut db, _) = xtask::store::StateDb::open(space.root()).expect("a database");
    for task in ["a", "b", "c"] {
        db.withdraw(task, None).expect("a record");
    }
    db.commit().expect("a commit");
    drop(db);
    folded(&space);
    let saved = state(space.root());
    let (name, whole) = saved.iter().find(|(name, _)| name.ends_with("state.db")).expect("a database");
    let mut random = Random::new();
    // Every bit near a record, which is where one could matter; elsewhere a sample.
    let near = |at: usize| (at.saturating_sub(40)..at + 8).any(|at| whole.get(at..at + 5) == Some(b"a.out"));
    let bits: Vec<usize> = (0..whole.len() * 8).filter(|bit| near(bit / 8) || random.below(400) == 0).collect();
    let bits: Vec<usize> = bits.iter().copied().filter(|_| random.below(bits.len()) < count(150, 5_000)).collect();
    for bit in bits {
        restore(&saved, space.root());
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(name, flipped).expect("a file");
        let ran = converges(&space, &format!("bit {bit}"));
        assert_eq!(ran.started(), ["a", "b", "c"], "bit {bit} made a withdrawn record count");
    }
}

#[test]
fn d1_what_a_loss_of_power_takes_back_is_flushed_unless_targets_tell() {
    let space = space(Space::on_disk());
    let run = program(space.root(), &["run", "--reporter", "json", "-n", "1"]);
    let flushes = |file: &str, content: &str| {
        space.write(file, content);
        let (ran, lines) = strace::trace(&run, "fsync,fdatasync");
        assert_eq!(ran.exit, 0, "{}", ran.err);
        let calls = lines.iter().filter(|line| line.contains("sync(")).count();
        (ran.started().join(" "), calls)
    };
    let journal = space.path(".xtask/state.db-wal");
    end_of(program(space.root(), &["run"])).fine();
    assert!(!journal.exists(), "a new file is whole");
    flushes("in", "1");
    assert!(journal.metadata().is_ok_and(|meta| meta.len() > 0), "what a small run wrote stays in the journal");
    // A record that comes back is for other inputs, and where those come back, too, for other targets.
    assert_eq!(flushes("in", "2"), ("a b".into(), 0));
    // What `c` did leaves nothing to look at: its old record must not come back.
    assert_eq!(flushes("other", "1"), ("b c".into(), 1));
    // A journal that has become large is moved into the file.
    let large = fs::File::options().append(true).open(&journal).expect("a journal");
    large.set_len(2 << 20).expect("room");
    assert!(flushes("in", "3").1 >= 2, "both files are flushed");
    assert!(!journal.exists());
    assert_eq!(flushes("in", "3").0, "");
}

#[test]
fn d3_a_state_that_cannot_be_used_is_an_error_with_one_remedy() {
    let clear = |ran: &Ran, what: &str| {
        assert_eq!(ran.exit, 3, "{what}: {}\n{}", ran.out, ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.matches("help: ").count() == 1, "{what}: {}", ran.err);
        assert!(ran.started().is_empty(), "{what}");
    };
    for (what, fault) in [
        ("a folder in place of the database", "mkdir -p .xtask/state.db"),
        ("a file in place of the folder", "rm -rf .xtask; echo > .xtask"),
        ("a link to nowhere in place of the folder", "rm -rf .xtask; ln -s nowhere/at/all .xtask"),
    ] {
        let space = space(Space::new());
        let fault = Command::new("sh").args(["-c", fault]).current_dir(space.root()).status();
        assert!(fault.expect("a shell").success());
        clear(&end_of(program(space.root(), &["run", "--reporter", "json"])), what);
    }
    let space = space(Space::new());
    space.run(&[]).fine();
    space.write("in", "1");
    let run = program(space.root(), &["run", "--reporter", "json"]);
    let read_only = namespace::command(&namespace::read_only(space.root()), &run);
    clear(&end_of(read_only), "a read-only file system");
    // What only reads still works there.
    let list = program(space.root(), &["list", "--status"]);
    let listed = end_of(namespace::command(&namespace::read_only(space.root()), &list));
    assert_eq!(listed.exit, 0, "{}", listed.err);
    let private = Command::new("chmod").args(["-R", "go-rwx,u=r,u+X", ".xtask"]).current_dir(space.root()).status();
    assert!(private.expect("chmod").success());
    let opened = Command::new("chmod").arg("a+rx").arg(space.root()).status();
    assert!(opened.expect("chmod").success());
    clear(&end_of(namespace::as_nobody(&run)), "a folder of somebody else");
}

#[test]
fn d4_a_full_disk_costs_only_work() {
    let helper = helper();
    let space = Space::on_disk();
    // Two hundred tasks, whose records and logs need more than there is.
    let mut text = String::from("version: 1\nconfig: { default_tasks: [\"t*\"] }\ntasks:\n");
    for task in 0..200 {
        text += &format!("  t{task}: {{ file_dep: [in], actions: [[{}, lines, \"60\"]] }}\n", helper.display());
    }
    space.write("tasks.yaml", text);
    space.write("in", "0");
    fs::create_dir(space.path(".xtask")).expect("a folder");
    let disk = namespace::small_disk(&space.path(".xtask"), 1024);
    let own = env!("CARGO_BIN_EXE_xtask");
    let script = format!(
        "{own} run -n 2 --continue; echo first $?; head -c 2000000 /dev/zero > .xtask/filler; \
         {own} list --status >/dev/null; echo list $?; echo 1 > in; {own} run -n 2; echo full $?; \
         rm -rf .xtask/filler .xtask/logs; {own} run -n 2 -q t1; echo freed $?; {own} run -n 2 -q t1; echo again $?"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(space.root()).env_clear().envs(crate::faults::space::environment());
    let ran = end_of(namespace::command(&disk, &shell));
    let code = |step: &str| {
        let line = ran.out.lines().find_map(|line| line.strip_prefix(step)).map(str::trim);
        line.and_then(|code| code.parse::<u8>().ok()).unwrap_or_else(|| panic!("no {step}: {}\n{}", ran.out, ran.err))
    };
    assert!([1, 2].contains(&code("first")), "the disk fills: {}", ran.err);
    assert_eq!(code("list"), 0, "what only reads works on a full disk: {}", ran.err);
    assert!([1, 2, 3].contains(&code("full")), "{}", ran.err);
    assert!(ran.err.contains("error: ") && !ran.err.contains("panicked"), "{}", ran.err);
    assert_eq!((code("freed"), code("again")), (0, 0), "{}", ran.err);
}

#[test]
fn d6_what_only_looks_writes_nothing() {
    let space = space(Space::new());
    for has_journal in [false, true] {
        space.run(&[]).fine();
        assert_eq!(space.path(".xtask/state.db-wal").exists(), has_journal);
        space.write("in", has_journal.to_string());
        for words in LOOKS {
            writes_nothing(&space, words);
        }
    }
}

const LOOKS: [&[&str]; 9] = [
    &["run", "--dry-run"],
    &["run", "--frozen"],
    &["list", "--status", "--deps"],
    &["explain", "a"],
    &["explain", "--last", "a"],
    &["graph"],
    &["history"],
    &["schema"],
    &["completions", "bash"],
];

#[track_caller]
fn writes_nothing(space: &Space, words: &[&str]) {
    let before = state(space.root());
    let (ran, lines) = strace::trace(&program(space.root(), words), "open,openat,creat,mkdir,rename,unlink,truncate");
    assert!([0, 1].contains(&ran.exit), "{words:?}: {}", ran.err);
    assert_eq!(state(space.root()), before, "{words:?}");
    let root = space.root().display().to_string();
    let has_journal = before.iter().any(|(name, _)| name.ends_with("-wal"));
    let changes = |line: &&String| {
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "mkdir(", "rename(", "unlink(", "truncate(", "creat("];
        let is_ours = line.contains(&root) || line.contains(".xtask");
        // SQLite asks for more than it needs where there is a journal; as was seen above, it leaves it as it was.
        let is_journal = has_journal && line.contains("state.db-wal");
        is_ours && !is_journal && writes.iter().any(|word| line.contains(word))
    };
    let written: Vec<&String> = lines.iter().filter(changes).collect();
    assert!(written.is_empty(), "{words:?}: {written:#?}");
}

#[test]
fn d7_fifty_starts_do_each_task_once() {
    let space = space(Space::new());
    space.write("tasks.yaml", TASKS.replace("{ remove: { paths: [never] } }", "\"echo c >> count; sleep 0.3\""));
    let starts: Vec<Running> =
        (0..50).map(|_| Running::start(space.root(), &["run", "--reporter", "json", "-n", "2"])).collect();
    let mut started = Vec::new();
    let mut waited = 0;
    for mut one in starts {
        let code = one.end();
        let ran = one.said(code);
        assert_eq!(ran.exit, 0, "{}", ran.err);
        assert!(!ran.err.contains("busy") && !ran.err.contains("locked"), "{}", ran.err);
        waited += usize::from(ran.err.contains("waiting for process "));
        started.extend(ran.started().into_iter().map(str::to_owned));
    }
    started.sort();
    assert_eq!(started, ["a", "b", "c"], "each task ran once in all");
    assert_eq!(space.read("count"), "c\n");
    assert!(waited > 0, "who waits says for whom");
}

#[test]
fn d8_a_killed_run_frees_the_state_at_once() {
    let space = space(Space::new());
    space.write("tasks.yaml", "version: 1\ntasks:\n  t: { run: always, actions: [\"echo > begun; sleep 100\"] }\n  u: { run: always, actions: [{ remove: { paths: [begun] } }] }\n");
    for round in 0..count(20, 100) {
        let mut running = Running::start(space.root(), &["run", "t"]);
        wait_for("the task begins", || space.path("begun").exists());
        running.signal(Signal::KILL);
        running.end();
        let begun = Instant::now();
        let ran = end_of(program(space.root(), &["run", "--no-wait", "u"]));
        assert_eq!(ran.exit, 0, "round {round}: {}", ran.err);
        assert!(begun.elapsed() < Duration::from_secs(10), "round {round}: {:?}", begun.elapsed());
    }
}

#[test]
fn d9_a_daemon_of_a_dead_run_holds_nothing() {
    let space = space(Space::new());
    let helper = helper();
    let daemon = format!(
        "version: 1\ntasks:\n  t: {{ run: always, actions: [\"{} daemon 97; echo > begun; sleep 100\"] }}\n  u: {{ run: always, actions: [{{ remove: {{ paths: [begun] }} }}] }}\n",
        helper.display()
    );
    space.write("tasks.yaml", daemon);
    let mut running = Running::start(space.root(), &["run", "t"]);
    wait_for("the task begins", || space.path("begun").exists());
    running.signal(Signal::KILL);
    running.end();
    let ran = end_of(program(space.root(), &["run", "--no-wait", "u"]));
    assert_eq!(ran.exit, 0, "{}", ran.err);
}

#[test]
fn d10_a_file_system_without_locks_is_refused() {
    let space = space(Space::new());
    for error in ["ENOLCK", "ENOSYS"] {
        let run = program(space.root(), &["run", "--reporter", "json"]);
        let ran = strace::inject(&run, "flock,fcntl", &format!("error={error}:when=1+"));
        let ran = if ran.err.contains("cannot be locked") {
            ran
        } else {
            strace::inject(&run, "flock", &format!("error={error}"))
        };
        assert_eq!(ran.exit, 3, "{error}: {}", ran.err);
        assert!(ran.err.contains("cannot be locked") && ran.err.contains("help: "), "{error}: {}", ran.err);
        assert!(ran.started().is_empty());
    }
}

#[test]
fn d11_a_state_that_vanishes_during_a_run_is_not_trusted_later() {
    let space = space(Space::new());
    let remove = "{ remove: { paths: [never] } }";
    assert!(TASKS.contains(remove));
    space.write("tasks.yaml", TASKS.replace(remove, "\"rm -rf .xtask\""));
    let ran = end_of(program(space.root(), &["run", "--reporter", "json", "-n", "1"]));
    assert_ne!(ran.exit, 0, "{}\n{}", ran.out, ran.err);
    space.write("tasks.yaml", TASKS);
    space.write("in", "2");
    assert_eq!(space.run(&[]).fine().started(), ["a", "b", "c"]);
    assert_eq!(space.read("b.out"), "2");
    assert_eq!(space.run(&[]).fine().started(), [""; 0]);
}

#[test]
fn d13_a_log_that_cannot_be_written_fails_its_task() {
    let helper = helper();
    let space = Space::on_disk();
    space.write(
        "tasks.yaml",
        format!(
            "version: 1\ntasks:\n  t: {{ file_dep: [in], actions: [\"{} lines 4000; echo > after\"] }}\n",
            helper.display()
        ),
    );
    space.write("in", "0");
    fs::create_dir_all(space.path(".xtask/logs")).expect("a folder");
    let run = program(space.root(), &["run", "--reporter", "json", "t"]);
    let begun = Instant::now();
    let ran = end_of(namespace::command(&namespace::small_disk(&space.path(".xtask/logs"), 64), &run));
    assert_eq!((ran.exit, ran.outcome("t")), (1, Some("failed")), "{}", ran.err);
    assert!(ran.out.contains("log write failed"), "the log is named");
    assert!(begun.elapsed() < Duration::from_mins(1));
    assert_eq!(space.run(&["t"]).fine().kinds("t"), ["last_failed"], "no success was recorded");
}
