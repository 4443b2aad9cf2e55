//! The request to stop, shared by every thread of a run. Knows nothing of signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How urgently to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Go on.
    No,
    /// Start nothing, end what runs politely.
    Gently,
    /// End what runs at once.
    Now,
}

/// A flag that can only become more urgent.
#[derive(Clone, Debug, Default)]
pub struct StopToken(Arc<AtomicU8>);

impl StopToken {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn request(&self, stop: Stop) {
        self.0.fetch_max(stop as u8, Ordering::SeqCst);
    }

    pub fn level(&self) -> Stop {
        match self.0.load(Ordering::SeqCst) {
            0 => Stop::No,
            1 => Stop::Gently,
            _ => Stop::Now,
        }
    }

    pub fn is_requested(&self) -> bool {
        self.level() != Stop::No
    }
}
