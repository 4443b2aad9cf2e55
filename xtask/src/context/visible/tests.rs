//! What Dockerfiles see of small folders. Knows nothing of how folders are walked.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::render::dockerfile::BuildOptions;

fn facts(path: &Path) -> io::Result<FileFacts> {
    let bytes = fs::read(path)?;
    Ok(FileFacts { digest: Digest::of(&bytes), size: bytes.len() as u64, executable: false })
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        Self(dir)
    }

    fn link(self, target: &str, name: &str) -> Self {
        symlink(target, self.0.path().join(name)).unwrap();
        self
    }

    fn try_see(&self, lines: &str, ignore: &str) -> Result<Context, VisibleError> {
        let text = format!("FROM scratch\n{lines}\n");
        let dockerfile = Dockerfile::read("Dockerfile", &text, &BuildOptions::default()).unwrap();
        let ignore = Ignore::parse(".dockerignore", ignore.as_bytes()).unwrap();
        visible(&dockerfile, self.0.path(), &ignore, facts)
    }

    fn see(&self, lines: &str, ignore: &str) -> String {
        let context = self.try_see(lines, ignore).unwrap();
        let names: Vec<String> = context
            .entries
            .iter()
            .map(|entry| {
                let name = String::from_utf8_lossy(&entry.path);
                match &entry.kind {
                    ContextKind::Directory => format!("{name}/"),
                    ContextKind::File { .. } => name.into_owned(),
                    ContextKind::Symlink { target } => format!("{name}->{}", String::from_utf8_lossy(target)),
                }
            })
            .collect();
        names.join(" ")
    }
}

#[test]
fn exactly_what_is_copied_is_seen() {
    let folder = Folder::new(&["README.md", "src/a.c", "src/b.h", "src/sub/c.c", "src-x/d", "data/e"]);
    assert_eq!(folder.see("COPY src /x", ""), "src/ src/a.c src/b.h src/sub/ src/sub/c.c");
    assert_eq!(folder.see("COPY src/*.c /x/", ""), "src/ src/a.c");
    assert_eq!(folder.see("COPY s*/* /x/", ""), "src/ src/a.c src/b.h src/sub/ src/sub/c.c src-x/ src-x/d");
    assert_eq!(folder.see("COPY data/e README.md /x/", ""), "README.md data/ data/e");
    assert_eq!(folder.see("RUN --mount=type=bind,source=data,target=/d x", ""), "data/ data/e");
    assert_eq!(folder.see("COPY --parents src/**/*.c /x/", ""), "src/ src/a.c src/sub/ src/sub/c.c");
    assert_eq!(folder.see("COPY nothing* README.md /x/", ""), "README.md");
    assert_eq!(folder.see("COPY . /x/", "src*\n!src/sub"), "README.md data/ data/e src/ src/sub/ src/sub/c.c");
    assert_eq!(folder.see("COPY src /x/", "src\n!**/*.h"), "src/ src/b.h");
}

#[test]
fn links_stay_links_and_their_ends_are_seen() {
    let folder = Folder::new(&["real/one", "real/two", "x"])
        .link("real", "short")
        .link("../outside", "out")
        .link("/real/one", "real/absolute")
        .link("loop", "loop")
        .link("gone", "dangling");
    assert_eq!(folder.see("COPY short/one /x", ""), "real/ real/one short->real");
    assert_eq!(folder.see("COPY short /x", ""), "real/ real/absolute->/real/one real/one real/two short->real");
    assert_eq!(folder.see("COPY real/absolute /x", ""), "real/ real/absolute->/real/one real/one");
    assert_eq!(folder.see("COPY . /x", "real\nx"), "dangling->gone loop->loop out->../outside short->real");
    assert!(folder.try_see("COPY loop /x", "").is_err());
    assert!(folder.try_see("COPY out /x", "").is_err());
}

#[test]
fn a_missing_source_is_told_with_its_line() {
    let folder = Folder::new(&["requirements.txt", "secret/key"]);
    let error = folder.try_see("COPY requirments.txt /\nCOPY secret/key /", "secret").unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: `requirments.txt` is not in the build context, and `COPY` needs it\n  --> Dockerfile:2:6\n  help: a file \
         with a similar name exists: `requirements.txt`\nerror: `secret/key` is not in the build context, and `COPY` \
         needs it\n  --> Dockerfile:3:6\n  note: the file exists, but the ignore file excludes it\n  help: add \
         `!secret/key` to it"
    );
}

#[test]
fn what_cannot_be_in_an_image_is_refused_without_blocking() {
    let folder = Folder::new(&["a"]);
    let pipe = folder.0.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.0.path().join("socket")).unwrap();
    let error = folder.try_see("COPY . /", "").unwrap_err().to_string();
    assert!(error.contains("pipe` is a FIFO") && error.contains("socket` is a socket"), "{error}");
    assert_eq!(folder.see("COPY . /", "pipe\nsocket"), "a");
}

#[test]
fn a_file_that_vanishes_is_a_change_not_a_crash() {
    let folder = Folder::new(&["a", "b"]);
    let dockerfile = Dockerfile::read("Dockerfile", "FROM scratch\nCOPY . /", &BuildOptions::default()).unwrap();
    let vanish = |path: &Path| {
        if path.ends_with("b") { Err(io::ErrorKind::NotFound.into()) } else { facts(path) }
    };
    let error = visible(&dockerfile, folder.0.path(), &Ignore::nothing(), vanish).unwrap_err();
    assert!(matches!(error, VisibleError::Changed(path) if path.ends_with("b")));
}

#[test]
fn names_are_bytes_in_component_order() {
    let folder = Folder::new(&["a/z", "a.b", "a-b/c"]);
    let odd = OsStr::from_bytes(b"\xff\n x");
    fs::write(folder.0.path().join(odd), "").unwrap();
    let context = folder.try_see("COPY . /", "").unwrap();
    let paths: Vec<&[u8]> = context.entries.iter().map(|entry| entry.path.as_slice()).collect();
    assert_eq!(paths, [b"a".as_slice(), b"a/z", b"a-b", b"a-b/c", b"a.b", b"\xff\n x"]);
}
