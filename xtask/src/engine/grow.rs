//! Tasks and edges that come up while a run goes on: `expand_after` and `calc_dep`. Knows nothing of verdicts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::decide;
use super::inputs;
use crate::graph::{self, Graph, Selection, TaskId, Why};
use crate::model::task::CalcDep;
use crate::model::{Diagnostic, Outcome, RepoPath, Task, Verdict};
use crate::schedule::State;

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
                let plan = graph::closure(&self.graph, &Selection { tasks: members.clone() }, false);
                let fetched = inputs::prefetch(self.project, &plan);
                self.inputs.extend(fetched.into_iter().map(|(id, inputs)| (id, (0, inputs))));
                self.want_all(&plan);
                self.scheduler.wait_more(id.0, members.iter().map(|member| member.0));
                Ok(())
            }
            Err(problem) => self.finish(id, Outcome::Error, Duration::ZERO, Some(problem), Ended::default()),
        }
    }

    /// Adds tasks to the graph; edges of all tasks are found anew.
    pub(super) fn grow(&mut self, group: &Task, text: &str) -> Result<Vec<TaskId>, Diagnostic> {
        let Some(expand) = self.project.expand.clone() else { return Ok(Vec::new()) };
        let first = |problems: crate::model::Diagnostics| {
            problems.0.into_iter().next().unwrap_or_else(|| Diagnostic::error("the printed tasks cannot be read"))
        };
        let new = expand(group, text).map_err(first)?;
        let (mut tasks, mut links): (Vec<Arc<Task>>, Vec<graph::Links>) =
            self.graph.ids().map(|id| (self.graph.node(id).task.clone(), self.graph.node(id).links.clone())).unzip();
        let at = tasks.iter().position(|task| task.name == group.name).unwrap_or_default();
        let members: Vec<Arc<str>> = new.iter().map(|task| task.name.clone()).collect();
        tasks[at] = Arc::new(Task { members, ..(*tasks[at]).clone() });
        for task in new {
            links.push(super::plan::links_of(&self.project.actions, &task).map_err(first)?);
            tasks.push(Arc::new(task));
        }
        let before = self.graph.len() as u32;
        let graph = Arc::new(graph::build(tasks, links).map_err(first)?);
        self.late_edges(&graph, before)?;
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

    /// calc_dep: adds what other tasks computed. False if the task has to wait for more tasks.
    pub(super) fn compute_dependencies(&mut self, id: TaskId) -> Result<bool, Diagnostic> {
        let graph = self.graph.clone();
        let task = graph.task(id);
        if task.calc_dep.is_empty() {
            return Ok(true);
        }
        let mut sources: Vec<TaskId> = task
            .calc_dep
            .iter()
            .filter_map(|dep| match &dep.value {
                CalcDep::Task(name) => graph.find(name),
                CalcDep::Depfile(_) => None,
            })
            .collect();
        sources.extend(self.extras.get(&id).into_iter().flat_map(|computed| computed.sources.clone()));
        let all = match decide::calculated(self.project, id, &sources, &self.results) {
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

fn known_sources_are_read(extras: &HashMap<TaskId, Computed>, id: TaskId, read: &[TaskId]) -> bool {
    extras.get(&id).is_none_or(|computed| computed.sources.iter().all(|source| read.contains(source)))
}
