//! What each file is now: its stat and the digest of its content, asked for in parallel and remembered.
//!
//! Knows nothing of tasks. A digest is taken from the stat cache only if size, mtime, ctime, inode and mode are
//! equal and the file was not touched shortly before it was hashed (git's racy rule).

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use sha2::{Digest as _, Sha256};

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
}

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

/// All files that were asked for, each observed at most once per epoch.
pub struct Files {
    root: PathBuf,
    root_fd: OwnedFd,
    known: HashMap<RepoPath, Known>,
    cache: HashMap<RepoPath, Cached>,
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

    fn with(
        root: &Path,
        cache: HashMap<RepoPath, Cached>,
        more: Option<Lookup>,
        cache_file: PathBuf,
    ) -> io::Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            root_fd: open_root(root)?,
            known: HashMap::new(),
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
        stale.sort_unstable();
        stale.dedup();
        // Not after it: a large file may change while it is read, within the tick of its last change before.
        let before_ns = now_ns();
        let observed: Vec<FileState> = if stale.len() < 16 {
            stale.iter().map(|path| look(&self.root_fd, path, self.cached(path).as_ref(), &self.stop)).collect()
        } else {
            let this = &*self;
            let look_at = |path: &&RepoPath| look(&this.root_fd, path, this.cached(path).as_ref(), &this.stop);
            stale.par_iter().with_min_len(4).map(look_at).collect()
        };
        for (path, state) in stale.into_iter().zip(observed) {
            self.keep(path, state, before_ns);
        }
    }

    fn cached(&self, path: &RepoPath) -> Option<Cached> {
        self.cache.get(path).copied().or_else(|| self.more.as_ref()?.find(path))
    }

    fn keep(&mut self, path: &RepoPath, state: FileState, before_ns: i64) {
        self.remember(path, &state, before_ns);
        let epoch = self.epoch;
        match self.known.get_mut(path) {
            Some(known) => {
                if known.state != state {
                    (known.since, known.state) = (epoch, state);
                }
                known.epoch = epoch;
            }
            None => {
                self.known.insert(path.clone(), Known { epoch, since: epoch, state });
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
        let trusted = match &known.state {
            FileState::File { stat, digest } => self
                .cached(path)
                .is_some_and(|cached| cached.stat == *stat && cached.digest == *digest && cached.trusted()),
            _ => false,
        };
        Some(Standing { state: &known.state, since: known.since, trusted })
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

    fn remember(&mut self, path: &RepoPath, state: &FileState, before_ns: i64) {
        let FileState::File { stat, digest } = state else { return };
        if self.cached(path).is_some_and(|cached| cached.stat == *stat && cached.digest == *digest && cached.trusted())
        {
            return;
        }
        self.cache.insert(path.clone(), Cached { stat: *stat, digest: *digest, hashed_ns: before_ns });
        self.cache_is_dirty = true;
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
        let mut all = if self.is_for_few { statcache::read(&self.cache_file) } else { HashMap::new() };
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

/// Observes one path below `root` now, without any memory: for workers, right after an action.
pub fn observe_now(root: &Path, path: &RepoPath) -> FileState {
    match open_root(root) {
        Ok(fd) => look(&fd, path, None, &StopToken::new()),
        Err(error) => FileState::Unreadable(error.to_string().into()),
    }
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
pub(super) fn look_afresh(root: &OwnedFd, path: &RepoPath) -> FileState {
    look(root, path, None, &StopToken::new())
}

fn look(root: &OwnedFd, path: &RepoPath, cached: Option<&Cached>, stop: &StopToken) -> FileState {
    let name = if path.as_bytes().is_empty() { Path::new(".") } else { path.as_path() };
    let stat = match rustix::fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return FileState::Missing,
        Err(error) => return FileState::Unreadable(error.to_string().into()),
    };
    let seen = tuple(&stat);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => match cached.filter(|cached| cached.stat == seen && cached.trusted()) {
            Some(cached) => FileState::File { stat: seen, digest: cached.digest },
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

fn hash_file(root: &OwnedFd, name: &Path, seen: StatTuple, stop: &StopToken) -> FileState {
    let _watch = profile::enter(Part::Hash);
    let opened = rustix::fs::openat(root, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty());
    let digest = opened.map_err(io::Error::from).and_then(|fd| digest_of(File::from(fd), seen.size, stop));
    match digest {
        Ok(digest) => FileState::File { stat: seen, digest },
        Err(error) if error.kind() == io::ErrorKind::NotFound => FileState::Missing,
        Err(error) => FileState::Unreadable(error.to_string().into()),
    }
}

/// So much is read at once: more does not stay in the processor's own memory until it is hashed.
const PIECE: usize = 1 << 17;

thread_local! {
    /// Making and clearing one for every file takes longer than reading a small one.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Reads to the end whatever the size was: a file that shrinks or grows meanwhile is simply another file.
fn digest_of(file: File, size: u64, stop: &StopToken) -> io::Result<Digest> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(PIECE, 0);
        digest_through(buffer, file, size, stop)
    })
}

fn digest_through(buffer: &mut [u8], mut file: File, size: u64, stop: &StopToken) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut total = 0;
    loop {
        if stop.is_requested() {
            return Err(io::Error::other("interrupted"));
        }
        match file.read(buffer) {
            Ok(0) => return Ok(Digest(hasher.finalize().into())),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                total += read as u64;
                // Where a read leaves room and all is there, that was the end.
                if total == size && read < buffer.len() {
                    return Ok(Digest(hasher.finalize().into()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A link counts by its text and by the content of the file that it leads to.
fn hash_link(root: &OwnedFd, name: &Path, seen: StatTuple, stop: &StopToken) -> FileState {
    let text = match rustix::fs::readlinkat(root, name, Vec::new()) {
        Ok(text) => text,
        Err(error) => return FileState::Unreadable(error.to_string().into()),
    };
    let mut hasher = Hasher::new();
    hasher.field(text.as_bytes());
    match rustix::fs::statat(root, name, AtFlags::empty()) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            if let FileState::File { digest, .. } = hash_file(root, name, tuple(&stat), stop) {
                hasher.field(digest.0);
            }
        }
        Ok(_) => {
            hasher.field(b"not a file");
        }
        Err(_) => {
            hasher.field(b"dangling");
        }
    }
    FileState::Symlink { stat: seen, digest: hasher.finish() }
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
    use super::*;

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
