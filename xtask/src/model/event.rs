//! Everything a reporter can be told. Knows nothing of how it is shown.

use std::sync::Arc;
use std::time::Duration;

use super::{Diagnostic, Reason};

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Outcome {
    /// Nothing to do; nothing was started.
    UpToDate,
    /// Its actions succeeded.
    Ran,
    /// An action failed (exit code 1 to 125), a target is missing, a test failed.
    Failed,
    /// Something went wrong while executing: a missing input, a missing program, a signal.
    Error,
    /// A task it needs failed; its own record is untouched.
    Unmet,
    /// Told to be ignored, or needs a task that is.
    Ignored,
    /// Cut short by a signal or by the end of the run.
    Interrupted,
    /// Its `if` is false.
    Skipped,
}

impl Outcome {
    /// The stable name used in JSON and on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "up-to-date",
            Self::Ran => "ran",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Unmet => "unmet",
            Self::Ignored => "ignored",
            Self::Interrupted => "interrupted",
            Self::Skipped => "skipped",
        }
    }

    /// Whether tasks that need this one may go on.
    pub fn is_good(self) -> bool {
        matches!(self, Self::UpToDate | Self::Ran | Self::Skipped)
    }
}

/// What the rebuilder decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    UpToDate,
    Run(Vec<Reason>),
    Error(Box<Diagnostic>),
    Ignored,
}

impl Verdict {
    /// The stable name used in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UpToDate => "up-to-date",
            Self::Run(_) => "run",
            Self::Error(_) => "error",
            Self::Ignored => "ignored",
        }
    }
}

/// Where a line of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// How many tasks ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub up_to_date: usize,
    pub ran: usize,
    pub failed: usize,
    pub error: usize,
    pub unmet: usize,
    pub ignored: usize,
    pub interrupted: usize,
    pub skipped: usize,
}

impl Counts {
    /// Tasks that ended in any way.
    pub fn all(&self) -> usize {
        let Self { up_to_date, ran, failed, error, unmet, ignored, interrupted, skipped } = self;
        up_to_date + ran + failed + error + unmet + ignored + interrupted + skipped
    }

    pub fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::UpToDate => &mut self.up_to_date,
            Outcome::Ran => &mut self.ran,
            Outcome::Failed => &mut self.failed,
            Outcome::Error => &mut self.error,
            Outcome::Unmet => &mut self.unmet,
            Outcome::Ignored => &mut self.ignored,
            Outcome::Interrupted => &mut self.interrupted,
            Outcome::Skipped => &mut self.skipped,
        } += 1;
    }
}

/// One thing that happened, in the order in which it happened.
#[derive(Clone, Debug)]
pub enum Event {
    RunStarted {
        run_id: String,
        /// Tasks in the plan, groups and private ones left out.
        tasks: usize,
        workers: usize,
        /// Letters of the longest of their names, so that columns need not move.
        widest: usize,
        /// Sum of the recorded durations of the tasks in the plan that may run, if known.
        expected: Option<Duration>,
    },
    TaskDecided {
        task: Arc<str>,
        verdict: Verdict,
        /// Only in a dry run: whether it runs depends on what these tasks make. Empty: the verdict is certain.
        after: Vec<Arc<str>>,
        /// As in `TaskFinished`: such a task gets no line of its own.
        hidden: bool,
    },
    TaskStarted {
        task: Arc<str>,
        title: Arc<str>,
        /// From the last success.
        expected: Option<Duration>,
        /// 0 shows none of its output unless it fails, 1 its stderr, 2 both.
        verbosity: u8,
        /// It owns the terminal until it finishes.
        interactive: bool,
    },
    /// Whole lines (or a last partial one) of a task's output, without the final newline.
    TaskOutput { task: Arc<str>, stream: Stream, line: Vec<u8> },
    /// Progress of a long action: a build step, bytes of a transfer.
    TaskProgress {
        task: Arc<str>,
        done: u64,
        total: u64,
        /// e.g. `[2/5] RUN apt-get install`, or `12.1 MB/s`.
        text: String,
    },
    TaskFinished {
        task: Arc<str>,
        outcome: Outcome,
        duration: Duration,
        /// Its share of the `expected` of `RunStarted`: what it took at its last success.
        expected: Option<Duration>,
        /// Why it failed, or which task it needed failed.
        problem: Option<Box<Diagnostic>>,
        /// The last lines of its output, if it failed.
        tail: Vec<String>,
        /// Relative to the root.
        log: Option<String>,
        /// For `Unmet` and `Ignored`: the tasks at the root of it, so that a summary can say what each failure cost.
        because: Vec<Arc<str>>,
        /// A fact about the result that is worth a word, e.g. `same image as before`.
        remark: Option<String>,
        /// Members and groups without actions, and names that start with `_`.
        hidden: bool,
        verbosity: u8,
    },
    /// A remark that belongs to no task.
    Notice(Box<Diagnostic>),
    /// Watch saw changes and is about to run what they concern.
    WatchChanged {
        /// The first few, relative to the root.
        paths: Vec<String>,
        /// How many there are in all.
        total: usize,
        /// Events were lost or a directory is new: everything was looked at again.
        rescan: bool,
    },
    /// Tasks came into a run that goes on, because services do.
    TasksJoined {
        /// How many of them are shown.
        tasks: usize,
    },
    /// What ran beside services has ended, and they go on: as the end of a run, while the run goes on.
    WatchServing {
        exit: u8,
        /// Since the last such moment.
        counts: Counts,
        duration: Duration,
        saved: Duration,
        /// How many tasks failed when they ran last, or could not run because of those.
        bad: usize,
    },
    /// A person asked for more while tasks run, and gets it after this run: a look at everything, or the failed tasks.
    WatchQueued { failed_only: bool },
    /// A person asked for the failed tasks, and there are none.
    WatchNoneFailed,
    /// A person asked what is going on while tasks run.
    WatchStatus(Box<WatchStatus>),
    /// Watch has nothing to do.
    WatchIdle {
        /// Whether keys are read, so that a reporter may name them.
        keys: bool,
        /// How many tasks failed when they ran last, or could not run because of those.
        bad: usize,
        /// What says which tasks there are cannot be understood: they are those of before.
        broken: bool,
    },
    RunFinished {
        exit: u8,
        counts: Counts,
        duration: Duration,
        /// Sum of the recorded durations of the tasks that were up to date.
        saved: Duration,
    },
}

/// What a watch is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchStatus {
    /// With how long each has been running.
    pub running: Vec<(Arc<str>, Duration, Vec<Reason>)>,
    /// They run as soon as there is room.
    pub queued: Vec<(Arc<str>, Vec<Reason>)>,
    /// How many have to wait for others.
    pub waiting: usize,
    /// While nothing but services runs: what a look at everything would start.
    pub would_run: Option<Vec<(Arc<str>, Vec<Reason>)>>,
    /// The first few paths that changed meanwhile, for the next round.
    pub changed: Vec<String>,
}
