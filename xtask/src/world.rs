//! The seam to the real world for one call of [`crate::run`]: environment, folder, streams, extra actions.
//!
//! Knows nothing of commands. Tests and embedders make their own.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::action::ActionSet;
use crate::exec::environment::Variables;
use crate::model::Steps;

/// Everything that a call may see of the outside.
pub struct World {
    pub env: Variables,
    /// Absolute.
    pub cwd: PathBuf,
    pub out: Stream,
    pub err: Stream,
    /// Whether `err` is a terminal.
    pub err_is_tty: bool,
    pub out_is_tty: bool,
    /// Whether a person can be asked.
    pub in_is_tty: bool,
    /// Actions and checks beside the built-in ones.
    pub extra: ActionSet,
    /// Whether this is the program itself: it handles signals, and ends what a run leaves behind.
    pub owns_process: bool,
    /// Told of each step of the protocol by which tasks are run and recorded; for tests.
    pub steps: Steps,
}

impl World {
    /// The process's own.
    ///
    /// # Errors
    /// The current folder does not exist any more.
    pub fn real() -> io::Result<Self> {
        Ok(Self {
            env: std::env::vars_os().collect(),
            cwd: std::env::current_dir()?,
            out: Stream::new(io::stdout()),
            err: Stream::new(io::stderr()),
            err_is_tty: io::stderr().is_terminal(),
            out_is_tty: io::stdout().is_terminal(),
            in_is_tty: io::stdin().is_terminal(),
            extra: ActionSet::new(),
            owns_process: true,
            steps: Steps::default(),
        })
    }

    /// The same world with another place for everything that is printed.
    #[must_use]
    pub fn printing_to(&self, stream: &Stream) -> Self {
        Self {
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            out: stream.clone(),
            err: stream.clone(),
            err_is_tty: self.err_is_tty,
            out_is_tty: false,
            in_is_tty: self.in_is_tty,
            extra: self.extra.clone(),
            steps: self.steps.clone(),
            owns_process: self.owns_process,
        }
    }

    /// A world for tests: this folder and environment, streams that are kept in memory.
    pub fn captured(cwd: PathBuf, env: Variables) -> (Self, Captured) {
        let captured = Captured::default();
        let world = Self {
            env,
            cwd,
            out: Stream::new(captured.out.clone()),
            err: Stream::new(captured.err.clone()),
            err_is_tty: false,
            out_is_tty: false,
            in_is_tty: false,
            extra: ActionSet::new(),
            owns_process: false,
            steps: Steps::default(),
        };
        (world, captured)
    }

    /// A variable as text.
    pub fn var(&self, name: &str) -> Option<String> {
        self.env.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned())
    }

    pub fn var_os(&self, name: &str) -> Option<OsString> {
        self.env.get(OsStr::new(name)).cloned()
    }
}

/// A stream that several owners may write to.
#[derive(Clone)]
pub struct Stream(Arc<Mutex<Box<dyn Write + Send>>>);

impl Stream {
    pub fn new(stream: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(stream))))
    }

    /// Writes a line of text. A reader that went away is no error of ours.
    pub fn line(&self, text: &str) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.write_all(b"\n")).and_then(|()| stream.flush());
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// What was written to the streams of a captured world.
#[derive(Clone, Default)]
pub struct Captured {
    out: Buffer,
    err: Buffer,
}

impl Captured {
    pub fn out(&self) -> String {
        self.out.text()
    }

    pub fn err(&self) -> String {
        self.err.text()
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
