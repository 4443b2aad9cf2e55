//! What to do with a task whose needs are final: ignored, unmet, skipped, up to date, or to be run. Knows nothing of
//! how actions run.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::decide::{self, Decision, Given};
use super::job::{Message, Probed};
use super::probe;
use super::values::Result_;
use crate::action::Failure;
use crate::graph::{self, Selection, TaskId};
use crate::model::task::{At, Condition};
use crate::model::{Diagnostic, Event, Outcome, Verdict};

use super::ended::Ended;
use super::run::{Computed, Run, guarded, is_hidden, unix_millis};

/// So often a task is decided again because its inputs were being written: a file that never rests is read as it is.
const LOOKS: usize = 3;

impl Run<'_> {
    pub(super) fn decide_ready(&mut self) -> Result<(), Diagnostic> {
        while !self.stopping {
            // A probe takes a worker, and what is decided long before it starts must be decided again.
            if !self.scheduler.has_room() && !self.scheduler.is_idle() {
                return Ok(());
            }
            let Some(task) = self.scheduler.next_to_decide() else { return Ok(()) };
            self.consider(TaskId(task))?;
        }
        Ok(())
    }

    /// A task whose needs are final: ignored, unmet, or to be decided.
    pub(super) fn consider(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let graph = self.graph.clone();
        let task = graph.task(id);
        let ignored = !self.options.include_ignored && self.record_is_ignored(id);
        let needs: Vec<TaskId> = self.all_needs(id);
        if self.waits_for_new(id, &needs) {
            return Ok(());
        }
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
        if self.stays(id) {
            return self.stay(id);
        }
        if task.expand_after.is_some() {
            return self.expand(id);
        }
        if self.is_unchanged(id) {
            self.untouched.insert(id);
            return self.known_up_to_date(id);
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

    pub(super) fn record_is_ignored(&self, id: TaskId) -> bool {
        self.project.records.get(&**self.graph.name(id)).is_some_and(|record| record.ignored)
    }

    pub(super) fn all_needs(&self, id: TaskId) -> Vec<TaskId> {
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

    pub(super) fn unmet(&mut self, id: TaskId, bad: &[TaskId]) -> Result<(), Diagnostic> {
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

    pub(super) fn ignore(&mut self, id: TaskId, because: &[TaskId]) -> Result<(), Diagnostic> {
        let names = because.iter().map(|need| self.graph.name(*need).clone()).collect();
        self.because.insert(id, names);
        self.decided(id, Verdict::Ignored);
        self.finish(id, Outcome::Ignored, Duration::ZERO, None, Ended::default())
    }

    pub(super) fn skip(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        self.remember_recorded(id);
        self.finish(id, Outcome::Skipped, Duration::ZERO, None, Ended::default())
    }

    /// A group passes when its members pass; its result is theirs.
    pub(super) fn finish_group(&mut self, id: TaskId) -> Result<(), Diagnostic> {
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

    pub(super) fn start_probe(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let job = match self.job(id, &[], &[]) {
            Ok(job) => job,
            Err(problem) => {
                self.decided(id, Verdict::Error(Box::new(problem.clone())));
                return self.finish(id, Outcome::Error, Duration::ZERO, Some(problem), Ended::default());
            }
        };
        let (queue, alive) = (self.queue.clone(), self.alive.clone());
        self.crew.run(move || {
            let probed = guarded(|| probe::probe(&job))
                .unwrap_or_else(|failure| Probed { failure: Some(failure), ..Probed::default() });
            queue.push(Message::Probed(id, Box::new(probed)));
            drop(alive);
        });
        Ok(())
    }

    pub(super) fn decide(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let mut decision = self.decision(id);
        let mut looks = 0;
        while looks < LOOKS
            && super::live::hangs_on_files(&decision.verdict)
            && self.read_too_soon(id, &decision.verdict)
        {
            decision = self.decision(id);
            looks += 1;
        }
        match decision.verdict.clone() {
            Verdict::UpToDate => self.up_to_date(id, &decision),
            // What it misses may be made by a member that comes up later.
            Verdict::Error(_) if self.waits_for_expansion(id) => Ok(()),
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

    pub(super) fn decision(&mut self, id: TaskId) -> Decision {
        self.decided_in.insert(id, self.epoch);
        let nothing = Computed::default();
        let computed = self.extras.get(&id).unwrap_or(&nothing);
        let known = self.inputs.get(&id);
        let has_more = !computed.extra.file_dep.is_empty() || !computed.extra.discovered.is_empty();
        let given = Given {
            options: self.options,
            results: &self.results,
            extra: &computed.extra,
            inputs: known.filter(|(epoch, _)| *epoch == self.epoch).map(|(_, inputs)| inputs),
            before: known.filter(|_| !has_more).map(|(_, inputs)| inputs),
            probed: self.probes.get(&id),
            calculated: &computed.uptodate,
            now: unix_millis(),
        };
        decide::decide(self.project, id, &given)
    }

    /// Setup tasks run only if the task must run; it is started after them.
    pub(super) fn setup(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let setup: Vec<TaskId> = self.graph.node(id).setup.iter().map(|edge| edge.to).collect();
        if setup.is_empty() {
            self.scheduler.queue(id.0);
            return Ok(());
        }
        self.held.insert(id);
        let plan = graph::closure(&self.graph, &Selection { tasks: setup.clone() }, false);
        self.reconsider(&plan);
        self.want_all(&plan);
        if self.scheduler.hold(id.0, setup.iter().map(|to| to.0)) {
            return Ok(());
        }
        self.consider(id)
    }

    /// The setup tasks are final: the inputs may be others now.
    pub(super) fn after_setup(&mut self, id: TaskId) -> Result<(), Diagnostic> {
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

    pub(super) fn up_to_date(&mut self, id: TaskId, decision: &Decision) -> Result<(), Diagnostic> {
        self.remember_recorded(id);
        let probed = self.probes.remove(&id);
        if let Some(probed) = &probed {
            let result = self.results.entry(id).or_default();
            if let Some(values) = &probed.values {
                result.values = Arc::new(Value::Object(values.clone()));
            }
            result.digest = probed.result.unwrap_or(result.digest);
        }
        let adopted = self.adopt(id, decision)?;
        self.saw(id, decision.inputs.clone(), adopted);
        self.told_up_to_date(id)
    }

    /// Without a decision: nothing that its last one was made of has changed.
    fn known_up_to_date(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        self.remember_recorded(id);
        self.told_up_to_date(id)
    }

    fn told_up_to_date(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        if let Some(seconds) = self.recorded_seconds(id) {
            self.saved += Duration::from_secs_f64(seconds.max(0.0));
        }
        self.decided(id, Verdict::UpToDate);
        self.finish(id, Outcome::UpToDate, Duration::ZERO, None, Ended::default())
    }

    /// The effect is there although no record says so (a lost state, an image that somebody else built): writes one.
    /// Whether it did.
    pub(super) fn adopt(&mut self, id: TaskId, decision: &Decision) -> Result<bool, Diagnostic> {
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
            return Ok(false);
        }
        let has_fact =
            decision.fingerprint.parts().iter().any(|part| !matches!(part.key, crate::rebuild::PartKey::Definition(_)));
        if !has_fact {
            return Ok(false);
        }
        let seconds = self.recorded_seconds(id).unwrap_or(0.0);
        self.write_success(id, decision, seconds, Vec::new())?;
        Ok(true)
    }

    /// What the last success left, for tasks that take it.
    pub(super) fn remember_recorded(&mut self, id: TaskId) {
        if let Some(success) =
            self.project.records.get(&**self.graph.name(id)).and_then(|record| record.success.as_ref())
        {
            let values = serde_json::from_str(&success.values).unwrap_or_default();
            self.results.insert(id, Result_ { digest: success.result, values: Arc::new(values), ..Result_::default() });
        }
    }

    pub(super) fn decided(&mut self, id: TaskId, verdict: Verdict) {
        let task = self.graph.node(id).task.clone();
        let hidden = is_hidden(&task);
        self.emit(Event::TaskDecided { task: task.name.clone(), verdict, after: Vec::new(), hidden });
    }

    pub(super) fn probed(&mut self, id: TaskId, mut probed: Probed) -> Result<(), Diagnostic> {
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
}
