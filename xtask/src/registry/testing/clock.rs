//! A clock that jumps instead of waiting and remembers the jumps. Knows nothing of requests.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::model::StopToken;
use crate::registry::Clock;

/// Sleeping moves it forward; nothing else does.
#[derive(Default)]
pub struct TestClock(Mutex<State>);

#[derive(Default)]
struct State {
    now: Duration,
    sleeps: Vec<Duration>,
    chance: u64,
}

impl TestClock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every wait so far, in order.
    pub fn sleeps(&self) -> Vec<Duration> {
        self.state().sleeps.clone()
    }

    /// Time passes by itself.
    pub fn advance(&self, time: Duration) {
        self.state().now += time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        self.state().now
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.now()
    }

    fn sleep(&self, wait: Duration, stop: &StopToken) -> bool {
        let mut state = self.state();
        state.now += wait;
        state.sleeps.push(wait);
        !stop.is_requested()
    }

    fn random(&self) -> f64 {
        let mut state = self.state();
        state.chance = state.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state.chance >> 11) as f64 / (1_u64 << 53) as f64
    }
}
