//! The thread behind a watcher: events in, subscriptions kept up, batches out. Knows nothing of what a batch is for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind};

use crate::model::{Diagnostic, RepoPath};

use super::Batch;
use super::debounce::{Change, Debounce};
use super::git;
use super::limit;
use super::settle::{Cookies, Pending, Questions};
use super::subscription::Subscription;
use super::wanted::Wanted;

/// Between two looks at directories without a watch; longer where a look takes long.
const POLL: Duration = Duration::from_millis(500);

/// Between two looks for a root that is gone, and for git's lock.
const LOST: Duration = Duration::from_millis(100);
const LOCKED: Duration = Duration::from_millis(5);

/// A lock of git is respected while files still change, and no longer than this; else a dead git would stop all.
const LOCK_QUIET: Duration = Duration::from_secs(2);
const LOCK_MAX: Duration = Duration::from_secs(30);

/// Where files are made whose events mark a moment.
const COOKIES: &str = ".xtask/watch";

/// What the thread is told.
pub enum Message {
    Event(notify::Result<Event>),
    /// A new set of directories; answers with problems once all of them are subscribed.
    SetDirs(Wanted, Sender<Vec<Diagnostic>>),
    /// Answers with what waits once all earlier events are here, see [`super::settle`].
    Pending(Sender<Pending>),
    /// Answers once nothing of these paths waits for a pause.
    Settle(Vec<RepoPath>, Sender<()>),
    /// The same, once something is known of them.
    Expect(Vec<RepoPath>, Sender<()>),
    Stop,
}

/// See the module.
pub struct Worker {
    pub subscription: Subscription,
    pub wanted: Wanted,
    pub messages: Receiver<Message>,
    pub on_batch: Box<dyn Fn(Batch) + Send>,
    debounce: Debounce,
    questions: Questions,
    lock: Option<PathBuf>,
    /// Until then git's lock is assumed to be still there.
    locked_until: Option<Instant>,
    next_poll: Option<Instant>,
    /// The root is gone; when to look for it again.
    lost: Option<Instant>,
    /// Directories that came or went since the last look at the clock.
    stale: BTreeSet<RepoPath>,
    problems: Vec<Diagnostic>,
}

/// Whether an event can mean that something changed. Opening and reading must not: whoever answers a change by
/// reading would never stop. An event with both names of a rename only repeats the two before it.
pub fn matters(event: &notify::Result<Event>) -> bool {
    match event {
        Ok(event) => match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => false,
            _ => true,
        },
        Err(_) => true,
    }
}

impl Worker {
    pub fn new(
        subscription: Subscription,
        wanted: Wanted,
        messages: Receiver<Message>,
        on_batch: Box<dyn Fn(Batch) + Send>,
    ) -> Self {
        let lock = git::lock_path(&subscription.absolute(&RepoPath::root()));
        Self {
            subscription,
            wanted,
            messages,
            on_batch,
            debounce: Debounce::default(),
            questions: Questions::default(),
            lock,
            locked_until: None,
            next_poll: None,
            lost: None,
            stale: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// Until told to stop, or until nobody can tell it anything any more.
    pub fn run(mut self) {
        self.plan_poll(Duration::ZERO);
        loop {
            let message = match self.wake() {
                None => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => self.messages.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break self.flush(),
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // A burst is taken whole before the clock is looked at; in parts, so that no burst starves the clock.
            for message in self.messages.try_iter().take(4096).collect::<Vec<_>>() {
                if matches!(message, Message::Stop) {
                    self.subscribe_stale();
                    return self.flush();
                }
                self.handle(message);
            }
            self.subscribe_stale();
            self.on_time(Instant::now());
        }
    }

    /// When something is to be done even if nothing happens; never, while nothing waits: an idle watch costs nothing.
    fn wake(&self) -> Option<Instant> {
        let due = self.debounce.due().map(|due| self.locked_until.map_or(due, |locked| due.max(locked)));
        [due, self.next_poll, self.lost, self.questions.wake()].into_iter().flatten().min()
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.event(event),
            Message::SetDirs(wanted, answer) => {
                self.subscribe_stale();
                self.wanted = wanted;
                self.lock = git::lock_path(&self.subscription.absolute(&RepoPath::root()));
                self.subscription.sync(&self.wanted, false);
                self.plan_poll(Duration::ZERO);
                let mut problems = std::mem::take(&mut self.problems);
                problems.extend(self.subscription.problems());
                // Whoever asked may have gone.
                let _ = answer.send(problems);
            }
            Message::Pending(answer) => self.questions.ask(answer, Instant::now()),
            Message::Settle(paths, answer) => self.questions.settle(paths, answer),
            Message::Expect(paths, answer) => self.questions.expect(paths, answer, Instant::now()),
            Message::Stop => {}
        }
    }

    fn event(&mut self, event: notify::Result<Event>) {
        let now = Instant::now();
        let event = match event {
            Ok(event) if event.need_rescan() => return self.rescan(now),
            Ok(event) => event,
            Err(error) => {
                let path = error.paths.first().and_then(|path| self.subscription.relative(path));
                let what = path.map_or("the watch".to_owned(), |path| format!("watch of `{path}`"));
                self.problems.push(Diagnostic::warning(format!("{what} failed")).cause(error));
                return self.rescan(now);
            }
        };
        for path in &event.paths {
            if self.questions.is_cookie(path) {
                continue;
            }
            if let Some(path) = self.subscription.relative(path) {
                self.path_changed(path, event.kind, now);
            }
        }
    }

    fn path_changed(&mut self, path: RepoPath, kind: EventKind, now: Instant) {
        match kind {
            EventKind::Modify(ModifyKind::Data(_)) => {
                let change = if self.is_empty_file(&path) { Change::Emptied } else { Change::Written };
                self.note(path, change, now);
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.note(path, Change::Closed, now),
            EventKind::Access(_) => {}
            EventKind::Modify(ModifyKind::Metadata(_)) => self.note(path, Change::Other, now),
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Any | ModifyKind::Other)
            | EventKind::Other => self.came_or_went(path, kind, now),
        }
    }

    /// A name now means something else.
    fn came_or_went(&mut self, path: RepoPath, kind: EventKind, now: Instant) {
        if path.as_bytes().is_empty() {
            if !self.root_exists() || !matches!(kind, EventKind::Create(_)) {
                self.lose_root(now);
            }
            return;
        }
        if self.wanted.wants_dir(&path) {
            self.stale.insert(path.clone());
        }
        let change = match kind {
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Change::Closed,
            EventKind::Create(_) if self.is_empty_file(&path) => Change::Emptied,
            _ => Change::Other,
        };
        self.note(path, change, now);
    }

    /// Whether there is a file with nothing in it: whoever opened it is about to write.
    fn is_empty_file(&self, path: &RepoPath) -> bool {
        let meta = std::fs::symlink_metadata(self.subscription.absolute(path));
        meta.is_ok_and(|meta| meta.is_file() && meta.len() == 0)
    }

    /// Subscribes afresh what came or went: what it was is forgotten first, as the system may have ended a watch with
    /// the old directory after a new one of that name was subscribed. Once for all the events that were waiting, and
    /// once for a directory with all below it: to do it for each event would take longer than the events take to come,
    /// and every other change would wait.
    fn subscribe_stale(&mut self) {
        let mut last: Option<RepoPath> = None;
        let mut found = Vec::new();
        for path in std::mem::take(&mut self.stale) {
            // Neighbours in the order of bytes: what is below a directory need not follow it at once, which only costs
            // a second look.
            if last.as_ref().is_some_and(|last| path.is_within(last)) {
                continue;
            }
            self.subscription.forget(&path);
            self.subscription.add(&self.wanted, &path, &mut |entry| found.push(entry));
            last = Some(path);
        }
        if last.is_none() {
            return;
        }
        let now = Instant::now();
        for entry in found {
            self.debounce.note(Change::Other(entry), now);
        }
        self.plan_poll(Duration::ZERO);
    }

    fn note(&mut self, path: RepoPath, change: fn(RepoPath) -> Change, now: Instant) {
        if self.wanted.wants_path(&path) {
            self.debounce.note(change(path), now);
        }
    }

    /// After all others, so that it takes the watch of no input.
    fn watch_cookies(&mut self) {
        self.questions.cookies = self.subscription.watch_own(COOKIES).map(Cookies::in_dir).unwrap_or_default();
    }

    /// Events were lost: every watch is made anew, and the caller looks at everything after that.
    fn rescan(&mut self, now: Instant) {
        self.subscription.sync(&self.wanted, true);
        self.watch_cookies();
        self.plan_poll(Duration::ZERO);
        self.debounce.note(Change::Anything, now);
    }

    fn root_exists(&self) -> bool {
        self.subscription.absolute(&RepoPath::root()).is_dir()
    }

    fn lose_root(&mut self, now: Instant) {
        self.subscription.forget(&RepoPath::root());
        self.lost = Some(now);
        self.debounce.note(Change::Anything, now);
    }

    fn on_time(&mut self, now: Instant) {
        if self.lost.is_some_and(|at| at <= now) {
            self.lost = Some(now + LOST);
            if self.root_exists() {
                self.lost = None;
                self.rescan(now);
            }
        }
        if self.next_poll.is_some_and(|at| at <= now) {
            for path in self.subscription.poll() {
                self.came_or_went(path, EventKind::Any, now);
            }
            self.subscribe_stale();
            self.plan_poll(now.elapsed());
        }
        if self.debounce.due().is_some_and(|due| due <= now) {
            if self.is_locked(now) {
                self.locked_until = Some(now + LOCKED);
            } else {
                self.flush();
            }
        }
        self.questions.answer(&self.debounce, now);
    }

    fn plan_poll(&mut self, cost: Duration) {
        let polled = self.subscription.counts().1 > 0;
        self.next_poll = polled.then(|| Instant::now() + POLL.max(cost * 10));
    }

    /// git is at work, and still changes files.
    fn is_locked(&self, now: Instant) -> bool {
        let Some((first, last)) = self.debounce.span() else { return false };
        now.duration_since(first) < LOCK_MAX
            && now.duration_since(last) < LOCK_QUIET
            && self.lock.as_deref().is_some_and(Path::exists)
    }

    fn flush(&mut self) {
        self.locked_until = None;
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(self.subscription.problems());
        if let Some(due) = self.debounce.take() {
            (self.on_batch)(Batch { paths: due.paths, rescan: due.anything, problems, since: due.since });
        } else {
            self.problems = problems;
        }
    }

    /// A watcher that could not be made is worth a word.
    pub fn no_watcher(&mut self, cause: &notify::Error) {
        self.problems.push(limit::no_watcher(&cause.to_string()));
    }

    /// Subscribes everything for the first time.
    pub fn subscribe_all(&mut self) -> Vec<Diagnostic> {
        // Made before anything is watched: its coming is no news.
        let dir = self.subscription.absolute(&RepoPath::root()).join(COOKIES);
        let _ = std::fs::create_dir_all(dir);
        self.subscription.sync(&self.wanted, false);
        self.watch_cookies();
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(self.subscription.problems());
        problems
    }
}
