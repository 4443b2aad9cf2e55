//! The rounds of a watch, one after the other: what wakes them, what they run, what is told afterwards. Knows nothing of
//! terminals.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::beside::{Caller, Discretion, Lending, Tell, say};
use super::set::WatchSet;
use super::{Callbacks, Inbox, Wake};
use crate::cli::run::{self, Prepared};
use crate::engine::{self, Changes, Foresight, Memory, News, Wish};
use crate::graph::TaskId;
use crate::model::{Diagnostic, Diagnostics, Digest, Event, Outcome, Reason, RepoPath, StopToken, Verdict};
use crate::report::Reporter;
use crate::report::keys::Hold;
use crate::watch::{Batch, How, LoopBreaker, Settler, Watcher};
use crate::world::World;

/// See the module.
pub(super) struct Rounds<'a> {
    prepared: Prepared,
    words: &'a [String],
    world: &'a World,
    stop: &'a StopToken,
    reporter: &'a mut dyn Reporter,
    callbacks: &'a Callbacks,
    news: &'a News,
    memory: Memory,
    /// The selection with all that it needs.
    tasks: Vec<TaskId>,
    /// The files that say which tasks there are, as they were read last.
    read: Arc<Mutex<Sources>>,
    /// They could not be understood when they were read last.
    broken: bool,
    /// How many computed inputs are watched.
    computed: usize,
    breaker: LoopBreaker,
    /// What woke the last round.
    woken_by: Changes,
    /// To ask what is being written; `None` before the watch has begun.
    settler: Option<Eyes>,
    /// To leave the terminal to tasks that need it; `None` where no keys are read.
    pub terminal: Option<Hold>,
}

/// Files that say which tasks there are.
#[derive(Clone, PartialEq)]
struct Sources {
    root: PathBuf,
    names: Vec<String>,
    /// Of what was in them.
    content: Digest,
}

impl Sources {
    fn read(prepared: &Prepared) -> Self {
        let (root, names) = (prepared.place.root.clone(), prepared.sources.clone());
        Self { content: Self::digest(&root, &names), root, names }
    }

    fn digest(root: &Path, names: &[String]) -> Digest {
        let mut hasher = crate::model::digest::Hasher::new();
        for name in names {
            let content = std::fs::read(root.join(name)).unwrap_or_default();
            hasher.field(name.as_bytes()).field(content);
        }
        hasher.finish()
    }

    /// Whether one of them is in the batch, and there is something else in them now.
    fn differ(&self, batch: &Batch) -> bool {
        let mut paths = self.names.iter().filter_map(RepoPath::from_root);
        paths.any(|path| batch.touches(&path)) && Self::digest(&self.root, &self.names) != self.content
    }
}

/// The watch as the engine asks it.
#[derive(Clone)]
struct Eyes(Settler);

impl Foresight for Eyes {
    fn pending(&self) -> Changes {
        let pending = self.0.pending();
        Changes { paths: pending.paths, anything: pending.anything, reload: false }
    }

    fn settle(&self, paths: Vec<RepoPath>) {
        self.0.settle(paths);
    }

    fn expect(&self, paths: Vec<RepoPath>) {
        self.0.expect(paths);
    }
}

impl<'a> Rounds<'a> {
    pub fn new(
        prepared: Prepared,
        words: &'a [String],
        world: &'a World,
        stop: &'a StopToken,
        reporter: &'a mut dyn Reporter,
        callbacks: &'a Callbacks,
        news: &'a News,
    ) -> Self {
        let tasks = concerned(&prepared);
        Self {
            read: Arc::new(Mutex::new(Sources::read(&prepared))),
            memory: Memory::new(tasks.clone()),
            prepared,
            words,
            world,
            stop,
            reporter,
            callbacks,
            news,
            tasks,
            broken: false,
            computed: 0,
            breaker: LoopBreaker::default(),
            woken_by: Changes::default(),
            settler: None,
            terminal: None,
        }
    }

    /// Watches before anything was looked at, so that no change falls in between.
    pub fn start_watcher(&mut self, sender: Sender<Wake>) -> Result<Watcher, Diagnostics> {
        let set = self.set();
        let ignored = set.ignored.clone();
        let poll = self.callbacks.poll;
        #[cfg(not(test))]
        let how = How { poll };
        #[cfg(test)]
        let how = How { poll, ..How::default() };
        let news = self.news.clone();
        let sources = self.read.clone();
        let on_batch = move |batch: Batch| {
            // Held until both know it: the loop drops from the news what it has taken in itself.
            let sources = sources.lock().unwrap_or_else(PoisonError::into_inner);
            let reload = sources.differ(&batch);
            let changes = Changes { reload, ..changes_of(&batch) };
            // First to the loop: what it takes in before a round is then dropped from the news. Nobody listens any more
            // only when the program ends.
            let _ = sender.send(Wake::Changed(batch));
            news.tell(changes);
        };
        let root = &self.prepared.place.root;
        let watcher = Watcher::start(root, set.dirs, move |path| ignored.covers(path), how, on_batch)?;
        self.reporter.diagnostics(&watcher.problems);
        self.settler = Some(Eyes(watcher.settler()));
        Ok(watcher)
    }

    fn set(&self) -> WatchSet {
        WatchSet::new(&self.prepared, &self.tasks, self.memory.computed_inputs())
    }

    pub fn idle(&mut self, keys: bool) {
        let bad = self.memory.bad_count(&self.prepared.project.graph);
        self.reporter.event(&Event::WatchIdle { keys, bad, broken: self.broken });
    }

    /// Everything, once.
    pub fn first(&mut self, watcher: &Watcher) {
        self.news.clear();
        self.run();
        self.follow_computed(watcher);
    }

    /// What a person asked for while nothing ran.
    pub fn grant(&mut self, wish: Wish, inbox: &mut Inbox, watcher: &Watcher) {
        match wish {
            Wish::Explain => self.explain(),
            Wish::All => {
                self.take_in(inbox.batches(), watcher);
                self.memory.clear();
                self.run();
            }
            Wish::Failed => {
                self.take_in(inbox.batches(), watcher);
                if self.memory.touch_failed() {
                    self.run();
                } else {
                    self.reporter.event(&Event::WatchNoneFailed);
                }
            }
        }
        self.follow_computed(watcher);
    }

    /// One round for all changes that are known by now. False if they concern nobody.
    pub fn changed(&mut self, batch: Batch, inbox: &mut Inbox, watcher: &Watcher) -> bool {
        let mut batches = vec![batch];
        {
            let _whole = self.last_read();
            self.news.clear();
            batches.extend(inbox.batches());
        }
        let Taken { told, to_run } = self.take_in(batches, watcher);
        if to_run {
            self.run();
        }
        self.follow_computed(watcher);
        told
    }

    /// Says what changed and marks what it concerns; reads the tasks again if they changed.
    fn take_in(&mut self, batches: Vec<Batch>, watcher: &Watcher) -> Taken {
        let mut changes = Changes::default();
        // Files that say which tasks there are.
        let mut sources: BTreeSet<RepoPath> = BTreeSet::new();
        let problems = batches.iter().any(|batch| !batch.problems.is_empty());
        for batch in batches {
            self.reporter.diagnostics(&batch.problems);
            let read = self.prepared.sources.iter().filter_map(RepoPath::from_root);
            sources.extend(read.filter(|source| batch.touches(source)));
            changes.merge(changes_of(&batch));
        }
        let reload = !sources.is_empty() && (self.broken || Sources::read(&self.prepared) != *self.last_read());
        let touched = self.memory.touch(&self.prepared.project, &changes);
        self.woken_by.clone_from(&changes);
        if touched || reload {
            let mut changed: BTreeSet<RepoPath> = if reload { sources } else { BTreeSet::new() };
            if touched {
                changed.extend(self.memory.concerning(&self.prepared.project, &changes.paths));
            }
            let total = changed.len();
            let paths = changed.iter().take(3).map(RepoPath::lossy).collect();
            self.reporter.event(&Event::WatchChanged { paths, total, rescan: changes.anything });
        }
        let to_run = touched | (reload && self.reload(watcher));
        Taken { told: touched || reload || problems, to_run }
    }

    /// Reads the tasks again. False if they cannot be understood: then the last good ones stay.
    fn reload(&mut self, watcher: &Watcher) -> bool {
        *self.last_read() = Sources::read(&self.prepared);
        match run::reload(&mut self.prepared, self.words, self.world) {
            Ok(()) => {
                self.broken = false;
                // Which files these are may have changed with them.
                *self.last_read() = Sources::read(&self.prepared);
                self.tasks = concerned(&self.prepared);
                self.memory = Memory::new(self.tasks.clone());
                self.computed = 0;
                self.watch_again(watcher);
                true
            }
            Err(problems) => {
                self.broken = true;
                self.reporter.diagnostics(&problems.0);
                false
            }
        }
    }

    fn last_read(&self) -> MutexGuard<'_, Sources> {
        // A panic while it is held cannot leave it half written.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch_again(&mut self, watcher: &Watcher) {
        let set = self.set();
        let ignored = set.ignored.clone();
        let problems = watcher.set_dirs(set.dirs, move |path| ignored.covers(path));
        self.reporter.diagnostics(&problems);
    }

    /// Inputs that the last round brought to light are watched from now on, and looked at once more: they may have
    /// changed before.
    fn follow_computed(&mut self, watcher: &Watcher) {
        let count = self.memory.computed_inputs().count();
        if count != self.computed {
            self.computed = count;
            self.watch_again(watcher);
            let paths = self.memory.computed_inputs().filter_map(|dep| RepoPath::from_root(&*dep.pattern)).collect();
            if self.memory.touch(&self.prepared.project, &Changes { paths, ..Changes::default() }) {
                self.run_telling(Tell::IfAnythingRuns);
            }
        }
    }

    /// Runs what is marked, and whatever that brings about.
    fn run(&mut self) {
        self.run_telling(Tell::All);
    }

    fn run_telling(&mut self, tell: Tell) {
        let mut options = run::options(&self.prepared, self.words, self.stop);
        options.keep_going = !self.prepared.args.no_continue;
        options.news = Some(self.settler.clone().map_or_else(|| self.news.clone(), |settler| self.news.with(settler)));
        let reporter = &mut *self.reporter;
        let mut discretion = Discretion::new(tell);
        let mut decided: HashMap<Arc<str>, bool> = HashMap::new();
        let mut started: Vec<(Arc<str>, bool)> = Vec::new();
        let caller = Caller {
            callbacks: self.callbacks,
            world: self.world,
            root: self.prepared.project.root.clone(),
            stop: self.stop,
        };
        // There is nothing to call for as long as nothing has run.
        let mut called = true;
        let mut lending = Lending::new(self.terminal.clone());
        let mut events = |event: Event| {
            lending.follow(&event);
            match &event {
                Event::TaskDecided { task, verdict: Verdict::Run(reasons), .. } => {
                    decided.insert(task.clone(), reasons.iter().any(wakes_itself));
                }
                Event::TaskStarted { task, .. } => {
                    started.push((task.clone(), decided.get(task).copied().unwrap_or_default()));
                }
                _ => {}
            }
            discretion.tell(&event, reporter);
            match &event {
                Event::TaskFinished { outcome: Outcome::Ran | Outcome::Failed | Outcome::Error, .. } => called = false,
                Event::WatchServing { exit, .. } if !called => {
                    called = true;
                    caller.call(reporter, *exit == 0);
                }
                _ => {}
            }
        };
        let selection = self.prepared.selection.clone();
        let result = engine::run_again(&mut self.prepared.project, &selection, &mut self.memory, &options, &mut events);
        match result {
            Ok(summary) => {
                self.break_loops(started);
                let was_cut = summary.outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Interrupted);
                if !called || was_cut {
                    caller.call(self.reporter, summary.exit == 0);
                }
            }
            Err(problem) => self.reporter.diagnostics(&[problem]),
        }
    }

    /// A task that was started again and again although nobody changed anything is not started by changes any more.
    fn break_loops(&mut self, started: Vec<(Arc<str>, bool)>) {
        if started.is_empty() {
            return;
        }
        let contents = contents(&self.prepared.place.root, &self.woken_by);
        for (task, wakes_itself) in started {
            let why = if wakes_itself { "itself" } else { contents.as_str() };
            if !self.breaker.is_loop(&task, why, Instant::now()) {
                continue;
            }
            if let Some(id) = self.prepared.project.graph.find(&task) {
                self.memory.mute(id);
                let warning = Diagnostic::warning(format!("task `{task}` wakes itself: the watch starts it no more"))
                    .note("it ran six times within ten seconds, and nobody else changed what it reads")
                    .help("name what it writes in its `targets`, or take it out of its `file_dep`");
                self.reporter.diagnostics(&[warning.at(self.prepared.project.graph.task(id).place.clone())]);
            }
        }
    }

    fn explain(&mut self) {
        let options = run::options(&self.prepared, self.words, self.stop);
        let selection = self.prepared.selection.clone();
        let mut lines = Vec::new();
        for prediction in engine::predict(&mut self.prepared.project, &selection, &options) {
            if let engine::Status::WillRun(reasons) = prediction.status {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                lines.push(format!("{}: {}", prediction.name, reasons.join("; ")));
            }
        }
        if lines.is_empty() {
            lines.push("nothing would run: every task is up to date".to_owned());
        }
        for line in &lines {
            say(self.reporter, self.world, line);
        }
    }
}

/// What became of batches.
struct Taken {
    /// Something was said, and the last line of the terminal is no longer that of the idle watch.
    told: bool,
    to_run: bool,
}

/// The selection with all that it needs, setup tasks too.
fn concerned(prepared: &Prepared) -> Vec<TaskId> {
    run::closure_with_setup(&prepared.project.graph, &prepared.selection, prepared.args.single)
}

fn changes_of(batch: &Batch) -> Changes {
    Changes { paths: batch.paths.clone(), anything: batch.rescan, reload: false }
}

/// A reason that a task gives itself, without anybody else changing anything.
fn wakes_itself(reason: &Reason) -> bool {
    matches!(reason, Reason::InputChangedDuringRun { .. })
}

/// Above this size a file counts by its stat.
const LARGE: u64 = 1 << 20;

/// Which paths changed, and what is in them now: the same again means that nobody changed anything.
fn contents(root: &std::path::Path, changes: &Changes) -> String {
    let mut hasher = crate::model::digest::Hasher::new();
    for path in &changes.paths {
        let file = root.join(path.as_path());
        let meta = std::fs::symlink_metadata(&file).ok().filter(std::fs::Metadata::is_file);
        hasher.field(path.as_bytes());
        match meta {
            Some(meta) if meta.len() > LARGE => hasher.field(format!("{:?}", meta.modified().ok())),
            Some(_) => hasher.field(std::fs::read(&file).unwrap_or_default()),
            None => hasher.field(b"none"),
        };
    }
    hasher.finish().hex()
}
