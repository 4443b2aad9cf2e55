//! strace as a driver of faults: counts system calls, kills the program at the N-th, makes the N-th fail.

use std::process::Command;

use super::program;
use super::space::Ran;

/// The calls by which state reaches the disk.
pub const WRITES: &str = "write,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat";

fn strace(command: &Command, options: &[String]) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["--seccomp-bpf", "-f", "-qq", "--signal=none"]).args(options);
    traced.arg("--").arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        traced.current_dir(dir);
    }
    traced.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.stdin(std::process::Stdio::null());
    traced
}

/// Runs the command and gives the lines that strace wrote of these calls, by the program and whom it started.
pub fn trace(command: &Command, calls: &str) -> (Ran, Vec<String>) {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let file = log.path().display().to_string();
    let ran = program::end_of(strace(command, &["-o".into(), file, format!("--trace={calls}")]));
    let text = std::fs::read(log.path()).expect("strace is needed: apt-get install strace");
    let text = String::from_utf8_lossy(&text).into_owned();
    (ran, text.lines().map(str::to_owned).collect())
}

/// How many of these calls the first thread with the most of them makes: `when=N` counts by thread.
pub fn count(command: &Command, calls: &str) -> usize {
    let (_, lines) = trace(command, calls);
    let mut by_thread = std::collections::BTreeMap::<&str, usize>::new();
    for line in lines.iter().filter(|line| !line.contains("resumed>")) {
        *by_thread.entry(line.split_whitespace().next().unwrap_or_default()).or_default() += 1;
    }
    by_thread.into_values().max().unwrap_or(0)
}

/// Runs the command and kills it at its N-th such call.
pub fn kill_at(command: &Command, calls: &str, number: usize) -> Ran {
    inject(command, calls, &format!("signal=KILL:when={number}"))
}

/// Runs the command; its N-th such call fails with this error, and is not made.
pub fn error_at(command: &Command, calls: &str, error: &str, number: usize) -> Ran {
    inject(command, calls, &format!("error={error}:when={number}"))
}

/// Runs the command with any injection.
pub fn inject(command: &Command, calls: &str, what: &str) -> Ran {
    let options = ["-o".into(), "/dev/null".into(), format!("--trace={calls}"), format!("--inject={calls}:{what}")];
    program::end_of(strace(command, &options))
}
