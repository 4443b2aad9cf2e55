//! Which files a task reads, and what they are now. Knows nothing of verdicts.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::Project;
use crate::graph::{Graph, TaskId};
use crate::model::task::FileDep;
use crate::model::{Diagnostic, Digest, RepoPath, Task, words};
use crate::profile::{self, Part};
use crate::store::glob::{self, Listing};
use crate::store::sight::digest_of_paths;
use crate::store::{FileState, Files};

/// The inputs of one task.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs {
    /// Sorted, without repeats; all of them exist unless `tolerated`.
    pub paths: Vec<RepoPath>,
    /// Named literally: must exist.
    pub required: Vec<RepoPath>,
    /// The directories in which globs were looked up.
    pub listings: Vec<Listing>,
    /// There is more to it than `listings`, a directory as an input: the digest of all that was found.
    pub walked: Option<Digest>,
    /// Nothing but `listings`, and which of `paths` are directories, says what `paths` are.
    pub is_plain: bool,
}

impl Inputs {
    /// Whether the patterns stand for the same paths as when they were expanded. Observes these.
    pub(super) fn stand(&self, root: &Path, files: &mut Files) -> bool {
        let is_as_listed = |listing: &Listing| match listing.stat {
            Some(_) => listing.trusted() && glob::stat_of_dir(root, &listing.dir) == listing.stat,
            None => false,
        };
        if !self.is_plain || !self.listings.iter().all(is_as_listed) {
            return false;
        }
        files.observe(&self.paths);
        // One that has become a directory stands for what is in it.
        let is_file =
            |path: &RepoPath| !matches!(files.peek(path), FileState::Directory { .. } | FileState::Symlink { .. });
        self.paths.iter().all(is_file)
    }
}

/// Inputs that were computed by other tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Extra {
    pub file_dep: Vec<FileDep>,
    /// Read from a depfile: may have vanished.
    pub discovered: Vec<RepoPath>,
}

/// Expands the inputs of all these tasks and observes every file, in parallel.
pub(super) fn prefetch(project: &mut Project, plan: &[TaskId]) -> HashMap<TaskId, Arc<Inputs>> {
    let (graph, root) = (&*project.graph, &project.root);
    let watch = profile::enter(Part::Stat);
    let found: Vec<(TaskId, Arc<Inputs>)> = plan
        .par_iter()
        .with_min_len(32)
        .filter(|id| !graph.task(**id).is_group())
        .map(|id| (*id, Arc::new(expand(graph, root, *id, &Extra::default()))))
        .collect();
    drop(watch);
    let targets = plan.iter().flat_map(|id| target_paths(graph, *id));
    let targets: Vec<RepoPath> = targets.collect();
    project.files.observe(found.iter().flat_map(|(_, inputs)| &inputs.paths).chain(&targets));
    found.into_iter().collect()
}

/// All targets of a task, declared or of its actions.
pub(super) fn target_paths(graph: &Graph, id: TaskId) -> Vec<RepoPath> {
    let node = graph.node(id);
    node.task.targets.iter().map(|target| target.path.clone()).chain(node.links.targets.iter().cloned()).collect()
}

/// Expands the inputs of one task.
pub(super) fn expand(graph: &Graph, root: &Path, id: TaskId, extra: &Extra) -> Inputs {
    let node = graph.node(id);
    let task = &node.task;
    let watched = if task.watch_only { &[][..] } else { &task.watch[..] };
    let mut found = match patterns(task) {
        Cow::Borrowed(declared) if extra.file_dep.is_empty() => glob::expand(root, declared),
        declared => {
            let mut declared = declared.into_owned();
            declared.extend(extra.file_dep.iter().cloned());
            glob::expand(root, &declared)
        }
    };
    let walked = found.walked.then(|| digest_of_paths(&found.paths));
    // What may be absent without being an error: paths that only wake the watch, and those found in a depfile.
    let optional: BTreeSet<&str> = watched.iter().map(|dep| &*dep.pattern).collect();
    found.literal.retain(|path| !optional.contains(&*path.lossy()) && !node.links.targets.contains(path));
    found.paths.extend(extra.discovered.iter().cloned());
    for path in &node.links.inputs {
        found.paths.extend(glob::files_below(root, path));
    }
    if !task.in_out {
        let own: BTreeSet<RepoPath> = target_paths(graph, id).into_iter().collect();
        // A directory that is read and written: what the task itself makes there is not its input.
        if !own.is_empty() {
            found.paths.retain(|path| !own.contains(path) || found.literal.contains(path));
        }
    }
    found.paths.sort_unstable();
    found.paths.dedup();
    let is_plain =
        walked.is_none() && extra.discovered.is_empty() && extra.file_dep.is_empty() && node.links.inputs.is_empty();
    Inputs { paths: found.paths, required: found.literal, listings: found.listings, walked, is_plain }
}

/// Everything that a task declares as input.
pub(super) fn patterns(task: &Task) -> Cow<'_, [FileDep]> {
    if task.watch.is_empty() || task.watch_only {
        return Cow::Borrowed(&task.file_dep);
    }
    task.file_dep.iter().chain(&task.watch).cloned().collect()
}

/// The first input that cannot be used, as an error. Call after the inputs were observed.
pub(super) fn problem(graph: &Graph, files: &mut Files, id: TaskId, inputs: &Inputs) -> Option<Diagnostic> {
    let task = graph.task(id);
    files.observe(&inputs.paths);
    let unusable = inputs.paths.iter().find_map(|path| match files.peek(path) {
        FileState::Missing if inputs.required.binary_search(path).is_ok() => Some(missing(graph, files, id, path)),
        FileState::Special => Some(
            Diagnostic::error(format!("file_dep `{path}` of task `{}` is neither a file nor a directory", task.name))
                .note("pipes, sockets and devices have no content to compare"),
        ),
        FileState::Unreadable(why) => Some(
            Diagnostic::error(format!("file_dep `{path}` of task `{}` cannot be read", task.name))
                .cause(why)
                .help(format!("chmod u+r {path}")),
        ),
        _ => None,
    });
    unusable.map(|error| {
        let place = task.file_dep.iter().find(|dep| error.message.contains(&format!("`{}`", dep.pattern)));
        error.at(place.map_or_else(|| task.place.clone(), |dep| dep.place.clone()))
    })
}

fn missing(graph: &Graph, files: &Files, id: TaskId, path: &RepoPath) -> Diagnostic {
    let task = graph.task(id);
    let made_by = graph.maker(path).filter(|maker| *maker != id);
    let message = match made_by {
        Some(maker) => {
            format!("file_dep `{path}` of task `{}` was not made by task `{}`", task.name, graph.name(maker))
        }
        None => format!("file_dep `{path}` of task `{}` does not exist, and no task has it as a target", task.name),
    };
    Diagnostic::error(message).maybe_help(similar(files, path))
}

fn similar(files: &Files, path: &RepoPath) -> Option<String> {
    let dir = path.parent()?;
    let entries = std::fs::read_dir(files.root().join(dir.as_path())).ok()?;
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let wanted = String::from_utf8_lossy(path.parts().last()?).into_owned();
    let name = words::closest(&wanted, names.iter().map(String::as_str))?;
    let found = RepoPath::new(&dir, name)?;
    Some(format!("a file with a similar name exists: `{found}`"))
}

/// Reads a depfile: make's format (`target: a b \`), or a JSON list of paths. Paths outside the root are left out.
pub(super) fn read_depfile(text: &str) -> Vec<RepoPath> {
    if let Ok(list) = serde_json::from_str::<Vec<String>>(text) {
        return list.iter().filter_map(RepoPath::from_root).collect();
    }
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let after_colon = joined.lines().filter_map(|line| line.split_once(": ").map(|(_, rest)| rest.to_owned()));
    let mut paths = Vec::new();
    for line in after_colon {
        let escaped = line.replace("\\ ", "\u{0}");
        paths.extend(escaped.split_whitespace().filter_map(|word| RepoPath::from_root(word.replace('\u{0}', " "))));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depfiles_of_make_and_json() {
        let names = |text: &str| read_depfile(text).iter().map(RepoPath::lossy).collect::<Vec<_>>();
        assert_eq!(names("o.o: a.c \\\n  b\\ c.h\n"), ["a.c", "b c.h"]);
        assert_eq!(names(r#"["x/y", "z"]"#), ["x/y", "z"]);
        assert_eq!(names("o: /usr/include/stdio.h"), Vec::<String>::new());
    }
}
