//! From what was observed to a verdict: puts the fingerprint together. Shared by runs, dry runs, list and explain, so
//! that they can never disagree.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::inputs::{self, Extra, Inputs};
use super::job::Probed;
use super::{Options, ParamValue, Project};
use crate::graph::{TaskId, Why};
use crate::model::digest::Hasher;
use crate::model::task::{ActionKind, CalcDep, Checker, StatField, TargetPolicy, Uptodate};
use crate::model::{Diagnostic, Digest, Reason, RepoPath, Task, Verdict};
use crate::rebuild::{self, Fingerprint, Observation, Part, PartKey, PartValue, TraceTarget};
use crate::store::FileState;
use crate::store::db::Success;

/// Targets above this size are compared by stat unless they say otherwise.
const HASH_LIMIT: u64 = 64 << 20;

/// The result of a task that is final: what others may take from it.
#[derive(Clone, Debug)]
pub(super) struct Result_ {
    pub digest: Digest,
    pub values: Arc<Value>,
    /// Stdout of its last action, kept for `expand_after` only while the run lasts.
    pub stdout: Arc<[u8]>,
}

impl Default for Result_ {
    fn default() -> Self {
        Self { digest: Digest::of(b"none"), values: Arc::new(Value::Object(Map::new())), stdout: Arc::from([]) }
    }
}

/// A verdict with everything that it was made of.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub verdict: Verdict,
    pub fingerprint: Fingerprint,
    pub inputs: Arc<Inputs>,
    pub changed: Vec<RepoPath>,
    pub targets: Vec<TraceTarget>,
}

/// What a decision needs beside the project.
pub(super) struct Given<'a> {
    pub options: &'a Options,
    pub results: &'a HashMap<TaskId, Result_>,
    pub extra: &'a Extra,
    pub inputs: Option<&'a Arc<Inputs>>,
    /// What they were some time before, where nothing was added to what the task declares.
    pub before: Option<&'a Arc<Inputs>>,
    pub probed: Option<&'a Probed>,
    /// More uptodate items, from calc_dep.
    pub calculated: &'a [Uptodate],
    /// Milliseconds since 1970.
    pub now: i64,
}

/// Decides one task. Missing or unreadable inputs are an error, always before anything else.
pub(super) fn decide(project: &mut Project, id: TaskId, given: &Given<'_>) -> Decision {
    let graph = project.graph.clone();
    let before = || given.before.filter(|before| before.stand(&project.root, &mut project.files));
    let inputs = given.inputs.or_else(before).cloned();
    let inputs = inputs.unwrap_or_else(|| Arc::new(inputs::expand(&graph, &project.root, id, given.extra)));
    let mut decision = Decision {
        verdict: Verdict::UpToDate,
        fingerprint: Fingerprint::default(),
        inputs: inputs.clone(),
        changed: Vec::new(),
        targets: Vec::new(),
    };
    if let Some(problem) = inputs::problem(&graph, &mut project.files, id, &inputs) {
        decision.verdict = Verdict::Error(Box::new(problem));
        return decision;
    }
    let name = graph.name(id).to_string();
    let record = project.records.get(&name).cloned().unwrap_or_default();
    match observe(project, id, given, &inputs, record.success.as_ref()) {
        Err(problem) => decision.verdict = Verdict::Error(Box::new(problem)),
        Ok(seen) => {
            let trace = record.success.as_ref().map(|success| &success.trace);
            let db = &project.db;
            let mut old: Option<Fingerprint> = None;
            let mut parts = || old.get_or_insert_with(|| db.parts(&name)).clone();
            decision.verdict = rebuild::decide(&seen, trace, &mut parts, record.attempt);
            decision.changed = match trace {
                Some(trace) if trace.fingerprint == seen.fingerprint.digest() => Vec::new(),
                Some(_) => seen.fingerprint.changed_inputs(Some(&parts())),
                None => seen.fingerprint.changed_inputs(None),
            };
            decision.targets = seen.targets;
            decision.fingerprint = seen.fingerprint;
        }
    }
    decision
}

fn observe(
    project: &mut Project,
    id: TaskId,
    given: &Given<'_>,
    inputs: &Inputs,
    success: Option<&Success>,
) -> Result<Observation, Diagnostic> {
    let graph = project.graph.clone();
    let (node, task) = (graph.node(id), graph.task(id));
    let mut seen = Observation { run_mode: task.run, ..Observation::default() };
    let mut parts = definition(task);
    if node.prints_tasks {
        // Its output is kept from the run on in which somebody wants it.
        parts.push(Part { key: PartKey::Definition("prints tasks".into()), value: PartValue::Text("yes".into()) });
    }
    for path in &inputs.paths {
        // What may be absent (depfiles, optional paths) counts as absent.
        let value = input(project.config.checker, project.files.peek(path));
        parts.push(Part { key: PartKey::FileDep(path.clone()), value });
        if given.options.what_if.contains(path) {
            seen.forced.push(Reason::FileDepChanged {
                path: path.lossy(),
                old: String::new(),
                new: "as if changed".into(),
            });
        }
    }
    let watched = !task.watch.is_empty() && !task.watch_only;
    seen.has_file_dep =
        !task.file_dep.is_empty() || !given.extra.file_dep.is_empty() || watched || !node.links.inputs.is_empty();
    let mut compares = params(project, id, task, &mut parts);
    environment(project, task, &mut parts);
    for edge in node.needs.iter().filter(|edge| edge.why == Why::ResultDep) {
        let digest = given.results.get(&edge.to).map_or_else(|| Result_::default().digest, |result| result.digest);
        parts.push(Part { key: PartKey::Result(graph.name(edge.to).clone()), value: PartValue::Digest(digest) });
        compares = true;
        seen.has_check = true;
    }
    for arg in &task.getargs {
        let value = argument(&graph, given.results, &arg.task, arg.key.as_deref())?;
        // The name of the task alone is its result, which may be in `result_dep`.
        let label = format!("{}.{}", arg.task, arg.key.as_deref().unwrap_or("*"));
        parts.push(Part { key: PartKey::Result(label.into()), value: short_or_digest(&value.to_string()) });
        compares = true;
        seen.has_check = true;
    }
    for (index, item) in task.uptodate.iter().map(|item| &item.value).chain(given.calculated).enumerate() {
        let Some(checked) = check(project, index, item)? else { continue };
        seen.has_check = true;
        compares |= checked.is_some();
        match checked {
            None if is_false(item, success, given.now) => seen.false_checks.push(words(item)),
            None => {}
            Some(part) => parts.extend(part),
        }
    }
    if let Some(probed) = given.probed {
        seen.false_checks.extend(probed.false_checks.iter().cloned());
        seen.forced.extend(probed.forced.iter().cloned());
        seen.has_check |= node.links.observes && !probed.parts.is_empty();
        compares |= !probed.parts.is_empty();
        parts.extend(probed.parts.iter().cloned());
        seen.satisfied = probed.satisfied;
    }
    if given.options.always {
        seen.forced.push(Reason::Always);
    }
    // Something is compared with the last success, and there is none.
    seen.has_file_dep |= compares && success.is_none() && seen.has_check;
    targets(project, id, &mut seen);
    seen.fingerprint = Fingerprint::new(parts);
    Ok(seen)
}

/// The fields of a task that change what its actions do.
fn definition(task: &Task) -> Vec<Part> {
    let mut parts = Vec::new();
    if !task.track_definition {
        return parts;
    }
    let mut add = |field: String, value: PartValue| parts.push(Part { key: PartKey::Definition(field.into()), value });
    for (index, action) in task.actions.iter().enumerate() {
        let text = match &action.kind {
            ActionKind::Shell(text) => text.to_string(),
            ActionKind::Argv(words) => format!("{words:?}"),
            ActionKind::BuiltIn { name, args } => format!("{name} {}", args.text()),
        };
        add(format!("actions[{index}]"), short_or_digest(&text));
        let step = &action.step;
        if *step != Default::default() {
            let rest = format!("{:?} {:?} {:?} {:?}", step.cwd, step.env, step.shell, step.ignore_error);
            add(format!("actions[{index}] settings"), PartValue::Digest(Digest::of(rest.as_bytes())));
        }
    }
    if let Some(cwd) = &task.cwd {
        add("cwd".into(), PartValue::Text(cwd.clone()));
    }
    if let Some(shell) = &task.shell {
        add("shell".into(), PartValue::Text(format!("{shell:?}").into()));
    }
    if !task.targets.is_empty() {
        let mut paths: Vec<String> = task.targets.iter().map(|target| target.path.lossy()).collect();
        paths.sort_unstable();
        add("targets".into(), short_or_digest(&paths.join(", ")));
    }
    parts
}

/// An input as the checker compares it.
fn input(checker: Checker, state: &FileState) -> PartValue {
    match (checker, state) {
        (Checker::Timestamp, FileState::File { stat, .. }) => {
            PartValue::Text(format!("modified at {} ns", stat.mtime_ns).into())
        }
        _ => state.signature().map_or(PartValue::Absent, PartValue::Digest),
    }
}

fn short_or_digest(text: &str) -> PartValue {
    if text.len() <= 200 { PartValue::Text(text.into()) } else { PartValue::Digest(Digest::of(text.as_bytes())) }
}

/// Params that the task's own text mentions. True if there is one.
fn params(project: &Project, id: TaskId, task: &Task, parts: &mut Vec<Part>) -> bool {
    let Some(values) = project.params.get(&id) else { return false };
    let mut any = false;
    for (name, ParamValue { value, secret }) in values.iter().filter(|(name, _)| mentions(task, name)) {
        let value = if *secret {
            let mut hasher = Hasher::new();
            hasher.field(project.key.expose()).field(value.to_string());
            PartValue::Digest(hasher.finish())
        } else {
            value.as_str().map_or_else(|| short_or_digest(&value.to_string()), short_or_digest)
        };
        parts.push(Part { key: PartKey::Param(name.clone()), value });
        any = true;
    }
    if let (Some(name), Some(words)) = (&task.pos_arg, project.positional.get(&id)) {
        parts.push(Part { key: PartKey::Param(name.clone()), value: short_or_digest(&format!("{words:?}")) });
        any = true;
    }
    any
}

/// Whether any template of the task's actions, environment or cwd has this name in it.
fn mentions(task: &Task, name: &str) -> bool {
    let in_text = |text: &str| text.contains('{') && text.contains(name);
    task.actions.iter().any(|action| {
        let own = match &action.kind {
            ActionKind::Shell(text) => in_text(text),
            ActionKind::Argv(words) => words.iter().any(|word| in_text(word)),
            ActionKind::BuiltIn { args, .. } => in_text(args.text()),
        };
        own || action.step.env.values().any(|text| in_text(text))
            || action.step.cwd.as_ref().is_some_and(|text| in_text(text))
    }) || task.env.values().any(|text| in_text(text))
        || task.cwd.as_ref().is_some_and(|text| in_text(text))
}

/// Declared variables: the templates of `env` and the values taken over by `pass_env`.
fn environment(project: &Project, task: &Task, parts: &mut Vec<Part>) {
    for (name, template) in &task.env {
        parts.push(Part { key: PartKey::Env(name.clone()), value: short_or_digest(template) });
    }
    let passed = task.pass_env.iter().flat_map(|name| match name.strip_suffix('*') {
        // Each of a family counts by itself, so that one that comes or goes is a change.
        Some(prefix) => {
            let of_family = |known: &&str| known.starts_with(prefix);
            project.env.keys().filter_map(|known| known.to_str()).filter(of_family).map(Arc::from).collect()
        }
        None => vec![name.clone()],
    });
    for name in passed {
        let value = project.env.get(std::ffi::OsStr::new(&*name));
        // A value may be a secret: only its keyed digest is stored.
        let value = value.map_or(PartValue::Absent, |value| {
            let mut hasher = Hasher::new();
            hasher.field(project.key.expose()).field(std::os::unix::ffi::OsStrExt::as_bytes(value.as_os_str()));
            PartValue::Digest(hasher.finish())
        });
        parts.push(Part { key: PartKey::Env(name), value });
    }
}

/// One value of another task: a key, the whole map, or for a group a map by member.
pub(super) fn argument(
    graph: &crate::graph::Graph,
    results: &HashMap<TaskId, Result_>,
    producer: &str,
    key: Option<&str>,
) -> Result<Value, Diagnostic> {
    let Some(id) = graph.find(producer) else {
        return Err(Diagnostic::error(format!("getargs names the unknown task `{producer}`")));
    };
    let of = |id: TaskId| results.get(&id).map(|result| result.values.clone()).unwrap_or_default();
    let pick = |values: &Value, from: &str| match key {
        None => Ok(values.clone()),
        Some(key) => values
            .get(key)
            .cloned()
            .ok_or_else(|| Diagnostic::error(format!("task `{from}` has no value `{key}`, which getargs asks for"))),
    };
    let members = &graph.task(id).members;
    if members.is_empty() {
        return pick(&of(id), producer);
    }
    let mut map = Map::new();
    for member in members {
        if let Some(member_id) = graph.find(member) {
            let short = member.split_once(':').map_or(&**member, |(_, name)| name);
            map.insert(short.to_owned(), pick(&of(member_id), member)?);
        }
    }
    Ok(Value::Object(map))
}

/// Evaluates one item of uptodate that needs no probe. `None`: it has no say. `Some(None)`: true or false by itself
/// (see [`is_false`]). `Some(Some(part))`: compared with the last success.
#[expect(clippy::option_option, reason = "the three answers are documented above")]
fn check(project: &Project, index: usize, item: &Uptodate) -> Result<Option<Option<Vec<Part>>>, Diagnostic> {
    Ok(match item {
        Uptodate::Null => None,
        Uptodate::Bool(_) | Uptodate::RunOnce | Uptodate::Timeout(_) | Uptodate::Shell(_) => Some(None),
        // Their parts come with the probe.
        Uptodate::OutputOf(_) | Uptodate::Image(_) | Uptodate::RemoteTag(_) | Uptodate::Named { .. } => {
            Some(Some(Vec::new()))
        }
        Uptodate::ConfigChanged(json) => {
            // A task may have several.
            let key = PartKey::Check(format!("config_changed (item {})", index + 1).into());
            Some(Some(vec![Part { key, value: short_or_digest(json.text()) }]))
        }
        Uptodate::Stat { path, field } => {
            let meta = std::fs::metadata(project.root.join(path.as_path())).map_err(|error| {
                Diagnostic::error(format!("uptodate item `stat` needs `{path}`, which cannot be looked at"))
                    .cause(error)
            })?;
            use std::os::unix::fs::MetadataExt;
            let (name, time) = match field {
                StatField::Access => ("access", (meta.atime(), meta.atime_nsec())),
                StatField::Status => ("status", (meta.ctime(), meta.ctime_nsec())),
                StatField::Modify => ("modify", (meta.mtime(), meta.mtime_nsec())),
            };
            let key = PartKey::Check(format!("stat {path} {name}").into());
            Some(Some(vec![Part { key, value: PartValue::Text(format!("{}.{:09}", time.0, time.1).into()) }]))
        }
    })
}

fn is_false(item: &Uptodate, success: Option<&Success>, now: i64) -> bool {
    match item {
        Uptodate::Bool(value) => !value,
        Uptodate::RunOnce => success.is_none(),
        Uptodate::Timeout(limit) => success
            .is_none_or(|success| u128::try_from(now - success.finished).is_ok_and(|age| age >= limit.as_millis())),
        _ => false,
    }
}

fn words(item: &Uptodate) -> String {
    match item {
        Uptodate::Bool(value) => value.to_string(),
        Uptodate::RunOnce => "run_once".into(),
        Uptodate::Timeout(limit) => format!("timeout {limit:?}"),
        Uptodate::Shell(command) => command.to_string(),
        other => format!("{other:?}"),
    }
}

/// Fills in which targets are missing and what the others are now.
fn targets(project: &mut Project, id: TaskId, seen: &mut Observation) {
    let graph = project.graph.clone();
    let node = graph.node(id);
    let declared =
        node.task.targets.iter().map(|target| (&target.path, target.policy, target.optional, target.directory));
    let linked = node.links.targets.iter().map(|path| (path, TargetPolicy::Auto, false, false));
    for (path, policy, optional, _) in declared.chain(linked) {
        let state = project.files.get(path);
        let exists = match &state {
            // A dangling link counts as missing.
            FileState::Symlink { .. } => crate::store::files::exists(&project.root, path),
            state => state.exists(),
        };
        if !exists && !optional {
            seen.missing_targets.push(path.clone());
        }
        seen.targets.push(trace_target(path, policy, &state));
    }
}

/// A target as it is recorded and compared.
pub(super) fn trace_target(path: &RepoPath, policy: TargetPolicy, state: &FileState) -> TraceTarget {
    let by_stat = |stat: &crate::store::StatTuple| {
        let mut hasher = Hasher::new();
        hasher.field(stat.size.to_le_bytes()).field(stat.mtime_ns.to_le_bytes());
        hasher.finish()
    };
    let digest = match (policy, state) {
        (TargetPolicy::Exists, _) | (_, FileState::Directory { .. } | FileState::Missing) => None,
        (TargetPolicy::Stat, FileState::File { stat, .. }) => Some(by_stat(stat)),
        (TargetPolicy::Auto, FileState::File { stat, .. }) if stat.size > HASH_LIMIT => Some(by_stat(stat)),
        (_, state) => state.signature(),
    };
    TraceTarget { path: path.clone(), digest }
}

/// The policy of a target by its path.
pub(super) fn policy_of(task: &Task, path: &RepoPath) -> TargetPolicy {
    task.targets.iter().find(|target| target.path == *path).map_or(TargetPolicy::Auto, |target| target.policy)
}

/// What calc_dep adds to a task, from results that are final and from depfiles of its own last run.
pub(super) struct Calculated {
    pub extra: Extra,
    pub task_dep: Vec<String>,
    pub uptodate: Vec<Uptodate>,
    /// More computing tasks.
    pub calc_dep: Vec<String>,
}

/// Collects what the computing tasks say.
///
/// # Errors
/// A value of a wrong type.
pub(super) fn calculated(
    project: &Project,
    id: TaskId,
    sources: &[TaskId],
    results: &HashMap<TaskId, Result_>,
) -> Result<Calculated, Diagnostic> {
    let graph = &project.graph;
    let task = graph.task(id);
    let mut all =
        Calculated { extra: Extra::default(), task_dep: Vec::new(), uptodate: Vec::new(), calc_dep: Vec::new() };
    for dep in &task.calc_dep {
        if let CalcDep::Depfile(path) = &dep.value
            && let Ok(text) = std::fs::read_to_string(project.root.join(path.as_path()))
        {
            all.extra.discovered.extend(inputs::read_depfile(&text));
        }
    }
    for source in sources {
        let Some(result) = results.get(source) else { continue };
        let wrong = |key: &str| {
            Diagnostic::error(format!("calc_dep `{}` of task `{}` gives `{key}` that is no list", graph.name(*source), task.name))
                .note("expected: a JSON object whose `file_dep`, `task_dep`, `calc_dep` are lists of text, `uptodate` a list of booleans")
        };
        let list = |key: &str| -> Result<Vec<String>, Diagnostic> {
            match result.values.get(key) {
                None => Ok(Vec::new()),
                Some(Value::Array(items)) => {
                    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong(key))).collect()
                }
                Some(_) => Err(wrong(key)),
            }
        };
        for text in list("file_dep")? {
            let (pattern, negated) = text.strip_prefix('!').map_or((&*text, false), |rest| (rest, true));
            let normal = RepoPath::from_root(pattern).map_or_else(|| pattern.to_owned(), |path| path.lossy());
            all.extra.file_dep.push(crate::model::task::FileDep {
                pattern: normal.into(),
                negated,
                place: task.place.clone(),
            });
        }
        all.task_dep.extend(list("task_dep")?);
        all.calc_dep.extend(list("calc_dep")?);
        match result.values.get("uptodate") {
            None => {}
            Some(Value::Array(items)) => {
                for item in items {
                    all.uptodate.push(item.as_bool().map(Uptodate::Bool).ok_or_else(|| wrong("uptodate"))?);
                }
            }
            Some(_) => return Err(wrong("uptodate")),
        }
    }
    Ok(all)
}

/// The values of the tasks that provide what this task's actions need, by resource.
///
/// Where a provider is no part of the run (in single mode), what its last success left.
pub(super) fn resources(
    project: &Project,
    id: TaskId,
    results: &HashMap<TaskId, Result_>,
) -> BTreeMap<Arc<str>, Value> {
    let graph = &project.graph;
    let node = graph.node(id);
    let mut found = BTreeMap::new();
    for need in &node.links.needs {
        let provider = node.needs.iter().find(|edge| graph.node(edge.to).links.provides.contains(&need.resource));
        let Some(provider) = provider.map(|edge| edge.to) else { continue };
        let recorded = || {
            let success = project.records.get(&**graph.name(provider))?.success.as_ref()?;
            serde_json::from_str(&success.values).ok()
        };
        let values = results.get(&provider).map(|result| (*result.values).clone()).or_else(recorded);
        found.extend(values.map(|values| (need.resource.clone(), values)));
    }
    found
}
