//! What a person asks for while tasks run. Knows nothing of keys.
//!
//! While nothing but services runs, who is asked for joins the run ([`super::join`]), and the services go on. Else the
//! wish waits for the end of the run, and whoever started it takes it from the news.

use std::sync::Arc;
use std::time::Instant;

use super::job::Message;
use super::live::News;
use super::plan::{self, Status};
use super::run::{Run, is_hidden};
use crate::graph::{Selection, TaskId};
use crate::model::{Event, Reason, RepoPath, Verdict, WatchStatus};
use crate::schedule::State;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To look at everything.
    All,
    /// To run the failed tasks again.
    Failed,
    /// To hear what is going on and why.
    Explain,
}

impl News {
    /// To be called from any thread.
    pub fn wish(&self, wish: Wish) {
        self.queue.push(Message::Wish(wish));
    }

    /// The oldest wish that no run has granted; the same again is taken with it.
    pub fn next_wish(&self) -> Option<Wish> {
        let oldest = self.queue.take_first(|message| match message {
            Message::Wish(wish) => Some(*wish),
            _ => None,
        })?;
        self.queue.take(|message| matches!(message, Message::Wish(wish) if *wish == oldest));
        Some(oldest)
    }
}

impl Run<'_> {
    pub(super) fn wished(&mut self, wish: Wish) {
        if wish == Wish::Explain {
            let status = self.status();
            return self.emit(Event::WatchStatus(Box::new(status)));
        }
        if self.wishes.contains(&wish) {
            return;
        }
        self.wishes.push(wish);
        if !self.only_services() {
            self.emit(Event::WatchQueued { failed_only: wish == Wish::Failed });
        }
    }

    /// Has the tasks that are wished for wait for their turn beside the services, which alone are running.
    pub(super) fn take_wishes(&mut self) -> Vec<Wish> {
        let wishes = std::mem::take(&mut self.wishes);
        if wishes.is_empty() {
            return wishes;
        }
        self.epoch += 1;
        self.project.files.next_epoch();
        self.note_outcomes();
        let Some(memory) = self.memory.as_deref_mut() else { return wishes };
        let wanted = if wishes.contains(&Wish::All) { memory.all_again() } else { memory.bad_again() };
        if wanted.is_empty() {
            self.emit(Event::WatchNoneFailed);
        }
        let runs = |id: &TaskId| self.scheduler.state(id.0) == State::Running;
        self.joining.waiting.extend(wanted.into_iter().filter(|id| !runs(id)));
        if wishes.contains(&Wish::All) {
            self.joining.has_joined();
        }
        wishes
    }

    /// Leaves to the next round what this one could not do.
    pub(super) fn pass_on_wishes(&mut self) {
        for wish in std::mem::take(&mut self.wishes) {
            self.queue.push(Message::Wish(wish));
        }
    }

    fn only_services(&self) -> bool {
        let (services, alone) = self.running();
        alone && !services.is_empty() && self.scheduler.only_running()
    }

    fn status(&mut self) -> WatchStatus {
        let now = Instant::now();
        let mut status = WatchStatus::default();
        for id in self.graph.ids() {
            let name = || self.graph.name(id).clone();
            match self.scheduler.state(id.0) {
                State::Running => {
                    let time = self.since.get(&id).map_or_else(Default::default, |since| now.duration_since(*since));
                    status.running.push((name(), time, self.reasons(id)));
                }
                State::Queued => status.queued.push((name(), self.reasons(id))),
                State::Waiting(_) | State::Ready | State::Deciding | State::Held(_) => {
                    status.waiting += usize::from(!is_hidden(self.graph.task(id)));
                }
                State::Unwanted | State::Done(_) => {}
            }
        }
        let memory = self.memory.as_deref();
        let changed = memory.map(|memory| memory.concerning(self.project, &self.joining.paths)).unwrap_or_default();
        status.changed = changed.iter().take(3).map(RepoPath::lossy).collect();
        status.would_run = self.only_services().then(|| self.would_run());
        status
    }

    fn reasons(&self, id: TaskId) -> Vec<Reason> {
        match self.decisions.get(&id).map(|decision| &decision.verdict) {
            Some(Verdict::Run(reasons)) => reasons.clone(),
            _ => Vec::new(),
        }
    }

    /// What would be started now if everything were looked at.
    fn would_run(&mut self) -> Vec<(Arc<str>, Vec<Reason>)> {
        let Some(memory) = self.memory.as_deref() else { return Vec::new() };
        let selection = Selection { tasks: memory.tasks().to_vec() };
        let predicted = plan::predict(self.project, &selection, self.options);
        let runs = |id: TaskId| self.scheduler.state(id.0) == State::Running;
        let waits = predicted.into_iter().filter(|one| !runs(one.id));
        waits
            .filter_map(|one| match one.status {
                Status::WillRun(reasons) => Some((one.name, reasons)),
                _ => None,
            })
            .collect()
    }
}
