//! Starts one process through `duct` in a group of its own. Knows nothing of its output or its time limit.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, RawPid};

use super::command::CommandSpec;
use super::exit::Exit;
use super::program;
use crate::model::Diagnostic;

/// Where a stream of the child goes.
pub(super) enum Feed {
    Null,
    Inherit,
    Pipe(std::os::fd::OwnedFd),
}

/// A child that runs, and leads the process group of its own number.
pub(super) struct Started {
    pub(super) handle: duct::Handle,
    pub(super) pid: Pid,
}

/// Starts the process of `spec` with the given streams.
///
/// The child's ends of pipes are closed here when this returns, so that the end of the child is the end of its pipes.
pub(super) fn start(spec: &CommandSpec, stdin: Feed, stdout: Feed, stderr: Feed) -> Result<Started, Exit> {
    let name = spec.argv.first().cloned().unwrap_or_default();
    let path = program::lookup(&spec.env, "PATH");
    let Some(file) = program::resolve(&name, path, &spec.cwd) else {
        let path = if name.as_encoded_bytes().contains(&b'/') { OsStr::new("") } else { path.unwrap_or_default() };
        return Err(Exit::NotFound { program: name, path: path.to_owned() });
    };
    let (arg0, env) = (name.clone(), spec.env.clone());
    let mut expression = duct::cmd(&file, spec.argv.get(1..).unwrap_or_default())
        .dir(&spec.cwd)
        // Nothing of ours. What it gets is put in below: duct would make two more maps of it.
        .full_env(std::iter::empty::<(OsString, OsString)>())
        .unchecked()
        .before_spawn(move |command| {
            command.arg0(&arg0).process_group(0).envs(env.iter().map(|(name, value)| (name, value)));
            Ok(())
        });
    expression = match stdin {
        Feed::Null => expression.stdin_null(),
        Feed::Inherit => expression,
        Feed::Pipe(end) => expression.stdin_file(end),
    };
    expression = match stdout {
        Feed::Null => expression.stdout_null(),
        Feed::Inherit => expression,
        Feed::Pipe(end) => expression.stdout_file(end),
    };
    expression = match stderr {
        Feed::Null => expression.stderr_null(),
        Feed::Inherit => expression,
        Feed::Pipe(end) => expression.stderr_file(end),
    };
    let handle = patiently(|| expression.start()).map_err(|error| refused(&name, &file, &spec.cwd, &error))?;
    let pid = handle.pids().first().and_then(|pid| Pid::from_raw(*pid as RawPid));
    // A started command that is not a pipeline has exactly one process, and 0 is no process's number.
    let pid = pid.ok_or_else(|| refused(&name, &file, &spec.cwd, &io::Error::other("no process number")))?;
    Ok(Started { handle, pid })
}

/// Tries again while a program that was just written is still open in a process being started by another thread.
fn patiently<T>(mut start: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for pause in [1, 4, 16, 64] {
        match start() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(pause));
            }
            other => return other,
        }
    }
    start()
}

/// What to say when the system refuses to start `program`.
pub(super) fn refused(program: &OsStr, file: &Path, cwd: &Path, error: &io::Error) -> Exit {
    let name = program.to_string_lossy();
    let problem = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) if !cwd.is_dir() => {
            Diagnostic::error(format!("`{name}` was not started: cwd `{}` is not a directory", cwd.display()))
        }
        Some(libc::ENOENT) => Diagnostic::error(format!("`{name}` was not started: its interpreter does not exist"))
            .note(format!("the first line of `{}` names a program that is not there", file.display())),
        Some(libc::EMFILE | libc::ENFILE) => {
            Diagnostic::error(format!("`{name}` was not started: too many open files"))
                .cause(error)
                .help("ulimit -n 4096")
        }
        Some(libc::EAGAIN) => Diagnostic::error(format!("`{name}` was not started: the limit of processes is reached"))
            .cause(error)
            .note("`ulimit -u` shows the limit"),
        Some(libc::E2BIG) => {
            Diagnostic::error(format!("`{name}` was not started: its arguments and environment are too long"))
                .cause(error)
        }
        Some(libc::EACCES) => Diagnostic::error(format!("`{name}` was not started: it is not executable"))
            .cause(error)
            .help(format!("chmod +x {}", file.display())),
        Some(libc::ENOEXEC) => Diagnostic::error(format!("`{name}` was not started: it is no program"))
            .cause(error)
            .note("a script starts with a line like `#!/bin/sh`"),
        _ => Diagnostic::error(format!("`{name}` was not started")).cause(error),
    };
    Exit::SpawnFailed(Box::new(problem))
}
