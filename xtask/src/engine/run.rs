//! One run: the main loop and every decision in it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::decide::{self, Decision, Given, Result_};
use super::inputs::{self, Extra, Inputs};
use super::job::{Finished, Job, Message, Probed};
use super::scope::{self, ScopeParts};
use super::{Options, Project, probe, worker};
use crate::action::Failure;
use crate::exec::environment::{Own, Variables, child_environment};
use crate::graph::{self, Graph, Selection, TaskId, Why};
use crate::model::stop::Stop;
use crate::model::task::{At, CalcDep, Condition, Uptodate};
use crate::model::{Counts, Diagnostic, Event, Outcome, Reason, RepoPath, Task, Verdict};
use crate::queue::Queue;
use crate::rebuild::LastAttempt;
use crate::schedule::{Claim, Rank, Scheduler, State};
use crate::store::db::RunTaskRow;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub exit: u8,
    pub counts: Counts,
    /// Every task that became final, in that order.
    pub outcomes: Vec<(Arc<str>, Outcome)>,
    /// Wanted, but never reached because the run stopped before.
    pub not_reached: Vec<Arc<str>>,
}

/// Runs a selection of tasks with everything they need.
///
/// # Errors
/// The state cannot be written. Failures of tasks are no errors of this function: they are in the summary.
pub fn run(
    project: &mut Project,
    selection: &Selection,
    options: &Options,
    events: &mut dyn FnMut(Event),
) -> Result<Summary, Diagnostic> {
    let mut run = Run::new(project, selection, options, events);
    run.begin(selection);
    run.turn()?;
    run.end()
}

pub(super) struct Run<'a> {
    pub project: &'a mut Project,
    pub graph: Arc<Graph>,
    pub options: &'a Options,
    pub events: &'a mut dyn FnMut(Event),
    scheduler: Scheduler,
    queue: Arc<Queue<Message>>,
    results: HashMap<TaskId, Result_>,
    pub outcomes: Vec<(TaskId, Outcome)>,
    outcome_of: HashMap<TaskId, Outcome>,
    /// For tasks that are unmet or ignored: the tasks at the root of it.
    because: HashMap<TaskId, Vec<Arc<str>>>,
    inputs: HashMap<TaskId, (u32, Inputs)>,
    extras: HashMap<TaskId, Computed>,
    decisions: HashMap<TaskId, Decision>,
    probes: HashMap<TaskId, Probed>,
    /// Tasks whose setup was asked for.
    held: HashSet<TaskId>,
    named: HashSet<TaskId>,
    /// Tasks whose output says which tasks there are.
    producers: HashSet<Arc<str>>,
    /// Groups whose members were read from another task's output.
    expanded: HashSet<TaskId>,
    /// In order of start, for teardowns.
    pub started: Vec<TaskId>,
    pub counts: Counts,
    pub saved: Duration,
    pub begun: Instant,
    stopping: bool,
    /// Grows whenever a task has run: what was observed before may be old.
    epoch: u32,
    decided_in: HashMap<TaskId, u32>,
    /// Reasons and key of tasks that have run, for the history.
    last_reasons: HashMap<TaskId, (String, String)>,
    pub history: Vec<RunTaskRow>,
    order: u32,
}

/// What calc_dep has added to a task so far.
#[derive(Default)]
struct Computed {
    extra: Extra,
    uptodate: Vec<Uptodate>,
    sources: Vec<TaskId>,
    /// Tasks that were added as needs.
    needs: Vec<TaskId>,
}

impl<'a> Run<'a> {
    fn new(
        project: &'a mut Project,
        selection: &Selection,
        options: &'a Options,
        events: &'a mut dyn FnMut(Event),
    ) -> Self {
        let graph = project.graph.clone();
        let mut scheduler = Scheduler::new(options.jobs, project.pools.clone());
        scheduler.grow(graph.len());
        let after = graph.ids().filter_map(|id| graph.task(id).expand_after.as_ref().map(|task| task.value.clone()));
        let producers = after.collect();
        let named = if options.single { selection.tasks.iter().copied().collect() } else { HashSet::new() };
        Self {
            project,
            graph,
            options,
            events,
            scheduler,
            queue: Arc::default(),
            results: HashMap::new(),
            outcomes: Vec::new(),
            outcome_of: HashMap::new(),
            because: HashMap::new(),
            inputs: HashMap::new(),
            extras: HashMap::new(),
            decisions: HashMap::new(),
            probes: HashMap::new(),
            held: HashSet::new(),
            named,
            producers,
            expanded: HashSet::new(),
            started: Vec::new(),
            counts: Counts::default(),
            saved: Duration::ZERO,
            begun: Instant::now(),
            stopping: false,
            epoch: 0,
            decided_in: HashMap::new(),
            last_reasons: HashMap::new(),
            history: Vec::new(),
            order: 0,
        }
    }

    pub(super) fn emit(&mut self, event: Event) {
        (self.events)(event);
    }

    fn begin(&mut self, selection: &Selection) {
        let plan = graph::closure(&self.graph, selection, self.options.single);
        self.project.files.next_epoch();
        let fetched = inputs::prefetch(self.project, &plan);
        self.inputs = fetched.into_iter().map(|(id, inputs)| (id, (0, inputs))).collect();
        let visible = plan.iter().filter(|id| !is_hidden(self.graph.task(**id))).count();
        let expected = self.expected(&plan);
        self.emit(Event::RunStarted {
            run_id: format!("{}-{}", unix_seconds(), std::process::id()),
            tasks: visible,
            workers: self.options.jobs,
            expected,
        });
        self.want_all(&plan);
    }

    /// The sum of what is known of durations; only for a guess of the remaining time.
    fn expected(&self, plan: &[TaskId]) -> Option<Duration> {
        let known = plan.iter().filter_map(|id| self.recorded_seconds(*id));
        let sum: f64 = known.sum();
        (sum > 0.0).then(|| Duration::from_secs_f64(sum))
    }

    fn recorded_seconds(&self, id: TaskId) -> Option<f64> {
        let record = self.project.records.get(&**self.graph.name(id))?;
        Some(record.success.as_ref()?.seconds)
    }

    /// Wants these tasks, needed ones first.
    fn want_all(&mut self, plan: &[TaskId]) {
        let paths = self.critical_paths(plan);
        let mut seed = self.options.shuffle;
        for id in plan {
            let path = match &mut seed {
                Some(seed) => next_random(seed),
                None => paths.get(id).copied().unwrap_or(0.0),
            };
            let rank = Rank { path, order: self.order };
            self.order += 1;
            let needs: Vec<u32> = self.followed(*id).map(|to| to.0).collect();
            self.scheduler.want(id.0, rank, claim(self.graph.task(*id)), needs);
        }
    }

    /// The tasks that must be final before this one, as far as the mode counts them.
    fn followed(&self, id: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        let node = self.graph.node(id);
        let single = self.named.contains(&id) && !node.task.is_group();
        node.needs.iter().filter(move |edge| graph::follows(&edge.why, single)).map(|edge| edge.to)
    }

    /// Seconds from the start of each task to the end of the plan. With one worker the order of the plan counts.
    fn critical_paths(&self, plan: &[TaskId]) -> HashMap<TaskId, f64> {
        let mut paths: HashMap<TaskId, f64> = HashMap::new();
        if self.options.jobs <= 1 {
            return paths;
        }
        for id in plan.iter().rev() {
            let after = paths.get(id).copied().unwrap_or(0.0);
            let own = after + self.recorded_seconds(*id).unwrap_or(0.0);
            paths.insert(*id, own);
            for edge in &self.graph.node(*id).needs {
                let path = paths.entry(edge.to).or_insert(0.0);
                *path = path.max(own);
            }
        }
        paths
    }

    fn turn(&mut self) -> Result<(), Diagnostic> {
        loop {
            self.look_at_stop();
            self.decide_ready()?;
            self.start_queued()?;
            self.project.db.commit()?;
            let idle = !self.scheduler.is_busy();
            if idle && (self.stopping || self.scheduler.is_finished()) {
                return Ok(());
            }
            if let Some(message) = self.queue.pop(Duration::from_millis(100)) {
                self.receive(message)?;
                for message in self.queue.drain() {
                    self.receive(message)?;
                }
            }
        }
    }

    fn look_at_stop(&mut self) {
        self.stopping |= self.options.stop.level() != Stop::No;
    }

    fn decide_ready(&mut self) -> Result<(), Diagnostic> {
        while !self.stopping {
            // A probe takes a worker, so do not look further than there is room.
            if !self.scheduler.has_room() && self.scheduler.is_busy() {
                return Ok(());
            }
            let Some(task) = self.scheduler.next_to_decide() else { return Ok(()) };
            self.consider(TaskId(task))?;
        }
        Ok(())
    }

    /// A task whose needs are final: ignored, unmet, or to be decided.
    fn consider(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let graph = self.graph.clone();
        let task = graph.task(id);
        let ignored = !self.options.include_ignored && self.record_is_ignored(id);
        let needs: Vec<TaskId> = self.all_needs(id);
        let bad = |run: &Self, wanted: fn(Outcome) -> bool| -> Vec<TaskId> {
            needs
                .iter()
                .copied()
                .filter(|need| run.outcome_of.get(need).is_some_and(|outcome| wanted(*outcome)))
                .collect()
        };
        let unmet = bad(self, |outcome| !outcome.is_good() && outcome != Outcome::Ignored);
        if !unmet.is_empty() {
            return self.unmet(id, &unmet);
        }
        let ignoring = bad(self, |outcome| outcome == Outcome::Ignored);
        if ignored || !ignoring.is_empty() {
            return self.ignore(id, &ignoring);
        }
        if self.held.contains(&id) && self.decisions.contains_key(&id) {
            return self.after_setup(id);
        }
        if task.is_group() && task.expand_after.is_none() {
            return self.finish_group(id);
        }
        if task.expand_after.is_some() {
            return self.expand(id);
        }
        if !self.compute_dependencies(id)? {
            return Ok(());
        }
        if let Some(At { value: Condition::Bool(false), .. }) = &task.condition {
            return self.skip(id);
        }
        if probe::is_needed(task, graph.node(id).links.observes) && !self.probes.contains_key(&id) {
            return self.start_probe(id);
        }
        self.decide(id)
    }

    fn record_is_ignored(&self, id: TaskId) -> bool {
        self.project.records.get(&**self.graph.name(id)).is_some_and(|record| record.ignored)
    }

    fn all_needs(&self, id: TaskId) -> Vec<TaskId> {
        let mut needs: Vec<TaskId> = self.followed(id).collect();
        if let Some(computed) = self.extras.get(&id) {
            needs.extend(&computed.needs);
            needs.extend(&computed.sources);
        }
        if self.held.contains(&id) {
            needs.extend(self.graph.node(id).setup.iter().map(|edge| edge.to));
        }
        needs
    }

    fn unmet(&mut self, id: TaskId, bad: &[TaskId]) -> Result<(), Diagnostic> {
        let mut roots: Vec<Arc<str>> = Vec::new();
        for need in bad {
            let deeper = self.because.get(need).filter(|_| self.outcome_of.get(need) == Some(&Outcome::Unmet));
            roots.extend(deeper.cloned().unwrap_or_else(|| vec![self.graph.name(*need).clone()]));
        }
        roots.sort_unstable();
        roots.dedup();
        let names = crate::model::words::list(roots.iter());
        let problem = Diagnostic::error(format!("task `{}` was not run: it needs {names}", self.graph.name(id)));
        self.because.insert(id, roots);
        self.finish(id, Outcome::Unmet, Duration::ZERO, Some(problem), Ended::default())
    }

    fn ignore(&mut self, id: TaskId, because: &[TaskId]) -> Result<(), Diagnostic> {
        let names = because.iter().map(|need| self.graph.name(*need).clone()).collect();
        self.because.insert(id, names);
        self.decided(id, Verdict::Ignored);
        self.finish(id, Outcome::Ignored, Duration::ZERO, None, Ended::default())
    }

    fn skip(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        self.remember_recorded(id);
        self.finish(id, Outcome::Skipped, Duration::ZERO, None, Ended::default())
    }

    /// A group passes when its members pass; its result is theirs.
    fn finish_group(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let mut hasher = crate::model::digest::Hasher::new();
        let mut values = Map::new();
        let mut ran = false;
        for need in self.followed(id).collect::<Vec<_>>() {
            let result = self.results.get(&need).cloned().unwrap_or_default();
            let name = self.graph.name(need);
            hasher.field(name.as_bytes()).field(result.digest.0);
            values.insert(name.to_string(), (*result.values).clone());
            ran |= self.outcome_of.get(&need) == Some(&Outcome::Ran);
        }
        let result = Result_ { digest: hasher.finish(), values: Arc::new(Value::Object(values)), ..Result_::default() };
        self.results.insert(id, result);
        let outcome = if ran { Outcome::Ran } else { Outcome::UpToDate };
        self.finish(id, outcome, Duration::ZERO, None, Ended::default())
    }

    /// `expand_after`: the members come out of the other task's output.
    fn expand(&mut self, id: TaskId) -> Result<(), Diagnostic> {
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
    fn grow(&mut self, group: &Task, text: &str) -> Result<Vec<TaskId>, Diagnostic> {
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
    fn late_edges(&self, new: &Graph, before: u32) -> Result<(), Diagnostic> {
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
    fn compute_dependencies(&mut self, id: TaskId) -> Result<bool, Diagnostic> {
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

    fn start_probe(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let job = match self.job(id, &[], &[]) {
            Ok(job) => job,
            Err(problem) => {
                self.decided(id, Verdict::Error(Box::new(problem.clone())));
                return self.finish(id, Outcome::Error, Duration::ZERO, Some(problem), Ended::default());
            }
        };
        let queue = self.queue.clone();
        std::thread::spawn(move || {
            let probed = guarded(|| probe::probe(&job))
                .unwrap_or_else(|failure| Probed { failure: Some(failure), ..Probed::default() });
            queue.push(Message::Probed(id, Box::new(probed)));
        });
        Ok(())
    }

    fn decide(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let decision = self.decision(id);
        match decision.verdict.clone() {
            Verdict::UpToDate => self.up_to_date(id, &decision),
            Verdict::Error(problem) => {
                self.decided(id, decision.verdict);
                self.finish(id, Outcome::Error, Duration::ZERO, Some(*problem), Ended::default())
            }
            Verdict::Ignored => self.ignore(id, &[]),
            Verdict::Run(_) => {
                self.decided(id, decision.verdict.clone());
                self.decisions.insert(id, decision);
                self.setup(id)
            }
        }
    }

    fn decision(&mut self, id: TaskId) -> Decision {
        self.decided_in.insert(id, self.epoch);
        let nothing = Computed::default();
        let computed = self.extras.get(&id).unwrap_or(&nothing);
        let fresh = self.inputs.get(&id).filter(|(epoch, _)| *epoch == self.epoch).map(|(_, inputs)| inputs);
        let given = Given {
            options: self.options,
            results: &self.results,
            extra: &computed.extra,
            inputs: fresh,
            probed: self.probes.get(&id),
            calculated: &computed.uptodate,
            now: unix_seconds(),
        };
        decide::decide(self.project, id, &given)
    }

    /// Setup tasks run only if the task must run; it is started after them.
    fn setup(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let setup: Vec<TaskId> = self.graph.node(id).setup.iter().map(|edge| edge.to).collect();
        if setup.is_empty() {
            self.scheduler.queue(id.0);
            return Ok(());
        }
        self.held.insert(id);
        let plan = graph::closure(&self.graph, &Selection { tasks: setup.clone() }, false);
        self.want_all(&plan);
        if self.scheduler.hold(id.0, setup.iter().map(|to| to.0)) {
            return Ok(());
        }
        self.consider(id)
    }

    /// The setup tasks are final: the inputs may be others now.
    fn after_setup(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let before = self.decisions.remove(&id);
        let mut decision = self.decision(id);
        if let Verdict::Error(problem) = decision.verdict {
            return self.finish(id, Outcome::Error, Duration::ZERO, Some(*problem), Ended::default());
        }
        if let Some(before) = before {
            decision.verdict = before.verdict;
        }
        self.decisions.insert(id, decision);
        self.scheduler.queue(id.0);
        Ok(())
    }

    fn up_to_date(&mut self, id: TaskId, decision: &Decision) -> Result<(), Diagnostic> {
        self.remember_recorded(id);
        let probed = self.probes.remove(&id);
        if let Some(probed) = &probed {
            let result = self.results.entry(id).or_default();
            if let Some(values) = &probed.values {
                result.values = Arc::new(Value::Object(values.clone()));
            }
            result.digest = probed.result.unwrap_or(result.digest);
        }
        self.adopt(id, decision)?;
        if let Some(seconds) = self.recorded_seconds(id) {
            self.saved += Duration::from_secs_f64(seconds.max(0.0));
        }
        self.decided(id, Verdict::UpToDate);
        self.finish(id, Outcome::UpToDate, Duration::ZERO, None, Ended::default())
    }

    /// The effect is there although no record says so (a lost state, an image that somebody else built): writes one.
    fn adopt(&mut self, id: TaskId, decision: &Decision) -> Result<(), Diagnostic> {
        let name = self.graph.name(id).to_string();
        let record = self.project.records.get(&name);
        let is_current = record.is_some_and(|record| {
            record.attempt.is_none()
                && record
                    .success
                    .as_ref()
                    .is_some_and(|success| success.trace.fingerprint == decision.fingerprint.digest())
        });
        if is_current || decision.fingerprint.parts().is_empty() {
            return Ok(());
        }
        let has_fact =
            decision.fingerprint.parts().iter().any(|part| !matches!(part.key, crate::rebuild::PartKey::Definition(_)));
        if !has_fact {
            return Ok(());
        }
        let seconds = self.recorded_seconds(id).unwrap_or(0.0);
        self.write_success(id, decision, seconds, Vec::new())
    }

    /// What the last success left, for tasks that take it.
    fn remember_recorded(&mut self, id: TaskId) {
        if let Some(success) =
            self.project.records.get(&**self.graph.name(id)).and_then(|record| record.success.as_ref())
        {
            let values = serde_json::from_str(&success.values).unwrap_or_default();
            self.results.insert(id, Result_ { digest: success.result, values: Arc::new(values), ..Result_::default() });
        }
    }

    fn decided(&mut self, id: TaskId, verdict: Verdict) {
        let task = self.graph.node(id).task.clone();
        let hidden = is_hidden(&task);
        self.emit(Event::TaskDecided { task: task.name.clone(), verdict, hidden });
    }

    fn start_queued(&mut self) -> Result<(), Diagnostic> {
        let mut started = Vec::new();
        while !self.stopping {
            let Some(task) = self.scheduler.next_to_start() else { break };
            started.push(TaskId(task));
        }
        if started.is_empty() {
            return Ok(());
        }
        for id in &started {
            self.project.db.withdraw(self.graph.name(*id))?;
            self.project.records.entry(self.graph.name(*id).to_string()).or_default().attempt =
                Some(LastAttempt::Running);
        }
        // Durable before the first action: a killed run must not leave a record that still counts.
        self.project.db.commit()?;
        for id in started {
            self.start(id)?;
        }
        Ok(())
    }

    fn start(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let task = self.graph.node(id).task.clone();
        let Some(mut decision) = self.decisions.remove(&id) else { return Ok(()) };
        if self.decided_in.get(&id) != Some(&self.epoch) {
            self.refresh(id, &mut decision);
        }
        let (inputs, changed) = (decision.inputs.clone(), decision.changed.clone());
        self.decisions.insert(id, decision);
        let expected = self.recorded_seconds(id).map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
        let mut job = match self.job(id, &inputs, &changed) {
            Ok(job) => job,
            Err(problem) => return self.finish(id, Outcome::Error, Duration::ZERO, Some(problem), Ended::default()),
        };
        let title = task.title.as_ref().and_then(|title| job.expander.text(title, &job.scope, false).ok());
        let title = title.map_or_else(|| task.name.clone(), Arc::from);
        self.started.push(id);
        let verbosity = self.verbosity(&task);
        self.emit(Event::TaskStarted {
            task: task.name.clone(),
            title,
            expected,
            verbosity,
            interactive: task.interactive,
        });
        job.inputs = inputs.iter().map(|path| (path.clone(), self.project.files.peek(path).stat())).collect();
        let optional = |path: &RepoPath| task.targets.iter().any(|target| target.path == *path && target.optional);
        job.targets =
            inputs::target_paths(&self.graph, id).into_iter().map(|path| (path.clone(), optional(&path))).collect();
        let queue = self.queue.clone();
        std::thread::spawn(move || {
            let finished = guarded(|| worker::run(&job, &queue)).unwrap_or_else(Finished::broken);
            queue.push(Message::Finished(id, Box::new(finished)));
        });
        Ok(())
    }

    /// Something has run since the decision: signs the inputs again, right before the first action.
    fn refresh(&mut self, id: TaskId, decision: &mut Decision) {
        let again = self.decision(id);
        if !matches!(again.verdict, Verdict::Error(_)) {
            decision.fingerprint = again.fingerprint;
            decision.inputs = again.inputs;
            decision.changed = again.changed;
        }
    }

    fn verbosity(&self, task: &Task) -> u8 {
        self.options.verbosity.or(task.verbosity).or(self.project.config.verbosity).unwrap_or(1)
    }

    /// Everything a worker needs of one task.
    fn job(&self, id: TaskId, inputs: &[RepoPath], changed: &[RepoPath]) -> Result<Job, Diagnostic> {
        let task = self.graph.node(id).task.clone();
        let mut getargs = Map::new();
        for arg in &task.getargs {
            let value = decide::argument(&self.graph, &self.results, &arg.task, arg.key.as_deref());
            getargs.insert(arg.name.to_string(), value.map_err(|problem| problem.at(arg.place.clone()))?);
        }
        let no_words = Vec::new();
        let scope = scope::scope(&ScopeParts {
            task: &task,
            inputs,
            changed,
            params: self.project.params.get(&id),
            positional: self.project.positional.get(&id).unwrap_or(&no_words),
            getargs,
        });
        let env = self.child_env(&task, &scope)?;
        let previous = self.project.records.get(&*task.name).and_then(|record| record.success.as_ref());
        let previous = previous.and_then(|success| serde_json::from_str(&success.values).ok());
        Ok(Job {
            root: Arc::new(self.project.root.clone()),
            actions: self.project.actions.clone(),
            expander: self.project.expander.clone(),
            resources: decide::resources(&self.graph, id, &self.results),
            scope,
            env,
            previous,
            stop: self.options.stop.clone(),
            grace: self.project.config.grace.unwrap_or(self.options.grace),
            inputs: Vec::new(),
            targets: Vec::new(),
            task,
        })
    }

    fn child_env(&self, task: &Task, scope: &Value) -> Result<Vec<(OsString, OsString)>, Diagnostic> {
        let broken = |why: String| {
            Diagnostic::error(format!("env of task `{}` cannot be expanded", task.name))
                .at(task.place.clone())
                .cause(why)
        };
        let declared = scope::expand_env(&*self.project.expander, &task.env, scope).map_err(broken)?;
        let mut declared: Variables = declared.into_iter().collect();
        let values = self.project.root.join(crate::store::STATE_DIR).join(format!("values-{}.json", safe(&task.name)));
        declared.insert("XTASK_VALUES".into(), values.into());
        let pass: Vec<&str> = task.pass_env.iter().map(|name| &**name).collect();
        let own = Own { token: &self.project.token, root: self.project.root.as_os_str(), task: &task.name };
        Ok(child_environment(&self.project.env, &pass, &declared, &own).into_iter().collect())
    }

    fn receive(&mut self, message: Message) -> Result<(), Diagnostic> {
        match message {
            Message::Output(event) => {
                self.emit(event);
                Ok(())
            }
            Message::Probed(id, probed) => self.probed(id, *probed),
            Message::Finished(id, finished) => self.ended(id, *finished),
        }
    }

    fn probed(&mut self, id: TaskId, mut probed: Probed) -> Result<(), Diagnostic> {
        if probed.skip {
            return self.skip(id);
        }
        if let Some(Failure { diagnostic, interrupted, is_error }) = probed.failure.take() {
            let outcome = match is_error {
                _ if interrupted || self.options.stop.is_requested() => Outcome::Interrupted,
                true => Outcome::Error,
                false => Outcome::Failed,
            };
            self.decided(id, Verdict::Error(Box::new(diagnostic.clone())));
            return self.finish(id, outcome, Duration::ZERO, Some(diagnostic), Ended::default());
        }
        self.probes.insert(id, probed);
        self.decide(id)
    }

    fn ended(&mut self, id: TaskId, finished: Finished) -> Result<(), Diagnostic> {
        self.epoch += 1;
        self.project.files.next_epoch();
        if let Some(warning) = finished.leaky.clone() {
            self.emit(Event::Notice(Box::new(warning)));
        }
        let name = self.graph.name(id).clone();
        let log = finished.has_log.then(|| crate::store::logs::relative(&name));
        let mut ended = Ended { tail: finished.tail.clone(), log, remark: finished.remark.clone() };
        let Some(failure) = &finished.failure else {
            self.succeeded(id, &finished)?;
            ended.tail.clear();
            return self.finish(id, Outcome::Ran, finished.duration, None, ended);
        };
        let (outcome, attempt) = match failure {
            Failure { interrupted: true, .. } => (Outcome::Interrupted, LastAttempt::Interrupted),
            Failure { is_error: true, .. } => (Outcome::Error, LastAttempt::Failed),
            Failure { .. } => (Outcome::Failed, LastAttempt::Failed),
        };
        self.project.db.fail(&name, attempt)?;
        self.project.records.entry(name.to_string()).or_default().attempt = Some(attempt);
        self.finish(id, outcome, finished.duration, Some(failure.diagnostic.clone()), ended)
    }

    /// Keeps the result, compares the inputs with those before, writes the record.
    fn succeeded(&mut self, id: TaskId, finished: &Finished) -> Result<(), Diagnostic> {
        for (path, state) in &finished.targets {
            self.project.files.learn(path, state.clone());
        }
        let mut values = finished.values.clone();
        if self.producers.contains(self.graph.name(id)) {
            // Kept, so that the members are known when this task is up to date the next time.
            values.insert("stdout".into(), Value::from(String::from_utf8_lossy(&finished.stdout)));
        }
        let result = Result_ {
            digest: finished.result,
            values: Arc::new(Value::Object(values)),
            stdout: finished.stdout.clone().into(),
        };
        self.results.insert(id, result);
        let Some(mut decision) = self.decisions.remove(&id) else { return Ok(()) };
        self.last_reasons.insert(id, (reasons_json(&decision.verdict), decision.fingerprint.digest().hex()));
        let task = self.graph.node(id).task.clone();
        decision.targets = finished
            .targets
            .iter()
            .map(|(path, state)| decide::trace_target(path, decide::policy_of(&task, path), state))
            .collect();
        let mut changed = finished.moved_inputs.clone();
        if task.in_out || !changed.is_empty() {
            let own = inputs::target_paths(&self.graph, id);
            changed.retain(|path| !task.in_out && !own.contains(path));
        }
        if task.in_out {
            // Their content after the run is the baseline.
            self.inputs.remove(&id);
            decision.fingerprint = self.decision(id).fingerprint;
        }
        self.write_success(id, &decision, finished.duration.as_secs_f64(), changed)
    }

    pub(super) fn write_success(
        &mut self,
        id: TaskId,
        decision: &Decision,
        seconds: f64,
        changed_during_run: Vec<RepoPath>,
    ) -> Result<(), Diagnostic> {
        let name = self.graph.name(id).to_string();
        let result = self.results.get(&id).cloned().unwrap_or_default();
        let success = crate::store::db::Success {
            trace: crate::rebuild::Trace {
                fingerprint: decision.fingerprint.digest(),
                targets: decision.targets.clone(),
                changed_during_run,
            },
            result: result.digest,
            values: result.values.to_string(),
            finished: unix_seconds(),
            seconds,
        };
        self.project.db.succeed(&name, &success, &decision.fingerprint)?;
        let record = self.project.records.entry(name).or_default();
        record.success = Some(success);
        record.attempt = None;
        Ok(())
    }

    /// A task is final.
    fn finish(
        &mut self,
        id: TaskId,
        outcome: Outcome,
        duration: Duration,
        problem: Option<Diagnostic>,
        ended: Ended,
    ) -> Result<(), Diagnostic> {
        let task = self.graph.node(id).task.clone();
        let reasons = self.history_reasons(id, outcome);
        self.probes.remove(&id);
        self.decisions.remove(&id);
        self.outcome_of.insert(id, outcome);
        self.outcomes.push((id, outcome));
        if !task.is_group() {
            self.counts.add(outcome);
        }
        if !matches!(outcome, Outcome::UpToDate | Outcome::Ignored) && !task.is_group() {
            let (reasons, key) = reasons;
            self.history.push(RunTaskRow {
                task: task.name.to_string(),
                outcome,
                seconds: duration.as_secs_f64(),
                reasons,
                key,
            });
        }
        let because = self.because.get(&id).cloned().unwrap_or_default();
        let verbosity = self.verbosity(&task);
        let expected = self.recorded_seconds(id).map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
        self.emit(Event::TaskFinished {
            task: task.name.clone(),
            expected,
            outcome,
            duration,
            problem: problem.map(Box::new),
            tail: ended.tail,
            log: ended.log,
            because,
            remark: ended.remark,
            hidden: is_hidden(&task),
            verbosity,
        });
        self.scheduler.finish(id.0, outcome);
        let stops = matches!(outcome, Outcome::Failed | Outcome::Error) && !self.options.keep_going;
        self.stopping |= stops || outcome == Outcome::Interrupted;
        Ok(())
    }

    fn history_reasons(&self, id: TaskId, outcome: Outcome) -> (String, String) {
        let Some(decision) = self.decisions.get(&id).filter(|_| outcome != Outcome::UpToDate) else {
            return self.last_reasons.get(&id).cloned().unwrap_or_else(|| ("[]".into(), String::new()));
        };
        (reasons_json(&decision.verdict), decision.fingerprint.digest().hex())
    }

    pub(super) fn not_reached(&self) -> Vec<Arc<str>> {
        let open = |id: &TaskId| !matches!(self.scheduler.state(id.0), State::Unwanted | State::Done(_));
        self.graph.ids().filter(open).map(|id| self.graph.name(id).clone()).collect()
    }

    pub(super) fn teardown_job(&self, id: TaskId) -> Result<Job, Diagnostic> {
        self.job(id, &[], &[])
    }

    pub(super) fn shared_queue(&self) -> Arc<Queue<Message>> {
        self.queue.clone()
    }
}

/// What is known of a task's end beside its outcome.
#[derive(Default)]
struct Ended {
    tail: Vec<String>,
    log: Option<String>,
    remark: Option<String>,
}

fn known_sources_are_read(extras: &HashMap<TaskId, Computed>, id: TaskId, read: &[TaskId]) -> bool {
    extras.get(&id).is_none_or(|computed| computed.sources.iter().all(|source| read.contains(source)))
}

/// Groups and private tasks get no line of their own.
pub(super) fn is_hidden(task: &Task) -> bool {
    task.is_group() || task.is_private()
}

fn claim(task: &Task) -> Claim {
    let mutex = task.mutex.as_ref().map(|name| Arc::from(format!("mutex {name}")));
    Claim { pools: task.pool.iter().cloned().chain(mutex).collect(), exclusive: task.interactive }
}

pub(super) fn reasons_json(verdict: &Verdict) -> String {
    let reasons: Vec<Value> = match verdict {
        Verdict::Run(reasons) => reasons.iter().map(Reason::to_json).collect(),
        _ => Vec::new(),
    };
    Value::from(reasons).to_string()
}

pub(super) fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// A name as part of a file name.
fn safe(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect()
}

/// A panic on a worker is a bug of ours, and must not hang the run.
pub(super) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, Failure> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Failure::error(Diagnostic::error("internal error in a worker").cause(text).note("this is a bug in xtask"))
    })
}

/// splitmix64: enough to shuffle, and repeatable from a seed.
fn next_random(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64
}
