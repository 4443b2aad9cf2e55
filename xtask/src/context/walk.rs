//! Follows one source of a `COPY` through a folder: globs, links, directories. Knows nothing of Dockerfiles.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::glob::{is_glob, matches};
use super::ignore::{Ignore, Matched};
use super::visible::{VisibleError, unreadable};
use crate::model::Diagnostic;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Directory,
    File,
    /// With its target.
    Link(Vec<u8>),
}

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

pub(super) struct Walk<'a> {
    dir: &'a Path,
    ignore: &'a Ignore,
    /// By path with zero bytes for `/`, which sorts component by component.
    pub(super) found: BTreeMap<Vec<u8>, Found>,
    pub(super) errors: Vec<Diagnostic>,
    matched: HashMap<Vec<u8>, Matched>,
    /// Directories that were taken whole.
    whole: Vec<Vec<u8>>,
}

/// How a source is read.
#[derive(Clone, Copy)]
struct Rules {
    glob: bool,
    deep: bool,
    links: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(dir: &'a Path, ignore: &'a Ignore) -> Self {
        Self { dir, ignore, found: BTreeMap::new(), errors: Vec::new(), matched: HashMap::new(), whole: Vec::new() }
    }

    /// Adds what a source finds; false if that is nothing.
    pub(super) fn source(&mut self, parts: &[&[u8]], glob: bool, deep: bool) -> Result<bool, VisibleError> {
        self.resolve(Vec::new(), parts, Rules { glob, deep, links: 0 })
    }

    /// `at` is a directory of the context, reached without links.
    fn resolve(&mut self, mut at: Vec<u8>, parts: &[&[u8]], rules: Rules) -> Result<bool, VisibleError> {
        let Some((part, rest)) = parts.split_first() else {
            self.whole(&at)?;
            return Ok(true);
        };
        match *part {
            b"" | b"." => return self.resolve(at, rest, rules),
            // Only targets of links have it; the context is the root, as for builders.
            b".." => {
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                return self.resolve(at, rest, rules);
            }
            _ => {}
        }
        if rules.deep && rules.glob && *part == b"**" {
            return self.any_depth(at, parts, rules);
        }
        if !rules.glob || !is_glob(part) {
            return self.step(join(&at, part), rest, rules);
        }
        let mut hit = false;
        for (name, _) in self.read_dir(&at)? {
            if matches(part, &name) {
                hit |= self.step(join(&at, &name), rest, rules)?;
            }
        }
        Ok(hit)
    }

    fn any_depth(&mut self, at: Vec<u8>, parts: &[&[u8]], rules: Rules) -> Result<bool, VisibleError> {
        let mut hit = self.resolve(at.clone(), &parts[1..], rules)?;
        for (name, kind) in self.read_dir(&at)? {
            if kind.is_dir() {
                hit |= self.any_depth(join(&at, &name), parts, rules)?;
            }
        }
        Ok(hit)
    }

    fn step(&mut self, path: Vec<u8>, rest: &[&[u8]], rules: Rules) -> Result<bool, VisibleError> {
        let real = self.real(&path);
        let kind = match real.symlink_metadata() {
            Ok(data) => data.file_type(),
            Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(false);
            }
            Err(why) => return Err(unreadable(&real, &why)),
        };
        if kind.is_dir() {
            let ignored = self.check(&path).ignored;
            if rest.is_empty() && ignored {
                // Rules may bring back some of what is below; the source is there if they do.
                let before = self.found.len();
                self.whole(&path)?;
                return Ok(self.found.len() > before);
            }
            return self.resolve(path, rest, rules);
        }
        if self.check(&path).ignored || !self.add(&path, kind)? {
            return Ok(false);
        }
        if !kind.is_symlink() {
            return Ok(rest.is_empty());
        }
        if rules.links == MOST_LINKS {
            return Ok(false);
        }
        let Some(Found::Link(target)) = self.found.get(&key(&path)).cloned() else { return Ok(false) };
        let parent = path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)].to_vec();
        let start = if target.starts_with(b"/") { Vec::new() } else { parent };
        let mut parts: Vec<&[u8]> = target.split(|byte| *byte == b'/').collect();
        let rules = Rules { links: rules.links + 1, ..rules };
        // A target is a name, never a glob. A glob below a link finds all that is there: more than enough.
        if !rules.glob || !rest.iter().any(|part| is_glob(part)) {
            parts.extend(rest);
        }
        self.resolve(start, &parts, Rules { glob: false, ..rules })
    }

    /// Everything below a directory, and the directory itself.
    fn whole(&mut self, dir: &[u8]) -> Result<(), VisibleError> {
        if self.whole.iter().any(|taken| taken.is_empty() || dir.starts_with(&join(taken, b"")) || dir == taken) {
            return Ok(());
        }
        self.whole.push(dir.to_vec());
        let mut matched = None;
        if !dir.is_empty() {
            let own = self.check(dir);
            if !own.ignored {
                self.found.insert(key(dir), Found::Directory);
            }
            matched = Some(own);
        }
        self.below(dir, matched.as_ref())
    }

    fn below(&mut self, dir: &[u8], parent: Option<&Matched>) -> Result<(), VisibleError> {
        for (name, kind) in self.read_dir(dir)? {
            let path = join(dir, &name);
            let matched = self.ignore.check(&path, parent);
            if !matched.ignored {
                self.add(&path, kind)?;
            }
            if kind.is_dir() && !(matched.ignored && self.ignore.can_skip(&path)) {
                self.below(&path, Some(&matched))?;
            }
        }
        Ok(())
    }

    /// Notes one path; false (and an error) if no builder could take it.
    fn add(&mut self, path: &[u8], kind: FileType) -> Result<bool, VisibleError> {
        let found = if kind.is_dir() {
            Found::Directory
        } else if kind.is_file() {
            Found::File
        } else if kind.is_symlink() {
            let real = self.real(path);
            Found::Link(fs::read_link(&real).map_err(|why| unreadable(&real, &why))?.into_os_string().into_vec())
        } else {
            let real = self.real(path);
            let what = match kind {
                kind if kind.is_fifo() => "a FIFO",
                kind if kind.is_socket() => "a socket",
                _ => "a device",
            };
            self.errors.push(
                Diagnostic::error(format!("`{}` is {what}, which cannot be part of an image", real.display()))
                    .help(format!("remove it, or add `{}` to .dockerignore", String::from_utf8_lossy(path))),
            );
            return Ok(false);
        };
        self.found.insert(key(path), found);
        Ok(true)
    }

    fn read_dir(&self, dir: &[u8]) -> Result<Vec<(Vec<u8>, FileType)>, VisibleError> {
        let real = self.real(dir);
        let list = || -> io::Result<Vec<(Vec<u8>, FileType)>> {
            fs::read_dir(&real)?
                .map(|entry| entry.and_then(|entry| Ok((entry.file_name().into_vec(), entry.file_type()?))))
                .collect()
        };
        list().map_err(|why| unreadable(&real, &why))
    }

    /// What the rules say about a path, its directories considered.
    fn check(&mut self, path: &[u8]) -> Matched {
        if let Some(known) = self.matched.get(path) {
            return known.clone();
        }
        let parent = path.iter().rposition(|byte| *byte == b'/').map(|end| self.check(&path[..end]));
        let matched = self.ignore.check(path, parent.as_ref());
        self.matched.insert(path.to_vec(), matched.clone());
        matched
    }

    fn real(&self, path: &[u8]) -> PathBuf {
        self.dir.join(OsStr::from_bytes(path))
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

fn key(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
}
