//! From what was observed to a verdict: puts the fingerprint together. Shared by runs, dry runs, list and explain, so
//! that they can never disagree.

use std::collections::HashMap;
use std::sync::Arc;

use super::inputs::{self, Extra, Inputs};
use super::job::Probed;
use super::parts::{check, definition, environment, input, is_false, params, short_or_digest, words};
use super::values::{Result_, argument};
use super::{Options, Project};
use crate::graph::{TaskId, Why};
use crate::model::digest::Hasher;
use crate::model::task::{TargetPolicy, Uptodate};
use crate::model::{Diagnostic, Reason, RepoPath, Task, Verdict};
use crate::rebuild::{self, Fingerprint, Observation, Part, PartKey, PartValue, TraceTarget};
use crate::store::FileState;
use crate::store::db::Success;

/// Targets above this size are compared by stat unless they say otherwise.
const HASH_LIMIT: u64 = 64 << 20;

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
    let is_traced = given.options.tracer.as_ref().is_some_and(|tracer| tracer.task == task.name);
    if given.options.always || is_traced {
        seen.forced.push(Reason::Always);
    }
    // Something is compared with the last success, and there is none.
    seen.has_file_dep |= compares && success.is_none() && seen.has_check;
    targets(project, id, &mut seen);
    seen.fingerprint = Fingerprint::new(parts);
    Ok(seen)
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
