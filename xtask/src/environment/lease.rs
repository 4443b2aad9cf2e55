//! Who uses a container: a locked file for each. The system frees the lock when its holder dies in whatever way; what
//! the file says then tells whether the holder had finished. Knows no engine: the engine's labels say what exists.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the file of a lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// Something runs in it, or was running when its user died.
    Busy { pid: u32, what: String, since: u64 },
    /// Nothing runs in it since then.
    Idle { since: u64 },
    /// Cut off, or not of this program.
    Unknown,
}

/// The right to use one container. Dropping it frees the lock and leaves what the file says.
#[derive(Debug)]
#[must_use = "dropping it frees the container"]
pub struct Lease {
    file: File,
    path: PathBuf,
    pub found: Use,
}

/// What came of trying.
#[derive(Debug)]
pub enum Tried {
    Got(Lease),
    /// Somebody else has it.
    Taken(Use),
    /// There is no such file.
    Missing,
}

impl Lease {
    /// Makes the file of a container that is about to be made.
    pub fn create(dir: &Path, token: &str, what: &str) -> io::Result<Self> {
        let path = dir.join(token);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        file.lock()?;
        let mut lease = Self { file, path, found: Use::Unknown };
        lease.busy(what)?;
        Ok(lease)
    }

    /// Takes it if nobody has it.
    pub fn try_take(dir: &Path, token: &str) -> io::Result<Tried> {
        let path = dir.join(token);
        let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tried::Missing),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => {
                let same = |meta: std::fs::Metadata| file.metadata().is_ok_and(|own| own.ino() == meta.ino());
                if !std::fs::metadata(&path).is_ok_and(same) {
                    return Ok(Tried::Missing);
                }
                let found = read(&mut file);
                Ok(Tried::Got(Self { file, path, found }))
            }
            Err(TryLockError::WouldBlock) => Ok(Tried::Taken(read(&mut file))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// From now on something runs in it.
    pub fn busy(&mut self, what: &str) -> io::Result<()> {
        self.write(&format!("busy {} {} {what}\n", std::process::id(), now()))
    }

    /// Nothing runs in it any more, and the next one may have it.
    pub fn idle(mut self) -> io::Result<()> {
        self.write(&format!("idle {}\n", now()))
    }

    /// The container is gone.
    pub fn end(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(text.as_bytes())
    }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn read(file: &mut File) -> Use {
    let mut text = String::new();
    if file.rewind().and_then(|()| file.take(4096).read_to_string(&mut text)).is_err() || !text.ends_with('\n') {
        return Use::Unknown;
    }
    let mut words = text.trim_end().splitn(4, ' ');
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok());
    match words.next() {
        Some("idle") => number(words.next()).map_or(Use::Unknown, |since| Use::Idle { since }),
        Some("busy") => match (number(words.next()), number(words.next())) {
            (Some(pid), Some(since)) => Use::Busy {
                pid: u32::try_from(pid).unwrap_or(0),
                what: words.next().unwrap_or_default().to_owned(),
                since,
            },
            _ => Use::Unknown,
        },
        _ => Use::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_the_file_tells_how_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Lease::try_take(dir.path(), "a").unwrap(), Tried::Missing));
        let lease = Lease::create(dir.path(), "a", "run 1").unwrap();
        let Tried::Taken(Use::Busy { pid, what, .. }) = Lease::try_take(dir.path(), "a").unwrap() else {
            panic!("it is taken")
        };
        assert_eq!((pid, &*what), (std::process::id(), "run 1"));
        // As if its holder had been killed.
        drop(lease);
        let Tried::Got(lease) = Lease::try_take(dir.path(), "a").unwrap() else { panic!("it is free") };
        assert!(matches!(lease.found, Use::Busy { .. }));
        lease.idle().unwrap();
        let Tried::Got(lease) = Lease::try_take(dir.path(), "a").unwrap() else { panic!("it is free") };
        assert!(matches!(lease.found, Use::Idle { .. }));
        lease.end().unwrap();
        assert!(matches!(Lease::try_take(dir.path(), "a").unwrap(), Tried::Missing));
    }
}
