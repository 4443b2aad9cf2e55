//! The state database: one record per task, and the history of runs. The one room that knows SQLite.
//!
//! Knows nothing of what a verdict is. WAL with `synchronous=NORMAL`: a killed process loses nothing; a power cut may
//! lose the last commits, which is harmless since a record that reappears is for other inputs, or its targets differ.
//! Every row carries a checksum of its own, because SQLite's pages have none; its lowest byte repeats what happened after
//! the success, so that no single damaged bit makes a withdrawn record count.

mod connect;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use self::connect::{FORMAT, Problem, cannot_open, connect, is_damage, newer, quarantine};
use crate::model::{Diagnostic, Digest, Outcome, RepoPath};
use crate::profile::{self, Part};
use crate::rebuild::{Fingerprint, LastAttempt, Trace};

/// What is remembered of one task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Of the last success.
    pub success: Option<Success>,
    /// What happened after it.
    pub attempt: Option<LastAttempt>,
    pub ignored: bool,
}

/// The last success, without the parts of its fingerprint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Success {
    pub trace: Trace,
    /// Of its last action; what `result_dep` compares.
    pub result: Digest,
    /// A JSON object.
    pub values: String,
    /// Milliseconds since 1970.
    pub finished: i64,
    pub seconds: f64,
}

/// One run of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    pub id: i64,
    pub started: i64,
    pub seconds: f64,
    pub exit: u8,
    pub command: String,
}

/// One task of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTaskRow {
    pub task: String,
    pub outcome: Outcome,
    pub seconds: f64,
    /// JSON list of reasons.
    pub reasons: String,
    /// Of its fingerprint: the same key that failed and passed is a flaky task.
    pub key: String,
}

/// From so many on, all records are read.
const MANY: usize = 2000;

/// The database, or nothing where it may only be read and does not exist.
pub struct StateDb {
    connection: Option<Connection>,
    in_transaction: bool,
    /// Where it is written, with the number of the file that was opened.
    file: Option<(PathBuf, u64)>,
    /// Changes when another connection writes.
    version: Option<i64>,
}

impl StateDb {
    /// Opens for writing; makes it if absent. A damaged file is put aside with a warning.
    pub fn open(root: &Path) -> Result<(Self, Vec<Diagnostic>), Diagnostic> {
        let _watch = profile::enter(Part::Database);
        let dir = root.join(super::STATE_DIR);
        let file = dir.join("state.db");
        std::fs::create_dir_all(&dir).map_err(|error| cannot_open(&error))?;
        let mut warnings = Vec::new();
        let connection = match connect(&file) {
            Ok(connection) => connection,
            Err(Problem::Newer(found)) => return Err(newer(found)),
            Err(Problem::Other(error)) if !is_damage(&error) => return Err(cannot_open(&error)),
            Err(problem) => {
                warnings.push(quarantine(&file, &problem).map_err(|error| cannot_open(&error))?);
                connect(&file).map_err(|problem| cannot_open(&problem))?
            }
        };
        let number = number_of(&file).unwrap_or(0);
        let version = data_version(&connection);
        let file = Some((file, number));
        Ok((Self { connection: Some(connection), in_transaction: false, file, version }, warnings))
    }

    /// Opens without ever writing: for dry runs, explain, list. Absent or unusable counts as empty.
    pub fn open_read_only(root: &Path) -> Result<Self, Diagnostic> {
        let file = root.join(super::STATE_DIR).join("state.db");
        let empty = Self { connection: None, in_transaction: false, file: None, version: None };
        if !file.exists() {
            return Ok(empty);
        }
        // Without a leftover journal the file is whole by itself, and `immutable` keeps SQLite from making one.
        let has_wal = file.with_extension("db-wal").metadata().is_ok_and(|meta| meta.len() > 0);
        let suffix = if has_wal { "" } else { "?immutable=1" };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let uri = format!("file:{}{suffix}", percent(&file));
        let Ok(connection) = Connection::open_with_flags(uri, flags) else { return Ok(empty) };
        match connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)) {
            Ok(FORMAT) => Ok(Self { connection: Some(connection), in_transaction: false, file: None, version: None }),
            Ok(found) if found > FORMAT => Err(newer(found)),
            _ => Ok(empty),
        }
    }

    /// Whether somebody else has written since this was opened: a run inside one of our actions.
    pub fn was_changed_by_others(&self) -> bool {
        self.version.is_none() || self.connection.as_ref().and_then(data_version) != self.version
    }

    /// Closes it: from now on it is empty.
    pub fn close(&mut self) {
        // What could not be written was told by the commit that tried.
        let _ = self.commit();
        self.connection = None;
    }

    /// Size, times and number of the database's files; to be asked for while it is closed.
    pub fn files(root: &Path) -> Vec<Option<(u64, i64, i64, u64)>> {
        let stat = |name: &str| {
            let path = RepoPath::from_root(format!("{}/{name}", super::STATE_DIR))?;
            let stat = super::files::stat_now(root, &path)?;
            Some((stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode))
        };
        ["state.db", "state.db-wal"].map(stat).into()
    }

    /// The stamp of the state below `root`, without opening more than it takes.
    pub fn stamp_of(root: &Path) -> Option<i64> {
        let _watch = profile::enter(Part::Database);
        Self::open_read_only(root).ok()?.stamp()
    }

    /// Changes whenever a record does, whatever program changes it; `None` where the state has none.
    pub fn stamp(&self) -> Option<i64> {
        self.connection.as_ref()?.query_row("SELECT value FROM stamp", [], |row| row.get(0)).ok()
    }

    /// All records, by the name of the task. A row whose checksum is wrong counts as never run.
    pub fn records(&self) -> Result<HashMap<String, Record>, Diagnostic> {
        let _watch = profile::enter(Part::Database);
        let Some(connection) = &self.connection else { return Ok(HashMap::new()) };
        let read = || -> rusqlite::Result<HashMap<String, Record>> {
            let mut statement = connection.prepare("SELECT name, head, checksum, attempt, ignored FROM task")?;
            statement.query_map([], record)?.collect()
        };
        read().map_err(|error| self.broken("read", &error))
    }

    /// The records of these tasks; those without one are left out.
    pub fn records_of(&self, tasks: &[&str]) -> Result<HashMap<String, Record>, Diagnostic> {
        if tasks.len() > MANY {
            return self.records();
        }
        let _watch = profile::enter(Part::Database);
        let Some(connection) = &self.connection else { return Ok(HashMap::new()) };
        let read = || -> rusqlite::Result<HashMap<String, Record>> {
            let mut statement =
                connection.prepare("SELECT name, head, checksum, attempt, ignored FROM task WHERE name = ?1")?;
            let found = tasks.iter().map(|task| statement.query_row([task], record).optional());
            found.filter_map(rusqlite::Result::transpose).collect()
        };
        read().map_err(|error| self.broken("read", &error))
    }

    /// The parts of the fingerprint of a task's last success; empty if they are lost.
    pub fn parts(&self, task: &str) -> Fingerprint {
        let Some(connection) = &self.connection else { return Fingerprint::default() };
        let bytes: Option<Vec<u8>> = connection
            .query_row("SELECT parts FROM task WHERE name = ?1", [task], |row| row.get(0))
            .optional()
            .ok()
            .flatten()
            .flatten();
        bytes.and_then(|bytes| postcard::from_bytes(&bytes).ok()).unwrap_or_default()
    }

    /// Says that these tasks are about to run: from now on their records of success do not count.
    pub fn withdraw(&mut self, task: &str) -> Result<(), Diagnostic> {
        self.execute(
            "INSERT INTO task (name, checksum, attempt, ignored) VALUES (?1, 16 | 1, 1, 0)
             ON CONFLICT (name) DO UPDATE SET attempt = 1, checksum = (checksum & ~255) | 16 | 1 | (ignored << 3)",
            params![task],
        )
    }

    /// Records a success, with the parts of its fingerprint.
    pub fn succeed(&mut self, task: &str, success: &Success, parts: &Fingerprint) -> Result<(), Diagnostic> {
        // Plain data always encodes.
        let head = postcard::to_stdvec(success).unwrap_or_default();
        let parts = postcard::to_stdvec(parts).unwrap_or_default();
        let checksum = checksum_of(task, &head);
        self.execute(
            "INSERT INTO task (name, head, checksum, parts, attempt, ignored) VALUES (?1, ?2, ?3 | 16, ?4, 0, 0)
             ON CONFLICT (name) DO UPDATE SET head = ?2, checksum = ?3 | 16 | (ignored << 3), parts = ?4, attempt = 0",
            params![task, head, checksum, parts],
        )
    }

    /// Records how an attempt ended that was no success. The last success stays, for reasons and values.
    pub fn fail(&mut self, task: &str, attempt: LastAttempt) -> Result<(), Diagnostic> {
        self.execute(
            "INSERT INTO task (name, checksum, attempt, ignored) VALUES (?1, 16 | ?2, ?2, 0)
             ON CONFLICT (name) DO UPDATE SET attempt = ?2, checksum = (checksum & ~255) | 16 | ?2 | (ignored << 3)",
            params![task, attempt_code(attempt)],
        )
    }

    /// Takes back a withdrawal, where nothing was started after all.
    pub fn restore(&mut self, task: &str, attempt: Option<LastAttempt>) -> Result<(), Diagnostic> {
        let code = attempt.map_or(0, attempt_code);
        self.execute(
            "UPDATE task SET attempt = ?2, checksum = (checksum & ~255) | 16 | ?2 | (ignored << 3) WHERE name = ?1",
            params![task, code],
        )
    }

    /// Removes the record; the mark `forgotten` stays, so that the next run can say why it runs.
    pub fn forget(&mut self, task: &str) -> Result<(), Diagnostic> {
        self.execute(
            "INSERT INTO task (name, checksum, attempt, ignored) VALUES (?1, 16 | 4, 4, 0)
             ON CONFLICT (name) DO UPDATE SET head = NULL, checksum = 16 | 4, parts = NULL, attempt = 4, ignored = 0",
            params![task],
        )
    }

    /// Removes every record.
    pub fn forget_all(&mut self) -> Result<(), Diagnostic> {
        self.execute("DELETE FROM task", params![])
    }

    pub fn set_ignored(&mut self, task: &str, ignored: bool) -> Result<(), Diagnostic> {
        self.execute(
            "INSERT INTO task (name, checksum, attempt, ignored) VALUES (?1, 16 | (?2 << 3), 0, ?2)
             ON CONFLICT (name) DO UPDATE SET ignored = ?2, checksum = (checksum & ~255) | 16 | attempt | (?2 << 3)",
            params![task, ignored],
        )
    }

    /// Adds a run to the history, with its tasks; keeps the last 200.
    pub fn add_run(&mut self, run: &RunRow, tasks: &[RunTaskRow]) -> Result<(), Diagnostic> {
        self.execute(
            "INSERT INTO run (started, seconds, exit, command) VALUES (?1, ?2, ?3, ?4)",
            params![run.started, run.seconds, run.exit, run.command],
        )?;
        let id = self.connection.as_ref().map_or(0, Connection::last_insert_rowid);
        for task in tasks {
            let outcome = serde_json::to_string(&task.outcome).unwrap_or_default();
            self.execute(
                "INSERT INTO run_task (run, task, outcome, seconds, reasons, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![id, task.task, outcome, task.seconds, task.reasons, task.key],
            )?;
        }
        self.execute("DELETE FROM run WHERE id <= ?1 - 200", params![id])?;
        self.execute("DELETE FROM run_task WHERE run <= ?1 - 200", params![id])
    }

    /// The last runs, newest first.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunRow>, Diagnostic> {
        let Some(connection) = &self.connection else { return Ok(Vec::new()) };
        let read = || -> rusqlite::Result<Vec<RunRow>> {
            let mut statement =
                connection.prepare("SELECT id, started, seconds, exit, command FROM run ORDER BY id DESC LIMIT ?1")?;
            let rows = statement.query_map([limit as i64], |row| {
                Ok(RunRow {
                    id: row.get(0)?,
                    started: row.get(1)?,
                    seconds: row.get(2)?,
                    exit: row.get(3)?,
                    command: row.get(4)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|error| failed("read", &error))
    }

    /// The tasks of one run, in the order in which they ended.
    pub fn run_tasks(&self, run: i64) -> Result<Vec<RunTaskRow>, Diagnostic> {
        let Some(connection) = &self.connection else { return Ok(Vec::new()) };
        let read = || -> rusqlite::Result<Vec<RunTaskRow>> {
            let mut statement = connection
                .prepare("SELECT task, outcome, seconds, reasons, key FROM run_task WHERE run = ?1 ORDER BY rowid")?;
            let rows = statement.query_map([run], |row| {
                let outcome: String = row.get(1)?;
                Ok(RunTaskRow {
                    task: row.get(0)?,
                    outcome: serde_json::from_str(&outcome).unwrap_or(Outcome::Error),
                    seconds: row.get(2)?,
                    reasons: row.get(3)?,
                    key: row.get(4)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|error| failed("read", &error))
    }

    /// Makes everything written since the last call durable, in one commit.
    pub fn commit(&mut self) -> Result<(), Diagnostic> {
        if !self.in_transaction {
            return Ok(());
        }
        let _watch = profile::enter(Part::Database);
        if std::mem::take(&mut self.in_transaction)
            && let Some(connection) = &self.connection
        {
            connection.execute_batch("COMMIT").map_err(|error| self.broken("write", &error))?;
        }
        Ok(())
    }

    /// Whether what was written can be found again: the folder may have been removed under a run.
    ///
    /// # Errors
    /// It cannot.
    pub fn is_in_place(&self) -> Result<(), Diagnostic> {
        match &self.file {
            Some((file, number)) if number_of(file) != Some(*number) => {
                Err(Diagnostic::error("`.xtask` was removed while the run used it")
                    .note("what ran is not recorded, and will run again"))
            }
            _ => Ok(()),
        }
    }

    /// An error of a statement. Damage that shows only now is put aside, so that the next run begins anew.
    fn broken(&self, verb: &str, error: &rusqlite::Error) -> Diagnostic {
        let diagnostic = failed(verb, error);
        match &self.file {
            Some((file, _)) if is_damage(error) => match quarantine(file, error) {
                Ok(aside) => diagnostic.note(aside.message),
                Err(cause) => diagnostic.cause(&cause),
            },
            _ => diagnostic,
        }
    }

    fn execute(&mut self, sql: &str, params: impl rusqlite::Params) -> Result<(), Diagnostic> {
        let Some(connection) = &self.connection else { return Ok(()) };
        let _watch = profile::enter(Part::Database);
        let run = || -> rusqlite::Result<()> {
            if !self.in_transaction {
                // A deferred transaction that turns into a writer does not wait for the lock.
                connection.execute_batch("BEGIN IMMEDIATE")?;
            }
            connection.prepare_cached(sql)?.execute(params)?;
            Ok(())
        };
        run().map_err(|error| self.broken("write", &error))?;
        self.in_transaction = true;
        Ok(())
    }
}

impl Drop for StateDb {
    fn drop(&mut self) {
        // Errors were reported by every earlier commit; at the end there is nobody left to tell.
        let _ = self.commit();
    }
}

/// A record with the name of its task, from its columns.
fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, Record)> {
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

/// The number of a file on its file system.
fn number_of(file: &Path) -> Option<u64> {
    std::fs::metadata(file).ok().map(|meta| std::os::unix::fs::MetadataExt::ino(&meta))
}

fn data_version(connection: &Connection) -> Option<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0)).ok()
}

fn failed(verb: &str, error: &rusqlite::Error) -> Diagnostic {
    Diagnostic::error(format!("failed to {verb} `.xtask/state.db`")).cause(error)
}

fn checksum_of(name: &str, head: &[u8]) -> i64 {
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

fn attempt_code(attempt: LastAttempt) -> i64 {
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

/// A path as part of a `file:` URI.
fn percent(path: &Path) -> String {
    use std::fmt::Write;
    super::files::bytes(path.as_os_str()).iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            text.push(*byte as char);
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn success() -> Success {
        Success {
            trace: Trace { fingerprint: Digest::of(b"f"), targets: Vec::new(), changed_during_run: Vec::new() },
            result: Digest::of(b"r"),
            values: "{}".into(),
            finished: 1,
            seconds: 0.5,
        }
    }

    #[test]
    fn a_success_is_read_again_and_a_withdrawn_one_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let (mut db, warnings) = StateDb::open(dir.path()).unwrap();
        assert!(warnings.is_empty());
        db.withdraw("t").unwrap();
        db.succeed("t", &success(), &Fingerprint::default()).unwrap();
        db.withdraw("u").unwrap();
        db.commit().unwrap();
        drop(db);
        let (db, _) = StateDb::open(dir.path()).unwrap();
        let records = db.records().unwrap();
        assert_eq!(records["t"], Record { success: Some(success()), attempt: None, ignored: false });
        assert_eq!(records["u"].attempt, Some(LastAttempt::Running));
        drop(db);
        assert_eq!(StateDb::open_read_only(dir.path()).unwrap().records().unwrap(), records);
    }

    #[test]
    fn forget_and_ignore() {
        let dir = tempfile::tempdir().unwrap();
        let (mut db, _) = StateDb::open(dir.path()).unwrap();
        db.succeed("t", &success(), &Fingerprint::default()).unwrap();
        db.set_ignored("t", true).unwrap();
        assert!(db.records().unwrap()["t"].ignored);
        db.forget("t").unwrap();
        let record = db.records().unwrap()["t"].clone();
        assert_eq!(record, Record { success: None, attempt: Some(LastAttempt::Forgotten), ignored: false });
    }

    #[test]
    fn a_damaged_file_is_put_aside_and_a_newer_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".xtask")).unwrap();
        let file = dir.path().join(".xtask/state.db");
        std::fs::write(&file, "this is no database, and long enough to be looked at as one by the library").unwrap();
        let (db, warnings) = StateDb::open(dir.path()).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(db.records().unwrap().is_empty());
        drop(db);
        Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        let before = std::fs::read(&file).unwrap();
        assert!(StateDb::open(dir.path()).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[test]
    fn the_linked_library_has_no_known_loss_of_writes() {
        assert!(rusqlite::version_number() >= 3_051_003);
    }
}
