//! What the engine goes through when a run ends badly: rows K3, K4, K5, K13 and K17. Knows containers and processes by a
//! mark in their words.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::ends::{containers, in_the_step, sleeper};
use super::program::{Running, processes_with, wait_for};
use super::publish::Scene;
use super::space::{Space, docker};
use crate::counts::count;

fn until(mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    wait_for("what was running is gone", &mut is_so);
    begun.elapsed()
}

#[test]
fn k3_a_step_is_gone_soon_after_its_build_was_interrupted_or_killed() {
    let (space, mark) = sleeper("k3", "buildkit", "300");
    let mut times = Vec::new();
    for round in 0..count(4, 66) {
        let running = in_the_step(&space, &mark);
        running.signal(if round % 2 == 0 { Signal::INT } else { Signal::KILL });
        times.push(until(|| processes_with(&mark).is_empty()));
        assert_eq!(running.end(), if round % 2 == 0 { 130 } else { 128 + 9 });
    }
    times.sort_unstable();
    assert!(times[times.len() / 2] < Duration::from_secs(2), "{times:?}");
    // A busy machine may be late once, the engine is not.
    assert!(times[times.len() - 1] < Duration::from_secs(8), "{times:?}");
}

/// A stack whose image `side` has an info command that runs for ever as the first process of its container, which
/// ignores what it does not handle.
fn deaf(name: &str) -> (Space, String) {
    let space = Space::new(name);
    let mark = format!("mark-of-{}", space.prefix);
    space.replace("images/spec.yml", "/side,", "/side, info_cmds: [STAY],");
    let command =
        format!("all_info_cmds:\n  STAY: {{ description: Stay, command: \"/tool say {mark} , sleep 300\" }}\n");
    space.write("images/spec.yml", &(space.read("images/spec.yml") + &command));
    (space, mark)
}

#[test]
fn k4_a_container_that_is_deaf_to_term_is_gone_with_its_run() {
    let (space, mark) = deaf("k4");
    space.run(&["build:side"]).fine();
    for _ in 0..count(1, 20) {
        let running = Running::start(space.command(&["manifest:side", "--reporter", "json"]));
        wait_for("the container runs", || !processes_with(&mark).is_empty());
        running.signal(Signal::INT);
        let time = until(|| processes_with(&mark).is_empty());
        // The grace is ten seconds, which nothing needs that can be killed at once.
        assert!(time < Duration::from_secs(12), "{time:?}");
        assert_eq!(running.end(), 130);
        assert_eq!(containers(&mark), [""; 0], "none is left");
    }
}

/// The label by which containers are known to their owner.
const OWNER: &str = "dev.xtask.owner";

fn line(path: &str) -> String {
    std::fs::read_to_string(path).expect("a file of /proc").trim().to_owned()
}

/// What a process of this machine would write into the label.
fn owner(pid: u32, started: &str) -> String {
    let space = std::fs::read_link("/proc/self/ns/pid").expect("a namespace");
    let (host, boot) = (line("/proc/sys/kernel/hostname"), line("/proc/sys/kernel/random/boot_id"));
    format!("{host} {boot} {} {pid} {started}", space.display())
}

fn started(pid: u32) -> String {
    let stat = line(&format!("/proc/{pid}/stat"));
    stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(19)).expect("a start").to_owned()
}

#[test]
fn k5_the_next_run_removes_what_dead_runs_left_and_nothing_else() {
    let (space, mark) = deaf("k5");
    space.run(&["build:side"]).fine();
    // A run that is killed leaves its container.
    let running = Running::start(space.command(&["manifest:side", "--reporter", "json"]));
    wait_for("the container runs", || !processes_with(&mark).is_empty());
    running.signal(Signal::KILL);
    running.end();
    assert_eq!(containers(&mark).len(), 1);
    // Others: of the dead, of the living, of other machines, of nobody.
    let mut ended = Command::new("true").spawn().expect("a process");
    let gone = owner(ended.id(), "1");
    ended.wait().expect("its end");
    let me = std::process::id();
    let elsewhere = owner(me, "1").replacen(&line("/proc/sys/kernel/hostname"), "another-machine", 1);
    let inside = owner(me, "1").replacen("pid:[", "pid:[9", 1);
    let owners = [
        (Some(gone.clone()), true),
        (Some(owner(me, "1")), true),
        (Some(owner(me, &started(me))), false),
        (Some(elsewhere), false),
        (Some(inside), false),
        (Some("nobody-knows".to_owned()), false),
        (None, false),
    ];
    let make = |owner: &Option<String>| {
        let label = owner.as_ref().map_or_else(|| "other=1".to_owned(), |owner| format!("{OWNER}={owner}"));
        let id = docker(&["create", "--label", &label, &space.name("side"), "/tool", "say", "x"]);
        assert_eq!(id.len(), 64, "{id}");
        id
    };
    let made: Vec<(String, bool)> = owners.iter().map(|(owner, is_dead)| (make(owner), *is_dead)).collect();
    space.append("images/side/note.txt", "changed");
    space.run(&["build:side"]).fine();
    let here = docker(&["ps", "--all", "--no-trunc", "--quiet"]);
    let left: Vec<bool> = made.iter().map(|(id, _)| here.contains(id.as_str())).collect();
    for (id, _) in &made {
        docker(&["rm", "--force", id]);
    }
    let wanted: Vec<bool> = made.iter().map(|(_, is_dead)| !is_dead).collect();
    assert_eq!(left, wanted, "{owners:?}");
    assert_eq!(containers(&mark), [""; 0], "that of the killed run is gone, too");
    assert_eq!(processes_with(&mark), [""; 0]);
}

#[test]
fn k13_two_images_of_one_name_are_refused_with_both_places() {
    let space = Space::new("k13");
    space.replace("images/spec.yml", &format!("{}/side", space.prefix), &format!("{}/mid", space.prefix));
    let run = space.say(&["list"]);
    assert_eq!(run.code, 3);
    let message = format!("images `mid` and `side` have the same image_name `{}/mid`", space.prefix);
    assert!(run.stderr.contains(&message), "{}", run.stderr);
    assert_eq!(run.stderr.matches("images/spec.yml:").count(), 2, "{}", run.stderr);
    // Two plans of one prefix would give each image two contents under one tag.
    let space = Space::new("k13-plans");
    space.replace("images/spec.yml", "tag: { prefix: t }", "plans: { a: { tag_prefix: t }, b: { tag_prefix: t } }");
    let run = space.say(&["list"]);
    assert_eq!((run.code, run.stderr.matches("images/spec.yml:").count()), (3, 2), "{}", run.stderr);
}

#[test]
fn k17_a_cache_that_cannot_be_written_is_a_warning_and_one_that_can_is_in_the_registry() {
    let scene = Scene::new("k17");
    let host = scene.registry.host();
    scene.space.replace("images/spec.yml", "/base,", "/base, cache_to: 127.0.0.1:1/nobody,");
    let cache = format!("/side, cache_to: [inline, \"{host}/cache/side\"], cache_from: \"{host}/cache/side:t\",");
    scene.space.replace("images/spec.yml", "/side,", &cache);
    let run = scene.space.run(&["build:side"]).fine();
    assert!(run.built("base") && run.built("side"));
    assert!(
        run.stdout.contains("warning: the cache of image `base` was not written to `127.0.0.1:1/nobody`"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains(&format!("cache written to {host}/cache/side:t")), "{}", run.stdout);
    let (status, _, manifest) = scene.get("cache/side/manifests/t");
    assert_eq!(status, 200, "{manifest}");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("a manifest");
    let config = manifest["config"]["digest"].as_str().expect("its configuration");
    let (status, _, config) = scene.get(&format!("cache/side/blobs/{config}"));
    assert!(status == 200 && config.contains("moby.buildkit.cache.v0"), "{config}");
    assert_eq!(docker(&["images", "--quiet", &format!("{host}/cache/side")]), "", "the engine keeps no name of it");
    // What is there is asked for by the next build, and is no part of what the image is.
    scene.space.append("images/side/note.txt", "changed");
    let run = scene.space.run(&["build:side"]).fine();
    assert!(run.built("side") && !run.built("base"), "{}", run.stdout);
    assert_eq!(scene.space.run(&["build:side"]).fine().started(), [""; 0]);
    scene.space.replace("images/spec.yml", "127.0.0.1:1/nobody", &format!("lab/x@sha256:{}", "0".repeat(64)));
    let run = scene.space.say(&["list"]);
    assert!(run.code == 3 && run.stderr.contains("`cache_to` of image `base` is `lab/x@sha256:0"), "{}", run.stderr);
}
