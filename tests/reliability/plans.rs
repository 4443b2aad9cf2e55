//! Random graphs and edits, and the taskfile of a graph. Knows nothing of runs.

use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Edit, Model, Node, output, source};

/// A graph with what happens to it.
#[derive(Clone, Debug)]
pub struct Story {
    pub nodes: Vec<Node>,
    pub steps: Vec<Step>,
    /// Workers of the parallel workspace.
    pub jobs: usize,
}

/// Edits, then a run.
#[derive(Clone, Debug)]
pub struct Step {
    pub edits: Vec<Edit>,
    pub keep_going: bool,
}

/// How many tasks prepare others.
pub const SETUPS: usize = 2;

fn node(index: usize) -> impl Strategy<Value = Node> {
    let some = |most: usize| {
        // Near ones more often, so that graphs are deep as well as wide.
        let near = move |back: usize| index.checked_sub(1 + back % index.max(1));
        vec(0_usize..64, 0..=most.min(index)).prop_map(move |found| found.into_iter().filter_map(near).collect())
    };
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.25), prop::option::weighted(0.15, 0..SETUPS));
    (some(3), some(1), some(1), 1_usize..4, flags).prop_map(
        |(reads, after, results, outputs, (teardown, coarse, setup))| Node {
            reads,
            after,
            results,
            outputs,
            coarse,
            setup,
            teardown,
        },
    )
}

fn edit(tasks: usize) -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (0..tasks, 0_u8..4).prop_map(|(task, content)| Edit::Source(task, content)),
        1 => (0..tasks).prop_map(Edit::Definition),
        1 => (0..tasks, 0_usize..3).prop_map(|(task, number)| Edit::Remove(task, number)),
        1 => (0..tasks, 0_usize..3).prop_map(|(task, number)| Edit::Overwrite(task, number)),
        2 => (0..tasks).prop_map(Edit::Fail),
        1 => (0..tasks).prop_map(Edit::Mend),
        1 => (0..tasks).prop_map(Edit::Forget),
    ]
}

pub fn stories(tasks: std::ops::Range<usize>, steps: std::ops::Range<usize>) -> impl Strategy<Value = Story> {
    tasks.prop_flat_map(move |tasks| {
        let nodes: Vec<_> = (0..tasks).map(node).collect();
        let step = (vec(edit(tasks), 1..4), prop::bool::weighted(0.7))
            .prop_map(|(edits, keep_going)| Step { edits, keep_going });
        (nodes, vec(step, steps.clone()), 2_usize..6).prop_map(|(nodes, steps, jobs)| Story { nodes, steps, jobs })
    })
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<Vec<_>>().join(", ")
}

/// The taskfile of a graph: every task has one action `mix`, written in Rust.
pub fn taskfile(model: &Model) -> String {
    let mut text = "version: 1\nconfig: { default_tasks: [all] }\ntasks:\n  all: { task_dep: [\"t*\"] }\n".to_owned();
    for number in 0..SETUPS {
        let _ = writeln!(text, "  s{number}: {{ run: always, actions: [{{ note: {{ text: s{number} }} }}] }}");
    }
    for (task, node) in model.nodes.iter().enumerate() {
        let inputs = list(std::iter::once(source(task)).chain(node.reads.iter().map(|need| output(*need, 0))));
        let outputs = list((0..node.outputs).map(|number| output(task, number)));
        let names = |tasks: &std::collections::BTreeSet<usize>| list(tasks.iter().map(|task| format!("t{task}")));
        let _ = write!(
            text,
            "  t{task}:\n    file_dep: [{inputs}]\n    targets: [{outputs}]\n    task_dep: [{}]\n    result_dep: [{}]\n",
            names(&node.after),
            names(&node.results)
        );
        if let Some(setup) = node.setup {
            let _ = writeln!(text, "    setup: [s{setup}]");
        }
        if node.teardown {
            let _ = writeln!(text, "    teardown: [{{ note: {{ text: end of t{task} }} }}]");
        }
        let _ = writeln!(
            text,
            "    actions: [{{ mix: {{ task: \"{task}\", definition: \"{}\", coarse: \"{}\", from: [{inputs}], to: [{outputs}] }} }}]",
            model.definitions[task], node.coarse
        );
    }
    text
}
