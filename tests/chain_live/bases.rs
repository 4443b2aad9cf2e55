//! Bases from outside that move in their registry: row K16. Knows nothing of how they are pulled.

use std::process::Command;

use xtask::registry::testing::RealRegistry;

use super::program::{Run, end_of};
use super::space::{Space, docker};
use crate::support::LABEL;

/// Publishes another image under the name of the base, by hand; gives its digest.
fn publish(space: &Space, name: &str, content: &str) -> String {
    let label = format!("LABEL {LABEL}={}", space.prefix);
    space.write("os/Dockerfile", &format!("FROM scratch\nCOPY content /os\n{label}\n"));
    space.write("os/content", &format!("{content} of {}", space.prefix));
    let folder = space.path("os");
    // Looking for a step in its cache, the classic builder stumbles over images that others remove meanwhile.
    let build = ["build", "--quiet", "--no-cache", "--tag", name, folder.to_str().expect("text")];
    for words in [&build[..], &["push", "--quiet", name]] {
        let done = Command::new("docker").args(words).output().expect("the docker command line");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let digest = docker(&["image", "inspect", "--format={{index .RepoDigests 0}}", name]);
    docker(&["rmi", "--force", name]);
    digest.split_once('@').expect("a digest").1.to_owned()
}

fn scene(policy: &str) -> (RealRegistry, Space, String) {
    let registry = RealRegistry::start().expect("a registry");
    let space = Space::new("bases");
    let name = format!("{}/os:1", registry.host());
    space.write("images/base/Dockerfile.j2", &format!("FROM {name}\nCOPY tool /tool\nCOPY note.txt /note/base.txt\n"));
    space.append("images/spec.yml", &format!("bases: {{ \"{name}\": {{ policy: {policy} }} }}"));
    space.append("tasks.yaml", &format!("  os: {{ actions: [{{ base_image: {{ name: \"{name}\" }} }}] }}"));
    (registry, space, name)
}

/// `spec` has no colours to switch off.
fn spec(space: &Space, words: &[&str]) -> Run {
    end_of(space.command(words))
}

#[test]
fn k16_a_floating_base_that_moved_is_a_reason_and_one_that_cannot_be_asked_a_warning() {
    let (registry, space, name) = scene("float");
    let one = publish(&space, &name, "one");
    space.run(&["build:base"]).fine();
    assert!(space.read("images/bases.lock.yml").contains(&one), "it is locked");
    let lock = space.read("images/bases.lock.yml");
    assert_eq!(space.run(&["build:base"]).fine().started(), [""; 0]);

    let two = publish(&space, &name, "two");
    let moved = space.run(&["build:base"]).fine();
    assert!(moved.built("base"), "{}", moved.stdout);
    let decided = moved.of("task_decided").find(|one| one["task"] == "os").expect("a decision");
    let reasons = decided["reasons"].to_string();
    assert!(reasons.contains(&one) && reasons.contains(&two), "old and new: {reasons}");
    let why = space.say(&["explain", "build:base", "--last"]).fine();
    assert!(why.stdout.contains(&format!("base `{name}` moved")), "{}", why.stdout);
    assert_ne!(space.read("images/bases.lock.yml"), lock);
    assert!(space.read("images/bases.lock.yml").contains(&two));
    let id = space.id("base");

    drop(registry);
    let offline = space.run(&["build:base"]).fine();
    assert_eq!(offline.started(), ["os"], "which warns, and nothing else is done");
    assert!(offline.stdout.contains("cannot be looked up, so the locked digest counts"), "{}", offline.stdout);
    assert_eq!(space.id("base"), id);
}

#[test]
fn k16_a_pinned_base_moves_only_when_it_is_told_to() {
    let (_registry, space, name) = scene("pinned");
    let one = publish(&space, &name, "one");
    space.run(&["build:base"]).fine();
    let id = space.id("base");
    let two = publish(&space, &name, "two");
    assert_eq!(space.run(&["build:base"]).fine().started(), [""; 0], "pinned is pinned");

    let check = spec(&space, &["spec", "lock", "--check"]);
    assert_eq!(check.code, 1);
    assert_eq!(check.stdout.trim(), format!("{name} (pinned): {one}; has moved to {two}"));
    let lock = spec(&space, &["spec", "lock"]).fine();
    assert_eq!(lock.stdout, check.stdout, "it says so, and does not move it");
    assert!(space.read("images/bases.lock.yml").contains(&one));
    let wrong = spec(&space, &["spec", "lock", "--update", "os:2"]);
    assert_eq!(wrong.code, 3);
    assert!(wrong.stderr.contains("`os:2` is no base of the stack"), "{}", wrong.stderr);

    let update = spec(&space, &["spec", "lock", "--update", &name]).fine();
    assert_eq!(update.stdout.trim(), format!("{name} (pinned): {one}; locked at {two}"));
    let moved = space.run(&["build:base"]).fine();
    assert!(moved.built("base"), "{}", moved.stdout);
    assert_ne!(space.id("base"), id);
    spec(&space, &["spec", "lock", "--check"]).fine();
}
