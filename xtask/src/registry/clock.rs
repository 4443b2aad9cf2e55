//! Time, sleep and chance behind one seam, so that tests of waiting do not wait. Knows nothing of requests.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime};

use crate::model::StopToken;

/// What a client needs to know of time.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;

    /// The calendar's time, for `Retry-After` dates.
    fn wall(&self) -> SystemTime;

    /// Waits. `false` if `stop` was requested meanwhile.
    fn sleep(&self, wait: Duration, stop: &StopToken) -> bool;

    /// A number in `0.0..1.0`.
    fn random(&self) -> f64;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

/// How long a request to stop may go unnoticed while waiting.
const NAP: Duration = Duration::from_millis(100);

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, wait: Duration, stop: &StopToken) -> bool {
        let end = Instant::now() + wait;
        loop {
            if stop.is_requested() {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(NAP));
        }
    }

    fn random(&self) -> f64 {
        // A fresh hasher has fresh random keys: enough chance for jitter, and no crate for it.
        let bits = RandomState::new().hash_one(self.start) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}
