//! Where the time of a run goes: stopwatches by kind of work, each thread's in only one at a time, added up over all
//! threads. Knows nothing of what is timed.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Words, tasks.yaml, the graph, verdicts.
    Planning,
    /// Looking at files and folders.
    Stat,
    /// Reading files for their digests.
    Hash,
    /// Records and history.
    Database,
    /// What earlier runs saw: reading and writing it.
    Seen,
    /// Starting processes.
    Spawn,
    /// Nothing to do but to wait for tasks.
    Wait,
}

impl Part {
    pub const ALL: [Self; 7] =
        [Self::Planning, Self::Stat, Self::Hash, Self::Database, Self::Seen, Self::Spawn, Self::Wait];

    pub fn name(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Stat => "stat",
            Self::Hash => "hash",
            Self::Database => "database",
            Self::Seen => "seen",
            Self::Spawn => "spawn",
            Self::Wait => "wait",
        }
    }
}

/// Nanoseconds, and how often it was begun.
static SUMS: [(AtomicU64, AtomicU64); Part::ALL.len()] =
    [const { (AtomicU64::new(0), AtomicU64::new(0)) }; Part::ALL.len()];

thread_local! {
    static CURRENT: Cell<Option<(Part, Instant)>> = const { Cell::new(None) };
}

/// This thread does this until the watch is dropped; then again what it did before.
#[must_use = "the work ends when this is dropped"]
pub struct Watch {
    before: Option<Part>,
}

/// Begins a kind of work on this thread.
pub fn enter(part: Part) -> Watch {
    SUMS[part as usize].1.fetch_add(1, Ordering::Relaxed);
    Watch { before: switch(Some(part)) }
}

impl Drop for Watch {
    fn drop(&mut self) {
        switch(self.before);
    }
}

fn switch(to: Option<Part>) -> Option<Part> {
    let now = Instant::now();
    let before = CURRENT.replace(to.map(|part| (part, now)));
    if let Some((part, since)) = before {
        SUMS[part as usize].0.fetch_add(now.duration_since(since).as_nanos() as u64, Ordering::Relaxed);
    }
    before.map(|(part, _)| part)
}

/// What was spent so far by this process, and how often each kind of work was begun.
pub fn sums() -> Vec<(Part, Duration, u64)> {
    // What this thread does at the moment counts until now.
    switch(CURRENT.get().map(|(part, _)| part));
    let read = |part: Part| {
        let (nanos, times) = &SUMS[part as usize];
        (part, Duration::from_nanos(nanos.load(Ordering::Relaxed)), times.load(Ordering::Relaxed))
    };
    Part::ALL.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_in_one_part_at_a_time() {
        let of = |part: Part| sums()[part as usize].1.as_millis();
        let (outer, inner) = (of(Part::Seen), of(Part::Spawn));
        let watch = enter(Part::Seen);
        {
            let _inner = enter(Part::Spawn);
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(watch);
        assert!(of(Part::Spawn) >= inner + 19);
        assert!(of(Part::Seen) < outer + 19, "the inner part was counted twice");
    }
}
