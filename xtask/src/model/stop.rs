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
pub struct StopToken {
    own: Arc<AtomicU8>,
    /// Their requests count, too.
    above: Vec<Arc<AtomicU8>>,
}

impl StopToken {
    pub fn new() -> Self {
        Self::default()
    }

    /// A token of its own that also hears what this one, and those above it, are asked for.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { own: Arc::default(), above: self.above.iter().chain([&self.own]).cloned().collect() }
    }

    pub fn request(&self, stop: Stop) {
        self.own.fetch_max(stop as u8, Ordering::SeqCst);
    }

    pub fn level(&self) -> Stop {
        let all = self.above.iter().chain([&self.own]).map(|flag| flag.load(Ordering::SeqCst));
        match all.max().unwrap_or_default() {
            0 => Stop::No,
            1 => Stop::Gently,
            _ => Stop::Now,
        }
    }

    pub fn is_requested(&self) -> bool {
        self.level() != Stop::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_hears_its_parent_and_not_the_other_way_round() {
        let parent = StopToken::new();
        let (one, other) = (parent.child(), parent.child());
        one.request(Stop::Gently);
        assert_eq!((one.level(), other.level(), parent.level()), (Stop::Gently, Stop::No, Stop::No));
        assert_eq!(one.child().level(), Stop::Gently);
        parent.request(Stop::Now);
        assert_eq!(other.child().level(), Stop::Now, "also from two above");
        assert_eq!((one.level(), other.level()), (Stop::Now, Stop::Now));
    }
}
