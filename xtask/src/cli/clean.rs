//! `clean`: removes what tasks have made, dependents before dependencies.

use std::collections::HashSet;
use std::path::Path;

use super::args::CleanArgs;
use super::{project, records, run_params};
use crate::engine;
use crate::exec::interrupt;
use crate::graph::{self, Selection, TaskId};
use crate::model::task::{Action, ActionKind, Clean};
use crate::model::{Diagnostic, Diagnostics, RepoPath, StopToken, Stream};
use crate::world::World;

pub(super) fn clean(args: &CleanArgs, world: &World) -> Result<u8, Diagnostics> {
    if args.images {
        let place = project::find(&args.file, world)?;
        let services = super::stack::services(&place, world)?;
        let fine = services.clean_images(args.keep, args.dry_run, &mut |line| world.out.line(line))?;
        return Ok(u8::from(!fine));
    }
    let forgets = args.forget && !args.dry_run;
    let (place, mut project, _lock) = if forgets {
        let (place, project, lock) = records::open(&args.file, "clean", world)?;
        (place, project, Some(lock))
    } else {
        let (place, project) = project::look(&args.file, world)?;
        (place, project, None)
    };
    let graph = project.graph.clone();
    let mut exit = 0;
    let chosen = chosen(args, &project, &place.cwd)?;
    run_params::assume(&mut project, world);
    let stop = StopToken::new();
    let listener = if world.owns_process { interrupt::listen(&stop).ok() } else { None };
    for id in chosen.iter().take_while(|_| !stop.is_requested()) {
        let task = graph.task(*id);
        let done = match &task.clean {
            Clean::Nothing => true,
            Clean::Targets => remove_targets(&place.root, &graph, *id, args.dry_run, world),
            Clean::Actions(actions) => run_actions(&project, *id, actions, args.dry_run, &stop, world),
        };
        exit = if done { exit } else { 1 };
    }
    drop(listener);
    if stop.is_requested() {
        return Ok(interrupt::exit_code().unwrap_or(130));
    }
    if forgets {
        for id in &chosen {
            project.db.forget(graph.name(*id))?;
        }
        project.db.commit()?;
    }
    Ok(exit)
}

/// The tasks to clean, dependents first, each once.
fn chosen(args: &CleanArgs, project: &crate::engine::Project, cwd: &RepoPath) -> Result<Vec<TaskId>, Diagnostics> {
    let graph = &project.graph;
    let defaults: Vec<String> = project.config.default_tasks.iter().map(|task| task.value.to_string()).collect();
    let (selection, with_needs) = if args.clean_all || (args.tasks.is_empty() && defaults.is_empty()) {
        (Selection { tasks: graph.ids().collect() }, true)
    } else if args.tasks.is_empty() {
        (graph::select(graph, &defaults, cwd, true)?, true)
    } else {
        (graph::select(graph, &args.tasks, cwd, false)?, args.clean_dep)
    };
    let mut order = graph::closure(graph, &selection, false);
    order.reverse();
    if !with_needs {
        let mut named: HashSet<TaskId> = selection.tasks.iter().copied().collect();
        for id in &selection.tasks {
            let task = graph.task(*id);
            named.extend(task.members.iter().filter_map(|name| graph.find(name)));
            if task.is_group() {
                named.extend(graph.node(*id).needs.iter().map(|edge| edge.to));
            }
        }
        order.retain(|id| named.contains(id));
    }
    Ok(order)
}

/// Removes files, then directories that are empty by then, in reverse lexical order.
fn remove_targets(root: &Path, graph: &graph::Graph, id: TaskId, dry: bool, world: &World) -> bool {
    let node = graph.node(id);
    let mut paths: Vec<RepoPath> = node.task.targets.iter().map(|target| target.path.clone()).collect();
    paths.extend(node.links.targets.iter().cloned());
    paths.sort_unstable();
    let mut fine = true;
    for path in paths.iter().rev() {
        let full = root.join(path.as_path());
        let Ok(meta) = full.symlink_metadata() else { continue };
        if meta.is_dir() {
            let is_empty = std::fs::read_dir(&full).is_ok_and(|mut entries| entries.next().is_none());
            if !is_empty {
                world.out.line(&format!("{} - keeping directory `{path}`: it is not empty", node.task.name));
                continue;
            }
        }
        world.out.line(&format!("{} - removing `{path}`", node.task.name));
        if dry {
            continue;
        }
        let removed = if meta.is_dir() { std::fs::remove_dir(&full) } else { std::fs::remove_file(&full) };
        if let Err(error) = removed {
            fine = false;
            let problem =
                Diagnostic::error(format!("failed to remove `{path}` of task `{}`", node.task.name)).cause(error);
            super::show(world, &problem.into());
        }
    }
    fine
}

/// Runs the clean actions; a failure is told, and cleaning goes on. In a dry run they are only named.
fn run_actions(
    project: &engine::Project,
    id: TaskId,
    actions: &[Action],
    dry: bool,
    stop: &StopToken,
    world: &World,
) -> bool {
    let task = project.graph.task(id);
    let mut fine = true;
    for action in actions.iter().take_while(|_| !stop.is_requested()) {
        let text = match &action.kind {
            ActionKind::Shell(text) => text.to_string(),
            ActionKind::Argv(words) => words.join(" "),
            ActionKind::BuiltIn { name, .. } => name.to_string(),
        };
        world.out.line(&format!("{} - executing `{text}`", task.name));
        if dry {
            continue;
        }
        let mut show = |stream: Stream, line: &[u8]| match stream {
            Stream::Stdout => world.out.line(&String::from_utf8_lossy(line)),
            Stream::Stderr => world.err.line(&String::from_utf8_lossy(line)),
        };
        if let Err(mut problem) = engine::clean(project, id, action, stop, &mut show) {
            fine = false;
            problem.message = format!("clean of {}", problem.message);
            super::show(world, &problem.into());
        }
    }
    fine
}
