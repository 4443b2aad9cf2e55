//! Tasks and the edges between them: what exists, who needs whom, and which part of it was asked for.
//!
//! Knows nothing of the content of files and nothing of running. In text, `a -> b` reads "a needs b".

mod build;
mod check;
mod links;
mod select;
mod wildcard;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use build::{build, warnings};
pub use links::{Links, Need};
pub(crate) use select::follows;
pub use select::{Later, Selection, closure, later, select};
pub use wildcard::{is_wildcard, matches};

use serde::{Deserialize, Serialize};

use crate::model::{Place, RepoPath, Task};

/// Index of a task in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(pub u32);

impl TaskId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// All tasks with their edges.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    names: HashMap<Arc<str>, TaskId>,
    targets: BTreeMap<RepoPath, TaskId>,
    /// What groups that are expanded later say of the targets of their members: paths and globs.
    later: Vec<(RepoPath, TaskId)>,
}

/// One task in the graph.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    pub task: Arc<Task>,
    /// Must be final before this task is decided, in the order of their declaration.
    pub needs: Vec<Edge>,
    /// Run before this task, but only if it must run.
    pub setup: Vec<Edge>,
    /// What its built-in actions add.
    pub links: Links,
    /// Its output says what members another task has.
    pub prints_tasks: bool,
}

/// One edge, with why it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    pub to: TaskId,
    pub why: Why,
    pub place: Place,
}

/// Why one task needs another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    TaskDep,
    /// Another result makes the task run.
    ResultDep,
    /// A group needs its members.
    Member,
    /// This file_dep is a target of the other.
    Target(RepoPath),
    CalcDep,
    /// A value of the other is used.
    GetArg,
    Setup,
    /// A built-in action takes this from the other, e.g. `image:base`.
    Resource(Arc<str>),
    /// Members come out of the other's output.
    ExpandAfter,
}

impl Why {
    /// Whether another result of the needed task makes this one run.
    pub fn dirties(&self) -> bool {
        matches!(self, Self::ResultDep | Self::GetArg)
    }

    /// Whether the needed task hands something over, so that this task's verdict can only be guessed before it is done.
    pub fn hands_over(&self) -> bool {
        !matches!(self, Self::TaskDep | Self::Setup)
    }
}

impl Graph {
    /// A part of a graph that was made before, with the edges that it had: nothing is checked or added.
    pub fn part(nodes: Vec<Node>) -> Self {
        let ids = || (0..nodes.len() as u32).map(TaskId);
        let names = ids().zip(&nodes).map(|(id, node)| (node.task.name.clone(), id)).collect();
        let paths = |node: &Node| {
            let declared = node.task.targets.iter().map(|target| target.path.clone());
            declared.chain(node.links.targets.iter().cloned()).collect::<Vec<_>>()
        };
        let targets =
            ids().zip(&nodes).flat_map(|(id, node)| paths(node).into_iter().map(move |path| (path, id))).collect();
        Self { nodes, names, targets, later: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn ids(&self) -> impl Iterator<Item = TaskId> + use<> {
        (0..self.nodes.len() as u32).map(TaskId)
    }

    pub fn node(&self, id: TaskId) -> &Node {
        &self.nodes[id.index()]
    }

    pub fn task(&self, id: TaskId) -> &Task {
        &self.nodes[id.index()].task
    }

    pub fn name(&self, id: TaskId) -> &Arc<str> {
        &self.nodes[id.index()].task.name
    }

    pub fn find(&self, name: &str) -> Option<TaskId> {
        self.names.get(name).copied()
    }

    pub fn names(&self) -> Vec<&str> {
        self.nodes.iter().map(|node| &*node.task.name).collect()
    }

    /// The task that makes this path, or the directory it lies in.
    pub fn maker(&self, path: &RepoPath) -> Option<TaskId> {
        let mut at = Some(path.clone());
        while let Some(path) = at {
            if let Some(id) = self.targets.get(&path) {
                return Some(*id);
            }
            at = path.parent();
        }
        None
    }

    /// Groups that may turn out to make this path once they are expanded.
    pub fn later_makers(&self, path: &RepoPath) -> Vec<TaskId> {
        let fits = |pattern: &RepoPath| {
            path.is_within(pattern) || check::glob(&pattern.lossy()).is_some_and(|matches| matches(path))
        };
        self.later.iter().filter(|(pattern, _)| fits(pattern)).map(|(_, id)| *id).collect()
    }

    /// Every target with its task, sorted by path.
    pub fn targets(&self) -> &BTreeMap<RepoPath, TaskId> {
        &self.targets
    }
}

#[cfg(test)]
pub(crate) mod tests;
