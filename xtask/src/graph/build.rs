//! Makes a graph of tasks: resolves names, adds the edges that nobody wrote, and reports every error at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::wildcard::{is_wildcard, matches};
use super::{Edge, Graph, Links, Node, TaskId, Why, check};
use crate::model::task::{At, CalcDep};
use crate::model::{Diagnostic, Diagnostics, Place, RepoPath, Task, words};

/// Makes the graph of all tasks. `links` tells what each task's built-in actions add.
///
/// # Errors
/// Unknown names, targets of two tasks, overlapping targets, cycles: all of them, in the order of the file.
pub fn build(tasks: Vec<Arc<Task>>, links: Vec<Links>) -> Result<Graph, Diagnostics> {
    let mut builder = Builder::new(tasks, links);
    builder.index_targets();
    builder.index_resources();
    for id in builder.graph.ids() {
        builder.add_edges(id);
    }
    builder.errors.extend(check::overlapping_targets(&builder.graph));
    if builder.errors.is_empty() {
        builder.errors.extend(check::cycle(&builder.graph));
    }
    if builder.errors.is_empty() { Ok(builder.graph) } else { Err(Diagnostics(builder.errors)) }
}

/// What is no error, but likely not meant.
pub fn warnings(graph: &Graph) -> Vec<Diagnostic> {
    check::alike(graph)
}

struct Builder {
    graph: Graph,
    resources: HashMap<Arc<str>, Vec<TaskId>>,
    errors: Vec<Diagnostic>,
}

impl Builder {
    fn new(tasks: Vec<Arc<Task>>, links: Vec<Links>) -> Self {
        let mut graph = Graph::default();
        let mut errors = Vec::new();
        let mut links = links.into_iter();
        for task in tasks {
            let id = TaskId(graph.nodes.len() as u32);
            if let Some(first) = graph.names.insert(task.name.clone(), id) {
                errors.push(
                    Diagnostic::error(format!("task `{}` is defined twice", task.name))
                        .at(graph.nodes[first.index()].task.place.clone())
                        .at(task.place.clone()),
                );
            }
            let links = links.next().unwrap_or_default();
            graph.nodes.push(Node { task, needs: Vec::new(), setup: Vec::new(), links, prints_tasks: false });
        }
        Self { graph, resources: HashMap::new(), errors }
    }

    fn index_targets(&mut self) {
        let mut targets: BTreeMap<RepoPath, TaskId> = BTreeMap::new();
        let mut later = Vec::new();
        for id in self.graph.ids() {
            let node = self.graph.node(id);
            if node.task.expand_after.is_some() {
                // Once it has members, their own targets count.
                let promised = node.task.targets.iter().filter(|_| node.task.members.is_empty());
                later.extend(promised.map(|target| (target.path.clone(), id)));
                continue;
            }
            let declared = node.task.targets.iter().map(|target| (&target.path, &target.place));
            let linked = node.links.targets.iter().map(|path| (path, &node.task.place));
            for (path, place) in declared.chain(linked) {
                if let Some(other) = targets.insert(path.clone(), id)
                    && other != id
                {
                    self.errors.push(check::target_of_two(&self.graph, path, other, id, place));
                }
            }
        }
        self.graph.targets = targets;
        self.graph.later = later;
    }

    fn index_resources(&mut self) {
        for id in self.graph.ids() {
            for resource in &self.graph.node(id).links.provides {
                self.resources.entry(resource.clone()).or_default().push(id);
            }
        }
    }

    fn add_edges(&mut self, id: TaskId) {
        let task = self.graph.nodes[id.index()].task.clone();
        let mut needs = Vec::new();
        self.names(&task, "task_dep", &task.task_dep, Why::TaskDep, &mut needs);
        for member in &task.members {
            if let Some(to) = self.graph.find(member) {
                needs.push(Edge { to, why: Why::Member, place: task.place.clone() });
            }
        }
        self.names(&task, "result_dep", &task.result_dep, Why::ResultDep, &mut needs);
        for dep in &task.calc_dep {
            if let CalcDep::Task(name) = &dep.value {
                let name = At { value: name.clone(), place: dep.place.clone() };
                self.names(&task, "calc_dep", std::slice::from_ref(&name), Why::CalcDep, &mut needs);
            }
        }
        for arg in &task.getargs {
            let name = At { value: arg.task.clone(), place: arg.place.clone() };
            self.names(&task, "getargs", std::slice::from_ref(&name), Why::GetArg, &mut needs);
        }
        if let Some(after) = &task.expand_after {
            self.names(&task, "expand_after", std::slice::from_ref(after), Why::ExpandAfter, &mut needs);
            for edge in needs.iter().filter(|edge| edge.why == Why::ExpandAfter) {
                self.graph.nodes[edge.to.index()].prints_tasks = true;
            }
        }
        self.target_edges(id, &task, &mut needs);
        self.resource_edges(id, &mut needs);
        let mut setup = Vec::new();
        self.names(&task, "setup", &task.setup, Why::Setup, &mut setup);
        let node = &mut self.graph.nodes[id.index()];
        node.needs = without_repeats(needs);
        node.setup = without_repeats(setup);
    }

    fn names(&mut self, task: &Task, field: &str, names: &[At<Arc<str>>], why: Why, edges: &mut Vec<Edge>) {
        for At { value: name, place } in names {
            let mut add = |to| edges.push(Edge { to, why: why.clone(), place: place.clone() });
            if is_wildcard(name) {
                let all = self.graph.nodes.iter().enumerate();
                all.filter(|(_, node)| matches(name, &node.task.name) && node.task.name != task.name)
                    .for_each(|(index, _)| add(TaskId(index as u32)));
            } else if let Some(to) = self.graph.find(name) {
                add(to);
            } else {
                self.errors.push(self.unknown(task, field, name, place));
            }
        }
    }

    fn unknown(&self, task: &Task, field: &str, name: &str, place: &Place) -> Diagnostic {
        Diagnostic::error(format!("task `{}` has unknown {field} `{name}`", task.name))
            .at(place.clone())
            .maybe_help(words::suggest("task", name, &self.graph.names()))
    }

    /// A file_dep that is a target of another task is an edge by itself.
    fn target_edges(&self, id: TaskId, task: &Task, needs: &mut Vec<Edge>) {
        let mut add = |path: &RepoPath, to: TaskId, place: &Place| {
            if to != id || !task.in_out {
                needs.push(Edge { to, why: Why::Target(path.clone()), place: place.clone() });
            }
        };
        for dep in task.file_dep.iter().chain(&task.watch).filter(|dep| !dep.negated) {
            let literal = super::check::literal_prefix(&dep.pattern);
            let Some(prefix) = RepoPath::from_root(literal) else { continue };
            if literal.len() == dep.pattern.len() {
                match self.graph.maker(&prefix) {
                    Some(to) => add(&prefix, to, &dep.place),
                    None => self.graph.later_makers(&prefix).into_iter().for_each(|to| add(&prefix, to, &dep.place)),
                }
                // A directory as input: everything made below it.
                for (path, to) in self.below(&prefix) {
                    add(path, to, &dep.place);
                }
            } else if let Some(glob) = super::check::glob(&dep.pattern) {
                for (path, to) in self.below(&prefix).filter(|(path, _)| glob(path)) {
                    add(path, to, &dep.place);
                }
            }
        }
        for path in &self.graph.node(id).links.inputs {
            if let Some(to) = self.graph.maker(path).filter(|to| *to != id) {
                add(path, to, &task.place);
            }
            for (path, to) in self.below(path).filter(|(_, to)| *to != id) {
                add(path, to, &task.place);
            }
        }
    }

    fn below<'a>(&'a self, prefix: &'a RepoPath) -> impl Iterator<Item = (&'a RepoPath, TaskId)> + 'a {
        self.graph
            .targets
            .range(prefix.clone()..)
            .take_while(move |(path, _)| path.as_bytes().starts_with(prefix.as_bytes()))
            .filter(move |(path, _)| *path != prefix && path.is_within(prefix))
            .map(|(path, id)| (path, *id))
    }

    fn resource_edges(&self, id: TaskId, needs: &mut Vec<Edge>) {
        let node = self.graph.node(id);
        for need in &node.links.needs {
            for to in self.resources.get(&need.resource).into_iter().flatten().filter(|to| **to != id) {
                let why = if need.dirties { Why::ResultDep } else { Why::Resource(need.resource.clone()) };
                needs.push(Edge { to: *to, why, place: node.task.place.clone() });
            }
        }
    }
}

/// Keeps the first edge of each (task, whether it dirties), so that a task is waited for once.
fn without_repeats(edges: Vec<Edge>) -> Vec<Edge> {
    let mut seen = HashSet::new();
    edges.into_iter().filter(|edge| seen.insert((edge.to, edge.why.dirties(), edge.why.hands_over()))).collect()
}
