//! `forget`, `ignore`, `accept`: what is remembered of tasks.

use std::collections::HashSet;

use super::args::{AcceptArgs, FileArgs, ForgetArgs, NamesArgs};
use super::project::{self, LoadOptions, Place, Read};
use super::run_params;
use crate::engine::{self, Project, plan::Accepted};
use crate::graph::{self, TaskId};
use crate::model::{Diagnostic, Diagnostics, StopToken};
use crate::store::STATE_DIR;
use crate::store::lock::{self, Lock, Owner, Patience};
use crate::taskfile;
use crate::world::World;

/// The project, for changing its records: with the lock.
pub(super) fn open(args: &FileArgs, command: &str, world: &World) -> Result<(Place, Project, Lock), Diagnostics> {
    let place = project::find(args, world)?;
    let load = LoadOptions { writes: true, ..LoadOptions::default() };
    let read = project::read(&place, world, &load)?;
    open_read(place, read, &load, command, world)
}

/// The same of what was read already.
fn open_read(
    place: Place,
    read: Read,
    load: &LoadOptions,
    command: &str,
    world: &World,
) -> Result<(Place, Project, Lock), Diagnostics> {
    let Read { tasks, actions, .. } = read;
    let waiting = &mut |owner: Option<&Owner>| {
        let who = owner.map_or_else(|| "another run".to_owned(), Owner::describe);
        world.err.line(&format!("waiting for {who}"));
    };
    let dir = place.root.join(STATE_DIR);
    let lock = lock::acquire(&dir, &Owner::this(command), Patience::Endless, &StopToken::new(), waiting)
        .map_err(|error| error.diagnostic())?;
    let (mut project, warnings) = project::open(&place, tasks, actions, world, load)?;
    engine::expand_recorded(&mut project);
    super::show(world, &Diagnostics(warnings));
    Ok((place, project, lock))
}

pub(super) fn forget(args: &ForgetArgs, world: &World) -> Result<u8, Diagnostics> {
    let (place, mut project, _lock) = open(&args.file, "forget", world)?;
    if args.all {
        project.db.forget_all()?;
        project.db.commit()?;
        world.out.line("forgot all tasks");
        return Ok(0);
    }
    let mut names = args.tasks.clone();
    if names.is_empty() && !args.disable_default {
        names = project.config.default_tasks.iter().map(|task| task.value.to_string()).collect();
    }
    if names.is_empty() {
        return Err(Diagnostic::error("`forget` needs names of tasks: there are no default tasks")
            .help("forget everything: cargo xtask forget --all")
            .into());
    }
    for id in chosen(&project, &place, &names, args.follow_sub)? {
        let name = project.graph.name(id).clone();
        project.db.forget(&name)?;
        world.out.line(&format!("forgot `{name}`"));
    }
    project.db.commit()?;
    Ok(0)
}

pub(super) fn ignore(args: &NamesArgs, world: &World) -> Result<u8, Diagnostics> {
    if args.tasks.is_empty() {
        return Err(Diagnostic::error("`ignore` needs names of tasks").into());
    }
    let (place, mut project, _lock) = open(&args.file, "ignore", world)?;
    for id in chosen(&project, &place, &args.tasks, false)? {
        let name = project.graph.name(id).clone();
        project.db.set_ignored(&name, true)?;
        world.out.line(&format!("ignoring `{name}`"));
    }
    project.db.commit()?;
    Ok(0)
}

/// Takes the files and the values of params as they are: those given behind a name, else what a run would take.
pub(super) fn accept(args: &AcceptArgs, world: &World) -> Result<u8, Diagnostics> {
    let place = project::find(&args.file, world)?;
    let load = LoadOptions { writes: true, globals: taskfile::words::globals(&args.tasks) };
    let read = project::read(&place, world, &load)?;
    let mut words = taskfile::select(&args.tasks, &read.tasks, &|name| world.var(name))?.selected;
    taskfile::words::choose_members(&mut words, &read.tasks)?;
    let (place, mut project, _lock) = open_read(place, read, &load, "accept", world)?;
    let lacking = run_params::assume(&mut project, world);
    let names: Vec<String> = words.iter().map(|word| word.word.clone()).collect();
    let ids = if names.is_empty() {
        for (id, problems) in &lacking {
            let why = problems.0.first().map(|problem| problem.message.as_str()).unwrap_or_default();
            world.out.line(&format!("left out  {}   {why}", project.graph.name(*id)));
        }
        project.graph.ids().filter(|id| !lacking.contains_key(id)).collect()
    } else {
        let ids = chosen(&project, &place, &names, false)?;
        let selection = graph::Selection { tasks: ids.clone() };
        run_params::hand_out_params(&mut project, &words, &selection, true, world)?;
        ids
    };
    let mut exit = 0;
    for (name, accepted) in engine::accept(&mut project, &ids)? {
        match accepted {
            Accepted::Skipped => world.out.line(&format!("skip      {name}   up to date")),
            Accepted::Done => world.out.line(&format!("accepted  {name}")),
            Accepted::Failed(problem) => {
                exit = 1;
                world.out.line(&format!("failed    {name}"));
                super::show(world, &Diagnostics(vec![*problem]));
            }
        }
    }
    Ok(exit)
}

/// The named tasks with the members of groups; with `follow`, also what they need in order.
fn chosen(project: &Project, place: &Place, names: &[String], follow: bool) -> Result<Vec<TaskId>, Diagnostics> {
    let graph = &project.graph;
    let selection = graph::select(graph, names, &place.cwd, false)?;
    if follow {
        return Ok(graph::closure(graph, &selection, false));
    }
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let mut open: Vec<TaskId> = selection.tasks.iter().rev().copied().collect();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            found.push(id);
            let task = graph.task(id);
            if task.is_group() {
                open.extend(graph.node(id).needs.iter().rev().map(|edge| edge.to));
            }
        }
    }
    Ok(found)
}
