//! A repository under a running watch, and what the watch tells of it. Knows nothing of what is tested.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How often: many times as often as in a short test where `cargo xtask soak` asks for it.
pub fn soak(count: usize) -> usize {
    let factor = std::env::var("XTASK_SOAK").ok().and_then(|factor| factor.parse::<usize>().ok());
    factor.unwrap_or(if std::env::var_os("XTASK_SOAK_SECONDS").is_some() { 25 } else { 1 }) * count
}

/// A folder with a tasks.yaml.
pub struct Space {
    dir: tempfile::TempDir,
}

impl Space {
    pub fn new(tasks: &str) -> Self {
        let space = Self { dir: tempfile::tempdir().expect("a folder") };
        space.write("tasks.yaml", tasks);
        space
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn write(&self, path: &str, content: &str) {
        let file = self.path(path);
        fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
        fs::write(file, content).expect("a file");
    }

    /// Puts a whole file in place, so that nobody ever sees half of it.
    pub fn replace(&self, path: &str, content: &str) {
        let beside = self.path(&format!("{path}.new"));
        fs::write(&beside, content).expect("a file");
        fs::rename(beside, self.path(path)).expect("the file");
    }

    pub fn command(&self, words: &[&str]) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_xtask"), words)
    }

    fn command_of(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words).current_dir(self.dir.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("XTASK_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Starts a watch with these words.
    pub fn watch(&self, words: &[&str]) -> Watch {
        // It must not outlive a test that is killed.
        let program = env!("CARGO_BIN_EXE_xtask");
        let words = [&["--pdeathsig", "KILL", program, "--reporter", "json", "watch"], words].concat();
        let mut command = self.command_of("setpriv", &words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
        let (sender, events) = channel();
        let out = child.stdout.take().expect("its output");
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("an event");
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let (sender, said) = channel();
        let mut err = child.stderr.take().expect("its messages");
        std::thread::spawn(move || {
            let mut text = String::new();
            // What is no text is no message of ours.
            let _ = err.read_to_string(&mut text);
            let _ = sender.send(text);
        });
        Watch { child, events, said }
    }

    pub fn git(&self, words: &[&str]) {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").args(identity).args(words).current_dir(self.dir.path()).output().expect("git");
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A watch that runs.
pub struct Watch {
    child: Child,
    pub events: Receiver<Value>,
    said: Receiver<String>,
}

/// What happened until the watch had nothing to do.
#[derive(Debug, Default)]
pub struct Round {
    /// Each start of a task, in order, with its reasons and the lines that it printed.
    pub starts: Vec<Start>,
    pub finished: Vec<(String, String)>,
    /// Messages of problems.
    pub notices: Vec<String>,
    /// The exit code of the last run in it.
    pub exit: Option<u64>,
    /// The files that say which tasks there are could not be understood.
    pub broken: bool,
}

/// One start of a task.
#[derive(Clone, Debug, Default)]
pub struct Start {
    pub task: String,
    pub reasons: Vec<String>,
    pub lines: Vec<String>,
}

impl Round {
    pub fn started(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.starts.iter().map(|start| &*start.task).collect();
        names.sort_unstable();
        names
    }

    /// Takes in one event. False once the watch is idle.
    fn take(&mut self, event: &Value, reasons: &mut Vec<(String, Vec<String>)>) -> bool {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str() {
            Some("task_decided") => {
                let kinds = event["reasons"].as_array().into_iter().flatten();
                let kinds = kinds.filter_map(|reason| reason["kind"].as_str().map(str::to_owned)).collect();
                reasons.push((text("task"), kinds));
            }
            Some("task_started") => {
                let why = reasons.iter().rev().find(|(task, _)| *task == text("task"));
                let reasons = why.map(|(_, kinds)| kinds.clone()).unwrap_or_default();
                self.starts.push(Start { task: text("task"), reasons, lines: Vec::new() });
            }
            Some("task_output") => {
                let task = text("task");
                if let Some(start) = self.starts.iter_mut().rev().find(|start| start.task == task) {
                    start.lines.push(text("text"));
                }
            }
            Some("task_finished") => self.finished.push((text("task"), text("outcome"))),
            Some("notice") => self.notices.push(event.to_string()),
            Some("run_finished") => self.exit = event["exit"].as_u64(),
            Some("watch_idle") => {
                self.broken = event["broken"] == true;
                return false;
            }
            _ => {}
        }
        true
    }
}

impl Watch {
    /// What happens until the watch is idle.
    #[track_caller]
    pub fn round(&self) -> Round {
        self.until(|_| false)
    }

    /// What happens until the watch is idle, or `done` is content with it.
    #[track_caller]
    pub fn until(&self, done: impl Fn(&Round) -> bool) -> Round {
        let (mut round, mut reasons) = (Round::default(), Vec::new());
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).unwrap_or_else(|error| panic!("{error}: {round:#?}"));
            if !round.take(&event, &mut reasons) || done(&round) {
                return round;
            }
        }
    }

    /// What happens until nothing has for so long.
    pub fn settle(&self, time: Duration) -> Round {
        let (mut round, mut reasons) = (Round::default(), Vec::new());
        while let Ok(event) = self.events.recv_timeout(time) {
            round.take(&event, &mut reasons);
        }
        round
    }

    /// What happens until a round is over in which the task `mark` ran, which the caller wakes.
    #[track_caller]
    pub fn until_marked(&self) -> Vec<Round> {
        let mut rounds = Vec::new();
        loop {
            rounds.push(self.round());
            if rounds.last().is_some_and(|round| round.starts.iter().any(|start| start.task == "mark")) {
                return rounds;
            }
        }
    }

    /// Whether nothing at all happens for so long.
    pub fn is_silent(&self, time: Duration) -> bool {
        self.events.recv_timeout(time).is_err()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kilobytes of memory, and open files.
    pub fn size(&self) -> (u64, usize) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
        let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
        (kilobytes, fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it lives").count())
    }

    /// Ends it by Ctrl-C; returns its exit code, or 128 and the signal, and what it said.
    pub fn interrupt(mut self) -> (i32, String) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it lives");
        let status = self.child.wait().expect("its end");
        let code =
            status.code().unwrap_or_else(|| -std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0));
        (code, self.said.recv_timeout(PATIENCE).unwrap_or_default())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It has ended already where a test interrupted it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small generator, so that a failure can be repeated from its seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}
