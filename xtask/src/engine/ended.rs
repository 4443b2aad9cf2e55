//! A task is final: keeps its result, writes its record, tells everybody. Knows nothing of what comes next.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::decide::{self, Decision};
use super::inputs;
use super::job::Finished;
use super::run::{Run, is_hidden, reasons_json, unix_millis};
use super::values::Result_;
use crate::action::Failure;
use crate::graph::TaskId;
use crate::model::{Diagnostic, Event, Outcome, RepoPath, Step};
use crate::rebuild::LastAttempt;
use crate::schedule::State;
use crate::store::db::RunTaskRow;

impl Run<'_> {
    pub(super) fn ended(&mut self, id: TaskId, finished: Finished) -> Result<(), Diagnostic> {
        self.epoch += 1;
        self.project.files.next_epoch();
        if let Some(warning) = finished.leaky.clone() {
            self.emit(Event::Notice(Box::new(warning)));
        }
        if finished.has_log {
            self.logged.insert(id);
        }
        if self.ended_as_told(id, &finished)? {
            return Ok(());
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
    pub(super) fn succeeded(&mut self, id: TaskId, finished: &Finished) -> Result<(), Diagnostic> {
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
        for path in &changed {
            let warning =
                Diagnostic::warning(format!("file_dep `{path}` of task `{}` changed while it ran", task.name));
            self.emit(Event::Notice(Box::new(warning.note("the task will run again next time"))));
        }
        if task.in_out {
            // Their content after the run is the baseline.
            self.inputs.remove(&id);
            decision.fingerprint = self.decision(id).fingerprint;
        }
        if self.has_depfile(id) {
            changed.extend(self.take_depfile(id, &mut decision)?);
        }
        if changed.is_empty() && !task.in_out {
            self.saw(id, decision.inputs.clone(), true);
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
            finished: unix_millis(),
            seconds,
        };
        self.project.db.succeed(&name, &success, &decision.fingerprint)?;
        self.options.steps.at(Step::Recorded);
        let record = self.project.records.entry(name).or_default();
        record.success = Some(success);
        record.attempt = None;
        Ok(())
    }

    /// A task is final.
    pub(super) fn finish(
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
        self.joining.has_ended();
        if let Some(problem) = &problem {
            self.problems.insert(id, problem.message.clone());
        }
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

    pub(super) fn history_reasons(&self, id: TaskId, outcome: Outcome) -> (String, String) {
        let Some(decision) = self.decisions.get(&id).filter(|_| outcome != Outcome::UpToDate) else {
            return self.last_reasons.get(&id).cloned().unwrap_or_else(|| ("[]".into(), String::new()));
        };
        (reasons_json(&decision.verdict), decision.fingerprint.digest().hex())
    }

    pub(super) fn not_reached(&self) -> Vec<Arc<str>> {
        let open = |id: &TaskId| !matches!(self.scheduler.state(id.0), State::Unwanted | State::Done(_));
        self.graph.ids().filter(open).map(|id| self.graph.name(id).clone()).collect()
    }
}

/// What is known of a task's end beside its outcome.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) tail: Vec<String>,
    pub(super) log: Option<String>,
    pub(super) remark: Option<String>,
}
