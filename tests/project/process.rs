//! The real binary as a process: one call, or one that stays in the background. Knows nothing of cases.

use std::collections::BTreeMap;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::play::Call;
use crate::space::{Ran, Space};

/// How long anything may take on a busy machine.
pub const LIMIT: Duration = Duration::from_mins(1);

/// The command line of the binary in the environment that cases have.
pub fn command(space: &Space, call: &Call) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(&call.words).current_dir(space.root().join(&call.cwd));
    command.env_clear().envs(Space::environment(&call.env)).stdin(Stdio::null());
    command
}

pub fn output(mut command: Command) -> Ran {
    ran(command.output().expect("the binary"))
}

fn ran(output: Output) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let exit = output.status.code().or_else(|| Some(128 + output.status.signal()?));
    let exit = exit.and_then(|exit| u8::try_from(exit).ok()).unwrap_or(255);
    Ran::new(exit, &String::from_utf8_lossy(&output.stdout), &String::from_utf8_lossy(&output.stderr))
}

/// Processes of one case, by name. What is left at its end is killed.
#[derive(Default)]
pub struct Background(BTreeMap<String, Child>);

impl Background {
    pub fn start(&mut self, name: &str, mut command: Command) {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
        self.0.insert(name.to_owned(), child);
    }

    pub fn signal(&self, name: &str, signal: &str) {
        let signal = match signal {
            "INT" => rustix::process::Signal::INT,
            "TERM" => rustix::process::Signal::TERM,
            "KILL" => rustix::process::Signal::KILL,
            other => panic!("signal {other}"),
        };
        let child = self.0.get(name).unwrap_or_else(|| panic!("no process `{name}`"));
        rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).expect("a signal");
    }

    /// Waits for its end.
    pub fn join(&mut self, name: &str) -> Ran {
        let mut child = self.0.remove(name).unwrap_or_else(|| panic!("no process `{name}`"));
        let end = Instant::now() + LIMIT;
        while child.try_wait().expect("a process").is_none() {
            if Instant::now() > end {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        ran(child.wait_with_output().expect("its output"))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for child in self.0.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Looks again and again until it is so.
pub fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + LIMIT;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
