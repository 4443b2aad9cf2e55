//! What wakes a watch and what does not; what it tells. Knows nothing of its insides.

use std::time::{Duration, Instant};

use super::space::{Dice, Round, Space, soak};

const CHAIN: &str = r#"
version: 1
config: { default_tasks: [all] }
tasks:
  all: { task_dep: [left, right, after] }
  left: { file_dep: [left.txt], targets: [left.out], actions: ["wc -c < left.txt > left.out"] }
  right: { file_dep: ["right/**"], actions: ["cat {{ file_dep }}"] }
  after: { file_dep: [left.out], actions: ["cat left.out"] }
"#;

fn chain() -> Space {
    let space = Space::new(CHAIN);
    space.write("left.txt", "1");
    space.write("right/a", "1");
    space
}

/// Rows W01, W03, W04 and W05 of doit's watch, and the early end of a chain.
#[test]
fn only_what_a_change_concerns_runs() {
    let space = chain();
    let watch = space.watch(&[]);
    assert_eq!(watch.round().started(), ["after", "left", "right"]);
    space.write("left.txt", "22");
    assert_eq!(watch.round().started(), ["after", "left"]);
    space.write("left.txt", "33");
    assert_eq!(watch.round().started(), ["left"], "its result is the same");
    space.write("right/deep/er", "1");
    assert_eq!(watch.round().started(), ["right"]);
    // A touch wakes it and runs nothing; nobody reads `other`; `left.out` is the task's own.
    space.write("right/a", "1");
    assert_eq!(watch.round().started(), [""; 0]);
    space.write("other", "1");
    space.write("left.out", "changed by hand");
    // News comes in order: what those brought about would be in this round.
    space.write("right/a", "2");
    assert_eq!(watch.round().started(), ["right"]);
    assert_eq!(watch.interrupt().0, 130);
}

/// A file is empty for a moment while it is written, and a look at that moment is none: other changes make the watch look
/// again and again.
#[test]
fn a_file_that_is_written_with_the_same_bytes_runs_nothing() {
    let tasks = r#"
version: 1
tasks:
  both: { file_dep: [still, moving], actions: ["cat still moving"] }
  mark: { file_dep: [mark], actions: [[cat, mark]] }
"#;
    let space = Space::new(tasks);
    let still = "the same bytes\n".repeat(20);
    space.write("still", &still);
    space.write("moving", "0\n");
    space.write("mark", "0");
    let watch = space.watch(&["both", "mark"]);
    watch.round();
    let mut dice = Dice(3);
    let count = soak(300);
    for number in 1..=count {
        space.replace("moving", &format!("{number}\n"));
        std::thread::sleep(Duration::from_micros(dice.roll(4_000)));
        space.write("still", &still);
        space.write("mark", &number.to_string());
        let rounds = watch.until_marked();
        let starts: Vec<_> =
            rounds.iter().flat_map(|round| &round.starts).filter(|start| start.task == "both").collect();
        // What the task reads itself may be empty: it runs once more then. What the watch decides upon may not.
        let (first, more) = starts.split_first().expect("`moving` changed");
        assert_eq!(first.reasons, ["file_dep_changed"], "{number}: only `moving` is another");
        assert!(more.iter().all(|start| start.reasons == ["input_changed_during_run"]), "{number}: {starts:?}");
    }
    std::io::Write::write_all(&mut std::io::stderr(), format!("soak-result {count} rewrites\n").as_bytes()).unwrap();
}

/// A failure is told again only when what it reads changes, and is not forgotten meanwhile.
#[test]
fn a_failure_waits_for_its_inputs() {
    let space = chain();
    space.write("tasks.yaml", &CHAIN.replace("cat left.out\"", "grep -q 2 left.out\""));
    let watch = space.watch(&[]);
    assert!(watch.round().finished.contains(&("after".into(), "failed".into())));
    space.write("right/a", "2");
    assert_eq!(watch.round().started(), ["right"]);
    space.write("left.txt", "22");
    let round = watch.round();
    assert!(round.finished.contains(&("after".into(), "ran".into())), "{round:?}");
}

/// What needs a task that failed in an earlier round is no success.
#[test]
fn what_a_failure_keeps_back_is_told_as_a_failure() {
    let tasks = r#"
version: 1
tasks:
  build: { file_dep: [in], targets: [out], actions: ["test -e flag && cp in out"] }
  serve: { file_dep: [out, config], actions: ["cat out config"] }
"#;
    let space = Space::new(tasks);
    space.write("in", "1");
    space.write("config", "1");
    let watch = space.watch(&["serve"]);
    watch.round();
    space.write("config", "2");
    let round = watch.round();
    assert_eq!((round.started(), round.exit), (vec![], Some(1)), "{round:?}");
    assert_eq!(round.finished, [("serve".to_owned(), "unmet".to_owned())]);
    space.write("flag", "");
    space.write("in", "2");
    let round = watch.round();
    assert_eq!((round.started(), round.exit), (vec!["build", "serve"], Some(0)), "{round:?}");
}

/// Row W11: a broken file shows its error and the last good tasks stay; then the new ones are there.
#[test]
fn w11_a_broken_file_stops_nothing_and_a_good_one_is_read() {
    let space = chain();
    let watch = space.watch(&[]);
    watch.round();
    space.write("tasks.yaml", "version: 1\ntasks: { all: [\n");
    let round = watch.round();
    assert_eq!((round.started(), round.broken), (vec![], true));
    space.write("left.txt", "22");
    let round = watch.round();
    assert_eq!((round.started(), round.broken), (vec!["after", "left"], true));
    space.write("tasks.yaml", &CHAIN.replace("right/**", "new/**"));
    let round = watch.round();
    assert_eq!((round.started(), round.broken), (vec!["right"], false));
    space.write("new/a", "1");
    assert_eq!(watch.round().started(), ["right"]);
    // Nobody reads this any more, and the same bytes again change nothing.
    space.write("right/a", "3");
    space.write("tasks.yaml", &CHAIN.replace("right/**", "new/**"));
    space.write("left.txt", "333");
    let rounds = [watch.round(), watch.settle(Duration::from_millis(300))];
    assert_eq!(rounds.iter().flat_map(Round::started).collect::<Vec<_>>(), ["after", "left"]);
    let (_, said) = watch.interrupt();
    assert!(said.contains("tasks.yaml:2"), "{said}");
}

/// Inputs that only a run brings to light are watched from then on.
#[test]
fn computed_inputs_are_watched() {
    let tasks = r#"
version: 1
config: { default_tasks: [use] }
tasks:
  find: { file_dep: [list], actions: ["printf '{\"file_dep\": [\"%s\"]}' $(cat list)"] }
  use: { calc_dep: [find], actions: ["cat {{ file_dep }}"] }
"#;
    let space = Space::new(tasks);
    space.write("far/one", "1");
    space.write("far/two", "2");
    space.write("list", "far/one");
    let watch = space.watch(&[]);
    let first = watch.round();
    assert_eq!(first.started(), ["find", "use"]);
    assert_eq!(first.finished.len(), 2, "the second look at what came to light is silent: {first:?}");
    space.write("far/one", "11");
    assert_eq!(watch.round().started(), ["use"]);
    space.write("list", "far/two");
    assert_eq!(watch.round().started(), ["find", "use"]);
    space.write("far/two", "22");
    assert_eq!(watch.round().started(), ["use"]);
}

/// Row W7: a task that changes its own input is stopped, and says so.
#[test]
fn w7_a_task_that_wakes_itself_is_stopped() {
    let tasks = r#"
version: 1
tasks:
  loop: { file_dep: [log], actions: ["echo again >> log"] }
  other: { file_dep: [other], actions: ["cat other"] }
"#;
    let space = Space::new(tasks);
    space.write("log", "");
    space.write("other", "1");
    let watch = space.watch(&["loop", "other"]);
    let start = Instant::now();
    let mut starts = 0;
    while !watch.is_silent(Duration::from_secs(2)) {
        assert!(start.elapsed() < Duration::from_mins(1), "it goes on and on");
        starts += watch.until(|round| !round.starts.is_empty()).starts.len();
    }
    space.write("other", "2");
    assert_eq!(watch.round().started(), ["other"]);
    let (_, said) = watch.interrupt();
    assert!(said.contains("warning: task `loop` wakes itself"), "{said}");
    assert!((5..=12).contains(&starts), "{starts}");
}

/// Row W06: commands after each round that did something.
#[test]
fn w06_commands_follow_rounds() {
    let space = chain();
    let words = ["--on-success", "echo good >> story", "--on-failure=echo bad >> story", "--bell"];
    let watch = space.watch(&words);
    watch.round();
    space.write("right/a", "1");
    watch.round();
    space.write("tasks.yaml", &CHAIN.replace("cat {{ file_dep }}", "exit 1"));
    watch.round();
    assert_eq!(std::fs::read_to_string(space.path("story")).unwrap(), "good\ngood\nbad\n");
    let (_, said) = watch.interrupt();
    assert_eq!(said.matches('\u{7}').count(), 3);
}

/// Without a terminal: plain lines without escape codes.
#[test]
fn without_a_terminal_it_writes_lines() {
    let space = chain();
    let mut child = space
        .command(&["watch"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let err = child.stderr.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(err)).map_while(Result::ok);
    let seen: Vec<String> = lines.by_ref().take_while(|line| !line.contains("waits")).collect();
    assert!(seen.iter().any(|line| line.contains("ok  left")), "{seen:?}");
    space.write("left.txt", "4444");
    let more: Vec<String> = lines.by_ref().take_while(|line| !line.contains("waits")).collect();
    assert!(more[0].ends_with("changed  `left.txt`"), "{more:?}");
    assert!(seen.iter().chain(&more).all(|line| !line.contains('\u{1b}')));
    child.kill().unwrap();
    child.wait().unwrap();
}
