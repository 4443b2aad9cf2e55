//! Finds tasks that a watch starts again and again without anything having changed: their own output wakes them.
//! Pure; knows nothing of the watch.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More starts than this within the window, each with the same inputs, are a loop.
const STARTS: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);

/// Remembers the last starts of each task.
#[derive(Debug, Default)]
pub struct LoopBreaker {
    starts: HashMap<Arc<str>, (String, VecDeque<Instant>)>,
}

impl LoopBreaker {
    /// Takes a start of `task` by the watch with inputs of this `fingerprint`; true if this is a loop and the task
    /// should not be started by the watch any more.
    pub fn is_loop(&mut self, task: &Arc<str>, fingerprint: &str, now: Instant) -> bool {
        let (last, times) = self.starts.entry(task.clone()).or_default();
        if last != fingerprint {
            fingerprint.clone_into(last);
            times.clear();
        }
        while times.front().is_some_and(|time| now.duration_since(*time) > WINDOW) {
            times.pop_front();
        }
        times.push_back(now);
        times.len() > STARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row W7: a real loop is found within ten seconds, busy work is not taken for one.
    #[test]
    fn w7_only_starts_without_a_change_are_a_loop() {
        let (start, task): (Instant, Arc<str>) = (Instant::now(), "a".into());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut breaker = LoopBreaker::default();
        let same: Vec<bool> = (0..6).map(|second| breaker.is_loop(&task, "k", at(second))).collect();
        assert_eq!(same, [false, false, false, false, false, true]);
        let mut breaker = LoopBreaker::default();
        assert!((0..100).all(|second| !breaker.is_loop(&task, &second.to_string(), at(second / 10))));
        assert!((100..200).all(|third| !breaker.is_loop(&task, "k", at(third * 3))));
    }
}
