//! What a run would do, without doing it: for dry runs, `list --status`, `explain`, `--frozen`. Same decisions as a run.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::decide::{self, Decision, Given};
use super::inputs::{self, Extra};
use super::job::{Job, Probed};
use super::run::{is_hidden, unix_millis};
use super::scope::{self, ScopeParts};
use super::start::{child_env, plain_job};
use super::values::{self, Result_};
use super::{Options, Project, probe};
use crate::action::ActionSet;
use crate::exec::environment::{Variables, let_through};
use crate::graph::{self, Links, Selection, TaskId};
use crate::model::task::{ActionKind, At, Condition};
use crate::model::{Diagnostic, Diagnostics, Reason, Task, Verdict};

/// What a run would do with one task.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    UpToDate,
    WillRun(Vec<Reason>),
    /// It depends on what these tasks produce when they run; the reasons are those known already.
    MayRun {
        after: Vec<Arc<str>>,
        reasons: Vec<Reason>,
    },
    Error(Box<Diagnostic>),
    Ignored,
    Skipped,
    /// Only there to be depended on.
    Group,
}

/// One task of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    pub id: TaskId,
    pub name: Arc<str>,
    pub status: Status,
    pub hidden: bool,
}

/// Predicts every task of the selection's closure, needed ones first, setup tasks before the tasks that they set up.
pub fn predict(project: &mut Project, selection: &Selection, options: &Options) -> Vec<Prediction> {
    let graph = project.graph.clone();
    let plan = graph::closure(&graph, selection, options.single);
    project.files.next_epoch();
    let fetched = inputs::prefetch(project, &plan);
    let mut predictor = Predictor::new(project, options);
    for id in plan {
        predictor.visit(id, fetched.get(&id));
    }
    let (mut status, order) = (predictor.status, predictor.order);
    order
        .into_iter()
        .map(|id| Prediction {
            id,
            name: graph.name(id).clone(),
            status: status.remove(&id).unwrap_or(Status::Group),
            hidden: is_hidden(graph.task(id)),
        })
        .collect()
}

struct Predictor<'a> {
    project: &'a mut Project,
    options: &'a Options,
    results: HashMap<TaskId, Result_>,
    status: HashMap<TaskId, Status>,
    order: Vec<TaskId>,
    /// What every task gets of our own environment.
    let_through: OnceCell<Variables>,
}

impl<'a> Predictor<'a> {
    fn new(project: &'a mut Project, options: &'a Options) -> Self {
        let (results, status) = (HashMap::new(), HashMap::new());
        Self { project, options, results, status, order: Vec::new(), let_through: OnceCell::new() }
    }

    fn visit(&mut self, id: TaskId, fetched: Option<&Arc<inputs::Inputs>>) {
        if self.status.contains_key(&id) {
            return;
        }
        let status = self.status_of(id, fetched);
        if matches!(status, Status::WillRun(_)) {
            let graph = self.project.graph.clone();
            let setup = graph.node(id).setup.iter().map(|edge| edge.to).collect();
            for needed in graph::closure(&graph, &Selection { tasks: setup }, false) {
                self.visit(needed, None);
            }
        }
        self.status.insert(id, status);
        self.order.push(id);
    }

    fn status_of(&mut self, id: TaskId, fetched: Option<&Arc<inputs::Inputs>>) -> Status {
        let graph = self.project.graph.clone();
        let (node, task) = (graph.node(id), graph.task(id));
        let record = self.project.records.get(&*task.name).cloned().unwrap_or_default();
        let needs_ignored = node.needs.iter().any(|edge| self.status.get(&edge.to) == Some(&Status::Ignored));
        if !self.options.include_ignored && (record.ignored || needs_ignored) {
            return Status::Ignored;
        }
        if task.is_group() {
            self.group_result(id);
            return Status::Group;
        }
        if let Some(success) = &record.success {
            let values = serde_json::from_str(&success.values).unwrap_or_default();
            self.results.insert(id, Result_ { digest: success.result, values: Arc::new(values), ..Result_::default() });
        }
        if let Some(At { value: Condition::Bool(false), .. }) = &task.condition {
            return Status::Skipped;
        }
        let after = self.unsettled(id);
        let probed = if after.is_empty() { self.probe(id) } else { None };
        if let Some(probed) = &probed {
            if probed.skip {
                return Status::Skipped;
            }
            if let Some(failure) = &probed.failure {
                return Status::Error(Box::new(failure.diagnostic.clone()));
            }
            if let Some(values) = &probed.values {
                self.results.entry(id).or_default().values = Arc::new(Value::Object(values.clone()));
            }
            if let Some(result) = probed.result {
                self.results.entry(id).or_default().digest = result;
            }
        }
        let decision = self.decision(id, fetched, probed.as_ref());
        Self::classify(decision, after, record.success.is_some())
    }

    fn classify(decision: Decision, after: Vec<Arc<str>>, has_record: bool) -> Status {
        match decision.verdict {
            Verdict::UpToDate if after.is_empty() => Status::UpToDate,
            Verdict::UpToDate => Status::MayRun { after, reasons: Vec::new() },
            Verdict::Ignored => Status::Ignored,
            // An input that a needed task is about to make is no error yet.
            Verdict::Error(_) if !after.is_empty() && has_record => Status::MayRun { after, reasons: Vec::new() },
            Verdict::Error(_) if !after.is_empty() => Status::WillRun(vec![Reason::NeverRan]),
            Verdict::Error(problem) => Status::Error(problem),
            Verdict::Run(reasons) => {
                // A changed input that is made again may be as before by then.
                let certain = after.is_empty() || reasons.iter().any(is_certain);
                if certain { Status::WillRun(reasons) } else { Status::MayRun { after, reasons } }
            }
        }
    }

    fn decision(&mut self, id: TaskId, fetched: Option<&Arc<inputs::Inputs>>, probed: Option<&Probed>) -> Decision {
        let graph = self.project.graph.clone();
        let sources: Vec<TaskId> =
            graph.node(id).needs.iter().filter(|edge| edge.why == graph::Why::CalcDep).map(|edge| edge.to).collect();
        let computed = values::calculated(self.project, id, &sources, &self.results).ok();
        let has_computed = !graph.task(id).calc_dep.is_empty();
        let nothing = Extra::default();
        let given = Given {
            options: self.options,
            results: &self.results,
            extra: computed.as_ref().map_or(&nothing, |computed| &computed.extra),
            inputs: fetched.filter(|_| !has_computed),
            before: None,
            probed,
            calculated: computed.as_ref().map_or(&[], |computed| &computed.uptodate),
            now: unix_millis(),
        };
        decide::decide(self.project, id, &given)
    }

    /// Needed tasks that will or may run and hand something over; through groups, too.
    fn unsettled(&self, id: TaskId) -> Vec<Arc<str>> {
        let graph = &self.project.graph;
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut open: Vec<TaskId> = graph.node(id).needs.iter().filter(|e| e.why.hands_over()).map(|e| e.to).collect();
        // What prints the members of its group may print others.
        let group = graph.task(id).group.as_ref().and_then(|group| graph.find(group));
        let printers = group.into_iter().flat_map(|group| &graph.node(group).needs);
        open.extend(printers.filter(|edge| edge.why == graph::Why::ExpandAfter).map(|edge| edge.to));
        while let Some(need) = open.pop() {
            if !seen.insert(need) {
                continue;
            }
            match self.status.get(&need) {
                Some(Status::WillRun(_) | Status::MayRun { .. }) => found.push(graph.name(need).clone()),
                Some(Status::Group) => open.extend(graph.node(need).needs.iter().map(|edge| edge.to)),
                _ => {}
            }
        }
        found.sort_unstable();
        found
    }

    fn group_result(&mut self, id: TaskId) {
        let mut hasher = crate::model::digest::Hasher::new();
        let mut values = serde_json::Map::new();
        for edge in &self.project.graph.node(id).needs {
            let result = self.results.get(&edge.to).cloned().unwrap_or_default();
            let name = self.project.graph.name(edge.to);
            hasher.field(name.as_bytes()).field(result.digest.0);
            values.insert(name.to_string(), (*result.values).clone());
        }
        let result = Result_ { digest: hasher.finish(), values: Arc::new(Value::Object(values)), ..Result_::default() };
        self.results.insert(id, result);
    }

    fn probe(&self, id: TaskId) -> Option<Probed> {
        let graph = &self.project.graph;
        let node = graph.node(id);
        if !probe::is_needed(&node.task, node.links.observes) {
            return None;
        }
        let mut getargs = serde_json::Map::new();
        for arg in &node.task.getargs {
            let value = values::argument(graph, &self.results, &arg.task, arg.key.as_deref()).ok()?;
            getargs.insert(arg.name.to_string(), value);
        }
        let words = self.project.positional.get(&id).cloned().unwrap_or_default();
        let parts = ScopeParts {
            task: &node.task,
            inputs: &[],
            changed: &[],
            params: self.project.params.get(&id),
            positional: &words,
            getargs,
        };
        let scope = scope::scope(&parts);
        let through = self.let_through.get_or_init(|| let_through(&self.project.env, &[]));
        let env = child_env(self.project, &node.task, &scope, through).ok()?;
        let previous = self.project.records.get(&*node.task.name).and_then(|record| record.success.as_ref());
        let job = Job {
            resources: values::resources(self.project, id, &self.results),
            previous: previous.and_then(|success| serde_json::from_str(&success.values).ok()),
            stop: self.options.stop.clone(),
            grace: self.options.grace,
            ..plain_job(self.project, id, scope, env)
        };
        Some(probe::probe(&job))
    }
}

/// Whether a reason holds whatever the needed tasks produce.
fn is_certain(reason: &Reason) -> bool {
    !matches!(
        reason,
        Reason::FileDepChanged { .. }
            | Reason::FileDepAdded { .. }
            | Reason::FileDepRemoved { .. }
            | Reason::ResultChanged { .. }
            | Reason::ParentChanged { .. }
    )
}

/// What accepting the current files as they are did to one task.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// Up to date already.
    Skipped,
    Done,
    Failed(Box<Diagnostic>),
}

/// Adopts the current files of these tasks without running them (doit's `reset-dep`): stored values and results stay.
///
/// # Errors
/// The state cannot be written.
pub fn accept(project: &mut Project, tasks: &[TaskId]) -> Result<Vec<(Arc<str>, Accepted)>, Diagnostic> {
    let graph = project.graph.clone();
    let options = Options::default();
    let mut done = Vec::new();
    let plan = graph::closure(&graph, &Selection { tasks: tasks.to_vec() }, false);
    let mut predictor = Predictor::new(project, &options);
    for id in plan {
        predictor.visit(id, None);
        if graph.task(id).is_group() || !tasks.contains(&id) {
            continue;
        }
        let probed = predictor.probe(id);
        let decision = predictor.decision(id, None, probed.as_ref());
        let accepted = match decision.verdict.clone() {
            Verdict::Error(problem) => Accepted::Failed(problem),
            Verdict::UpToDate | Verdict::Ignored => Accepted::Skipped,
            Verdict::Run(_) => {
                let result = predictor.results.get(&id).cloned().unwrap_or_default();
                predictor.project.accept_one(id, &decision, &result)?;
                Accepted::Done
            }
        };
        done.push((graph.name(id).clone(), accepted));
    }
    project.db.commit()?;
    project.files.save();
    Ok(done)
}

impl Project {
    fn accept_one(&mut self, id: TaskId, decision: &Decision, result: &Result_) -> Result<(), Diagnostic> {
        let name = self.graph.name(id).to_string();
        let record = self.records.entry(name.clone()).or_default();
        let seconds = record.success.as_ref().map_or(0.0, |success| success.seconds);
        let success = crate::store::db::Success {
            trace: crate::rebuild::Trace {
                fingerprint: decision.fingerprint.digest(),
                targets: decision.targets.clone(),
                changed_during_run: Vec::new(),
            },
            result: result.digest,
            values: result.values.to_string(),
            finished: unix_millis(),
            seconds,
        };
        self.db.succeed(&name, &success, &decision.fingerprint)?;
        record.success = Some(success);
        record.attempt = None;
        Ok(())
    }
}

/// The links of a task: those of all its built-in actions.
///
/// # Errors
/// Arguments that an action does not take, unknown actions.
pub fn links_of(actions: &ActionSet, task: &Task) -> Result<Links, Diagnostics> {
    let mut links = Links::default();
    for action in &task.actions {
        let ActionKind::BuiltIn { name, args } = &action.kind else { continue };
        let Some(kind) = actions.get(name) else {
            return Err(Diagnostic::error(format!("task `{}` has unknown action `{name}`", task.name))
                .at(action.place.clone())
                .maybe_help(crate::model::words::suggest("action", name, &actions.names()))
                .into());
        };
        let found = kind.links(&args.value()).map_err(|problem| {
            // What has a place of its own concerns the stack, and so every task of it: it is told once.
            if !problem.places.is_empty() {
                return problem;
            }
            let mut problem = problem.at(action.place.clone());
            problem.message = format!("task `{}`: {}", task.name, problem.message);
            problem
        })?;
        links.merge(found);
    }
    Ok(links)
}
