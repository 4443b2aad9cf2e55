//! The state database: one record per task, and the history of runs. The one room that knows SQLite.
//!
//! Knows nothing of what a verdict is. WAL with `synchronous=NORMAL`: a killed process loses nothing; a loss of power may
//! take back the last commits. A record that reappears is harmless if its targets tell (see [`Success::is_shown`]); a
//! run that withdraws others ends with the journal on the disk.

mod connect;
mod history;
mod journal;
mod seal;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

pub use self::history::{RunRow, RunTaskRow};

use self::connect::{Problem, cannot_open, connect, connect_read_only, is_damage, newer, quarantine};
use self::journal::End;
use self::seal::{attempt_code, checksum_of, record};
use crate::model::{Diagnostic, Digest, RepoPath};
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

impl Success {
    /// Whether files alone tell that it does not count any more: it has targets, and each is compared.
    ///
    /// What it was made from is compared in any case. If that is again as it was then, and so are all targets, then it
    /// holds, whatever happened in between. What ran without targets may have changed what nobody can look at.
    pub fn is_shown(&self) -> bool {
        !self.trace.targets.is_empty() && self.trace.targets.iter().all(|target| target.digest.is_some())
    }
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
    /// What has to reach the disk when it is closed.
    end: End,
}

impl StateDb {
    /// Opens for writing; makes it if absent. A damaged file is put aside with a warning.
    pub fn open(root: &Path) -> Result<(Self, Vec<Diagnostic>), Diagnostic> {
        let _watch = profile::enter(Part::Database);
        let dir = root.join(super::STATE_DIR);
        let file = dir.join("state.db");
        std::fs::create_dir_all(&dir).map_err(|error| cannot_open(&error))?;
        let mut warnings = Vec::new();
        let is_new = journal::is_absent(&file);
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
        let mut db = Self::reading(Some(connection));
        (db.file, db.version) = (Some((file, number)), version);
        db.end = if is_new || !warnings.is_empty() { End::Whole } else { End::Any };
        Ok((db, warnings))
    }

    /// Opens without ever writing: for dry runs, explain, list. Absent or unusable counts as empty.
    pub fn open_read_only(root: &Path) -> Result<Self, Diagnostic> {
        let file = root.join(super::STATE_DIR).join("state.db");
        if !file.exists() {
            return Ok(Self::reading(None));
        }
        match connect_read_only(&file) {
            Ok(connection) => Ok(Self::reading(Some(connection))),
            Err(Problem::Newer(found)) => Err(newer(found)),
            Err(Problem::Other(_)) => Ok(Self::reading(None)),
        }
    }

    fn reading(connection: Option<Connection>) -> Self {
        Self { connection, in_transaction: false, file: None, version: None, end: End::Any }
    }

    /// Whether somebody else has written since this was opened: a run inside one of our actions.
    pub fn was_changed_by_others(&self) -> bool {
        self.version.is_none() || self.connection.as_ref().and_then(data_version) != self.version
    }

    /// Closes it: from now on it is empty.
    pub fn close(&mut self) {
        let _watch = profile::enter(Part::Database);
        // What could not be written was told by the commit that tried.
        let _ = self.commit();
        if let (Some(connection), Some((file, _))) = (self.connection.take(), &self.file) {
            journal::close(connection, file, self.end);
        }
    }

    /// Size, times and number of the database's files; to be asked for while it is closed.
    pub fn files(root: &Path) -> Vec<Option<(u64, i64, i64, u64)>> {
        let stat = |name: &str| {
            let path = RepoPath::from_root(format!("{}/{name}", super::STATE_DIR))?;
            super::files::stat_now(root, &path)
        };
        let file = stat("state.db").map(|stat| (stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode));
        // SQLite sets the owner of a journal whenever it opens one.
        let journal = stat("state.db-wal").map(|stat| (stat.size, stat.mtime_ns, 0, stat.inode));
        vec![file, journal]
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

    /// Says that a task is about to run: from now on its record of success, which is `old`, does not count.
    pub fn withdraw(&mut self, task: &str, old: Option<&Success>) -> Result<(), Diagnostic> {
        if old.is_some_and(|old| !old.is_shown()) {
            self.end = self.end.max(End::OnDisk);
        }
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
        self.end = self.end.max(End::OnDisk);
        self.execute(
            "INSERT INTO task (name, checksum, attempt, ignored) VALUES (?1, 16 | 4, 4, 0)
             ON CONFLICT (name) DO UPDATE SET head = NULL, checksum = 16 | 4, parts = NULL, attempt = 4, ignored = 0",
            params![task],
        )
    }

    /// Removes every record.
    pub fn forget_all(&mut self) -> Result<(), Diagnostic> {
        self.end = self.end.max(End::OnDisk);
        self.execute("DELETE FROM task", params![])
    }

    pub fn set_ignored(&mut self, task: &str, ignored: bool) -> Result<(), Diagnostic> {
        self.end = self.end.max(End::OnDisk);
        self.execute(
            "INSERT INTO task (name, checksum, attempt, ignored) VALUES (?1, 16 | (?2 << 3), 0, ?2)
             ON CONFLICT (name) DO UPDATE SET ignored = ?2, checksum = (checksum & ~255) | 16 | attempt | (?2 << 3)",
            params![task, ignored],
        )
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
        self.close();
    }
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
        db.withdraw("t", None).unwrap();
        db.succeed("t", &success(), &Fingerprint::default()).unwrap();
        db.withdraw("u", None).unwrap();
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
