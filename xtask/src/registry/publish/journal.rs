//! The memory of a push that may be interrupted: its plan and what of it is done. Knows nothing of registries.
//!
//! A file of JSON lines that is only ever appended to: the plan first, then one line per finished step, then the end.

use std::fs::{File, OpenOptions};
use std::io::{Read, Result, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Plan;
use crate::model::Digest;
use crate::registry::digest_text;

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Planned {
        plan: Plan,
    },
    Finished {
        /// Index into the steps of the plan.
        step: usize,
        #[serde(with = "digest_text")]
        digest: Digest,
    },
    Ended,
}

/// An open journal.
pub struct Journal {
    file: File,
}

/// A push that was begun.
pub struct Unfinished {
    /// To go on with.
    pub journal: Journal,
    pub plan: Plan,
    /// Per step of the plan: the digest, if the step was finished. For people; the registry is what counts.
    pub done: Vec<Option<Digest>>,
}

impl Journal {
    /// Starts anew with this plan; an older journal of the same name is replaced.
    pub fn create(path: &Path, plan: &Plan) -> Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut journal = Self { file: File::create(path)? };
        journal.append(&Line::Planned { plan: plan.clone() })?;
        Ok(journal)
    }

    /// A push that was not finished; `None` if there is none.
    pub fn resume(path: &Path) -> Result<Option<Unfinished>> {
        let mut text = String::new();
        match OpenOptions::new().read(true).append(true).open(path) {
            Ok(mut file) => {
                file.read_to_string(&mut text)?;
                // A line cut by a crash gets an end, so that what follows is not glued to it.
                if !text.is_empty() && !text.ends_with('\n') {
                    file.write_all(b"\n")?;
                }
                Ok(read(&text).map(|(plan, done)| Unfinished { journal: Self { file }, plan, done }))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A step is done, with this digest.
    pub fn finished(&mut self, step: usize, digest: Digest) -> Result<()> {
        self.append(&Line::Finished { step, digest })
    }

    /// Everything is done.
    pub fn ended(&mut self) -> Result<()> {
        self.append(&Line::Ended)
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()
    }
}

fn read(text: &str) -> Option<(Plan, Vec<Option<Digest>>)> {
    // A line that cannot be read was cut by a crash: its step counts as not done, and steps can be repeated.
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let Some(Line::Planned { plan }) = lines.next() else { return None };
    let mut done = vec![None; plan.steps.len()];
    for line in lines {
        match line {
            Line::Finished { step, digest } => *done.get_mut(step)? = Some(digest),
            Line::Ended => return None,
            Line::Planned { .. } => return None,
        }
    }
    Some((plan, done))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::publish::Step;

    fn plan() -> Plan {
        let step = |number: u8| Step::Done {
            image: format!("image{number}"),
            reference: format!("h.x/a:{number}"),
            digest: Digest::of(&[number]),
        };
        Plan { v: 1, wanted: Vec::new(), steps: vec![step(0), step(1)], indexes: Vec::new() }
    }

    #[test]
    fn a_torn_line_counts_as_not_done_and_does_not_spoil_what_follows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("push/journal.jsonl");
        assert!(Journal::resume(&path).unwrap().is_none());
        let mut journal = Journal::create(&path, &plan()).unwrap();
        journal.finished(0, Digest::of(b"x")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        journal.finished(1, Digest::of(b"y")).unwrap();
        let longer = std::fs::read(&path).unwrap();
        for end in whole.len()..longer.len() - 1 {
            std::fs::write(&path, &longer[..end]).unwrap();
            let mut found = Journal::resume(&path).unwrap().unwrap();
            assert_eq!((found.plan, found.done), (plan(), vec![Some(Digest::of(b"x")), None]), "cut at {end}");
            found.journal.finished(1, Digest::of(b"z")).unwrap();
            assert_eq!(Journal::resume(&path).unwrap().unwrap().done[1], Some(Digest::of(b"z")));
        }
    }

    #[test]
    fn an_ended_push_is_not_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        Journal::create(&path, &plan()).unwrap().ended().unwrap();
        assert!(Journal::resume(&path).unwrap().is_none());
    }
}
