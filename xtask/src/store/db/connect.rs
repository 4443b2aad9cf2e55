//! Opens the file of the state, to write or only to read: its layout, and what to do with one that is damaged, newer or
//! not to be had. Knows nothing of what is in its rows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::journal;
use crate::model::Diagnostic;
use crate::store::files::bytes;

/// Of the layout below. A newer one is refused, an older one is discarded with a notice.
pub(super) const FORMAT: i64 = 1;
/// "xtsk"
const APPLICATION: i64 = 0x7874_736b;

/// How many pages the journal may have before they are moved into the file, for which both are flushed to the disk.
const CHECKPOINT: usize = 8000;

/// Why the file cannot be used as it is.
pub(super) enum Problem {
    Newer(i64),
    Other(rusqlite::Error),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer(found) => write!(f, "format {found}"),
            Self::Other(error) => write!(f, "{error}"),
        }
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Other(error)
    }
}

pub(super) fn connect(file: &Path) -> Result<Connection, Problem> {
    let connection = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(10))?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > FORMAT {
        return Err(Problem::Newer(found));
    }
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = {CHECKPOINT};"
    ))?;
    if found < FORMAT {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {SCHEMA} {STAMP} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};
             COMMIT;"
        ))?;
    }
    if connection.query_row("SELECT value FROM stamp", [], |row| row.get::<_, i64>(0)).is_err() {
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {STAMP} COMMIT;"))?;
    }
    // A cheap look at every page of the tables: damage shows here, not in the middle of a run.
    let tasks: i64 = connection.query_row("SELECT count(*) FROM task", [], |row| row.get(0))?;
    let runs: i64 = connection.query_row("SELECT count(*) FROM run", [], |row| row.get(0))?;
    debug_assert!(tasks >= 0 && runs >= 0);
    // Compiled, not run: a schema that is damaged shows here, too.
    for statement in [
        "SELECT run, task, outcome, seconds, reasons, key FROM run_task",
        "SELECT id, started, seconds, exit, command FROM run",
        "INSERT INTO task (name, head, checksum, parts, attempt, ignored) VALUES ('', NULL, 0, NULL, 0, 0)
         ON CONFLICT (name) DO NOTHING",
    ] {
        drop(connection.prepare(statement)?);
    }
    Ok(connection)
}

/// Opens what is there now for reading, and writes nothing if that can be had.
///
/// SQLite shares the index of a journal within a process: while this is open, nobody in it can write to the state.
pub(super) fn connect_read_only(file: &Path) -> Result<Connection, Problem> {
    // Without a journal the file is whole by itself, and `immutable` keeps SQLite from making one. With one, its index
    // need only be read, or, where it is gone, has to be made.
    let ways: &[&str] = if journal::length(file) > 0 { &["?readonly_shm=1", ""] } else { &["?immutable=1"] };
    let mut result = Err(Problem::Other(rusqlite::Error::InvalidQuery));
    for way in ways {
        result = snapshot(&format!("file:{}{way}", percent(file)));
        if !matches!(result, Err(Problem::Other(_))) {
            break;
        }
    }
    result
}

/// All that is read through it is of one moment.
fn snapshot(uri: &str) -> Result<Connection, Problem> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.execute_batch("BEGIN")?;
    match connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
        FORMAT => Ok(connection),
        found if found > FORMAT => Err(Problem::Newer(found)),
        _ => Err(Problem::Other(rusqlite::Error::InvalidQuery)),
    }
}

const SCHEMA: &str = "
    CREATE TABLE task (
        name TEXT PRIMARY KEY, head BLOB, checksum INTEGER NOT NULL, parts BLOB,
        attempt INTEGER NOT NULL, ignored INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE run (
        id INTEGER PRIMARY KEY AUTOINCREMENT, started INTEGER NOT NULL, seconds REAL NOT NULL, exit INTEGER NOT NULL,
        command TEXT NOT NULL
    ) STRICT;
    CREATE TABLE run_task (
        run INTEGER NOT NULL, task TEXT NOT NULL, outcome TEXT NOT NULL, seconds REAL NOT NULL, reasons TEXT NOT NULL,
        key TEXT NOT NULL
    ) STRICT;
    CREATE INDEX run_task_run ON run_task (run);
";

/// Not a part of the format: a program that does not know it keeps it right all the same. Random, so that a value
/// that a power cut took back never comes again.
const STAMP: &str = "
    CREATE TABLE IF NOT EXISTS stamp (value INTEGER NOT NULL) STRICT;
    INSERT INTO stamp SELECT random() WHERE NOT EXISTS (SELECT 1 FROM stamp);
    CREATE TRIGGER IF NOT EXISTS task_insert AFTER INSERT ON task BEGIN UPDATE stamp SET value = random(); END;
    CREATE TRIGGER IF NOT EXISTS task_update AFTER UPDATE ON task BEGIN UPDATE stamp SET value = random(); END;
    CREATE TRIGGER IF NOT EXISTS task_delete AFTER DELETE ON task BEGIN UPDATE stamp SET value = random(); END;
";

pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::Unknown)
    ) || matches!(error, rusqlite::Error::SqlInputError { .. } | rusqlite::Error::InvalidColumnType(..))
}

pub(super) fn quarantine(file: &Path, problem: &dyn std::fmt::Display) -> std::io::Result<Diagnostic> {
    let stamp = crate::store::files::now_ns() / 1_000_000_000;
    let aside = PathBuf::from(format!("{}.damaged-{stamp}", file.display()));
    std::fs::rename(file, &aside)?;
    for extra in ["-wal", "-shm"] {
        // They belong to the damaged file; absent is as good as removed.
        let _ = std::fs::remove_file(format!("{}{extra}", file.display()));
    }
    let name = aside.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Diagnostic::warning("`.xtask/state.db` is damaged; it was put aside and every task counts as never run")
        .cause(problem)
        .note(format!("the damaged file is `.xtask/{name}`")))
}

pub(super) fn newer(found: i64) -> Diagnostic {
    Diagnostic::error(format!("`.xtask/state.db` has format {found}, this program knows up to {FORMAT}"))
        .note("it was written by a newer version, and was not touched")
        .help("update this checkout, or use another state: rm -r .xtask")
}

pub(super) fn cannot_open(error: &dyn std::fmt::Display) -> Diagnostic {
    Diagnostic::error("failed to open `.xtask/state.db`")
        .cause(error)
        .help("make the folder `.xtask` at the root writable")
}

/// A path as part of a `file:` URI.
fn percent(path: &Path) -> String {
    use std::fmt::Write;
    bytes(path.as_os_str()).iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            text.push(*byte as char);
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}
