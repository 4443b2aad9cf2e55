//! File events to batches of changed paths.
//!
//! Knows nothing of tasks. A batch is a hint, never the truth: the caller compares contents. What this room promises is
//! that no change goes by without a batch: directories are watched, never files; each is subscribed before it is read;
//! a new directory is read after it was subscribed; where events or watches are lost, the batch says to look at
//! everything; directories that get no watch are polled.

pub mod breaker;
pub mod debounce;
mod git;
mod limit;
mod poll;
mod settle;
mod subscription;
mod wanted;
mod worker;

#[cfg(test)]
mod namespace_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

pub use breaker::LoopBreaker;
pub use settle::{Pending, Settler};
pub use wanted::{Ignore, WatchDir};

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::model::{Diagnostic, RepoPath};

use subscription::Subscription;
use wanted::Wanted;
use worker::{Message, Worker};

/// What changed since the last batch.
#[derive(Debug)]
pub struct Batch {
    /// Files and directories. Of a directory that came, went or has another name, all below it may have changed.
    pub paths: BTreeSet<RepoPath>,
    /// Events were lost or there were too many: look at everything. `paths` is empty then.
    pub rescan: bool,
    /// What a person should know, e.g. that watches ran out.
    pub problems: Vec<Diagnostic>,
    /// When the first of it was seen.
    pub since: Instant,
}

impl Batch {
    /// Whether the input `path`, a file or a directory, may be another one now.
    pub fn touches(&self, path: &RepoPath) -> bool {
        if self.rescan {
            return true;
        }
        let mut above = Some(path.clone());
        while let Some(one) = above {
            if self.paths.contains(&one) {
                return true;
            }
            above = one.parent();
        }
        self.paths
            .range(path.clone()..)
            .take_while(|one| one.as_bytes().starts_with(path.as_bytes()))
            .any(|one| one.is_within(path))
    }
}

/// How to watch.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Poll everything (`--poll`): for file systems that send no news and are not known for it.
    pub poll: bool,
    /// Test hook: the reader of events waits for this before each that matters.
    #[cfg(test)]
    pub gate: Option<&'static std::sync::Mutex<()>>,
}

/// Watches until dropped.
pub struct Watcher {
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
    /// What a person should know of the start.
    pub problems: Vec<Diagnostic>,
}

impl Watcher {
    /// Subscribes `dirs` below the absolute path `root`, then returns: what changes from now on is in a batch, so scan
    /// after this. `ignore` says which paths matter to nobody (own targets, logs); `.git` and `.xtask` never do.
    /// `on_batch` is called on the watcher's thread and must be quick: it should post into the caller's queue.
    pub fn start(
        root: &Path,
        dirs: impl IntoIterator<Item = WatchDir>,
        ignore: impl Fn(&RepoPath) -> bool + Send + 'static,
        how: How,
        on_batch: impl Fn(Batch) + Send + 'static,
    ) -> Result<Self, Diagnostic> {
        let failed = |error: std::io::Error| Diagnostic::error("the watch cannot start").cause(error);
        let root = root.canonicalize().map_err(failed)?;
        let (messages, received) = channel();
        let notify = if how.poll { Ok(None) } else { notify_into(messages.clone(), how).map(Some) };
        let (notify, trouble) = notify.map_or_else(|error| (None, Some(error)), |notify| (notify, None));
        let subscription = Subscription::new(root, notify);
        let wanted = Wanted::new(dirs, Box::new(ignore));
        let mut worker = Worker::new(subscription, wanted, received, Box::new(on_batch));
        if let Some(error) = &trouble {
            worker.no_watcher(error);
        }
        let problems = worker.subscribe_all();
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || worker.run()).map_err(failed)?;
        Ok(Self { messages, thread: Some(thread), problems })
    }

    /// To ask whether what was read is still there.
    pub fn settler(&self) -> Settler {
        Settler::new(self.messages.clone())
    }

    /// Changes what is watched, after a reload. When it returns, all of it is subscribed; returns what a person should
    /// know.
    pub fn set_dirs(
        &self,
        dirs: impl IntoIterator<Item = WatchDir>,
        ignore: impl Fn(&RepoPath) -> bool + Send + 'static,
    ) -> Vec<Diagnostic> {
        let (answer, problems) = channel();
        let wanted = Wanted::new(dirs, Box::new(ignore));
        // The thread lives as long as this value, unless it panicked: then there is nothing to change.
        let _ = self.messages.send(Message::SetDirs(wanted, answer));
        problems.recv().unwrap_or_default()
    }
}

impl Drop for Watcher {
    /// What waits is handed on before the thread ends.
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// notify's watcher, posting what matters into `messages`.
fn notify_into(messages: Sender<Message>, how: How) -> notify::Result<notify::RecommendedWatcher> {
    #[cfg(not(test))]
    let _ = how;
    notify::recommended_watcher(move |event| {
        if worker::matters(&event) {
            #[cfg(test)]
            drop(how.gate.map(std::sync::Mutex::lock));
            // Fails only after the watcher was dropped.
            let _ = messages.send(Message::Event(event));
        }
    })
}
