//! What a run saw, kept for the next one. Knows nothing of how a verdict is found: only that the same sights give the
//! same one.
//!
//! A task is kept only if its verdict depends on nothing but its definition, files, and the records of tasks that are
//! kept as well: no clock, no command, no variable, no param, nothing outside the disk.

use std::collections::HashMap;
use std::sync::Arc;

use super::Project;
use super::inputs::{self, Inputs};
use super::run::{Run, is_hidden};
use super::{narrow, quick};
use crate::graph::{self, Node, Selection, TaskId};
use crate::model::RepoPath;
use crate::model::task::{ActionKind, RunMode, Taskfile, Uptodate};
use crate::profile::{self, Part};
use crate::store::STATE_DIR;
use crate::store::seen::{Flags, Head, Seen, SeenWriter};
use crate::store::sight::{Proof, Sight, patterns_text};

/// Where it is kept, below the state folder.
pub const FILE: &str = "seen.bin";

/// What was looked at for a task that ended well.
#[derive(Clone, Debug)]
pub struct Sighting {
    inputs: Arc<Inputs>,
    /// The epochs of the files in which its inputs and its targets were seen.
    decided: u32,
    ended: u32,
    /// Its record is another than before.
    rewritten: bool,
}

/// How a task of the plan ended, as far as that can be kept.
#[derive(Clone, Debug)]
pub enum Sighted {
    /// Badly, or nothing of it can be kept.
    Nothing,
    /// It was known to be up to date before the run.
    AsBefore,
    Now(Sighting),
}

/// What a run leaves to be kept: every task of the plan.
pub type Sightings = HashMap<TaskId, Sighted>;

impl Run<'_> {
    /// Keeps what was looked at for a task.
    pub(super) fn saw(&mut self, id: TaskId, inputs: Arc<Inputs>, rewritten: bool) {
        let ended = self.project.files.epoch();
        let since = self.epoch - self.decided_in.get(&id).copied().unwrap_or(self.epoch);
        self.sights.insert(id, Sighting { inputs, decided: ended - since, ended, rewritten });
    }

    /// All tasks that became final, for [`remember`].
    pub(super) fn sightings(&mut self) -> Sightings {
        let mut sights = std::mem::take(&mut self.sights);
        let mut sighted = |id: &TaskId| match sights.remove(id) {
            Some(sighting) => Sighted::Now(sighting),
            None if self.untouched.contains(id) => Sighted::AsBefore,
            None => Sighted::Nothing,
        };
        self.outcomes.iter().map(|(id, _)| (*id, sighted(id))).collect()
    }
}

/// Whether the graph says the same as long as the files that it was read from do.
fn is_constant(project: &Project) -> bool {
    let constant = |kind: &ActionKind| match kind {
        ActionKind::Shell(_) | ActionKind::Argv(_) => true,
        ActionKind::BuiltIn { name, .. } => project.actions.get(name).is_some_and(|action| action.links_are_constant()),
    };
    project.graph.ids().all(|id| {
        let task = project.graph.task(id);
        task.expand_after.is_none() && task.actions.iter().all(|action| constant(&action.kind))
    })
}

/// Whether the verdict of a task hangs on nothing but what can be kept.
fn is_plain(node: &Node) -> bool {
    let task = &node.task;
    let constant = |item: &Uptodate| {
        matches!(item, Uptodate::Bool(true) | Uptodate::Null | Uptodate::RunOnce | Uptodate::ConfigChanged(_))
    };
    task.calc_dep.is_empty()
        && task.params.is_empty()
        && task.pos_arg.is_none()
        && task.pass_env.is_empty()
        && task.condition.is_none()
        && task.run == RunMode::OnChange
        && !node.links.observes
        && node.links.inputs.is_empty()
        && task.uptodate.iter().all(|item| constant(&item.value))
        // Something must be able to say "up to date" the next time.
        && (!task.file_dep.is_empty() || task.uptodate.iter().any(|item| item.value != Uptodate::Null))
}

#[derive(Clone, Copy, PartialEq)]
enum Known {
    No,
    /// With whether its record is as it was before the run.
    Yes {
        same: bool,
    },
}

/// Writes down what the last run of `project` saw; what `old` knows of tasks outside its plan is kept where it still
/// counts. Of a run in a part of a graph, `old` is what that part was picked by, and there is no `common`: what
/// tasks.yaml says beside the tasks. A failure costs the next run some work, so it is no error.
pub fn remember(project: &mut Project, head: impl FnOnce(i64) -> Head, old: Option<&Seen>, common: Option<&Taskfile>) {
    let _watch = profile::enter(Part::Seen);
    let sightings = std::mem::take(&mut project.sightings);
    if sightings.is_empty() || !is_constant(project) || project.db.was_changed_by_others() {
        return;
    }
    let Some(stamp) = project.db.stamp() else { return };
    let mut keeper = Keeper::new(project, sightings, old);
    for index in keeper.order() {
        keeper.known[index] = keeper.judge(index);
    }
    let mut writer = old.filter(|old| !old.is_wasteful()).map_or_else(SeenWriter::default, SeenWriter::after);
    for index in 0..keeper.known.len() {
        keeper.write(index, &mut writer);
    }
    drop(keeper);
    project.db.close();
    let file = project.root.join(STATE_DIR).join(FILE);
    let head = head(stamp);
    let (root, graph) = (&project.root, &*project.graph);
    let compile = || {
        if let Some(common) = common {
            narrow::compile(root, graph, common, head.tasks_key());
        }
    };
    // For a first run of many tasks both are large.
    let (written, ()) = rayon::join(|| writer.write(&head, &file), compile);
    if written.is_err() {
        // What is there may be of another time.
        let _ = std::fs::remove_file(&file);
    }
}

/// Counts tasks as the whole graph does.
struct Keeper<'a> {
    project: &'a Project,
    sightings: Sightings,
    old: Option<&'a Seen>,
    /// By task: where it is in the graph of the project, if that is only a part.
    places: Option<Vec<Option<TaskId>>>,
    known: Vec<Known>,
}

impl<'a> Keeper<'a> {
    fn new(project: &'a Project, sightings: Sightings, old: Option<&'a Seen>) -> Self {
        let places = project.whole.as_ref().map(|whole| {
            let mut places = vec![None; whole.seen.len()];
            for (index, id) in whole.ids.iter().zip(project.graph.ids()) {
                places[*index] = Some(id);
            }
            places
        });
        let tasks = places.as_ref().map_or(project.graph.len(), Vec::len);
        Self { project, sightings, old, places, known: vec![Known::No; tasks] }
    }

    /// All tasks, needed ones first.
    fn order(&self) -> Vec<usize> {
        let all = 0..self.known.len();
        match (&self.places, self.old) {
            (Some(_), Some(old)) => quick::closure(old, &all.collect::<Vec<_>>()).unwrap_or_default(),
            _ => {
                let all = Selection { tasks: self.project.graph.ids().collect() };
                graph::closure(&self.project.graph, &all, false).into_iter().map(TaskId::index).collect()
            }
        }
    }

    fn place(&self, index: usize) -> Option<TaskId> {
        match &self.places {
            Some(places) => places.get(index).copied().flatten(),
            None => Some(TaskId(index as u32)),
        }
    }

    fn needs(&self, index: usize) -> Vec<usize> {
        match (&self.places, self.old) {
            (Some(_), Some(old)) => old.task(index).map(|task| old.needs(&task).collect()).unwrap_or_default(),
            _ => self.project.graph.node(TaskId(index as u32)).needs.iter().map(|edge| edge.to.index()).collect(),
        }
    }

    fn sighted(&self, index: usize) -> Option<&Sighted> {
        match self.place(index) {
            Some(id) => self.sightings.get(&id),
            None => {
                let whole = self.project.whole.as_ref()?;
                whole.is_other.get(index).copied().unwrap_or(false).then_some(&Sighted::AsBefore)
            }
        }
    }

    fn judge(&self, index: usize) -> Known {
        let node = self.place(index).map(|id| self.project.graph.node(id));
        let record = node.and_then(|node| self.project.records.get(&*node.task.name));
        if record.is_some_and(|record| record.ignored) {
            return Known::No;
        }
        let old = self.old.and_then(|old| old.task(index));
        let needs: Vec<Known> = self.needs(index).into_iter().map(|need| self.known[need]).collect();
        let all_same = || needs.iter().all(|need| *need == Known::Yes { same: true });
        let is_group = node.map_or_else(|| old.is_some_and(|task| task.flags.group), |node| node.task.is_group());
        if is_group {
            let known = needs.iter().all(|need| *need != Known::No);
            return if known { Known::Yes { same: all_same() } } else { Known::No };
        }
        let was_known = old.is_some_and(|task| task.flags.known);
        match (self.sighted(index), self.place(index), node) {
            (Some(Sighted::Now(sighting)), Some(id), Some(node))
                if is_plain(node) && self.is_consistent(id, sighting) =>
            {
                Known::Yes { same: !sighting.rewritten }
            }
            (Some(Sighted::AsBefore), ..) if was_known => Known::Yes { same: true },
            (Some(_), ..) => Known::No,
            // Outside the plan: as before, if what it needs is as before.
            (None, ..) if was_known && all_same() => Known::Yes { same: true },
            (None, ..) => Known::No,
        }
    }

    /// Whether everything is still as it was when the verdict was found.
    fn is_consistent(&self, id: TaskId, sighting: &Sighting) -> bool {
        let files = &self.project.files;
        let since = |path, epoch| {
            files.standing(path).is_some_and(|standing| standing.since <= epoch && Proof::of(standing).is_some())
        };
        sighting.inputs.paths.iter().all(|path| since(path, sighting.decided))
            && inputs::target_paths(&self.project.graph, id).iter().all(|path| since(path, sighting.ended))
    }

    fn write(&self, index: usize, writer: &mut SeenWriter) {
        let known = self.known[index] != Known::No;
        let needs = self.needs(index).into_iter().map(|need| need as u32);
        let old = self.old.and_then(|old| old.task(index));
        let Some(id) = self.place(index) else {
            let Some(task) = old else { return };
            let mut sights = Vec::new();
            if known && !task.flags.group {
                self.keep_sights(index, writer, &mut sights);
            }
            return writer.task(task.name, Flags { known, ..task.flags }, task.seconds, needs, &sights);
        };
        let node = self.project.graph.node(id);
        let mut sights = Vec::new();
        match self.sightings.get(&id) {
            Some(Sighted::Now(sighting)) if known => self.write_sights(id, sighting, writer, &mut sights),
            None | Some(Sighted::AsBefore) if known && !node.task.is_group() => {
                self.keep_sights(index, writer, &mut sights);
            }
            _ => {}
        }
        let flags = match (&self.places, old) {
            // The members of a group may not be here.
            (Some(_), Some(task)) => Flags { known, ..task.flags },
            _ => self.flags(node, known),
        };
        let seconds = self.project.records.get(&*node.task.name).and_then(|record| record.success.as_ref());
        let seconds = seconds.map_or(f64::NAN, |success| success.seconds);
        writer.task(&node.task.name, flags, seconds, needs, &sights);
    }

    fn flags(&self, node: &Node, known: bool) -> Flags {
        Flags {
            known,
            hidden: is_hidden(&node.task),
            group: node.task.is_group(),
            takes_words: !node.task.params.is_empty()
                || node.task.pos_arg.is_some()
                || !node.task.members.is_empty() && self.members_take_words(node),
            verbosity: node.task.verbosity,
        }
    }

    fn members_take_words(&self, node: &Node) -> bool {
        let first = node.task.members.first().and_then(|name| self.project.graph.find(name));
        first.is_some_and(|id| !self.project.graph.task(id).params.is_empty())
    }

    fn write_sights(&self, id: TaskId, sighting: &Sighting, writer: &mut SeenWriter, sights: &mut Vec<u32>) {
        let files = &self.project.files;
        let proof = |path: &RepoPath| files.standing(path).and_then(Proof::of).unwrap_or(Proof::Missing);
        for path in &sighting.inputs.paths {
            sights.push(writer.file(path, || proof(path)));
        }
        for path in inputs::target_paths(&self.project.graph, id) {
            sights.push(writer.file(&path, || proof(&path)));
        }
        for listing in &sighting.inputs.listings {
            sights.push(writer.sight(&Sight { path: listing.dir.as_bytes(), proof: Proof::of_listing(listing) }));
        }
        if let Some(digest) = sighting.inputs.walked {
            let text = patterns_text(&*inputs::patterns(self.project.graph.task(id)));
            sights.push(writer.sight(&Sight { path: text.as_bytes(), proof: Proof::Walk(digest) }));
        }
    }

    /// The sights of a task as they were.
    fn keep_sights(&self, index: usize, writer: &mut SeenWriter, sights: &mut Vec<u32>) {
        let Some(old) = self.old else { return };
        let indexes = old.sights_of(index);
        if old.is_wasteful() {
            sights.extend(indexes.filter_map(|index| old.sight(index as usize)).map(|sight| writer.sight(&sight)));
        } else {
            sights.extend(indexes);
        }
    }
}
