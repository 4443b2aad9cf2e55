//! When to hand on what changed: changes and the time in, batches out. Pure; knows nothing of the disk.
//!
//! A file that is whole (closed after writing, or put in place by a rename) goes after 1 ms; any other lone change waits
//! 5 ms for company, for an editor saves in several steps. The longer a burst lasts, the longer a pause must be to count
//! as its end, up to 50 ms; half a second after its first change a batch goes in any case, so that a file which is
//! written all the time starves nobody. A file that was written and not closed yet is likely half there: it is worth the
//! longest pause. One that was emptied and not written yet is waited for even longer: nobody means it to be empty.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use crate::model::RepoPath;

use super::settle::Pending;

/// The pause that ends a batch of whole files, the shortest for others, and the longest.
const WHOLE: Duration = Duration::from_millis(1);
const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_millis(50);

/// The longest wait for a pause.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// How long an emptied file keeps its batch waiting: whoever emptied it may not get the processor for a while.
const EMPTY: Duration = Duration::from_secs(1);

/// With more paths than this, looking at everything again is no dearer and needs no memory.
const MANY: usize = 20_000;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A file was emptied, or made, and has nothing in it yet.
    Emptied(RepoPath),
    /// Content was written; more may follow until the file is closed.
    Written(RepoPath),
    /// A file that was open for writing was closed, or a whole one came under this name.
    Closed(RepoPath),
    /// Created, removed, renamed away, or its mode changed.
    Other(RepoPath),
    /// Something may have happened anywhere.
    Anything,
}

/// Changes that wait, see the module.
#[derive(Debug, Default)]
pub struct Debounce {
    paths: BTreeSet<RepoPath>,
    anything: bool,
    /// Written, not closed.
    open: HashSet<RepoPath>,
    /// Open, and empty.
    empty: HashSet<RepoPath>,
    /// Neither open nor whole: more is likely to follow.
    unsure: HashSet<RepoPath>,
    /// First and last change.
    span: Option<(Instant, Instant)>,
}

/// What goes out.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    pub paths: BTreeSet<RepoPath>,
    pub anything: bool,
    /// When the first of it happened.
    pub since: Instant,
}

impl Debounce {
    /// Takes a change that happened at `now`.
    pub fn note(&mut self, change: Change, now: Instant) {
        let first = self.span.map_or(now, |(first, _)| first);
        self.span = Some((first, now));
        if let Change::Written(path) | Change::Closed(path) | Change::Other(path) = &change {
            self.empty.remove(path);
        }
        match change {
            Change::Emptied(path) => {
                self.unsure.remove(&path);
                self.open.insert(path.clone());
                self.empty.insert(path.clone());
                self.paths.insert(path);
            }
            Change::Written(path) => {
                self.unsure.remove(&path);
                self.open.insert(path.clone());
                self.paths.insert(path);
            }
            Change::Closed(path) => {
                self.unsure.remove(&path);
                self.open.remove(&path);
                self.paths.insert(path);
            }
            Change::Other(path) => {
                self.open.remove(&path);
                self.unsure.insert(path.clone());
                self.paths.insert(path);
            }
            Change::Anything => self.anything = true,
        }
        if self.paths.len() > MANY {
            self.anything = true;
        }
        if self.anything {
            self.paths.clear();
            self.open.clear();
            self.empty.clear();
            self.unsure.clear();
        }
    }

    /// When the batch goes unless something else happens; `None` if nothing waits.
    pub fn due(&self) -> Option<Instant> {
        let (first, last) = self.span?;
        if !self.empty.is_empty() {
            return Some(first + EMPTY);
        }
        let shortest = if self.anything || !self.unsure.is_empty() { SHORT } else { WHOLE };
        let pause = if self.open.is_empty() { ((last - first) / 2).clamp(shortest, LONG) } else { LONG };
        Some((last + pause).min(first + MAX_WAIT))
    }

    /// First and last change that wait.
    pub fn span(&self) -> Option<(Instant, Instant)> {
        self.span
    }

    /// Whether a change that waits is one of these paths.
    pub fn concerns(&self, paths: &[RepoPath]) -> bool {
        self.anything || paths.iter().any(|path| self.paths.contains(path))
    }

    /// All that waits, and goes on waiting.
    pub fn pending(&self) -> Pending {
        Pending { paths: self.paths.clone(), anything: self.anything }
    }

    /// All that waits.
    pub fn take(&mut self) -> Option<Due> {
        let (since, _) = self.span.take()?;
        self.open.clear();
        self.empty.clear();
        self.unsure.clear();
        Some(Due { paths: std::mem::take(&mut self.paths), anything: std::mem::take(&mut self.anything), since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::from_root(text).unwrap()
    }

    /// Feeds changes at milliseconds after a start; returns when each batch goes and how many paths it has.
    fn batches(changes: &[(u64, Change)]) -> Vec<(u64, usize)> {
        let start = Instant::now();
        let mut debounce = Debounce::default();
        let mut out = Vec::new();
        let mut flush_until = |debounce: &mut Debounce, now: Option<Instant>| {
            while let Some(due) = debounce.due().filter(|due| now.is_none_or(|now| *due <= now)) {
                let batch = debounce.take().unwrap();
                out.push(((due - start).as_millis() as u64, if batch.anything { 999 } else { batch.paths.len() }));
            }
        };
        for (millis, change) in changes {
            let now = start + Duration::from_millis(*millis);
            flush_until(&mut debounce, Some(now));
            debounce.note(change.clone(), now);
        }
        flush_until(&mut debounce, None);
        out
    }

    #[test]
    fn a_whole_file_goes_at_once_and_any_other_lone_change_waits_five_milliseconds() {
        assert_eq!(batches(&[(0, Change::Other(path("a")))]), [(5, 1)]);
        let save = [(0, Change::Written(path("a"))), (0, Change::Closed(path("a")))];
        assert_eq!(batches(&save), [(1, 1)]);
        // A backup is made by renaming, then the file is written anew: its absence in between is none.
        let backup = [(0, Change::Other(path("a"))), (0, Change::Closed(path("a~"))), (3, Change::Closed(path("a")))];
        assert_eq!(batches(&backup), [(4, 2)]);
    }

    #[test]
    fn a_file_that_is_open_is_waited_for() {
        let slow = [(0, Change::Written(path("a"))), (30, Change::Written(path("a"))), (60, Change::Closed(path("a")))];
        assert_eq!(batches(&slow), [(90, 1)]);
        assert_eq!(batches(&slow[..1]), [(50, 1)]);
    }

    #[test]
    fn a_file_that_is_empty_for_a_moment_is_waited_for() {
        let slow =
            [(0, Change::Emptied(path("a"))), (300, Change::Written(path("a"))), (301, Change::Closed(path("a")))];
        assert_eq!(batches(&slow), [(351, 1)]);
        assert_eq!(batches(&slow[..1]), [(1000, 1)]);
        // Somebody wants it to be empty.
        assert_eq!(batches(&[(0, Change::Emptied(path("a"))), (0, Change::Closed(path("a")))]), [(1, 1)]);
    }

    #[test]
    fn a_burst_is_one_batch_and_ends_after_a_longer_pause() {
        let burst: Vec<_> = (0..100).map(|n| (n * 2, Change::Other(path(&format!("f{n}"))))).collect();
        assert_eq!(batches(&burst), [(248, 100)]);
    }

    /// Row W9: half a second after the first change at the latest.
    #[test]
    fn w9_a_steady_writer_starves_nobody() {
        let touches: Vec<_> = (0..600).map(|n| (n * 4, Change::Other(path("log")))).collect();
        let out = batches(&touches);
        assert_eq!(out[0].0, 500);
        assert!(out.windows(2).all(|two| two[1].0 - two[0].0 <= 504), "{out:?}");
        let slower: Vec<_> = (0..600).map(|n| (n * 50, Change::Other(path("log")))).collect();
        assert_eq!(batches(&slower)[0].0, 5);
    }

    #[test]
    fn anything_swallows_paths_and_so_do_too_many() {
        let mixed = [(0, Change::Written(path("a"))), (1, Change::Anything), (2, Change::Other(path("b")))];
        assert_eq!(batches(&mixed), [(7, 999)]);
        let many: Vec<_> = (0..=MANY).map(|n| (0, Change::Other(path(&format!("f{n}"))))).collect();
        assert_eq!(batches(&many), [(5, 999)]);
    }
}
