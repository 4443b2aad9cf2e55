//! Processes and terminals, as the program as a whole treats them: rows P6 to P15. The rooms `exec` and `report` have
//! more of these rows among their own tests.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::faults::Space;
use crate::faults::counts::{Random, count, report};
use crate::faults::helper::helper;
use crate::faults::program::{Running, end_of, program, wait_for};
use crate::faults::pty::on_terminal;

fn space(tasks: &str) -> Space {
    let space = Space::new();
    let text =
        tasks.replace("HELPER", &helper().display().to_string()).replace("ROOT", &space.root().display().to_string());
    space.write("tasks.yaml", format!("version: 1\nconfig: {{ grace: 2s }}\ntasks:\n{text}"));
    space
}

/// Processes whose command line holds the text.
fn living(text: &str) -> usize {
    let entries = fs::read_dir("/proc").expect("processes").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).replace('\0', " ").contains(text)).count()
}

/// A number of seconds that no other process sleeps for.
fn unique(random: &mut Random) -> String {
    (20_000 + random.below(1_000_000)).to_string()
}

#[test]
fn p6_killed_again_and_again_it_leaves_nobody() {
    let mut random = Random::new();
    let rounds = count(15, 200);
    for round in 0..rounds {
        let seconds = unique(&mut random);
        let space = space(&format!(
            "  plain: {{ run: always, actions: [[HELPER, deaf, \"{seconds}\"]] }}\n  daemon: {{ run: always, actions: [\"HELPER daemon {seconds}; echo > begun; HELPER deaf {seconds}\"] }}\n  next: {{ run: always, actions: [{{ remove: {{ paths: [begun] }} }}] }}\n"
        ));
        let mark = format!("{} deaf {seconds}", helper().display());
        let mut running = Running::start(space.root(), &["run", "-n", "2", "plain", "daemon"]);
        wait_for("the tasks run", || space.path("begun").exists() && living(&mark) >= 2);
        std::thread::sleep(Duration::from_millis(random.below(5) as u64));
        running.signal(Signal::KILL);
        running.end();
        // The kernel ends its direct children; the next run ends whoever is left.
        end_of(program(space.root(), &["run", "next"])).fine();
        wait_for("nobody is left", || living(&seconds) == 0);
        assert!(!space.path("begun").exists(), "round {round}");
    }
    report("P6", &format!("{rounds} killed runs, nobody left after the next start"));
}

#[test]
fn p7_suspended_during_a_storm_of_processes_it_goes_on() {
    let times = count(3, 20);
    let mut tasks = String::from("  end: { task_dep: [\"t*\"] }\n");
    for task in 0..count(200, 1_000) {
        tasks += &format!("  t{task}: {{ run: always, timeout: 60s, actions: [[HELPER, stdin], [HELPER, env]] }}\n");
    }
    let space = space(&tasks);
    let acts: Vec<(&str, &str)> = (0..times).flat_map(|_| [("+1000", "ctrl-z"), ("", "wait"), ("", "fg")]).collect();
    let ended = on_terminal(space.root(), &["run", "-n", "64", "--reporter", "plain", "end"], &acts);
    assert_eq!(ended.code, 0, "{}", ended.output);
    assert!(ended.settings && ended.stops as usize == times, "{} stops", ended.stops);
    report("P7", &format!("suspended {} times during {} tasks, none stuck", ended.stops, tasks.lines().count()));
}

#[test]
fn p8_a_child_that_takes_the_terminal_does_not_suspend_it() {
    let space = space(
        "  take: { run: always, interactive: true, actions: [[HELPER, foreground]] }\n  after: { run: always, task_dep: [take], actions: [[HELPER, env]] }\n  quiet: { run: always, task_dep: [after], actions: [[HELPER, foreground]] }\n",
    );
    for reporter in ["plain", "fancy"] {
        let ended = on_terminal(space.root(), &["run", "--reporter", reporter, "take", "after"], &[]);
        assert_eq!((ended.code, ended.stops), (0, 0), "{}", ended.output);
        assert!(ended.settings && ended.cursor, "{ended:?}");
    }
    // A task that is not interactive has no terminal to take: it fails or not, and the run ends.
    let ended = on_terminal(space.root(), &["run", "quiet"], &[]);
    assert!(ended.code <= 1 && ended.stops == 0, "{ended:?}");
}

#[test]
fn p9_the_terminal_is_as_it_was_however_the_run_ends() {
    let space = space(
        "  good: { run: always, actions: [\"sleep 0.2\"] }\n  bad: { run: always, actions: [\"sleep 0.2; exit 1\"] }\n  long: { run: always, actions: [\"echo > ROOT/begun; sleep 1000\"] }\n",
    );
    let begun = space.path("begun").display().to_string();
    for round in 0..count(2, 50) {
        for (task, act, code) in [
            ("good", None, 0),
            ("bad", None, 1),
            ("long", Some("ctrl-c"), 130),
            ("long", Some("SIGTERM"), 143),
            ("long", Some("SIGHUP"), 129),
            ("long", Some("SIGQUIT"), 131),
            ("good", Some("ctrl-z"), 0),
        ] {
            let _ = fs::remove_file(&begun);
            let acts: Vec<(&str, &str)> = match act {
                None => vec![],
                Some("ctrl-z") => vec![("good", "wait"), ("", "ctrl-z"), ("", "wait"), ("", "fg")],
                Some(act) => vec![(&*begun, "wait"), ("", act)],
            };
            let ended = on_terminal(space.root(), &["run", "--reporter", "fancy", task], &acts);
            assert_eq!(ended.code, code, "round {round}, {task} {act:?}: {}", ended.output);
            assert!(ended.settings && ended.cursor, "round {round}, {task} {act:?}: {ended:?}");
        }
    }
}

#[test]
fn p11_a_flood_without_lines_is_kept_byte_by_byte_in_little_memory() {
    let bytes = count(96 << 20, 1 << 30);
    let space = Space::on_disk();
    space.write(
        "tasks.yaml",
        format!(
            "version: 1\ntasks:\n  t: {{ run: always, actions: [[{}, flood, \"{bytes}\"]] }}\n",
            helper().display()
        ),
    );
    let mut running = Running::start(space.root(), &["run", "-q", "t"]);
    let status = format!("/proc/{}/status", running.child.id());
    let mut peak = 0;
    while running.child.try_wait().expect("a status").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        peak = peak.max(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(running.end(), 0);
    assert!(peak < 64, "{peak} MiB");
    let mut log = fs::File::open(space.path(".xtask/logs/t.log")).expect("the log");
    let pattern = b"a\r\xff\x01b\0".repeat(4096);
    let (mut seen, mut buffer) = (0, vec![0; pattern.len()]);
    loop {
        let mut got = 0;
        while got < buffer.len() {
            match log.read(&mut buffer[got..]).expect("the log") {
                0 => break,
                more => got += more,
            }
        }
        assert!(buffer[..got] == pattern[..got], "a byte differs after {seen}");
        seen += got;
        if got < buffer.len() {
            break;
        }
    }
    assert_eq!(seen, bytes);
    report("P11", &format!("{} MiB in the log byte by byte, {peak} MiB of memory", bytes >> 20));
}

#[test]
fn p12_no_line_of_many_tasks_is_torn() {
    let (tasks, lines) = (count(16, 64), count(1_500, 10_000));
    let text: String = (0..tasks)
        .map(|task| format!("  t{task}: {{ run: always, actions: [[HELPER, lines, \"{lines}\"]] }}\n"))
        .collect();
    let space = space(&text);
    let ran = end_of(program(space.root(), &["run", "-n", "16", "-v", "2", "--reporter", "json", "t*"])).fine();
    let mut next = std::collections::BTreeMap::<(String, String), usize>::new();
    for one in ran.of("task_output") {
        let text = |name: &str| one[name].as_str().expect("text").to_owned();
        let number = next.entry((text("task"), text("stream"))).or_default();
        let wanted = if text("stream") == "stdout" {
            format!("out-{number}-ooooooooooooooooooooooooo")
        } else {
            format!("err-{number}-eeeeeeeeeeee")
        };
        assert_eq!(text("text"), wanted);
        *number += 1;
    }
    assert_eq!(next.len(), tasks * 2);
    assert!(next.values().all(|number| *number == lines));
    report("P12", &format!("{} lines of {tasks} tasks, 0 torn, 0 out of order", tasks * lines * 2));
}

#[test]
fn p13_a_reader_that_stops_or_leaves_holds_nothing_up_for_ever() {
    let space = space("  t: { run: always, actions: [[HELPER, lines, \"20000\"], \"echo > done\"] }\n");
    let start = || {
        let words = ["run", "-v", "2", "--reporter", "json", "t"];
        program(space.root(), &words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program")
    };
    // It reads nothing for a while, then everything.
    let mut child = start();
    std::thread::sleep(Duration::from_secs(count(1, 30) as u64));
    let mut text = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
    assert!(child.wait().expect("a status").success());
    assert_eq!(text.lines().filter(|line| line.contains("task_output")).count(), 40_000);
    assert!(text.lines().last().is_some_and(|line| line.contains("run_finished")));
    // It leaves after the first bytes, as `head` does: the work is done all the same.
    fs::remove_file(space.path("done")).expect("it");
    let mut child = start();
    let mut some = [0; 100];
    child.stdout.take().expect("a pipe").read_exact(&mut some).expect("text");
    assert_eq!(child.wait().expect("a status").code(), Some(0));
    assert!(space.path("done").exists());
}

#[test]
fn p14_few_descriptors_are_queued_for_or_told() {
    let text: String =
        (0..60).map(|task| format!("  t{task}: {{ run: always, actions: [[HELPER, lines, \"50\"]] }}\n")).collect();
    let space = space(&text);
    for limit in ["64", "40", "24"] {
        let mut limited = Command::new("prlimit");
        limited.args([
            &format!("--nofile={limit}"),
            "--",
            env!("CARGO_BIN_EXE_xtask"),
            "run",
            "--continue",
            "-n",
            "16",
            "t*",
        ]);
        limited.current_dir(space.root()).env_clear().envs(crate::faults::space::environment());
        let begun = Instant::now();
        let ran = end_of(limited);
        assert!(ran.exit <= 3, "{limit}: {}", ran.err);
        assert!(!ran.err.contains("panicked"), "{limit}: {}", ran.err);
        assert!(
            ran.exit == 0 || ran.err.contains("open files") || ran.err.contains("ulimit -n"),
            "{limit}: {}\n{}",
            ran.out,
            ran.err
        );
        assert!(begun.elapsed() < Duration::from_mins(1));
    }
}

#[test]
fn p15_the_program_in_a_task_of_its_own_joins() {
    let own = env!("CARGO_BIN_EXE_xtask");
    let space = space(&format!(
        "  outer: {{ run: always, actions: [[{own}, run, inner], [{own}, list]] }}\n  inner: {{ run: always, actions: [\"echo > inner.out\"] }}\n"
    ));
    let begun = Instant::now();
    let ran = end_of(program(space.root(), &["run", "outer"]));
    assert_eq!(ran.exit, 0, "{}\n{}", ran.out, ran.err);
    assert!(space.path("inner.out").exists());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
