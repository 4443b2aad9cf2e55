//! Writes a context into a folder, for remote builds and for people who want to look. Knows nothing of builders.
//!
//! What stands there is the builder's view: modes 644 and 755, times derived from the content. No two files share an
//! inode, with each other or with the work tree, so that nothing edited elsewhere changes what is built.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::model::digest::Hasher;
use crate::model::{Context, ContextEntry, ContextKind, Digest};

/// What staging did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Staged {
    /// Files that were written; the others stood there already.
    pub written: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files, links and folders that were removed because the context has them no more.
    pub removed: u64,
}

/// Why a context could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The folder has things that staging did not put there; it would remove them.
    #[error("`{}` is not empty and was not made by staging", .0.display())]
    Foreign(PathBuf),
    /// A source file has other content than when the manifest was made.
    #[error("`{}` changed while it was staged", .0.display())]
    Changed(PathBuf),
    #[error("`{}` cannot be staged: {why}", .path.display())]
    Io { path: PathBuf, why: io::Error },
}

/// Makes `into` hold exactly `context`, and gives what that took.
///
/// `into` must be absent, empty, or staged before (a file beside it, `.<name>.staged`, says so). What is there already
/// with the right size and time stays, because the time says the content.
pub fn stage(context: &Context, into: &Path) -> Result<Staged, StageError> {
    claim(into)?;
    let wanted: BTreeSet<&[u8]> = context.entries.iter().map(|entry| entry.path.as_slice()).collect();
    let mut done = Staged { removed: remove_others(into, &[], &wanted)?, ..Staged::default() };
    for entry in context.entries.iter().filter(|entry| !matches!(entry.kind, ContextKind::File { .. })) {
        let path = place(into, entry);
        match &entry.kind {
            ContextKind::Symlink { target } => link(&path, target, entry).map_err(|why| failed(&path, why))?,
            _ => folder(&path).map_err(|why| failed(&path, why))?,
        }
    }
    let (written, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    context.entries.par_iter().try_for_each(|entry| {
        let ContextKind::File { source, digest, size, .. } = &entry.kind else { return Ok(()) };
        let path = place(into, entry);
        if path.symlink_metadata().is_ok_and(|there| is_same(&there, entry, *size)) {
            return Ok(());
        }
        copy(source, *digest, &path, entry)?;
        written.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(*size, Ordering::Relaxed);
        Ok(())
    })?;
    // Last and from the deepest, because writing into a folder changes its time.
    for entry in context.entries.iter().rev().filter(|entry| entry.kind == ContextKind::Directory) {
        let path = place(into, entry);
        set_time(&path, entry).map_err(|why| failed(&path, why))?;
    }
    done.written = written.into_inner();
    done.bytes = bytes.into_inner();
    Ok(done)
}

fn failed(path: &Path, why: io::Error) -> StageError {
    StageError::Io { path: path.to_owned(), why }
}

fn place(into: &Path, entry: &ContextEntry) -> PathBuf {
    into.join(OsStr::from_bytes(&entry.path))
}

/// Makes the folder this program's own, or refuses.
fn claim(into: &Path) -> Result<(), StageError> {
    let mut name = OsString::from(".");
    name.push(into.file_name().unwrap_or_default());
    name.push(".staged");
    let mark = into.with_file_name(name);
    let is_link = into.symlink_metadata().is_ok_and(|there| there.file_type().is_symlink());
    let used = is_link || fs::read_dir(into).is_ok_and(|mut entries| entries.next().is_some());
    if used && (is_link || !mark.is_file()) {
        return Err(StageError::Foreign(into.to_owned()));
    }
    fs::create_dir_all(into).map_err(|why| failed(into, why))?;
    fs::set_permissions(into, Permissions::from_mode(0o755)).map_err(|why| failed(into, why))?;
    fs::write(&mark, "This folder is written by staging; what else is put into it is removed.\n")
        .map_err(|why| failed(&mark, why))
}

/// Removes what the context does not have; gives how many things.
fn remove_others(into: &Path, below: &[u8], wanted: &BTreeSet<&[u8]>) -> Result<u64, StageError> {
    let dir = into.join(OsStr::from_bytes(below));
    let mut removed = 0;
    for entry in fs::read_dir(&dir).map_err(|why| failed(&dir, why))? {
        let entry = entry.map_err(|why| failed(&dir, why))?;
        let name = entry.file_name().into_vec();
        let path = if below.is_empty() { name } else { [below, b"/", &name].concat() };
        let is_dir = entry.file_type().map_err(|why| failed(&entry.path(), why))?.is_dir();
        if is_dir {
            removed += remove_others(into, &path, wanted)?;
        }
        if !wanted.contains(path.as_slice()) {
            let gone = if is_dir { fs::remove_dir(entry.path()) } else { fs::remove_file(entry.path()) };
            gone.map_err(|why| failed(&entry.path(), why))?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn folder(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(there) if there.is_dir() => {}
        Ok(_) => {
            fs::remove_file(path)?;
            fs::create_dir(path)?;
        }
        Err(_) => fs::create_dir(path)?,
    }
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn link(path: &Path, target: &[u8], entry: &ContextEntry) -> io::Result<()> {
    let target = OsStr::from_bytes(target);
    if !fs::read_link(path).is_ok_and(|there| there.as_os_str() == target) {
        make_room(path)?;
        symlink(target, path)?;
    }
    set_time(path, entry)
}

/// Removes what stands where a file or link is to be; a folder there has been emptied before.
fn make_room(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(there) if there.is_dir() => fs::remove_dir(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

fn is_same(there: &Metadata, entry: &ContextEntry, size: u64) -> bool {
    let (seconds, nanoseconds) = entry.mtime();
    there.is_file()
        && there.len() == size
        && there.mtime() == seconds
        && there.mtime_nsec() == i64::from(nanoseconds)
        && there.mode() & 0o7777 == entry.mode()
        && there.nlink() == 1
}

/// Writes one file beside its place, verifies it, and moves it there.
fn copy(source: &Path, wanted: Digest, path: &Path, entry: &ContextEntry) -> Result<(), StageError> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let write = || -> io::Result<Option<tempfile::NamedTempFile>> {
        let mut from = File::open(source)?;
        let mut to = tempfile::Builder::new().prefix(".staging-").tempfile_in(dir)?;
        if transfer(&mut from, to.as_file_mut())? != wanted {
            return Ok(None);
        }
        to.as_file().set_permissions(Permissions::from_mode(entry.mode()))?;
        let (seconds, nanoseconds) = entry.mtime();
        let time = UNIX_EPOCH + Duration::new(seconds.unsigned_abs(), nanoseconds);
        to.as_file().set_times(FileTimes::new().set_modified(time).set_accessed(time))?;
        make_room(path)?;
        Ok(Some(to))
    };
    match write() {
        Ok(Some(file)) => file.persist(path).map(|_| ()).map_err(|why| failed(path, why.error)),
        Ok(None) => Err(StageError::Changed(source.to_owned())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Err(StageError::Changed(source.to_owned())),
        Err(why) => Err(failed(path, why)),
    }
}

/// Shares the blocks where the file system can, else copies; gives the digest of what arrived.
fn transfer(from: &mut File, to: &mut File) -> io::Result<Digest> {
    let shared = rustix::fs::ioctl_ficlone(&*to, &*from).is_ok();
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 128 * 1024];
    if shared {
        to.rewind()?;
    }
    loop {
        let read = if shared { to.read(&mut buffer)? } else { from.read(&mut buffer)? };
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.raw(&buffer[..read]);
        if !shared {
            to.write_all(&buffer[..read])?;
        }
    }
}

/// Sets the derived time without following a link.
fn set_time(path: &Path, entry: &ContextEntry) -> io::Result<()> {
    let (seconds, nanoseconds) = entry.mtime();
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests;
