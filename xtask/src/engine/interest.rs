//! Which tasks a changed path concerns, from what the tasks name: files, directories, patterns. Knows nothing of
//! contents: to be concerned means to be looked at again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use super::Project;
use crate::graph::{Graph, TaskId};
use crate::model::RepoPath;
use crate::model::task::FileDep;
use crate::store::glob::Pattern;

/// Paths that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files and directories; of a directory, all below it may have changed.
    pub paths: BTreeSet<RepoPath>,
    /// Anything may have changed.
    pub anything: bool,
    /// What says which tasks there are.
    pub reload: bool,
}

impl Changes {
    /// Takes in what changed later.
    pub fn merge(&mut self, later: Self) {
        self.anything |= later.anything;
        self.reload |= later.reload;
        self.paths.extend(later.paths);
    }
}

/// What tasks name, by the directory or file that it starts from.
#[derive(Default)]
pub(super) struct Interests {
    at: BTreeMap<RepoPath, Vec<(TaskId, Pattern)>>,
}

impl Interests {
    /// Of these tasks, with what was computed for them.
    pub fn new<'a>(
        graph: &Graph,
        tasks: impl IntoIterator<Item = TaskId>,
        computed: &dyn Fn(TaskId) -> &'a [FileDep],
    ) -> Self {
        let mut new = Self::default();
        for id in tasks {
            let node = graph.node(id);
            let declared = node.task.file_dep.iter().chain(&node.task.watch).chain(computed(id));
            for dep in declared.filter(|dep| !dep.negated) {
                new.add(id, Pattern::new(&dep.pattern));
            }
            for path in node.links.inputs.iter().chain(&node.links.watch) {
                new.add(id, Some(Pattern::path(path.clone())));
            }
        }
        new
    }

    fn add(&mut self, id: TaskId, pattern: Option<Pattern>) {
        if let Some(pattern) = pattern {
            self.at.entry(pattern.base().clone()).or_default().push((id, pattern));
        }
    }

    /// The tasks that a change of `path` concerns. `is_dir`: it is one now, or inputs were known below it.
    pub fn concerned(&self, path: &RepoPath, is_dir: bool, found: &mut HashSet<TaskId>) {
        let mut above = Some(path.clone());
        while let Some(base) = above {
            if let Some(all) = self.at.get(&base) {
                found.extend(all.iter().filter(|(_, pattern)| pattern.covers(path, is_dir)).map(|(id, _)| *id));
            }
            above = base.parent();
        }
        // It stands above what they name: a directory came or went.
        self.each_below(path, &mut |id, _| {
            found.insert(id);
        });
        if matches!(path.parts().last(), Some(b".gitignore" | b".ignore"))
            && let Some(dir) = path.parent()
        {
            // It decides what directories below it hold.
            self.each_below(&dir, &mut |id, pattern| {
                if !pattern.is_glob() {
                    found.insert(id);
                }
            });
        }
    }

    fn each_below(&self, dir: &RepoPath, each: &mut dyn FnMut(TaskId, &Pattern)) {
        let near = self.at.range(dir.clone()..).take_while(|(base, _)| base.as_bytes().starts_with(dir.as_bytes()));
        for (base, all) in near {
            if base != dir && base.is_within(dir) {
                for (id, pattern) in all {
                    each(*id, pattern);
                }
            }
        }
    }
}

/// The tasks that these changes concern.
pub(super) fn concerned(project: &Project, interests: &Interests, changes: &Changes) -> HashSet<TaskId> {
    let mut found = HashSet::new();
    for path in &changes.paths {
        interests.concerned(path, is_dir(project, path), &mut found);
    }
    found
}

/// The paths of these that concern any task: an editor's own files come and go beside them.
pub(super) fn concerning(project: &Project, interests: &Interests, paths: &BTreeSet<RepoPath>) -> Vec<RepoPath> {
    let mut found = HashSet::new();
    let concerns = |path: &&RepoPath| {
        found.clear();
        interests.concerned(path, is_dir(project, path), &mut found);
        !found.is_empty()
    };
    paths.iter().filter(concerns).cloned().collect()
}

fn is_dir(project: &Project, path: &RepoPath) -> bool {
    on_disk_is_dir(&project.root, path) || project.files.knows_below(path)
}

fn on_disk_is_dir(root: &Path, path: &RepoPath) -> bool {
    std::fs::symlink_metadata(root.join(path.as_path())).is_ok_and(|meta| meta.is_dir())
}
