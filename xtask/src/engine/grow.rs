//! Tasks and edges that come up while a run goes on: `expand_after` and `calc_dep`. Knows nothing of verdicts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::decide::Decision;
use super::inputs;
use super::values;
use crate::graph::{self, Graph, Selection, TaskId, Why};
use crate::model::task::CalcDep;
use crate::model::{Diagnostic, Event, Outcome, RepoPath, Task, Verdict};
use crate::schedule::State;

use super::Project;
use super::ended::Ended;
use super::run::{Computed, Run};

impl Run<'_> {
    /// `expand_after`: the members come out of the other task's output.
    pub(super) fn expand(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let task = self.graph.node(id).task.clone();
        // Once: a producer may have printed no members at all.
        if !self.expanded.insert(id) {
            return self.finish_group(id);
        }
        let producer = self.graph.node(id).needs.iter().find(|edge| edge.why == Why::ExpandAfter).map(|edge| edge.to);
        let output =
            producer.and_then(|to| self.results.get(&to)).map(|result| result.stdout.clone()).unwrap_or_default();
        let stored =
            producer.and_then(|to| self.results.get(&to)).and_then(|result| result.values.get("stdout").cloned());
        let text = match stored {
            Some(Value::String(text)) if output.is_empty() => text,
            _ => String::from_utf8_lossy(&output).into_owned(),
        };
        match self.grow(&task, &text) {
            Ok(members) => {
                let members = self.wanted_members(id, members);
                self.want_closure(&members);
                self.scheduler.wait_more(id.0, members.iter().map(|member| member.0));
                Ok(())
            }
            Err(problem) => self.finish(id, Outcome::Error, Duration::ZERO, Some(problem), Ended::default()),
        }
    }

    /// Groups that are needed as a whole, whatever members were named.
    pub(super) fn whole_groups(&mut self, selection: &Selection) {
        let firsts: Vec<TaskId> = self.later.iter().filter_map(|later| later.groups.first().copied()).collect();
        let tasks = selection.tasks.iter().copied().filter(|id| !firsts.contains(id)).collect();
        let whole = graph::closure(&self.graph, &Selection { tasks }, self.options.single);
        self.later.retain(|later| later.groups.first().is_none_or(|first| !whole.contains(first)));
    }

    /// All members, or of a group of which only some were named those. A word that no group has is told.
    fn wanted_members(&mut self, group: TaskId, members: Vec<TaskId>) -> Vec<TaskId> {
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.later).into_iter().partition(|later| later.groups.first() == Some(&group));
        self.later = others;
        if own.is_empty() {
            return members;
        }
        let mut wanted = Vec::new();
        for mut later in own {
            let has = |id: &TaskId| {
                let task = self.graph.task(*id);
                let makes = |path: &RepoPath| task.targets.iter().any(|target| path.is_within(&target.path));
                *task.name == *later.word || later.path.as_ref().is_some_and(makes)
            };
            let found: Vec<TaskId> = members.iter().copied().filter(has).collect();
            if !found.is_empty() {
                wanted.extend(found);
                continue;
            }
            later.groups.remove(0);
            match later.groups.first().copied() {
                Some(next) => {
                    self.want_closure(&[next]);
                    self.later.push(later);
                }
                None => self.stands_for_nothing(group, &later.word, &members),
            }
        }
        self.narrow.insert(group, wanted.clone());
        wanted
    }

    fn stands_for_nothing(&mut self, group: TaskId, word: &str, members: &[TaskId]) {
        self.unknown += 1;
        let names: Vec<&str> = members.iter().map(|id| &**self.graph.name(*id)).collect();
        let problem = Diagnostic::error(format!("`{word}` is neither a task nor a target"))
            .at(self.graph.task(group).place.clone())
            .maybe_help(crate::model::words::suggest("task", word, &names));
        self.emit(Event::Notice(Box::new(problem)));
    }

    /// Wants these tasks with everything that they need.
    fn want_closure(&mut self, tasks: &[TaskId]) {
        let plan = graph::closure(&self.graph, &Selection { tasks: tasks.to_vec() }, false);
        let fetched = inputs::prefetch(self.project, &plan);
        let epoch = self.epoch;
        self.inputs.extend(fetched.into_iter().map(|(id, inputs)| (id, (epoch, inputs))));
        self.want_all(&plan);
    }

    /// Whether a task needs tasks that did not exist when it was wanted; then it waits for them.
    pub(super) fn waits_for_new(&mut self, id: TaskId, needs: &[TaskId]) -> bool {
        let open: Vec<TaskId> = needs.iter().copied().filter(|need| !self.outcome_of.contains_key(need)).collect();
        if !open.is_empty() {
            self.want_closure(&open);
            self.scheduler.wait_more(id.0, open.iter().map(|need| need.0));
        }
        !open.is_empty()
    }

    /// Whether groups are yet to be expanded of which a member could make what this task misses; then it waits.
    pub(super) fn waits_for_expansion(&mut self, id: TaskId) -> bool {
        let is_open = |group: &TaskId| {
            let state = self.scheduler.state(group.0);
            let is_wanted = !matches!(state, State::Unwanted | State::Done(_));
            is_wanted && self.graph.task(*group).expand_after.is_some() && !self.expanded.contains(group)
        };
        let groups: Vec<TaskId> = self.graph.ids().filter(is_open).collect();
        let mut open: Vec<TaskId> = groups.into_iter().flat_map(|group| self.followed(group)).collect();
        open.retain(|need| {
            let below = || graph::closure(&self.graph, &Selection { tasks: vec![*need] }, false);
            !self.outcome_of.contains_key(need) && !below().contains(&id)
        });
        if !open.is_empty() {
            self.probes.remove(&id);
            self.scheduler.wait_more(id.0, open.iter().map(|need| need.0));
        }
        !open.is_empty()
    }

    /// Adds tasks to the graph; edges of all tasks are found anew.
    pub(super) fn grow(&mut self, group: &Task, text: &str) -> Result<Vec<TaskId>, Diagnostic> {
        let before = self.graph.len() as u32;
        let Some(graph) = with_members(self.project, group, text)? else { return Ok(Vec::new()) };
        let graph = Arc::new(graph);
        self.late_edges(&graph, before)?;
        for id in (before..graph.len() as u32).map(TaskId).filter(|id| !graph.task(*id).params.is_empty()) {
            let Some(values) = self.project.late_params.clone() else { continue };
            self.project.params.insert(id, values(graph.task(id)).map_err(first)?);
        }
        self.project.graph = graph.clone();
        self.graph = graph;
        self.scheduler.grow(self.graph.len());
        Ok((before..self.graph.len() as u32).map(TaskId).collect())
    }

    /// A task that was started already may not turn out to need a task that did not exist then.
    pub(super) fn late_edges(&self, new: &Graph, before: u32) -> Result<(), Diagnostic> {
        for id in (0..before).map(TaskId) {
            let late = new.node(id).needs.iter().find(|edge| edge.to.0 >= before);
            let begun = matches!(self.scheduler.state(id.0), State::Running | State::Queued | State::Done(_));
            if let Some(edge) = late.filter(|_| begun && new.task(id).expand_after.is_none()) {
                return Err(Diagnostic::error(format!(
                    "task `{}` needs `{}`, which exists only now that `{0}` has started",
                    new.name(id),
                    new.name(edge.to)
                ))
                .at(edge.place.clone())
                .help(format!(
                    "add the group of `{}` to the task_dep of `{}`",
                    new.name(edge.to),
                    new.name(id)
                )));
            }
        }
        Ok(())
    }

    /// The tasks that compute dependencies of this one, as far as they are known.
    fn sources(&self, id: TaskId) -> Vec<TaskId> {
        let named = self.graph.task(id).calc_dep.iter().filter_map(|dep| match &dep.value {
            CalcDep::Task(name) => self.graph.find(name),
            CalcDep::Depfile(_) => None,
        });
        named.chain(self.extras.get(&id).into_iter().flat_map(|computed| computed.sources.clone())).collect()
    }

    pub(super) fn has_depfile(&self, id: TaskId) -> bool {
        self.graph.task(id).calc_dep.iter().any(|dep| matches!(dep.value, CalcDep::Depfile(_)))
    }

    /// The depfile that a task has written names more inputs: they are signed as they are now. Gives those that may have
    /// changed since the task was started.
    pub(super) fn take_depfile(&mut self, id: TaskId, decision: &mut Decision) -> Result<Vec<RepoPath>, Diagnostic> {
        let sources = self.sources(id);
        let all = values::calculated(self.project, id, &sources, &self.results)?;
        self.extras.entry(id).or_default().extra = all.extra;
        self.inputs.remove(&id);
        let now = self.decision(id);
        if matches!(now.verdict, Verdict::Error(_)) {
            return Ok(Vec::new());
        }
        let begun = self.begun_at.get(&id).copied().unwrap_or(0);
        let files = &self.project.files;
        let is_young = |path: &&RepoPath| files.peek(path).stat().is_some_and(|stat| stat.ctime_ns > begun);
        let new = now.inputs.paths.iter().filter(|path| decision.inputs.paths.binary_search(path).is_err());
        let young = new.filter(is_young).cloned().collect();
        decision.fingerprint = now.fingerprint.as_before(&decision.fingerprint);
        decision.inputs = now.inputs;
        Ok(young)
    }

    /// calc_dep: adds what other tasks computed. False if the task has to wait for more tasks.
    pub(super) fn compute_dependencies(&mut self, id: TaskId) -> Result<bool, Diagnostic> {
        let graph = self.graph.clone();
        let task = graph.task(id);
        if task.calc_dep.is_empty() {
            return Ok(true);
        }
        let sources = self.sources(id);
        let all = match values::calculated(self.project, id, &sources, &self.results) {
            Ok(all) => all,
            Err(problem) => {
                self.decided(id, Verdict::Error(Box::new(problem.clone())));
                self.finish(id, Outcome::Error, Duration::ZERO, Some(problem), Ended::default())?;
                return Ok(false);
            }
        };
        let mut more = Vec::new();
        for name in all.task_dep.iter().chain(&all.calc_dep) {
            if let Some(to) = graph.find(name) {
                more.push(to);
            }
        }
        for dep in &all.extra.file_dep {
            let maker = RepoPath::from_root(&*dep.pattern).and_then(|path| graph.maker(&path));
            more.extend(maker.filter(|maker| *maker != id));
        }
        let known = self.extras.entry(id).or_default();
        known.extra = all.extra;
        known.uptodate = all.uptodate;
        known.sources = all.calc_dep.iter().filter_map(|name| graph.find(name)).collect();
        more.retain(|to| !known.needs.contains(to));
        known.needs.extend(&more);
        self.inputs.remove(&id);
        let open: Vec<TaskId> = more.into_iter().filter(|to| !self.outcome_of.contains_key(to)).collect();
        if open.is_empty() && known_sources_are_read(&self.extras, id, &sources) {
            return Ok(true);
        }
        let plan = graph::closure(&graph, &Selection { tasks: open.clone() }, false);
        self.want_all(&plan);
        self.scheduler.wait_more(id.0, open.iter().map(|to| to.0));
        Ok(false)
    }
}

fn first(problems: crate::model::Diagnostics) -> Diagnostic {
    problems.0.into_iter().next().unwrap_or_else(|| Diagnostic::error("the printed tasks cannot be read"))
}

/// The graph with the members of a group that another task printed.
fn with_members(project: &Project, group: &Task, text: &str) -> Result<Option<Graph>, Diagnostic> {
    let Some(expand) = &project.expand else { return Ok(None) };
    let new = expand(group, text).map_err(first)?;
    let graph = &project.graph;
    let (mut tasks, mut links): (Vec<Arc<Task>>, Vec<graph::Links>) =
        graph.ids().map(|id| (graph.node(id).task.clone(), graph.node(id).links.clone())).unzip();
    let at = tasks.iter().position(|task| task.name == group.name).unwrap_or_default();
    let members: Vec<Arc<str>> = new.iter().map(|task| task.name.clone()).collect();
    tasks[at] = Arc::new(Task { members, ..(*tasks[at]).clone() });
    for task in new {
        links.push(super::plan::links_of(&project.actions, &task).map_err(first)?);
        tasks.push(Arc::new(task));
    }
    graph::build(tasks, links).map(Some).map_err(first)
}

/// Adds the members that are known from the last runs of the tasks that print them: for looking, never for a run. What
/// cannot be read any more is left out.
pub fn expand_recorded(project: &mut Project) {
    let open = |id: &TaskId| project.graph.task(*id).expand_after.is_some();
    for id in project.graph.ids().filter(open).collect::<Vec<_>>() {
        let group = project.graph.node(id).task.clone();
        let producer = group.expand_after.as_ref().map_or("", |task| &*task.value);
        let success = project.records.get(producer).and_then(|record| record.success.as_ref());
        let values: Value = success.and_then(|it| serde_json::from_str(&it.values).ok()).unwrap_or_default();
        if let Some(Ok(Some(graph))) = values["stdout"].as_str().map(|text| with_members(project, &group, text)) {
            project.graph = Arc::new(graph);
        }
    }
}

fn known_sources_are_read(extras: &HashMap<TaskId, Computed>, id: TaskId, read: &[TaskId]) -> bool {
    extras.get(&id).is_none_or(|computed| computed.sources.iter().all(|source| read.contains(source)))
}
