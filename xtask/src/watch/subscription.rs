//! The directories that are watched (or polled) right now, over notify. Knows nothing of batches and time.
//!
//! Each directory is subscribed before it is read, so what appears in between is seen twice rather than never. A real
//! directory is entered once, whatever paths lead to it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::model::{Diagnostic, RepoPath};

use super::limit;
use super::poll::{self, Listing};
use super::wanted::Wanted;

/// Device and inode.
type Identity = (u64, u64);

/// See the module.
pub struct Subscription {
    root: PathBuf,
    /// `None` where the system gives none, or none is wished: then all is polled.
    notify: Option<RecommendedWatcher>,
    watched: BTreeMap<RepoPath, Identity>,
    paths: HashMap<Identity, RepoPath>,
    polled: BTreeMap<RepoPath, Listing>,
    silent_devices: HashMap<u64, bool>,
    /// Directories refused for want of watches since the last [`Subscription::problems`].
    refused: usize,
    /// How many directories were polled when that was told last.
    told: usize,
    silent: usize,
    others: Vec<Diagnostic>,
}

impl Subscription {
    pub fn new(root: PathBuf, notify: Option<RecommendedWatcher>) -> Self {
        Self {
            root,
            notify,
            watched: BTreeMap::new(),
            paths: HashMap::new(),
            polled: BTreeMap::new(),
            silent_devices: HashMap::new(),
            refused: 0,
            told: 0,
            silent: 0,
            others: Vec::new(),
        }
    }

    pub fn absolute(&self, path: &RepoPath) -> PathBuf {
        // Joining an empty path would add a slash at the end.
        if path.as_bytes().is_empty() { self.root.clone() } else { self.root.join(path.as_path()) }
    }

    /// Makes and watches a folder of our own, whose paths are nobody's inputs. `None` where it cannot be watched.
    pub fn watch_own(&mut self, dir: &str) -> Option<PathBuf> {
        let dir = self.root.join(dir);
        let notify = self.notify.as_mut()?;
        fs::create_dir_all(&dir).ok()?;
        notify.watch(&dir, RecursiveMode::NonRecursive).ok()?;
        Some(dir)
    }

    /// The path below the root, if it is there.
    pub fn relative(&self, path: &Path) -> Option<RepoPath> {
        RepoPath::from_root(path.strip_prefix(&self.root).ok()?.as_os_str().as_bytes())
    }

    /// Subscribes `dir` and the wanted directories below it; every wanted entry found on the way goes to `found`.
    pub fn add(&mut self, wanted: &Wanted, dir: &RepoPath, found: &mut dyn FnMut(RepoPath)) {
        let mut waiting = vec![dir.clone()];
        while let Some(dir) = waiting.pop() {
            if !wanted.wants_dir(&dir) || !self.add_one(wanted, &dir) {
                continue;
            }
            let Ok(entries) = fs::read_dir(self.absolute(&dir)) else { continue };
            for entry in entries.flatten() {
                let Some(path) = RepoPath::new(&dir, entry.file_name().as_bytes()) else { continue };
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if wanted.wants_path(&path) {
                    found(path.clone());
                }
                if is_dir {
                    waiting.push(path);
                }
            }
        }
    }

    /// Subscribes one directory. False if it is none, or is known under another path.
    fn add_one(&mut self, wanted: &Wanted, dir: &RepoPath) -> bool {
        let path = self.absolute(dir);
        // Who names a link to a directory means the directory; a walk does not follow links.
        let meta = if wanted.is_named(dir) { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        let Some(meta) = meta.ok().filter(fs::Metadata::is_dir) else { return false };
        let identity = (meta.dev(), meta.ino());
        if let Some(known) = self.paths.get(&identity).filter(|known| *known != dir).cloned() {
            let same = |meta: fs::Metadata| (meta.dev(), meta.ino()) == identity;
            if fs::metadata(self.absolute(&known)).is_ok_and(same) {
                return false;
            }
            self.forget(&known);
        }
        if self.watched.get(dir).is_some_and(|known| *known != identity) {
            self.forget(dir);
        }
        if !self.watched.contains_key(dir) && !self.polled.contains_key(dir) {
            self.subscribe(dir, &path, identity);
        }
        true
    }

    fn subscribe(&mut self, dir: &RepoPath, path: &Path, identity: Identity) {
        let silent = *self.silent_devices.entry(identity.0).or_insert_with(|| poll::is_silent(path));
        self.silent += usize::from(silent);
        let result = match self.notify.as_mut().filter(|_| !silent) {
            None => Err(None),
            Some(notify) => notify.watch(path, RecursiveMode::NonRecursive).map_err(Some),
        };
        match result {
            Ok(()) => {
                self.watched.insert(dir.clone(), identity);
                self.paths.insert(identity, dir.clone());
                return;
            }
            // Gone again: its removal is an event of the directory above.
            Err(Some(error)) if matches!(error.kind, ErrorKind::PathNotFound) => return,
            Err(Some(error)) if matches!(error.kind, ErrorKind::MaxFilesWatch) => self.refused += 1,
            Err(Some(error)) => self.others.push(
                Diagnostic::warning(format!("directory `{dir}` cannot be watched and is looked at twice a second"))
                    .cause(error),
            ),
            Err(None) => {}
        }
        self.polled.insert(dir.clone(), Listing::read(path));
    }

    /// Ends the watches of `dir` and of all below it: it is gone or has another name now.
    pub fn forget(&mut self, dir: &RepoPath) {
        // Every path below starts with the same bytes, and those are neighbours in the order of bytes.
        let near = |path: &&RepoPath| path.as_bytes().starts_with(dir.as_bytes());
        let within: Vec<RepoPath> = self
            .watched
            .range(dir.clone()..)
            .map(|(path, _)| path)
            .take_while(near)
            .filter(|path| path.is_within(dir))
            .cloned()
            .collect();
        for path in within {
            if let Some(identity) = self.watched.remove(&path)
                && self.paths.get(&identity) == Some(&path)
            {
                self.paths.remove(&identity);
            }
            if let Some(notify) = &mut self.notify {
                // It fails where the system ended the watch with the directory.
                let _ = notify.unwatch(&self.root.join(path.as_path()));
            }
        }
        self.polled.retain(|path, _| !path.is_within(dir));
    }

    /// Makes the set what `wanted` says, from what is on disk now. `fresh` trusts no watch that is there.
    pub fn sync(&mut self, wanted: &Wanted, fresh: bool) {
        let known: Vec<RepoPath> = self.watched.keys().chain(self.polled.keys()).cloned().collect();
        for dir in known.into_iter().filter(|dir| fresh || !wanted.wants_dir(dir)) {
            self.forget_one(&dir);
        }
        let mut roots: Vec<RepoPath> = wanted.roots().cloned().collect();
        roots.sort();
        for root in roots {
            self.add(wanted, &root, &mut |_| {});
        }
    }

    fn forget_one(&mut self, dir: &RepoPath) {
        if let Some(identity) = self.watched.remove(dir) {
            self.paths.remove(&identity);
            let path = self.absolute(dir);
            if let Some(notify) = &mut self.notify {
                let _ = notify.unwatch(&path);
            }
        }
        self.polled.remove(dir);
    }

    /// Looks at the polled directories; returns the paths that differ.
    pub fn poll(&mut self) -> Vec<RepoPath> {
        let mut changed = Vec::new();
        let root = self.root.clone();
        for (dir, listing) in &mut self.polled {
            let now = Listing::read(&root.join(dir.as_path()));
            changed.extend(listing.differences(&now).iter().filter_map(|name| RepoPath::new(dir, name.as_bytes())));
            *listing = now;
        }
        changed
    }

    /// How many directories are watched, how many polled.
    pub fn counts(&self) -> (usize, usize) {
        (self.watched.len(), self.polled.len())
    }

    /// What a person should know, once.
    pub fn problems(&mut self) -> Vec<Diagnostic> {
        let mut problems = std::mem::take(&mut self.others);
        if std::mem::take(&mut self.refused) > 0 {
            let (watched, polled) = self.counts();
            // Again once it is twice as bad, not for each new directory.
            if polled >= 2 * self.told {
                self.told = polled;
                problems.push(limit::too_few_watches(watched + polled, polled));
            }
        }
        match std::mem::take(&mut self.silent) {
            0 => {}
            silent => problems.push(limit::silent(silent)),
        }
        problems
    }
}
