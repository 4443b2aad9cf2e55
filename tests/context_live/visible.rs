//! What a Dockerfile can see is enough: an image from the visible files equals the one from the whole folder.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::{fs, io};

use xtask::context::{FileFacts, Ignore, visible};
use xtask::docker::{Builder, DockerError};
use xtask::model::{Context, Digest, StopToken};
use xtask::render::dockerfile::{BuildOptions, Dockerfile};

use crate::support::{Lab, manifest};

fn facts(path: &Path) -> io::Result<FileFacts> {
    let bytes = fs::read(path)?;
    let executable = path.ends_with("tool");
    Ok(FileFacts { digest: Digest::of(&bytes), size: bytes.len() as u64, executable })
}

fn lab(name: &str, builder: Builder) -> Lab {
    let mut lab = Lab::new(name, builder);
    lab.request.labels.insert("xtask.test".into(), "context".into());
    // The classic builder stumbles, in its search for a cached step, over images that other tests remove.
    lab.request.no_cache = builder == Builder::Classic;
    for file in
        ["README.md", "src/a.c", "src/b.h", "src/sub/c.c", "src-x/d", "data/e", "data/f g", "s1/one/x", "s2/one/y"]
    {
        lab.folder.write(file, file);
    }
    let path = lab.folder.path().to_owned();
    fs::create_dir(path.join("src/empty")).unwrap();
    symlink("src", path.join("short")).unwrap();
    symlink("../README.md", path.join("src/up")).unwrap();
    symlink("/data/e", path.join("absolute")).unwrap();
    symlink("nowhere", path.join("dangling")).unwrap();
    lab
}

fn build(lab: &mut Lab, dockerfile: &str, context: Arc<Context>) -> Result<BTreeMap<String, String>, DockerError> {
    lab.request.dockerfile = dockerfile.into();
    lab.request.context = context;
    let built = lab.docker.build(&lab.request, &mut |_| {}, &StopToken::new())?;
    let found = exported(&built.image);
    let _ = lab.docker.remove_image(&built.image, true);
    Ok(found)
}

/// Path → mode and content of all that is in an image, by the docker command line.
fn exported(image: &str) -> BTreeMap<String, String> {
    let run = |args: &[&str]| {
        let output = Command::new("docker").args(args).output().expect("the docker command line");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let id = run(&["create", "--label=xtask.test=context", image, "/tool"]);
    let id = String::from_utf8_lossy(&id).trim().to_owned();
    let tarball = run(&["export", &id]);
    run(&["rm", &id]);
    let mut archive = tar::Archive::new(tarball.as_slice());
    let entries = archive.entries().expect("a tar").map(|entry| entry.expect("an entry"));
    entries
        .map(|mut entry| {
            let mut content = String::new();
            let header = entry.header().clone();
            if header.entry_type().is_file() && header.size().is_ok_and(|size| size < 4096) {
                let _ = entry.read_to_string(&mut content);
            }
            let link = entry.link_name().ok().flatten().map(|link| link.to_string_lossy().into_owned());
            let path = entry.path_bytes();
            let path = String::from_utf8_lossy(&path).into_owned();
            (path, format!("{:o} {content} {link:?}", header.mode().unwrap_or_default()))
        })
        .collect()
}

const COPIES: [&str; 16] = [
    "COPY src /x",
    "COPY src/*.c /x/",
    "COPY s*/* /x/",
    "COPY s?/one /x/",
    "COPY [\"data/f g\", \"README.md\", \"/x/\"]",
    "COPY short/a.c /x",
    "COPY short /x",
    "COPY short/*.c /x/",
    "COPY src/up /x",
    "COPY absolute /x",
    "COPY ../../src/./sub/.. /x/",
    "COPY . /x",
    "COPY src/empty /x/",
    "ADD data src/[ab].* /x/",
    "ARG D=data\nENV E=$D/e\nCOPY ${E} /x/${D:+y}",
    "COPY README* nothing* /x/",
];

fn same_image(builder: Builder, name: &str) {
    let mut lab = lab(name, builder);
    let whole = manifest(lab.folder.path());
    // The classic builder takes no glob below a link, and no `..` that leaves the context.
    let skipped = |copy: &str| builder == Builder::Classic && (copy.contains("short/*") || copy.contains(".."));
    for copy in COPIES.into_iter().filter(|copy| !skipped(copy)) {
        let text = format!("FROM scratch\n{copy}\n");
        let dockerfile = Dockerfile::read("Dockerfile", &text, &BuildOptions::default()).unwrap();
        let seen = visible(&dockerfile, lab.folder.path(), &Ignore::nothing(), facts);
        let expected = build(&mut lab, &text, Arc::clone(&whole));
        let (seen, expected) = match (seen, expected) {
            (Ok(seen), Ok(expected)) => (seen, expected),
            (seen, expected) => panic!("{copy}: {seen:?} {expected:?}"),
        };
        assert!(seen.entries.len() < whole.entries.len() || copy == "COPY . /x", "{copy} sees everything");
        let got = build(&mut lab, &text, Arc::new(seen)).unwrap_or_else(|error| panic!("{copy}: {error}"));
        assert_eq!(got, expected, "{copy}");
    }
}

#[test]
fn visible_files_are_enough_for_buildkit() {
    same_image(Builder::BuildKit, "visible");
}

#[test]
fn visible_files_are_enough_for_the_classic_builder() {
    same_image(Builder::Classic, "visible-classic");
}

/// What has no file for us has none for the builders.
#[test]
fn sources_that_find_nothing_fail_everywhere() {
    for builder in [Builder::BuildKit, Builder::Classic] {
        let mut lab = lab("missing", builder);
        let whole = manifest(lab.folder.path());
        for copy in ["COPY none /x", "COPY src/none/a /x", "COPY dangling /x", "COPY README.md/x /y"] {
            let text = format!("FROM scratch\n{copy}\n");
            let dockerfile = Dockerfile::read("Dockerfile", &text, &BuildOptions::default()).unwrap();
            assert!(visible(&dockerfile, lab.folder.path(), &Ignore::nothing(), facts).is_err(), "{copy}");
            assert!(build(&mut lab, &text, Arc::clone(&whole)).is_err(), "{copy}");
        }
    }
}
