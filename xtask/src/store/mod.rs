//! What lies on disk: digests of files with their stat cache, the state database, logs, the lock.
//!
//! Knows nothing of the graph or of when a task runs. Losing any of it costs work, never a wrong answer.

pub mod compiled;
pub mod db;
pub mod files;
pub mod glob;
mod hashing;
pub mod lock;
pub mod logs;
pub mod reading;
pub mod seen;
pub mod sight;
pub mod statcache;

pub use db::{Record, RunRow, StateDb};
pub use files::{FileState, Files, StatTuple};
pub use lock::{Lock, LockError, Owner, Patience};

/// The folder of the state, below the root.
pub const STATE_DIR: &str = ".xtask";

/// Gives a file its name that may be lost at any time, and whose damage is noticed. What had the name before goes first:
/// some file systems take a rename over it for a reason to write all of the new file to the disk at once.
fn put_in_place(temporary: tempfile::NamedTempFile, file: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    temporary.persist(file)?;
    Ok(())
}
