//! Push and stable, with the registry's own answers as the witness: row 6. Knows registries only by HTTP and by disk.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use xtask::registry::testing::RealRegistry;

use super::space::{IMAGES, Space};

/// A registry and a stack that is published there.
pub struct Scene {
    pub registry: RealRegistry,
    pub space: Space,
}

/// What the registry answers for a tag: digest and manifest.
pub type Answer = Option<(String, String)>;

impl Scene {
    pub fn new(name: &str) -> Self {
        let registry = RealRegistry::start().expect("a registry");
        let mut space = Space::new(name);
        space.env.insert("STACK_REGISTRY".to_owned(), registry.host().to_owned());
        Self { registry, space }
    }

    /// The commit of the stack, 7 digits.
    pub fn commit(&self) -> String {
        let git = |words: &[&str]| {
            let identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"];
            let done = Command::new("git").args(identity).args(words).current_dir(self.space.root()).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8_lossy(&done.stdout).trim().to_owned()
        };
        git(&["init", "--quiet"]);
        git(&["commit", "--quiet", "--allow-empty", "--message=Begin"]);
        git(&["rev-parse", "HEAD"])[..7].to_owned()
    }

    /// A request of our own, without any client of the project.
    pub fn get(&self, path: &str) -> (u16, String, String) {
        let accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
        self.get_as(path, accept)
    }

    pub fn get_as(&self, path: &str, accept: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.registry.host()).expect("the registry");
        write!(stream, "GET /v2/{path} HTTP/1.0\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", self.registry.host())
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    pub fn manifest(&self, image: &str, tag: &str) -> Answer {
        let (status, head, body) = self.get(&format!("{image}/manifests/{tag}"));
        let digest = head.lines().find_map(|line| line.strip_prefix("docker-content-digest: "))?.trim().to_owned();
        assert_eq!(status, 200);
        Some((digest, body))
    }

    pub fn tags(&self, image: &str) -> Vec<String> {
        let (_, _, body) = self.get(&format!("{image}/tags/list"));
        let list: serde_json::Value = serde_json::from_str(&body).expect("a list");
        let mut tags: Vec<String> = serde_json::from_value(list["tags"].clone()).unwrap_or_default();
        tags.sort_unstable();
        tags
    }

    /// Everything that a request for this tag answers, for all images.
    pub fn all(&self, tag: &str) -> BTreeMap<&'static str, Answer> {
        IMAGES.into_iter().map(|image| (image, self.manifest(image, tag))).collect()
    }

    /// Every file of the registry with size and time: whatever is sent there leaves a trace.
    pub fn disk(&self) -> BTreeMap<PathBuf, (u64, SystemTime)> {
        let mut found = BTreeMap::new();
        walk(&self.registry.storage(), &mut found);
        assert!(found.len() > 10, "the registry is not empty");
        found
    }
}

fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, (u64, SystemTime)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let meta = entry.metadata().expect("its facts");
        found.insert(entry.path(), (meta.len(), meta.modified().expect("its time")));
        if meta.is_dir() {
            walk(&entry.path(), found);
        }
    }
}

#[test]
fn a_version_is_pushed_once_never_moves_and_becomes_stable_without_a_pull() {
    let mut scene = Scene::new("push");
    let commit = format!("t-{}", scene.commit());
    scene.space.run(&["push", "--version", "1.0.0"]).fine();
    for image in IMAGES {
        let (digest, manifest) = scene.manifest(image, "1.0.0").expect("it was pushed");
        assert!(manifest.contains(&scene.space.id(image)), "{image}: the manifest names the image of the engine");
        let tags = scene.tags(image);
        assert_eq!(tags.len(), 4, "{tags:?}");
        assert!(tags.contains(&commit) && tags.contains(&"latest".to_owned()), "{tags:?}");
        for tag in tags {
            assert_eq!(scene.manifest(image, &tag).expect("a tag").0, digest, "{image}:{tag}");
        }
    }

    let disk = scene.disk();
    let again = scene.space.run(&["push", "--version", "1.0.0"]).fine();
    assert_eq!(again.started(), [""; 0]);
    assert_eq!(scene.disk(), disk, "nothing was sent");

    scene.space.append("images/leaf/note.txt", "another line");
    let refused = scene.space.run(&["push", "--version", "1.0.0"]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert_eq!(refused.outcomes()["push"], "failed");
    assert!(refused.problem("push").ends_with("a version never moves"), "{}", refused.stdout);
    assert_eq!(scene.disk(), disk, "nothing moved");

    let wanted = scene.all(&commit);
    // Another engine than none would be needed for a pull.
    let engine = scene.space.env.insert("DOCKER_HOST".to_owned(), "unix:///nonexistent.sock".to_owned());
    scene.space.run(&["stable"]).fine();
    assert_eq!(scene.all("t-stable"), wanted, "the same bytes under another tag");
    assert_eq!(scene.all(&commit), wanted, "and what it was copied from is as before");
    let disk = scene.disk();
    scene.space.run(&["stable"]).fine();
    assert_eq!(scene.disk(), disk, "a second time nothing is written");
    scene.space.env.remove("DOCKER_HOST");
    scene.space.env.extend(engine.map(|engine| ("DOCKER_HOST".to_owned(), engine)));

    scene.space.run(&["push", "--version", "1.1.0"]).fine();
    let (old, new) = (scene.all("1.0.0"), scene.all("1.1.0"));
    assert_eq!(old, wanted, "the first version is as it was");
    assert_ne!(new["leaf"], old["leaf"]);
    for image in ["base", "mid", "side"] {
        assert_eq!(new[image], old[image], "{image} did not change");
    }
    assert_eq!(scene.all("latest"), new);
    assert_eq!(scene.all("t-stable"), wanted, "stable moves only when it is told to");
    scene.space.run(&["stable"]).fine();
    assert_eq!(scene.all("t-stable"), new);
}

#[test]
fn what_failed_its_tests_is_not_pushed_and_the_rest_is() {
    let scene = Scene::new("failing");
    scene.space.append("images/mid/test/test_mid.py", "    assert False, 'on purpose'");
    let run = scene.space.run(&["push-each", "--version", "1.0.0"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    let outcomes = run.outcomes();
    // The tests of a parent are run for its descendants, too.
    for (task, outcome) in [
        ("test:base", "ran"),
        ("test:side", "ran"),
        ("test:mid", "failed"),
        ("test:leaf", "failed"),
        ("push-image:mid", "unmet"),
        ("push-image:leaf", "unmet"),
    ] {
        assert_eq!(outcomes[task], outcome, "{task}");
    }
    let pushed: Vec<bool> = IMAGES.iter().map(|image| scene.manifest(image, "1.0.0").is_some()).collect();
    assert_eq!(pushed, [true, false, false, true], "{IMAGES:?}");

    let whole = scene.space.run(&["push", "--version", "2.0.0"]);
    assert_eq!((whole.code, whole.outcomes()["push"]), (1, "unmet"), "{}", whole.stdout);
    assert!(IMAGES.iter().all(|image| scene.manifest(image, "2.0.0").is_none()), "the stack is pushed as one");
}

#[test]
fn an_image_without_a_test_task_is_untested_and_refused() {
    let scene = Scene::new("untested");
    let tasks = scene.space.read("tasks.yaml");
    let (start, rest) = tasks.split_once("  test:\n").unwrap();
    let (_, rest) = rest.split_once("  push-image:\n").unwrap();
    let rest = format!("{start}  push-image:\n{rest}").replace("[\"test:*\"]", "[\"build:*\"]");
    scene.space.write("tasks.yaml", &rest);
    let run = scene.space.run(&["push-image:base", "--version", "1.0.0"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    assert_eq!(run.problem("push-image:base"), "image `base` is untested, and nothing untested is pushed");
    assert_eq!(scene.tags("base"), [""; 0]);
}
