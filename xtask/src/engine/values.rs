//! What a task takes from others that are final: results, values for `getargs`, what `calc_dep` adds, resources. Knows
//! nothing of verdicts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Project;
use super::inputs::{self, Extra};
use crate::graph::TaskId;
use crate::model::task::{CalcDep, Uptodate};
use crate::model::{Diagnostic, Digest, RepoPath};

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
