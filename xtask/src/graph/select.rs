//! From the words of the command line to tasks, and from tasks to everything they need.

use std::collections::HashSet;

use super::wildcard::{is_wildcard, matches};
use super::{Graph, TaskId, Why};
use crate::model::{Diagnostic, RepoPath, words};

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// In the order asked for, without repeats.
    pub tasks: Vec<TaskId>,
}

/// Finds the tasks for each word: a name, a group, a member, a wildcard, `@tag`, or the path of a target.
///
/// # Errors
/// A word that means nothing, with the nearest name; a wildcard without match unless `allow_empty`.
pub fn select(graph: &Graph, words: &[String], cwd: &RepoPath, allow_empty: bool) -> Result<Selection, Diagnostic> {
    let mut seen = HashSet::new();
    let mut selection = Selection::default();
    for word in words {
        for id in find(graph, word, cwd, allow_empty)? {
            if seen.insert(id) {
                selection.tasks.push(id);
            }
        }
    }
    Ok(selection)
}

fn find(graph: &Graph, word: &str, cwd: &RepoPath, allow_empty: bool) -> Result<Vec<TaskId>, Diagnostic> {
    if let Some(id) = graph.find(word) {
        return Ok(vec![id]);
    }
    if let Some(tag) = word.strip_prefix('@') {
        let tagged: Vec<_> = graph.ids().filter(|id| graph.task(*id).tags.iter().any(|own| **own == *tag)).collect();
        return if tagged.is_empty() && !allow_empty { Err(no_tag(graph, tag)) } else { Ok(tagged) };
    }
    if is_wildcard(word) {
        let found: Vec<_> = graph.ids().filter(|id| matches(word, graph.name(*id))).collect();
        return if found.is_empty() && !allow_empty {
            Err(Diagnostic::error(format!("`{word}` matches no task"))
                .help("see all tasks: cargo xtask list --all")
                .help("allow it to match nothing: --allow-empty"))
        } else {
            Ok(found)
        };
    }
    if let Some(id) = RepoPath::new(cwd, word).and_then(|path| graph.maker(&path)) {
        return Ok(vec![id]);
    }
    // The first group that may have it; the run goes on to the next if it has not.
    if let Some(first) = RepoPath::new(cwd, word).and_then(|path| graph.later_makers(&path).first().copied()) {
        return Ok(vec![first]);
    }
    // A member of a group that is expanded only after another task has run.
    if let Some((group, _)) = word.split_once(':')
        && let Some(id) = graph.find(group)
        && graph.task(id).expand_after.is_some()
    {
        return Ok(vec![id]);
    }
    let names = graph.names();
    let targets: Vec<String> =
        graph.ids().flat_map(|id| &graph.task(id).targets).map(|target| target.path.lossy()).collect();
    let similar = |kind: &str, name: &str| format!("a {kind} with a similar name exists: `{name}`");
    let task = words::closest(word, names.iter().copied()).map(|name| similar("task", name));
    let target = || words::closest(word, targets.iter().map(String::as_str)).map(|name| similar("target", name));
    Err(Diagnostic::error(format!("`{word}` is neither a task nor a target"))
        .maybe_help(task.or_else(target))
        .help("see all tasks: cargo xtask list"))
}

/// What a word stands for that no task has yet: a member, or a target of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    /// Those that may turn out to have it, in order.
    pub groups: Vec<TaskId>,
    pub word: String,
    /// Relative to the root.
    pub path: Option<RepoPath>,
}

/// The words that [`select`] could only take for groups which are expanded later.
pub fn later(graph: &Graph, words: &[String], cwd: &RepoPath) -> Vec<Later> {
    let unknown = words.iter().filter(|word| {
        let known = graph.find(word).is_some() || word.starts_with('@') || is_wildcard(word);
        !known && RepoPath::new(cwd, word.as_str()).is_none_or(|path| graph.maker(&path).is_none())
    });
    let later = unknown.map(|word| {
        let path = RepoPath::new(cwd, word.as_str());
        let mut groups = path.as_ref().map(|path| graph.later_makers(path)).unwrap_or_default();
        if groups.is_empty() {
            let group = word.split_once(':').and_then(|(group, _)| graph.find(group));
            groups.extend(group.filter(|id| graph.task(*id).expand_after.is_some()));
        }
        Later { groups, word: word.clone(), path }
    });
    later.filter(|later| !later.groups.is_empty()).collect()
}

fn no_tag(graph: &Graph, tag: &str) -> Diagnostic {
    let mut tags: Vec<&str> = graph.ids().flat_map(|id| graph.task(id).tags.iter().map(|tag| &**tag)).collect();
    tags.sort_unstable();
    tags.dedup();
    Diagnostic::error(format!("no task has the tag `{tag}`")).maybe_help(words::suggest("tag", tag, &tags))
}

/// The selected tasks and everything they need, needed ones first, otherwise in the order asked for.
///
/// With `single`, the order dependencies of the selected tasks (and of the members of selected groups) are dropped;
/// what hands a value over stays. Setup tasks are not part of it: they come in when their task must run.
pub fn closure(graph: &Graph, selection: &Selection, single: bool) -> Vec<TaskId> {
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    let named: HashSet<TaskId> = if single { with_members(graph, &selection.tasks) } else { HashSet::new() };
    // Each frame: a task and how many of its edges were followed.
    for start in &selection.tasks {
        if !seen.insert(*start) {
            continue;
        }
        let mut stack = vec![(*start, 0)];
        while let Some((id, followed)) = stack.last_mut() {
            let Some(edge) = graph.node(*id).needs.get(*followed) else {
                order.push(*id);
                stack.pop();
                continue;
            };
            *followed += 1;
            if follows(&edge.why, named.contains(id) && !graph.task(*id).is_group()) && seen.insert(edge.to) {
                stack.push((edge.to, 0));
            }
        }
    }
    order
}

/// Whether an edge counts in single mode.
pub(crate) fn follows(why: &Why, single: bool) -> bool {
    !single || matches!(why, Why::Member | Why::CalcDep | Why::GetArg | Why::ExpandAfter | Why::Setup)
}

fn with_members(graph: &Graph, tasks: &[TaskId]) -> HashSet<TaskId> {
    let mut all: HashSet<TaskId> = tasks.iter().copied().collect();
    let mut open: Vec<TaskId> = tasks.to_vec();
    while let Some(id) = open.pop() {
        let task = graph.task(id);
        // The task_dep of a hand-written group are its members.
        let is_group = task.is_group();
        for edge in
            graph.node(id).needs.iter().filter(|e| matches!(e.why, Why::Member) || (is_group && e.why == Why::TaskDep))
        {
            if all.insert(edge.to) {
                open.push(edge.to);
            }
        }
    }
    all
}
