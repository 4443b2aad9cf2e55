//! `graph`: the tasks and what each needs, as text, data or a picture. Knows nothing of how any of them is drawn.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::args::GraphArgs;
use super::project;
use super::run;
use super::run_params;
use crate::engine::{self, Options, Status};
use crate::graph::{self, Edge, Graph, Selection, TaskId, Why};
use crate::model::{Diagnostics, Task};
use crate::report::graph::{self as pages, GraphEdge, GraphFormat, GraphNode, GraphView};
use crate::world::World;

/// Prints the named tasks with everything that they need, or all tasks.
pub(super) fn graph(args: &GraphArgs, world: &World) -> Result<u8, Diagnostics> {
    let (place, mut project) = project::look(&args.file, world)?;
    let graph = project.graph.clone();
    let selection = if args.tasks.is_empty() {
        Selection { tasks: graph.ids().collect() }
    } else {
        graph::select(&graph, &args.tasks, &place.cwd, false)?
    };
    let ids = run::closure_with_setup(&graph, &selection, false);
    let status: HashMap<TaskId, pages::Status> = if args.status {
        run_params::assume(&mut project, world);
        let selection = Selection { tasks: ids.clone() };
        let predicted = engine::predict(&mut project, &selection, &Options::default());
        let known = predicted.into_iter().map(|one| (one.id, shown(graph.task(one.id), &one.status))).collect();
        of_groups(&graph, &ids, known)
    } else {
        HashMap::new()
    };
    let format = GraphFormat::from_name(&args.format).unwrap_or_default();
    let title = match args.tasks.as_slice() {
        [] => format!("Tasks of {}", place.file),
        names => format!("What {} needs", names.join(" ")),
    };
    world.out.line(pages::graph(&view(&graph, &ids, &status), format, &title).trim_end_matches('\n'));
    Ok(0)
}

/// A group has no verdict of its own: it is as its worst need, and as good as done where it needs nothing.
fn of_groups(
    graph: &Graph,
    ids: &[TaskId],
    mut known: HashMap<TaskId, pages::Status>,
) -> HashMap<TaskId, pages::Status> {
    use pages::Status;
    let badness = |status: &Status| match status {
        Status::Unknown => 0,
        Status::UpToDate => 1,
        Status::Ignored => 2,
        Status::Asks => 3,
        Status::Run => 4,
        Status::Unmet => 5,
        Status::Failed | Status::Stale => 6,
    };
    let is_group = |id: &TaskId| graph.task(*id).is_group();
    // Groups of groups: each pass settles those whose needs are settled.
    let groups: Vec<TaskId> = ids.iter().copied().filter(is_group).collect();
    for _ in 0..groups.len() {
        let mut is_settled = true;
        for id in &groups {
            let needs = graph.node(*id).needs.iter().filter_map(|edge| known.get(&edge.to).copied());
            let worst = needs.max_by_key(badness).filter(|status| *status != Status::Unknown);
            let worst = worst.unwrap_or(Status::UpToDate);
            is_settled &= known.insert(*id, worst) == Some(worst);
        }
        if is_settled {
            break;
        }
    }
    known
}

fn view(graph: &Graph, ids: &[TaskId], status: &HashMap<TaskId, pages::Status>) -> GraphView {
    let known: HashSet<TaskId> = ids.iter().copied().collect();
    let nodes = ids
        .iter()
        .map(|id| {
            let task = graph.task(*id);
            GraphNode {
                name: task.name.clone(),
                status: status.get(id).copied().unwrap_or_default(),
                group: task.group.clone(),
                doc: first_line(task),
            }
        })
        .collect();
    let edges = ids
        .iter()
        .flat_map(|id| {
            let node = graph.node(*id);
            node.needs.iter().chain(&node.setup).map(|edge| (*id, edge))
        })
        .filter(|(_, edge)| known.contains(&edge.to))
        .map(|(from, edge)| as_edge(graph, from, edge))
        .collect();
    GraphView { nodes, edges }
}

fn as_edge(graph: &Graph, from: TaskId, edge: &Edge) -> GraphEdge {
    let why: Arc<str> = match &edge.why {
        Why::TaskDep => "task_dep".into(),
        Why::ResultDep => "result_dep".into(),
        Why::Member => "member".into(),
        Why::Target(path) => format!("file_dep {path}").into(),
        Why::CalcDep => "calc_dep".into(),
        Why::GetArg => "getargs".into(),
        Why::Setup => "setup".into(),
        Why::Resource(name) => name.clone(),
        Why::ExpandAfter => "expand_after".into(),
    };
    GraphEdge {
        from: graph.name(from).clone(),
        to: graph.name(edge.to).clone(),
        order_only: !edge.why.hands_over(),
        why: why.to_string(),
    }
}

/// Options are given to a run, not to this command; what lacks a required one has not failed.
fn shown(task: &Task, status: &Status) -> pages::Status {
    let asks = || task.params.iter().any(|param| param.required && param.default.is_none());
    match status {
        Status::UpToDate => pages::Status::UpToDate,
        Status::WillRun(_) | Status::MayRun { .. } => pages::Status::Run,
        Status::Error(_) if asks() => pages::Status::Asks,
        Status::Error(_) => pages::Status::Failed,
        Status::Ignored | Status::Skipped => pages::Status::Ignored,
        Status::Group => pages::Status::Unknown,
    }
}

fn first_line(task: &Task) -> String {
    task.doc.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
