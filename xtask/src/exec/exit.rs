//! How a process ended, and the words for it. Knows nothing of how it was run.

use std::ffi::OsString;
use std::time::Duration;

use crate::model::{Diagnostic, Outcome};

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself with this code: 0 is success, 1 to 125 a failure, 126 and above an error.
    Code(i32),
    /// A signal that we did not send ended it.
    Signal(i32),
    /// Its time limit passed, and it was ended.
    TimedOut(Duration),
    /// It did nothing for that long, and it was ended.
    Stalled(Duration),
    /// The run was told to stop, and it was ended (or never started).
    Stopped,
    /// There is no such program: its name and the `PATH` that was searched (empty for a name with a `/`).
    NotFound { program: OsString, path: OsString },
    /// The system refused to start it.
    SpawnFailed(Box<Diagnostic>),
    /// Its output could not be written to its log, so it was ended.
    LogFailed(String),
}

impl Exit {
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
    }

    /// What it means for the task.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Code(0) => Outcome::Ran,
            Self::Code(1..=125) | Self::TimedOut(_) | Self::Stalled(_) | Self::LogFailed(_) => Outcome::Failed,
            Self::Stopped => Outcome::Interrupted,
            Self::Code(_) | Self::Signal(_) | Self::NotFound { .. } | Self::SpawnFailed(_) => Outcome::Error,
        }
    }

    /// The end of a sentence that starts with the subject: `exited with code 3`.
    pub fn describe(&self) -> String {
        match self {
            Self::Code(code) => format!("exited with code {code}"),
            Self::Signal(9) => "killed by SIGKILL (possibly out of memory)".to_owned(),
            Self::Signal(signal) => format!("killed by {}", signal_name(*signal)),
            Self::TimedOut(limit) => format!("timed out after {}", seconds(*limit)),
            Self::Stalled(limit) => format!("made no progress for {}", seconds(*limit)),
            Self::Stopped => "interrupted".to_owned(),
            Self::NotFound { program, .. } => format!("program `{}` was not found", program.to_string_lossy()),
            Self::SpawnFailed(problem) => problem.message.clone(),
            Self::LogFailed(cause) => format!("log write failed: {cause}"),
        }
    }

    /// The same as an error about `subject` (e.g. ``task `lint` ``), with what helps; `None` for a success.
    pub fn diagnostic(&self, subject: &str) -> Option<Diagnostic> {
        let error = Diagnostic::error(format!("{subject} {}: {}", self.verb(), self.describe()));
        Some(match self {
            Self::Code(0) => return None,
            Self::Stopped => Diagnostic::error(format!("{subject} was interrupted")),
            Self::Code(126) => error.note("code 126 of a shell means that a file is not executable"),
            Self::Code(127) => error.note("code 127 of a shell means that a program was not found"),
            Self::NotFound { path, .. } if !path.is_empty() => {
                error.note(format!("searched PATH: {}", path.to_string_lossy()))
            }
            Self::SpawnFailed(problem) => Diagnostic {
                causes: problem.causes.clone(),
                notes: problem.notes.clone(),
                helps: problem.helps.clone(),
                ..error
            },
            _ => error,
        })
    }

    fn verb(&self) -> &'static str {
        match self.outcome() {
            Outcome::Error => "could not be executed",
            _ => "failed",
        }
    }
}

/// `SIGTERM`, or `signal 77` for one without a name here.
pub fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// `10 s`, `1.5 s`.
fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_millis() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_the_contract() {
        for (exit, outcome) in [
            (Exit::Code(0), Outcome::Ran),
            (Exit::Code(1), Outcome::Failed),
            (Exit::Code(125), Outcome::Failed),
            (Exit::Code(126), Outcome::Error),
            (Exit::Code(255), Outcome::Error),
            (Exit::Signal(9), Outcome::Error),
            (Exit::Stopped, Outcome::Interrupted),
        ] {
            assert_eq!(exit.outcome(), outcome, "{exit:?}");
        }
    }

    #[test]
    fn messages_name_the_signal_and_the_path() {
        let killed = Exit::Signal(9).diagnostic("task `a`").unwrap().to_string();
        assert_eq!(killed, "error: task `a` could not be executed: killed by SIGKILL (possibly out of memory)");
        let missing = Exit::NotFound { program: "nope".into(), path: "/bin:/usr/bin".into() };
        assert_eq!(
            missing.diagnostic("task `a`").unwrap().to_string(),
            "error: task `a` could not be executed: program `nope` was not found\n  note: searched PATH: /bin:/usr/bin"
        );
        assert_eq!(Exit::Stopped.diagnostic("task `a`").unwrap().to_string(), "error: task `a` was interrupted");
        assert_eq!(Exit::TimedOut(Duration::from_millis(1500)).describe(), "timed out after 1.5 s");
    }
}
