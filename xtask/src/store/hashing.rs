//! Reads files and links to their digests. Knows nothing of what is remembered of them.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use sha2::{Digest as _, Sha256};

use super::files::{FileState, StatTuple, tuple};
use super::reading::READING;
use crate::model::digest::Hasher;
use crate::model::{Digest, StopToken};
use crate::profile::{self, Part};

pub(super) fn hash_file(root: &OwnedFd, name: &Path, seen: StatTuple, stop: &StopToken) -> FileState {
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
    let shown = READING.begin(size);
    loop {
        if stop.is_requested() {
            return Err(io::Error::other("interrupted"));
        }
        match file.read(buffer) {
            Ok(0) => return Ok(Digest(hasher.finalize().into())),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                total += read as u64;
                if let Some(shown) = &shown {
                    shown.read(read);
                }
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
pub(super) fn hash_link(root: &OwnedFd, name: &Path, seen: StatTuple, stop: &StopToken) -> FileState {
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
