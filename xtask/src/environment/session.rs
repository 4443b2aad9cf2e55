//! Shared memory of several runs: a folder in `/dev/shm` and one for services, seen by all runs of a session and by
//! nobody else. What is in them when nobody takes part any more is removed. Knows no engine.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::folders::Folders;
use crate::docker::containers::Bind;
use crate::model::Diagnostic;

/// Where programs look for services unless told otherwise: iceoryx2's place.
pub const SERVICE_DIR: &str = "/tmp/iceoryx2";

/// Takes part in a session for as long as it lives.
#[derive(Debug)]
pub struct Session {
    shm: PathBuf,
    services: PathBuf,
    lock: File,
}

impl Session {
    /// Joins, as the first or one of several. `others` may be of another user than the caller.
    pub fn join(folders: &Folders, name: &str, for_others: bool) -> Result<Self, Diagnostic> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(fine) {
            return Err(Diagnostic::error(format!(
                "`--session` is `{name}`, expected up to 64 letters, digits and `._-`"
            )));
        }
        let dir = folders.below(&format!("sessions/{name}"))?;
        // Two people, or two cache folders, may use the same word.
        let shm = Path::new("/dev/shm").join(format!("xtask-{}-{name}", folders.client("session")));
        let services = dir.join("services");
        let failed = |error: io::Error| Diagnostic::error(format!("session `{name}` cannot be joined")).cause(error);
        Self::open(&dir, shm, services, for_others).map_err(failed)
    }

    fn open(dir: &Path, shm: PathBuf, services: PathBuf, for_others: bool) -> io::Result<Self> {
        for folder in [&shm, &services] {
            match DirBuilder::new().mode(0o700).create(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let meta = std::fs::symlink_metadata(folder)?;
            let own = std::os::unix::fs::MetadataExt::uid(&meta) == rustix::process::geteuid().as_raw();
            if !meta.is_dir() || !own {
                return Err(io::Error::other(format!("`{}` is somebody else's", folder.display())));
            }
            if for_others {
                std::fs::set_permissions(folder, Permissions::from_mode(0o1777))?;
            }
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(dir.join("lock"))?;
        let session = Self { shm, services, lock };
        // Whoever took part before is gone, or was killed: what is there is stale.
        session.clean_if_alone()?;
        session.lock.lock_shared()?;
        Ok(session)
    }

    /// What its containers mount.
    pub fn binds(&self, service_dir: &str) -> [Bind; 2] {
        let bind = |source: &Path, target: &str| Bind {
            source: source.to_owned(),
            target: target.to_owned(),
            read_only: false,
        };
        [bind(&self.shm, "/dev/shm"), bind(&self.services, service_dir)]
    }

    fn clean_if_alone(&self) -> io::Result<()> {
        match self.lock.try_lock() {
            Ok(()) => {
                let cleaned = clear(&self.shm).and_then(|()| clear(&self.services));
                self.lock.unlock()?;
                cleaned
            }
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next one who joins. The folders stay: containers that are kept
        // have them mounted.
        let _ = self.lock.unlock().and_then(|()| self.clean_if_alone());
    }
}

/// Removes everything in a folder.
fn clear(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let removed = if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())
        } else {
            std::fs::remove_file(entry.path())
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_leaves_nothing_and_the_first_one_finds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (shm, services) = (dir.path().join("shm"), dir.path().join("services"));
        let join = || Session::open(dir.path(), shm.clone(), services.clone(), false).unwrap();
        let first = join();
        std::fs::write(shm.join("segment"), "x").unwrap();
        std::fs::create_dir(services.join("deep")).unwrap();
        let second = join();
        drop(first);
        assert!(shm.join("segment").exists(), "somebody still takes part");
        drop(second);
        assert_eq!((std::fs::read_dir(&shm).unwrap().count(), std::fs::read_dir(&services).unwrap().count()), (0, 0));
        // As after a kill.
        std::fs::write(shm.join("stale"), "x").unwrap();
        let third = join();
        assert!(!shm.join("stale").exists());
        assert_eq!(third.binds(SERVICE_DIR)[0].target, "/dev/shm");
    }

    #[test]
    fn names_are_plain_words() {
        let dir = tempfile::tempdir().unwrap();
        let env = |name: &str| (name == "XTASK_CACHE_DIR").then(|| dir.path().as_os_str().to_owned());
        let folders = Folders::open(&env).unwrap();
        for wrong in ["", "a/b", "..", ".a", "a b"] {
            assert!(Session::join(&folders, wrong, false).is_err(), "{wrong}");
        }
    }
}
