//! What can be wrong with a graph as a whole: cycles and targets that collide.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use icu_normalizer::ComposingNormalizerBorrowed;

use super::{Edge, Graph, TaskId, Why};
use crate::model::{Diagnostic, Place, RepoPath, Stars};

/// The part of a pattern before its first wildcard, cut at a `/` unless the pattern has none at all.
pub(super) fn literal_prefix(pattern: &str) -> &str {
    match pattern.find(['*', '?', '[', '{']) {
        None => pattern,
        Some(at) => pattern[..at].rfind('/').map_or("", |slash| &pattern[..slash]),
    }
}

type Matcher<'a> = Box<dyn Fn(&RepoPath) -> bool + 'a>;

/// A matcher of one glob; `None` if the pattern cannot be one (the reader of the file has said so already).
pub(super) fn glob(pattern: &str) -> Option<Matcher<'_>> {
    if let Some(stars) = Stars::new(pattern) {
        return Some(Box::new(move |path| stars.is_match(path.as_bytes())));
    }
    let matcher = globset::GlobBuilder::new(pattern).literal_separator(true).build().ok()?.compile_matcher();
    Some(Box::new(move |path| matcher.is_match(path.as_path())))
}

pub(super) fn target_of_two(graph: &Graph, path: &RepoPath, one: TaskId, two: TaskId, place: &Place) -> Diagnostic {
    let (first, second) = (graph.task(one), graph.task(two));
    let first_place = first.targets.iter().find(|target| target.path == *path).map_or(&first.place, |t| &t.place);
    Diagnostic::error(format!("target `{path}` belongs to two tasks: `{}` and `{}`", first.name, second.name))
        .at_because(first_place.clone(), format!("`{}`", first.name))
        .at_because(place.clone(), format!("`{}`", second.name))
        .help("keep the target in one task and list it in the file_dep of the other")
}

/// A file target inside a directory target of another task: nobody could tell who made what.
pub(super) fn overlapping_targets(graph: &Graph) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    for (path, id) in graph.targets() {
        let mut above = path.parent();
        while let Some(dir) = above.filter(|dir| *dir != RepoPath::root()) {
            if let Some(other) = graph.targets().get(&dir).filter(|other| *other != id) {
                errors.push(
                    Diagnostic::error(format!(
                        "target `{path}` of task `{}` lies in target `{dir}` of task `{}`",
                        graph.name(*id),
                        graph.name(*other)
                    ))
                    .at(graph.task(*id).place.clone())
                    .at(graph.task(*other).place.clone()),
                );
            }
            above = dir.parent();
        }
    }
    errors
}

/// Paths that differ only by case, or by how their letters are put together (`é` may be one character or two): on some
/// disks they are one file, on others two.
pub(super) fn alike(graph: &Graph) -> Vec<Diagnostic> {
    let mut seen: HashMap<&[u8], &Place> = HashMap::new();
    let mut folded: HashMap<String, (&str, &Place)> = HashMap::new();
    let mut warnings = Vec::new();
    for task in graph.ids().map(|id| graph.task(id)) {
        let targets = task.targets.iter().filter_map(|target| Some((target.path.as_path().to_str()?, &target.place)));
        let inputs = task.file_dep.iter().filter(|dep| !dep.negated).map(|dep| (&*dep.pattern, &dep.place));
        for (path, place) in targets.chain(inputs) {
            if seen.insert(path.as_bytes(), place).is_some() || literal_prefix(path).len() != path.len() {
                continue;
            }
            match folded.entry(composed(path.to_lowercase())) {
                Entry::Vacant(entry) => {
                    entry.insert((path, place));
                }
                Entry::Occupied(entry) => {
                    let (other, first) = *entry.get();
                    let what = if composed(path.to_owned()) == composed(other.to_owned()) {
                        "how letters are put together"
                    } else {
                        "case"
                    };
                    warnings.push(
                        Diagnostic::warning(format!("`{path}` and `{other}` differ only by {what}"))
                            .at_because((*place).clone(), format!("`{path}`"))
                            .at_because(first.clone(), format!("`{other}`"))
                            .help("write both alike, or give one another name: not every disk keeps them apart"),
                    );
                }
            }
        }
    }
    warnings
}

/// The text with each letter as one character, where there is one.
fn composed(text: String) -> String {
    if text.is_ascii() { text } else { ComposingNormalizerBorrowed::new_nfc().normalize(&text).into_owned() }
}

/// The first cycle found, if any, with every edge of it and why it exists.
pub(super) fn cycle(graph: &Graph) -> Option<Diagnostic> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; graph.len()];
    let edges = |id: TaskId| graph.node(id).needs.iter().chain(&graph.node(id).setup);
    for start in graph.ids() {
        if marks[start.index()] != Mark::New {
            continue;
        }
        // Each frame: a task and how many of its edges were followed. No recursion: chains may be long.
        let mut stack: Vec<(TaskId, usize)> = vec![(start, 0)];
        marks[start.index()] = Mark::Open;
        while let Some((id, followed)) = stack.last_mut() {
            let Some(edge) = edges(*id).nth(*followed) else {
                marks[id.index()] = Mark::Done;
                stack.pop();
                continue;
            };
            *followed += 1;
            match marks[edge.to.index()] {
                Mark::Done => {}
                Mark::New => {
                    marks[edge.to.index()] = Mark::Open;
                    stack.push((edge.to, 0));
                }
                Mark::Open => {
                    let from = stack.iter().position(|(id, _)| *id == edge.to).unwrap_or(0);
                    let path: Vec<(TaskId, &Edge)> = stack[from..]
                        .iter()
                        .filter_map(|(id, followed)| Some((*id, edges(*id).nth(followed - 1)?)))
                        .collect();
                    return Some(cycle_error(graph, &path));
                }
            }
        }
    }
    None
}

fn cycle_error(graph: &Graph, path: &[(TaskId, &Edge)]) -> Diagnostic {
    if let [(id, edge)] = path {
        let message = format!("task `{}` needs itself", graph.name(*id));
        return Diagnostic::error(message).at_because(edge.place.clone(), explain(graph, *id, edge));
    }
    let names: Vec<&str> = path.iter().map(|(id, _)| &**graph.name(*id)).collect();
    let message = format!("tasks need each other in a cycle: {} -> {}", names.join(" -> "), names[0]);
    let mut error = Diagnostic::error(message);
    for (id, edge) in path {
        error = error.at_because(edge.place.clone(), explain(graph, *id, edge));
    }
    error.help("remove one of these edges")
}

fn explain(graph: &Graph, id: TaskId, edge: &Edge) -> String {
    let (name, other) = (graph.name(id), graph.name(edge.to));
    match &edge.why {
        Why::TaskDep => format!("`{name}` has task_dep `{other}`"),
        Why::ResultDep => format!("`{name}` has result_dep `{other}`"),
        Why::Member => format!("`{other}` is a member of `{name}`"),
        Why::Target(path) => format!("`{name}` lists `{path}` in file_dep, a target of `{other}`"),
        Why::CalcDep => format!("`{name}` has calc_dep `{other}`"),
        Why::GetArg => format!("`{name}` takes a value of `{other}` by getargs"),
        Why::Setup => format!("`{name}` has setup `{other}`"),
        Why::Resource(resource) => format!("`{name}` takes `{resource}` from `{other}`"),
        Why::ExpandAfter => format!("`{name}` has expand_after `{other}`"),
    }
}
