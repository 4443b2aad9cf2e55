//! The stat cache on disk: one flat file, written whole, read whole. An accelerator: any doubt makes it empty.
//!
//! Not in the database, because a run of nothing must read a hundred thousand entries in a few milliseconds.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use super::files::StatTuple;
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

const MAGIC: &[u8; 8] = b"xtfiles1";
/// size, mtime, ctime, inode, hashed: 8 bytes each; mode and length of the path: 4 each; digest.
const FIXED: usize = 5 * 8 + 2 * 4 + 32;

/// Reads the cache; an absent, foreign or damaged file counts as empty.
pub(super) fn read(file: &Path) -> HashMap<RepoPath, Cached> {
    std::fs::read(file).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default()
}

fn parse(bytes: &[u8]) -> Option<HashMap<RepoPath, Cached>> {
    let (magic, rest) = bytes.split_at_checked(8)?;
    let (digest, body) = rest.split_at_checked(32)?;
    if magic != MAGIC || Digest::of(body).0 != digest {
        return None;
    }
    let (count, mut body) = body.split_at_checked(8)?;
    let count = u64::from_le_bytes(count.try_into().ok()?) as usize;
    let mut entries = HashMap::with_capacity(count.min(body.len() / FIXED));
    while !body.is_empty() {
        let (fixed, rest) = body.split_at_checked(FIXED)?;
        let number = |at: usize| fixed[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let word = |at: usize| fixed[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        let stat = StatTuple {
            size: number(0)?,
            mtime_ns: number(8)? as i64,
            ctime_ns: number(16)? as i64,
            inode: number(24)?,
            mode: word(40)?,
        };
        let digest = Digest(fixed[48..80].try_into().ok()?);
        let (path, rest) = rest.split_at_checked(word(44)? as usize)?;
        entries.insert(RepoPath::from_root(path)?, Cached { stat, digest, hashed_ns: number(32)? as i64 });
        body = rest;
    }
    Some(entries)
}

/// Writes the cache under a temporary name and renames it.
pub(super) fn write(file: &Path, entries: &HashMap<RepoPath, Cached>) -> io::Result<()> {
    let mut body = Vec::with_capacity(entries.len() * (FIXED + 32) + 8);
    body.extend((entries.len() as u64).to_le_bytes());
    for (path, cached) in entries {
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
    temporary.write_all(&Digest::of(&body).0)?;
    temporary.write_all(&body)?;
    temporary.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> HashMap<RepoPath, Cached> {
        let stat = StatTuple { size: 3, mtime_ns: -5, ctime_ns: 7, inode: 9, mode: 0o100_644 };
        let cached = Cached { stat, digest: Digest::of(b"x"), hashed_ns: 11 };
        [("a/b", cached), ("\u{e4}", cached)].map(|(path, c)| (RepoPath::from_root(path).unwrap(), c)).into()
    }

    #[test]
    fn written_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("files.bin");
        write(&file, &entries()).unwrap();
        assert_eq!(read(&file), entries());
    }

    #[test]
    fn any_damage_makes_it_empty() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("files.bin");
        write(&file, &entries()).unwrap();
        let whole = std::fs::read(&file).unwrap();
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_none_or(|entries| entries.is_empty()), "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(parse(&damaged).is_none(), "bit flipped at {at}");
        }
    }
}
