//! The digest of a folder or file as rsync sees it: names, kinds, modes, sizes, times. Knows nothing of contents.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::RemoteError;
use crate::model::digest::Hasher;

/// What identifies the state of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TreeState {
    /// Of what rsync compares: names, kinds, modes, sizes, times, links.
    seen: String,
    /// Of what tells that something was changed even so: inode and time of the last change of status.
    hidden: String,
    /// Files and links.
    pub(super) count: u64,
    /// Each of them and each folder, sorted by name.
    entries: Vec<Entry>,
}

/// One file, link or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: Vec<u8>,
    /// Of all that is seen and hidden of it.
    stamp: String,
    /// It has other names, which must stay links to it.
    is_linked: bool,
}

impl TreeState {
    /// Reads a folder or a file. `salt` is what else decides about the copy: filters and options.
    pub(super) fn read(root: &Path, salt: &str) -> Result<Self, RemoteError> {
        let mut reading = Reading { seen: Hasher::new(), hidden: Hasher::new(), count: 0, entries: Vec::new() };
        reading.seen.field(salt);
        if root.is_file() {
            let meta = fs::metadata(root).map_err(|cause| unreadable(root, &cause))?;
            reading.entry(Path::new(""), root, &meta);
            return Ok(reading.finish());
        }
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let path = root.join(&folder);
            let entries = fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let mut entries = entries.map_err(|cause| unreadable(&path, &cause))?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let name = folder.join(entry.file_name());
                match entry.metadata() {
                    Ok(meta) => reading.entry(&name, &entry.path(), &meta),
                    // It vanished while we read: whatever the digest says, it is not that of a quiet folder.
                    Err(_) => {
                        reading.seen.field("gone");
                    }
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(name);
                }
            }
        }
        Ok(reading.finish())
    }

    /// As it is noted on a host.
    pub(super) fn note(&self) -> String {
        format!("{} {} {}", self.seen, self.hidden, self.count)
    }

    /// All of it, to be compared with later: the note, then names and stamps.
    pub(super) fn listing(&self) -> Vec<u8> {
        let mut text = self.note().into_bytes();
        for entry in &self.entries {
            text.push(0);
            text.extend(&entry.name);
            text.push(0);
            text.extend(entry.stamp.as_bytes());
        }
        text
    }

    /// The names of what is new or different since the state that `listing` is of, which must be that of `note`. `None`
    /// where names alone do not tell it: something is gone, has other names, or the listing is of another state.
    pub(super) fn changed_since(&self, listing: &[u8], note: &str) -> Option<Vec<&[u8]>> {
        let mut words = listing.split(|byte| *byte == 0);
        if words.next() != Some(note.as_bytes()) {
            return None;
        }
        let mut before = std::collections::HashMap::new();
        while let (Some(name), Some(stamp)) = (words.next(), words.next()) {
            before.insert(name, stamp);
        }
        let mut changed = Vec::new();
        for entry in &self.entries {
            if before.remove(&*entry.name) != Some(entry.stamp.as_bytes()) {
                if entry.is_linked {
                    return None;
                }
                changed.push(&*entry.name);
            }
        }
        before.is_empty().then_some(changed)
    }

    /// Whether something was replaced without a trace that rsync would notice, since `note` was written.
    pub(super) fn is_disguised(&self, note: &str) -> bool {
        let mut words = note.split(' ');
        words.next() == Some(&self.seen) && words.next() != Some(&self.hidden)
    }

    /// Whether more than half of what the note counts is gone: rather a mistake than a wish.
    pub(super) fn has_collapsed(&self, note: &str) -> bool {
        let before = note.split(' ').nth(2).and_then(|count| count.parse::<u64>().ok());
        before.is_some_and(|before| before >= 10 && self.count * 2 < before)
    }
}

struct Reading {
    seen: Hasher,
    hidden: Hasher,
    count: u64,
    entries: Vec<Entry>,
}

impl Reading {
    fn entry(&mut self, name: &Path, path: &Path, meta: &fs::Metadata) {
        let size = if meta.is_dir() { 0 } else { meta.size() };
        let time = if meta.is_symlink() { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) };
        self.seen.field(name.as_os_str().as_bytes());
        let seen = format!("{:o} {size} {}.{} {} {}", meta.mode(), time.0, time.1, meta.uid(), meta.gid());
        self.seen.field(&seen);
        if meta.is_symlink() {
            self.seen.field(fs::read_link(path).unwrap_or_default().as_os_str().as_bytes());
        }
        let hidden = format!("{} {} {}", meta.ino(), meta.ctime(), meta.ctime_nsec());
        self.hidden.field(&hidden);
        // A folder has many names by its nature.
        let is_linked = !meta.is_dir() && meta.nlink() > 1;
        let name = name.as_os_str().as_bytes().to_vec();
        self.entries.push(Entry { name, stamp: format!("{seen} {hidden}"), is_linked });
        self.count += u64::from(!meta.is_dir());
    }

    fn finish(mut self) -> TreeState {
        self.entries.sort_by(|one, other| one.name.cmp(&other.name));
        let (seen, hidden) = (self.seen.finish().hex(), self.hidden.finish().hex());
        TreeState { seen, hidden, count: self.count, entries: self.entries }
    }
}

fn unreadable(path: &Path, cause: &io::Error) -> RemoteError {
    RemoteError::Unreadable { path: path.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_with_the_same_size_and_time_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/f");
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(&file, "one").unwrap();
        let before = TreeState::read(dir.path(), "").unwrap();
        assert_eq!(TreeState::read(dir.path(), "").unwrap(), before);
        assert_ne!(TreeState::read(dir.path(), "x").unwrap().seen, before.seen);
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "two").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        let after = TreeState::read(dir.path(), "").unwrap();
        assert!(after.is_disguised(&before.note()), "{after:?} {before:?}");
        assert!(!before.is_disguised(&before.note()));
    }

    #[test]
    fn what_changed_is_known_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(dir.path().join(name), name).unwrap();
        for name in ["one", "two"] {
            write(name);
        }
        let read = || TreeState::read(dir.path(), "").unwrap();
        let (listing, note) = (read().listing(), read().note());
        assert_eq!(read().changed_since(&listing, &note), Some(vec![]));
        assert_eq!(read().changed_since(&listing, "another"), None);
        fs::create_dir(dir.path().join("d")).unwrap();
        for name in ["d/new", "two"] {
            write(name);
        }
        let names: [&[u8]; 3] = [b"d", b"d/new", b"two"];
        assert_eq!(read().changed_since(&listing, &note), Some(names.to_vec()));
        fs::hard_link(dir.path().join("two"), dir.path().join("three")).unwrap();
        assert_eq!(read().changed_since(&listing, &note), None, "links");
        fs::remove_file(dir.path().join("three")).unwrap();
        fs::remove_file(dir.path().join("one")).unwrap();
        assert_eq!(read().changed_since(&listing, &note), None, "gone");
    }

    #[test]
    fn half_a_tree_is_a_collapse() {
        let state = |count| TreeState { seen: "a".into(), hidden: "b".into(), count, entries: Vec::new() };
        assert!(state(4).has_collapsed("x y 10"));
        assert!(!state(5).has_collapsed("x y 10"));
        assert!(!state(1).has_collapsed("x y 3"));
        assert!(!state(1).has_collapsed(""));
    }
}
