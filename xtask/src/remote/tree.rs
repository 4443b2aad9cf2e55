//! The digest of a folder as rsync sees it: names, kinds, modes, sizes, times. Knows nothing of contents.

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
}

impl TreeState {
    /// Reads a folder. `salt` is what else decides about the copy: filters and options.
    pub(super) fn read(root: &Path, salt: &str) -> Result<Self, RemoteError> {
        let (mut seen, mut hidden, mut count) = (Hasher::new(), Hasher::new(), 0);
        seen.field(salt);
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let path = root.join(&folder);
            let unreadable =
                |cause: io::Error| RemoteError::Unreadable { path: path.clone(), cause: cause.to_string() };
            let mut names: Vec<_> =
                fs::read_dir(&path).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
            names.sort_by_key(|entry| entry.file_name());
            for entry in names {
                let Ok(meta) = entry.metadata() else {
                    // It vanished while we read: whatever the digest says, it is not that of a quiet folder.
                    seen.field("gone");
                    continue;
                };
                let name = folder.join(entry.file_name());
                let size = if meta.is_dir() { 0 } else { meta.size() };
                let time = if meta.is_symlink() { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) };
                seen.field(name.as_os_str().as_bytes());
                seen.field(format!("{:o} {size} {}.{} {} {}", meta.mode(), time.0, time.1, meta.uid(), meta.gid()));
                if meta.is_symlink() {
                    seen.field(fs::read_link(entry.path()).unwrap_or_default().as_os_str().as_bytes());
                }
                hidden.field(format!("{} {} {}", meta.ino(), meta.ctime(), meta.ctime_nsec()));
                if meta.is_dir() {
                    folders.push(name);
                } else {
                    count += 1;
                }
            }
        }
        Ok(Self { seen: seen.finish().hex(), hidden: hidden.finish().hex(), count })
    }

    /// As it is noted on a host.
    pub(super) fn note(&self) -> String {
        format!("{} {} {}", self.seen, self.hidden, self.count)
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
    fn half_a_tree_is_a_collapse() {
        let state = |count| TreeState { seen: "a".into(), hidden: "b".into(), count };
        assert!(state(4).has_collapsed("x y 10"));
        assert!(!state(5).has_collapsed("x y 10"));
        assert!(!state(1).has_collapsed("x y 3"));
        assert!(!state(1).has_collapsed(""));
    }
}
