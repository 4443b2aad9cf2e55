//! What stands in a staged folder. Knows nothing of how it got there.

use super::*;

struct World {
    dir: tempfile::TempDir,
    context: Context,
}

impl World {
    fn new(entries: &[(&str, &str)]) -> Self {
        let mut world = Self { dir: tempfile::tempdir().unwrap(), context: Context::default() };
        world.set(entries);
        world
    }

    /// `d/` is a folder, `-> x` a link, `+x` an executable, other content a file.
    fn set(&mut self, entries: &[(&str, &str)]) {
        let source = self.dir.path().join("source");
        fs::create_dir_all(&source).unwrap();
        let entry = |(name, content): &(&str, &str)| {
            let kind = match content.strip_prefix("-> ") {
                Some(target) => ContextKind::Symlink { target: target.as_bytes().to_vec() },
                None if name.ends_with('/') => ContextKind::Directory,
                None => {
                    let source = source.join(name.replace('/', "_"));
                    fs::write(&source, content).unwrap();
                    let executable = content.starts_with("+x");
                    let digest = Digest::of(content.as_bytes());
                    ContextKind::File { source, digest, size: content.len() as u64, executable }
                }
            };
            ContextEntry { path: name.trim_end_matches('/').as_bytes().to_vec(), kind }
        };
        self.context.entries = entries.iter().map(entry).collect();
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("staged")
    }

    fn stage(&self) -> Staged {
        stage(&self.context, &self.folder()).unwrap()
    }

    fn check(&self) {
        for entry in &self.context.entries {
            let path = place(&self.folder(), entry);
            let there = path.symlink_metadata().unwrap();
            assert_eq!((there.mtime(), there.mtime_nsec() as u32), entry.mtime(), "{}", path.display());
            match &entry.kind {
                ContextKind::File { digest, .. } => {
                    assert_eq!(Digest::of(&fs::read(&path).unwrap()), *digest);
                    assert_eq!((there.mode() & 0o7777, there.nlink()), (entry.mode(), 1));
                }
                ContextKind::Directory => assert!(there.is_dir() && there.mode() & 0o7777 == 0o755),
                ContextKind::Symlink { target } => {
                    assert_eq!(fs::read_link(&path).unwrap().as_os_str().as_bytes(), target);
                }
            }
        }
        let mut found = 0;
        let mut open = vec![self.folder()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                found += 1;
                open.extend(entry.file_type().unwrap().is_dir().then(|| entry.path()));
            }
        }
        assert_eq!(found, self.context.entries.len());
    }
}

#[test]
fn a_staged_folder_is_the_manifest_and_a_second_time_is_free() {
    let mut world = World::new(&[("a/", ""), ("a/run", "+x 1"), ("a/text", "one"), ("empty/", ""), ("to", "-> a/run")]);
    assert_eq!(world.stage(), Staged { written: 2, bytes: 7, removed: 0 });
    world.check();
    assert_eq!(world.stage(), Staged::default());
    // Same size, other content; a folder becomes a file, a file a folder, a link a folder.
    world.set(&[("a", "now a file"), ("empty/", ""), ("text/", ""), ("text/x", "two"), ("to/", "")]);
    world.stage();
    world.check();
    world.set(&[("a/", ""), ("a/run", "+x 2"), ("empty", "-> /etc"), ("to", "a file")]);
    world.stage();
    world.check();
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn what_was_changed_in_the_folder_is_put_right() {
    let world = World::new(&[("a", "one"), ("b", "two")]);
    world.stage();
    fs::write(world.folder().join("a"), "eno").unwrap();
    fs::remove_file(world.folder().join("b")).unwrap();
    fs::hard_link(world.folder().join("a"), world.folder().join("b")).unwrap();
    fs::write(world.folder().join("c"), "more").unwrap();
    assert_eq!(world.stage(), Staged { written: 2, bytes: 6, removed: 1 });
    world.check();
}

#[test]
fn folders_of_others_are_left_alone() {
    let world = World::new(&[("a", "one")]);
    let theirs = world.dir.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("thesis"), "").unwrap();
    assert!(matches!(stage(&world.context, &theirs), Err(StageError::Foreign(_))));
    let way = world.dir.path().join("way");
    symlink(&theirs, &way).unwrap();
    assert!(matches!(stage(&world.context, &way), Err(StageError::Foreign(_))));
    assert!(theirs.join("thesis").exists());
}

#[test]
fn a_source_that_changed_is_not_staged() {
    let world = World::new(&[("a", "one")]);
    fs::write(world.dir.path().join("source/a"), "two").unwrap();
    assert!(matches!(stage(&world.context, &world.folder()), Err(StageError::Changed(path)) if path.ends_with("a")));
    fs::remove_file(world.dir.path().join("source/a")).unwrap();
    assert!(matches!(stage(&world.context, &world.folder()), Err(StageError::Changed(_))));
    assert_eq!(fs::read_dir(world.folder()).unwrap().count(), 0, "no partial file stays");
}
