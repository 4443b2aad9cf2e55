//! How long a run still takes, from what its tasks took last time. Knows nothing of screens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Says nothing rather than a guess: only tasks with a recorded duration count, and no time is named once what is left
/// takes longer than it ever did.
#[derive(Debug, Default)]
pub struct Remaining {
    /// Work that is neither finished nor running, in seconds of one worker.
    waiting: Option<f64>,
    running: HashMap<Arc<str>, (Instant, Option<f64>)>,
    workers: f64,
}

impl Remaining {
    pub fn start(workers: usize, expected: Option<Duration>) -> Self {
        let waiting = expected.map(|time| time.as_secs_f64());
        Self { waiting, running: HashMap::new(), workers: workers.max(1) as f64 }
    }

    pub fn started(&mut self, task: &Arc<str>, expected: Option<Duration>, now: Instant) {
        let expected = expected.map(|time| time.as_secs_f64());
        self.take(expected.unwrap_or(0.0));
        self.running.insert(task.clone(), (now, expected));
    }

    /// A task that never started takes its share with it.
    pub fn finished(&mut self, task: &Arc<str>, expected: Option<Duration>) {
        if self.running.remove(task).is_none() {
            self.take(expected.map_or(0.0, |time| time.as_secs_f64()));
        }
    }

    fn take(&mut self, seconds: f64) {
        if let Some(waiting) = &mut self.waiting {
            *waiting = (*waiting - seconds).max(0.0);
        }
    }

    /// The time left, at least a second, if it can be told.
    pub fn at(&self, now: Instant) -> Option<Duration> {
        let waiting = self.waiting?;
        let mut longest: f64 = 0.0;
        let mut busy = 0.0;
        let mut late = false;
        for (started, expected) in self.running.values() {
            let left = expected.unwrap_or(0.0) - now.duration_since(*started).as_secs_f64();
            late |= left < 0.0;
            longest = longest.max(left);
            busy += left.max(0.0);
        }
        let seconds = longest.max((waiting + busy) / self.workers);
        let told = seconds >= 1.0 && !(late && waiting + busy < 1.0);
        told.then(|| Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(number: u64) -> Option<Duration> {
        Some(Duration::from_secs(number))
    }

    #[test]
    fn time_left_follows_what_runs_and_what_waits() {
        let start = Instant::now();
        let at = |number: u64| start + Duration::from_secs(number);
        let (a, b, c): (Arc<str>, Arc<str>, Arc<str>) = ("a".into(), "b".into(), "c".into());
        let mut left = Remaining::start(2, seconds(100));
        left.started(&a, seconds(60), start);
        left.started(&b, seconds(20), start);
        // 100 s of work for two workers, but `a` alone takes a minute.
        assert_eq!(left.at(start), seconds(60));
        assert_eq!(left.at(at(10)), seconds(50));
        left.finished(&b, seconds(20));
        // `c` turns out to be up to date.
        left.finished(&c, seconds(20));
        assert_eq!(left.at(at(30)), seconds(30));
        // Later than ever: nothing is promised.
        assert_eq!(left.at(at(61)), None);
    }

    #[test]
    fn without_records_no_time_is_named() {
        let start = Instant::now();
        let mut left = Remaining::start(4, None);
        left.started(&"a".into(), None, start);
        assert_eq!(left.at(start), None);
    }
}
