//! Changes that come while tasks run: a task with `restart: true` whose inputs are others now is ended and started again.
//! Knows nothing of where changes come from.
//!
//! What else they touch waits for the next round. If only tasks with `restart: true` are left running, which may run for
//! ever, what waits joins the run ([`super::join`]).

use std::sync::Arc;
use std::time::Duration;

use super::ended::Ended;
use super::interest::{self, Changes};
use super::job::{Finished, Message};
use super::run::{Run, is_hidden};
use crate::graph::TaskId;
use crate::model::stop::Stop;
use crate::model::{Diagnostic, Event, Outcome, Reason, RepoPath, Verdict, words};
use crate::queue::Queue;
use crate::rebuild::LastAttempt;
use crate::schedule::State;

/// Where changes are told to whatever run is going on.
#[derive(Clone, Default)]
pub struct News {
    pub(super) queue: Arc<Queue<Message>>,
    foresight: Option<Arc<dyn Foresight>>,
}

/// Knows of changes that nobody was told of yet, because more is likely to follow.
pub trait Foresight: Send + Sync {
    /// Those that were made before this call.
    fn pending(&self) -> Changes;

    /// Waits until nothing more follows to these paths, for a moment at the most.
    fn settle(&self, paths: Vec<RepoPath>);

    /// The same for paths that are others although nothing was told of them yet.
    fn expect(&self, paths: Vec<RepoPath>);
}

impl News {
    /// With somebody to ask before a task is started.
    #[must_use]
    pub fn with(&self, foresight: impl Foresight + 'static) -> Self {
        Self { queue: self.queue.clone(), foresight: Some(Arc::new(foresight)) }
    }

    /// To be called from any thread.
    pub fn tell(&self, changes: Changes) {
        self.queue.push(Message::Changed(changes));
    }

    /// Drops what was told since the last run: to be called when it is known otherwise. Wishes stay.
    pub fn clear(&self) {
        drop(self.queue.take(|message| !matches!(message, Message::Wish(_))));
    }
}

impl std::fmt::Debug for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("News")
    }
}

/// Whether files are what a verdict is about, so that it is another one if they were read at a bad moment.
pub(super) fn hangs_on_files(verdict: &Verdict) -> bool {
    let is_of_file = |reason: &Reason| {
        matches!(reason, Reason::FileDepChanged { .. } | Reason::FileDepAdded { .. } | Reason::FileDepRemoved { .. })
    };
    match verdict {
        Verdict::Run(reasons) => reasons.iter().any(is_of_file),
        Verdict::Error(_) => true,
        Verdict::UpToDate | Verdict::Ignored => false,
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
        if let Some(memory) = self.memory.as_deref_mut() {
            memory.was_told(&changes.paths);
        }
        self.epoch += 1;
        self.project.files.next_epoch();
        for id in running.iter().filter(|id| touched.contains(id) || changes.anything) {
            if self.is_outdated(*id) {
                let paths = changes.paths.iter().filter(|path| self.concerns(*id, path)).take(3);
                let paths = words::list(paths.map(RepoPath::lossy));
                let what = if paths.is_empty() { "what it needs".to_owned() } else { paths };
                self.stop_one(*id, Ending::Again(what));
            }
        }
        self.others_wait |= changes.anything || changes.reload;
        let muted = |id: &TaskId| self.memory.as_deref().is_some_and(|memory| memory.is_muted(*id));
        let others: Vec<TaskId> = touched.into_iter().filter(|id| !running.contains(id) && !muted(id)).collect();
        if !others.is_empty() {
            self.joining.waiting.extend(others);
            self.joining.paths.extend(changes.paths.iter().cloned());
        }
    }

    /// Whether something that this task reads was being written when it was read: a file that is empty for a moment is
    /// no content that anybody meant. When this returns, it is there as a whole.
    pub(super) fn read_too_soon(&mut self, id: TaskId, verdict: &Verdict) -> bool {
        let Some(foresight) = self.options.news.as_ref().and_then(|news| news.foresight.clone()) else { return false };
        // What was read before the round asked for the first time is covered by that answer.
        let read_before = self.inputs.get(&id).is_some_and(|(epoch, _)| *epoch == self.epoch);
        let pending = match self.foreseen.as_ref().filter(|(epoch, _)| read_before && *epoch == self.epoch) {
            Some((_, known)) => known.clone(),
            None => foresight.pending(),
        };
        self.foreseen = read_before.then(|| (self.epoch, pending.clone()));
        let paths: Vec<RepoPath> = pending.paths.iter().filter(|path| self.concerns(id, path)).cloned().collect();
        let waits = !paths.is_empty();
        if waits {
            foresight.settle(paths);
        }
        // What was handed on meanwhile was read before, too.
        let mut told = self.take_news(id);
        let untold = self.untold(verdict);
        if !untold.is_empty() {
            if let Some(memory) = self.memory.as_deref_mut() {
                memory.was_told(&untold);
            }
            foresight.expect(untold);
            self.take_news(id);
            told = true;
        }
        if waits || told {
            self.epoch += 1;
            self.project.files.next_epoch();
        }
        waits || told
    }

    /// Takes in what was told during the run. Whether it concerns this task.
    fn take_news(&mut self, id: TaskId) -> bool {
        let mut concerned = false;
        for message in self.queue.take(|message| matches!(message, Message::Changed(_))) {
            let Message::Changed(changes) = message else { continue };
            concerned |= changes.anything || changes.paths.iter().any(|path| self.concerns(id, path));
            self.changed(&changes);
        }
        concerned
    }

    /// Inputs that are others although no change of them was told: the news is on its way. Not those that tasks make.
    fn untold(&self, verdict: &Verdict) -> Vec<RepoPath> {
        let (Verdict::Run(reasons), Some(memory)) = (verdict, self.memory.as_deref()) else { return Vec::new() };
        let path = |reason: &Reason| match reason {
            Reason::FileDepChanged { path, .. } | Reason::FileDepAdded { path } | Reason::FileDepRemoved { path } => {
                RepoPath::from_root(path)
            }
            _ => None,
        };
        let is_news = |path: &RepoPath| {
            std::iter::successors(Some(path.clone()), RepoPath::parent)
                .all(|one| !memory.is_told(&one) && self.graph.maker(&one).is_none())
        };
        if memory.knows_changes() { reasons.iter().filter_map(path).filter(is_news).collect() } else { Vec::new() }
    }

    /// Whether a change of this path concerns this task.
    fn concerns(&self, id: TaskId, path: &RepoPath) -> bool {
        let one = Changes { paths: [path.clone()].into(), ..Changes::default() };
        let Some(memory) = self.memory.as_deref() else { return false };
        interest::concerned(self.project, &memory.interests, &one).contains(&id)
    }

    /// Tasks that are running and may be started again, and whether no other is.
    pub(super) fn running(&self) -> (Vec<TaskId>, bool) {
        let runs = |id: &TaskId| self.scheduler.state(id.0) == State::Running;
        let (again, others): (Vec<TaskId>, Vec<TaskId>) =
            self.started.iter().copied().filter(runs).partition(|id| self.graph.task(*id).restart);
        (again, others.is_empty())
    }

    /// Whether a running task was started for other contents than those of now. Where an input is missing, an editor is
    /// likely half way.
    pub(super) fn is_outdated(&mut self, id: TaskId) -> bool {
        let Some(started_for) = self.decisions.get(&id).map(|decision| decision.fingerprint.digest()) else {
            return false;
        };
        let now = self.decision(id);
        !matches!(now.verdict, Verdict::Error(_)) && now.fingerprint.digest() != started_for
    }

    pub(super) fn stop_one(&mut self, id: TaskId, ending: Ending) {
        if let Some(token) = self.tokens.get(&id) {
            token.request(Stop::Gently);
            self.endings.entry(id).or_insert(ending);
        }
    }

    /// If all that runs might run for ever while others wait: lets them join, else ends the round.
    pub(super) fn make_way(&mut self) {
        if self.stopping || !self.scheduler.only_running() {
            return;
        }
        let (running, alone) = self.running();
        if !alone || running.is_empty() {
            return;
        }
        self.look_at_services(&running);
        let wishes = self.take_wishes();
        let somebody_waits = !self.joining.waiting.is_empty();
        if self.others_wait || (somebody_waits && !self.join(!wishes.is_empty())) {
            // Another round grants them.
            self.wishes = wishes;
            self.stopping = true;
            for id in running {
                self.stop_one(id, Ending::Leave);
            }
        } else if !somebody_waits && self.endings.is_empty() {
            self.tell_services_alone();
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
