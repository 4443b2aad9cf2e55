//! One writer per workspace: a lock of the system on `.xtask/lock`. Knows nothing of what is written.
//!
//! The system frees the lock when its holder dies in whatever way. The text in the file only serves messages; it never
//! decides. Where the system offers no locks there is an error, not a run without.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::{Diagnostic, StopToken};

/// Who holds a lock, as far as its file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub pid: u32,
    /// As typed, e.g. `cargo xtask watch`.
    pub command: String,
    /// Seconds since 1970.
    pub started: u64,
}

impl Owner {
    /// This process, from now on.
    pub fn this(command: &str) -> Self {
        Self { pid: std::process::id(), command: command.replace(['\n', '\r'], " "), started: now() }
    }

    /// ``process 4711 (`cargo xtask watch`, for 12 s)``
    pub fn describe(&self) -> String {
        format!("process {} (`{}`, for {} s)", self.pid, self.command, now().saturating_sub(self.started))
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.pid, self.started, self.command)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.parse().ok()?;
        let started = lines.next()?.parse().ok()?;
        Some(Self { pid, started, command: lines.next()?.to_owned() })
    }
}

/// What to do while somebody else holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Return [`LockError::Busy`] at once.
    None,
    /// Wait at most that long.
    Limited(Duration),
    /// Wait until it is free or the run is told to stop.
    Endless,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it; who, if the file tells.
    #[error("`{}` is in use by {}", dir.display(), describe(owner.as_ref()))]
    Busy { dir: PathBuf, owner: Option<Owner> },
    /// The file system or the kernel has no locks.
    #[error("`{}` cannot be locked: its file system has no locks", dir.display())]
    Unsupported { dir: PathBuf, cause: io::Error },
    /// The file cannot be made or opened.
    #[error("failed to open file `{}`", file.display())]
    Unusable { file: PathBuf, cause: io::Error },
    /// The run was told to stop while it waited.
    #[error("interrupted while waiting for {}", describe(owner.as_ref()))]
    Stopped { owner: Option<Owner> },
}

impl LockError {
    /// The same for people.
    pub fn diagnostic(&self) -> Diagnostic {
        let error = Diagnostic::error(self.to_string());
        match self {
            Self::Busy { owner: Some(owner), .. } => error
                .note("one run at a time may change the state of a workspace")
                .help(format!("kill -INT {}", owner.pid)),
            Self::Busy { owner: None, .. } => error.note("one run at a time may change the state of a workspace"),
            Self::Unsupported { dir, cause } => error
                .cause(cause)
                .note(format!("`{}` is on a file system where two runs could not be kept apart", dir.display()))
                .help("keep the workspace on a local file system"),
            Self::Unusable { file, cause } => {
                let dir = if file.is_dir() { file } else { file.parent().unwrap_or(file) }.display();
                error.cause(cause).help(match cause.kind() {
                    io::ErrorKind::PermissionDenied => format!("sudo chown -R \"$USER\" '{dir}'"),
                    io::ErrorKind::ReadOnlyFilesystem => format!("sudo mount -o remount,rw '{dir}'"),
                    _ => format!("mv '{dir}' '{dir}.old'"),
                })
            }
            Self::Stopped { .. } => error,
        }
    }
}

fn describe(owner: Option<&Owner>) -> String {
    owner.map_or_else(|| "another process".to_owned(), Owner::describe)
}

/// The lock of a workspace. Dropping it frees it; so does the death of this process.
#[derive(Debug)]
#[must_use = "dropping it frees the lock"]
pub struct Lock {
    file: File,
    /// The holder before, if it died without freeing the lock: what it started may still be around.
    pub died: Option<Owner>,
}

/// Takes the lock of the state folder `dir`, which is made if it does not exist.
///
/// `waiting` is called once per holder that is waited for.
pub fn acquire(
    dir: &Path,
    own: &Owner,
    patience: Patience,
    stop: &StopToken,
    waiting: &mut dyn FnMut(Option<&Owner>),
) -> Result<Lock, LockError> {
    let path = dir.join("lock");
    let start = std::time::Instant::now();
    let mut pause = Duration::from_millis(2);
    let mut told: Option<Option<Owner>> = None;
    loop {
        let file = open(dir, &path)?;
        match file.try_lock() {
            Ok(()) if is_still(&file, &path) => return Lock::take(file, own).map_err(|cause| unusable(&path, cause)),
            // The folder was removed or made anew meanwhile: that file is nobody's lock any more.
            Ok(()) => continue,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(cause)) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(TryLockError::Error(cause)) => return Err(LockError::Unsupported { dir: dir.to_owned(), cause }),
        }
        let owner = read_owner(&file);
        let over = match patience {
            Patience::None => true,
            Patience::Limited(limit) => start.elapsed() >= limit,
            Patience::Endless => false,
        };
        if over {
            return Err(LockError::Busy { dir: dir.to_owned(), owner });
        }
        if stop.is_requested() {
            return Err(LockError::Stopped { owner });
        }
        // The holder writes its name a moment after it has the lock.
        if told.as_ref() != Some(&owner) && (owner.is_some() || start.elapsed() > Duration::from_millis(200)) {
            waiting(owner.as_ref());
            told = Some(owner);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Who holds the lock of `dir` now, without taking it. `None` if it is free.
pub fn holder(dir: &Path) -> Option<Owner> {
    let file = File::open(dir.join("lock")).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read_owner(&file),
        _ => None,
    }
}

impl Lock {
    fn take(mut file: File, own: &Owner) -> io::Result<Self> {
        let died = read_owner(&file);
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(own.text().as_bytes())?;
        Ok(Self { file, died })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A name that stays says to the next holder that this one died: then it looks for leftovers in vain, no more.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// Writable, because network file systems lock only what may be written; not through a link, which could lead
/// anywhere. The standard library opens files so that no child inherits them.
fn open(dir: &Path, path: &Path) -> Result<File, LockError> {
    if !dir.is_dir() {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(dir, cause)),
            _ => {}
        }
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|cause| unusable(path, cause))
}

fn unusable(file: &Path, cause: io::Error) -> LockError {
    LockError::Unusable { file: file.to_owned(), cause }
}

fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        _ => false,
    }
}

fn read_owner(mut file: &File) -> Option<Owner> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(64 * 1024).read_to_string(&mut text).ok()?;
    Owner::parse(&text)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
