//! `affected` and `spec`: questions about the stack that need no engine.

use serde_json::{Value, json};
use std::sync::Arc;

use super::args::{AffectedArgs, FileArgs, SpecArgs, SpecCommand};
use super::project;
use crate::action::image::{BaseState, Services};
use crate::model::{Diagnostic, Diagnostics, RepoPath, words};
use crate::stack::affected::{Affected, Change, affected as find_affected};
use crate::stack::change::{Since, gather};
use crate::stack::git::Git;
use crate::stack::spec;
use crate::stack::{Graph, Policy, Stack};
use crate::world::World;

/// Where the spec is: the `stack` of tasks.yaml.
fn spec_path(file: &FileArgs, given: Option<&str>, world: &World) -> Result<(project::Place, RepoPath), Diagnostics> {
    let place = project::find(file, world)?;
    let named = match given {
        Some(given) => given.to_owned(),
        None => {
            let read = project::read(&place, world, &project::LoadOptions::default())?;
            read.tasks.stack.map_or_else(|| "images/spec.yml".to_owned(), |spec| spec.value.to_string())
        }
    };
    let path = RepoPath::new(&place.cwd, &named).filter(|path| place.root.join(path.as_path()).exists());
    let path = path.or_else(|| RepoPath::from_root(&named));
    let path = path.ok_or_else(|| Diagnostic::error(format!("spec `{named}` lies outside the root")))?;
    Ok((place, path))
}

/// The stack of tasks.yaml, for commands that ask about its images.
pub(super) fn services(place: &project::Place, world: &World) -> Result<Arc<Services>, Diagnostics> {
    let read = project::read(place, world, &project::LoadOptions::default())?;
    let services = Services::new(&place.root, &world.env);
    services.use_hosts(project::known_hosts(&read.tasks));
    if let Some(path) = read.tasks.stack.and_then(|spec| RepoPath::from_root(&*spec.value)) {
        services.use_spec(path);
    }
    Ok(services)
}

pub(super) fn spec(args: &SpecArgs, world: &World) -> Result<u8, Diagnostics> {
    let file = FileArgs { file: None, dir: None, seek_file: false, no_seek: false, color: "auto".into() };
    match &args.command {
        SpecCommand::Migrate { file: given } => {
            let (place, path) = spec_path(&file, given.as_deref(), world)?;
            let stack = spec::load(&place.root, &path)?;
            super::show(world, &Diagnostics(stack.warnings.clone()));
            world.out.line(spec::to_current_form(&stack).trim_end());
            Ok(0)
        }
        SpecCommand::Lock { update, check } => {
            let (place, path) = spec_path(&file, None, world)?;
            let services = Services::new(&place.root, &world.env);
            services.use_spec(path);
            let states = services.lock_bases(update.as_deref(), !check)?;
            for state in &states {
                world.out.line(&base_line(state));
            }
            let stale = |state: &BaseState| state.locked.is_none() || state.has_drifted();
            Ok(u8::from(*check && states.iter().any(stale)))
        }
        SpecCommand::Check { file: given } => {
            let (place, path) = spec_path(&file, given.as_deref(), world)?;
            let services = Services::new(&place.root, &world.env);
            services.use_spec(path.clone());
            let (stack, _) = services.resolved()?;
            super::show(world, &Diagnostics(stack.warnings.clone()));
            let images = crate::model::words::count(stack.images.len(), "image");
            let plans = crate::model::words::count(stack.plans.len(), "plan");
            world.out.line(&format!("`{path}` is fine: {images}, {plans}"));
            Ok(0)
        }
    }
}

/// A stack and what is affected in it.
pub(super) struct Found {
    pub stack: Arc<Stack>,
    pub graph: Arc<Graph>,
    /// Index of an image and how it came to be affected.
    pub images: Vec<(usize, Vec<String>)>,
}

/// The affected images, or all.
pub(super) fn find(
    file: &FileArgs,
    files: Option<&[String]>,
    base: Option<&str>,
    all: bool,
    world: &World,
) -> Result<Found, Diagnostics> {
    let (place, path) = spec_path(file, None, world)?;
    let services = Services::new(&place.root, &world.env);
    services.use_spec(path);
    let (stack, graph) = services.resolved()?;
    if all {
        let images = (0..stack.images.len()).map(|at| (at, Vec::new())).collect();
        return Ok(Found { stack, graph, images });
    }
    let change = change(files, base, &place, (&stack, &services), world)?;
    let visible = |image: usize, file: &RepoPath| services.sees(&stack.images[image], file);
    let found = find_affected(&stack, &graph, &change, &visible);
    let images = found.images.keys().map(|at| (*at, found.chain(&stack, *at))).collect();
    Ok(Found { stack, graph, images })
}

/// One base: its policy, what is locked, what the registry has.
fn base_line(state: &BaseState) -> String {
    let policy = match state.policy {
        Policy::Pinned => "pinned",
        Policy::Float => "float",
        Policy::Ttl(_) => "ttl",
    };
    let locked = state.locked.as_ref().map_or_else(|| "not locked".to_owned(), |entry| entry.digest.to_string());
    let word = match &state.found {
        Err(why) => format!("cannot be looked up: {why}"),
        Ok(found) if state.written => format!("locked at {found}"),
        Ok(found) if state.has_drifted() => format!("has moved to {found}"),
        Ok(_) if state.locked.is_none() => "is in the registry".to_owned(),
        Ok(_) => "is the same in the registry".to_owned(),
    };
    format!("{} ({policy}): {locked}; {word}", state.reference)
}

pub(super) fn affected(args: &AffectedArgs, world: &World) -> Result<u8, Diagnostics> {
    let (place, path) = spec_path(&args.file, None, world)?;
    let services = Services::new(&place.root, &world.env);
    services.use_spec(path);
    let (stack, graph) = services.resolved()?;
    let change = change(args.files.as_deref(), args.base.as_deref(), &place, (&stack, &services), world)?;
    let visible = |image: usize, file: &RepoPath| services.sees(&stack.images[image], file);
    let found = find_affected(&stack, &graph, &change, &visible);
    print(args, &stack, &found, world);
    Ok(0)
}

fn change(
    files: Option<&[String]>,
    base: Option<&str>,
    place: &project::Place,
    (stack, services): (&Stack, &Services),
    world: &World,
) -> Result<Change, Diagnostics> {
    let git = Git::open(&place.root, &world.env)?;
    let since = match (files, base) {
        (Some(files), _) => Since::Files(files.iter().filter_map(|file| RepoPath::new(&place.cwd, file)).collect()),
        (None, Some(base)) => Since::Base(base.to_owned()),
        (None, None) => Since::Policy,
    };
    // Who asks about given files or a given base means just that.
    let first_run = since == Since::Policy && services.is_first_run(stack)?;
    Ok(gather(git.as_ref(), &stack.change, &since, first_run)?)
}

fn print(args: &AffectedArgs, stack: &Stack, found: &Affected, world: &World) {
    let keys = |indices: &mut dyn Iterator<Item = &usize>| {
        indices.map(|at| stack.images[*at].key.to_string()).collect::<Vec<_>>()
    };
    if args.json {
        let chain = |at: &usize| (stack.images[*at].key.to_string(), Value::from(found.chain(stack, *at)));
        let object = json!({
            "images": keys(&mut found.images.keys()),
            "tests": keys(&mut found.tests.keys()),
            "why": found.images.keys().map(chain).collect::<serde_json::Map<_, _>>(),
        });
        world.out.line(&object.to_string());
        return;
    }
    // Nothing on stdout is an answer, too; a person is told that it is one.
    let tested: Vec<&str> = found.tests.keys().map(|at| &*stack.images[*at].key).collect();
    match (found.images.is_empty(), tested.is_empty()) {
        (true, true) => {
            world.err.line(&format!("note: none of {} is concerned", words::count(stack.images.len(), "image")));
        }
        (true, false) => {
            world.err.line(&format!("note: no image is to be built; to be tested: {}", words::list(tested)));
        }
        (false, _) => {}
    }
    for at in found.images.keys() {
        let key = &stack.images[*at].key;
        if args.explain {
            world.out.line(&format!("{key}: {}", found.chain(stack, *at).join(" -> ")));
        } else {
            world.out.line(key);
        }
    }
    if args.explain {
        for at in found.tests.keys().filter(|at| !found.images.contains_key(*at)) {
            world.out.line(&format!(
                "test of {}: {}",
                stack.images[*at].key,
                found.test_chain(stack, *at).join(" -> ")
            ));
        }
    }
}
