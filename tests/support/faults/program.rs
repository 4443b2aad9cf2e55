//! The real binary: runs to the end, runs that are killed, and what such a run had said. Knows nothing of tasks.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::space::{Ran, environment};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The program with these words in a folder, with nothing of the caller's settings.
pub fn program(root: &std::path::Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(words).current_dir(root).env_clear().envs(environment()).stdin(Stdio::null());
    command
}

/// The exit code, or 128 and the signal.
pub fn code(status: ExitStatus) -> u8 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()) as u8
}

/// Runs a command to its end; it must end in time.
#[track_caller]
pub fn end_of(mut command: Command) -> Ran {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut running = Running::of(child.unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display())));
    let code = running.end();
    running.said(code)
}

/// `run --reporter json` with these words, to the end.
#[track_caller]
pub fn run(root: &std::path::Path, words: &[&str]) -> Ran {
    end_of(program(root, &[&["run", "--reporter", "json"], words].concat()))
}

/// A program that runs, and whose output is collected; killed on drop.
pub struct Running {
    pub child: Child,
    out: Option<std::thread::JoinHandle<Vec<u8>>>,
    err: Option<std::thread::JoinHandle<Vec<u8>>>,
}

fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        // What a killed program had written can still be read.
        let _ = from.read_to_end(&mut all);
        all
    })
}

impl Running {
    pub fn of(mut child: Child) -> Self {
        let (out, err) = (child.stdout.take().map(collect), child.stderr.take().map(collect));
        Self { child, out, err }
    }

    pub fn start(root: &std::path::Path, words: &[&str]) -> Self {
        let child = program(root, words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self::of(child.expect("the program"))
    }

    pub fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for its end; the exit code.
    #[track_caller]
    pub fn end(&mut self) -> u8 {
        let end = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return code(status);
            }
            assert!(Instant::now() < end, "the program does not end");
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }

    /// Everything that it said until its end. Who still holds its pipes is waited for.
    pub fn said(&mut self, code: u8) -> Ran {
        let text = |thread: Option<std::thread::JoinHandle<Vec<u8>>>| {
            let bytes = thread.map(|thread| thread.join().expect("no panic")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (out, err) = (text(self.out.take()), text(self.err.take()));
        Ran::new(code, out, err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
