//! `trace`: runs one task, follows its commands, and says which files they read and wrote. Knows nothing of how strace
//! writes that down.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::TraceArgs;
use super::trace_log::{self, Use};
use super::{doctor, run};
use crate::engine::Tracer;
use crate::model::task::ActionKind;
use crate::model::{Diagnostic, Diagnostics, StopToken, Task};
use crate::store::STATE_DIR;
use crate::world::World;

/// Where `--keep` leaves what strace wrote: as in doit.
const KEPT: &str = "strace.txt";

pub(super) fn trace(args: &TraceArgs, world: &World) -> Result<u8, Diagnostics> {
    let Some(strace) = doctor::which("strace", world) else {
        return Err(Diagnostic::error("`trace` needs strace, which is not installed")
            .help("install it: apt-get install strace")
            .into());
    };
    // Behind the name, too.
    let has = |flag: &str| args.task.iter().any(|word| word == flag);
    let (all, keep) = (args.all || has("--all"), args.keep || has("--keep"));
    let words: Vec<String> = file_words(args)
        .chain(args.task.iter().filter(|word| !["--all", "--keep"].contains(&&***word)).cloned())
        .collect();
    let (root, task) = chosen(&words, world)?;
    let log = root.join(STATE_DIR).join("trace.txt");
    let cannot = |error: std::io::Error| Diagnostic::error("`.xtask/trace.txt` cannot be written").cause(error);
    std::fs::create_dir_all(root.join(STATE_DIR)).and_then(|()| std::fs::write(&log, "")).map_err(cannot)?;
    let options = ["-f", "-A", "-y", "-qq", "--signal=none", "-s", "4096", "-o"].map(OsString::from);
    let calls = format!("--trace={}", trace_log::CALLS);
    let tracer = [strace.into()].into_iter().chain(options).chain([log.clone().into(), calls.into(), "--".into()]);
    let exit = run::run_with(&words, world, Some(Tracer { task: task.name.clone(), words: tracer.collect() }))?;
    let text = std::fs::read(&log).map_err(cannot)?;
    for (used, path) in trace_log::uses(&text, &root) {
        if let Some(path) = shown(&path, &root, all) {
            let word = if used == Use::Read { 'R' } else { 'W' };
            world.out.line(&format!("{word} {}", path.display()));
        }
    }
    let done = if keep { std::fs::rename(&log, root.join(KEPT)) } else { std::fs::remove_file(&log) };
    done.map_err(cannot)?;
    Ok(exit)
}

/// The root, and the one task that the words name, if it has a command.
fn chosen(words: &[String], world: &World) -> Result<(PathBuf, Arc<Task>), Diagnostics> {
    let words: Vec<String> = std::iter::once("--dry-run".to_owned()).chain(words.iter().cloned()).collect();
    let prepared = run::prepare(&words, world, &StopToken::new(), None)?;
    let tasks = prepared.as_ref().map_or(&[][..], |prepared| &prepared.selection.tasks);
    let (Some(prepared), [id]) = (&prepared, tasks) else {
        return Err(Diagnostic::error("`trace` follows one task at a time").into());
    };
    let task = prepared.project.graph.node(*id).task.clone();
    if !task.actions.iter().any(|action| !matches!(action.kind, ActionKind::BuiltIn { .. })) {
        let message = format!("task `{}` has no command that could be traced", task.name);
        return Err(Diagnostic::error(message).at(task.place.clone()).into());
    }
    Ok((prepared.place.root.clone(), task))
}

/// The file of tasks, for the command line of the run.
fn file_words(args: &TraceArgs) -> impl Iterator<Item = String> {
    let file = args.file.file.iter().map(|file| format!("--file={file}"));
    file.chain(args.file.dir.iter().map(|dir| format!("--dir={dir}")))
}

/// As it is shown: below the root relative to it, and only such unless all are wanted. The state is ours.
fn shown(path: &Path, root: &Path, all: bool) -> Option<PathBuf> {
    if path.is_dir() {
        return None;
    }
    match path.strip_prefix(root) {
        Ok(inner) if inner.starts_with(STATE_DIR) => None,
        Ok(inner) => Some(inner.to_owned()),
        Err(_) => all.then(|| path.to_owned()),
    }
}
