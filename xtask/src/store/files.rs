//! What each file is now: its stat and the digest of its content, asked for in parallel and remembered.
//!
//! Knows nothing of tasks. A digest is taken from the stat cache only if size, mtime, ctime, inode and mode are
//! equal and the file was not touched shortly before it was hashed (git's racy rule).

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::hashing::{hash_file, hash_link};
use super::reading::READING;
use super::statcache::{self, Cached, Lookup};
use crate::model::digest::Hasher;
use crate::model::{Digest, RepoPath, StopToken};
use crate::profile::{self, Part};

/// What the system says about a file without reading it. Compared for equality only, never with "newer than".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct StatTuple {
    pub size: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub inode: u64,
    /// Type and permission bits.
    pub mode: u32,
}

/// A file as it was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    Missing,
    File {
        stat: StatTuple,
        digest: Digest,
    },
    /// Itself, not what it points to; `digest` covers its text and, if it points to a file, that file's content.
    Symlink {
        stat: StatTuple,
        digest: Digest,
    },
    Directory {
        stat: StatTuple,
    },
    /// A pipe, socket or device: never opened.
    Special,
    /// It is there but cannot be read.
    Unreadable(Arc<str>),
}

impl FileState {
    /// The value in a fingerprint: content and executable bit, or link. `None` where there is nothing to compare.
    pub fn signature(&self) -> Option<Digest> {
        match self {
            Self::File { stat, digest } if stat.mode & 0o100 == 0 => Some(*digest),
            Self::File { digest, .. } => Some(tagged(b"executable", digest)),
            Self::Symlink { digest, .. } => Some(tagged(b"link", digest)),
            Self::Directory { .. } => Some(Digest::of(b"directory")),
            Self::Missing | Self::Special | Self::Unreadable(_) => None,
        }
    }

    pub fn stat(&self) -> Option<StatTuple> {
        match self {
            Self::File { stat, .. } | Self::Symlink { stat, .. } | Self::Directory { stat } => Some(*stat),
            Self::Missing | Self::Special | Self::Unreadable(_) => None,
        }
    }

    pub fn exists(&self) -> bool {
        !matches!(self, Self::Missing)
    }
}

fn tagged(tag: &[u8], digest: &Digest) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(tag).field(digest.0);
    hasher.finish()
}

/// What is known of one path.
struct Known {
    /// When it was last looked at.
    epoch: u32,
    /// Since when it is as it is.
    since: u32,
    state: FileState,
    /// Whether an equal stat will prove equal content.
    trusted: bool,
}

/// By path. Paths come from this repository and from nobody who would choose them to collide, so a fast hash will do.
pub(super) type PathMap<V> = HashMap<RepoPath, V, foldhash::fast::RandomState>;

/// A path as it was last observed.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub state: &'a FileState,
    /// The epoch in which it was first seen like this.
    pub since: u32,
    /// Whether an equal stat will prove equal content.
    pub trusted: bool,
}

/// With more entries than these beside it, the stat cache is written whole again.
const FEW: usize = 4000;

/// Fewer than these are looked at one after the other: that is done before other threads have begun.
const FEW_AT_ONCE: usize = 16;

/// All files that were asked for, each observed at most once per epoch.
pub struct Files {
    root: PathBuf,
    root_fd: Arc<OwnedFd>,
    known: PathMap<Known>,
    cache: PathMap<Cached>,
    /// Entries that are not in `cache`, where only few of them are wanted.
    more: Option<Lookup>,
    is_for_few: bool,
    cache_file: PathBuf,
    cache_is_dirty: bool,
    epoch: u32,
    stop: StopToken,
}

impl Files {
    /// Opens the root and reads the stat cache (an unusable one counts as empty).
    pub fn open(root: &Path) -> io::Result<Self> {
        Self::open_named(root, "files.bin")
    }

    /// The same with a stat cache of another name: several may be kept.
    pub fn open_named(root: &Path, cache: &str) -> io::Result<Self> {
        let cache_file = root.join(super::STATE_DIR).join(cache);
        let mut cache = statcache::read(&cache_file);
        cache.extend(statcache::read(&added_to(&cache_file)));
        Self::with(root, cache, None, cache_file)
    }

    /// The same for a look at few files: what it adds to the stat cache is written beside it.
    pub fn open_for_few(root: &Path) -> io::Result<Self> {
        let cache_file = root.join(super::STATE_DIR).join("files.bin");
        let more = Lookup::open(&cache_file);
        let files = Self::with(root, statcache::read(&added_to(&cache_file)), more, cache_file)?;
        Ok(Self { is_for_few: true, ..files })
    }

    fn with(root: &Path, cache: PathMap<Cached>, more: Option<Lookup>, cache_file: PathBuf) -> io::Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            root_fd: Arc::new(open_root(root)?),
            known: PathMap::default(),
            cache,
            more,
            is_for_few: false,
            cache_file,
            cache_is_dirty: false,
            epoch: 0,
            stop: StopToken::new(),
        })
    }

    /// From now on a request to stop ends the reading of a file; that file counts as unreadable.
    pub fn stop_with(&mut self, stop: &StopToken) {
        self.stop = stop.clone();
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The root, open for [`stat_at`] and [`look_afresh`].
    pub fn root_fd(&self) -> &Arc<OwnedFd> {
        &self.root_fd
    }

    /// Forgets what was observed (not what was hashed): something has run since.
    pub fn next_epoch(&mut self) {
        self.epoch += 1;
    }

    /// Observes these paths now, unless they were in this epoch. In parallel; hashes only what the cache does not know.
    pub fn observe<'a>(&mut self, paths: impl IntoIterator<Item = &'a RepoPath>) {
        let mut stale: Vec<&RepoPath> = paths
            .into_iter()
            .filter(|path| self.known.get(*path).is_none_or(|known| known.epoch != self.epoch))
            .collect();
        if stale.is_empty() {
            return;
        }
        let _watch = profile::enter(Part::Stat);
        // Not after it: a large file may change while it is read, within the tick of its last change before.
        let before_ns = now_ns();
        if stale.len() < FEW_AT_ONCE {
            for path in stale {
                let state = look(&self.root_fd, path, self.proven(path), &self.stop);
                self.keep(path, state, before_ns);
            }
            return;
        }
        stale.par_sort_unstable();
        stale.dedup();
        let this = &*self;
        let crowd = READING.crowd(stale.len());
        let look_at = |path: &&RepoPath| {
            let state = look(&this.root_fd, path, this.proven(path), &this.stop);
            crowd.looked();
            state
        };
        let observed: Vec<FileState> = stale.par_iter().with_min_len(4).map(look_at).collect();
        drop(crowd);
        self.known.reserve(stale.len());
        for (path, state) in stale.into_iter().zip(observed) {
            self.keep(path, state, before_ns);
        }
    }

    fn cached(&self, path: &RepoPath) -> Option<Cached> {
        self.cache.get(path).copied().or_else(|| self.more.as_ref()?.find(path))
    }

    /// The stat that proves a content, if there is one, with the digest of that.
    fn proven(&self, path: &RepoPath) -> Option<(StatTuple, Digest)> {
        if let Some(Known { trusted: true, state: FileState::File { stat, digest }, .. }) = self.known.get(path) {
            return Some((*stat, *digest));
        }
        self.cached(path).filter(Cached::trusted).map(|cached| (cached.stat, cached.digest))
    }

    fn keep(&mut self, path: &RepoPath, state: FileState, before_ns: i64) {
        let epoch = self.epoch;
        if let Some(known) = self.known.get_mut(path).filter(|known| known.trusted && known.state == state) {
            known.epoch = epoch;
            return;
        }
        let trusted = self.remember(path, &state, before_ns);
        match self.known.get_mut(path) {
            Some(known) => {
                if known.state != state {
                    (known.since, known.state) = (epoch, state);
                }
                (known.epoch, known.trusted) = (epoch, trusted);
            }
            None => {
                self.known.insert(path.clone(), Known { epoch, since: epoch, state, trusted });
            }
        }
    }

    /// Takes over what a worker observed at some time during a task: its stat alone will not prove it.
    pub fn learn(&mut self, path: &RepoPath, state: FileState) {
        self.keep(path, state, 0);
    }

    /// The number of the time in which nothing is looked at twice; see [`Self::next_epoch`].
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What was last seen of a path, and since when it is like that.
    pub fn standing(&self, path: &RepoPath) -> Option<Standing<'_>> {
        let known = self.known.get(path)?;
        Some(Standing { state: &known.state, since: known.since, trusted: known.trusted })
    }

    /// The state of one path, observed in this epoch (now, if it was not).
    pub fn get(&mut self, path: &RepoPath) -> FileState {
        self.observe([path]);
        self.known.get(path).map_or(FileState::Missing, |known| known.state.clone())
    }

    /// Like [`Self::get`] for a path that was observed before; `Missing` otherwise.
    pub fn peek(&self, path: &RepoPath) -> &FileState {
        self.known.get(path).map_or(&FileState::Missing, |known| &known.state)
    }

    /// Whether files were ever asked for below this path.
    pub fn knows_below(&self, dir: &RepoPath) -> bool {
        self.known.keys().any(|path| path != dir && path.is_within(dir))
    }

    /// Puts a file into the stat cache. Whether an equal stat will prove equal content.
    fn remember(&mut self, path: &RepoPath, state: &FileState, before_ns: i64) -> bool {
        let FileState::File { stat, digest } = state else { return false };
        if self.cached(path).is_some_and(|cached| cached.stat == *stat && cached.digest == *digest && cached.trusted())
        {
            return true;
        }
        let cached = Cached { stat: *stat, digest: *digest, hashed_ns: before_ns };
        self.cache.insert(path.clone(), cached);
        self.cache_is_dirty = true;
        cached.trusted()
    }

    /// Writes the stat cache if it has changed. A failure costs hashing, so it is not an error.
    pub fn save(&mut self) {
        if !self.cache_is_dirty {
            return;
        }
        let added = added_to(&self.cache_file);
        if self.is_for_few && self.cache.len() <= FEW {
            self.cache_is_dirty = statcache::write(&added, &self.cache).is_err();
            return;
        }
        let mut all = if self.is_for_few { statcache::read(&self.cache_file) } else { PathMap::default() };
        all.extend(std::mem::take(&mut self.cache));
        self.more = None;
        self.cache = all;
        if statcache::write(&self.cache_file, &self.cache).is_ok() {
            (self.cache_is_dirty, self.is_for_few) = (false, false);
            // What is left of it is at worst older than what is in the file.
            let _ = std::fs::remove_file(added);
        }
    }
}

/// What was added to a stat cache since it was written whole.
fn added_to(cache_file: &Path) -> PathBuf {
    cache_file.with_extension("new")
}

/// Nanoseconds since 1970 by the system's clock.
pub(super) fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

/// Opens the root for [`super::sight::Sight::holds`].
///
/// # Errors
/// It is not there.
pub fn open_root(root: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The stat of one path below `root` now; `None` if it is not there.
pub fn stat_now(root: &Path, path: &RepoPath) -> Option<StatTuple> {
    rustix::fs::lstat(root.join(path.as_path())).ok().map(|stat| tuple(&stat))
}

/// The stat of one path below an open directory now; `None` if it is not there.
pub fn stat_at(root: &OwnedFd, path: &RepoPath) -> Option<StatTuple> {
    stat_below(root, path.as_bytes()).ok().flatten()
}

/// The stat of one path below an open directory; `None` if it is not there.
pub(super) fn stat_below(root: &OwnedFd, path: &[u8]) -> io::Result<Option<StatTuple>> {
    let name = if path.is_empty() { &b"."[..] } else { path };
    match rustix::fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(tuple(&stat))),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Observes one path below an open directory now, without any memory.
pub fn look_afresh(root: &OwnedFd, path: &RepoPath) -> FileState {
    look(root, path, None, &StopToken::new())
}

fn look(root: &OwnedFd, path: &RepoPath, proven: Option<(StatTuple, Digest)>, stop: &StopToken) -> FileState {
    let name = if path.as_bytes().is_empty() { Path::new(".") } else { path.as_path() };
    let stat = match rustix::fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return FileState::Missing,
        Err(error) => return FileState::Unreadable(error.to_string().into()),
    };
    let seen = tuple(&stat);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => match proven.filter(|(stat, _)| *stat == seen) {
            Some((stat, digest)) => FileState::File { stat, digest },
            None => hash_file(root, name, seen, stop),
        },
        FileType::Directory => FileState::Directory { stat: seen },
        FileType::Symlink => hash_link(root, name, seen, stop),
        _ => FileState::Special,
    }
}

pub(super) fn tuple(stat: &Stat) -> StatTuple {
    let ns = |seconds: i64, part: i64| seconds.saturating_mul(1_000_000_000).saturating_add(part);
    StatTuple {
        size: stat.st_size as u64,
        mtime_ns: ns(stat.st_mtime, stat.st_mtime_nsec as i64),
        ctime_ns: ns(stat.st_ctime, stat.st_ctime_nsec as i64),
        inode: stat.st_ino,
        mode: stat.st_mode,
    }
}

/// Whether the path leads to something, links followed: what "exists" means for a target.
pub fn exists(root: &Path, path: &RepoPath) -> bool {
    rustix::fs::stat(root.join(path.as_path())).is_ok()
}

/// The path as bytes of the system: for names that come from a directory listing.
pub(super) fn bytes(name: &std::ffi::OsStr) -> &[u8] {
    name.as_bytes()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn observe_now(root: &Path, path: &RepoPath) -> FileState {
        look_afresh(&open_root(root).unwrap(), path)
    }

    fn path(text: &str) -> RepoPath {
        RepoPath::from_root(text).unwrap()
    }

    #[test]
    fn content_and_executable_bit_count_times_do_not() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        let before = observe_now(dir.path(), &path("a")).signature();
        let file = File::options().write(true).open(dir.path().join("a")).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
        assert_eq!(observe_now(dir.path(), &path("a")).signature(), before);
        std::fs::set_permissions(dir.path().join("a"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(observe_now(dir.path(), &path("a")).signature(), before);
    }

    #[test]
    fn a_restored_mtime_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "one").unwrap();
        let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
        let mut files = Files::open(dir.path()).unwrap();
        let before = files.get(&path("a"));
        std::fs::write(&file, "two").unwrap();
        File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
        files.next_epoch();
        assert_ne!(files.get(&path("a")).signature(), before.signature());
    }

    #[test]
    fn links_count_by_text_and_content_and_pipes_are_never_opened() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("l")).unwrap();
        let before = observe_now(dir.path(), &path("l")).signature();
        std::fs::write(dir.path().join("a"), "2").unwrap();
        assert_ne!(observe_now(dir.path(), &path("l")).signature(), before);
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("p"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(observe_now(dir.path(), &path("p")), FileState::Special);
        assert_eq!(observe_now(dir.path(), &path("nothing/here")), FileState::Missing);
    }
}
