//! Copies many folders to many hosts at once. Knows nothing of tasks; where hosts come from is handed in.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::progress::Progress;
use super::rsync::{self, Filter, SyncSpec};
use super::script::{self, Found};
use super::ssh::Env;
use super::target::{check_below, check_root};
use super::transfer::{Link, Patience, transfer};
use super::tree::TreeState;
use super::{RemoteError, Target};
use crate::model::{Digest, StopToken};

/// Where trees go: a host and the folder below which everything is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// `None` = this machine.
    pub target: Option<Target>,
    /// Absolute.
    pub root: String,
}

/// One folder (or file) to one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub spec: SyncSpec,
    pub place: Place,
    /// Of the copy, below the root of the place.
    pub path: String,
    /// Deletes even if the source is empty or has lost more than half of its files.
    pub allow_collapse: bool,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// The note on the host says that nothing changed, and nothing there was changed after it.
    Same,
    Copied {
        bytes: u64,
        attempts: u32,
        /// Only so many paths, all that had changed, were looked at.
        only: Option<usize>,
        /// On the way.
        compressed: bool,
    },
    Failed(RemoteError),
}

/// A job and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobReport {
    pub source: PathBuf,
    /// `this machine`, or the host.
    pub host: String,
    pub path: String,
    pub state: JobState,
}

/// How much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transfers to one host. One ssh connection carries ten sessions unless its server says otherwise.
    pub per_host: usize,
    pub overall: usize,
}

impl Default for Limits {
    /// 4 to one host, 16 overall.
    fn default() -> Self {
        Self { per_host: 4, overall: 16 }
    }
}

/// Is told how far a job is; called from several threads.
pub type Watcher<'a> = &'a (dyn Fn(&Job, Progress) + Sync);

/// Does all jobs: hosts side by side, several folders at once on each, one connection per host. A host that cannot be
/// reached fails its own jobs only. The reports are in the order of the jobs.
pub fn sync_all(
    jobs: &[Job],
    limits: Limits,
    patience: Patience,
    env: &Env,
    watcher: Watcher<'_>,
    stop: &StopToken,
) -> Vec<JobReport> {
    let states: Vec<Mutex<Option<JobState>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let running = Slots::new(limits.overall);
    let context = Context { jobs, states: &states, running: &running, limits, patience, env, watcher, stop };
    std::thread::scope(|scope| {
        for (place, numbers) in by_place(jobs) {
            let context = &context;
            scope.spawn(move || context.one_place(&place, &numbers));
        }
    });
    let state = |slot: &Mutex<Option<JobState>>| {
        let state = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        state.unwrap_or(JobState::Failed(RemoteError::Stopped))
    };
    let report = |(job, slot): (&Job, &Mutex<Option<JobState>>)| JobReport {
        source: job.spec.source.clone(),
        host: job.place.target.as_ref().map_or("this machine".to_owned(), ToString::to_string),
        path: job.path.clone(),
        state: state(slot),
    };
    jobs.iter().zip(&states).map(report).collect()
}

struct Context<'a> {
    jobs: &'a [Job],
    states: &'a [Mutex<Option<JobState>>],
    running: &'a Slots,
    limits: Limits,
    patience: Patience,
    env: &'a Env,
    watcher: Watcher<'a>,
    stop: &'a StopToken,
}

impl Context<'_> {
    fn set(&self, number: usize, state: JobState) {
        *self.states[number].lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    /// All jobs of one host: one round trip to see what is to do, then that.
    fn one_place(&self, place: &Place, numbers: &[usize]) {
        let link = match &place.target {
            Some(target) => Link::ssh(target.clone(), self.env.clone()),
            None => Link::here(self.env.clone()),
        };
        let mut ready = Vec::new();
        for &number in numbers {
            match prepare(&self.jobs[number]) {
                Ok(state) => ready.push((number, state)),
                Err(error) => self.set(number, JobState::Failed(error)),
            }
        }
        if ready.is_empty() {
            return;
        }
        let found = match self.look_patiently(&link, &place.root, &ready) {
            Ok(found) => found,
            Err(error) => {
                return ready.iter().for_each(|(number, _)| self.set(*number, JobState::Failed(error.clone())));
            }
        };
        let todo: VecDeque<_> = ready.into_iter().zip(found).collect();
        let threads = todo.len().min(self.limits.per_host.max(1));
        let todo = Mutex::new(todo);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let next = todo.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some(((number, state), found)) = next else { break };
                        let result = self.one_job(&self.jobs[number], &link, &state, &found);
                        self.set(number, result.unwrap_or_else(JobState::Failed));
                    }
                });
            }
        });
    }

    /// Looks; again, if the connection was lost while it was asked.
    fn look_patiently(&self, link: &Link, root: &str, ready: &[(usize, TreeState)]) -> Result<Vec<Found>, RemoteError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match look(link, root, self.jobs, ready, self.stop) {
                Err(Looked::Lost(_)) if attempt <= self.patience.retries => {
                    super::transfer::pause(self.patience.back_off, attempt, self.stop)?;
                }
                outcome => return outcome.map_err(Looked::into_error),
            }
        }
    }

    fn one_job(&self, job: &Job, link: &Link, state: &TreeState, found: &Found) -> Result<JobState, RemoteError> {
        let note = match found {
            Found::Same => return Ok(JobState::Same),
            Found::Outside => {
                let why = "a link leads out of the root of the host".to_owned();
                return Err(RemoteError::Dangerous { path: job.full_path(), why });
            }
            Found::Differs(note) | Found::Behind(note) => note,
        };
        if job.spec.delete && !job.allow_collapse && state.has_collapsed(note) {
            let why = format!("it has {} files, less than half of what was copied last", state.count);
            return Err(RemoteError::SuspiciousSource { source_dir: job.spec.source.clone(), why });
        }
        let _slot = self.running.take(self.stop)?;
        let mut spec = job.spec.clone();
        spec.checksum |= state.is_disguised(note);
        let only = if matches!(found, Found::Behind(_)) { job.list_changed(state, note) } else { None };
        if let Some((list, _)) = &only {
            spec.only = Some(list.clone());
            // They are few, and what changed without a trace in size and time is among them.
            spec.checksum = true;
        }
        let mut report = |progress| (self.watcher)(job, progress);
        let done = transfer(&spec, link, &job.full_path(), self.patience, &mut report, &mut io::sink(), self.stop)?;
        // What changed while it was copied may have been copied in part: then there is no note.
        if TreeState::read(&job.spec.source, &job.salt())? == *state {
            let words = [job.place.root.as_str(), &job.note_name(), &state.note()];
            // Without a note the next sync looks again; the copy itself is whole.
            let _ = link.script(script::AFTER, &words, self.stop)?;
            job.remember(state);
        }
        let only = only.map(|(_, count)| count);
        Ok(JobState::Copied { bytes: done.bytes, attempts: done.attempts, only, compressed: done.compressed })
    }
}

impl Job {
    fn full_path(&self) -> String {
        format!("{}/{}", self.place.root.trim_end_matches('/'), self.path)
    }

    /// Where it is remembered what was copied to this place.
    fn listing_file(&self) -> Option<PathBuf> {
        let place = self.place.target.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = Digest::of(format!("{place}\0{}\0{}", self.place.root, self.path).as_bytes()).hex();
        Some(self.spec.memory.as_ref()?.join(&name[..16]))
    }

    /// Writes a list of what changed since the state that is on the host; its file and how long it is. `None` where all
    /// must be looked at.
    fn list_changed(&self, state: &TreeState, note: &str) -> Option<(PathBuf, usize)> {
        if self.spec.is_file() {
            return None;
        }
        let file = self.listing_file()?;
        let listing = std::fs::read(&file).ok()?;
        let changed = state.changed_since(&listing, note)?;
        let list = file.with_extension("changed");
        let mut text = changed.join(&0);
        text.push(0);
        std::fs::write(&list, text).ok()?;
        (!changed.is_empty()).then_some((list, changed.len()))
    }

    /// A listing that cannot be written only costs a look at everything the next time.
    fn remember(&self, state: &TreeState) {
        let Some(file) = self.listing_file() else { return };
        let new = file.with_extension("new");
        let _ = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        let _ = std::fs::write(&new, state.listing()).and_then(|()| std::fs::rename(&new, &file));
    }

    /// What else decides about the copy.
    fn salt(&self) -> String {
        let filters = self.spec.filters.iter().map(|filter| match filter {
            Filter::Include(pattern) => format!("+{pattern}"),
            Filter::Exclude(pattern) => format!("-{pattern}"),
        });
        let options = self.spec.options.iter().cloned().chain(self.spec.link_dest.clone());
        let words: Vec<String> = filters.chain(["\0".to_owned()]).chain(options).collect();
        format!("{} {}", self.spec.delete, words.join("\0"))
    }

    fn note_name(&self) -> String {
        Digest::of(self.path.as_bytes()).hex()[..16].to_owned()
    }
}

/// Checks a job and reads its source.
fn prepare(job: &Job) -> Result<TreeState, RemoteError> {
    check_root(&job.place.root)?;
    check_below(&job.path)?;
    job.spec.options.iter().try_for_each(|option| rsync::check_option(option))?;
    let state = TreeState::read(&job.spec.source, &job.salt())?;
    if job.spec.delete && !job.allow_collapse && state.count == 0 {
        let why = "it is empty".to_owned();
        return Err(RemoteError::SuspiciousSource { source_dir: job.spec.source.clone(), why });
    }
    Ok(state)
}

/// One round trip: what is to do for each of these jobs.
fn look(
    link: &Link,
    root: &str,
    jobs: &[Job],
    ready: &[(usize, TreeState)],
    stop: &StopToken,
) -> Result<Vec<Found>, Looked> {
    let mut words = vec![root.to_owned()];
    for (number, state) in ready {
        let job = &jobs[*number];
        let kind = if job.spec.is_file() { "f" } else { "d" };
        words.extend([kind.to_owned(), job.path.clone(), job.note_name(), state.note()]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (result, said) = link.script(script::BEFORE, &words, stop).map_err(Looked::Failed)?;
    if result.exit == crate::exec::Exit::Stopped {
        return Err(Looked::Failed(RemoteError::Stopped));
    }
    let found = if result.exit.success() { script::parse(&result.stdout, ready.len()) } else { None };
    found.ok_or_else(|| {
        let (host, what) = (link.name.clone(), "looking at what is there".to_owned());
        let error = RemoteError::Failed { host, what, how: result.exit.describe(), said };
        // The script itself never ends so: it is ssh that lost its connection.
        if result.exit == crate::exec::Exit::Code(255) { Looked::Lost(error) } else { Looked::Failed(error) }
    })
}

/// Why it is not known what is there.
enum Looked {
    /// The connection was lost on the way.
    Lost(RemoteError),
    Failed(RemoteError),
}

impl Looked {
    fn into_error(self) -> RemoteError {
        match self {
            Self::Lost(error) | Self::Failed(error) => error,
        }
    }
}

/// The numbers of the jobs of each place, in their order.
fn by_place(jobs: &[Job]) -> Vec<(Place, Vec<usize>)> {
    let mut places: Vec<(Place, Vec<usize>)> = Vec::new();
    for (number, job) in jobs.iter().enumerate() {
        match places.iter_mut().find(|(place, _)| *place == job.place) {
            Some((_, numbers)) => numbers.push(number),
            None => places.push((job.place.clone(), vec![number])),
        }
    }
    places
}

/// A number of things that may happen at once.
struct Slots {
    free: AtomicUsize,
}

/// Gives its slot back when it is dropped.
struct Slot<'a>(&'a Slots);

impl Slots {
    fn new(count: usize) -> Self {
        Self { free: AtomicUsize::new(count.max(1)) }
    }

    /// Waits for a free one.
    fn take(&self, stop: &StopToken) -> Result<Slot<'_>, RemoteError> {
        while !stop.is_requested() {
            let taken = self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1));
            if taken.is_ok() {
                return Ok(Slot(self));
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Err(RemoteError::Stopped)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::SeqCst);
    }
}
