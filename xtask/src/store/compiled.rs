//! Tasks as they were read, one by one, in a flat file of which only those are read that are wanted. Knows nothing of
//! what a task is: it keeps what it is given under an index.
//!
//! An accelerator: it is bound to a digest of everything that the reading of tasks depends on, every piece has a checksum
//! that names its index and that digest, and any doubt makes it absent.
//!
//! Little-endian: magic, digest of what it is bound to, digest of the table, number of rows, then the table (offset: 8
//! bytes, length: 4, checksum: 8), then the pieces in postcard. The first piece is about no task.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::Digest;
use crate::model::digest::Hasher;

const MAGIC: &[u8; 8] = b"xttask01";
const HEAD: usize = 8 + 32 + 32 + 4;
const ROW: usize = 8 + 4 + 8;

/// The file, open.
pub struct Compiled {
    file: File,
    bound_to: Digest,
    table: Vec<u8>,
}

impl Compiled {
    /// Opens it; `None` where it is absent, damaged, or bound to something else.
    pub fn open(file: &Path, bound_to: Digest) -> Option<Self> {
        let file = File::open(file).ok()?;
        let rows = rows(&file, bound_to)?;
        let length = file.metadata().ok()?.len();
        let size = rows.checked_mul(ROW).filter(|size| *size as u64 <= length)?;
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).ok()?;
        let mut table = vec![0; size];
        file.read_exact_at(&mut table, HEAD as u64).ok()?;
        (head[40..72] == Digest::of(&table).0).then_some(Self { file, bound_to, table })
    }

    /// Whether the file is there and bound to this, without a look at what it holds.
    pub fn is_bound(file: &Path, bound_to: Digest) -> bool {
        File::open(file).ok().and_then(|file| rows(&file, bound_to)).is_some()
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        (self.table.len() / ROW).saturating_sub(1)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is about no task.
    pub fn common<T: DeserializeOwned>(&self) -> Option<T> {
        self.piece(0)
    }

    /// The task with this index.
    pub fn task<T: DeserializeOwned>(&self, index: usize) -> Option<T> {
        self.piece(index + 1)
    }

    fn piece<T: DeserializeOwned>(&self, row: usize) -> Option<T> {
        let entry = self.table.get(row * ROW..)?.get(..ROW)?;
        let offset = u64::from_le_bytes(entry[..8].try_into().ok()?);
        let length = u32::from_le_bytes(entry[8..12].try_into().ok()?) as usize;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        (entry[12..] == checksum(self.bound_to, row, &bytes)).then_some(())?;
        postcard::from_bytes(&bytes).ok()
    }
}

/// The number of rows, if the file is of this format and bound to this.
fn rows(file: &File, bound_to: Digest) -> Option<usize> {
    let mut head = [0; HEAD];
    file.read_exact_at(&mut head, 0).ok()?;
    let rows = u32::from_le_bytes(head[72..].try_into().ok()?) as usize;
    (head[..8] == *MAGIC && head[8..40] == bound_to.0).then_some(rows)
}

fn checksum(bound_to: Digest, row: usize, bytes: &[u8]) -> [u8; 8] {
    let mut hasher = Hasher::new();
    hasher.field(bound_to.0).field((row as u64).to_le_bytes()).field(bytes);
    let mut sum = [0; 8];
    sum.copy_from_slice(&hasher.finish().0[..8]);
    sum
}

/// Puts a file together, task by task in their order.
pub struct CompiledWriter {
    bound_to: Digest,
    table: Vec<u8>,
    pieces: Vec<u8>,
    tasks: usize,
    rows: u32,
}

impl CompiledWriter {
    /// Begins with what is about no task. `tasks` is how many will follow.
    pub fn new<T: Serialize>(bound_to: Digest, common: &T, tasks: usize) -> Option<Self> {
        let (table, pieces) = (Vec::with_capacity((tasks + 1) * ROW), Vec::with_capacity(tasks * 512));
        let mut writer = Self { bound_to, table, pieces, tasks, rows: 0 };
        writer.task(common)?;
        Some(writer)
    }

    /// Adds the next task; `None` if it cannot be kept.
    pub fn task<T: Serialize>(&mut self, value: &T) -> Option<()> {
        let start = self.pieces.len();
        self.pieces = postcard::to_extend(value, std::mem::take(&mut self.pieces)).ok()?;
        let piece = &self.pieces[start..];
        let offset = HEAD + (self.tasks + 1) * ROW + start;
        self.table.extend((offset as u64).to_le_bytes());
        self.table.extend(u32::try_from(piece.len()).ok()?.to_le_bytes());
        self.table.extend(checksum(self.bound_to, self.rows as usize, piece));
        self.rows += 1;
        Some(())
    }

    /// Writes everything under a temporary name and renames it.
    ///
    /// # Errors
    /// The folder cannot be written, or there were not as many tasks as was said. The caller may go on: without the file,
    /// tasks.yaml is read.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        if self.rows as usize != self.tasks + 1 {
            return Err(io::Error::other("not as many tasks as was said"));
        }
        let dir = file.parent().unwrap_or(Path::new("."));
        let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
        temporary.write_all(MAGIC)?;
        temporary.write_all(&self.bound_to.0)?;
        temporary.write_all(&Digest::of(&self.table).0)?;
        temporary.write_all(&self.rows.to_le_bytes())?;
        temporary.write_all(&self.table)?;
        temporary.write_all(&self.pieces)?;
        super::put_in_place(temporary, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dir: &Path) -> std::path::PathBuf {
        let file = dir.join("tasks.bin");
        let names = ["a", "bc", "d"];
        let mut writer = CompiledWriter::new(Digest::of(b"key"), &"common".to_owned(), names.len()).unwrap();
        for name in &names {
            writer.task(name).unwrap();
        }
        writer.write(&file).unwrap();
        file
    }

    #[test]
    fn each_task_is_read_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = written(dir.path());
        let compiled = Compiled::open(&file, Digest::of(b"key")).unwrap();
        assert_eq!(compiled.len(), 3);
        assert_eq!(compiled.common::<String>().unwrap(), "common");
        let read = |index| compiled.task::<String>(index);
        assert_eq!([read(0), read(1), read(2), read(3)].map(Option::unwrap_or_default), ["a", "bc", "d", ""]);
        assert!(Compiled::open(&file, Digest::of(b"other")).is_none());
        assert!(Compiled::is_bound(&file, Digest::of(b"key")) && !Compiled::is_bound(&file, Digest::of(b"other")));
    }

    #[test]
    fn no_damage_makes_another_task() {
        let dir = tempfile::tempdir().unwrap();
        let file = written(dir.path());
        let whole = std::fs::read(&file).unwrap();
        let good = ["common", "a", "bc", "d"];
        let check = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            let Some(compiled) = Compiled::open(&file, Digest::of(b"key")) else { return };
            let read = |row: usize| compiled.piece::<String>(row);
            assert!((0..4).all(|row| read(row).is_none_or(|text| text == good[row])));
        };
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            check(&damaged);
            check(&whole[..at]);
        }
    }
}
