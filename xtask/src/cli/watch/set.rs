//! Which folders a watch looks at, and which paths are the tasks' own. Knows nothing of rounds.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cli::run::Prepared;
use crate::graph::TaskId;
use crate::model::RepoPath;
use crate::model::task::FileDep;
use crate::store::STATE_DIR;
use crate::store::glob::Pattern;
use crate::watch::WatchDir;

/// Folders that are never inputs unless a task names them or what is in them.
const OURS: [&str; 6] = [STATE_DIR, ".git", "artifacts", "logs", "manifests", "target"];

/// See the module.
pub(super) struct WatchSet {
    pub dirs: Vec<WatchDir>,
    pub ignored: Arc<Own>,
}

/// Paths that tasks write themselves.
pub(super) struct Own(BTreeSet<RepoPath>);

impl Own {
    pub fn covers(&self, path: &RepoPath) -> bool {
        let mut above = Some(path.clone());
        while let Some(one) = above {
            if self.0.contains(&one) {
                return true;
            }
            above = one.parent();
        }
        false
    }
}

impl WatchSet {
    /// Of these tasks, and of inputs that only a run brought to light.
    pub fn new<'a>(prepared: &Prepared, tasks: &[TaskId], computed: impl Iterator<Item = &'a FileDep>) -> Self {
        let graph = &prepared.project.graph;
        let mut own: BTreeSet<RepoPath> = OURS.iter().filter_map(RepoPath::from_root).collect();
        let mut dirs = Dirs::default();
        for source in prepared.sources.iter().filter_map(RepoPath::from_root) {
            dirs.file(&source);
        }
        for id in tasks {
            let node = graph.node(*id);
            node.task.file_dep.iter().chain(&node.task.watch).for_each(|dep| dirs.pattern(dep));
            node.links.inputs.iter().chain(&node.links.watch).for_each(|path| dirs.file_or_dir(path));
            own.extend(node.task.targets.iter().map(|target| target.path.clone()));
            own.extend(node.links.targets.iter().cloned());
        }
        computed.for_each(|dep| dirs.pattern(dep));
        let own = Own(own);
        // To name what a task makes is to wait for that task, not to watch the file.
        let dirs = dirs.0.into_iter().filter(|dir| !own.covers(&dir.path)).collect();
        Self { dirs, ignored: Arc::new(own) }
    }
}

#[derive(Default)]
struct Dirs(BTreeSet<WatchDir>);

impl Dirs {
    fn pattern(&mut self, dep: &FileDep) {
        let Some(pattern) = Pattern::new(&dep.pattern).filter(|_| !dep.negated) else { return };
        if !pattern.is_glob() {
            return self.file_or_dir(pattern.base());
        }
        let rest = &dep.pattern[pattern.base().as_bytes().len().min(dep.pattern.len())..];
        let recursive = rest.trim_start_matches('/').contains('/') || rest.contains("**");
        self.0.insert(WatchDir { path: pattern.base().clone(), recursive });
    }

    fn file(&mut self, path: &RepoPath) {
        self.0.extend(path.parent().map(WatchDir::flat));
    }

    /// It may become a directory one day; of directories, the ignore files above them count, too.
    fn file_or_dir(&mut self, path: &RepoPath) {
        self.0.insert(WatchDir::deep(path.clone()));
        let mut above = path.parent();
        while let Some(dir) = above {
            above = dir.parent();
            self.0.insert(WatchDir::flat(dir));
        }
    }
}
