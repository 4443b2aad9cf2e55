//! From the patterns of `file_dep` to paths: literal files, globs, directories, negation.
//!
//! Knows nothing of tasks. Directories are walked with ignore files honoured (`.gitignore`, `.ignore`), globs are not:
//! who names generated files by a pattern means them.

use std::ffi::OsString;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use ignore::WalkBuilder;

use super::files::{StatTuple, bytes, now_ns, tuple};
use super::statcache;
use crate::model::digest::Hasher;
use crate::model::task::FileDep;
use crate::model::{Digest, RepoPath, Stars};

/// What a list of patterns stands for now, sorted and without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    pub paths: Vec<RepoPath>,
    /// The literal ones that must exist: a missing one is an error, not an empty match.
    pub literal: Vec<RepoPath>,
    /// The directories in which globs were looked up.
    pub listings: Vec<Listing>,
    /// A directory was walked with its ignore files, which `listings` does not cover.
    pub walked: bool,
}

/// A directory as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    pub dir: RepoPath,
    /// Taken before its names were read; `None` if it is not there.
    pub stat: Option<StatTuple>,
    /// Nanoseconds since 1970, before its names were read.
    pub at_ns: i64,
    /// Of its names, and which of them are directories.
    pub digest: Digest,
}

impl Listing {
    /// Lists a directory below `root` now; with its names, and whether each is a directory.
    pub fn new(root: &Path, dir: &RepoPath) -> (Self, Vec<(OsString, bool)>) {
        let at_ns = now_ns();
        let stat = stat_of_dir(root, dir);
        let mut names: Vec<(OsString, bool)> = Vec::new();
        let mut hasher = Hasher::new();
        match std::fs::read_dir(root.join(dir.as_path())) {
            Ok(entries) => {
                let named = |entry: std::fs::DirEntry| Some((entry.file_name(), entry.file_type().ok()?.is_dir()));
                names.extend(entries.flatten().filter_map(named));
                names.sort_unstable();
                for (name, is_dir) in &names {
                    hasher.field(bytes(name)).field([u8::from(*is_dir)]);
                }
            }
            Err(error) => {
                hasher.field(error.kind().to_string());
            }
        }
        (Self { dir: dir.clone(), stat, at_ns, digest: hasher.finish() }, names)
    }

    /// Whether an equal stat proves equal names: every change of them sets the directory's times, but a change within
    /// the same tick of the file system's clock may set them to what they are.
    pub fn trusted(&self) -> bool {
        self.stat.is_some_and(|stat| statcache::is_settled(&stat, self.at_ns))
    }
}

/// The stat of a directory, or of what a link to one points to.
pub fn stat_of_dir(root: &Path, dir: &RepoPath) -> Option<StatTuple> {
    rustix::fs::stat(&*root.join(dir.as_path())).ok().map(|stat| tuple(&stat))
}

/// Whether a pattern has wildcards.
pub fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

/// One pattern, to ask which paths it concerns.
pub struct Pattern {
    base: RepoPath,
    glob: Option<GlobMatcher>,
}

impl Pattern {
    /// A file, a directory, or a glob; `None` where it lies outside the root.
    pub fn new(pattern: &str) -> Option<Self> {
        if !is_glob(pattern) {
            return RepoPath::from_root(pattern).map(Self::path);
        }
        Some(Self { base: RepoPath::from_root(split(pattern).0)?, glob: Some(matcher(pattern)?) })
    }

    /// A file or directory as it is called, whatever characters it has.
    pub fn path(path: RepoPath) -> Self {
        Self { base: path, glob: None }
    }

    /// The file itself, or the directory from which it is looked for.
    pub fn base(&self) -> &RepoPath {
        &self.base
    }

    pub fn is_glob(&self) -> bool {
        self.glob.is_some()
    }

    /// Whether another content of `path`, which is the base or below it, may be another content of the pattern. Of a
    /// directory all below it counts.
    pub fn covers(&self, path: &RepoPath, is_dir: bool) -> bool {
        is_dir || self.glob.as_ref().is_none_or(|glob| *path == self.base || glob.is_match(path.as_path()))
    }
}

/// The directory that a glob starts from, and the rest of it.
fn split(pattern: &str) -> (&str, &str) {
    let first = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
    pattern[..first].rfind('/').map_or(("", pattern), |at| (&pattern[..at], &pattern[at + 1..]))
}

/// Expands the patterns below `root`.
pub fn expand(root: &Path, patterns: &[FileDep]) -> Expanded {
    let mut found = Expanded::default();
    for dep in patterns.iter().filter(|dep| !dep.negated) {
        if is_glob(&dep.pattern) {
            match_glob(root, &dep.pattern, &mut found);
        } else if let Some(path) = RepoPath::from_root(&*dep.pattern) {
            if below(root, &path, &mut found.paths) {
                found.walked = true;
            } else {
                found.literal.push(path.clone());
                found.paths.push(path);
            }
        }
    }
    let negations: Vec<Negation> = patterns.iter().filter(|dep| dep.negated).filter_map(Negation::new).collect();
    if !negations.is_empty() {
        let kept = |path: &RepoPath| !negations.iter().any(|negation| negation.covers(path));
        found.paths.retain(kept);
        found.literal.retain(kept);
    }
    found.paths.sort_unstable();
    found.paths.dedup();
    found.literal.sort_unstable();
    found.literal.dedup();
    found
}

/// A compiled glob.
enum Matcher<'a> {
    Stars(Stars<'a>),
    Full(GlobMatcher),
}

impl<'a> Matcher<'a> {
    /// `None` if the pattern cannot be one.
    fn new(pattern: &'a str) -> Option<Self> {
        Stars::new(pattern).map(Self::Stars).or_else(|| matcher(pattern).map(Self::Full))
    }

    fn is_match(&self, path: &RepoPath) -> bool {
        match self {
            Self::Stars(stars) => stars.is_match(path.as_bytes()),
            Self::Full(glob) => glob.is_match(path.as_path()),
        }
    }
}

enum Negation<'a> {
    Glob(Matcher<'a>),
    Path(RepoPath),
}

impl<'a> Negation<'a> {
    fn new(dep: &'a FileDep) -> Option<Self> {
        if is_glob(&dep.pattern) {
            Matcher::new(&dep.pattern).map(Self::Glob)
        } else {
            RepoPath::from_root(&*dep.pattern).map(Self::Path)
        }
    }

    fn covers(&self, path: &RepoPath) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(path),
            Self::Path(dir) => path.is_within(dir),
        }
    }
}

fn matcher(pattern: &str) -> Option<GlobMatcher> {
    GlobBuilder::new(pattern).literal_separator(true).build().ok().map(|glob| glob.compile_matcher())
}

/// Whether a pattern can be compiled; the text of the error otherwise.
pub fn check(pattern: &str) -> Result<(), String> {
    GlobBuilder::new(pattern).literal_separator(true).build().map(|_| ()).map_err(|error| error.kind().to_string())
}

fn match_glob(root: &Path, pattern: &str, found: &mut Expanded) {
    let Some(matcher) = Matcher::new(pattern) else { return };
    let (dir, rest) = split(pattern);
    let Some(base) = RepoPath::from_root(dir) else { return };
    let levels = if rest.contains("**") { usize::MAX } else { rest.split('/').count() };
    walk_plain(root, &base, levels, &matcher, found);
}

/// All matching files at most `levels` below `dir`, without ignore rules; the state folder and git's are never inputs.
fn walk_plain(root: &Path, dir: &RepoPath, levels: usize, matcher: &Matcher<'_>, found: &mut Expanded) {
    let (listing, names) = Listing::new(root, dir);
    found.listings.push(listing);
    for (name, is_dir) in names {
        if dir.as_bytes().is_empty() && (name == super::STATE_DIR || name == ".git") {
            continue;
        }
        let Some(path) = RepoPath::new(dir, bytes(&name)) else { continue };
        if is_dir {
            if levels > 1 {
                walk_plain(root, &path, levels - 1, matcher, found);
            }
        } else if matcher.is_match(&path) {
            found.paths.push(path);
        }
    }
}

/// Adds the files below a directory; false if it is none.
fn below(root: &Path, dir: &RepoPath, found: &mut Vec<RepoPath>) -> bool {
    let start = root.join(dir.as_path());
    if !start.is_dir() {
        return false;
    }
    let walk = WalkBuilder::new(&start)
        .hidden(false)
        .require_git(false)
        .git_global(false)
        .follow_links(false)
        .filter_entry(|entry| entry.file_name() != ".git" && entry.file_name() != super::STATE_DIR)
        .build();
    for entry in walk.flatten() {
        let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
        if let Ok(relative) = entry.path().strip_prefix(root)
            && !is_dir
            && let Some(path) = RepoPath::from_root(bytes(relative.as_os_str()))
        {
            found.push(path);
        }
    }
    true
}

/// Files below a directory (recursive, ignore rules honoured), or the file itself; empty if there is neither.
pub fn files_below(root: &Path, path: &RepoPath) -> Vec<RepoPath> {
    let mut found = Vec::new();
    if !below(root, path, &mut found) && root.join(path.as_path()).symlink_metadata().is_ok() {
        found.push(path.clone());
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Place;

    fn dep(text: &str) -> FileDep {
        let negated = text.starts_with('!');
        FileDep { pattern: text.trim_start_matches('!').into(), negated, place: Place::file("tasks.yaml") }
    }

    fn names(root: &Path, patterns: &[&str]) -> Vec<String> {
        let deps: Vec<FileDep> = patterns.iter().map(|text| dep(text)).collect();
        expand(root, &deps).paths.iter().map(RepoPath::lossy).collect()
    }

    #[test]
    fn files_globs_directories_and_negation() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for file in ["a.sh", "s/b.sh", "s/t/c.sh", "s/t/x.log", ".xtask/state.db", "s/.gitignore"] {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, if file.ends_with("ignore") { "*.log\n" } else { "" }).unwrap();
        }
        assert_eq!(names(root, &["*.sh"]), ["a.sh"]);
        assert_eq!(names(root, &["s/*.sh", "a.sh", "a.sh"]), ["a.sh", "s/b.sh"]);
        assert_eq!(names(root, &["**/*.sh"]), ["a.sh", "s/b.sh", "s/t/c.sh"]);
        assert_eq!(names(root, &["s"]), ["s/.gitignore", "s/b.sh", "s/t/c.sh"]);
        assert_eq!(names(root, &["**/*.sh", "!s/t"]), ["a.sh", "s/b.sh"]);
        assert_eq!(names(root, &["missing"]), ["missing"]);
        assert!(!names(root, &["**"]).iter().any(|name| name.starts_with(".xtask")));
    }
}
