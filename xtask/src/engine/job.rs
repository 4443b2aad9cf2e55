//! What a worker is given and what it gives back. Plain data between threads.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::interest::Changes;
use super::scope::Expander;
use super::wishes::Wish;
use crate::action::{ActionSet, Failure};
use crate::graph::TaskId;
use crate::model::{Diagnostic, Digest, Event, Reason, RepoPath, Steps, StopToken, Task};
use crate::rebuild::Part;
use crate::store::logs::LogPlace;
use crate::store::{FileState, StatTuple};

/// Everything that can wake the main thread.
pub(super) enum Message {
    Output(Event),
    Probed(TaskId, Box<Probed>),
    Finished(TaskId, Box<Finished>),
    /// Files changed while tasks run.
    Changed(Changes),
    /// A person asked for something.
    Wish(Wish),
}

/// What every worker needs of one task; cheap to clone parts are shared.
pub(super) struct Job {
    pub task: Arc<Task>,
    pub root: Arc<PathBuf>,
    /// The same, open: files are looked at from there.
    pub root_fd: Arc<OwnedFd>,
    pub actions: ActionSet,
    pub expander: Arc<dyn Expander>,
    pub scope: Value,
    pub env: Arc<Vec<(OsString, OsString)>>,
    pub resources: BTreeMap<Arc<str>, Value>,
    pub previous: Option<Value>,
    pub stop: StopToken,
    pub steps: Steps,
    pub grace: Duration,
    /// Comes before the words of each command of an action.
    pub tracer: Option<Arc<[OsString]>>,
    /// Where what changes from now on must be told from what was there by the times of files: now, in nanoseconds
    /// since 1970.
    pub begun: Option<i64>,
    /// Inputs as they were decided upon, to be compared after the last action.
    pub inputs: Vec<(RepoPath, Option<StatTuple>)>,
    /// What is replaced in all output and in values.
    pub secrets: Vec<String>,
    /// Targets to be verified and hashed after the last action.
    pub targets: Vec<(RepoPath, bool)>,
    pub log: LogPlace,
}

/// What was found out about the outside world before a verdict.
#[derive(Default)]
pub(super) struct Probed {
    /// `if` is false.
    pub skip: bool,
    pub false_checks: Vec<String>,
    pub parts: Vec<Part>,
    pub forced: Vec<Reason>,
    /// Every action's effect is there.
    pub satisfied: bool,
    pub values: Option<Map<String, Value>>,
    pub result: Option<Digest>,
    pub failure: Option<Failure>,
}

/// How the actions of a task went.
pub(super) struct Finished {
    pub failure: Option<Failure>,
    pub values: Map<String, Value>,
    pub result: Digest,
    /// Stdout of the last command, for `expand_after` and `calc_dep`.
    pub stdout: Vec<u8>,
    pub remark: Option<String>,
    pub duration: Duration,
    pub tail: Vec<String>,
    pub has_log: bool,
    /// Inputs that are not as they were.
    pub moved_inputs: Vec<RepoPath>,
    pub targets: Vec<(RepoPath, FileState)>,
    pub leaky: Option<Diagnostic>,
}
