//! What lies on disk: digests of files with their stat cache, the state database, logs, the lock.
//!
//! Knows nothing of the graph or of when a task runs. Losing any of it costs work, never a wrong answer.

pub mod compiled;
pub mod db;
pub mod files;
pub mod glob;
pub mod lock;
pub mod logs;
pub mod seen;
pub mod sight;
pub mod statcache;

pub use db::{Record, RunRow, StateDb};
pub use files::{FileState, Files, StatTuple};
pub use lock::{Lock, LockError, Owner, Patience};

/// The folder of the state, below the root.
pub const STATE_DIR: &str = ".xtask";
