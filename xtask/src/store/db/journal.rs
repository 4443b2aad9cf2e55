//! What becomes of the journal of the state when a run ends. Knows nothing of what is in it.
//!
//! SQLite would move it into the file and remove it, which flushes three files to the disk: longer than a small run
//! takes. So it stays as long as it is small. Both together are the state then, also for those who only read.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

/// What is read again by each program that opens the state: a millisecond.
const SMALL: u64 = 1 << 20;

/// What has to have reached the disk at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Nothing: what a loss of power takes back is only work.
    Any,
    /// What was written: something was taken back that must not reappear.
    OnDisk,
    /// The same, and the file is to be whole without its journal: it is new.
    Whole,
}

/// Closes the connection; with the last one the journal goes, unless it is small.
pub(super) fn close(connection: Connection, file: &Path, end: End) {
    let stays = end < End::Whole
        && (1..=SMALL).contains(&length(file))
        && connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).is_ok();
    drop(connection);
    // Moving it into the file has flushed it, too.
    if stays && end == End::OnDisk {
        // Each commit told its errors; nobody is left who could be told more.
        let _ = std::fs::File::open(path(file)).and_then(|journal| journal.sync_data());
    }
}

/// Whether there is nothing yet in the file.
pub(super) fn is_absent(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.len() == 0) || !file.exists()
}

/// Its size in bytes: zero if there is none.
pub(super) fn length(file: &Path) -> u64 {
    path(file).metadata().map_or(0, |meta| meta.len())
}

fn path(file: &Path) -> PathBuf {
    file.with_extension("db-wal")
}
