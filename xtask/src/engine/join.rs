//! Tasks that a change concerns while nothing but services runs: they join the run, and the services go on. Knows nothing
//! of where changes come from.
//!
//! A service is ended only if what it reads is other than what it was started for. Where a task cannot join (its needs
//! are computed, there is no room for it, it needs the terminal or a place that a service has), the round ends with the
//! services, and they are started again in the next.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::live::Ending;
use super::run::{Run, claim, is_hidden};
use crate::graph::TaskId;
use crate::model::{Counts, Event, Outcome, RepoPath};
use crate::schedule::State;

/// More often than that within the window, a task has its turn in a round of its own, where loops are found.
const JOINS: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);

/// Who wants to join.
#[derive(Default)]
pub(super) struct Joining {
    pub waiting: HashSet<TaskId>,
    /// What changed of them.
    pub paths: BTreeSet<RepoPath>,
    /// Somebody joined since the services were looked at.
    joined: bool,
    times: HashMap<TaskId, Vec<Instant>>,
    /// Something ended since the end of what ran beside services was told.
    ended: bool,
    /// When those who joined last did.
    since: Option<Instant>,
}

impl Joining {
    /// A task is final.
    pub(super) fn has_ended(&mut self) {
        self.ended = true;
    }

    /// The services are looked at as soon as they are alone again.
    pub(super) fn has_joined(&mut self) {
        self.joined = true;
    }

    /// Notes a turn of these tasks. False if one of them has had too many.
    fn is_calm(&mut self, tasks: &HashSet<TaskId>, now: Instant) -> bool {
        tasks.iter().all(|id| {
            let times = self.times.entry(*id).or_default();
            times.retain(|time| now.duration_since(*time) < WINDOW);
            times.push(now);
            times.len() <= JOINS
        })
    }
}

impl Run<'_> {
    /// Takes those who wait into this run, with all that needs them. False if that is not possible. What a person
    /// `wished` for is no loop.
    pub(super) fn join(&mut self, wished: bool) -> bool {
        let others = std::mem::take(&mut self.joining.waiting);
        let paths = std::mem::take(&mut self.joining.paths);
        if !self.scheduler.has_room() || !(wished || self.joining.is_calm(&others, Instant::now())) {
            return false;
        }
        self.note_outcomes();
        let graph = self.graph.clone();
        let Some(memory) = self.memory.as_deref_mut() else { return false };
        memory.touch_these(others);
        if !wished {
            // All else was looked at before.
            memory.tell_only(&paths);
        }
        let affected = memory.affected_now(&graph);
        let is_done = |id: &TaskId| matches!(self.scheduler.state(id.0), State::Done(_));
        let plan: Vec<TaskId> = affected.into_iter().filter(is_done).collect();
        let is_plain = |id: &TaskId| {
            let task = graph.task(*id);
            let has_place = self.scheduler.has_place(&claim(task));
            has_place && task.calc_dep.is_empty() && task.expand_after.is_none() && task.setup.is_empty()
        };
        if !plan.iter().all(is_plain) {
            return false;
        }
        for id in &plan {
            self.outcome_of.remove(id);
            self.assumed.remove(id);
            self.because.remove(id);
            self.problems.remove(id);
            self.inputs.remove(id);
            self.scheduler.unassume(id.0);
        }
        // From here on it is as in a new run: how these ended before counts no more.
        let again: HashSet<&TaskId> = plan.iter().collect();
        self.outcomes.retain(|(id, _)| !again.contains(id));
        (self.counts, self.saved) = (Counts::default(), Duration::ZERO);
        self.joining.since = Some(Instant::now());
        self.epoch += 1;
        self.project.files.next_epoch();
        if !paths.is_empty() {
            let memory = self.memory.as_deref();
            let paths = memory.map(|memory| memory.concerning(self.project, &paths)).unwrap_or_default();
            let shown = paths.iter().take(3).map(RepoPath::lossy).collect();
            self.emit(Event::WatchChanged { paths: shown, total: paths.len(), rescan: false });
        }
        let shown = plan.iter().filter(|id| !is_hidden(graph.task(**id))).count();
        self.emit(Event::TasksJoined { tasks: shown });
        self.want_all(&plan);
        self.joining.has_joined();
        true
    }

    /// Tells the end of what ran beside services, which are alone now.
    pub(super) fn tell_services_alone(&mut self) {
        if !std::mem::take(&mut self.joining.ended) {
            return;
        }
        self.note_outcomes();
        let Some(memory) = self.memory.as_deref() else { return };
        let bad = memory.bad_count(&self.graph);
        let (exit, counts, saved) = (self.exit(false, true), self.counts, self.saved);
        let duration = self.joining.since.unwrap_or(self.begun).elapsed();
        self.emit(Event::WatchServing { exit, counts, duration, saved, bad });
    }

    /// Once those who joined are final: services that run for what is not there any more are started again.
    pub(super) fn look_at_services(&mut self, services: &[TaskId]) {
        if !std::mem::take(&mut self.joining.joined) {
            return;
        }
        for id in services {
            let needs = self.all_needs(*id);
            let is_fine = |need: &TaskId| self.outcome_of.get(need).is_none_or(|outcome: &Outcome| outcome.is_good());
            if needs.iter().all(is_fine) && self.is_outdated(*id) {
                self.stop_one(*id, Ending::Again("what it needs".to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_wakes_itself_gets_a_round_of_its_own() {
        let (mut joining, start) = (Joining::default(), Instant::now());
        let one = HashSet::from([TaskId(1)]);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert!((0..5).all(|second| joining.is_calm(&one, at(second))));
        assert!(!joining.is_calm(&one, at(5)));
        assert!(joining.is_calm(&HashSet::from([TaskId(2)]), at(5)));
        assert!(joining.is_calm(&one, at(30)));
    }
}
