//! The append-only record of promotions: one JSON object per line. Knows nothing of registries.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Move;
use crate::model::{Diagnostic, Digest};

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Promote,
    /// Back to what was before the promotion with this id.
    Rollback(String),
}

/// How far it got. A promotion has one line when it starts and one when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Tags may have moved; without a later line the run was killed.
    Started,
    Done,
    /// It failed, and every tag is back where it was.
    Undone,
    /// It failed, and some tags could not be put back.
    Stuck,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub v: u8,
    /// The same in all lines of one promotion.
    pub id: String,
    /// RFC 3339, UTC.
    pub time: String,
    pub who: String,
    /// Name and version of the tool.
    pub tool: String,
    pub action: Action,
    pub state: State,
    pub moves: Vec<Move>,
}

/// The open log. While it is open no other promotion with the same log runs.
pub struct Log {
    path: PathBuf,
    file: File,
    records: Vec<Record>,
    who: String,
    now: Box<dyn Fn() -> jiff::Timestamp + Send>,
}

impl Log {
    /// Opens (and makes) the log at `path` for promotions by `who` at the times that `now` gives. An error if another
    /// promotion has it open, or if a line of it cannot be read.
    pub fn open(
        path: &Path,
        who: &str,
        now: impl Fn() -> jiff::Timestamp + Send + 'static,
    ) -> Result<Self, Diagnostic> {
        let shown = path.display();
        let fail = |error: std::io::Error| Diagnostic::error(format!("`{shown}` cannot be opened")).cause(error);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Diagnostic::error(format!("`{shown}` is in use by another promotion")));
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).map_err(fail)?;
        if !text.is_empty() && !text.ends_with('\n') {
            // The last line was cut by a crash; what follows must not be glued to it.
            file.write_all(b"\n").map_err(fail)?;
        }
        let records = read(&text, path)?;
        Ok(Self { path: path.to_owned(), file, records, who: who.to_owned(), now: Box::new(now) })
    }

    /// All lines, oldest first.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The last promotion that succeeded and was not rolled back.
    pub fn last_standing(&self) -> Option<&Record> {
        let done = || self.records.iter().filter(|record| record.state == State::Done);
        let undone = |id: &str| done().any(|record| record.action == Action::Rollback(id.to_owned()));
        done().filter(|record| record.action == Action::Promote).rfind(|record| !undone(&record.id))
    }

    /// The promotion that was killed, if the last line tells of one.
    pub fn killed(&self) -> Option<&Record> {
        self.records.last().filter(|record| record.state == State::Started)
    }

    /// What a killed promotion did to a tag, if that is why it points where it points: a later rollback must go back
    /// to before that.
    pub(super) fn done_by_killed(&self, one: &Move) -> Option<&Move> {
        let mut moves = self.killed()?.moves.iter();
        moves.find(|earlier| earlier.reference() == one.reference() && earlier.new == one.old)
    }

    /// Adds a line and makes sure that it is on the disk.
    pub(super) fn append(&mut self, id: &str, action: &Action, state: State, moves: &[Move]) -> Result<(), Diagnostic> {
        let record = Record {
            v: 1,
            id: id.to_owned(),
            time: self.now_text(),
            who: self.who.clone(),
            tool: concat!("xtask ", env!("CARGO_PKG_VERSION")).to_owned(),
            action: action.clone(),
            state,
            moves: moves.to_vec(),
        };
        let fail = |error: std::io::Error| {
            Diagnostic::error(format!("`{}` cannot be written", self.path.display())).cause(error)
        };
        let mut line = serde_json::to_string(&record).map_err(|error| fail(error.into()))?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data()).map_err(fail)?;
        self.records.push(record);
        Ok(())
    }

    /// An id for a new promotion, different from all in the log.
    pub(super) fn new_id(&self, moves: &[Move]) -> String {
        let text = format!("{} {} {moves:?}", self.records.len(), self.now_text());
        Digest::of(text.as_bytes()).short()
    }

    fn now_text(&self) -> String {
        (self.now)().to_string()
    }
}

fn read(text: &str, path: &Path) -> Result<Vec<Record>, Diagnostic> {
    let mut records = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str(line) {
            Ok(record) => records.push(record),
            // A promotion whose first line was cut by a crash never started.
            Err(error) if error.is_eof() => {}
            Err(error) => {
                let place = format!("`{}` line {} is not the record of a promotion", path.display(), index + 1);
                return Err(Diagnostic::error(place).cause(error));
            }
        }
    }
    Ok(records)
}
