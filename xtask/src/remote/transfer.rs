//! Copies one folder to one place, again if the link fails. Knows nothing of notes, hosts' lists or limits.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::pace;
use super::progress::{Progress, ProgressLog};
use super::rsync::{self, CodeClass, SyncSpec};
use super::ssh::Env;
use super::target::quote;
use super::{Master, RemoteError, Target};
use crate::exec::{CommandResult, CommandSpec, Exit, Stdin, run};
use crate::model::task::Compress;
use crate::model::{StopToken, Stream};

/// How much trouble a transfer puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Without data for so long a transfer is ended and tried again.
    pub no_progress: Duration,
    /// For all attempts together.
    pub deadline: Option<Duration>,
    /// Attempts after the first.
    pub retries: u32,
    /// Before the first retry; doubled each time, at most 30 seconds, with up to a half more by chance.
    pub back_off: Duration,
}

impl Default for Patience {
    /// 30 seconds without progress, 5 retries from one second on, no deadline.
    fn default() -> Self {
        Self { no_progress: Duration::from_secs(30), deadline: None, retries: 5, back_off: Duration::from_secs(1) }
    }
}

/// A place that rsync can write to: this machine, or a host through a connection that is made anew when it is lost.
pub(super) struct Link {
    /// For messages.
    pub(super) name: String,
    way: Way,
    pub(super) env: Env,
    slow: OnceLock<bool>,
}

enum Way {
    Here,
    Ssh {
        target: Target,
        master: Mutex<Option<Arc<Master>>>,
    },
    /// A program in the place of ssh, given the name of a host and a command line.
    #[cfg(test)]
    Shell(String),
}

impl Link {
    pub(super) fn here(env: Env) -> Self {
        Self { name: "this machine".to_owned(), way: Way::Here, env, slow: OnceLock::new() }
    }

    pub(super) fn ssh(target: Target, env: Env) -> Self {
        Self {
            name: target.to_string(),
            way: Way::Ssh { target, master: Mutex::new(None) },
            env,
            slow: OnceLock::new(),
        }
    }

    /// Through a connection that is open, as long as it is.
    pub(super) fn over(master: &Arc<Master>) -> Self {
        let (target, open) = (master.target().clone(), Mutex::new(Some(master.clone())));
        let env = master.env().clone();
        Self { name: target.to_string(), way: Way::Ssh { target, master: open }, env, slow: OnceLock::new() }
    }

    /// Through a program that stands for ssh.
    #[cfg(test)]
    pub(super) fn shell(program: &str, env: Env) -> Self {
        Self { name: "stub".to_owned(), way: Way::Shell(program.to_owned()), env, slow: OnceLock::new() }
    }

    /// The open connection, made if there is none.
    pub(super) fn master(&self, stop: &StopToken) -> Result<Option<Arc<Master>>, RemoteError> {
        let Way::Ssh { target, master } = &self.way else { return Ok(None) };
        let mut master = master.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = master.as_ref().filter(|open| open.is_alive()) {
            return Ok(Some(open.clone()));
        }
        let open = Arc::new(Master::connect(target, &self.env, stop)?);
        *master = Some(open.clone());
        Ok(Some(open))
    }

    /// Whether what is copied there is to be compressed on the way. What is measured for it is kept in `memory`.
    pub(super) fn compresses(&self, wish: Compress, memory: Option<&Path>, stop: &StopToken) -> bool {
        match wish {
            Compress::Always => true,
            Compress::Never => false,
            Compress::Auto => *self.slow.get_or_init(|| match self.master(stop) {
                Ok(Some(master)) => pace::is_slow(&master, memory, stop),
                // Here nothing is slow, and a host that is not reached says so itself.
                _ => false,
            }),
        }
    }

    /// Runs a shell script there, with words. Stdout is in the result, stderr in the second value.
    pub(super) fn script(
        &self,
        text: &str,
        words: &[&str],
        stop: &StopToken,
    ) -> Result<(CommandResult, Vec<String>), RemoteError> {
        let mut argv = vec!["sh", "-c", text, "sh"];
        argv.extend(words);
        let mut said = Vec::new();
        let mut sink = |stream, line: &[u8]| {
            if stream == Stream::Stderr {
                said.push(String::from_utf8_lossy(line).into_owned());
            }
        };
        let result = match self.master(stop)? {
            Some(master) => master.run(&argv, Stdin::Null, &mut sink, stop),
            None => {
                let mut spec = CommandSpec::new(argv.iter().map(Into::into).collect(), "/".into(), self.env.clone());
                spec.capture_limit = 1 << 20;
                run(&spec, &mut sink, &mut std::io::sink(), stop)
            }
        };
        Ok((result, said))
    }

    /// What rsync needs to get to `path` there: the remote shell, if any, and the operand.
    fn way_to(&self, path: &str, stop: &StopToken) -> Result<(Option<String>, String), RemoteError> {
        match &self.way {
            Way::Here => Ok((None, path.to_owned())),
            #[cfg(test)]
            Way::Shell(program) => Ok((Some(program.clone()), format!("stub:{path}"))),
            Way::Ssh { target, .. } => {
                let Some(master) = self.master(stop)? else { return Err(RemoteError::Stopped) };
                Ok((Some(remote_shell(&master)?), target.operand(path)))
            }
        }
    }
}

/// Writes the call of ssh into a script, because rsync splits what it is told at spaces.
fn remote_shell(master: &Master) -> Result<String, RemoteError> {
    let path: PathBuf = master.private_dir().join("rsh");
    if !path.exists() {
        let words: Vec<String> = master.client().iter().map(|word| quote(&word.to_string_lossy())).collect();
        let text = format!("exec {} \"$@\"\n", words.join(" "));
        let host = master.target().to_string();
        let new = master.private_dir().join(format!("rsh.{:?}", std::thread::current().id()));
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|cause| RemoteError::System { host, cause: cause.to_string() })?;
    }
    Ok(format!("sh {}", path.display()))
}

/// What a transfer did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Done {
    pub(super) bytes: u64,
    pub(super) attempts: u32,
    /// What was sent was compressed.
    pub(super) compressed: bool,
}

/// Copies the content of a folder into the folder `path` at the other end of `link`, whose parent exists.
pub(super) fn transfer(
    spec: &SyncSpec,
    link: &Link,
    path: &str,
    patience: Patience,
    report: &mut dyn FnMut(Progress),
    log: &mut dyn Write,
    stop: &StopToken,
) -> Result<Done, RemoteError> {
    let start = Instant::now();
    let what = format!("copying `{}`", spec.source.display());
    let mut vanished = false;
    let compressed = link.compresses(spec.compress, spec.memory.as_deref(), stop);
    let mut done = Done { compressed, ..Done::default() };
    loop {
        done.attempts += 1;
        let left = patience.deadline.map(|limit| limit.saturating_sub(start.elapsed()));
        let (how, said, class) = match attempt(spec, link, path, patience, left, (report, log, stop), &mut done) {
            Ok((Exit::Code(0), _)) => return Ok(done),
            Ok((Exit::Stopped, _)) => return Err(RemoteError::Stopped),
            Ok((Exit::TimedOut(_), _)) => {
                let limit = patience.deadline.unwrap_or_default();
                return Err(RemoteError::TooLate { host: link.name.clone(), what, limit });
            }
            Ok((Exit::Stalled(limit), said)) => (Exit::Stalled(limit).describe(), said, CodeClass::Retry),
            Ok((Exit::Code(code), said)) => {
                // Depending on who is faster, a missing rsync on the host looks like a broken connection.
                let missing = said.iter().any(|line| line.contains("command not found"));
                let class = if missing { CodeClass::Failure } else { rsync::classify(code) };
                (format!("{} (code {code})", rsync::explain(code)), said, class)
            }
            Ok((exit, said)) => (exit.describe(), said, CodeClass::Failure),
            Err(RemoteError::Unreachable { said, .. }) if done.attempts > 1 => {
                ("no connection".to_owned(), said, CodeClass::Retry)
            }
            Err(error) => return Err(error),
        };
        let again = match class {
            CodeClass::Retry => done.attempts <= patience.retries,
            CodeClass::RetryOnce => !std::mem::replace(&mut vanished, true),
            CodeClass::Success | CodeClass::Failure => false,
        };
        let host = link.name.clone();
        match (again, done.attempts) {
            (true, attempts) => pause(patience.back_off, attempts, stop)?,
            (false, 1) => return Err(RemoteError::Failed { host, what, how, said }),
            (false, attempts) => return Err(RemoteError::GaveUp { host, what, attempts, how, said }),
        }
    }
}

/// Where an attempt reports to.
type Ends<'a> = (&'a mut dyn FnMut(Progress), &'a mut dyn Write, &'a StopToken);

/// One call of rsync: how it ended and the last that it said about errors. Adds what was sent to `done`.
fn attempt(
    spec: &SyncSpec,
    link: &Link,
    path: &str,
    patience: Patience,
    left: Option<Duration>,
    (report, log, stop): Ends<'_>,
    done: &mut Done,
) -> Result<(Exit, Vec<String>), RemoteError> {
    let (shell, operand) = link.way_to(path, stop)?;
    let mut command =
        CommandSpec::new(rsync::argv(spec, done.compressed, shell.as_deref(), &operand)?, "/".into(), link.env.clone());
    command.idle_limit = Some(patience.no_progress);
    command.timeout = left;
    command.grace = Duration::from_secs(2);
    let mut said: Vec<String> = Vec::new();
    let mut sink = |stream, line: &[u8]| {
        if stream == Stream::Stderr {
            // The first lines name the cause, the last sum up; ten of them are enough for a person.
            if said.len() == 10 {
                said.remove(5);
            }
            said.push(String::from_utf8_lossy(line).trim_end().to_owned());
        }
    };
    let mut sent = 0;
    let mut note = |progress: Progress| {
        sent = sent.max(progress.bytes);
        report(progress);
    };
    let result = run(&command, &mut sink, &mut ProgressLog::new(log, &mut note), stop);
    done.bytes += sent;
    Ok((result.exit, said))
}

/// Waits before the next attempt; ends early if the run is to stop.
pub(super) fn pause(first: Duration, attempts: u32, stop: &StopToken) -> Result<(), RemoteError> {
    let full = first.saturating_mul(1 << (attempts - 1).min(10)).min(Duration::from_secs(30));
    // Several transfers to one host that lost its link at the same moment must not come back at the same moment.
    let chance = Instant::now();
    let spread = crate::model::Digest::of(format!("{chance:?}").as_bytes()).0[0];
    let wait = full + full.mul_f64(f64::from(spread) / 512.0);
    while chance.elapsed() < wait {
        if stop.is_requested() {
            return Err(RemoteError::Stopped);
        }
        std::thread::sleep(Duration::from_millis(20).min(wait));
    }
    Ok(())
}
