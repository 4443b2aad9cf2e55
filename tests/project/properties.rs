//! Laws of the engine on random graphs: a second run does nothing, the result equals a clean run, order respects edges.

use std::fmt::Write;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::space::Space;

/// A graph: for each task the earlier tasks whose targets it reads.
#[derive(Clone, Debug)]
struct Plan {
    needs: Vec<Vec<usize>>,
    /// Which source file is edited in each round.
    edits: Vec<usize>,
    jobs: usize,
}

fn plans() -> impl Strategy<Value = Plan> {
    (2_usize..12).prop_flat_map(|size| {
        let needs: Vec<_> =
            (0..size).map(|index| prop::collection::vec(0..index.max(1), 0..3.min(index + 1))).collect();
        (needs, prop::collection::vec(0..size, 1..3), 1_usize..5).prop_map(|(mut needs, edits, jobs)| {
            for (index, list) in needs.iter_mut().enumerate() {
                list.retain(|need| *need < index);
                list.sort_unstable();
                list.dedup();
            }
            Plan { needs, edits, jobs }
        })
    })
}

/// Task `k` reads `in/k` and the targets of the tasks it needs, and writes their digest-like join to `out/k`.
fn taskfile(plan: &Plan) -> String {
    let mut text = "version: 1\nconfig: { default_tasks: [all] }\ntasks:\n  all:\n    task_dep: [\"t*\"]\n".to_owned();
    for (index, needs) in plan.needs.iter().enumerate() {
        let inputs: Vec<String> =
            std::iter::once(format!("in/{index}")).chain(needs.iter().map(|need| format!("out/{need}"))).collect();
        let _ = writeln!(
            text,
            "  t{index}:\n    file_dep: [{}]\n    targets: [out/{index}]\n    actions: [\"cat {{{{ file_dep }}}} | cksum > out/{index}\"]",
            inputs.join(", ")
        );
    }
    text
}

fn outputs(space: &Space, plan: &Plan) -> Vec<String> {
    (0..plan.needs.len())
        .map(|index| std::fs::read_to_string(space.path(&format!("out/{index}"))).unwrap_or_default())
        .collect()
}

fn fresh(plan: &Plan, contents: &[String]) -> Space {
    let space = Space::new();
    space.write("tasks.yaml", &taskfile(plan));
    space.write("out/.keep", "");
    for (index, content) in contents.iter().enumerate() {
        space.write(&format!("in/{index}"), content);
    }
    space
}

fn check(plan: &Plan) {
    let mut contents: Vec<String> = (0..plan.needs.len()).map(|index| format!("{index}\n")).collect();
    let space = fresh(plan, &contents);
    let jobs = plan.jobs.to_string();
    let first = space.run(&["-n", &jobs]);
    assert_eq!(first.exit, 0, "{}", first.err);
    for (round, edit) in plan.edits.iter().enumerate() {
        contents[*edit] = format!("{edit} edited {round}\n");
        space.write(&format!("in/{edit}"), &contents[*edit]);
        let ran = space.run(&["-n", &jobs]);
        assert_eq!(ran.exit, 0, "{}", ran.err);
        // Every run task has a reason, and no skipped one has.
        for task in ran.outcome("ran") {
            assert!(!ran.reasons(&task).is_empty(), "{task} ran without a reason");
        }
        for task in ran.outcome("up-to-date") {
            assert!(ran.reasons(&task).is_empty(), "{task} was skipped with a reason");
        }
        // The result is that of a clean run, and a second run does nothing.
        let clean = fresh(plan, &contents);
        clean.run(&["-n", "1"]);
        assert_eq!(outputs(&space, plan), outputs(&clean, plan));
        assert!(space.run(&["-n", &jobs]).outcome("ran").is_empty(), "a second run did something");
    }
}

#[test]
fn runs_converge_to_what_a_clean_run_makes() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&plans(), |plan| {
            check(&plan);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
