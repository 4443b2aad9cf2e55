//! The history of runs, in the state database. Knows nothing of what decides about a task.

use rusqlite::{Connection, Row, params};

use super::{StateDb, failed};
use crate::model::{Diagnostic, Outcome};

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

impl StateDb {
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
        let sql = "SELECT id, started, seconds, exit, command FROM run ORDER BY id DESC LIMIT ?1";
        self.rows(sql, limit as i64, |row| {
            Ok(RunRow {
                id: row.get(0)?,
                started: row.get(1)?,
                seconds: row.get(2)?,
                exit: row.get(3)?,
                command: row.get(4)?,
            })
        })
    }

    /// The tasks of one run, in the order in which they ended.
    pub fn run_tasks(&self, run: i64) -> Result<Vec<RunTaskRow>, Diagnostic> {
        let sql = "SELECT task, outcome, seconds, reasons, key FROM run_task WHERE run = ?1 ORDER BY rowid";
        self.rows(sql, run, |row| {
            let outcome: String = row.get(1)?;
            Ok(RunTaskRow {
                task: row.get(0)?,
                outcome: serde_json::from_str(&outcome).unwrap_or(Outcome::Error),
                seconds: row.get(2)?,
                reasons: row.get(3)?,
                key: row.get(4)?,
            })
        })
    }

    fn rows<T>(
        &self,
        sql: &str,
        wanted: i64,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Diagnostic> {
        let Some(connection) = &self.connection else { return Ok(Vec::new()) };
        let rows = || connection.prepare(sql)?.query_map([wanted], read)?.collect::<rusqlite::Result<_>>();
        rows().map_err(|error| failed("read", &error))
    }
}
