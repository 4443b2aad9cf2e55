//! How much of large files, and how many of many files, are being hashed at this moment, for those who show it. Knows
//! nothing of files.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::Hashing;

/// Smaller files are read before anybody could see it.
const LARGE: u64 = 8 << 20;

/// Many files are shown after this long: where most are as they were, they are looked at sooner than that.
const SLOW: Duration = Duration::from_millis(300);

/// Of the files that are being read. Only ever shown.
#[derive(Debug)]
pub(super) struct Counters {
    files: AtomicU64,
    /// Their bytes, and how many of these were read.
    all: AtomicU64,
    done: AtomicU64,
    /// The files that are looked at side by side.
    crowds: Mutex<Vec<Seen>>,
}

/// Many files, since when, and how many of them were looked at.
#[derive(Debug)]
struct Seen {
    since: Instant,
    all: u64,
    done: Arc<AtomicU64>,
}

/// Of this process.
pub(super) static READING: Counters = Counters::new();

/// `None` while no large file is read, and not many.
pub fn now() -> Option<Hashing> {
    READING.now(SLOW)
}

impl Counters {
    const fn new() -> Self {
        Self {
            files: AtomicU64::new(0),
            all: AtomicU64::new(0),
            done: AtomicU64::new(0),
            crowds: Mutex::new(Vec::new()),
        }
    }

    fn now(&self, slow: Duration) -> Option<Hashing> {
        let all = self.all.load(Ordering::Relaxed);
        if self.files.load(Ordering::Relaxed) > 0 && all > 0 {
            return Some(Hashing::Bytes(self.done.load(Ordering::Relaxed).min(all), all));
        }
        let crowds = self.crowds.lock().unwrap_or_else(PoisonError::into_inner);
        let slow: Vec<&Seen> = crowds.iter().filter(|seen| seen.since.elapsed() >= slow).collect();
        let done = slow.iter().map(|seen| seen.done.load(Ordering::Relaxed)).sum();
        (!slow.is_empty()).then(|| Hashing::Files(done, slow.iter().map(|seen| seen.all).sum()))
    }

    /// Begins to look at so many files.
    pub(super) fn crowd(&self, files: usize) -> Crowd<'_> {
        let done = Arc::new(AtomicU64::new(0));
        let seen = Seen { since: Instant::now(), all: files as u64, done: done.clone() };
        self.crowds.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        Crowd { counters: self, done }
    }

    /// `None` for a file that is not large.
    pub(super) fn begin(&self, size: u64) -> Option<Reading<'_>> {
        if size < LARGE {
            return None;
        }
        self.files.fetch_add(1, Ordering::Relaxed);
        self.all.fetch_add(size, Ordering::Relaxed);
        Some(Reading(self))
    }
}

/// A large file that is being read, until it is dropped.
pub(super) struct Reading<'a>(&'a Counters);

impl Reading<'_> {
    pub(super) fn read(&self, bytes: usize) {
        self.0.done.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if self.0.files.fetch_sub(1, Ordering::Relaxed) == 1 {
            // The last of them: the next begins anew.
            self.0.all.store(0, Ordering::Relaxed);
            self.0.done.store(0, Ordering::Relaxed);
        }
    }
}

/// Many files that are looked at, until it is dropped.
pub(super) struct Crowd<'a> {
    counters: &'a Counters,
    done: Arc<AtomicU64>,
}

impl Crowd<'_> {
    pub(super) fn looked(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        let mut crowds = self.counters.crowds.lock().unwrap_or_else(PoisonError::into_inner);
        crowds.retain(|seen| !Arc::ptr_eq(&seen.done, &self.done));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_are_told_while_they_are_read_and_no_longer() {
        let counters = Counters::new();
        assert!(counters.begin(LARGE - 1).is_none());
        let one = counters.begin(LARGE).unwrap();
        one.read(1000);
        let other = counters.begin(2 * LARGE).unwrap();
        assert_eq!(counters.now(SLOW), Some(Hashing::Bytes(1000, 3 * LARGE)));
        drop(one);
        assert_eq!(counters.now(SLOW), Some(Hashing::Bytes(1000, 3 * LARGE)));
        drop(other);
        assert_eq!(counters.now(SLOW), None);
    }

    #[test]
    fn many_files_are_told_once_they_take_long() {
        let counters = Counters::new();
        let (one, other) = (counters.crowd(10), counters.crowd(30));
        one.looked();
        other.looked();
        assert_eq!(counters.now(Duration::from_mins(1)), None);
        assert_eq!(counters.now(Duration::ZERO), Some(Hashing::Files(2, 40)));
        drop(one);
        assert_eq!(counters.now(Duration::ZERO), Some(Hashing::Files(1, 30)));
        drop(other);
        assert_eq!(counters.now(Duration::ZERO), None);
    }
}
