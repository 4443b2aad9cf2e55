//! A task as it is meant: resolved, total, without YAML. Knows nothing of how it is decided or run.
//!
//! Text that may hold templates stays text here ([`Template`]): params, results of other tasks and the list of
//! changed inputs are known only when the task is about to run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Place, RepoPath};

/// A name as written in `tasks.yaml`; members are `group:member`.
pub type TaskName = Arc<str>;

/// Text in which `{{ … }}` is replaced before use. Constants (`vars`, the item of `for_each` and `matrix`) are
/// already replaced by the time a [`Task`] exists; what is left refers to params, results and file lists.
pub type Template = Arc<str>;

/// A value with the place it was written at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

/// A named node of the graph. Every field has doit's meaning, with the fixes of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub name: TaskName,
    pub place: Place,
    /// The group it was generated for (`for_each`, `matrix`), e.g. `build` for `build:base`.
    pub group: Option<TaskName>,
    /// For a group made by `for_each` or `matrix`: its members in order. Such a task has no actions.
    pub members: Vec<TaskName>,
    /// First line is shown by `list`.
    pub doc: String,
    /// Shown instead of the name while it runs.
    pub title: Option<Template>,
    pub actions: Vec<Action>,
    pub file_dep: Vec<FileDep>,
    pub targets: Vec<Target>,
    /// Order only; may hold `*`.
    pub task_dep: Vec<At<Arc<str>>>,
    /// Order, and another result of it makes this task run.
    pub result_dep: Vec<At<Arc<str>>>,
    /// Run first, but only if this task must run.
    pub setup: Vec<At<Arc<str>>>,
    /// Tasks (or depfiles) whose values add dependencies.
    pub calc_dep: Vec<At<CalcDep>>,
    pub getargs: Vec<GetArg>,
    pub uptodate: Vec<At<Uptodate>>,
    /// After all tasks, in reverse order of start.
    pub teardown: Vec<Action>,
    /// A failing teardown does not change the exit code.
    pub teardown_best_effort: bool,
    pub clean: Clean,
    pub params: Vec<Param>,
    /// The name under which remaining words of the command line are seen.
    pub pos_arg: Option<Arc<str>>,
    /// 0 shows nothing unless it fails, 1 shows stderr, 2 shows both; `None` is the run's default.
    pub verbosity: Option<u8>,
    /// More paths that count as inputs (with `watch_only`, they only wake the watch).
    pub watch: Vec<FileDep>,
    pub watch_only: bool,
    /// Declared environment: its values are part of the fingerprint.
    pub env: BTreeMap<Arc<str>, Template>,
    /// Names taken over from the caller's environment; their values are part of the fingerprint.
    pub pass_env: Vec<Arc<str>>,
    /// Relative to the root.
    pub cwd: Option<Template>,
    /// argv in front of the text of a shell action, default `["sh", "-c"]`.
    pub shell: Option<Vec<Arc<str>>>,
    pub timeout: Option<Duration>,
    pub retry: Option<Retry>,
    pub pool: Option<Arc<str>>,
    pub mutex: Option<Arc<str>>,
    /// Skips the task (and nothing else) when false.
    pub condition: Option<At<Condition>>,
    /// Each must hold before the first action, or the task fails.
    pub require: Vec<At<Require>>,
    /// Owns the terminal while it runs.
    pub interactive: bool,
    pub delete_on_error: bool,
    /// Inputs that the actions rewrite themselves (formatters): their content after the run is the baseline.
    pub in_out: bool,
    /// Another definition makes it run. Its params and its environment do in any case.
    pub track_definition: bool,
    /// Watch cancels and restarts it when an input changes while it runs.
    pub restart: bool,
    pub run: RunMode,
    /// Delayed expansion: members come from this task's output.
    pub expand_after: Option<At<Arc<str>>>,
    pub tags: Vec<Arc<str>>,
    pub meta: serde_json_text::Json,
}

impl Task {
    /// Only there to be depended on.
    pub fn is_group(&self) -> bool {
        self.actions.is_empty()
    }

    /// Not shown in lists unless asked for.
    pub fn is_private(&self) -> bool {
        self.name.starts_with('_') || self.name.contains(":_")
    }
}

/// One thing a task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub place: Place,
    pub kind: ActionKind,
    pub step: Step,
}

/// What kind of thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionKind {
    /// Text for a shell; interpolated values are quoted.
    Shell(Template),
    /// A program and its arguments, without a shell. A word that is exactly one `{{ list }}` becomes several.
    Argv(Vec<Template>),
    /// A built-in action or one registered in Rust, with its arguments (a JSON object whose strings are templates).
    BuiltIn { name: Arc<str>, args: serde_json_text::Json },
}

/// What a step may set for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub cwd: Option<Template>,
    pub env: BTreeMap<Arc<str>, Template>,
    pub shell: Option<Vec<Arc<str>>>,
    pub timeout: Option<Duration>,
    pub ignore_error: bool,
    /// Stores stdout under this name in the task's values.
    pub save: Option<Arc<str>>,
}

/// One entry of `file_dep`: a file, a glob, a directory (recursive), or the negation of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDep {
    /// Relative to the root, normalised, without the `!`; may hold `* ? [ { **`.
    pub pattern: Arc<str>,
    pub negated: bool,
    pub place: Place,
}

/// One entry of `targets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub path: RepoPath,
    /// Written with a trailing `/`.
    pub directory: bool,
    pub policy: TargetPolicy,
    pub optional: bool,
    pub place: Place,
}

/// How a target is compared with the last success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetPolicy {
    /// `hash` up to 64 MiB, `stat` above.
    #[default]
    Auto,
    Exists,
    Stat,
    Hash,
}

/// One entry of `calc_dep`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CalcDep {
    /// A task whose values `file_dep`, `task_dep`, `uptodate`, `calc_dep` are added.
    Task(Arc<str>),
    /// A file in the format of make (`.d`) or a JSON list of paths, written by this task's last run.
    Depfile(RepoPath),
}

/// One entry of `getargs`: `name: task.key`, `name: task` (the whole map), also for groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetArg {
    pub name: Arc<str>,
    pub task: Arc<str>,
    pub key: Option<Arc<str>>,
    pub place: Place,
}

/// One entry of `uptodate`. All are evaluated, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Uptodate {
    Bool(bool),
    Null,
    /// True if the command exits with 0; its output is hidden.
    Shell(Template),
    RunOnce,
    /// False when the last success is older.
    Timeout(Duration),
    /// Any value; compared in canonical form with that of the last success.
    ConfigChanged(serde_json_text::Json),
    /// Compares a time of a path with that of the last success.
    Stat {
        path: RepoPath,
        field: StatField,
    },
    /// Compares the output of a command with that of the last success.
    OutputOf(Template),
    /// True if the engine holds this image, with the id of the last success.
    Image(Template),
    /// True if the registry's tag has the digest of the last success.
    RemoteTag(Template),
    /// Registered in Rust, by name.
    Named {
        name: Arc<str>,
        args: serde_json_text::Json,
    },
}

/// Which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatField {
    Access,
    Status,
    Modify,
}

/// What `clean` does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clean {
    /// Removes the targets.
    #[default]
    Targets,
    Nothing,
    Actions(Vec<Action>),
}

/// When a task without inputs runs (fix 36); a task with inputs is `OnChange`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunMode {
    #[default]
    OnChange,
    Always,
    WhenMissing,
    Once,
}

/// `if`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    Bool(bool),
    /// True if the command exits with 0.
    Shell(Template),
}

/// `require`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Require {
    /// Must exit with 0.
    pub shell: Template,
    pub message: Option<Template>,
}

/// `retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts after the first.
    pub times: u32,
    /// Before the first retry; doubled each time, at most one minute.
    pub delay: Duration,
}

/// One option of a task on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    pub name: Arc<str>,
    pub place: Place,
    pub kind: ParamKind,
    /// `--long`; the name with `_` as `-` unless given.
    pub long: Arc<str>,
    pub short: Option<char>,
    pub env: Option<Arc<str>>,
    /// As text (JSON text for lists); `None` = not given.
    pub default: Option<Arc<str>>,
    pub choices: Vec<Arc<str>>,
    /// `--no-…` for a bool.
    pub inverse: Option<Arc<str>>,
    /// A regular expression that the whole value must match.
    pub pattern: Option<Arc<str>>,
    pub required: bool,
    /// Given, the task is run without the tasks that it needs (as by `--single`), and no other option is required.
    pub alone: bool,
    /// The value names the member of the group that is run.
    pub member: bool,
    /// Never shown, logged or stored; enters the fingerprint only as a keyed digest.
    pub secret: bool,
    pub help: String,
}

/// The type of a param.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParamKind {
    #[default]
    String,
    Int,
    Bool,
    Float,
    Path,
    Semver,
    Enum,
    List,
}

/// JSON kept as canonical text (keys sorted), so that it can be compared, hashed and stored in a binary form.
pub mod serde_json_text {
    use std::sync::Arc;

    /// Canonical JSON text.
    #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
    pub struct Json(Arc<str>);

    impl Json {
        pub fn new(value: &serde_json::Value) -> Self {
            let mut value = value.clone();
            value.sort_all_objects();
            Self(value.to_string().into())
        }

        pub fn text(&self) -> &str {
            &self.0
        }

        /// The value again. Canonical text was made by `new`, so it parses.
        pub fn value(&self) -> serde_json::Value {
            serde_json::from_str(&self.0).unwrap_or_default()
        }
    }

    impl Default for Json {
        fn default() -> Self {
            Self("null".into())
        }
    }
}

/// Everything `tasks.yaml` says beside the tasks.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Taskfile {
    /// In the order of definition, groups before their members.
    pub tasks: Vec<Task>,
    pub config: Config,
    /// Name to text (`vars:` after environment and defaults).
    pub vars: BTreeMap<Arc<str>, Arc<str>>,
    /// Name to the number of tasks that may run at once.
    pub pools: BTreeMap<Arc<str>, usize>,
    /// Path of the spec of the stack, e.g. `images/spec.yml`.
    pub stack: Option<At<Arc<str>>>,
    pub hosts: BTreeMap<Arc<str>, Host>,
    pub storage: Storage,
    /// Names of environment variables that `vars` and `params` looked at: part of the key of a cached form.
    pub env_read: Vec<Arc<str>>,
}

/// `storage:` of the file: folders that are known by an id.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Storage {
    /// Id to path, relative to the root or absolute.
    pub ids: BTreeMap<Arc<str>, Arc<str>>,
    /// Paths of folders whose sub-folders have ids.
    pub folders: Vec<Arc<str>>,
}

/// `config:` of the file.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    pub default_tasks: Vec<At<Arc<str>>>,
    pub jobs: Option<usize>,
    pub verbosity: Option<u8>,
    pub continue_on_failure: bool,
    pub reporter: Option<Arc<str>>,
    /// Seconds between TERM and KILL.
    pub grace: Option<Duration>,
    /// Command before a task (`task: {param: value}`): defaults for params from the file.
    pub params: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<str>>>,
    pub minversion: Option<Arc<str>>,
    pub checker: Checker,
    /// Where images are built and kept unless it is said otherwise: names of `hosts` or docker contexts, with commas.
    pub host: Option<Arc<str>>,
    /// A repository through which hosts hand on images that were never published, e.g. `registry:5000/team/transfer`.
    pub transfer: Option<Arc<str>>,
}

/// How an input is compared with the last success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Checker {
    /// By its content; times do not count.
    #[default]
    Content,
    /// By its time of modification, newer or older; content does not count.
    Timestamp,
}

/// One entry of `hosts:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub place: Place,
    /// `user@host` or `host`, for ssh and rsync.
    pub ssh: Option<Arc<str>>,
    /// Name of a Docker context.
    pub context: Option<Arc<str>>,
    /// `unix://`, `tcp://` or `ssh://`.
    pub docker: Option<Arc<str>>,
    /// Directory on the host below which everything is kept.
    pub root: Option<Arc<str>>,
    pub slots: Option<usize>,
    pub port: Option<u16>,
    pub identity: Option<Arc<str>>,
    pub compress: Compress,
    pub build: HostBuild,
}

/// Whether copies to a host are compressed on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    /// Where the way to it is measured to be slow.
    #[default]
    Auto,
    Always,
    Never,
}

impl From<bool> for Compress {
    fn from(always: bool) -> Self {
        if always { Self::Always } else { Self::Never }
    }
}

/// How images are built on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostBuild {
    /// Its engine is spoken to, whatever the way to it is.
    #[default]
    Engine,
    /// The context is copied to a private folder of the host, and its docker command line builds there.
    Staged,
}
