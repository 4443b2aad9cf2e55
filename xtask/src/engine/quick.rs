//! What has not changed since earlier runs saw it ([`super::still`]), found without a graph, records or digests; and how
//! a run is told in which that is everything. Knows nothing of running: what is different is left to the full engine.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::run::run_id;
use crate::graph;
use crate::model::{Counts, Event, Outcome, Verdict};
use crate::profile::{self, Part};
use crate::store::STATE_DIR;
use crate::store::seen::{Seen, SeenTask};
use crate::store::sight::{Holds, Proof};

/// How many sights one processor takes at a time.
const BATCH: usize = 256;

/// The tasks that these words name: names and wildcards, in this order, without repeats. `None` if a word is anything
/// else, or the command line might hold options of its task.
pub fn select(seen: &Seen, words: &[String]) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    let mut is_found = vec![false; seen.len()];
    for word in words {
        let start = found.len();
        let mut add = |index: usize, found: &mut Vec<usize>| {
            if !std::mem::replace(&mut is_found[index], true) {
                found.push(index);
            }
        };
        if let Some(index) = seen.find(word) {
            add(index, &mut found);
        } else if graph::is_wildcard(word) {
            let matching =
                (0..seen.len()).filter(|index| seen.task(*index).is_some_and(|task| graph::matches(word, task.name)));
            matching.for_each(|index| add(index, &mut found));
            (found.len() > start).then_some(())?;
        } else {
            return None;
        }
    }
    let takes_words = |index: &usize| seen.task(*index).is_none_or(|task| task.flags.takes_words);
    (!found.iter().any(takes_words)).then_some(found)
}

/// The selected tasks with everything they need, needed ones first.
pub fn closure(seen: &Seen, selected: &[usize]) -> Option<Vec<usize>> {
    let mut order = Vec::new();
    let mut is_seen = vec![false; seen.len()];
    for start in selected {
        if std::mem::replace(&mut is_seen[*start], true) {
            continue;
        }
        let mut stack = vec![(*start, needs(seen, *start)?)];
        while let Some((id, open)) = stack.last_mut() {
            match open.next() {
                None => {
                    order.push(*id);
                    stack.pop();
                }
                Some(need) if !std::mem::replace(is_seen.get_mut(need)?, true) => {
                    stack.push((need, needs(seen, need)?));
                }
                Some(_) => {}
            }
        }
    }
    Some(order)
}

fn needs(seen: &Seen, index: usize) -> Option<impl Iterator<Item = usize> + '_> {
    seen.task(index).map(|task| seen.needs(&task))
}

/// Which tasks of the plan (needed ones first) are up to date, by task: those whose sights are as they were, and whose
/// needs are such tasks, too. What turned out to be proved at less cost is kept.
pub fn unchanged(seen: &mut Seen, plan: &[usize], root: &Path) -> Vec<bool> {
    let _watch = profile::enter(Part::Stat);
    let mut unchanged = vec![false; seen.len()];
    let Ok(fd) = crate::store::files::open_root(root) else { return unchanged };
    let mut wanted = vec![false; seen.sight_count()];
    for task in plan.iter().filter_map(|index| seen.task(*index)).filter(|task| task.flags.known) {
        for sight in seen.sights(&task) {
            if let Some(wanted) = wanted.get_mut(sight) {
                *wanted = true;
            }
        }
    }
    let sights: Vec<u32> = (0..).zip(&wanted).filter(|(_, wanted)| **wanted).map(|(index, _)| index).collect();
    let look = Look { seen, root, fd: &fd };
    let Found { settled, changed } = look.at_all(&sights);
    for index in changed {
        wanted[index] = false;
    }
    for index in plan {
        let Some(task) = seen.task(*index).filter(|task| task.flags.known) else { continue };
        let holds = seen.sights(&task).all(|sight| wanted.get(sight) == Some(&true));
        unchanged[*index] = holds && seen.needs(&task).all(|need| unchanged.get(need) == Some(&true));
    }
    let is_new = !settled.is_empty();
    for (index, proof) in settled {
        seen.settle(index, proof);
    }
    // A run writes it at its end.
    if is_new && plan.iter().all(|index| unchanged[*index]) {
        // Without it, the next run looks closer once more.
        let _ = seen.write(&root.join(STATE_DIR).join(super::still::FILE));
    }
    unchanged
}

#[derive(Default)]
struct Found {
    settled: Vec<(usize, Proof)>,
    changed: Vec<usize>,
}

impl Found {
    fn and(mut self, more: Self) -> Self {
        self.settled.extend(more.settled);
        self.changed.extend(more.changed);
        self
    }
}

struct Look<'a> {
    seen: &'a Seen,
    root: &'a Path,
    fd: &'a OwnedFd,
}

impl Look<'_> {
    fn at_all(&self, sights: &[u32]) -> Found {
        if sights.len() <= BATCH {
            return self.at(sights);
        }
        sights.par_chunks(BATCH).map(|batch| self.at(batch)).reduce(Found::default, Found::and)
    }

    fn at(&self, sights: &[u32]) -> Found {
        let mut found = Found::default();
        for index in sights.iter().map(|index| *index as usize) {
            match self.seen.sight(index).map_or(Holds::No, |sight| sight.holds(self.root, self.fd)) {
                Holds::Yes => {}
                Holds::YesAs(proof) => found.settled.push((index, proof)),
                Holds::No => found.changed.push(index),
            }
        }
        found
    }
}

/// How a run is told.
pub struct Telling {
    pub begun: Instant,
    pub jobs: usize,
    /// Of the command line.
    pub verbosity: Option<u8>,
}

/// Tells a run of `plan` in which every task is up to date, as the full engine would.
pub fn tell(seen: &Seen, plan: &[usize], telling: &Telling, events: &mut dyn FnMut(Event)) {
    let tasks: Vec<SeenTask<'_>> = plan.iter().filter_map(|index| seen.task(*index)).collect();
    let known: f64 = tasks.iter().filter_map(SeenTask::seconds).sum();
    events(Event::RunStarted {
        run_id: run_id(),
        tasks: tasks.iter().filter(|task| !task.flags.hidden).count(),
        workers: telling.jobs,
        widest: tasks.iter().filter(|task| !task.flags.hidden).map(|task| task.name.chars().count()).max().unwrap_or(0),
        expected: (known > 0.0).then(|| Duration::from_secs_f64(known)),
    });
    let mut counts = Counts::default();
    let mut saved = Duration::ZERO;
    for task in &tasks {
        let verbosity = telling.verbosity.or(task.flags.verbosity).or(seen.head.verbosity).unwrap_or(1);
        saved += tell_one(task, verbosity, &mut counts, events);
    }
    events(Event::RunFinished { exit: 0, counts, duration: telling.begun.elapsed(), saved });
}

/// Tells that one task is up to date. Returns the time that this saves.
pub(super) fn tell_one(
    task: &SeenTask<'_>,
    verbosity: u8,
    counts: &mut Counts,
    events: &mut dyn FnMut(Event),
) -> Duration {
    let name: Arc<str> = task.name.into();
    let expected = task.seconds().map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
    let mut saved = Duration::ZERO;
    if !task.flags.group {
        counts.add(Outcome::UpToDate);
        saved = expected.unwrap_or_default();
        events(Event::TaskDecided {
            task: name.clone(),
            verdict: Verdict::UpToDate,
            after: Vec::new(),
            hidden: task.flags.hidden,
        });
    }
    events(Event::TaskFinished {
        task: name,
        expected,
        outcome: Outcome::UpToDate,
        duration: Duration::ZERO,
        problem: None,
        tail: Vec::new(),
        log: None,
        because: Vec::new(),
        remark: None,
        hidden: task.flags.hidden,
        verbosity,
    });
    saved
}
