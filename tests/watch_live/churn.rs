//! Many changes at once, at bad moments and for long: rows W8, W10, W13 and W14. Knows nothing of the insides.

use std::fs;
use std::time::Duration;

use super::space::{Dice, Round, Space, soak};

const ONE: &str = r#"
version: 1
tasks:
  read: { file_dep: ["src/**"], actions: ["cat src/* | cksum; sleep 0.02; cat src/* | cksum"] }
  mark: { file_dep: [mark], actions: [[cat, mark]] }
"#;

fn reads(rounds: &[Round]) -> Vec<Vec<String>> {
    let starts = rounds.iter().flat_map(|round| &round.starts);
    starts.filter(|start| start.task == "read").map(|start| start.lines.clone()).collect()
}

/// Row W8: a change at a random moment of a run is seen by one more run, at the most.
#[test]
fn w8_a_change_during_a_run_is_seen_by_the_next() {
    let space =
        Space::new("version: 1\ntasks: { read: { file_dep: [in], actions: [\"cat in; sleep 0.03; cat in\"] } }\n");
    space.write("in", "0\n");
    let watch = space.watch(&["read"]);
    watch.round();
    let mut dice = Dice(8);
    for number in 0..soak(60) {
        let (first, second) = (format!("first {number}"), format!("second {number}"));
        space.replace("in", &(first + "\n"));
        std::thread::sleep(Duration::from_micros(dice.roll(60_000)));
        space.replace("in", &format!("{second}\n"));
        let mut runs = Vec::new();
        // The last word is whole in both looks of the last run.
        while runs.last() != Some(&vec![second.clone(), second.clone()]) {
            runs.extend(watch.round().starts.into_iter().map(|start| start.lines));
        }
        // A change between the signing of the inputs and the first action is read by that run, and by one more.
        runs.extend(watch.settle(Duration::from_millis(100)).starts.into_iter().map(|start| start.lines));
        assert!(runs.len() <= 2, "{runs:?}");
    }
    assert!(watch.is_silent(Duration::from_millis(300)));
}

/// Row W10: a switch of branches with thousands of files.
#[test]
fn w10_a_switch_of_branches_is_two_runs_at_most() {
    let count = 2_000;
    let space = Space::new(ONE);
    space.write(".gitignore", "/.xtask\n/mark\n");
    space.write("mark", "0");
    space.git(&["init", "-q", "-b", "one"]);
    for branch in ["one", "two"] {
        if branch == "two" {
            space.git(&["checkout", "-q", "-b", "two"]);
        }
        for number in 0..count {
            space.write(&format!("src/f{number}"), branch);
        }
        space.git(&["add", "-A"]);
        space.git(&["commit", "-q", "-m", branch]);
    }
    let watch = space.watch(&["read", "mark"]);
    watch.round();
    for (number, branch) in ["one", "two", "one"].into_iter().enumerate() {
        space.git(&["checkout", "-q", branch]);
        space.write("mark", &(number + 1).to_string());
        let runs = reads(&watch.until_marked());
        assert!((1..=2).contains(&runs.len()), "{branch}: {runs:?}");
        assert_eq!(runs.last().unwrap()[1], cksum(&space), "{branch}");
    }
}

fn cksum(space: &Space) -> String {
    let output =
        std::process::Command::new("sh").args(["-c", "cat src/* | cksum"]).current_dir(space.path("")).output();
    String::from_utf8(output.expect("a shell").stdout).expect("a number").trim().to_owned()
}

/// Row W13: what a commit hook does: puts changes away, looks, and brings them back.
#[test]
fn w13_putting_changes_away_and_back_is_two_runs_at_most() {
    let space = Space::new(ONE);
    space.write(".gitignore", "/.xtask\n/mark\n");
    space.write("mark", "0");
    for number in 0..50 {
        space.write(&format!("src/f{number}"), "committed");
    }
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "one"]);
    let watch = space.watch(&["read", "mark"]);
    watch.round();
    for number in 0..soak(8) {
        for file in 0..25 {
            space.write(&format!("src/f{file}"), &format!("changed {number}"));
        }
        space.write("mark", &format!("before {number}"));
        watch.until_marked();
        space.git(&["stash", "-q"]);
        space.git(&["stash", "pop", "-q"]);
        space.write("mark", &format!("after {number}"));
        let runs = reads(&watch.until_marked());
        assert!(runs.len() <= 2, "{runs:?}");
        if let Some(last) = runs.last() {
            assert_eq!(last[1], cksum(&space));
        }
    }
}

/// Row W14: many events cost neither memory nor files.
#[test]
fn w14_events_leave_nothing_behind() {
    let space = Space::new(ONE);
    space.write("mark", "0");
    space.write("src/f", "0");
    let watch = space.watch(&["read", "mark"]);
    watch.round();
    let burst = |number: usize| {
        // A file that is read by nobody's content rule changes nothing in the end: five events each.
        for file in 0..100 {
            let path = space.path(&format!("src/n{file}"));
            fs::write(&path, number.to_string()).unwrap();
            fs::remove_file(&path).unwrap();
        }
        space.write("mark", &(number + 1).to_string());
        watch.until_marked();
    };
    (0..8).for_each(burst);
    let (before, files) = watch.size();
    (8..8 + soak(32)).for_each(burst);
    let (after, files_after) = watch.size();
    assert!(after < before + 10 * 1024, "{before} kB, then {after} kB");
    assert_eq!(files, files_after);
}
