//! Runs one process to its end: output, time limit, request to stop, and what it left behind. Knows nothing of tasks.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::exit::Exit;
use super::pulse::Pulse;
use super::pump::{Pump, Sink};
use super::spawn::{self, Feed, Started};
use super::terminal::Lent;
use super::{family, interrupt, program, watchdog};
use crate::model::StopToken;
use crate::model::stop::Stop;
use crate::profile::{self, Part};

/// How often a request to stop is looked for.
const TICK: Duration = Duration::from_millis(50);
/// How long pipes that outlive their process, and the rest of its group, are waited for.
const LEAK_WINDOW: Duration = Duration::from_millis(300);
/// A process that lives that long after SIGKILL hangs in the system; it is given up.
const GIVE_UP: Duration = Duration::from_secs(10);

/// What to run and how.
#[derive(Clone, Debug)]
pub struct CommandSpec {
    /// The program and its arguments. A program without `/` is searched in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// Absolute.
    pub cwd: PathBuf,
    /// The whole environment: nothing else is inherited.
    pub env: Arc<Vec<(OsString, OsString)>>,
    pub stdin: Stdin,
    pub timeout: Option<Duration>,
    /// It is ended when, for that long, it wrote nothing and moved less than 1 KiB: a transfer whose link is dead.
    /// Where the system does not count what a process moves, only its output counts.
    pub idle_limit: Option<Duration>,
    /// Between a polite signal and SIGKILL.
    pub grace: Duration,
    /// Has the terminal for itself: its streams are not read, `sink` and the log get nothing.
    pub interactive: bool,
    /// How many bytes of stdout are kept for the caller.
    pub capture_limit: usize,
    /// Processes that it leaves behind without holding its pipes stay until the end of the run: a service that a
    /// setup task starts. Otherwise they are ended with it.
    pub keep_background: bool,
}

impl CommandSpec {
    /// A command without input, limit or capture, with 10 seconds of grace.
    pub fn new(argv: Vec<OsString>, cwd: PathBuf, env: impl Into<Arc<Vec<(OsString, OsString)>>>) -> Self {
        Self {
            argv,
            cwd,
            env: env.into(),
            stdin: Stdin::Null,
            timeout: None,
            idle_limit: None,
            grace: Duration::from_secs(10),
            interactive: false,
            capture_limit: 0,
            keep_background: false,
        }
    }
}

/// Where the process reads from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// The end of file, at once.
    Null,
    /// Our own.
    Inherit,
    Bytes(Vec<u8>),
    /// The end of a pipe whose other end the caller writes to, and keeps open as long as it likes.
    Pipe(Reader),
}

/// The end of a pipe that a process is to read from.
#[derive(Clone, Debug)]
pub struct Reader(Arc<io::PipeReader>);

impl Reader {
    /// A pipe: its end for the process, and ours.
    ///
    /// # Errors
    /// The system has no more pipes.
    pub fn pipe() -> io::Result<(Self, io::PipeWriter)> {
        let (theirs, ours) = io::pipe()?;
        Ok((Self(Arc::new(theirs)), ours))
    }
}

impl PartialEq for Reader {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Reader {}

/// How it went.
#[derive(Clone, Debug)]
pub struct CommandResult {
    pub exit: Exit,
    /// The first bytes of stdout, at most `capture_limit`.
    pub stdout: Vec<u8>,
    /// There was more than `stdout` holds.
    pub truncated: bool,
    pub duration: Duration,
    /// It left processes behind that held its pipes or stayed in its group; they were ended.
    pub leaky: bool,
}

/// Runs a process to its end.
///
/// `sink` gets its output as whole lines, `log` verbatim in the order in which it was read. When this returns, nothing
/// of the process's group is left, unless `keep_background` says so.
pub fn run(spec: &CommandSpec, sink: Sink<'_>, log: &mut dyn Write, stop: &StopToken) -> CommandResult {
    let start = Instant::now();
    let mut pump = Pump::new(sink, log, spec.capture_limit);
    // It finds the terminal as we found it.
    let _away = spec.interactive.then(interrupt::away);
    let (exit, leaky) = if stop.is_requested() {
        (Exit::Stopped, false)
    } else {
        match launch(spec, &mut pump) {
            Ok((started, membership)) => Watched::new(spec, &started, stop).finish(&mut pump, membership),
            Err(exit) => (exit, false),
        }
    };
    let (stdout, truncated) = pump.finish();
    CommandResult { exit, stdout, truncated, duration: start.elapsed(), leaky }
}

/// Starts the process and connects its pipes.
fn launch(spec: &CommandSpec, pump: &mut Pump<'_>) -> Result<(Started, family::Membership), Exit> {
    let name = spec.argv.first().cloned().unwrap_or_default();
    let refused = |error: io::Error| spawn::refused(&name, name.as_ref(), &spec.cwd, &error);
    let marker = program::lookup(&spec.env, "XTASK_TASK").unwrap_or_default().as_bytes();
    if let Some(token) = program::lookup(&spec.env, "XTASK_TOKEN") {
        watchdog::ensure(token);
    }
    let stdin = match &spec.stdin {
        _ if spec.interactive => Feed::Inherit,
        Stdin::Null => Feed::Null,
        Stdin::Inherit => Feed::Inherit,
        Stdin::Pipe(reader) => Feed::Pipe(reader.0.try_clone().map_err(refused)?.into()),
        Stdin::Bytes(bytes) => {
            let (theirs, ours) = io::pipe().map_err(refused)?;
            pump.write_to(ours, bytes.clone()).map_err(refused)?;
            Feed::Pipe(theirs.into())
        }
    };
    let (stdout, stderr) = if spec.interactive {
        (Feed::Inherit, Feed::Inherit)
    } else {
        let (out_ours, out_theirs) = io::pipe().map_err(refused)?;
        let (err_ours, err_theirs) = io::pipe().map_err(refused)?;
        pump.read_from(out_ours, err_ours);
        (Feed::Pipe(out_theirs.into()), Feed::Pipe(err_theirs.into()))
    };
    let _watch = profile::enter(Part::Spawn);
    family::spawn(marker, || {
        let started = spawn::start(spec, stdin, stdout, stderr)?;
        let pid = started.pid;
        Ok((started, pid))
    })
}

/// Why we end a process.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Stopped,
    TimedOut,
    Stalled,
    LogFailed,
}

/// A process that runs, and what was done to end it.
struct Watched<'a> {
    spec: &'a CommandSpec,
    started: &'a Started,
    stop: &'a StopToken,
    since: Instant,
    /// How long we had been suspended when it started.
    paused: Duration,
    /// Readable when the process has ended; absent where the system has no such thing.
    end: Option<OwnedFd>,
    terminal: Option<Lent>,
    pulse: Option<Pulse>,
    /// Why and when it was asked to end.
    asked: Option<(Cause, Instant)>,
    killed: Option<Instant>,
}

impl<'a> Watched<'a> {
    fn new(spec: &'a CommandSpec, started: &'a Started, stop: &'a StopToken) -> Self {
        Self {
            spec,
            started,
            stop,
            since: Instant::now(),
            paused: interrupt::paused(),
            end: end_of(started.pid),
            terminal: if spec.interactive { Lent::to(started.pid) } else { None },
            pulse: spec.idle_limit.map(|limit| Pulse::new(started.pid, limit)),
            asked: None,
            killed: None,
        }
    }

    /// How the process ended, and whether it left anything behind.
    fn finish(mut self, pump: &mut Pump<'_>, membership: family::Membership) -> (Exit, bool) {
        let status = self.until_exit(pump);
        drop(self.terminal.take());
        let leaky = self.clear_group(pump);
        let keep = self.spec.keep_background && self.asked.is_none();
        membership.end(keep);
        if self.asked.is_some() || leaky {
            let marker = program::lookup(&self.spec.env, "XTASK_TASK").unwrap_or_default();
            family::end_orphans_of(marker.as_bytes());
        } else {
            family::tidy();
        }
        (self.verdict(status, pump), leaky)
    }

    /// Moves output until the process has ended and was waited for. `None` if it could not be ended.
    fn until_exit(&mut self, pump: &mut Pump<'_>) -> io::Result<Option<ExitStatus>> {
        loop {
            let wait = if self.end.is_some() { self.next_deadline() } else { self.next_deadline().min(TICK / 5) };
            let ended = pump.turn(self.end.as_ref().map(AsFd::as_fd), wait)?;
            if (ended || self.end.is_none() || self.killed.is_some())
                && let Some(output) = self.started.handle.try_wait()?
            {
                return Ok(Some(output.status));
            }
            self.control(pump);
            if self.killed.is_some_and(|at| at.elapsed() > GIVE_UP) {
                return Ok(None);
            }
        }
    }

    /// The time that it has had to run.
    fn age(&self) -> Duration {
        self.since.elapsed().saturating_sub(interrupt::paused().saturating_sub(self.paused))
    }

    /// How long to wait at most before looking at the clock again.
    fn next_deadline(&self) -> Duration {
        match (&self.asked, self.spec.timeout) {
            (None, Some(limit)) => limit.saturating_sub(self.age()).min(TICK),
            (Some((_, at)), _) => self.spec.grace.saturating_sub(at.elapsed()).min(TICK),
            (None, None) => TICK,
        }
    }

    /// Asks the process to end, or kills it, if there is cause.
    fn control(&mut self, pump: &Pump<'_>) {
        let level = self.stop.level();
        if self.asked.is_none() {
            let late = self.spec.timeout.is_some_and(|limit| self.age() >= limit);
            if level != Stop::No {
                self.ask(Cause::Stopped, interrupt::last_signal().unwrap_or(Signal::TERM));
            } else if late {
                self.ask(Cause::TimedOut, Signal::TERM);
            } else if pump.log_error().is_some() {
                self.ask(Cause::LogFailed, Signal::TERM);
            } else if self.pulse.as_mut().is_some_and(|pulse| pulse.is_lost(pump.bytes_read())) {
                self.ask(Cause::Stalled, Signal::TERM);
            }
        }
        let over = self.asked.as_ref().is_some_and(|(_, at)| at.elapsed() >= self.spec.grace);
        if self.killed.is_none() && (over || level == Stop::Now) {
            family::signal_group(self.started.pid, Signal::KILL);
            self.killed = Some(Instant::now());
        }
        if self.asked.is_none() {
            self.follow_suspension();
            family::tidy();
        }
    }

    fn ask(&mut self, cause: Cause, signal: Signal) {
        family::signal_group(self.started.pid, signal);
        self.asked = Some((cause, Instant::now()));
    }

    /// An interactive process that was stopped by Ctrl-Z stops us too, so that the shell gets its terminal back.
    ///
    /// It may also have asked for the terminal in the moment between its start and the loan: then it just goes on.
    fn follow_suspension(&self) {
        let Some(terminal) = &self.terminal else { return };
        let Some(signal) = family::suspended_by(self.started.pid) else { return };
        let was_too_early = matches!(signal, Signal::TTIN | Signal::TTOU) && terminal.is_with(self.started.pid);
        if !was_too_early {
            terminal.take_back();
            interrupt::suspend_self();
            terminal.give(self.started.pid);
        }
        family::signal_group(self.started.pid, Signal::CONT);
    }

    /// Reads on for a moment, then ends what is left of the group. Whether anything was.
    fn clear_group(&self, pump: &mut Pump<'_>) -> bool {
        let pid = self.started.pid;
        let since = Instant::now();
        let window = if self.asked.is_some() { Duration::ZERO } else { LEAK_WINDOW };
        let background = |pump: &Pump<'_>| !pump.is_open() && self.spec.keep_background && self.asked.is_none();
        while pump.is_open() || family::group_lives(pid) {
            if background(pump) {
                return false;
            }
            if since.elapsed() >= window || self.stop.is_requested() {
                break;
            }
            let wait = if pump.is_open() { window.saturating_sub(since.elapsed()).min(TICK) } else { TICK / 10 };
            if pump.turn(None, wait).is_err() {
                break;
            }
        }
        let left = pump.is_open() | family::end_group(pid);
        // What the pipes still hold was written before the end; whoever left the group may write for ever.
        let since = Instant::now();
        while pump.is_open() && since.elapsed() < LEAK_WINDOW && pump.drain_now() {}
        left
    }

    /// Puts the end of the process and our part in it together.
    fn verdict(&self, status: io::Result<Option<ExitStatus>>, pump: &Pump<'_>) -> Exit {
        let status = match status {
            Ok(status) => status,
            Err(error) => return Exit::LogFailed(format!("reading the output failed: {error}")),
        };
        match (&self.asked, pump.log_error()) {
            (Some((Cause::Stopped, _)), _) => return Exit::Stopped,
            (Some((Cause::TimedOut, _)), _) => return Exit::TimedOut(self.spec.timeout.unwrap_or_default()),
            (Some((Cause::Stalled, _)), _) => return Exit::Stalled(self.spec.idle_limit.unwrap_or_default()),
            (_, Some(error)) => return Exit::LogFailed(error.to_string()),
            _ => {}
        }
        let Some(status) = status else { return Exit::Signal(libc::SIGKILL) };
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(libc::SIGINT)) if self.spec.interactive => {
                // Ctrl-C went to the process that had the terminal, and meant all of us.
                interrupt::pretend(Signal::INT, self.stop);
                Exit::Stopped
            }
            (None, signal) => Exit::Signal(signal.unwrap_or_default()),
        }
    }
}

/// Something that becomes readable when the process ends.
#[cfg(target_os = "linux")]
fn end_of(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn end_of(_pid: Pid) -> Option<OwnedFd> {
    None
}
