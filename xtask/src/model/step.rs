//! The steps of the protocol by which a task is run and recorded, and a hook that is told of each. Only tests set one:
//! they end the process there. Knows nothing of what the steps do.

use std::sync::Arc;

/// A point in a run. Between any two of them a process may be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Tasks will be started; their records still count.
    Withdrawing,
    /// Their records do not count any more, durably. No action has begun.
    Withdrawn,
    /// A worker has a task, whose actions may have begun.
    Started,
    /// The last action has ended; nothing was looked at yet.
    Acted,
    /// The worker has seen targets and inputs; nobody knows yet.
    Observed,
    /// The main thread knows; nothing is written.
    Received,
    /// The success is written, in a transaction that is still open.
    Recorded,
    /// It is durable; nobody was told.
    Committed,
    /// Everybody was told.
    Told,
    /// The run is in the history; the stat cache is not saved.
    Closed,
}

impl Step {
    /// In the order in which a task passes them.
    pub const ALL: [Self; 10] = [
        Self::Withdrawing,
        Self::Withdrawn,
        Self::Started,
        Self::Acted,
        Self::Observed,
        Self::Received,
        Self::Recorded,
        Self::Committed,
        Self::Told,
        Self::Closed,
    ];
}

/// What is told of each step; nothing, unless a test says so.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<dyn Fn(Step) + Send + Sync>>);

impl Steps {
    pub fn new(hook: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub fn at(&self, step: Step) {
        if let Some(hook) = &self.0 {
            hook(step);
        }
    }
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Steps(hook)" } else { "Steps" })
    }
}
