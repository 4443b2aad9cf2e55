//! The scheduler: which task may be decided or started next. Pure; knows nothing of files, records or actions.
//!
//! ```text
//! Unwanted -> Waiting -> Ready -> Deciding -+-> Done (nothing to do, or cannot be done)
//!                          ^                +-> Held (its setup tasks run first) -> Deciding
//!                          |                +-> Queued -> Running -> Done
//! ```
//!
//! All transitions pass through [`Scheduler`]'s methods, which keep the counters right. A topological scheduler in the
//! words of "Build Systems à la Carte".

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use crate::model::Outcome;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not asked for.
    Unwanted,
    /// So many needed tasks are not final.
    Waiting(u32),
    /// Everything it needs is final; its turn to be decided will come.
    Ready,
    /// Taken by the engine, which finds out whether it must run.
    Deciding,
    /// It must run, after its setup tasks: so many of them are not final.
    Held(u32),
    /// It must run, as soon as a worker and its pools have room.
    Queued,
    Running,
    /// Final.
    Done(Outcome),
}

/// What a running task takes up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// One place in each of these pools.
    pub pools: Vec<Arc<str>>,
    /// The terminal: nothing else runs meanwhile.
    pub exclusive: bool,
}

/// States of all tasks of a plan. Tasks are small numbers.
pub struct Scheduler {
    states: Vec<State>,
    /// Who waits for whom: for a normal start, or held.
    dependents: Vec<Vec<u32>>,
    claims: Vec<Claim>,
    ranks: Vec<Rank>,
    ready: BinaryHeap<Turn>,
    queued: BinaryHeap<Turn>,
    pools: HashMap<Arc<str>, Pool>,
    workers: usize,
    running: usize,
    deciding: usize,
    /// Queued, and kept by nothing but the number of workers.
    startable: usize,
    exclusive_runs: bool,
    unfinished: usize,
}

/// Longer critical path first, then order of the plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rank {
    /// Seconds from its start to the end of the plan, as far as durations are known.
    pub path: f64,
    pub order: u32,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    rank: Rank,
    task: u32,
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.path.total_cmp(&other.rank.path).then(other.rank.order.cmp(&self.rank.order))
    }
}

#[derive(Clone, Copy, Debug)]
struct Pool {
    size: usize,
    used: usize,
}

impl Scheduler {
    /// `workers` tasks may run at once, and so many of each pool.
    pub fn new(workers: usize, pools: impl IntoIterator<Item = (Arc<str>, usize)>) -> Self {
        let pools = pools.into_iter().map(|(name, size)| (name, Pool { size: size.max(1), used: 0 })).collect();
        Self {
            states: Vec::new(),
            dependents: Vec::new(),
            claims: Vec::new(),
            ranks: Vec::new(),
            ready: BinaryHeap::new(),
            queued: BinaryHeap::new(),
            pools,
            workers: workers.max(1),
            running: 0,
            deciding: 0,
            startable: 0,
            exclusive_runs: false,
            unfinished: 0,
        }
    }

    /// Makes room for this many tasks, all unwanted at first.
    pub fn grow(&mut self, tasks: usize) {
        self.states.resize(tasks, State::Unwanted);
        self.dependents.resize(tasks, Vec::new());
        self.claims.resize(tasks, Claim::default());
        self.ranks.resize(tasks, Rank::default());
    }

    pub fn state(&self, task: u32) -> State {
        self.states[task as usize]
    }

    pub fn rank(&self, task: u32) -> Rank {
        self.ranks[task as usize]
    }

    /// Wants a task, after the tasks that it needs (which must have been wanted before).
    pub fn want(&mut self, task: u32, rank: Rank, claim: Claim, needs: impl IntoIterator<Item = u32>) {
        if self.states[task as usize] != State::Unwanted {
            return;
        }
        self.ranks[task as usize] = rank;
        self.claims[task as usize] = claim;
        self.unfinished += 1;
        let open = self.wait_for(task, needs);
        self.set_waiting(task, open);
    }

    /// A task that is being decided turns out to need more tasks: it becomes ready again when they are final.
    pub fn wait_more(&mut self, task: u32, needs: impl IntoIterator<Item = u32>) {
        self.deciding -= 1;
        let open = self.wait_for(task, needs);
        self.set_waiting(task, open);
    }

    fn wait_for(&mut self, task: u32, needs: impl IntoIterator<Item = u32>) -> u32 {
        let mut open = 0;
        for need in needs {
            if !matches!(self.states[need as usize], State::Done(_)) {
                self.dependents[need as usize].push(task);
                open += 1;
            }
        }
        open
    }

    fn set_waiting(&mut self, task: u32, open: u32) {
        if open == 0 {
            self.states[task as usize] = State::Ready;
            self.ready.push(Turn { rank: self.ranks[task as usize], task });
        } else {
            self.states[task as usize] = State::Waiting(open);
        }
    }

    /// The next task to decide, if any; it is then `Deciding`.
    pub fn next_to_decide(&mut self) -> Option<u32> {
        let Turn { task, .. } = self.ready.pop()?;
        self.states[task as usize] = State::Deciding;
        self.deciding += 1;
        Some(task)
    }

    /// Whether another worker may be given something to do (deciding can take one, too).
    pub fn has_room(&self) -> bool {
        self.running + self.deciding + self.startable < self.workers && !self.exclusive_runs
    }

    /// Whether nothing runs, is being decided, or could be started at once.
    pub fn is_idle(&self) -> bool {
        self.running + self.deciding + self.startable == 0
    }

    fn is_startable(&self, task: u32) -> bool {
        let claim = &self.claims[task as usize];
        claim.pools.is_empty() && !claim.exclusive
    }

    /// It must run, after these setup tasks (wanted before). True if it has to wait for them.
    pub fn hold(&mut self, task: u32, setup: impl IntoIterator<Item = u32>) -> bool {
        let open = self.wait_for(task, setup);
        if open > 0 {
            self.deciding -= 1;
            self.states[task as usize] = State::Held(open);
        }
        open > 0
    }

    /// It must run, as soon as there is room.
    pub fn queue(&mut self, task: u32) {
        self.deciding -= 1;
        self.states[task as usize] = State::Queued;
        self.startable += usize::from(self.is_startable(task));
        self.queued.push(Turn { rank: self.ranks[task as usize], task });
    }

    /// The next task to start, if there is room for one; it is then `Running`.
    pub fn next_to_start(&mut self) -> Option<u32> {
        if self.running >= self.workers || self.exclusive_runs {
            return None;
        }
        let mut passed = Vec::new();
        let mut found = None;
        while let Some(turn) = self.queued.pop() {
            if self.fits(turn.task) {
                found = Some(turn.task);
                break;
            }
            passed.push(turn);
        }
        self.queued.extend(passed);
        let task = found?;
        self.states[task as usize] = State::Running;
        self.running += 1;
        self.startable -= usize::from(self.is_startable(task));
        let claim = &self.claims[task as usize];
        self.exclusive_runs = claim.exclusive;
        for name in &claim.pools {
            self.pools.entry(name.clone()).or_insert(Pool { size: 1, used: 0 }).used += 1;
        }
        Some(task)
    }

    fn fits(&self, task: u32) -> bool {
        self.has_place(&self.claims[task as usize])
    }

    /// Whether what runs leaves this to another task.
    pub fn has_place(&self, claim: &Claim) -> bool {
        let free = |name: &Arc<str>| self.pools.get(name).is_none_or(|pool| pool.used < pool.size);
        (!claim.exclusive || self.running == 0) && claim.pools.iter().all(free)
    }

    /// It is final. Tasks that waited for it may become ready.
    pub fn finish(&mut self, task: u32, outcome: Outcome) {
        match self.states[task as usize] {
            State::Running => self.release(task),
            State::Deciding => self.deciding -= 1,
            State::Queued => self.startable -= usize::from(self.is_startable(task)),
            State::Done(_) => return,
            State::Unwanted | State::Waiting(_) | State::Ready | State::Held(_) => {}
        }
        self.states[task as usize] = State::Done(outcome);
        self.unfinished -= 1;
        for dependent in std::mem::take(&mut self.dependents[task as usize]) {
            self.one_less(dependent);
        }
    }

    /// Gives back what a running task takes up.
    fn release(&mut self, task: u32) {
        self.running -= 1;
        let claim = &self.claims[task as usize];
        if claim.exclusive {
            self.exclusive_runs = false;
        }
        for name in &claim.pools {
            if let Some(pool) = self.pools.get_mut(name) {
                pool.used -= 1;
            }
        }
    }

    fn one_less(&mut self, task: u32) {
        match self.states[task as usize] {
            State::Waiting(1) | State::Held(1) => {
                self.states[task as usize] = State::Ready;
                self.ready.push(Turn { rank: self.ranks[task as usize], task });
            }
            State::Waiting(open) => self.states[task as usize] = State::Waiting(open - 1),
            State::Held(open) => self.states[task as usize] = State::Held(open - 1),
            _ => {}
        }
    }

    /// Takes a task that nobody wants for one that ended like this: it is not waited for.
    pub fn assume(&mut self, task: u32, outcome: Outcome) {
        if self.states[task as usize] == State::Unwanted {
            self.states[task as usize] = State::Done(outcome);
        }
    }

    /// Takes back what was assumed of a task.
    pub fn unassume(&mut self, task: u32) {
        if matches!(self.states[task as usize], State::Done(_)) {
            self.states[task as usize] = State::Unwanted;
        }
    }

    /// A running task has ended and must run again: it is then `Deciding`, and who waits for it still does.
    pub fn again(&mut self, task: u32) {
        if self.states[task as usize] == State::Running {
            self.release(task);
            self.states[task as usize] = State::Deciding;
            self.deciding += 1;
        }
    }

    /// Whether something runs, and nothing else could be started or decided now.
    pub fn only_running(&self) -> bool {
        self.running > 0 && self.deciding == 0 && self.ready.is_empty() && self.queued.is_empty()
    }

    /// Whether anything runs or is being decided.
    pub fn is_busy(&self) -> bool {
        self.running + self.deciding > 0
    }

    /// Whether every wanted task is final.
    pub fn is_finished(&self) -> bool {
        self.unfinished == 0
    }

    /// How many run now.
    pub fn running(&self) -> usize {
        self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(path: f64, order: u32) -> Rank {
        Rank { path, order }
    }

    #[test]
    fn needed_tasks_come_first_and_the_longest_path_before_others() {
        let mut scheduler = Scheduler::new(4, []);
        scheduler.grow(3);
        scheduler.want(0, rank(1.0, 0), Claim::default(), []);
        scheduler.want(1, rank(5.0, 1), Claim::default(), []);
        scheduler.want(2, rank(9.0, 2), Claim::default(), [0, 1]);
        assert_eq!(scheduler.next_to_decide(), Some(1));
        assert_eq!(scheduler.next_to_decide(), Some(0));
        assert_eq!(scheduler.next_to_decide(), None);
        scheduler.finish(1, Outcome::UpToDate);
        assert_eq!(scheduler.next_to_decide(), None);
        scheduler.finish(0, Outcome::Ran);
        assert_eq!(scheduler.next_to_decide(), Some(2));
        scheduler.queue(2);
        assert_eq!(scheduler.next_to_start(), Some(2));
        assert!(!scheduler.is_finished());
        scheduler.finish(2, Outcome::Ran);
        assert!(scheduler.is_finished() && !scheduler.is_busy());
    }

    #[test]
    fn pools_and_the_terminal_limit_what_runs_at_once() {
        let mut scheduler = Scheduler::new(8, [("docker".into(), 1)]);
        scheduler.grow(4);
        let docker = Claim { pools: vec!["docker".into()], exclusive: false };
        let terminal = Claim { pools: Vec::new(), exclusive: true };
        scheduler.want(0, rank(0.0, 0), docker.clone(), []);
        scheduler.want(1, rank(0.0, 1), docker, []);
        scheduler.want(2, rank(0.0, 2), Claim::default(), []);
        scheduler.want(3, rank(0.0, 3), terminal, []);
        assert!(scheduler.is_idle());
        while let Some(task) = scheduler.next_to_decide() {
            scheduler.queue(task);
        }
        // The one without a pool can be started at once.
        assert!(scheduler.has_room() && !scheduler.is_idle());
        assert_eq!(scheduler.next_to_start(), Some(0));
        assert_eq!(scheduler.next_to_start(), Some(2));
        assert_eq!(scheduler.next_to_start(), None);
        scheduler.finish(0, Outcome::Ran);
        assert_eq!(scheduler.next_to_start(), Some(1));
        scheduler.finish(1, Outcome::Ran);
        scheduler.finish(2, Outcome::Ran);
        assert_eq!(scheduler.next_to_start(), Some(3));
        assert!(!scheduler.has_room());
        scheduler.finish(3, Outcome::Ran);
        assert!(scheduler.is_finished());
    }

    #[test]
    fn what_is_assumed_is_not_waited_for_and_a_task_may_run_again() {
        let mut scheduler = Scheduler::new(1, []);
        scheduler.grow(3);
        scheduler.assume(0, Outcome::UpToDate);
        scheduler.want(1, rank(0.0, 0), Claim::default(), [0]);
        scheduler.want(2, rank(0.0, 1), Claim::default(), [1]);
        assert_eq!(scheduler.next_to_decide(), Some(1));
        scheduler.queue(1);
        assert_eq!(scheduler.next_to_start(), Some(1));
        assert!(scheduler.only_running());
        scheduler.again(1);
        assert!(!scheduler.only_running());
        scheduler.queue(1);
        assert_eq!(scheduler.next_to_start(), Some(1));
        scheduler.finish(1, Outcome::Ran);
        assert_eq!(scheduler.next_to_decide(), Some(2));
        scheduler.finish(2, Outcome::Ran);
        assert!(scheduler.is_finished() && !scheduler.is_busy());
        scheduler.unassume(0);
        assert_eq!(scheduler.state(0), State::Unwanted);
    }

    #[test]
    fn a_held_task_becomes_ready_again_after_its_setup() {
        let mut scheduler = Scheduler::new(2, []);
        scheduler.grow(2);
        scheduler.want(0, rank(0.0, 0), Claim::default(), []);
        assert_eq!(scheduler.next_to_decide(), Some(0));
        scheduler.want(1, rank(0.0, 1), Claim::default(), []);
        assert!(scheduler.hold(0, [1]));
        assert_eq!(scheduler.next_to_decide(), Some(1));
        scheduler.finish(1, Outcome::Ran);
        assert_eq!(scheduler.next_to_decide(), Some(0));
        assert!(!scheduler.hold(0, [1]));
        scheduler.queue(0);
        assert_eq!(scheduler.next_to_start(), Some(0));
    }
}
