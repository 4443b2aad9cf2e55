//! A run of only what something happened to, from tasks that were compiled before, must come to the same as one that reads
//! tasks.yaml. Knows of the state only which files hold the compiled tasks and the stat cache.

use std::collections::BTreeMap;

use crate::space::{Ran, Space};

const TASKS: &str = r#"
version: 1
config: { default_tasks: [sum, taker, careful, after, quiet] }
tasks:
  make: { file_dep: [in/make], targets: [out/make], actions: ["cut -c1 in/make > out/make"] }
  twice: { file_dep: [out/make, in/twice], targets: [out/twice], actions: ["cat out/make in/twice > out/twice"] }
  value: { file_dep: [in/value], actions: ['printf "{\"word\": \"%s\"}" "$(cut -c1 in/value)"'] }
  taker: { getargs: { word: value.word }, file_dep: [in/taker], actions: ["echo {{ word }} > out/taker"] }
  each: { for_each: [a, b, c], file_dep: ["in/{{ item }}"], actions: ["cut -c1 in/{{ item }}"] }
  all: { result_dep: [each], file_dep: [in/all], actions: ["true"] }
  late: { task_dep: [each, twice], file_dep: [in/late], actions: ["true"] }
  sum: { task_dep: [all, late] }
  ready: { actions: ["touch out/ready"] }
  careful: { setup: [ready], file_dep: [in/careful], actions: ["cat out/ready"] }
  hasty: { file_dep: [in/hasty], targets: [out/hasty], actions: ["grep -v no in/hasty > out/hasty"] }
  after: { file_dep: [out/hasty], actions: ["cat out/hasty"] }
  loud: { params: [{ name: level, env: LEVEL, default: "1" }], file_dep: [in/loud], actions: ["echo {{ level }}"] }
  quiet: { task_dep: [loud], file_dep: [in/quiet], actions: ["true"] }
"#;

const INPUTS: [&str; 14] =
    ["make", "twice", "value", "taker", "a", "b", "c", "all", "late", "careful", "hasty", "loud", "quiet", "nothing"];

fn space() -> Space {
    let space = Space::new();
    space.write("tasks.yaml", TASKS);
    for name in INPUTS {
        space.write(&format!("in/{name}"), "1\n");
    }
    space.write("out/.keep", "");
    space
}

fn run(space: &Space, words: &[&str]) -> Ran {
    space.command(&[&["run", "--continue", "--reporter", "json"], words].concat(), "")
}

/// How every task ended, and why it ran.
fn told(ran: &Ran) -> BTreeMap<String, (String, Vec<String>)> {
    let ended = ran.events.iter().filter(|event| event["event"] == "task_finished");
    ended
        .map(|event| {
            let name = event["task"].as_str().unwrap().to_owned();
            let outcome = event["outcome"].as_str().unwrap().to_owned();
            let reasons = ran.reasons(&name);
            (name, (outcome, reasons))
        })
        .collect()
}

/// A run, and whether it took only what was compiled: then the stat cache is not read.
fn watched_run(space: &Space) -> (Ran, bool) {
    let cache = space.path(".xtask/files.bin");
    let kept = std::fs::read(&cache).unwrap();
    std::fs::write(&cache, "spoilt").unwrap();
    let ran = run(space, &[]);
    let narrow = std::fs::read(&cache).unwrap() == b"spoilt";
    if narrow {
        std::fs::write(&cache, kept).unwrap();
    }
    (ran, narrow)
}

#[test]
fn only_what_something_happened_to_is_read() {
    let space = space();
    assert_eq!(run(&space, &[]).exit, 0);
    assert_eq!(run(&space, &[]).exit, 0);
    for (input, ran) in [("taker", "taker"), ("b", "each:b"), ("late", "late"), ("make", "make"), ("quiet", "quiet")] {
        space.write(&format!("in/{input}"), "11\n");
        let (once, narrow) = watched_run(&space);
        assert!(narrow, "{input}: {}", once.err);
        let names: Vec<String> = once.outcome("ran").into_iter().collect();
        assert_eq!(names, [ran], "{}", once.err);
        let total = once.events.iter().find(|event| event["event"] == "run_started").unwrap()["tasks"].as_u64();
        assert_eq!(total, Some(once.outcome("ran").len() as u64 + once.outcome("up-to-date").len() as u64));
    }
}

/// Both ways in turn through the same edits: with what was compiled, and without it.
#[test]
fn a_narrow_run_comes_to_the_same_as_a_whole_one() {
    let (narrow, whole) = (space(), space());
    let compiled = ".xtask/tasks.bin";
    let mut seed = 42_u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..120 {
        let mut edits = Vec::new();
        for _ in 0..next(3) {
            let input = INPUTS[next(INPUTS.len() as u64) as usize];
            // The second character is cut off by some tasks: they run and leave the same.
            let content = ["1\n", "11\n", "12\n", "2\n", "no\n"][next(5) as usize];
            edits.push((format!("in/{input}"), content));
        }
        let removed = ["out/make", "out/twice", "out/taker", "out/hasty"][next(4) as usize];
        let removes = next(4) == 0;
        let forgotten = ["make", "each:a", "value", "late"][next(4) as usize];
        let forgets = next(6) == 0;
        let words = [&[][..], &["sum"], &["twice"], &["each"], &["t*", "quiet"]]
            [if next(3) == 0 { next(5) as usize } else { 0 }];
        if next(8) == 0 {
            let file = narrow.path(compiled);
            if let Ok(mut bytes) = std::fs::read(&file) {
                let at = next(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << next(8);
                std::fs::write(&file, bytes).unwrap();
            }
        }
        let _ = std::fs::remove_file(whole.path(compiled));
        let [one, other] = [&narrow, &whole].map(|space| {
            for (name, content) in &edits {
                space.write(name, content);
            }
            if removes {
                let _ = std::fs::remove_file(space.path(removed));
            }
            if forgets {
                assert_eq!(space.command(&["forget", forgotten], "").exit, 0);
            }
            run(space, words)
        });
        assert_eq!(told(&one), told(&other), "round {round}: {words:?} after {edits:?}; {}{}", one.err, other.err);
        assert_eq!(one.exit, other.exit, "round {round}");
        let [one, other] = [&narrow, &whole].map(|space| std::fs::read_to_string(space.path("out/twice")).ok());
        assert_eq!(one, other, "round {round}");
    }
}
