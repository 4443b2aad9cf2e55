//! A thread that calls a function at a steady pace until it is dropped. Knows nothing of what it calls.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Runs until dropped.
pub struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// `None` where the system gives no thread: then nothing ticks, and nothing else is lost.
    pub fn start(pace: Duration, mut tick: impl FnMut() + Send + 'static) -> Option<Self> {
        let (stop, stopped) = channel();
        let run = move || {
            while stopped.recv_timeout(pace) == Err(RecvTimeoutError::Timeout) {
                tick();
            }
        };
        let thread = std::thread::Builder::new().name("ticker".into()).spawn(run).ok()?;
        Some(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic in the tick was shown already by its thread.
            let _ = thread.join();
        }
    }
}
