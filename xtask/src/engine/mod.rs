//! The loop: scheduler, rebuilder, workers and store put together; events out.
//!
//! Never prints and never reads the environment. The main thread owns the scheduler, the records and every decision;
//! workers run actions and post messages to one queue.
//!
//! Approach of a run:
//! - observe every input of the plan at once, in parallel;
//! - take ready tasks: up to date is final at once, the others join their pools (after their setup tasks);
//! - start what has room, withdraw its record first (durably), then wait for a message;
//! - when a task ends: verify its targets, compare its inputs with those before, write its record, go on;
//! - at the end: teardowns in reverse order of start, then the history.

mod again;
mod aside;
mod consider;
mod crew;
mod decide;
mod ended;
mod finish;
mod grow;
mod inputs;
mod interest;
mod job;
mod join;
mod live;
pub mod narrow;
mod parts;
pub mod plan;
mod probe;
pub mod quick;
mod run;
pub mod scope;
mod start;
pub mod still;
mod values;
mod wishes;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use again::{Memory, run_again};
pub use aside::clean;
pub use grow::expand_recorded;
pub use interest::Changes;
pub use live::{Foresight, News};
pub use plan::{Prediction, Status, accept, predict};
pub use run::{Summary, run};
pub use scope::Expander;
pub use wishes::Wish;

use crate::action::ActionSet;
use crate::exec::environment::Variables;
use crate::graph::{Graph, Later, TaskId};
use crate::model::task::Config;
use crate::model::{Diagnostics, RepoPath, Secret, Steps, StopToken, Task};
use crate::store::{Files, Record, StateDb};

/// A repository with its graph and its state: everything that outlives one run (watch makes many).
pub struct Project {
    pub root: PathBuf,
    pub graph: Arc<Graph>,
    pub config: Config,
    pub pools: BTreeMap<Arc<str>, usize>,
    pub actions: ActionSet,
    pub expander: Arc<dyn Expander>,
    pub db: StateDb,
    pub files: Files,
    pub records: HashMap<String, Record>,
    /// Our own environment, as the world gave it.
    pub env: Variables,
    /// For keyed digests of secrets; random, one per workspace.
    pub key: Secret,
    /// Values of params by task, from the command line, the environment, the file and defaults.
    pub params: HashMap<TaskId, BTreeMap<Arc<str>, ParamValue>>,
    /// Remaining words, for tasks with `pos_arg`.
    pub positional: HashMap<TaskId, Vec<String>>,
    pub expand: Option<Arc<ExpandTasks>>,
    /// Values of params of tasks that a run brings to light.
    pub late_params: Option<Arc<LateParams>>,
    pub token: String,
    /// By task: whether it is known to be up to date as long as nothing has run ([`quick::unchanged`]).
    pub unchanged: Vec<bool>,
    /// What the graph is a part of, if it is one: the rest is up to date.
    pub whole: Option<Arc<narrow::Whole>>,
    /// What the last run looked at, for [`still::remember`].
    pub sightings: still::Sightings,
}

/// Reads the tasks that another task printed (`expand_after`): the group and the output.
pub type ExpandTasks = dyn Fn(&Task, &str) -> Result<Vec<Task>, Diagnostics> + Send + Sync;

/// Gives the values of the params of a member that another task printed.
pub type LateParams = dyn Fn(&Task) -> Result<BTreeMap<Arc<str>, ParamValue>, Diagnostics> + Send + Sync;

/// A value of a param, with whether it must be hidden.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamValue {
    pub value: Value,
    pub secret: bool,
}

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tasks at once.
    pub jobs: usize,
    /// Go on with tasks that do not need a failed one.
    pub keep_going: bool,
    /// Run everything in the plan, up to date or not.
    pub always: bool,
    /// Without the order dependencies of what was named.
    pub single: bool,
    /// Run tasks that were told to be ignored.
    pub include_ignored: bool,
    /// Ignored tasks make the run fail.
    pub strict: bool,
    /// As if these files had changed.
    pub what_if: Vec<RepoPath>,
    /// Follows the commands of one task, which runs in any case.
    pub tracer: Option<Tracer>,
    /// Random order where edges allow it, from this seed.
    pub shuffle: Option<u64>,
    /// Members and targets that are named, but come up only when a group is expanded.
    pub later: Vec<Later>,
    pub verbosity: Option<u8>,
    /// Between a polite signal and KILL.
    pub grace: Duration,
    /// The command line, for the history; without secrets.
    pub command: String,
    pub stop: StopToken,
    /// Told of each step of the protocol.
    pub steps: Steps,
    /// What changes while tasks run; only a watch tells.
    pub news: Option<News>,
}

/// A program that is put before each command of a task's actions.
#[derive(Clone, Debug)]
pub struct Tracer {
    pub task: Arc<str>,
    pub words: Arc<[OsString]>,
}

/// So many more tasks than processors run at once: while one waits for its disk, or its end is written down and the next
/// is decided, its processor has work.
const MORE_TASKS: usize = 2;

impl Default for Options {
    fn default() -> Self {
        Self {
            jobs: std::thread::available_parallelism().map_or(2, std::num::NonZero::get) + MORE_TASKS,
            keep_going: false,
            always: false,
            single: false,
            include_ignored: false,
            strict: false,
            what_if: Vec::new(),
            tracer: None,
            shuffle: None,
            later: Vec::new(),
            verbosity: None,
            grace: Duration::from_secs(10),
            command: String::new(),
            stop: StopToken::new(),
            steps: Steps::default(),
            news: None,
        }
    }
}
