//! The files of a context that a Dockerfile can see, as a manifest. Knows nothing of engines and caches.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::walk::{Found, Walk};
use crate::context::Ignore;
use crate::model::context::{Context, ContextEntry, ContextKind};
use crate::model::words::closest;
use crate::model::{Diagnostic, Diagnostics, Digest};
use crate::render::dockerfile::{ContextRole, ContextUse, Dockerfile};

/// What has to be known of one regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    pub executable: bool,
}

/// A file or a folder from elsewhere that stands in the context under a path of its own.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Within the context; nothing of the context's own folder is below it.
    pub at: String,
    pub source: PathBuf,
    /// The source as people know it, for messages.
    pub name: String,
    pub ignore: Ignore,
}

/// What a builder may be shown.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// The context's own folder.
    pub dir: &'a Path,
    /// The rules of that folder.
    pub ignore: &'a Ignore,
    pub joined: &'a [Joined],
}

impl Tree<'_> {
    /// Where the content of a path in the context is read from.
    pub fn real(&self, path: &[u8]) -> PathBuf {
        for one in self.joined {
            match path.strip_prefix(one.at.as_bytes()) {
                // A single file stands below the name under its own.
                Some([b'/', ..]) if one.source.is_file() => return one.source.clone(),
                Some([b'/', rest @ ..]) => return one.source.join(OsStr::from_bytes(rest)),
                _ => {}
            }
        }
        self.dir.join(OsStr::from_bytes(path))
    }
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum VisibleError {
    /// Errors of the user, with their places.
    #[error("{0}")]
    Wrong(Diagnostics),
    /// Something was removed or replaced while it was looked at; another try may do.
    #[error("`{}` changed while it was read", .0.display())]
    Changed(PathBuf),
}

/// Lists what the needed stages of `dockerfile` can see of the folder `dir`, and reads each file's facts through
/// `facts`, one after the other; the path is `dir` joined with the path in the context.
///
/// Links are kept as links. What a source that is itself a link leads to, within the context, is visible too,
/// because builders follow it. Errors: a source that finds nothing, a FIFO, socket or device, an unreadable folder.
pub fn visible<F>(dockerfile: &Dockerfile, dir: &Path, ignore: &Ignore, facts: F) -> Result<Context, VisibleError>
where
    F: Fn(&Path) -> io::Result<FileFacts> + Sync,
{
    let tree = Tree { dir, ignore, joined: &[] };
    with_facts(list(dockerfile, tree)?, tree, facts)
}

/// Makes the manifest of what [`list`] found; for callers that want to do something with the list first.
pub fn with_facts<F>(found: Vec<(Vec<u8>, Found)>, tree: Tree<'_>, facts: F) -> Result<Context, VisibleError>
where
    F: Fn(&Path) -> io::Result<FileFacts> + Sync,
{
    let entries: Result<Vec<ContextEntry>, VisibleError> = found
        .into_iter()
        .map(|(path, found)| {
            let kind = match found {
                Found::Directory => ContextKind::Directory,
                Found::Link(target) => ContextKind::Symlink { target },
                Found::File => {
                    let source = tree.real(&path);
                    let FileFacts { digest, size, executable } =
                        facts(&source).map_err(|why| unreadable(&source, &why))?;
                    ContextKind::File { source, digest, size, executable }
                }
            };
            Ok(ContextEntry { path, kind })
        })
        .collect();
    Ok(Context { entries: entries? })
}

/// The same list without reading any file: for asking which images a path belongs to.
///
/// Sorted component by component, parents before children.
pub fn list(dockerfile: &Dockerfile, tree: Tree<'_>) -> Result<Vec<(Vec<u8>, Found)>, VisibleError> {
    let Tree { dir, ignore, joined } = tree;
    let mut walk = Walk::new(dir, ignore);
    let mut elsewhere: Vec<Walk<'_>> = joined.iter().map(|one| Walk::new(&one.source, &one.ignore)).collect();
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for one in &dockerfile.context {
        if !seen.insert((&one.pattern, one.glob, one.deep)) {
            continue;
        }
        if let Some((at, below)) = in_joined(joined, &one.pattern) {
            if !joined_source(&joined[at], &mut elsewhere[at], one, below)? {
                let from = &joined[at].name;
                let error =
                    Diagnostic::error(format!("`{below}` is not in `{from}`, which is brought into the context"));
                errors.push(error.at(one.place(&dockerfile.file)));
            }
            continue;
        }
        let parts = split(&one.pattern);
        let hit = walk.source(&parts, one.glob, one.deep)?;
        let may_miss = one.glob && parts.iter().any(|part| super::glob::is_glob(part));
        if !hit && !may_miss && !parts.is_empty() {
            errors.push(missing(one, dockerfile, dir, ignore));
        }
    }
    errors.append(&mut walk.errors);
    for (one, mut other) in joined.iter().zip(elsewhere) {
        errors.append(&mut other.errors);
        let at: Vec<u8> = one.at.bytes().map(|byte| if byte == b'/' { 0 } else { byte }).collect();
        walk.found.extend(other.found.into_iter().map(|(path, found)| ([at.as_slice(), b"\0", &path].concat(), found)));
    }
    if errors.is_empty() { Ok(with_parents(walk.found)) } else { Err(VisibleError::Wrong(Diagnostics(errors))) }
}

fn split(pattern: &str) -> Vec<&[u8]> {
    pattern.as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect()
}

/// Which joined source a pattern is about, and what of it.
fn in_joined<'p>(joined: &[Joined], pattern: &'p str) -> Option<(usize, &'p str)> {
    joined.iter().enumerate().find_map(|(at, one)| {
        let rest = pattern.trim_start_matches('/').strip_prefix(one.at.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then(|| (at, rest.trim_matches('/')))
    })
}

/// Finds what a `COPY` takes of a joined source; false if that is nothing.
fn joined_source(one: &Joined, walk: &mut Walk<'_>, used: &ContextUse, below: &str) -> Result<bool, VisibleError> {
    if one.source.is_file() {
        let name = one.source.file_name().unwrap_or_default().as_bytes().to_vec();
        let is_it = below.is_empty() || below.as_bytes() == name;
        if is_it {
            walk.found.insert(name, Found::File);
        }
        return Ok(is_it);
    }
    // A folder that holds nothing is a source, too.
    Ok(walk.source(&split(below), used.glob, used.deep)? || below.is_empty())
}

/// Adds the directories that lead to what was found, and turns sort keys back into paths.
fn with_parents(mut found: BTreeMap<Vec<u8>, Found>) -> Vec<(Vec<u8>, Found)> {
    let mut parents = BTreeSet::new();
    for key in found.keys() {
        for (at, _) in key.iter().enumerate().rev().filter(|(_, byte)| **byte == 0) {
            if !parents.insert(key[..at].to_vec()) {
                break;
            }
        }
    }
    for parent in parents {
        found.entry(parent).or_insert(Found::Directory);
    }
    found
        .into_iter()
        .map(|(key, found)| (key.iter().map(|b| if *b == 0 { b'/' } else { *b }).collect(), found))
        .collect()
}

fn missing(one: &ContextUse, dockerfile: &Dockerfile, dir: &Path, ignore: &Ignore) -> Diagnostic {
    let pattern = &one.pattern;
    let what = match one.role {
        ContextRole::Add => "ADD",
        ContextRole::Bind => "RUN --mount",
        ContextRole::Copy | ContextRole::Unknown => "COPY",
    };
    let error = Diagnostic::error(format!("`{pattern}` is not in the build context, and `{what}` needs it"))
        .at(one.place(&dockerfile.file));
    if ignore.ignores(pattern.as_bytes()) && dir.join(pattern).symlink_metadata().is_ok() {
        return error.note("the file exists, but the ignore file excludes it").help(format!("add `!{pattern}` to it"));
    }
    let is_special = |kind: std::fs::FileType| !(kind.is_file() || kind.is_dir() || kind.is_symlink());
    if dir.join(pattern).symlink_metadata().is_ok_and(|meta| is_special(meta.file_type())) {
        return error.note("it is a socket, a pipe or a device, which no image can hold");
    }
    let path = Path::new(pattern);
    let parent = path.parent().unwrap_or(Path::new(""));
    let names: Vec<String> = std::fs::read_dir(dir.join(parent))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| String::from_utf8(entry.file_name().into_vec()).ok())
        .collect();
    let wanted = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let near = closest(wanted, names.iter().map(String::as_str));
    error.maybe_help(near.map(|name| format!("a file with a similar name exists: `{}`", parent.join(name).display())))
}

pub(super) fn unreadable(path: &Path, why: &io::Error) -> VisibleError {
    match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => VisibleError::Changed(path.to_owned()),
        _ => VisibleError::Wrong(
            Diagnostic::error(format!("`{}` cannot be read", path.display()))
                .cause(why)
                .help(format!("make it readable, or exclude it: chmod +r '{}'", path.display()))
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests;
