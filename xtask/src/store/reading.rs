//! How much of large files is being hashed at this moment, for those who show it. Knows nothing of files.

use std::sync::atomic::{AtomicU64, Ordering};

/// Smaller files are read before anybody could see it.
const LARGE: u64 = 8 << 20;

/// Of the large files that are being read. Only ever shown.
#[derive(Debug)]
pub(super) struct Counters {
    files: AtomicU64,
    /// Their bytes, and how many of these were read.
    all: AtomicU64,
    done: AtomicU64,
}

/// Of this process.
pub(super) static READING: Counters = Counters::new();

/// Bytes done and in all; `None` while no large file is read.
pub fn now() -> Option<(u64, u64)> {
    READING.now()
}

impl Counters {
    const fn new() -> Self {
        Self { files: AtomicU64::new(0), all: AtomicU64::new(0), done: AtomicU64::new(0) }
    }

    fn now(&self) -> Option<(u64, u64)> {
        let all = self.all.load(Ordering::Relaxed);
        let is_reading = self.files.load(Ordering::Relaxed) > 0 && all > 0;
        is_reading.then(|| (self.done.load(Ordering::Relaxed).min(all), all))
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
        assert_eq!(counters.now(), Some((1000, 3 * LARGE)));
        drop(one);
        assert_eq!(counters.now(), Some((1000, 3 * LARGE)));
        drop(other);
        assert_eq!(counters.now(), None);
    }
}
