//! The one queue between workers and the main thread. Knows nothing of what the messages mean.
//!
//! Control messages are never held back; output is, once `BOUND` messages wait, so that a chatty task can neither
//! eat the memory nor delay a result. (cargo's `push` and `push_bounded` are the model.)

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Many pushers, one popper.
pub struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    pushed: Condvar,
    popped: Condvar,
}

/// How many messages may wait before output is held back.
const BOUND: usize = 4096;

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { items: Mutex::default(), pushed: Condvar::new(), popped: Condvar::new() }
    }
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        // A panic while the lock is held cannot leave a deque half changed.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message at once.
    pub fn push(&self, item: T) {
        self.lock().push_back(item);
        self.pushed.notify_one();
    }

    /// Adds a message as soon as fewer than `BOUND` wait.
    pub fn push_bounded(&self, item: T) {
        let mut items = self.lock();
        while items.len() >= BOUND {
            items = self.popped.wait(items).unwrap_or_else(PoisonError::into_inner);
        }
        items.push_back(item);
        drop(items);
        self.pushed.notify_one();
    }

    /// Takes the oldest message, waiting for one at most this long.
    pub fn pop(&self, timeout: Duration) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut items = self.lock();
        loop {
            if let Some(item) = items.pop_front() {
                drop(items);
                self.popped.notify_one();
                return Some(item);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            items = self.pushed.wait_timeout(items, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes those that are wanted, wherever they stand, without waiting.
    pub fn take(&self, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let mut items = self.lock();
        let (taken, left): (Vec<T>, Vec<T>) = items.drain(..).partition(|item| wanted(item));
        items.extend(left);
        drop(items);
        self.popped.notify_all();
        taken
    }

    /// Takes the oldest of which `wanted` makes something, and returns that.
    pub fn take_first<U>(&self, wanted: impl Fn(&T) -> Option<U>) -> Option<U> {
        let mut items = self.lock();
        let (at, found) = items.iter().enumerate().find_map(|(at, item)| Some((at, wanted(item)?)))?;
        items.remove(at);
        drop(items);
        self.popped.notify_one();
        Some(found)
    }

    /// Takes everything that waits, without waiting.
    pub fn drain(&self) -> Vec<T> {
        let all = self.lock().drain(..).collect();
        self.popped.notify_all();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_overtakes_nothing_but_is_never_held_back() {
        let queue = Queue::default();
        for number in 0..BOUND {
            queue.push_bounded(number);
        }
        queue.push(BOUND);
        assert_eq!(queue.pop(Duration::ZERO), Some(0));
        assert_eq!(queue.drain().len(), BOUND);
        assert_eq!(queue.pop(Duration::from_millis(1)), None);
    }

    #[test]
    fn what_is_wanted_is_taken_and_the_rest_keeps_its_order() {
        let queue = Queue::default();
        (0..6).for_each(|number| queue.push(number));
        assert_eq!(queue.take(|number| number % 2 == 1), [1, 3, 5]);
        assert_eq!(queue.take_first(|number| (*number > 1).then_some("two")), Some("two"));
        assert_eq!(queue.take_first(|number| (*number > 9).then_some(())), None);
        assert_eq!(queue.drain(), [0, 4]);
    }

    #[test]
    fn a_held_back_pusher_goes_on_when_there_is_room() {
        let queue = Queue::default();
        for number in 0..BOUND {
            queue.push_bounded(number);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| queue.push_bounded(BOUND));
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(queue.pop(Duration::from_secs(1)), Some(0));
        });
        assert_eq!(queue.drain().last(), Some(&BOUND));
    }
}
