//! What tests with a real engine share: the endpoint, small contexts, images that go away again. Knows nothing of what
//! is tested.
#![allow(dead_code, reason = "each test target uses a part of it")]

pub mod proxy;
pub mod spare;
pub mod sshd;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use xtask::docker::{BuildEvent, BuildRequest, BuildResult, Builder, ContainerSpec, Docker, DockerError, endpoint};
use xtask::model::{Context, ContextEntry, ContextKind, Digest, ImageRef, StopToken};

pub const LABEL: &str = "xtask.test";

/// The engine that the docker command line would use. There is no test without it.
pub fn engine() -> Docker {
    let endpoint = endpoint::resolve(&|name| std::env::var_os(name), None).expect("an endpoint");
    Docker::connect(&endpoint).expect("a client")
}

/// A static program for scratch images, compiled once.
pub fn tool() -> PathBuf {
    let source = include_str!("tool.c");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tool-{}", Digest::of(source.as_bytes()).short()));
    if !path.exists() {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let (from, to) = (folder.path().join("tool.c"), folder.path().join("tool"));
        std::fs::write(&from, source).expect("the source");
        let done = Command::new("gcc").args(["-static", "-Os", "-s", "-o"]).arg(&to).arg(&from).status();
        assert!(done.expect("gcc").success(), "gcc -static works");
        std::fs::rename(&to, &path).expect("a place for the program");
    }
    path
}

/// A name that no other test has, always of the same length for a prefix, as pictures of errors tell places by columns.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("xtask-test-{prefix}-{:07}-{:03}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A manifest of these files on disk, with the folders that hold them.
pub fn manifest(root: &Path) -> Arc<Context> {
    let mut entries = Vec::new();
    walk(root, b"", &mut entries);
    Arc::new(Context { entries })
}

fn walk(folder: &Path, prefix: &[u8], entries: &mut Vec<ContextEntry>) {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    let mut found: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    found.sort_by_key(std::fs::DirEntry::file_name);
    for item in found {
        let mut path = prefix.to_vec();
        path.extend_from_slice(item.file_name().as_bytes());
        let meta = item.metadata().expect("metadata");
        if meta.is_dir() {
            entries.push(ContextEntry { path: path.clone(), kind: ContextKind::Directory });
            path.push(b'/');
            walk(&item.path(), &path, entries);
        } else if meta.is_symlink() {
            let target = std::fs::read_link(item.path()).expect("a link").as_os_str().as_bytes().to_vec();
            entries.push(ContextEntry { path, kind: ContextKind::Symlink { target } });
        } else {
            let content = std::fs::read(item.path()).expect("a file");
            let executable = meta.permissions().mode() & 0o111 != 0;
            let (digest, size) = (Digest::of(&content), content.len() as u64);
            entries
                .push(ContextEntry { path, kind: ContextKind::File { source: item.path(), digest, size, executable } });
        }
    }
}

/// A folder for a context; `tool` is in it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::copy(tool(), folder.path().join("tool")).expect("the tool");
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }
}

/// Builds under a unique tag and removes what it built.
pub struct Lab {
    pub docker: Docker,
    pub folder: Folder,
    pub request: BuildRequest,
    pub events: Vec<BuildEvent>,
    images: Vec<String>,
}

impl Lab {
    pub fn new(name: &str, builder: Builder) -> Self {
        let unique = unique(name);
        let mut request = BuildRequest {
            shared_key: unique.clone(),
            tags: vec![ImageRef { name: unique, tag: Some("1".to_owned()), digest: None }],
            builder,
            ..Default::default()
        };
        request.labels.insert(LABEL.to_owned(), "docker".to_owned());
        // Builders give equal images equal ids: without it, tests would remove one another's.
        request.labels.insert("lab".to_owned(), request.shared_key.clone());
        Self { docker: engine(), folder: Folder::new(), request, events: Vec::new(), images: Vec::new() }
    }

    pub fn tag(&self) -> String {
        self.request.tags[0].to_string()
    }

    pub fn build(&mut self, dockerfile: &str) -> Result<BuildResult, DockerError> {
        self.build_until(dockerfile, &StopToken::new())
    }

    pub fn build_until(&mut self, dockerfile: &str, stop: &StopToken) -> Result<BuildResult, DockerError> {
        self.request.dockerfile = dockerfile.into();
        self.request.context = manifest(self.folder.path());
        self.events.clear();
        let events = &mut self.events;
        let built = self.docker.build(&self.request, &mut |event| events.push(event), stop)?;
        self.images.push(built.image.clone());
        Ok(built)
    }

    /// All that the steps printed.
    pub fn log(&self) -> String {
        let logs = self.events.iter().filter_map(|event| match event {
            BuildEvent::Log { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        });
        logs.collect()
    }
}

/// What an image prints when it runs, by the docker command line: not the code under test.
pub fn output(image: &str, command: &[&str]) -> String {
    let output = Command::new("docker").args(["run", "--rm", "--network=none", image, "/tool"]).args(command).output();
    let output = output.expect("the docker command line");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A file of an image, without running it.
pub fn content(docker: &Docker, image: &str, path: &str) -> String {
    let spec = ContainerSpec { image: image.to_owned(), command: vec!["/tool".to_owned()], ..Default::default() };
    let id = docker.create(&spec).expect("a container");
    let mut archive = Vec::new();
    let got = docker.download(&id, path, &mut archive, &StopToken::new());
    docker.remove(&id).expect("removal");
    got.expect("the file");
    let mut text = String::new();
    let mut archive = tar::Archive::new(&archive[..]);
    let mut entry = archive.entries().expect("entries").next().expect("an entry").expect("a file");
    std::io::Read::read_to_string(&mut entry, &mut text).expect("text");
    text
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Children before their parents, which could not go otherwise.
        for image in std::mem::take(&mut self.images).into_iter().rev() {
            let _ = self.docker.remove_image(&image, true);
        }
    }
}
