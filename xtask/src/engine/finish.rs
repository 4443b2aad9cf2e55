//! The end of a run: teardowns, what it leaves for people, history, exit code.

use std::sync::Arc;
use std::time::Duration;

use super::aside;
use super::job::Message;
use super::run::{Run, Summary, unix_seconds};
use crate::action::{Ending, Failure};
use crate::graph::TaskId;
use crate::model::stop::Stop;
use crate::model::task::ActionKind;
use crate::model::{Diagnostic, Event, Outcome, Step, StopToken, Task};
use crate::store::db::RunRow;

impl Run<'_> {
    /// From the first decision to the exit code.
    ///
    /// # Errors
    /// The state cannot be written. Nothing runs any more then: a worker that went on would write behind the back of
    /// the next run, which would take its half-made target for what its record says.
    pub(super) fn whole(mut self) -> Result<Summary, Diagnostic> {
        match self.turn() {
            Ok(()) => self.end(),
            Err(problem) => {
                self.abandon();
                Err(problem)
            }
        }
    }

    /// Ends everything that runs, and waits for it.
    fn abandon(&mut self) {
        self.halt.request(Stop::Now);
        while Arc::strong_count(&self.alive) > 1 {
            // Whoever has something to say is held back as long as nobody listens.
            self.queue.pop(Duration::from_millis(20));
        }
    }

    /// Teardowns, history and exit code.
    pub(super) fn end(mut self) -> Result<Summary, Diagnostic> {
        self.commit()?;
        let teardown_failed = self.teardowns();
        let written = self.chronicle();
        let exit = self.exit(teardown_failed, written);
        let duration = self.begun.elapsed();
        let not_reached = self.not_reached();
        self.write_history(exit, duration)?;
        self.project.db.is_in_place()?;
        self.options.steps.at(Step::Closed);
        self.project.files.save();
        self.project.sightings = self.sightings();
        let (counts, saved) = (self.counts, self.saved);
        self.remember();
        self.pass_on_wishes();
        self.emit(Event::RunFinished { exit, counts, duration, saved });
        let outcomes = self.outcomes.iter().map(|(id, outcome)| (self.graph.name(*id).clone(), *outcome)).collect();
        Ok(Summary { exit, counts, outcomes, not_reached })
    }

    /// Has everything written down that people and other programs read. False if that failed.
    fn chronicle(&mut self) -> bool {
        if self.project.actions.chronicles().is_empty() {
            return true;
        }
        let (graph, problems) = (self.graph.clone(), std::mem::take(&mut self.problems));
        let mut endings = Vec::new();
        for (id, outcome) in &self.outcomes {
            for action in &graph.task(*id).actions {
                let ActionKind::BuiltIn { name, args } = &action.kind else { continue };
                endings.push(Ending {
                    action: name,
                    args: args.value(),
                    outcome: *outcome,
                    values: self.results.get(id).map(|result| result.values.clone()).unwrap_or_default(),
                    problem: problems.get(id).map(String::as_str),
                });
            }
        }
        if endings.is_empty() {
            return true;
        }
        let failed: Vec<Diagnostic> =
            self.project.actions.chronicles().iter().filter_map(|one| one.run_ended(&endings).err()).collect();
        let fine = failed.is_empty();
        for problem in failed {
            self.emit(Event::Notice(Box::new(problem)));
        }
        fine
    }

    /// Runs the teardowns of every started task, in reverse order of start, each once. True if one failed that counts.
    fn teardowns(&mut self) -> bool {
        let mut failed = false;
        let with_teardown = |id: &TaskId| !self.graph.task(*id).teardown.is_empty();
        let order: Vec<TaskId> = self.started.iter().rev().copied().filter(with_teardown).collect();
        for id in order {
            let task = self.graph.node(id).task.clone();
            if let Err(failure) = self.teardown(id, &task) {
                failed |= !task.teardown_best_effort;
                let mut problem = failure.diagnostic;
                problem.message = format!("teardown of {}", problem.message);
                problem.warning = task.teardown_best_effort;
                self.emit(Event::Notice(Box::new(problem)));
            }
        }
        failed
    }

    /// The teardown list of one task; stops at its first failing action.
    fn teardown(&mut self, id: TaskId, task: &Task) -> Result<(), Failure> {
        let mut job = self.teardown_job(id).map_err(Failure::error)?;
        // An interrupted run still tears down; a second Ctrl-C ends it through the processes' own group.
        job.stop = StopToken::new();
        job.task = aside::with_actions(task, task.teardown.clone());
        let queue = self.shared_queue();
        let (failure, tail) = aside::run(&job, &queue, &mut |message| self.heard_late(message));
        failure.map_or(Ok(()), |failure| Err(with_output(failure, &tail)))
    }

    /// What comes during a teardown. Changes are told to the next round, too.
    fn heard_late(&mut self, message: Message) {
        match message {
            Message::Output(event) => self.emit(event),
            Message::Wish(wish) => self.wished(wish),
            Message::Probed(..) | Message::Finished(..) | Message::Changed(_) => {}
        }
    }

    /// 130 interrupted, 3 a word stood for nothing, 2 an error, 1 a failure; unmet tasks count through their root causes.
    pub(super) fn exit(&self, teardown_failed: bool, written: bool) -> u8 {
        let any = |wanted: Outcome| self.outcomes.iter().any(|(_, outcome)| *outcome == wanted);
        if self.options.stop.is_requested() || any(Outcome::Interrupted) {
            130
        } else if self.unknown > 0 {
            3
        } else if any(Outcome::Error) || !written {
            2
        } else {
            let ignored = self.options.strict && any(Outcome::Ignored);
            u8::from(any(Outcome::Failed) || teardown_failed || ignored || self.is_kept_back())
        }
    }

    /// Whether a task was not run because of one that failed in an earlier round.
    fn is_kept_back(&self) -> bool {
        let is_bad = |need: &TaskId| {
            self.assumed.contains(need) && self.outcome_of.get(need).is_some_and(|outcome| !outcome.is_good())
        };
        let unmet = self.outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Unmet);
        unmet.into_iter().any(|(id, _)| self.all_needs(*id).iter().any(is_bad))
    }

    fn write_history(&mut self, exit: u8, duration: Duration) -> Result<(), Diagnostic> {
        if self.history.is_empty() && exit == 0 {
            return self.project.db.commit();
        }
        let started = unix_seconds() - duration.as_secs() as i64;
        let row =
            RunRow { id: 0, started, seconds: duration.as_secs_f64(), exit, command: self.options.command.clone() };
        self.project.db.add_run(&row, &self.history)?;
        self.project.db.commit()
    }
}

/// With what it wrote last: the task itself was told long before, and its output with it.
fn with_output(mut failure: Failure, tail: &[String]) -> Failure {
    if !tail.is_empty() {
        failure.diagnostic = failure.diagnostic.note(format!("its output:\n        {}", tail.join("\n        ")));
    }
    failure
}

impl super::job::Finished {
    /// How a worker ends that panicked.
    pub(super) fn broken(failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            values: serde_json::Map::new(),
            result: crate::model::Digest::of(b""),
            stdout: Vec::new(),
            remark: None,
            duration: Duration::ZERO,
            tail: Vec::new(),
            has_log: false,
            moved_inputs: Vec::new(),
            targets: Vec::new(),
            leaky: None,
        }
    }
}
