//! The params of a run: which words of the command line are theirs, and their values, handed out to the tasks that declare
//! them. Knows nothing of how a task is run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::sync::Arc;

use super::run::closure_with_setup;
use super::words::Meaning;
use crate::engine::{self, ParamValue, Project};
use crate::graph::{self, Selection, TaskId};
use crate::model::task::{ParamKind, Taskfile};
use crate::model::{Diagnostics, RepoPath};
use crate::taskfile;
use crate::world::World;

/// Gives each task of the plan the values of its params: what was given to a named task counts for every task below
/// it that declares a param of the same name.
pub(super) fn hand_out_params(
    project: &mut Project,
    selected: &[taskfile::Selected],
    selection: &Selection,
    single: bool,
    world: &World,
) -> Result<(), Diagnostics> {
    let graph = project.graph.clone();
    let mut given: HashMap<TaskId, taskfile::params::Given> = HashMap::new();
    let mut late: BTreeMap<Arc<str>, taskfile::params::Given> = BTreeMap::new();
    for word in selected {
        let start = graph::select(&graph, std::slice::from_ref(&word.word), &RepoPath::root(), true)?;
        for id in closure_with_setup(&graph, &start, single) {
            let declared: HashSet<&str> = graph.task(id).params.iter().map(|param| &*param.name).collect();
            if graph.task(id).expand_after.is_some() {
                late.entry(graph.name(id).clone()).or_default().extend(word.given.clone());
            }
            let own = given.entry(id).or_default();
            own.extend(
                word.given.iter().filter(|(name, _)| declared.contains(&***name)).map(|(n, v)| (n.clone(), v.clone())),
            );
        }
        if let (Some(id), false) = (graph.find(&word.word), word.pos.is_empty()) {
            project.positional.insert(id, word.pos.clone());
        }
    }
    project.late_params = Some(late_params(project.config.clone(), world, late));
    let mut problems = Vec::new();
    for id in closure_with_setup(&graph, selection, single) {
        let task = graph.task(id);
        if task.params.is_empty() || (task.is_group() && !task.members.is_empty()) {
            continue;
        }
        let none = BTreeMap::new();
        match taskfile::params::values(task, &project.config, &|name| world.var(name), given.get(&id).unwrap_or(&none))
        {
            Ok(values) => {
                project.params.insert(id, for_engine(&values));
            }
            Err(found) => problems.extend(found),
        }
    }
    problems.dedup_by(|a, b| a == b);
    if problems.is_empty() { Ok(()) } else { Err(Diagnostics(problems)) }
}

/// Gives every task the values that its params have where nobody gives any: what a run of it would take. A task without
/// them (one is required, or the environment has a wrong one) is in the answer, with what is wrong.
pub(super) fn assume(project: &mut Project, world: &World) -> BTreeMap<TaskId, Diagnostics> {
    let graph = project.graph.clone();
    let mut lacking = BTreeMap::new();
    for id in graph.ids().filter(|id| !graph.task(*id).params.is_empty()) {
        match taskfile::params::values(graph.task(id), &project.config, &|name| world.var(name), &BTreeMap::new()) {
            Ok(values) => drop(project.params.insert(id, for_engine(&values))),
            Err(problems) => drop(lacking.insert(id, Diagnostics(problems))),
        }
    }
    lacking
}

/// What a task makes of a word behind its name.
pub(super) fn meaning(tasks: &Taskfile, task: &str, word: &str) -> Meaning {
    let Some(task) = tasks.tasks.iter().find(|known| *known.name == *task) else { return Meaning::Other };
    let members = task.members.first().and_then(|first| tasks.tasks.iter().find(|known| known.name == *first));
    let params = task.params.iter().chain(members.into_iter().flat_map(|member| &member.params));
    if word == "--" {
        return Meaning::Rest;
    }
    let (name, joined) = word.split_once('=').map_or((word, false), |(name, _)| (name, true));
    for param in params {
        let inverse =
            param.inverse.as_ref().is_some_and(|inverse| name == format!("--{}", inverse.trim_start_matches("--")));
        let long = name == format!("--{}", param.long);
        let short = param.short.is_some_and(|short| word.starts_with(&format!("-{short}")) && !word.starts_with("--"));
        let is_bool = param.kind == ParamKind::Bool;
        if inverse || (long && (joined || is_bool)) || (short && (is_bool || word.len() > 2)) {
            return Meaning::Flag;
        }
        if long || short {
            return Meaning::WithValue;
        }
    }
    if task.pos_arg.is_some() && !word.starts_with('-') { Meaning::Rest } else { Meaning::Other }
}

fn for_engine(values: &taskfile::params::Values) -> BTreeMap<Arc<str>, ParamValue> {
    let plain = |value: &taskfile::params::ParamValue| ParamValue { value: value.json(), secret: value.secret };
    values.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
}

/// For members that another task prints: what was given to their group counts, by the name of the group.
fn late_params(
    config: crate::model::task::Config,
    world: &World,
    given: BTreeMap<Arc<str>, taskfile::params::Given>,
) -> Arc<engine::LateParams> {
    let env = world.env.clone();
    Arc::new(move |task| {
        let none = BTreeMap::new();
        let given = task.group.as_ref().and_then(|group| given.get(group)).unwrap_or(&none);
        let declared = |name: &str| task.params.iter().any(|param| *param.name == *name);
        let given = given.iter().filter(|(name, _)| declared(name)).map(|(name, texts)| (name.clone(), texts.clone()));
        let var = |name: &str| env.get(OsStr::new(name)).map(|value| value.to_string_lossy().into_owned());
        let values = taskfile::params::values(task, &config, &var, &given.collect()).map_err(Diagnostics)?;
        Ok(for_engine(&values))
    })
}
