//! What a builder reads as files in a folder: the context, the Dockerfile, what is ignored. Knows nothing of where that
//! folder goes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::tree::{Tree, is_below};
use super::{BuildRequest, Builder, classic};
use crate::docker::DockerError;
use crate::model::{Context, ContextEntry, ContextKind};

/// The folder of the context in a folder that was laid out.
pub const CONTEXT: &str = "context";
/// The Dockerfile beside it. The classic builder is given all in one archive, so its Dockerfile is in the context.
pub const DOCKERFILE: &str = "Dockerfile";

/// Writes what a build reads into an empty folder. Returns the bytes of the context.
///
/// # Errors
/// As [`context`] has them.
pub fn lay_out(request: &BuildRequest, builder: Builder, folder: &Path) -> Result<u64, DockerError> {
    let below = folder.join(CONTEXT);
    fs::create_dir(&below).map_err(|error| unwritable(&below, &error))?;
    let bytes = context(&request.context, &below)?;
    let put = |path: &Path, text: &[u8]| fs::write(path, text).map_err(|error| unwritable(path, &error));
    if builder == Builder::Classic {
        let ignored = classic::hide_dockerfile(&Tree::new(Arc::clone(&request.context))?)?;
        put(&below.join(classic::IGNORE), &ignored)?;
        put(&below.join(classic::DOCKERFILE), &request.dockerfile)?;
    } else {
        put(&folder.join(DOCKERFILE), &request.dockerfile)?;
        // The manifest has what is visible and nothing else; an ignore file in it is a file like any other.
        put(&folder.join(format!("{DOCKERFILE}.dockerignore")), b"# nothing\n")?;
    }
    Ok(bytes)
}

/// Writes all that the manifest names into a folder, with the modes and times that every builder is shown: so the image
/// is the same whichever way its context takes. Returns the bytes of the files.
///
/// # Errors
/// A file no longer has the content of the manifest, or cannot be read; the folder cannot be written.
fn context(context: &Arc<Context>, folder: &Path) -> Result<u64, DockerError> {
    let tree = Tree::new(Arc::clone(context))?;
    let mut bytes = 0;
    let mut open: Vec<&ContextEntry> = Vec::new();
    for entry in tree.entries() {
        // What is written into a folder changes its time, so that is set behind the last of it.
        while let Some(done) = open.pop_if(|folder| !is_below(&entry.path, &folder.path)) {
            stamp(folder, done)?;
        }
        let path = folder.join(OsStr::from_bytes(&entry.path));
        let failed = |error: std::io::Error| unwritable(&path, &error);
        match &entry.kind {
            ContextKind::Directory => {
                fs::create_dir(&path).map_err(failed)?;
                open.push(entry);
            }
            ContextKind::Symlink { target } => {
                std::os::unix::fs::symlink(OsStr::from_bytes(target), &path).map_err(failed)?;
                stamp(folder, entry)?;
            }
            ContextKind::File { size, .. } => {
                write(&tree, entry, &path)?;
                stamp(folder, entry)?;
                bytes += size;
            }
        }
    }
    open.into_iter().rev().try_for_each(|entry| stamp(folder, entry))?;
    Ok(bytes)
}

fn write(tree: &Tree, entry: &ContextEntry, path: &Path) -> Result<(), DockerError> {
    let mut file = File::create_new(path).map_err(|error| unwritable(path, &error))?;
    let mut problem = None;
    tree.read(entry, |chunk| file.write_all(&chunk).map_err(|error| problem = Some(error)).is_ok())?;
    problem.map_or(Ok(()), |error| Err(unwritable(path, &error)))
}

/// Gives an entry that is there its mode and its time.
fn stamp(folder: &Path, entry: &ContextEntry) -> Result<(), DockerError> {
    let path = folder.join(OsStr::from_bytes(&entry.path));
    let failed = |error: std::io::Error| unwritable(&path, &error);
    if !matches!(entry.kind, ContextKind::Symlink { .. }) {
        fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode())).map_err(failed)?;
    }
    let (seconds, nanos) = entry.mtime();
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| unwritable(&path, &error.into()))
}

fn unwritable(path: &Path, error: &std::io::Error) -> DockerError {
    DockerError::Unsupported {
        what: format!("`{}` cannot be written: {error}", path.display()),
        help: "make room there, or let the variable `TMPDIR` name a folder with room".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::model::Digest;

    #[test]
    fn what_is_laid_out_is_what_the_manifest_says() {
        let (from, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = from.path().join("any");
        fs::write(&source, "content").unwrap();
        let file = |executable| ContextKind::File {
            source: source.clone(),
            digest: Digest::of(b"content"),
            size: 7,
            executable,
        };
        let entry = |path: &str, kind| ContextEntry { path: path.into(), kind };
        let link = ContextKind::Symlink { target: b"nowhere".to_vec() };
        let entries = vec![
            entry(".dockerignore", file(false)),
            entry("a", ContextKind::Directory),
            entry("a/b", ContextKind::Directory),
            entry("a/b/run", file(true)),
            entry("a/link", link),
            entry("z", file(false)),
        ];
        let dockerfile = b"FROM scratch".to_vec();
        let request = BuildRequest { dockerfile, context: Arc::new(Context { entries }), ..Default::default() };
        assert_eq!(lay_out(&request, Builder::BuildKit, folder.path()).unwrap(), 21);
        let to = folder.path().join(CONTEXT);
        for entry in &request.context.entries {
            let meta = fs::symlink_metadata(to.join(OsStr::from_bytes(&entry.path))).unwrap();
            assert_eq!((meta.mtime(), meta.mtime_nsec()), (entry.mtime().0, entry.mtime().1.into()), "{entry:?}");
            assert_eq!(meta.mode() & 0o777, entry.mode(), "{entry:?}");
        }
        assert_eq!(fs::read_link(to.join("a/link")).unwrap(), Path::new("nowhere"));
        assert_eq!(fs::read(folder.path().join(DOCKERFILE)).unwrap(), b"FROM scratch");
        assert!(!to.join(classic::DOCKERFILE).exists());
        let classic = tempfile::tempdir().unwrap();
        lay_out(&request, Builder::Classic, classic.path()).unwrap();
        let ignored = fs::read_to_string(classic.path().join("context/.dockerignore")).unwrap();
        assert_eq!(ignored, format!("content\n{}\n", classic::DOCKERFILE), "only the Dockerfile is taken away again");
        fs::write(&source, "changed").unwrap();
        let again = tempfile::tempdir().unwrap();
        assert!(matches!(
            lay_out(&request, Builder::Auto, again.path()),
            Err(DockerError::ChangedWhileBuilding { .. })
        ));
    }
}
