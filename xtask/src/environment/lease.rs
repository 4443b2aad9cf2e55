//! Who uses a container: a locked file for each. The system frees the lock when its holder dies in whatever way; what
//! the file says then tells whether the holder had finished. A container may have a folder of this machine, which goes
//! with its lease. Knows no engine: the engine's labels say what exists.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
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

    /// The container is gone. Its folder goes first: as long as there is a lease, somebody will try again.
    pub fn end(self) -> io::Result<()> {
        remove_all(&folder_of(&self.path))?;
        std::fs::remove_file(&self.path)
    }

    /// A folder for the container: what stands in every container at `/xtask`, made for this user.
    pub fn folder(&self, (uid, gid): (u32, u32)) -> io::Result<PathBuf> {
        let folder = folder_of(&self.path);
        let make = |path: &Path, mode: u32| -> io::Result<()> {
            DirBuilder::new().mode(0o700).create(path)?;
            // Whatever the caller's mask is.
            std::fs::set_permissions(path, Permissions::from_mode(mode))
        };
        make(&folder, 0o1777)?;
        for name in ["runs", "home"] {
            let path = folder.join(name);
            make(&path, 0o755)?;
            if path.metadata()?.uid() != uid {
                // It was made here a moment ago, and nothing is in it.
                std::os::unix::fs::chown(&path, Some(uid), Some(gid))?;
            }
        }
        Ok(folder)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(text.as_bytes())
    }
}

/// The names of the leases in a folder of them.
pub fn tokens(dir: &Path) -> io::Result<Vec<String>> {
    let names = std::fs::read_dir(dir)?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| !name.contains('.')).collect())
}

fn folder_of(lease: &Path) -> PathBuf {
    lease.with_extension("run")
}

/// Removes a folder, also where somebody has closed folders in it. One that is not there is fine.
fn remove_all(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_all(dir)?;
            std::fs::remove_dir_all(dir)
        }
        result => result,
    }
}

fn open_all(dir: &Path) -> io::Result<()> {
    std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_all(&entry.path())?;
        }
    }
    Ok(())
}

/// A name that nothing else has.
pub fn token() -> String {
    let mut bytes = [0_u8; 8];
    let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).is_ok();
    let number = if random { u64::from_le_bytes(bytes) } else { u64::from(std::process::id()) ^ now() };
    format!("{number:016x}")
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

    #[test]
    fn the_folder_of_a_lease_goes_with_it_whatever_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let lease = Lease::create(dir.path(), "a", "run 1").unwrap();
        let folder = lease.folder(own).unwrap();
        assert_eq!(folder.metadata().unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(folder.join("home").metadata().unwrap().mode() & 0o7777, 0o755);
        std::fs::create_dir_all(folder.join("runs/closed/deep")).unwrap();
        std::fs::write(folder.join("runs/closed/deep/file"), "").unwrap();
        std::fs::set_permissions(folder.join("runs/closed"), Permissions::from_mode(0o0)).unwrap();
        assert_eq!(tokens(dir.path()).unwrap(), ["a"]);
        lease.end().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
