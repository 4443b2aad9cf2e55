//! Digests of context files, remembered between runs by their stat. Knows nothing of Dockerfiles.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::context::FileFacts;
use crate::model::{Context, RepoPath};
use crate::store::{FileState, Files};

/// A stat cache that several threads may ask.
pub(super) struct ContextFiles {
    root: PathBuf,
    files: Mutex<Option<Files>>,
    recent: Mutex<HashMap<Arc<str>, Recent>>,
}

/// What a Dockerfile takes: pattern, whether it is a glob, whether all below is taken.
pub(super) type Taken = Vec<(String, bool, bool)>;

/// A context that was listed a moment ago: one action lists it and the next one computes the key from it.
struct Recent {
    at: Instant,
    taken: Taken,
    context: Arc<Context>,
}

/// How long a listed context counts, as long as no task has begun meanwhile.
const MOMENT: Duration = Duration::from_secs(1);

impl ContextFiles {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), files: Mutex::default(), recent: Mutex::default() }
    }

    /// The context that was listed for an image a moment ago, if its Dockerfile took the same.
    pub(super) fn recent(&self, image: &str, taken: &Taken) -> Option<Arc<Context>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let found = recent.get(image).filter(|found| found.at.elapsed() < MOMENT && found.taken == *taken);
        found.map(|found| found.context.clone())
    }

    /// Keeps a context that was listed; `begun` is when the look at its files began.
    pub(super) fn keep(&self, image: &Arc<str>, begun: Instant, taken: Taken, context: &Arc<Context>) {
        let recent = Recent { at: begun, taken, context: context.clone() };
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).insert(image.clone(), recent);
    }

    /// Something may have changed: everything is looked at again.
    pub(super) fn forget(&self) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// From now on every file is looked at again.
    pub(super) fn next_epoch(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match files.as_mut() {
            Some(files) => files.next_epoch(),
            None => *files = Files::open_named(&self.root, "context.bin").ok(),
        }
    }

    /// Observes many files at once, in parallel.
    pub(super) fn prefetch(&self, paths: &[RepoPath]) {
        if let Some(files) = self.files.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            files.observe(paths);
        }
    }

    /// Content, size and mode of one file.
    pub(super) fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        let relative = path.strip_prefix(&self.root).ok();
        let relative =
            relative.and_then(|path| RepoPath::from_root(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())));
        let Some(relative) = relative else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the file lies outside the root"));
        };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(files) = files.as_mut() else { return Err(io::Error::other("the root cannot be opened")) };
        match files.get(&relative) {
            FileState::File { stat, digest } => {
                Ok(FileFacts { digest, size: stat.size, executable: stat.mode & 0o100 != 0 })
            }
            FileState::Missing => Err(io::ErrorKind::NotFound.into()),
            FileState::Unreadable(why) => Err(io::Error::other(why.to_string())),
            _ => Err(io::Error::other("it is no regular file any more")),
        }
    }

    pub(super) fn save(&self) {
        if let Some(files) = self.files.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            files.save();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::context::{Found, Ignore, Tree, visible};

    /// More files than are looked at without the pool of threads.
    const FILES: usize = 200;

    #[test]
    fn large_contexts_are_listed_side_by_side() {
        let root = tempfile::tempdir().unwrap();
        for at in 0..2 * FILES {
            let file = root.path().join(format!("{}/{at}", at % 2));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, at.to_string()).unwrap();
        }
        let files = Arc::new(ContextFiles::new(root.path()));
        files.next_epoch();
        let (done, all) = channel();
        for number in 0..4 {
            let (files, done, dir) = (files.clone(), done.clone(), root.path().join((number % 2).to_string()));
            std::thread::spawn(move || {
                let names: Vec<String> =
                    (0..2 * FILES).filter(|at| at % 2 == number % 2).map(|at| at.to_string()).collect();
                let found = || names.iter().map(|name| (name.clone().into_bytes(), Found::File)).collect();
                let paths: Vec<RepoPath> =
                    names.iter().filter_map(|name| RepoPath::from_root(format!("{}/{name}", number % 2))).collect();
                let ignore = Ignore::nothing();
                let tree = Tree { dir: &dir, ignore: &ignore, joined: &[] };
                let listed = (0..20).all(|_| {
                    files.next_epoch();
                    files.prefetch(&paths);
                    let context = visible::with_facts(found(), tree, |path| files.facts(path));
                    context.is_ok_and(|context| context.entries.len() == FILES)
                });
                done.send(listed).unwrap();
            });
        }
        for _ in 0..4 {
            assert_eq!(all.recv_timeout(Duration::from_mins(1)), Ok(true), "threads wait for one another");
        }
    }
}
