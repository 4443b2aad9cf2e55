//! One thing that was looked at, and how to tell whether it is still the same. Knows nothing of who looked.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::files::{self, FileState, StatTuple, now_ns};
use super::glob::{self, Listing};
use super::statcache::is_settled;
use crate::model::digest::Hasher;
use crate::model::task::FileDep;
use crate::model::{Digest, Place, RepoPath};

/// A path (for [`Proof::Walk`], patterns) with what is expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight<'a> {
    pub path: &'a [u8],
    pub proof: Proof,
}

/// What shows that nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// There is no such file.
    Missing,
    /// The stat is this, which proves the content.
    Stat(StatTuple),
    /// The stat is this, which proves nothing because the file was touched too shortly before, and the signature this.
    Content(StatTuple, Digest),
    /// There is no such directory.
    NoListing,
    /// The directory's stat is this, which proves its names.
    ListingStat(StatTuple),
    /// The directory's names have this digest.
    Listing(Digest),
    /// These patterns, one per line, stand for paths with this digest.
    Walk(Digest),
}

/// How a sight turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Yes,
    /// Yes, and from now on this proves it, too, at less cost.
    YesAs(Proof),
    No,
}

impl Proof {
    /// Of a file as it was observed. `None` where nothing can be proved.
    pub fn of(standing: files::Standing<'_>) -> Option<Self> {
        match standing.state {
            FileState::Missing => Some(Self::Missing),
            FileState::File { stat, .. } if standing.trusted => Some(Self::Stat(*stat)),
            state => Some(Self::Content(state.stat()?, state.signature()?)),
        }
    }

    /// Of a directory that was listed.
    pub fn of_listing(listing: &Listing) -> Self {
        match listing.stat {
            None => Self::NoListing,
            Some(stat) if listing.trusted() => Self::ListingStat(stat),
            Some(_) => Self::Listing(listing.digest),
        }
    }
}

/// The digest of what patterns stand for.
pub fn digest_of_paths(paths: &[RepoPath]) -> Digest {
    let mut hasher = Hasher::new();
    for path in paths {
        hasher.field(path.as_bytes());
    }
    hasher.finish()
}

/// Patterns as the path of a [`Proof::Walk`].
pub fn patterns_text<'a>(patterns: impl IntoIterator<Item = &'a FileDep>) -> String {
    patterns.into_iter().map(|dep| format!("{}{}\n", if dep.negated { '!' } else { '=' }, dep.pattern)).collect()
}

fn patterns_of(text: &str) -> Vec<FileDep> {
    let dep = |line: &str| {
        let negated = line.starts_with('!');
        FileDep { pattern: line.get(1..).unwrap_or_default().into(), negated, place: Place::file("") }
    };
    text.lines().map(dep).collect()
}

impl Sight<'_> {
    /// Looks again. `fd` is the open `root`.
    pub fn holds(&self, root: &Path, fd: &OwnedFd) -> Holds {
        let yes = |holds: bool| if holds { Holds::Yes } else { Holds::No };
        match self.proof {
            Proof::Missing => yes(matches!(files::stat_below(fd, self.path), Ok(None))),
            Proof::Stat(stat) => yes(matches!(files::stat_below(fd, self.path), Ok(Some(now)) if now == stat)),
            Proof::Content(stat, signature) => self.content_holds(fd, stat, signature),
            Proof::NoListing => yes(self.repo_path().is_some_and(|dir| glob::stat_of_dir(root, &dir).is_none())),
            Proof::ListingStat(stat) => {
                yes(self.repo_path().is_some_and(|dir| glob::stat_of_dir(root, &dir) == Some(stat)))
            }
            Proof::Listing(digest) => {
                let Some(dir) = self.repo_path() else { return Holds::No };
                let (listing, _) = Listing::new(root, &dir);
                match Proof::of_listing(&listing) {
                    _ if listing.digest != digest => Holds::No,
                    better @ Proof::ListingStat(_) => Holds::YesAs(better),
                    _ => Holds::Yes,
                }
            }
            Proof::Walk(digest) => {
                let Ok(text) = std::str::from_utf8(self.path) else { return Holds::No };
                let found = glob::expand(root, &patterns_of(text));
                yes(digest_of_paths(&found.paths) == digest)
            }
        }
    }

    fn repo_path(&self) -> Option<RepoPath> {
        RepoPath::from_root(self.path)
    }

    fn content_holds(&self, fd: &OwnedFd, stat: StatTuple, signature: Digest) -> Holds {
        let Some(path) = self.repo_path() else { return Holds::No };
        let before_ns = now_ns();
        let state = files::look_afresh(fd, &path);
        match &state {
            _ if state.stat() != Some(stat) || state.signature() != Some(signature) => Holds::No,
            FileState::File { .. } if is_settled(&stat, before_ns) => Holds::YesAs(Proof::Stat(stat)),
            _ => Holds::Yes,
        }
    }
}
