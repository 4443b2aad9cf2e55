//! The reference model: from the history of a workspace to which tasks must run. A pure function, written apart from the
//! engine, and the oracle for its laws. Knows nothing of processes, files or the state database.

use std::collections::{BTreeMap, BTreeSet};

/// One task: `t<index>` reads `in/<index>` and outputs of earlier tasks, and writes `out/<index>…`.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Earlier tasks whose first output is read.
    pub reads: BTreeSet<usize>,
    /// Earlier tasks that only come first.
    pub after: BTreeSet<usize>,
    /// Earlier tasks whose result counts.
    pub results: BTreeSet<usize>,
    /// Output files: one, two or three.
    pub outputs: usize,
    /// Says little of its inputs, so that it often makes what it made before.
    pub coarse: bool,
    /// The task that prepares it: `s<number>`.
    pub setup: Option<usize>,
    pub teardown: bool,
}

impl Node {
    pub fn needs(&self) -> impl Iterator<Item = usize> {
        let all: BTreeSet<usize> = self.reads.iter().chain(&self.after).chain(&self.results).copied().collect();
        all.into_iter()
    }
}

/// What happens to a workspace between two runs.
#[derive(Clone, Debug)]
pub enum Edit {
    /// The source of a task has this content now, perhaps the one that it had.
    Source(usize, u8),
    /// The task's definition is another.
    Definition(usize),
    /// One of its outputs is removed, or changed by hand.
    Remove(usize, usize),
    Overwrite(usize, usize),
    /// Its actions fail from now on, or work again; nothing that is declared tells.
    Fail(usize),
    Mend(usize),
    Forget(usize),
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    UpToDate,
    Ran,
    Failed,
    Unmet,
}

/// What a success was for.
#[derive(Clone, Debug, PartialEq)]
struct Success {
    definition: u32,
    inputs: Vec<Option<String>>,
    results: Vec<String>,
    outputs: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    success: Option<Success>,
    /// The last attempt was no success.
    spoiled: bool,
}

/// A workspace as it should be.
#[derive(Clone, Debug)]
pub struct Model {
    pub nodes: Vec<Node>,
    pub definitions: Vec<u32>,
    pub files: BTreeMap<String, String>,
    pub failing: BTreeSet<usize>,
    memory: Vec<Memory>,
}

pub fn source(task: usize) -> String {
    format!("in/{task}")
}

pub fn output(task: usize, number: usize) -> String {
    format!("out/{task}.{number}")
}

/// What a task writes, from what it reads. The engine's tasks call it, too: it is no part of what is tested.
pub fn product(inputs: &[String], definition: u32, coarse: bool, number: usize) -> String {
    let sum = inputs
        .iter()
        .flat_map(|text| text.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    if coarse { format!("coarse {} {number}\n", sum % 2) } else { format!("{sum:x} {definition} {number}\n") }
}

impl Model {
    pub fn new(nodes: Vec<Node>) -> Self {
        let files = (0..nodes.len()).map(|task| (source(task), "0\n".to_owned())).collect();
        let (definitions, memory) = (vec![0; nodes.len()], vec![Memory::default(); nodes.len()]);
        Self { nodes, definitions, files, failing: BTreeSet::new(), memory }
    }

    /// Applies an edit; false if there was nothing to do.
    pub fn edit(&mut self, edit: &Edit) -> bool {
        match edit {
            Edit::Source(task, content) => self.files.insert(source(*task), format!("{content}\n")).is_some(),
            Edit::Definition(task) => {
                self.definitions[*task] += 1;
                true
            }
            Edit::Remove(task, number) => self.files.remove(&self.output(*task, *number)).is_some(),
            Edit::Overwrite(task, number) => {
                let name = self.output(*task, *number);
                self.files.get_mut(&name).map(|content| content.push_str("by hand\n")).is_some()
            }
            Edit::Fail(task) => self.failing.insert(*task),
            Edit::Mend(task) => self.failing.remove(task),
            Edit::Forget(task) => {
                self.memory[*task] = Memory { success: None, spoiled: true };
                true
            }
        }
    }

    pub fn output(&self, task: usize, number: usize) -> String {
        output(task, number % self.nodes[task].outputs)
    }

    fn now(&self, task: usize) -> Success {
        let node = &self.nodes[task];
        let of = |name: String| self.files.get(&name).cloned();
        let inputs = std::iter::once(source(task)).chain(node.reads.iter().map(|need| output(*need, 0))).map(of);
        let result = |need: &usize| {
            let success = self.memory[*need].success.as_ref();
            success.map(|success| success.outputs.concat()).unwrap_or_default()
        };
        let outputs = (0..node.outputs).map(|number| of(output(task, number)).unwrap_or_default());
        Success {
            definition: self.definitions[task],
            inputs: inputs.collect(),
            results: node.results.iter().map(result).collect(),
            outputs: outputs.collect(),
        }
    }

    /// Whether a task must run now, all its needs being final.
    fn must_run(&self, task: usize) -> bool {
        let memory = &self.memory[task];
        memory.spoiled || memory.success.as_ref() != Some(&self.now(task))
    }

    /// Plays a run: how each task ends. A task that the run did not reach is left as it was.
    pub fn run(&mut self, reached: &dyn Fn(usize) -> bool) -> Vec<Option<End>> {
        let mut ends: Vec<Option<End>> = Vec::new();
        for task in 0..self.nodes.len() {
            let end = reached(task).then(|| self.end(task, &ends));
            ends.push(end);
        }
        ends
    }

    fn end(&mut self, task: usize, ends: &[Option<End>]) -> End {
        if self.nodes[task].needs().any(|need| matches!(ends[need], Some(End::Failed | End::Unmet))) {
            return End::Unmet;
        }
        if !self.must_run(task) {
            return End::UpToDate;
        }
        let fails = self.failing.contains(&task);
        let inputs: Vec<String> = self.now(task).inputs.into_iter().flatten().collect();
        for number in 0..self.nodes[task].outputs {
            let text = product(&inputs, self.definitions[task], self.nodes[task].coarse, number);
            // A task that fails leaves the worst behind: outputs that are newer than its inputs, and wrong.
            self.files.insert(output(task, number), if fails { "broken\n".to_owned() } else { text });
        }
        self.memory[task].spoiled = fails;
        if !fails {
            self.memory[task].success = Some(self.now(task));
        }
        if fails { End::Failed } else { End::Ran }
    }
}
