//! Ends the processes of a run whose own process was killed without a chance to do so. Knows nothing of runs that end
//! in any other way.
//!
//! A small shell process waits at a pipe. When this process dies, whatever the cause, the pipe ends; then the shell kills
//! every process that carries the run's token in its environment. It costs one process per run that starts any.

use std::ffi::{OsStr, OsString};
use std::io::{PipeWriter, Write};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, RawPid};

/// `grep -z` reads the environments as the system shows them: entries that end with a zero byte. Twice, because a
/// process may be starting another while it is killed.
const SCRIPT: &str = r#"
trap '' INT TERM HUP QUIT
read -r word && [ "$word" = done ] && exit 0
for round in 1 2 3; do
    grep -lzxF -e "XTASK_TOKEN=$1" /proc/[0-9]*/environ 2>/dev/null |
    while IFS=/ read -r nothing proc pid rest; do kill -9 "$pid" 2>/dev/null; done
    sleep 0.1 2>/dev/null
done
"#;

struct Watchdog {
    token: OsString,
    handle: duct::Handle,
    pipe: PipeWriter,
}

static WATCHDOG: Mutex<Option<Watchdog>> = Mutex::new(None);

/// Makes sure that one waits for the death of this process on behalf of the run with this token.
///
/// Not for a run that has joined another, whose token it shares: there the other's watchdog is the one, and the death of
/// the inner run alone must not end what else the outer one does.
pub(super) fn ensure(token: &OsStr) {
    if std::env::var_os("XTASK_TOKEN").is_some_and(|outer| outer == token) {
        return;
    }
    let mut current = WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner);
    if current.as_ref().is_some_and(|watchdog| watchdog.token == token) {
        return;
    }
    if let Some(old) = current.take() {
        old.dismiss();
    }
    // Without it a run is as good as before, unless it is killed: then the next start clears up.
    *current = start(token);
}

/// The number of its process, which is none of the run's.
pub(super) fn pid() -> Option<Pid> {
    let current = WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner);
    current.as_ref().and_then(|watchdog| Pid::from_raw(*watchdog.handle.pids().first()? as RawPid))
}

/// The run is over and nothing is left of it.
pub(super) fn dismiss() {
    let old = WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(old) = old {
        old.dismiss();
    }
}

impl Watchdog {
    fn dismiss(mut self) {
        // If it is gone already there is nobody to tell.
        let _ = self.pipe.write_all(b"done\n");
        drop(self.pipe);
        let _ = self.handle.wait();
    }
}

fn start(token: &OsStr) -> Option<Watchdog> {
    let (theirs, pipe) = std::io::pipe().ok()?;
    let path = OsString::from("/usr/bin:/bin");
    let words = [OsStr::new("-c"), OsStr::new(SCRIPT), OsStr::new("xtask-watchdog"), token];
    let expression = duct::cmd("/bin/sh", words)
        .dir("/")
        .full_env([(OsString::from("PATH"), path)])
        .stdin_file(theirs)
        .stdout_null()
        .stderr_null()
        .unchecked()
        .before_spawn(|command| {
            // Its own group: Ctrl-C and what ends the run's groups must not end it.
            std::os::unix::process::CommandExt::process_group(command, 0);
            Ok(())
        });
    let handle = expression.start().ok()?;
    Some(Watchdog { token: token.to_owned(), handle, pipe })
}
