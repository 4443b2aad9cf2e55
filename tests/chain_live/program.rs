//! Starts the program and keeps what it said: events, messages, exit code, time. Knows nothing of the stack.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::space::Space;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// A run that ended.
pub struct Run {
    /// The exit code, or 128 and the signal that ended it.
    pub code: i32,
    pub events: Vec<Value>,
    pub stdout: String,
    pub stderr: String,
    pub time: Duration,
}

impl Space {
    /// The program with these words, with nothing of the caller's settings.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(words).current_dir(self.root()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("XTASK_") || name.starts_with("STACK_") || name.starts_with("PYTEST_") {
                command.env_remove(&*name);
            }
        }
        // The system's Python first: wrappers of version managers take a second each.
        let mut path = OsString::from("/usr/bin:/bin:");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path).envs(&self.env);
        command
    }

    /// Runs to the end, with JSON events.
    pub fn run(&self, words: &[&str]) -> Run {
        end_of(self.command(&[words, &["--reporter", "json"]].concat()))
    }

    /// Runs to the end as people see it.
    pub fn say(&self, words: &[&str]) -> Run {
        end_of(self.command(&[words, &["--color", "never"]].concat()))
    }

    /// `build-stack`, which must work.
    pub fn build(&self) -> Run {
        self.run(&["build-stack"]).fine()
    }
}

/// Runs a command to its end.
pub fn end_of(mut command: Command) -> Run {
    let start = Instant::now();
    let Output { status, stdout, stderr } = command.output().expect("the program");
    let time = start.elapsed();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    let events = stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Run { code: code(status), events, stdout, stderr, time }
}

impl Run {
    #[track_caller]
    pub fn fine(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Events of this kind.
    pub fn of<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |one| one["event"] == event)
    }

    /// Names of the tasks that were started, sorted.
    pub fn started(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.of("task_started").filter_map(|one| one["task"].as_str()).collect();
        names.sort_unstable();
        names
    }

    /// How each task ended.
    pub fn outcomes(&self) -> BTreeMap<&str, &str> {
        self.of("task_finished").filter_map(|one| Some((one["task"].as_str()?, one["outcome"].as_str()?))).collect()
    }

    /// The message of the problem with which a task ended.
    pub fn problem(&self, task: &str) -> String {
        let found = self.of("task_finished").find(|one| one["task"] == task);
        found.and_then(|one| one["problem"]["message"].as_str()).unwrap_or_default().to_owned()
    }

    /// Whether the engine was asked to build this image.
    pub fn built(&self, image: &str) -> bool {
        let says = |one: &Value| one["text"].as_str().is_some_and(|text| text.starts_with("building "));
        self.of("task_output").any(|one| one["task"] == format!("build:{image}") && says(one))
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// A program that still runs; killed on drop.
pub struct Running(pub Child);

impl Running {
    pub fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program"))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    /// Waits for its end and gives its exit code.
    #[track_caller]
    pub fn end(mut self) -> i32 {
        let mut status = None;
        wait_for("the program ends", || {
            status = self.0.try_wait().expect("a status");
            status.is_some()
        });
        code(status.expect("a status"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; either way it is gone afterwards.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Command lines of processes of this machine that contain the text, this test's own and its descendants' included.
pub fn processes_with(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("processes");
    let lines = entries.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(text)).collect()
}
