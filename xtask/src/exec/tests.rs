//! Fault tests of one process and its descendants: the rows P of the reliability table that can be shown here.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use super::*;
use crate::model::stop::Stop;
use crate::model::{Outcome, StopToken, Stream};

mod basics;
mod descendants;
mod floods;

/// A command for `sh -c`, with an environment that has a `PATH` and the marker of a task.
fn shell(text: &str) -> CommandSpec {
    command(&["sh", "-c", text])
}

fn command(argv: &[&str]) -> CommandSpec {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let env = vec![
        ("PATH".into(), std::env::var_os("PATH").unwrap()),
        ("XTASK_TASK".into(), format!("test-{}-{number}", std::process::id()).into()),
    ];
    let mut spec = CommandSpec::new(argv.iter().map(OsString::from).collect(), std::env::temp_dir(), env);
    spec.grace = Duration::from_secs(1);
    spec.capture_limit = 1 << 20;
    spec
}

/// Everything that can be seen of a run.
struct Seen {
    result: CommandResult,
    lines: Vec<(Stream, String)>,
    log: Vec<u8>,
}

impl Seen {
    fn text(&self, stream: Stream) -> Vec<&str> {
        self.lines.iter().filter(|(of, _)| *of == stream).map(|(_, line)| line.as_str()).collect()
    }
}

fn run_it(spec: &CommandSpec) -> Seen {
    run_with(spec, &StopToken::new())
}

fn run_with(spec: &CommandSpec, stop: &StopToken) -> Seen {
    let mut lines = Vec::new();
    let mut log = Vec::new();
    let mut sink = |stream: Stream, line: &[u8]| lines.push((stream, String::from_utf8_lossy(line).into_owned()));
    let result = run(spec, &mut sink, &mut log, stop);
    Seen { result, lines, log }
}

/// Requests `level` of `stop` after `delay`.
fn request_later(stop: &StopToken, level: Stop, delay: Duration) -> std::thread::JoinHandle<()> {
    let stop = stop.clone();
    std::thread::spawn(move || {
        std::thread::sleep(delay);
        stop.request(level);
    })
}

/// The living processes whose command line holds `needle`.
fn living(needle: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(needle)
        })
        .collect()
}

/// A number of seconds that no other test sleeps: its processes can be found by it.
fn unique_sleep() -> String {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{}.{number:04}", 1_000_000 + std::process::id())
}
