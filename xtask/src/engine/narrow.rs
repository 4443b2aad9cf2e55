//! The part of a graph that a run needs in which most tasks are known to be up to date: what may run, and what that takes
//! from others. Knows nothing of tasks.yaml: the definitions come from what an earlier run compiled.
//!
//! Approach:
//! - what may run are the tasks of the plan that are not known to be unchanged, so with each all that need it;
//! - each of them needs its own needs: they are there with their definition and their record, but without their needs;
//! - a group is there with all its members only if somebody takes its result;
//! - all other tasks of the plan are told as up to date before the run, and are not even read.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::graph::{Graph, Node, Selection, TaskId, Why};
use crate::model::Digest;
use crate::model::task::Taskfile;
use crate::store::STATE_DIR;
use crate::store::compiled::{Compiled, CompiledWriter};
use crate::store::seen::{Seen, SeenTask};

/// Where the compiled tasks are kept, below the state folder.
pub const FILE: &str = "tasks.bin";

/// A part of a graph.
pub struct Narrow {
    pub graph: Graph,
    /// What tasks.yaml says beside the tasks.
    pub common: Taskfile,
    /// Of each task: whether it is known to be up to date.
    pub unchanged: Vec<bool>,
    pub selection: Selection,
    pub whole: Whole,
}

/// The whole that a graph is a part of.
pub struct Whole {
    pub seen: Arc<Seen>,
    /// By task of the part: its index in `seen`.
    pub ids: Vec<usize>,
    /// By index in `seen`: whether the run was to have it, without being in the part: it is up to date.
    pub is_other: Vec<bool>,
    /// Those, needed ones first.
    pub others: Vec<usize>,
}

impl Whole {
    /// The tasks of the plan that are not in the part.
    pub fn others(&self) -> impl Iterator<Item = SeenTask<'_>> + Clone {
        self.others.iter().filter_map(|index| self.seen.task(*index))
    }
}

/// Picks the part for `plan` (needed ones first). `None` if a whole graph is needed.
pub fn narrow(seen: Arc<Seen>, plan: &[usize], unchanged: &[bool], root: &Path) -> Option<Narrow> {
    let compiled = Compiled::open(&root.join(STATE_DIR).join(FILE), seen.head.tasks_key())?;
    if compiled.len() != seen.len() {
        return None;
    }
    let common = compiled.common()?;
    let changed = plan.iter().copied().filter(|index| !unchanged[*index]).collect();
    let mut picker = Picker { compiled, seen: &seen, unchanged, nodes: HashMap::new(), taken: vec![false; seen.len()] };
    picker.pick(changed)?;
    let mut nodes = picker.nodes;
    let ids: Vec<usize> = plan.iter().copied().filter(|index| nodes.contains_key(index)).collect();
    let places: HashMap<usize, TaskId> = ids.iter().copied().zip((0..).map(TaskId)).collect();
    let mut part = Vec::with_capacity(ids.len());
    for index in &ids {
        let mut node = nodes.remove(index)?;
        for edge in &mut node.needs {
            edge.to = *places.get(&edge.to.index())?;
        }
        part.push(node);
    }
    let mut is_other = vec![false; seen.len()];
    let others: Vec<usize> = plan.iter().copied().filter(|index| !places.contains_key(index)).collect();
    for index in &others {
        is_other[*index] = true;
    }
    Some(Narrow {
        graph: Graph::part(part),
        common,
        unchanged: ids.iter().map(|index| unchanged[*index]).collect(),
        selection: Selection { tasks: (0..ids.len() as u32).map(TaskId).collect() },
        whole: Whole { seen, ids, is_other, others },
    })
}

struct Picker<'a> {
    compiled: Compiled,
    seen: &'a Seen,
    unchanged: &'a [bool],
    /// Edges lead to indexes of the whole.
    nodes: HashMap<usize, Node>,
    /// By index: whether its result is taken.
    taken: Vec<bool>,
}

impl Picker<'_> {
    /// `changed`: needed ones first. `None` if something cannot be read, or says only while it runs what it needs.
    fn pick(&mut self, changed: Vec<usize>) -> Option<()> {
        for index in &changed {
            let node = self.node(*index)?;
            let task = &node.task;
            let is_fixed = node.setup.is_empty() && task.calc_dep.is_empty() && task.expand_after.is_none();
            (is_fixed && !node.prints_tasks && task.pos_arg.is_none()).then_some(())?;
            self.nodes.insert(*index, node);
        }
        // Those that take come before those that are taken from.
        for index in changed.iter().rev() {
            let node = self.nodes.get_mut(index)?;
            if node.task.is_group() && !self.taken[*index] {
                node.needs.retain(|edge| !self.unchanged.get(edge.to.index()).copied().unwrap_or(false));
            }
            let all = node.task.is_group();
            for edge in node.needs.iter().filter(|edge| all || edge.why != Why::TaskDep) {
                *self.taken.get_mut(edge.to.index())? |= !all || self.taken[*index];
            }
        }
        let needs = changed.iter().filter_map(|index| self.nodes.get(index)).flat_map(|node| &node.needs);
        let mut open: Vec<usize> = needs.map(|edge| edge.to.index()).collect();
        let mut cut: HashSet<usize> = HashSet::new();
        while let Some(index) = open.pop() {
            // One that was cut may turn out to be taken by a group.
            let again = self.taken[index] && cut.remove(&index);
            if self.nodes.contains_key(&index) && !again {
                continue;
            }
            let mut node = self.node(index)?;
            if node.task.is_group() && self.taken[index] {
                for edge in &node.needs {
                    *self.taken.get_mut(edge.to.index())? = true;
                    open.push(edge.to.index());
                }
            } else {
                node.needs.clear();
                cut.insert(index);
            }
            node.setup.clear();
            self.nodes.insert(index, node);
        }
        Some(())
    }

    fn node(&self, index: usize) -> Option<Node> {
        let node: Node = self.compiled.task(index)?;
        (self.seen.task(index)?.name == &*node.task.name).then_some(node)
    }
}

/// Keeps the tasks of a graph for later runs, unless they are kept already. A failure costs the next run some work, so
/// it is no error.
pub fn compile(root: &Path, graph: &Graph, common: &Taskfile, key: Digest) {
    let file = root.join(STATE_DIR).join(FILE);
    if Compiled::is_bound(&file, key) {
        return;
    }
    let written = CompiledWriter::new(key, common, graph.len()).and_then(|mut writer| {
        graph.ids().try_for_each(|id| writer.task(graph.node(id)))?;
        writer.write(&file).ok()
    });
    if written.is_none() {
        let _ = std::fs::remove_file(&file);
    }
}
