//! Threads that work off what they are given and are kept for more: making one costs more than many a task. Knows nothing
//! of tasks, and sets no limit: there are never more threads than things going on at once.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

type Work = Box<dyn FnOnce() + Send>;

/// Some threads; those that wait end when this is dropped.
#[derive(Default)]
pub(super) struct Crew {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    given: Condvar,
}

#[derive(Default)]
struct State {
    open: VecDeque<Work>,
    /// Threads that wait for work.
    idle: usize,
    closed: bool,
}

impl Crew {
    /// Has it done at once, on a thread that waits or on a new one. A panic in it ends that thread only.
    pub(super) fn run(&self, work: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        state.open.push_back(Box::new(work));
        if state.open.len() <= state.idle {
            drop(state);
            self.shared.given.notify_one();
            return;
        }
        drop(state);
        let shared = self.shared.clone();
        std::thread::spawn(move || shared.work());
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.given.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic can happen while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.open.pop_front() {
                drop(state);
                work();
                state = self.lock();
            } else if state.closed {
                return;
            } else {
                state.idle += 1;
                state = self.given.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn everything_is_done_at_once_and_threads_are_used_again() {
        let crew = Crew::default();
        let (sender, receiver) = mpsc::channel();
        let mut threads = std::collections::HashSet::new();
        for _ in 0..20 {
            // Each of three waits for the two others.
            let barrier = Arc::new(std::sync::Barrier::new(3));
            for _ in 0..3 {
                let (sender, barrier) = (sender.clone(), barrier.clone());
                crew.run(move || {
                    barrier.wait();
                    sender.send(std::thread::current().id()).unwrap();
                });
            }
            for _ in 0..3 {
                threads.insert(receiver.recv_timeout(Duration::from_secs(10)).unwrap());
            }
            // They need a moment to become idle again.
            while crew.shared.lock().idle < 3 {
                std::thread::yield_now();
            }
        }
        assert_eq!(threads.len(), 3);
        let shared = Arc::downgrade(&crew.shared);
        drop(crew);
        let start = std::time::Instant::now();
        while shared.strong_count() > 0 {
            assert!(start.elapsed() < Duration::from_secs(10), "threads are left");
            std::thread::yield_now();
        }
    }
}
