//! One run: the main loop and every decision in it.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::again::Memory;
use super::crew::Crew;
use super::decide::Decision;
use super::inputs::{self, Extra, Inputs};
use super::interest::Changes;
use super::job::{Message, Probed};
use super::join::Joining;
use super::live::Ending;
use super::still::Sighting;
use super::values::Result_;
use super::wishes::Wish;
use super::{Options, Project, quick};
use crate::action::Failure;
use crate::exec::environment::Variables;
use crate::graph::{self, Graph, Later, Selection, TaskId};
use crate::model::stop::Stop;
use crate::model::task::Uptodate;
use crate::model::{Counts, Diagnostic, Event, Outcome, Reason, Step, StopToken, Task, Verdict};
use crate::profile::{self, Part};
use crate::queue::Queue;
use crate::schedule::{Claim, Rank, Scheduler};
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
    run.whole()
}

pub(super) struct Run<'a> {
    pub(super) project: &'a mut Project,
    pub(super) graph: Arc<Graph>,
    pub(super) options: &'a Options,
    pub(super) events: &'a mut dyn FnMut(Event),
    pub(super) scheduler: Scheduler,
    pub(super) queue: Arc<Queue<Message>>,
    pub(super) results: HashMap<TaskId, Result_>,
    pub(super) outcomes: Vec<(TaskId, Outcome)>,
    pub(super) outcome_of: HashMap<TaskId, Outcome>,
    /// Why tasks failed, for what the run leaves behind.
    pub(super) problems: HashMap<TaskId, String>,
    /// For tasks that are unmet or ignored: the tasks at the root of it.
    pub(super) because: HashMap<TaskId, Vec<Arc<str>>>,
    pub(super) inputs: HashMap<TaskId, (u32, Arc<Inputs>)>,
    pub(super) extras: HashMap<TaskId, Computed>,
    pub(super) decisions: HashMap<TaskId, Decision>,
    pub(super) probes: HashMap<TaskId, Probed>,
    /// Tasks whose setup was asked for.
    pub(super) held: HashSet<TaskId>,
    pub(super) named: HashSet<TaskId>,
    /// Tasks whose output says which tasks there are.
    pub(super) producers: HashSet<Arc<str>>,
    /// Groups whose members were read from another task's output.
    pub(super) expanded: HashSet<TaskId>,
    /// Words that stand for members or targets which no task has yet.
    pub(super) later: Vec<Later>,
    /// The members that count of groups of which only some were named.
    pub(super) narrow: HashMap<TaskId, Vec<TaskId>>,
    /// Words that turned out to stand for nothing.
    pub(super) unknown: usize,
    /// When tasks with a depfile were started, in the nanoseconds of file times.
    pub(super) begun_at: HashMap<TaskId, i64>,
    /// In order of start, for teardowns.
    pub(super) started: Vec<TaskId>,
    pub(super) counts: Counts,
    pub(super) saved: Duration,
    pub(super) begun: Instant,
    pub(super) stopping: bool,
    /// Grows whenever a task has run: what was observed before may be old.
    pub(super) epoch: u32,
    pub(super) decided_in: HashMap<TaskId, u32>,
    /// Reasons and key of tasks that have run, for the history.
    pub(super) last_reasons: HashMap<TaskId, (String, String)>,
    pub(super) history: Vec<RunTaskRow>,
    pub(super) order: u32,
    /// Not told yet: they follow a success that is not durable yet.
    pub(super) untold: Vec<Event>,
    /// What a watch remembers, if this is one of its rounds.
    pub(super) memory: Option<&'a mut Memory>,
    /// Tasks that are taken as they were, without a look.
    pub(super) assumed: HashSet<TaskId>,
    /// To end single tasks: those that may be started again.
    pub(super) tokens: HashMap<TaskId, StopToken>,
    /// Every worker and probe hears it; it hears whoever may stop the run.
    pub(super) halt: StopToken,
    /// The threads of workers and probes.
    pub(super) crew: Crew,
    /// Every worker and probe holds it while it lives.
    pub(super) alive: Arc<()>,
    pub(super) endings: HashMap<TaskId, Ending>,
    /// What was known to be written at the moment, with the epoch in which that was asked.
    pub(super) foreseen: Option<(u32, Changes)>,
    /// Everything is to be looked at, which only another round can do.
    pub(super) others_wait: bool,
    pub(super) joining: Joining,
    /// What a person asked for and has not got yet.
    pub(super) wishes: Vec<Wish>,
    /// When each task was started.
    pub(super) since: HashMap<TaskId, Instant>,
    /// Ended to let others have their turn.
    pub(super) left: Vec<TaskId>,
    /// What was looked at for tasks that ended well.
    pub(super) sights: HashMap<TaskId, Sighting>,
    /// Tasks that were up to date without a look at them.
    pub(super) untouched: HashSet<TaskId>,
    /// Tasks whose log this run has begun.
    pub(super) logged: HashSet<TaskId>,
    /// What every task gets of our own environment.
    pub(super) let_through: OnceCell<Variables>,
}

/// What calc_dep has added to a task so far.
#[derive(Default)]
pub(super) struct Computed {
    pub(super) extra: Extra,
    pub(super) uptodate: Vec<Uptodate>,
    pub(super) sources: Vec<TaskId>,
    /// Tasks that were added as needs.
    pub(super) needs: Vec<TaskId>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
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
            queue: options.news.as_ref().map_or_else(Arc::default, |news| news.queue.clone()),
            results: HashMap::new(),
            outcomes: Vec::new(),
            outcome_of: HashMap::new(),
            problems: HashMap::new(),
            because: HashMap::new(),
            inputs: HashMap::new(),
            extras: HashMap::new(),
            decisions: HashMap::new(),
            probes: HashMap::new(),
            held: HashSet::new(),
            named,
            producers,
            expanded: HashSet::new(),
            later: options.later.clone(),
            narrow: HashMap::new(),
            unknown: 0,
            begun_at: HashMap::new(),
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
            untold: Vec::new(),
            memory: None,
            assumed: HashSet::new(),
            tokens: HashMap::new(),
            halt: options.stop.child(),
            crew: Crew::default(),
            alive: Arc::default(),
            endings: HashMap::new(),
            foreseen: None,
            others_wait: false,
            joining: Joining::default(),
            wishes: Vec::new(),
            since: HashMap::new(),
            left: Vec::new(),
            sights: HashMap::new(),
            untouched: HashSet::new(),
            logged: HashSet::new(),
            let_through: OnceCell::new(),
        }
    }

    /// Tells everybody. A success is told once it is durable, and what follows it after it: what was told is not done
    /// again, whenever this process is killed.
    pub(super) fn emit(&mut self, event: Event) {
        let waits = matches!(event, Event::TaskFinished { outcome: Outcome::Ran, .. });
        if waits || !self.untold.is_empty() {
            self.untold.push(event);
        } else {
            (self.events)(event);
        }
    }

    /// Makes everything written so far durable, and tells what waited for that.
    pub(super) fn commit(&mut self) -> Result<(), Diagnostic> {
        self.project.db.commit()?;
        if !self.untold.is_empty() {
            self.options.steps.at(Step::Committed);
            for event in std::mem::take(&mut self.untold) {
                (self.events)(event);
            }
            self.options.steps.at(Step::Told);
        }
        Ok(())
    }

    pub(super) fn begin(&mut self, selection: &Selection) {
        let plan = graph::closure(&self.graph, selection, self.options.single);
        self.whole_groups(selection);
        self.project.files.stop_with(&self.options.stop);
        self.project.files.next_epoch();
        let unknown: Vec<TaskId> = plan.iter().copied().filter(|id| !self.is_unchanged(*id)).collect();
        let fetched = inputs::prefetch(self.project, &unknown);
        self.inputs = fetched.into_iter().map(|(id, inputs)| (id, (0, inputs))).collect();
        self.announce(&plan);
        self.want_all(&plan);
    }

    pub(super) fn announce(&mut self, plan: &[TaskId]) {
        let shown = || plan.iter().map(|id| self.graph.task(*id)).filter(|task| !is_hidden(task));
        let (visible, widest) = (shown().count(), shown().map(|task| task.name.chars().count()).max().unwrap_or(0));
        let whole = self.project.whole.clone();
        let others = whole.iter().flat_map(|whole| whole.others());
        let tasks = visible + others.clone().filter(|task| !task.flags.hidden).count();
        let seconds = self.expected(plan) + others.clone().filter_map(|task| task.seconds()).sum::<f64>();
        let expected = (seconds > 0.0).then(|| Duration::from_secs_f64(seconds));
        self.emit(Event::RunStarted { run_id: run_id(), tasks, workers: self.options.jobs, widest, expected });
        let verbosity = self.options.verbosity;
        let of_all = self.project.config.verbosity;
        for task in others {
            let level = verbosity.or(task.flags.verbosity).or(of_all).unwrap_or(1);
            let saved = quick::tell_one(&task, level, &mut self.counts, &mut |event| (self.events)(event));
            self.saved += saved;
        }
    }

    /// Whether it is known to be up to date: what was seen before the run counts until something has run.
    pub(super) fn is_unchanged(&self, id: TaskId) -> bool {
        let options = self.options;
        let plain = !options.always && !options.single && options.what_if.is_empty();
        // Of a part of a graph, nobody can tell any more what the unchanged tasks need.
        let counts = self.epoch == 0 || self.project.whole.is_some();
        plain && counts && self.project.unchanged.get(id.index()) == Some(&true)
    }

    /// The sum of what is known of durations; only for a guess of the remaining time.
    fn expected(&self, plan: &[TaskId]) -> f64 {
        plan.iter().filter_map(|id| self.recorded_seconds(*id)).sum()
    }

    pub(super) fn recorded_seconds(&self, id: TaskId) -> Option<f64> {
        let record = self.project.records.get(&**self.graph.name(id))?;
        Some(record.success.as_ref()?.seconds)
    }

    /// Wants these tasks, needed ones first.
    pub(super) fn want_all(&mut self, plan: &[TaskId]) {
        let paths = self.critical_paths(plan);
        let mut seed = self.options.shuffle;
        for id in plan {
            let path = match &mut seed {
                Some(seed) => next_random(seed),
                // Its members may be what others wait for.
                None if self.graph.task(*id).expand_after.is_some() => f64::INFINITY,
                None => paths.get(id).copied().unwrap_or(0.0),
            };
            let rank = Rank { path, order: self.order };
            self.order += 1;
            let needs: Vec<u32> = self.followed(*id).map(|to| to.0).collect();
            self.scheduler.want(id.0, rank, claim(self.graph.task(*id)), needs);
        }
    }

    /// The tasks that must be final before this one, as far as the mode counts them.
    pub(super) fn followed(&self, id: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        let node = self.graph.node(id);
        let single = self.named.contains(&id) && !node.task.is_group();
        let members = self.narrow.get(&id);
        let counts = move |edge: &&graph::Edge| {
            graph::follows(&edge.why, single)
                && (edge.why != graph::Why::Member || members.is_none_or(|members| members.contains(&edge.to)))
        };
        node.needs.iter().filter(counts).map(|edge| edge.to)
    }

    /// Seconds from the start of each task to the end of the plan. With one worker the order of the plan counts.
    pub(super) fn critical_paths(&self, plan: &[TaskId]) -> HashMap<TaskId, f64> {
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

    pub(super) fn turn(&mut self) -> Result<(), Diagnostic> {
        loop {
            self.look_at_stop();
            self.decide_ready()?;
            self.start_queued()?;
            self.commit()?;
            self.make_way();
            let idle = !self.scheduler.is_busy();
            if idle && (self.stopping || self.scheduler.is_finished()) {
                return Ok(());
            }
            let message = {
                let _watch = profile::enter(Part::Wait);
                self.queue.pop(Duration::from_millis(100))
            };
            if let Some(message) = message {
                self.receive(message)?;
                for message in self.queue.drain() {
                    self.receive(message)?;
                }
            }
        }
    }

    pub(super) fn look_at_stop(&mut self) {
        self.stopping |= self.options.stop.level() != Stop::No;
    }

    pub(super) fn receive(&mut self, message: Message) -> Result<(), Diagnostic> {
        match message {
            Message::Output(event) => {
                self.emit(event);
                Ok(())
            }
            Message::Probed(id, probed) => self.probed(id, *probed),
            Message::Finished(id, finished) => {
                self.options.steps.at(Step::Received);
                self.ended(id, *finished)
            }
            Message::Changed(changes) => {
                self.changed(&changes);
                Ok(())
            }
            Message::Wish(wish) => {
                self.wished(wish);
                Ok(())
            }
        }
    }

    pub(super) fn shared_queue(&self) -> Arc<Queue<Message>> {
        self.queue.clone()
    }
}

/// Groups and private tasks get no line of their own.
pub(super) fn is_hidden(task: &Task) -> bool {
    task.is_group() || task.is_private()
}

pub(super) fn claim(task: &Task) -> Claim {
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

/// A name for this run that no other run of this machine has.
pub(super) fn run_id() -> String {
    format!("{}-{}", unix_seconds(), std::process::id())
}

pub(super) fn unix_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Now, as times of files are counted: nanoseconds since 1970.
pub(super) fn file_time() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
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
