//! Directories that get no watch are looked at again and again instead. Knows only how to compare two looks.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What one look at a directory remembers of an entry; any difference is a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    mode: u32,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The entries of a directory at one moment; empty where it cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(BTreeMap<OsString, Stamp>);

impl Listing {
    /// Looks. Of a subdirectory only its identity counts: its own listing tells what happens in it.
    pub fn read(dir: &Path) -> Self {
        let Ok(entries) = fs::read_dir(dir) else { return Self::default() };
        let stamp = |entry: fs::DirEntry| {
            let meta = entry.metadata().ok()?;
            let (size, modified, changed) = if meta.is_dir() {
                (0, (0, 0), (0, 0))
            } else {
                (meta.size(), (meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()))
            };
            Some((entry.file_name(), Stamp { inode: meta.ino(), mode: meta.mode(), size, modified, changed }))
        };
        Self(entries.flatten().filter_map(stamp).collect())
    }

    /// Names that are new, gone or different.
    pub fn differences(&self, later: &Self) -> Vec<OsString> {
        let gone = self.0.keys().filter(|name| !later.0.contains_key(*name));
        let changed = later.0.iter().filter(|(name, stamp)| self.0.get(*name) != Some(stamp)).map(|(name, _)| name);
        gone.chain(changed).cloned().collect()
    }
}

/// Whether the file system of `path` tells nobody what others do to it: network and guest file systems, FUSE.
pub fn is_silent(path: &Path) -> bool {
    // NFS, SMB, CIFS, SMB2, 9p (WSL mounts, virtual machines), FUSE, VirtualBox.
    const SILENT: [u32; 7] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546, 0x786f_4256];
    rustix::fs::statfs(path).is_ok_and(|stat| SILENT.contains(&(stat.f_type as u32)))
}
