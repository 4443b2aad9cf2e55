//! What the last runs saw when they found tasks up to date, on disk as one flat file that is read whole: enough to see
//! that nothing has changed without reading tasks.yaml, the records or the stat cache.
//!
//! An accelerator: any doubt makes it absent. Knows nothing of what a task is beyond its name, its needs and its sights.
//!
//! Everything is little-endian: magic, digest of the rest, [`Head`] in postcard, then tables of fixed rows and one text.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::files::{PathMap, StatTuple};
use super::sight::{Proof, Sight};
use crate::model::digest::Hasher;
use crate::model::{Digest, RepoPath};
use crate::profile::{self, Part};

const MAGIC: &[u8; 8] = b"xtseen01";
const TASK: usize = 24;
const SIGHT: usize = 48;
/// So much is digested at once, on all processors.
const PIECE: usize = 1 << 20;

/// What the whole file depends on, beside the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Of the program and everything else that the reading of tasks depends on but what follows.
    pub program: String,
    /// The files that say which tasks there are, with the digests of their bytes.
    pub sources: Vec<(String, Digest)>,
    /// Variables of the environment that were asked for, with a digest of each value.
    pub env: Vec<(String, Option<Digest>)>,
    /// Patterns that were looked up, with a digest of what they matched.
    pub globs: Vec<(String, Digest)>,
    /// Of the state database.
    pub stamp: i64,
    /// Its files as they were when it was closed: whatever touches them, the database is looked at as a whole again.
    pub state: Vec<Option<(u64, i64, i64, u64)>>,
    pub default_tasks: Vec<String>,
    pub jobs: Option<usize>,
    pub verbosity: Option<u8>,
    pub reporter: Option<String>,
}

impl Head {
    /// A digest of everything that says which tasks there are.
    pub fn tasks_key(&self) -> Digest {
        let told = (&self.program, &self.sources, &self.env, &self.globs);
        // Plain data always encodes; and nothing is bound to the digest of nothing.
        Digest::of(&postcard::to_stdvec(&told).unwrap_or_default())
    }
}

/// One task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeenTask<'a> {
    pub name: &'a str,
    pub flags: Flags,
    /// Of its last success.
    pub seconds: f64,
    needs: (usize, usize),
    sights: (usize, usize),
}

impl SeenTask<'_> {
    /// How long its last success took, if it had one.
    pub fn seconds(&self) -> Option<f64> {
        (!self.seconds.is_nan()).then_some(self.seconds)
    }
}

/// Facts of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// It is up to date as long as its sights hold and all its needs are.
    pub known: bool,
    /// Gets no line of its own.
    pub hidden: bool,
    pub group: bool,
    /// Takes options or words of the command line.
    pub takes_words: bool,
    pub verbosity: Option<u8>,
}

impl Flags {
    fn bits(self) -> u16 {
        let bit = |set: bool, at: u16| u16::from(set) << at;
        let verbosity = self.verbosity.map_or(0, |level| u16::from(level) + 1);
        bit(self.known, 0) | bit(self.hidden, 1) | bit(self.group, 2) | bit(self.takes_words, 3) | verbosity << 4
    }

    fn of(bits: u16) -> Self {
        let verbosity = (bits >> 4).checked_sub(1).map(|level| level as u8);
        Self {
            known: bits & 1 != 0,
            hidden: bits & 2 != 0,
            group: bits & 4 != 0,
            takes_words: bits & 8 != 0,
            verbosity,
        }
    }
}

/// The file, read.
pub struct Seen {
    pub head: Head,
    bytes: Vec<u8>,
    tasks: usize,
    /// Where the tables begin.
    needs_at: usize,
    lists_at: usize,
    sights_at: usize,
    digests_at: usize,
    text_at: usize,
    tasks_at: usize,
}

impl Seen {
    /// Reads the file; `None` where it is absent, foreign or damaged.
    pub fn read(file: &Path) -> Option<Self> {
        let _watch = profile::enter(Part::Seen);
        Self::parse(std::fs::read(file).ok()?)
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let body = bytes.strip_prefix(MAGIC)?.get(32..)?;
        if bytes.get(8..40)? != digest_of(body).0 {
            return None;
        }
        let mut at = 40;
        let mut count = || {
            let number = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
            at += 4;
            Some(number)
        };
        let (head_length, tasks, needs, lists, sights, digests) =
            (count()?, count()?, count()?, count()?, count()?, count()?);
        let head = postcard::from_bytes(bytes.get(at..at + head_length)?).ok()?;
        let tasks_at = at + head_length;
        let needs_at = tasks_at + tasks * TASK;
        let lists_at = needs_at + needs * 4;
        let sights_at = lists_at + lists * 4;
        let digests_at = sights_at + sights * SIGHT;
        let text_at = digests_at + digests * 32;
        (text_at <= bytes.len()).then_some(())?;
        Some(Self { head, bytes, tasks, needs_at, lists_at, sights_at, digests_at, text_at, tasks_at })
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.tasks
    }

    pub fn is_empty(&self) -> bool {
        self.tasks == 0
    }

    pub fn task(&self, index: usize) -> Option<SeenTask<'_>> {
        let row = self.task_row(index)?;
        let before = index.checked_sub(1).and_then(|before| self.task_row(before));
        let start = |at: usize| before.map_or(Some(0), |row| word(row, at));
        Some(SeenTask {
            name: std::str::from_utf8(self.text(word(row, 0)?, half(row, 4)? as usize)?).ok()?,
            flags: Flags::of(half(row, 6)?),
            seconds: f64::from_bits(long(row, 8)?),
            needs: (start(16)?, word(row, 16)?),
            sights: (start(20)?, word(row, 20)?),
        })
    }

    fn task_row(&self, index: usize) -> Option<&[u8]> {
        (index < self.tasks).then(|| self.bytes.get(self.tasks_at + index * TASK..)?.get(..TASK))?
    }

    fn text(&self, at: usize, length: usize) -> Option<&[u8]> {
        self.bytes.get(self.text_at + at..)?.get(..length)
    }

    /// The index of the task with this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        (0..self.tasks).find(|index| self.task(*index).is_some_and(|task| task.name == name))
    }

    /// The tasks that this one needs.
    pub fn needs<'a>(&'a self, task: &SeenTask<'_>) -> impl Iterator<Item = usize> + use<'a> {
        self.words(self.needs_at, task.needs)
    }

    /// The indexes of its sights.
    pub fn sights<'a>(&'a self, task: &SeenTask<'_>) -> impl Iterator<Item = usize> + use<'a> {
        self.words(self.lists_at, task.sights)
    }

    /// Whether many sights serve no task any more.
    pub fn is_wasteful(&self) -> bool {
        self.sight_count() > (self.sights_at - self.lists_at) / 4 + 1000
    }

    /// The indexes of the sights of the task with this index.
    pub fn sights_of(&self, index: usize) -> impl Iterator<Item = u32> + '_ {
        self.task(index).into_iter().flat_map(|task| self.sights(&task)).map(|sight| sight as u32)
    }

    fn words(&self, table: usize, (start, end): (usize, usize)) -> impl Iterator<Item = usize> + '_ {
        let bytes = self.bytes.get(table + start * 4..table + end * 4).unwrap_or_default();
        bytes.chunks_exact(4).filter_map(|row| word(row, 0))
    }

    pub fn sight(&self, index: usize) -> Option<Sight<'_>> {
        let row = self.bytes.get(self.sights_at + index * SIGHT..self.digests_at)?.get(..SIGHT)?;
        let path = self.text(word(row, 0)?, half(row, 4)? as usize)?;
        let stat = || {
            Some(StatTuple {
                mode: word(row, 8)? as u32,
                size: long(row, 16)?,
                mtime_ns: long(row, 24)? as i64,
                ctime_ns: long(row, 32)? as i64,
                inode: long(row, 40)?,
            })
        };
        let digest = || {
            let at = self.digests_at + word(row, 12)? * 32;
            Some(Digest(self.bytes.get(at..self.text_at)?.get(..32)?.try_into().ok()?))
        };
        let proof = match row.get(6)? {
            0 => Proof::Missing,
            1 => Proof::Stat(stat()?),
            2 => Proof::Content(stat()?, digest()?),
            3 => Proof::NoListing,
            4 => Proof::ListingStat(stat()?),
            5 => Proof::Listing(digest()?),
            6 => Proof::Walk(digest()?),
            _ => return None,
        };
        Some(Sight { path, proof })
    }

    /// Replaces how a sight is proved.
    pub fn settle(&mut self, index: usize, proof: Proof) {
        let (kind, stat) = match proof {
            Proof::Stat(stat) => (1, stat),
            Proof::ListingStat(stat) => (4, stat),
            _ => return,
        };
        let start = self.sights_at + index * SIGHT;
        if let Some(row) = self.bytes.get_mut(start..start + SIGHT) {
            row[6] = kind;
            row[8..12].copy_from_slice(&stat.mode.to_le_bytes());
            for (at, number) in (16..).step_by(8).zip(numbers(&stat)) {
                row[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
        }
    }

    /// Writes it again, after [`Self::settle`].
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        write(file, self.bytes.get(40..).unwrap_or_default())
    }

    /// How many sights there are.
    pub fn sight_count(&self) -> usize {
        (self.digests_at - self.sights_at) / SIGHT
    }
}

fn half(row: &[u8], at: usize) -> Option<u16> {
    row.get(at..at + 2)?.try_into().map(u16::from_le_bytes).ok()
}

fn word(row: &[u8], at: usize) -> Option<usize> {
    row.get(at..at + 4)?.try_into().map(|bytes| u32::from_le_bytes(bytes) as usize).ok()
}

fn long(row: &[u8], at: usize) -> Option<u64> {
    row.get(at..at + 8)?.try_into().map(u64::from_le_bytes).ok()
}

/// A digest of many bytes, on all processors.
pub(super) fn digest_of(body: &[u8]) -> Digest {
    let pieces: Vec<Digest> = body.par_chunks(PIECE).map(Digest::of).collect();
    let mut hasher = Hasher::new();
    for piece in pieces {
        hasher.raw(&piece.0);
    }
    hasher.finish()
}

/// Puts a file together, task by task in their order.
#[derive(Default)]
pub struct SeenWriter {
    tasks: Vec<u8>,
    needs: Vec<u8>,
    lists: Vec<u8>,
    sights: Vec<u8>,
    digests: Vec<u8>,
    text: Vec<u8>,
    /// Sights of files by path: many tasks look at the same file.
    files: PathMap<u32>,
    others: HashMap<(Box<[u8]>, Proof), u32>,
    /// A name or a list of patterns that the format cannot hold.
    too_long: bool,
}

impl SeenWriter {
    /// Begins with the sights of `old`, so that tasks may keep their indexes.
    pub fn after(old: &Seen) -> Self {
        let table = |from: usize, to: usize| old.bytes.get(from..to).unwrap_or_default().to_vec();
        Self {
            sights: table(old.sights_at, old.digests_at),
            digests: table(old.digests_at, old.text_at),
            text: table(old.text_at, old.bytes.len()),
            ..Self::default()
        }
    }

    /// Adds the next task. Its sights come from [`Self::file`] and [`Self::sight`].
    pub fn task(&mut self, name: &str, flags: Flags, seconds: f64, needs: impl Iterator<Item = u32>, sights: &[u32]) {
        self.needs.extend(needs.flat_map(u32::to_le_bytes));
        self.lists.extend(sights.iter().flat_map(|sight| sight.to_le_bytes()));
        let (at, length) = self.push_text(name.as_bytes());
        self.tasks.extend(at.to_le_bytes());
        self.tasks.extend(length.to_le_bytes());
        self.tasks.extend(flags.bits().to_le_bytes());
        self.tasks.extend(seconds.to_bits().to_le_bytes());
        self.tasks.extend(((self.needs.len() / 4) as u32).to_le_bytes());
        self.tasks.extend(((self.lists.len() / 4) as u32).to_le_bytes());
    }

    /// Adds the sight of a file, once per path.
    pub fn file(&mut self, path: &RepoPath, proof: impl FnOnce() -> Proof) -> u32 {
        if let Some(index) = self.files.get(path) {
            return *index;
        }
        let index = self.push(&Sight { path: path.as_bytes(), proof: proof() });
        self.files.insert(path.clone(), index);
        index
    }

    /// Adds a sight, once.
    pub fn sight(&mut self, sight: &Sight<'_>) -> u32 {
        let key = (Box::from(sight.path), sight.proof);
        if let Some(index) = self.others.get(&key) {
            return *index;
        }
        let index = self.push(sight);
        self.others.insert(key, index);
        index
    }

    fn push(&mut self, sight: &Sight<'_>) -> u32 {
        let index = (self.sights.len() / SIGHT) as u32;
        let (kind, stat, digest) = match sight.proof {
            Proof::Missing => (0_u8, None, None),
            Proof::Stat(stat) => (1, Some(stat), None),
            Proof::Content(stat, digest) => (2, Some(stat), Some(digest)),
            Proof::NoListing => (3, None, None),
            Proof::ListingStat(stat) => (4, Some(stat), None),
            Proof::Listing(digest) => (5, None, Some(digest)),
            Proof::Walk(digest) => (6, None, Some(digest)),
        };
        let (at, length) = self.push_text(sight.path);
        let stat = stat.unwrap_or_default();
        let digest_at = (self.digests.len() / 32) as u32;
        self.digests.extend(digest.iter().flat_map(|digest| digest.0));
        self.sights.extend(at.to_le_bytes());
        self.sights.extend(length.to_le_bytes());
        self.sights.extend([kind, 0]);
        self.sights.extend(stat.mode.to_le_bytes());
        self.sights.extend(digest_at.to_le_bytes());
        self.sights.extend(numbers(&stat).into_iter().flat_map(u64::to_le_bytes));
        index
    }

    fn push_text(&mut self, text: &[u8]) -> (u32, u16) {
        let at = self.text.len() as u32;
        self.text.extend(text);
        self.too_long |= u16::try_from(text.len()).is_err();
        (at, text.len() as u16)
    }

    /// Writes everything under a temporary name and renames it.
    ///
    /// # Errors
    /// The folder cannot be written. The caller may go on: without the file, tasks.yaml is read.
    pub fn write(&self, head: &Head, file: &Path) -> io::Result<()> {
        let too_large = [&self.needs, &self.lists, &self.sights, &self.text]
            .iter()
            .any(|table| u32::try_from(table.len()).is_err());
        if too_large || self.too_long {
            return Err(io::Error::other("too many files"));
        }
        let head = postcard::to_stdvec(head).map_err(io::Error::other)?;
        let mut body =
            Vec::with_capacity(self.sights.len() + self.text.len() + self.tasks.len() + self.lists.len() + 4096);
        let counts = [head.len(), self.tasks.len() / TASK, self.needs.len() / 4, self.lists.len() / 4];
        for count in counts.into_iter().chain([self.sights.len() / SIGHT, self.digests.len() / 32]) {
            body.extend((count as u32).to_le_bytes());
        }
        for table in [&head, &self.tasks, &self.needs, &self.lists, &self.sights, &self.digests, &self.text] {
            body.extend(table.iter());
        }
        write(file, &body)
    }
}

fn numbers(stat: &StatTuple) -> [u64; 4] {
    [stat.size, stat.mtime_ns as u64, stat.ctime_ns as u64, stat.inode]
}

fn write(file: &Path, body: &[u8]) -> io::Result<()> {
    let _watch = profile::enter(Part::Seen);
    let dir = file.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
    temporary.write_all(MAGIC)?;
    temporary.write_all(&digest_of(body).0)?;
    temporary.write_all(body)?;
    super::put_in_place(temporary, file)
}

#[cfg(test)]
#[path = "seen_tests.rs"]
mod tests;
