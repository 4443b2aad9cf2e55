//! `env build`: builds environments through the task of tasks.yaml that does so, else directly.

use std::ffi::OsString;

use super::args::BuildArgs;
use crate::action::Output;
use crate::action::image::BuildEnvironment;
use crate::cli::project::{self, Place, Read};
use crate::environment::catalog;
use crate::model::task::ActionKind;
use crate::model::{Diagnostic, Diagnostics, StopToken, Stream};
use crate::world::World;

pub(super) fn build(args: &BuildArgs, world: &World) -> Result<u8, Diagnostics> {
    let place = project::find(&args.file, world)?;
    let all = catalog::load(&place.root)?;
    let names: Vec<String> = if args.names.is_empty() {
        all.iter().map(|one| one.name.to_string()).collect()
    } else {
        let found: Result<Vec<_>, Diagnostic> =
            args.names.iter().map(|name| catalog::find(&all, name).map(|one| one.name.to_string())).collect();
        found?
    };
    if names.is_empty() {
        return Err(Diagnostic::error(format!("folder `{}` holds no environment", catalog::FOLDER)).into());
    }
    let read = project::read(&place, world, &project::LoadOptions::default())?;
    let stop = StopToken::new();
    build_all(&place, &read, &names, world, &stop)
}

/// Builds these: one run of the graph for all that have a task, the others one by one.
pub(super) fn build_all(
    place: &Place,
    read: &Read,
    names: &[String],
    world: &World,
    stop: &StopToken,
) -> Result<u8, Diagnostics> {
    let tasks: Vec<Option<String>> = names.iter().map(|name| task_of(read, name)).collect();
    let mut words: Vec<String> = tasks.iter().flatten().cloned().collect();
    let mut exit = 0;
    if !words.is_empty() {
        let file = place.root.join(&place.file).to_string_lossy().into_owned();
        words.splice(0..0, ["run".to_owned(), "--file".to_owned(), file]);
        exit = crate::cli::run::run(&words, world)?;
    }
    for (name, _) in names.iter().zip(&tasks).filter(|(_, task)| task.is_none()) {
        exit = exit.max(directly(place, read, name, world, stop));
    }
    Ok(exit)
}

/// The task that builds an environment.
fn task_of(read: &Read, name: &str) -> Option<String> {
    let builds = |task: &&crate::model::Task| {
        task.actions.iter().any(|action| {
            let ActionKind::BuiltIn { name: kind, args } = &action.kind else { return false };
            &**kind == "environment_build" && args.value()["environment"].as_str() == Some(name)
        })
    };
    read.tasks.tasks.iter().find(builds).map(|task| task.name.to_string())
}

fn directly(place: &Place, read: &Read, name: &str, world: &World, stop: &StopToken) -> u8 {
    let env: Vec<(OsString, OsString)> = world.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let out = Lines(world);
    let request = BuildEnvironment { root: &place.root, name, env: &env, stop, out: &out };
    match read.environments.build_environment(&request) {
        Ok(()) => 0,
        Err(failure) => {
            crate::cli::show(world, &failure.diagnostic.into());
            if failure.interrupted { 130 } else { 1 + u8::from(failure.is_error) }
        }
    }
}

/// Lines of a build, as they come.
struct Lines<'a>(&'a World);

impl Output for Lines<'_> {
    fn line(&self, _: Stream, line: &[u8]) {
        self.0.err.line(&String::from_utf8_lossy(line));
    }

    fn progress(&self, _: u64, _: u64, _: &str) {}
}
