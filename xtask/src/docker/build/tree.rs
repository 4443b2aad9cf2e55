//! What a builder is shown, with the means to read it: a context manifest, or a lone Dockerfile. Knows nothing of
//! sessions or tar.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::docker::DockerError;
use crate::model::digest::Hasher;
use crate::model::{Context, ContextEntry, ContextKind, Digest};

/// Bytes that are read and sent at once.
pub const CHUNK: usize = 128 * 1024;

/// A readable manifest.
pub struct Tree {
    context: Arc<Context>,
    /// The content of every file, where it does not come from the disk.
    inline: Option<Arc<[u8]>>,
}

impl Tree {
    /// The manifest must be sorted, with every folder before what it holds.
    pub fn new(context: Arc<Context>) -> Result<Self, DockerError> {
        check(&context)?;
        Ok(Self { context, inline: None })
    }

    /// One file, by this name, with this content.
    pub fn lone_file(name: &str, content: &[u8]) -> Self {
        let kind = ContextKind::File {
            source: PathBuf::from(name),
            digest: Digest::of(content),
            size: content.len() as u64,
            executable: false,
        };
        let entries = vec![ContextEntry { path: name.into(), kind }];
        Self { context: Arc::new(Context { entries }), inline: Some(content.into()) }
    }

    pub fn entries(&self) -> &[ContextEntry] {
        &self.context.entries
    }

    /// Where this path stands.
    pub fn find(&self, path: &[u8]) -> Option<&ContextEntry> {
        let found = self.entries().binary_search_by(|entry| components(&entry.path).cmp(components(path)));
        found.ok().map(|at| &self.entries()[at])
    }

    /// Reads a file in chunks, none of them empty, and compares it with the manifest on the way. Stops early, with
    /// `Ok(false)`, when `take` says `false`. An error means that what was handed out must not be used.
    pub fn read(&self, entry: &ContextEntry, mut take: impl FnMut(Vec<u8>) -> bool) -> Result<bool, DockerError> {
        let ContextKind::File { source, digest, size, .. } = &entry.kind else { return Ok(true) };
        let changed = || DockerError::ChangedWhileBuilding { path: source.clone() };
        let mut reader = self.open(source)?;
        let mut hasher = Hasher::new();
        let mut left = *size;
        loop {
            // One more than is expected, so that a file that grew is noticed.
            let mut chunk = vec![0; CHUNK.min(left as usize + 1)];
            let length = reader.read(&mut chunk).map_err(|error| unreadable(source, &error))?;
            chunk.truncate(length);
            if length == 0 {
                break;
            }
            left = left.checked_sub(length as u64).ok_or_else(changed)?;
            hasher.raw(&chunk);
            if !take(chunk) {
                return Ok(false);
            }
        }
        if hasher.finish() == *digest { Ok(true) } else { Err(changed()) }
    }

    fn open(&self, source: &Path) -> Result<Box<dyn Read + '_>, DockerError> {
        match &self.inline {
            Some(bytes) => Ok(Box::new(&bytes[..])),
            None => Ok(Box::new(File::open(source).map_err(|error| unreadable(source, &error))?)),
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> DockerError {
    match error.kind() {
        std::io::ErrorKind::NotFound => DockerError::ChangedWhileBuilding { path: path.to_owned() },
        _ => DockerError::Unreadable { path: path.to_owned(), message: error.to_string() },
    }
}

/// The parts of a path: their order is the order in which both ends of a session walk.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

fn check(context: &Context) -> Result<(), DockerError> {
    let mut folders: Vec<&[u8]> = Vec::new();
    let mut last: Option<&[u8]> = None;
    for entry in &context.entries {
        let path = entry.path.as_slice();
        let fine = components(path).all(|part| !part.is_empty() && part != b"." && part != b"..");
        while folders.last().is_some_and(|folder| !is_below(path, folder)) {
            folders.pop();
        }
        let parent = path.iter().rposition(|byte| *byte == b'/').map(|at| &path[..at]);
        let sorted = last.is_none_or(|last| components(last).lt(components(path)));
        if !fine || !sorted || parent != folders.last().copied() {
            let path = String::from_utf8_lossy(path).into_owned();
            return Err(DockerError::Bug { what: format!("the manifest of the context is out of order at `{path}`") });
        }
        if entry.kind == ContextKind::Directory {
            folders.push(path);
        }
        last = Some(path);
    }
    Ok(())
}

/// Whether `path` is inside `folder`.
pub fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.len() > folder.len() && path.starts_with(folder) && path[folder.len()] == b'/'
}

/// The first fault that a service met: it explains what the engine can only report as a broken transfer.
#[derive(Clone, Default)]
pub struct Fault(Arc<Mutex<Option<DockerError>>>);

impl Fault {
    pub fn put(&self, error: DockerError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub fn take(&self) -> Option<DockerError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: ContextKind) -> ContextEntry {
        ContextEntry { path: path.into(), kind }
    }

    fn file(path: &str, source: &Path, content: &[u8]) -> ContextEntry {
        let (digest, size) = (Digest::of(content), content.len() as u64);
        entry(path, ContextKind::File { source: source.into(), digest, size, executable: false })
    }

    #[test]
    fn only_an_ordered_manifest_is_taken() {
        let link = || ContextKind::Symlink { target: b"x".to_vec() };
        let tree = |entries: Vec<ContextEntry>| Tree::new(Arc::new(Context { entries }));
        let good = tree(vec![
            entry("a", ContextKind::Directory),
            entry("a/b", link()),
            entry("a-b", link()),
            entry("b", link()),
        ]);
        assert!(good.unwrap().find(b"a-b").is_some());
        for bad in [
            vec![entry("b", link()), entry("a", link())],
            vec![entry("a/b", link())],
            vec![entry("a", link()), entry("a/b", link())],
            vec![entry("../a", link())],
            vec![entry("/a", link())],
            vec![entry("a", link()), entry("a", link())],
        ] {
            assert!(tree(bad).is_err());
        }
    }

    #[test]
    fn other_content_is_noticed_whatever_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let content = vec![7; CHUNK + 10];
        let entry = file("f", &path, &content);
        let tree = Tree::new(Arc::new(Context { entries: vec![entry.clone()] })).unwrap();
        let mut got = Vec::new();
        let mut read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            got.clear();
            tree.read(&entry, |chunk| {
                got.extend(chunk);
                true
            })
            .map(|whole| (whole, got.clone()))
        };
        assert_eq!(read(&content).unwrap(), (true, content.clone()));
        let mut other = content.clone();
        other[3] = 8;
        let longer: Vec<u8> = content.iter().copied().chain([1]).collect();
        for bytes in [&other[..], &content[1..], &longer[..], b""] {
            assert!(matches!(read(bytes), Err(DockerError::ChangedWhileBuilding { .. })));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(tree.read(&entry, |_| true), Err(DockerError::ChangedWhileBuilding { .. })));
    }
}
