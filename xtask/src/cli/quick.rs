//! A run in which nothing has changed, without reading tasks.yaml into tasks: sees whether what the last run kept still
//! counts for this command line and these files. Whenever in doubt, it is a run like any other.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::args::RunArgs;
use super::project::{self, Place};
use super::run::{self, Prepared};
use super::words::{self, Meaning};
use crate::engine::{Options, quick, still};
use crate::model::digest::Hasher;
use crate::model::task::Taskfile;
use crate::model::{Diagnostics, Digest, RepoPath, Secret, StopToken};
use crate::store::lock::Lock;
use crate::store::seen::{Head, Seen};
use crate::store::sight::digest_of_paths;
use crate::store::{STATE_DIR, StateDb};
use crate::world::World;

/// What was asked of the world while tasks.yaml was read, with a digest of each answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub env: BTreeMap<String, Option<Digest>>,
    pub globs: BTreeMap<String, Digest>,
    /// Images of the stack, or environments: their answer hangs on files that are not named here.
    pub outside: bool,
}

/// The same, shared with those who ask.
pub(super) type SharedAsked = Arc<Mutex<Asked>>;

/// Where the tasks of a run came from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub sources: Vec<(String, Digest)>,
    pub asked: SharedAsked,
    /// What tasks.yaml says beside the tasks.
    pub common: Taskfile,
}

/// What came of it.
pub(super) enum Quick {
    /// Nothing was to do.
    Done(u8),
    /// A run is needed.
    Run(Box<Known>),
}

/// What was found out for a run.
#[derive(Default)]
pub(super) struct Known {
    /// If it was taken.
    pub lock: Option<Lock>,
    /// What earlier runs saw, if it still counts.
    pub seen: Option<Arc<Seen>>,
    /// By task: whether it is known to be up to date. Empty, or as long as there are tasks.
    pub unchanged: Vec<bool>,
    /// What the line asks for, needed ones first; empty if only a full reading can tell.
    pub plan: Vec<usize>,
    pub args: Option<(Place, RunArgs)>,
}

/// Tries.
///
/// # Errors
/// Another run has the state, and this one was told not to wait.
pub(super) fn quick(words: &[String], world: &World, stop: &StopToken) -> Result<Quick, Diagnostics> {
    let begun = Instant::now();
    let no = Ok(Quick::Run(Box::default()));
    let Ok(place) = project::find(&run::file_args(words, world), world) else { return no };
    let file = place.root.join(STATE_DIR).join(still::FILE);
    if !file.exists() {
        return no;
    }
    let Some((mut args, named)) = understood(words) else { return no };
    let lock = run::take_lock(&place, &args, words, world, stop)?;
    if lock.is_none() {
        return no;
    }
    let Some(mut seen) = Seen::read(&file).filter(|seen| counts(&seen.head, &place, world)) else {
        return Ok(Quick::Run(Box::new(Known { lock, ..Known::default() })));
    };
    let plan = plan(&seen, &named).unwrap_or_default();
    let unchanged = quick::unchanged(&mut seen, &plan, &place.root);
    if plan.is_empty() || plan.iter().any(|index| !unchanged[*index]) {
        let known = Known { lock, seen: Some(Arc::new(seen)), unchanged, plan, args: Some((place, args)) };
        return Ok(Quick::Run(Box::new(known)));
    }
    args.reporter = args.reporter.or_else(|| seen.head.reporter.clone());
    let mut reporter = run::reporter(&args, &place, world)?;
    let jobs = args.jobs.or(seen.head.jobs).unwrap_or_else(|| Options::default().jobs).max(1);
    let telling = quick::Telling { begun, jobs, verbosity: args.verbosity };
    quick::tell(&seen, &plan, &telling, &mut |event| reporter.event(&event));
    reporter.finish();
    if args.self_profile {
        run::self_profile(begun, world);
    }
    Ok(Quick::Done(0))
}

fn plan(seen: &Seen, named: &[String]) -> Option<Vec<usize>> {
    let words = if named.is_empty() { &seen.head.default_tasks } else { named };
    let selected = quick::select(seen, words)?;
    if selected.is_empty() { None } else { quick::closure(seen, &selected) }
}

/// The options and the names, if the line holds nothing that a task could take or that asks for more than a plain run.
fn understood(words: &[String]) -> Option<(RunArgs, Vec<String>)> {
    let split = words::split(words, &|_, _| Meaning::Other).ok()?;
    let plain = |word: &String| !word.starts_with('-') && !word.contains('=');
    let args = run::parse(&split.run).ok().filter(|_| split.tasks.iter().all(plain))?;
    let more = args.always || args.single || args.dry_run || args.frozen || args.shuffle.is_some();
    let more = more || args.timings.is_some() || !args.what_if.is_empty();
    (!more).then_some((args, split.tasks))
}

/// Whether tasks.yaml would be read into the same tasks, and the records are those of then.
fn counts(head: &Head, place: &Place, world: &World) -> bool {
    let root = &place.root;
    let same_source = |(name, digest): &(String, Digest)| {
        std::fs::read(root.join(name)).is_ok_and(|bytes| Digest::of(&bytes) == *digest)
    };
    let key = project::key(root, false);
    program(place, world).is_some_and(|program| program == head.program)
        && head.sources.iter().all(same_source)
        && head.env.iter().all(|(name, digest)| digest_of_value(&key, world.var(name).as_deref()) == *digest)
        && head.globs.iter().all(|(pattern, digest)| digest_of_paths(&project::glob(root, pattern)) == *digest)
        && StateDb::files(root) == head.state
        && StateDb::stamp_of(root) == Some(head.stamp)
}

/// Whether these are the tasks that a run has read now: a file may have changed since it was compared.
pub(super) fn is_of(head: &Head, prepared: &Prepared) -> bool {
    prepared.origin.as_ref().is_some_and(|origin| {
        let asked = origin.asked.lock().unwrap_or_else(PoisonError::into_inner);
        origin.sources == head.sources
            && asked.env.iter().eq(head.env.iter().map(|(name, digest)| (name, digest)))
            && asked.globs.iter().eq(head.globs.iter().map(|(pattern, digest)| (pattern, digest)))
    })
}

/// A value of the environment may be a secret: only its keyed digest is kept.
pub(super) fn digest_of_value(key: &Secret, value: Option<&str>) -> Option<Digest> {
    value.map(|value| {
        let mut hasher = Hasher::new();
        hasher.field(key.expose()).field(value);
        hasher.finish()
    })
}

/// This very program, with the actions that it was given, reading this file. `None` where it cannot be told.
fn program(place: &Place, world: &World) -> Option<String> {
    let meta = std::fs::metadata("/proc/self/exe").ok()?;
    let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
    let extra = (world.extra.names(), world.extra.check_names());
    Some(format!(
        "{} {}:{} {} {times:?} {extra:?} {}",
        env!("CARGO_PKG_VERSION"),
        meta.dev(),
        meta.ino(),
        meta.size(),
        place.file
    ))
}

/// Keeps what a run saw for the next one. Only for a run that had the state for itself.
pub(super) fn remember(prepared: &mut Prepared, world: &World) {
    let Prepared { place, project, origin, seen, warnings, .. } = prepared;
    if let Some(whole) = project.whole.clone().filter(|_| warnings.is_empty()) {
        let head = |stamp| Head { stamp, state: StateDb::files(&place.root), ..whole.seen.head.clone() };
        return still::remember(project, head, Some(&whole.seen), None);
    }
    let Some(origin) = origin.as_ref().filter(|_| warnings.is_empty()) else { return };
    let asked = origin.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(program) = program(place, world).filter(|_| !asked.outside) else { return };
    let (config, root) = (project.config.clone(), project.root.clone());
    let head = |stamp| Head {
        program,
        sources: origin.sources.clone(),
        env: asked.env.into_iter().collect(),
        globs: asked.globs.into_iter().collect(),
        stamp,
        state: StateDb::files(&root),
        default_tasks: config.default_tasks.iter().map(|task| task.value.to_string()).collect(),
        jobs: config.jobs,
        verbosity: config.verbosity,
        reporter: config.reporter.as_deref().map(str::to_owned),
    };
    still::remember(project, head, seen.as_deref(), Some(&origin.common));
}

/// Notes the answers that the reading of tasks gets.
pub(super) struct Notes<'a> {
    pub asked: &'a Mutex<Asked>,
    pub key: &'a Secret,
}

impl Notes<'_> {
    fn add(&self, note: impl FnOnce(&mut Asked)) {
        note(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn env(&self, name: &str, value: Option<String>) -> Option<String> {
        self.add(|asked| {
            asked.env.insert(name.to_owned(), digest_of_value(self.key, value.as_deref()));
        });
        value
    }

    pub(super) fn glob(&self, root: &Path, pattern: &str) -> Vec<RepoPath> {
        let found = project::glob(root, pattern);
        self.add(|asked| {
            asked.globs.insert(pattern.to_owned(), digest_of_paths(&found));
        });
        found
    }

    pub(super) fn outside(&self) {
        self.add(|asked| asked.outside = true);
    }
}
