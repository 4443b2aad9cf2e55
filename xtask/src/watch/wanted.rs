//! Which directories deserve a watch and which changed paths matter. Pure; knows nothing of the disk.

use std::collections::HashSet;

use crate::model::RepoPath;

/// A directory that holds inputs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchDir {
    pub path: RepoPath,
    /// All below it, too, and what will be there one day.
    pub recursive: bool,
}

impl WatchDir {
    /// Only its own entries.
    pub fn flat(path: RepoPath) -> Self {
        Self { path, recursive: false }
    }

    /// It and everything below.
    pub fn deep(path: RepoPath) -> Self {
        Self { path, recursive: true }
    }
}

/// Says of a path that changes of it, and of all below it, matter to nobody.
pub type Ignore = Box<dyn Fn(&RepoPath) -> bool + Send>;

/// What the caller wants, ready to be asked.
pub struct Wanted {
    deep: HashSet<RepoPath>,
    flat: HashSet<RepoPath>,
    /// Directories above those: watched so that a missing directory is seen when it appears.
    above: HashSet<RepoPath>,
    ignore: Ignore,
}

impl Wanted {
    /// `.git` directories and `.xtask` are ignored whatever `ignore` says.
    pub fn new(dirs: impl IntoIterator<Item = WatchDir>, ignore: Ignore) -> Self {
        let (mut deep, mut flat, mut above) = (HashSet::new(), HashSet::new(), HashSet::new());
        above.insert(RepoPath::root());
        for dir in dirs {
            let mut parent = dir.path.parent();
            while let Some(path) = parent {
                parent = path.parent();
                if !above.insert(path) {
                    break;
                }
            }
            if dir.recursive {
                deep.insert(dir.path)
            } else {
                flat.insert(dir.path)
            };
        }
        Self { deep, flat, above, ignore }
    }

    fn ignores(&self, path: &RepoPath) -> bool {
        let name = path.parts().last();
        name == Some(b".git") || path.as_bytes() == b".xtask" || (self.ignore)(path)
    }

    /// Whether `path` lies in a directory that is wanted with all below it.
    fn is_deep(&self, path: &RepoPath) -> bool {
        let mut path = path.clone();
        loop {
            if self.deep.contains(&path) {
                return true;
            }
            if self.ignores(&path) {
                return false;
            }
            match path.parent() {
                Some(parent) => path = parent,
                None => return false,
            }
        }
    }

    /// Whether the caller named it or something below it.
    pub fn is_named(&self, dir: &RepoPath) -> bool {
        self.above.contains(dir) || self.deep.contains(dir) || self.flat.contains(dir)
    }

    /// Whether this directory, if it exists, deserves a watch.
    pub fn wants_dir(&self, dir: &RepoPath) -> bool {
        self.is_named(dir) || self.is_deep(dir)
    }

    /// Whether a change of `path` matters to the caller.
    pub fn wants_path(&self, path: &RepoPath) -> bool {
        if self.is_named(path) {
            return true;
        }
        let in_flat = || path.parent().is_some_and(|parent| self.flat.contains(&parent));
        !self.ignores(path) && (self.is_deep(path) || in_flat())
    }

    /// Every directory to start from.
    pub fn roots(&self) -> impl Iterator<Item = &RepoPath> {
        self.above.iter().chain(&self.deep).chain(&self.flat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_matter_and_their_surroundings_do_not() {
        let path = |text: &str| RepoPath::from_root(text).unwrap();
        let dirs =
            [WatchDir::deep(path("images/base")), WatchDir::flat(path("scripts")), WatchDir::flat(RepoPath::root())];
        let wanted = Wanted::new(dirs, Box::new(|path| path.as_bytes().ends_with(b".tmp")));
        let dirs = ["", "images", "images/base", "images/base/a/b", "scripts"];
        assert!(dirs.iter().all(|dir| wanted.wants_dir(&path(dir))));
        let others = ["images/other", "scripts/sub", "target", "images/base/.git", "images/base/x.tmp", ".xtask"];
        assert!(others.iter().all(|dir| !wanted.wants_dir(&path(dir))));
        let yes = ["tasks.yaml", "images/base/a/Dockerfile", "scripts/x.sh", "images", "images/base"];
        assert!(yes.iter().all(|one| wanted.wants_path(&path(one))));
        let no =
            ["images/README", "scripts/sub/x", "images/base/x.tmp", "images/base/x.tmp/y", ".xtask/state.db", "x/y"];
        assert!(no.iter().all(|one| !wanted.wants_path(&path(one))), "{no:?}");
    }

    #[test]
    fn a_named_directory_beats_an_ignored_one_above_it() {
        let path = |text: &str| RepoPath::from_root(text).unwrap();
        let wanted = Wanted::new([WatchDir::deep(path("out/keep"))], Box::new(|path| path.as_bytes() == b"out"));
        assert!(wanted.wants_path(&path("out/keep/x")));
        assert!(!wanted.wants_path(&path("out/x")));
    }
}
