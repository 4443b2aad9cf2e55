//! `hooks`: what runs before a commit or a push, by git alone or through pre-commit. Knows nothing of either's files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use super::args::{FileArgs, HooksArgs, HooksCommand};
use super::project;
use crate::action::image::Services;
use crate::model::task::ActionKind;
use crate::model::{Diagnostic, Diagnostics, RepoPath, Task};
use crate::world::World;

/// In every hook of ours; another one is somebody's own.
const MARK: &str = "# Made by `cargo xtask hooks install`";

const HOOKS: &[(&str, &str)] = &[
    (
        "pre-commit",
        "cargo xtask hooks check\n\
         git diff --cached --name-only --diff-filter=ACMR -z | xargs -0 -r cargo xtask hooks affected --\n",
    ),
    ("pre-push", "cargo xtask hooks check\ncargo xtask hooks render\n"),
];

pub(super) fn hooks(args: &HooksArgs, world: &World) -> Result<u8, Diagnostics> {
    match &args.command {
        HooksCommand::Install => install(world),
        HooksCommand::Uninstall => uninstall(world),
        HooksCommand::Check { file } => check(file, world),
        HooksCommand::Render { file } => render(file, world),
        HooksCommand::Affected { file, files } => affected(file, files, world),
    }
}

/// The folder of the hooks, as git has it configured.
fn folder(world: &World) -> Result<PathBuf, Diagnostic> {
    let failed = |error: &dyn std::fmt::Display| {
        Diagnostic::error(format!("`{}` is in no git repository", world.cwd.display())).cause(error).help("git init")
    };
    let shell = Shell::new().map_err(|error| failed(&error))?;
    shell.change_dir(&world.cwd);
    let path =
        cmd!(shell, "git rev-parse --git-path hooks").quiet().ignore_stderr().read().map_err(|error| failed(&error))?;
    Ok(world.cwd.join(path.trim()))
}

fn install(world: &World) -> Result<u8, Diagnostics> {
    let folder = folder(world)?;
    let failed = |error| Diagnostic::error(format!("hooks cannot be written to `{}`", folder.display())).cause(error);
    let foreign: Vec<&str> =
        HOOKS.iter().map(|(name, _)| *name).filter(|name| is_foreign(&folder.join(name))).collect();
    if !foreign.is_empty() {
        let names = crate::model::words::list(&foreign);
        return Err(Diagnostic::error(format!("{names} in `{}` was not made by this program", folder.display()))
            .help(format!("move it away: mv {0} {0}.old", folder.join(foreign[0]).display()))
            .into());
    }
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for (name, body) in HOOKS {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{MARK}\nset -eu\n{body}")).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        world.err.line(&format!("wrote {}", path.display()));
    }
    Ok(0)
}

fn uninstall(world: &World) -> Result<u8, Diagnostics> {
    let folder = folder(world)?;
    for path in HOOKS.iter().map(|(name, _)| folder.join(name)).filter(|path| path.exists() && !is_foreign(path)) {
        std::fs::remove_file(&path)
            .map_err(|error| Diagnostic::error(format!("`{}` cannot be removed", path.display())).cause(error))?;
        world.err.line(&format!("removed {}", path.display()));
    }
    Ok(0)
}

/// A hook that is there and is not ours.
fn is_foreign(path: &Path) -> bool {
    std::fs::read_to_string(path).map_or_else(|_| path.exists(), |text| !text.contains(MARK))
}

/// Whether a task looks for mistakes: by its tag, or by its name.
fn is_lint(task: &Task) -> bool {
    let by_name = task.name.strip_prefix("lint").is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':']));
    by_name || task.tags.iter().any(|tag| &**tag == "lint")
}

fn renders(task: &Task) -> bool {
    task.actions.iter().any(|action| matches!(&action.kind, ActionKind::BuiltIn { name, .. } if &**name == "render"))
}

/// Runs what renders Dockerfiles. A rendered file that git tracks is then changed, which git or pre-commit shows.
fn render(file: &FileArgs, world: &World) -> Result<u8, Diagnostics> {
    let place = project::find(file, world)?;
    let read = project::read(&place, world, &project::LoadOptions::default())?;
    let names = read.tasks.tasks.iter().filter(|task| renders(task)).map(|task| task.name.to_string()).collect();
    run(file, names, world)
}

/// Runs the tasks that look for mistakes in one of these files.
fn affected(file: &FileArgs, files: &[String], world: &World) -> Result<u8, Diagnostics> {
    let place = project::find(file, world)?;
    let load = project::LoadOptions::default();
    let read = project::read(&place, world, &load)?;
    let (project, _) = project::open(&place, read.tasks, read.actions, world, &load)?;
    let files: Vec<RepoPath> = files.iter().filter_map(|file| RepoPath::new(&place.cwd, file)).collect();
    let graph = &project.graph;
    let concerned = graph.ids().map(|id| graph.task(id)).filter(|task| is_lint(task)).filter(|task| {
        let paths = crate::store::glob::expand(&place.root, &task.file_dep).paths;
        files.iter().any(|file| paths.contains(file))
    });
    let names = concerned.map(|task| task.name.to_string()).collect();
    // In one process SQLite writes to no state whose journal somebody has open to read alone.
    drop(project);
    run(file, names, world)
}

/// Runs tasks, all of them even if one fails; nothing if there is none.
fn run(file: &FileArgs, names: Vec<String>, world: &World) -> Result<u8, Diagnostics> {
    if names.is_empty() {
        return Ok(0);
    }
    let mut words = vec!["run".to_owned(), "--continue".to_owned()];
    words.extend(file.file.iter().map(|file| format!("--file={file}")));
    words.extend(file.dir.iter().map(|dir| format!("--dir={dir}")));
    words.extend(names);
    super::run::run(&words, world)
}

/// Reads everything that can be wrong without an engine: tasks.yaml and its graph, the spec, every Dockerfile.
///
/// # Errors
/// All that is wrong.
fn check(file: &FileArgs, world: &World) -> Result<u8, Diagnostics> {
    let place = project::find(file, world)?;
    let load = project::LoadOptions::default();
    let read = project::read(&place, world, &load)?;
    let spec = read.tasks.stack.as_ref().map(|spec| spec.value.to_string());
    super::show(world, &Diagnostics(read.warnings));
    project::open(&place, read.tasks, read.actions, world, &load)?;
    if let Some(path) = spec.as_deref().and_then(RepoPath::from_root) {
        let services = Services::new(&place.root, &world.env);
        services.use_spec(path);
        let (stack, _) = services.resolved()?;
        super::show(world, &Diagnostics(stack.warnings.clone()));
    }
    Ok(0)
}
