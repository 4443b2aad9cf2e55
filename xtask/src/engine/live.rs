//! Changes that come while tasks run: a task with `restart: true` whose inputs are others now is ended and started again.
//! Knows nothing of where changes come from.
//!
//! What else they touch waits for the next round. If only tasks with `restart: true` are left running, which may run for
//! ever, the round ends with them so that what waits gets its turn; they are started again in the next.

use std::sync::Arc;
use std::time::Duration;

use super::ended::Ended;
use super::interest::{self, Changes};
use super::job::{Finished, Message};
use super::run::{Run, is_hidden};
use crate::graph::TaskId;
use crate::model::stop::Stop;
use crate::model::{Diagnostic, Event, Outcome, Verdict, words};
use crate::queue::Queue;
use crate::rebuild::LastAttempt;
use crate::schedule::State;

/// Where changes are told to whatever run is going on.
#[derive(Clone, Default)]
pub struct News(pub(super) Arc<Queue<Message>>);

impl News {
    /// To be called from any thread.
    pub fn tell(&self, changes: Changes) {
        self.0.push(Message::Changed(changes));
    }

    /// Drops what was told since the last run: to be called when it is known otherwise.
    pub fn clear(&self) {
        drop(self.0.drain());
    }
}

impl std::fmt::Debug for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("News")
    }
}

/// Why a running task was told to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// To start again with these paths as they are now.
    Again(String),
    /// To let others have their turn.
    Leave,
}

impl Run<'_> {
    /// Files changed while tasks run.
    pub(super) fn changed(&mut self, changes: &Changes) {
        let Some(memory) = self.memory.as_deref() else { return };
        let touched = interest::concerned(self.project, &memory.interests, changes);
        let (running, _) = self.running();
        self.epoch += 1;
        self.project.files.next_epoch();
        for id in running.iter().filter(|id| touched.contains(id) || changes.anything) {
            if self.is_outdated(*id) {
                let paths = words::list(changes.paths.iter().take(3).map(crate::model::RepoPath::lossy));
                self.stop_one(*id, Ending::Again(paths));
            }
        }
        self.others_wait |= changes.anything || touched.iter().any(|id| !running.contains(id));
    }

    /// Tasks that are running and may be started again, and whether no other is.
    fn running(&self) -> (Vec<TaskId>, bool) {
        let runs = |id: &TaskId| self.scheduler.state(id.0) == State::Running;
        let (again, others): (Vec<TaskId>, Vec<TaskId>) =
            self.started.iter().copied().filter(runs).partition(|id| self.graph.task(*id).restart);
        (again, others.is_empty())
    }

    /// Whether a running task was started for other contents than those of now. Where an input is missing, an editor is
    /// likely half way.
    fn is_outdated(&mut self, id: TaskId) -> bool {
        let Some(started_for) = self.decisions.get(&id).map(|decision| decision.fingerprint.digest()) else {
            return false;
        };
        let now = self.decision(id);
        !matches!(now.verdict, Verdict::Error(_)) && now.fingerprint.digest() != started_for
    }

    fn stop_one(&mut self, id: TaskId, ending: Ending) {
        if let Some(token) = self.tokens.get(&id) {
            token.request(Stop::Gently);
            self.endings.entry(id).or_insert(ending);
        }
    }

    /// Ends the round if all that runs might run for ever while others wait.
    pub(super) fn make_way(&mut self) {
        if !self.others_wait || self.stopping || !self.scheduler.only_running() {
            return;
        }
        let (running, alone) = self.running();
        if alone && !running.is_empty() {
            self.stopping = true;
            for id in running {
                self.stop_one(id, Ending::Leave);
            }
        }
    }

    /// A task that was told to end has ended. False if it ended by itself before it could hear of it.
    pub(super) fn ended_as_told(&mut self, id: TaskId, finished: &Finished) -> Result<bool, Diagnostic> {
        let Some(ending) = self.endings.remove(&id) else { return Ok(false) };
        let by_us = finished.failure.as_ref().is_some_and(|failure| failure.interrupted);
        if !by_us || self.options.stop.is_requested() {
            return Ok(false);
        }
        let task = self.graph.node(id).task.clone();
        self.project.db.fail(&task.name, LastAttempt::Interrupted)?;
        self.project.records.entry(task.name.to_string()).or_default().attempt = Some(LastAttempt::Interrupted);
        let why = match &ending {
            Ending::Again(paths) => format!("starts again: {paths} changed"),
            Ending::Leave => "starts again after others".to_owned(),
        };
        self.emit(Event::TaskFinished {
            task: task.name.clone(),
            outcome: Outcome::Interrupted,
            duration: finished.duration,
            expected: None,
            problem: None,
            tail: Vec::new(),
            log: finished.has_log.then(|| crate::store::logs::relative(&task.name)),
            because: Vec::new(),
            remark: Some(why),
            hidden: is_hidden(&task),
            verbosity: self.verbosity(&task),
        });
        self.decisions.remove(&id);
        match ending {
            Ending::Leave => {
                self.left.push(id);
                self.scheduler.finish(id.0, Outcome::Interrupted);
            }
            Ending::Again(_) => {
                self.scheduler.again(id.0);
                self.inputs.remove(&id);
                let decision = self.decision(id);
                match decision.verdict.clone() {
                    Verdict::Error(problem) => {
                        self.decided(id, decision.verdict);
                        self.finish(id, Outcome::Error, Duration::ZERO, Some(*problem), Ended::default())?;
                    }
                    verdict => {
                        self.decided(id, verdict);
                        self.decisions.insert(id, decision);
                        self.scheduler.queue(id.0);
                    }
                }
            }
        }
        Ok(true)
    }
}
