//! Where this person's environments keep what several processes share: `XTASK_CACHE_DIR`, else the user's cache folder.
//! Knows nothing of what is kept.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::model::digest::Hasher;
use crate::model::{Diagnostic, Digest};

/// The variable that names the folder.
pub const VARIABLE: &str = "XTASK_CACHE_DIR";

/// The folder, made if it was not there; nobody else may look into it.
#[derive(Clone, Debug)]
pub struct Folders {
    root: PathBuf,
    key: Digest,
}

impl Folders {
    /// # Errors
    /// No folder is known, it cannot be made, or it belongs to somebody else.
    pub fn open(env: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Diagnostic> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set(VARIABLE)
            .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("xtask")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/xtask")));
        let root = root.ok_or_else(|| {
            Diagnostic::error("`HOME` is not set, so that there is no cache folder")
                .help(format!("export {VARIABLE}=/var/tmp/xtask-$USER"))
        })?;
        let failed = |error: io::Error| {
            Diagnostic::error(format!("cache folder `{}` cannot be used", root.display()))
                .cause(error)
                .help(format!("name another: export {VARIABLE}=/var/tmp/xtask-$USER"))
        };
        make(&root).map_err(failed)?;
        let meta = std::fs::symlink_metadata(&root).map_err(failed)?;
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(failed(io::Error::other("it belongs to somebody else")));
        }
        let key = secret(&root).map_err(failed)?;
        Ok(Self { root, key })
    }

    /// A folder within, made if it was not there.
    pub fn below(&self, name: &str) -> Result<PathBuf, Diagnostic> {
        let path = self.root.join(name);
        make(&path).map(|()| path.clone()).map_err(|error| {
            Diagnostic::error(format!("cache folder `{}` cannot be made", path.display())).cause(error)
        })
    }

    /// The database of images.
    pub fn records(&self) -> PathBuf {
        self.root.join("images.db")
    }

    /// A word that only this folder makes of a text: what is in labels cannot be guessed back.
    pub fn keyed(&self, text: &[u8]) -> Digest {
        let mut hasher = Hasher::new();
        hasher.field(self.key.0).field(text);
        hasher.finish()
    }

    /// Whose containers on an engine these are: this folder's, which belongs to one person on one machine.
    pub fn client(&self, scope: &str) -> String {
        self.keyed(format!("client\0{scope}").as_bytes()).short()
    }
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The random key of the folder. Of several processes that make it at once, one wins.
fn secret(root: &Path) -> io::Result<Digest> {
    let path = root.join("key");
    let read = || {
        let bytes = std::fs::read(&path)?;
        <[u8; 32]>::try_from(bytes).map(Digest).map_err(|_| io::Error::other("`key` in it is damaged: remove it"))
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let mut bytes = [0_u8; 32];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    let new = root.join(format!("key.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    io::Write::write_all(&mut file, &bytes)?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&new, &path);
    std::fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn s12_the_folder_is_private_and_its_key_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/cache");
        let env = |name: &str| (name == VARIABLE).then(|| root.clone().into_os_string());
        let first = Folders::open(&env).unwrap();
        assert_eq!(Folders::open(&env).unwrap().client("e"), first.client("e"));
        assert_eq!(std::fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(std::fs::metadata(root.join("key")).unwrap().permissions().mode() & 0o777, 0o600);
        let error = Folders::open(&|_| None).unwrap_err();
        assert!(error.message.contains("`HOME` is not set"), "{error}");
    }
}
