//! How soon a watch starts the task that a written file concerns: ours beside watchexec and go-task, in one run. Knows
//! nothing of the insides of any.
//!
//! `cargo bench --bench watch [-- EDITS]` writes files in a tree of 10 000 and takes the time from the write to the start
//! of the task's process, which is this program and notes the clock first of all. `WATCHEXEC` and `GO_TASK` name the
//! peers' programs; one that is not there is left out of the table, and said so.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const TASKS: usize = 1_000;
const FILES: usize = 10;

/// One watcher over the tree.
struct Entrant {
    name: &'static str,
    program: PathBuf,
    words: Vec<String>,
    /// Every write concerns it; else only those of the first folder.
    whole: bool,
    /// Between an answer and the next write: longer than it needs to be ready.
    rest: Duration,
}

struct Row {
    name: &'static str,
    /// Milliseconds, sorted.
    times: Vec<f64>,
    missed: usize,
    kilobytes: u64,
    /// Hundredths of a second of processor time in three idle seconds.
    idle: u64,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// What the tasks do: note when they were started.
fn stamp(file: &str) {
    let line = format!("{:.6}\n", now());
    let mut file = fs::File::options().create(true).append(true).open(file).expect("a file of stamps");
    file.write_all(line.as_bytes()).expect("a stamp");
}

/// The tree and the files of each tool.
fn prepare(root: &Path, stamp: &str) {
    let mut ours = "version: 1\nconfig: { default_tasks: [all] }\ntasks:\n  all: { task_dep: [\"t*\"] }\n".to_owned();
    let mut theirs = "version: '3'\nsilent: true\ntasks:\n  one:\n    sources: [\"src/d0/*.txt\"]\n".to_owned();
    theirs += &format!("    cmds: ['{stamp}']\n  all:\n    deps: [{}]\n", names());
    for task in 0..TASKS {
        let dir = root.join(format!("src/d{task}"));
        fs::create_dir_all(&dir).expect("a folder");
        for file in 0..FILES {
            fs::write(dir.join(format!("f{file}.txt")), "0").expect("a file");
        }
        ours += &format!("  t{task}: {{ file_dep: [\"src/d{task}/*.txt\"], actions: [\"{stamp}\"] }}\n");
        theirs += &format!("  t{task}:\n    sources: [\"src/d{task}/*.txt\"]\n    cmds: ['{stamp}']\n");
    }
    fs::write(root.join("tasks.yaml"), ours).expect("tasks.yaml");
    fs::write(root.join("Taskfile.yml"), theirs).expect("Taskfile.yml");
}

fn names() -> String {
    (0..TASKS).map(|task| format!("t{task}")).collect::<Vec<_>>().join(", ")
}

fn entrants(stamp: &[String]) -> Vec<Entrant> {
    let named = |variable: &str, name: &str| std::env::var_os(variable).map_or_else(|| name.into(), PathBuf::from);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let ours = PathBuf::from(env!("CARGO_BIN_EXE_xtask"));
    let (watchexec, task) = (named("WATCHEXEC", "watchexec"), named("GO_TASK", "task"));
    let exec =
        |more: &[&str]| [words(&["--postpone", "--quiet", "--watch", "src"]), words(more), stamp.to_vec()].concat();
    let entrant = |name, program: &PathBuf, words, whole| {
        let rest = Duration::from_millis(if *program == task { 300 } else { 150 });
        Entrant { name, program: program.clone(), words, whole, rest }
    };
    vec![
        entrant("xtask, 1000 tasks", &ours, words(&["watch", "--reporter", "plain"]), true),
        entrant("xtask, 1 task", &ours, words(&["watch", "t0", "--reporter", "plain"]), false),
        entrant("watchexec", &watchexec, exec(&["--"]), true),
        entrant("watchexec -d 1ms", &watchexec, exec(&["--debounce", "1ms", "--"]), true),
        entrant("go-task, 1 task", &task, words(&["--watch", "one"]), false),
        entrant("go-task, 1000 tasks", &task, words(&["--watch", "all"]), true),
    ]
}

fn stamps(root: &Path) -> Vec<f64> {
    let text = fs::read_to_string(root.join("stamps")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Waits until nothing more starts.
fn calm(root: &Path, first: Duration) {
    let (start, mut seen, mut since) = (Instant::now(), 0, Instant::now());
    while start.elapsed() < first || since.elapsed() < Duration::from_millis(1500) {
        std::thread::sleep(Duration::from_millis(50));
        let count = stamps(root).len();
        if count != seen {
            (seen, since) = (count, Instant::now());
        }
    }
}

fn measure(root: &Path, entrant: &Entrant, edits: usize) -> Option<Row> {
    // It may be the first.
    let _ = fs::remove_file(root.join("stamps"));
    let mut command = Command::new(&entrant.program);
    command.args(&entrant.words).current_dir(root).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    calm(root, Duration::from_secs(5));
    let mut row = Row { name: entrant.name, times: Vec::new(), missed: 0, kilobytes: 0, idle: 0 };
    for edit in 0..edits {
        let task = if entrant.whole { edit * 37 % TASKS } else { 0 };
        let file = root.join(format!("src/d{task}/f{}.txt", edit % FILES));
        let before = stamps(root).len();
        let written = now();
        fs::write(file, format!("{written}")).expect("a file");
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(time) = stamps(root).get(before) {
                row.times.push((time - written) * 1000.0);
                break;
            }
            if Instant::now() > end {
                row.missed += 1;
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(entrant.rest);
    }
    calm(root, Duration::ZERO);
    row.times.sort_by(f64::total_cmp);
    let before = processor(&child);
    std::thread::sleep(Duration::from_secs(3));
    row.idle = processor(&child) - before;
    row.kilobytes = memory(&child);
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
    Some(row)
}

fn processor(child: &Child) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum()
}

fn memory(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [flag, file] = &words[..]
        && flag == "--stamp"
    {
        return stamp(file);
    }
    let edits = words.first().and_then(|word| word.parse().ok()).unwrap_or(100);
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path();
    let own = std::env::current_exe().expect("this program");
    let note = [own.display().to_string(), "--stamp".to_owned(), root.join("stamps").display().to_string()];
    prepare(root, &note.join(" "));
    println!("{TASKS} tasks, {} files, {edits} edits; milliseconds from the write to the start", TASKS * FILES);
    // Times on a machine that is busy with other things are longer for all of them alike.
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of the machine before: {}", load.split(' ').next().unwrap_or_default());
    println!(
        "{:22} {:>8} {:>8} {:>8} {:>7} {:>7} {:>9} {:>10}",
        "", "median", "p95", "max", "ratio", "missed", "MiB", "idle ticks"
    );
    let mut first = None;
    for entrant in entrants(&note) {
        let Some(row) = measure(root, &entrant, edits) else {
            println!("{:22} not there: {}", entrant.name, entrant.program.display());
            continue;
        };
        let at = |share: f64| row.times.get((row.times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
        let (median, max) = (at(0.5), row.times.last().copied().unwrap_or(f64::NAN));
        let ratio = median / *first.get_or_insert(median);
        let mebibytes = row.kilobytes as f64 / 1024.0;
        println!(
            "{:22} {median:8.1} {:8.1} {max:8.1} {ratio:6.1}x {:7} {mebibytes:9.1} {:10}",
            row.name,
            at(0.95),
            row.missed,
            row.idle
        );
    }
}
