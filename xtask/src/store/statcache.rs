//! The stat cache on disk: one flat file, written whole, of which all or single entries are taken. An accelerator: any
//! doubt makes it empty.
//!
//! Not in the database, because a run of nothing must read a hundred thousand entries in a few milliseconds.

use std::cmp::Ordering;
use std::io::{self, Write};
use std::path::Path;

use rayon::prelude::*;

use super::files::{PathMap, StatTuple};
use super::seen::digest_of;
use crate::model::{Digest, RepoPath};

/// The digest that a file had when its stat was this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cached {
    pub stat: StatTuple,
    pub digest: Digest,
    /// Right before it was hashed, nanoseconds since 1970.
    pub hashed_ns: i64,
}

/// Files touched this shortly before they were hashed may have been changed again within the same tick of the file
/// system's clock, and a store through a mapping may not touch the times at all.
const RACY_NS: i64 = 2_000_000_000;

impl Cached {
    /// Whether an equal stat proves equal content.
    pub(super) fn trusted(&self) -> bool {
        is_settled(&self.stat, self.hashed_ns)
    }
}

/// Whether what has this stat was last touched long enough before `looked_ns` (nanoseconds since 1970).
pub(super) fn is_settled(stat: &StatTuple, looked_ns: i64) -> bool {
    stat.mtime_ns.max(stat.ctime_ns).saturating_add(RACY_NS) <= looked_ns
}

const MAGIC: &[u8; 8] = b"xtfiles2";
/// size, mtime, ctime, inode, hashed: 8 bytes each; mode and length of the path: 4 each; digest.
const FIXED: usize = 5 * 8 + 2 * 4 + 32;

/// Reads the cache; an absent, foreign or damaged file counts as empty.
pub(super) fn read(file: &Path) -> PathMap<Cached> {
    Lookup::open(file).and_then(|lookup| lookup.all()).unwrap_or_default()
}

/// The cache as bytes, of which single entries are looked up: rows in the order of their paths, and before them where
/// each one begins.
pub(super) struct Lookup {
    bytes: Vec<u8>,
    count: usize,
}

const COUNT_AT: usize = 8 + 32;
const OFFSETS_AT: usize = COUNT_AT + 8;

impl Lookup {
    /// Reads the file; `None` where it is absent, foreign or damaged.
    pub(super) fn open(file: &Path) -> Option<Self> {
        Self::parse(std::fs::read(file).ok()?)
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let body = bytes.strip_prefix(MAGIC)?.get(32..)?;
        if bytes.get(8..COUNT_AT)? != digest_of(body).0 {
            return None;
        }
        let count = u64::from_le_bytes(bytes.get(COUNT_AT..OFFSETS_AT)?.try_into().ok()?) as usize;
        (count <= bytes.len() / FIXED).then_some(Self { bytes, count })
    }

    /// The entry of a path.
    pub(super) fn find(&self, path: &RepoPath) -> Option<Cached> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let (found, cached) = self.row(middle)?;
            match found.cmp(path.as_bytes()) {
                Ordering::Equal => return Some(cached),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn all(&self) -> Option<PathMap<Cached>> {
        let mut entries = PathMap::with_capacity_and_hasher(self.count, foldhash::fast::RandomState::default());
        for index in 0..self.count {
            let (path, cached) = self.row(index)?;
            entries.insert(RepoPath::from_root(path)?, cached);
        }
        Some(entries)
    }

    fn row(&self, index: usize) -> Option<(&[u8], Cached)> {
        let number = |at: usize| self.bytes.get(at..at + 8)?.try_into().map(u64::from_le_bytes).ok();
        let word = |at: usize| self.bytes.get(at..at + 4)?.try_into().map(u32::from_le_bytes).ok();
        let at = usize::try_from(number(OFFSETS_AT + index * 8)?).ok()?;
        let stat = StatTuple {
            size: number(at)?,
            mtime_ns: number(at + 8)? as i64,
            ctime_ns: number(at + 16)? as i64,
            inode: number(at + 24)?,
            mode: word(at + 40)?,
        };
        let digest = Digest(self.bytes.get(at + 48..at + FIXED)?.try_into().ok()?);
        let path = self.bytes.get(at + FIXED..)?.get(..word(at + 44)? as usize)?;
        Some((path, Cached { stat, digest, hashed_ns: number(at + 32)? as i64 }))
    }
}

/// Writes the cache under a temporary name and renames it.
pub(super) fn write(file: &Path, entries: &PathMap<Cached>) -> io::Result<()> {
    let mut sorted: Vec<(&RepoPath, &Cached)> = entries.iter().collect();
    sorted.par_sort_unstable_by_key(|(path, _)| *path);
    let mut body = Vec::with_capacity(entries.len() * (8 + FIXED + 32) + 8);
    body.extend((entries.len() as u64).to_le_bytes());
    let mut at = OFFSETS_AT + entries.len() * 8;
    for (path, _) in &sorted {
        body.extend((at as u64).to_le_bytes());
        at += FIXED + path.as_bytes().len();
    }
    for (path, cached) in sorted {
        let stat = &cached.stat;
        for number in [stat.size, stat.mtime_ns as u64, stat.ctime_ns as u64, stat.inode, cached.hashed_ns as u64] {
            body.extend(number.to_le_bytes());
        }
        body.extend(stat.mode.to_le_bytes());
        body.extend((path.as_bytes().len() as u32).to_le_bytes());
        body.extend(cached.digest.0);
        body.extend(path.as_bytes());
    }
    let dir = file.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
    temporary.write_all(MAGIC)?;
    temporary.write_all(&digest_of(&body).0)?;
    temporary.write_all(&body)?;
    super::put_in_place(temporary, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> PathMap<Cached> {
        let stat = StatTuple { size: 3, mtime_ns: -5, ctime_ns: 7, inode: 9, mode: 0o100_644 };
        let cached = Cached { stat, digest: Digest::of(b"x"), hashed_ns: 11 };
        ["a/b", "\u{e4}"].map(|path| (RepoPath::from_root(path).unwrap(), cached)).into_iter().collect()
    }

    #[test]
    fn written_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("files.bin");
        write(&file, &entries()).unwrap();
        assert_eq!(read(&file), entries());
        let lookup = Lookup::open(&file).unwrap();
        for (path, cached) in entries() {
            assert_eq!(lookup.find(&path), Some(cached));
        }
        for absent in ["", "a", "a/c", "\u{e5}"] {
            assert_eq!(lookup.find(&RepoPath::from_root(absent).unwrap()), None);
        }
    }

    #[test]
    fn any_damage_makes_it_empty() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("files.bin");
        write(&file, &entries()).unwrap();
        let whole = std::fs::read(&file).unwrap();
        for length in 0..whole.len() {
            assert!(Lookup::parse(whole[..length].to_vec()).is_none(), "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(Lookup::parse(damaged).is_none(), "bit flipped at {at}");
        }
    }
}
