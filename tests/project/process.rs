//! The real binary as a process: one call, or one that stays in the background. Knows nothing of cases.

use std::collections::BTreeMap;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

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
    let output = command.output().expect("the binary");
    ran(output.status, &output.stdout, &output.stderr)
}

fn ran(status: ExitStatus, out: &[u8], err: &[u8]) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let exit = status.code().or_else(|| Some(128 + status.signal()?));
    let exit = exit.and_then(|exit| u8::try_from(exit).ok()).unwrap_or(255);
    Ran::new(exit, &String::from_utf8_lossy(out), &String::from_utf8_lossy(err))
}

/// A process with the files that it writes to.
struct Running {
    child: Child,
    out: NamedTempFile,
    err: NamedTempFile,
}

/// Processes of one case, by name. What is left at its end is killed.
#[derive(Default)]
pub struct Background(BTreeMap<String, Running>);

impl Background {
    pub fn start(&mut self, name: &str, mut command: Command) {
        let (out, err) = (NamedTempFile::new().expect("a file"), NamedTempFile::new().expect("a file"));
        let open = |file: &NamedTempFile| file.reopen().expect("the file");
        let child = command.stdout(open(&out)).stderr(open(&err)).spawn().expect("the binary");
        self.0.insert(name.to_owned(), Running { child, out, err });
    }

    fn get(&self, name: &str) -> &Running {
        self.0.get(name).unwrap_or_else(|| panic!("no process `{name}`"))
    }

    pub fn signal(&self, name: &str, signal: &str) {
        let signal = match signal {
            "INT" => rustix::process::Signal::INT,
            "TERM" => rustix::process::Signal::TERM,
            "KILL" => rustix::process::Signal::KILL,
            other => panic!("signal {other}"),
        };
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.get(name).child), signal)
            .expect("a signal");
    }

    /// Whether it says this, sooner or later.
    pub fn says(&self, name: &str, text: &str) -> bool {
        let running = self.get(name);
        let has = |file: &NamedTempFile| std::fs::read_to_string(file.path()).is_ok_and(|said| said.contains(text));
        eventually(|| has(&running.out) || has(&running.err))
    }

    /// Waits for its end.
    pub fn join(&mut self, name: &str) -> Ran {
        let mut running = self.0.remove(name).unwrap_or_else(|| panic!("no process `{name}`"));
        if !eventually(|| running.child.try_wait().expect("a process").is_some()) {
            let _ = running.child.kill();
        }
        let status = running.child.wait().expect("a process");
        let read = |file: &NamedTempFile| std::fs::read(file.path()).expect("its output");
        ran(status, &read(&running.out), &read(&running.err))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for running in self.0.values_mut() {
            let _ = running.child.kill();
            let _ = running.child.wait();
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
        std::thread::sleep(Duration::from_millis(10));
    }
}
