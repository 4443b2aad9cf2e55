//! What a built-in action is: the trait that the ones here implement, and those that another repository registers.
//!
//! Knows nothing of the graph or of when an action runs.

mod files;
pub mod image;
mod sync;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::graph::Links;
use crate::model::{Diagnostic, Digest, Outcome, Reason, StopToken, Stream};
use crate::rebuild::Part;

/// One kind of action, e.g. `image_build`. Implementations hold what they need (an engine, a stack) themselves.
pub trait ActionType: Send + Sync {
    /// The key under which tasks.yaml uses it.
    fn name(&self) -> &str;

    /// The arguments it takes, so that wrong ones are found when tasks.yaml is read.
    fn arguments(&self) -> Arguments {
        Arguments { required: &[], optional: &["*"], short: None }
    }

    /// What it takes and gives, from its arguments alone: without looking at anything that may change.
    ///
    /// # Errors
    /// Arguments that are wrong.
    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let _ = args;
        Ok(Links::default())
    }

    /// Whether `links` hangs on its arguments alone. If not, a run looks at tasks.yaml anew each time.
    fn links_are_constant(&self) -> bool {
        false
    }

    /// Looks at the outside world before the verdict; only called if its links say `observes`.
    ///
    /// # Errors
    /// What it needs to see cannot be seen: the task ends in an error.
    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        let _ = call;
        Ok(Observed::default())
    }

    /// Does it. Called on a worker thread.
    ///
    /// # Errors
    /// Why it failed.
    fn run(&self, call: &Call<'_>) -> Result<Done, Failure>;
}

/// The form of an action's arguments.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    pub required: &'static [&'static str],
    /// `*` takes any.
    pub optional: &'static [&'static str],
    /// The one that is meant where a text or a list stands in place of the map.
    pub short: Option<&'static str>,
}

/// What an action is given.
pub struct Call<'a> {
    /// The root of the repository.
    pub root: &'a Path,
    pub task: &'a str,
    /// The arguments, templates expanded.
    pub args: &'a Value,
    /// The values of the tasks that provide the needed resources, by resource.
    pub resources: &'a BTreeMap<Arc<str>, Value>,
    /// The values of this task's last success.
    pub previous: Option<&'a Value>,
    /// The environment for processes that it starts.
    pub env: &'a [(std::ffi::OsString, std::ffi::OsString)],
    pub stop: &'a StopToken,
    pub out: &'a dyn Output,
}

/// Where an action's output goes.
pub trait Output: Sync {
    /// One line without its newline: to the screen and the task's log.
    fn line(&self, stream: Stream, line: &[u8]);

    /// How far it is: `done` of `total` (0 = unknown) and a short text.
    fn progress(&self, done: u64, total: u64, text: &str);
}

/// What an action saw before the verdict.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Parts of the fingerprint.
    pub parts: Vec<Part>,
    /// Reasons to run whatever the record says.
    pub forced: Vec<Reason>,
    /// The effect is there already, record or not.
    pub satisfied: bool,
    /// The values that a run would produce, where they are known without one.
    pub values: Option<Map<String, Value>>,
    pub result: Option<Digest>,
}

/// What an action leaves behind.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// What `result_dep` compares; the values if absent.
    pub result: Option<Digest>,
    /// For `getargs` and for tasks that need its resources.
    pub values: Map<String, Value>,
    /// A fact worth a word, e.g. `same image as before`.
    pub remark: Option<String>,
}

/// Why an action did not succeed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// An error of the machinery (exit 2) rather than a failure of the work (exit 1).
    pub is_error: bool,
    /// It was told to stop.
    pub interrupted: bool,
    pub diagnostic: Diagnostic,
}

impl Failure {
    /// The work itself failed: a command, a test, a build.
    pub fn failed(diagnostic: Diagnostic) -> Self {
        Self { is_error: false, interrupted: false, diagnostic }
    }

    /// It could not even be tried.
    pub fn error(diagnostic: Diagnostic) -> Self {
        Self { is_error: true, interrupted: false, diagnostic }
    }

    /// It was told to stop.
    pub fn interrupted(task: &str) -> Self {
        Self {
            is_error: false,
            interrupted: true,
            diagnostic: Diagnostic::error(format!("task `{task}` was interrupted")),
        }
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::failed(diagnostic)
    }
}

/// A check that an item of `uptodate` names, e.g. `image`.
pub trait Check: Send + Sync {
    fn name(&self) -> &str;

    /// Looks; changes nothing.
    ///
    /// # Errors
    /// It cannot be seen: the task ends in an error.
    fn look(&self, call: &Call<'_>) -> Result<Seen, Failure>;
}

/// What a check saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its own opinion, if it has one.
    pub satisfied: Option<bool>,
    /// A value that is compared with that of the last success.
    pub value: Option<String>,
    /// A reason to run whatever the record says.
    pub reason: Option<Reason>,
}

/// How one use of an action ended in a run.
#[derive(Clone, Debug)]
pub struct Ending<'a> {
    /// The kind of action.
    pub action: &'a str,
    /// As in tasks.yaml: templates of params are not expanded.
    pub args: Value,
    /// Of its task.
    pub outcome: Outcome,
    /// The values of its task; null where it failed.
    pub values: Arc<Value>,
    /// Why it failed.
    pub problem: Option<&'a str>,
}

/// Writes down what a run did, for people and other programs. Dry runs are none.
pub trait Chronicle: Send + Sync {
    /// Told once, when every task of a run is final: how each use of an action ended, in that order.
    ///
    /// # Errors
    /// It cannot be written down: the run ends with code 2.
    fn run_ended(&self, endings: &[Ending<'_>]) -> Result<(), Diagnostic>;

    /// Told before the first action of each task: from then on, what was seen outside may be another.
    fn task_starts(&self) {}
}

/// All kinds of actions and checks that a taskfile may use.
#[derive(Clone, Default)]
pub struct ActionSet {
    actions: BTreeMap<String, Arc<dyn ActionType>>,
    checks: BTreeMap<String, Arc<dyn Check>>,
    chronicles: Vec<Arc<dyn Chronicle>>,
}

impl ActionSet {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; a later one replaces an earlier one of the same name.
    pub fn add(&mut self, action: impl ActionType + 'static) {
        self.add_shared(Arc::new(action));
    }

    pub fn add_shared(&mut self, action: Arc<dyn ActionType>) {
        self.actions.insert(action.name().to_owned(), action);
    }

    /// Adds a check; a later one replaces an earlier one of the same name.
    pub fn add_check(&mut self, check: impl Check + 'static) {
        self.checks.insert(check.name().to_owned(), Arc::new(check));
    }

    /// Adds one more that is told how runs end.
    pub fn add_chronicle(&mut self, chronicle: impl Chronicle + 'static) {
        self.chronicles.push(Arc::new(chronicle));
    }

    pub fn chronicles(&self) -> &[Arc<dyn Chronicle>] {
        &self.chronicles
    }

    pub fn check(&self, name: &str) -> Option<&Arc<dyn Check>> {
        self.checks.get(name)
    }

    pub fn get(&self, name: &str) -> Option<&Arc<dyn ActionType>> {
        self.actions.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn ActionType>> {
        self.actions.values()
    }

    pub fn check_names(&self) -> Vec<&str> {
        self.checks.keys().map(String::as_str).collect()
    }

    /// Adds everything of another set.
    pub fn extend(&mut self, other: &Self) {
        self.actions.extend(other.actions.iter().map(|(name, action)| (name.clone(), action.clone())));
        self.checks.extend(other.checks.iter().map(|(name, check)| (name.clone(), check.clone())));
        self.chronicles.extend(other.chronicles.iter().cloned());
    }

    pub fn names(&self) -> Vec<&str> {
        self.actions.keys().map(String::as_str).collect()
    }
}

/// A required text argument.
///
/// # Errors
/// It is absent or no text.
pub fn text<'a>(action: &str, args: &'a Value, name: &str) -> Result<&'a str, Diagnostic> {
    args.get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| Diagnostic::error(format!("action `{action}` needs the argument `{name}` as text")))
}

/// The built-in actions, and what they must be told once tasks.yaml was read.
pub(crate) struct BuiltIn {
    pub actions: ActionSet,
    pub services: Arc<image::Services>,
    /// For the environments.
    pub environments: Arc<image::Services>,
    pub hosts: sync::Hosts,
}

/// The built-in actions for the repository at `root`.
pub(crate) fn built_in(root: &Path, world: &crate::world::World) -> BuiltIn {
    let mut actions = ActionSet::new();
    let services = image::Services::new(root, &world.env);
    image::add(&mut actions, &services);
    let environments = image::Services::with_environments(root, &world.env);
    image::add_for_environments(&mut actions, &environments);
    actions.add(files::Copy);
    actions.add(files::Remove);
    let hosts = sync::Hosts::default();
    actions.add(sync::Rsync(hosts.clone()));
    BuiltIn { actions, services, environments, hosts }
}
