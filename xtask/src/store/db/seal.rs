//! How a row of a task proves itself: SQLite's pages have no checksum, so each row has one of its own. Its lowest byte
//! repeats what happened after the success, so that no single damaged bit makes a withdrawn record count.
//!
//! Knows nothing of the file; the statements that write a row keep the same rules in SQL.

use super::Record;
use crate::rebuild::LastAttempt;

/// A record with the name of its task, from its columns.
pub(super) fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, Record)> {
    let name: String = row.get(0)?;
    let head: Option<Vec<u8>> = row.get(1)?;
    let checksum: i64 = row.get(2)?;
    let (attempt, ignored): (i64, bool) = (row.get(3)?, row.get(4)?);
    let sum = head.as_ref().map_or(0, |head| checksum_of(&name, head));
    if checksum != sum | seal(attempt, ignored) {
        return Ok((name, Record::default()));
    }
    let success = head.and_then(|head| postcard::from_bytes(&head).ok());
    Ok((name, Record { success, attempt: attempt_of(attempt), ignored }))
}

pub(super) fn checksum_of(name: &str, head: &[u8]) -> i64 {
    let mut hasher = crate::model::digest::Hasher::new();
    hasher.field(name.as_bytes()).field(head);
    let digest = hasher.finish();
    // The lowest byte is the seal.
    digest.0[..8].iter().fold(0_i64, |number, byte| (number << 8) | i64::from(*byte)) & !255
}

/// The lowest byte of a checksum, as the statements above write it.
fn seal(attempt: i64, ignored: bool) -> i64 {
    16 | attempt | (i64::from(ignored) << 3)
}

pub(super) fn attempt_code(attempt: LastAttempt) -> i64 {
    match attempt {
        LastAttempt::Running => 1,
        LastAttempt::Failed => 2,
        LastAttempt::Interrupted => 3,
        LastAttempt::Forgotten => 4,
    }
}

fn attempt_of(code: i64) -> Option<LastAttempt> {
    match code {
        0 => None,
        2 => Some(LastAttempt::Failed),
        3 => Some(LastAttempt::Interrupted),
        4 => Some(LastAttempt::Forgotten),
        _ => Some(LastAttempt::Running),
    }
}
