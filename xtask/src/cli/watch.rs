//! `cargo xtask watch [TASK …]`: runs once, then again whatever concerns changed files, until it is told to stop.
//!
//! The watch decides nothing: it wakes the planner, whose verdicts come from contents. A broken edit of tasks.yaml or
//! of the spec shows its errors, and the last good graph stays.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::run::{self, Prepared};
use crate::engine::{self, Project};
use crate::exec::interrupt;
use crate::graph::{self, Selection, TaskId};
use crate::model::{Diagnostic, Diagnostics, Event, RepoPath, StopToken};
use crate::report::Reporter;
use crate::report::keys::{KeyMode, keys};
use crate::store::{STATE_DIR, glob};
use crate::watch::{Batch, How, WatchDir, Watcher};
use crate::world::World;

/// What wakes the loop.
enum Wake {
    Changed(Batch),
    Key(Key),
}

/// What a person can ask for, each with the Enter key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    RunAll,
    RunFailed,
    Explain,
    Quit,
}

/// Commands of a person after each round.
#[derive(Default)]
struct Callbacks {
    success: Option<String>,
    failure: Option<String>,
    bell: bool,
    poll: bool,
}

pub(super) fn watch(words: &[String], world: &World) -> Result<u8, Diagnostics> {
    let (words, callbacks) = own_options(words)?;
    let stop = StopToken::new();
    let Some(mut prepared) = run::prepare(&words, world, &stop)? else {
        return Err(Diagnostic::error("`watch` needs tasks: there are no default tasks")
            .help("cargo xtask watch TASK")
            .into());
    };
    if prepared.args.timings.is_some() {
        return Err(Diagnostic::error("`--timings` is for one run, and `watch` makes many").into());
    }
    let mut reporter = run::reporter(&prepared.args, &prepared.place, world)?;
    reporter.diagnostics(&prepared.warnings);
    let supervisor = world.owns_process.then(crate::exec::supervise);
    let listener = if world.owns_process { interrupt::listen(&stop).ok() } else { None };
    let (sender, wakes) = channel();
    let watcher = start_watcher(&prepared, sender.clone(), callbacks.poll)?;
    reporter.diagnostics(&watcher.problems);
    let reads_keys = world.in_is_tty && world.err_is_tty;
    if reads_keys {
        read_keys(sender);
    }
    let mut rounds = Rounds {
        words: &words,
        world,
        stop: &stop,
        reporter: &mut *reporter,
        callbacks: &callbacks,
        failed: Vec::new(),
    };
    rounds.run(&mut prepared, None)?;
    while !stop.is_requested() {
        rounds.reporter.event(&Event::WatchIdle { keys: reads_keys });
        // Only while nothing runs: an interactive task finds the terminal as it was.
        let key_mode = reads_keys.then(KeyMode::of_stdin).flatten();
        let wake = next(&wakes, &stop);
        drop(key_mode);
        match wake {
            None | Some(Wake::Key(Key::Quit)) => break,
            Some(Wake::Key(Key::RunAll)) => rounds.run(&mut prepared, None)?,
            Some(Wake::Key(Key::RunFailed)) => rounds.run_failed(&mut prepared)?,
            Some(Wake::Key(Key::Explain)) => rounds.explain(&mut prepared),
            Some(Wake::Changed(batch)) => rounds.changed(&mut prepared, &watcher, batch)?,
        }
    }
    reporter.finish();
    drop((watcher, listener, supervisor));
    Ok(interrupt::exit_code().filter(|_| world.owns_process).unwrap_or(if stop.is_requested() { 130 } else { 0 }))
}

/// Takes `--on-success CMD`, `--on-failure CMD`, `--bell` and `--poll` out of the words.
fn own_options(words: &[String]) -> Result<(Vec<String>, Callbacks), Diagnostics> {
    let mut rest = Vec::new();
    let mut callbacks = Callbacks::default();
    let mut found = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, joined) =
            word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
        match name {
            "--on-success" | "--on-failure" => {
                let value = joined.or_else(|| words.next().cloned());
                let command = value.ok_or_else(|| Diagnostic::error(format!("option `{name}` needs a command")))?;
                let place = if name == "--on-success" { &mut callbacks.success } else { &mut callbacks.failure };
                *place = Some(command);
            }
            "--bell" => callbacks.bell = true,
            "--poll" => callbacks.poll = true,
            // Options of the run may stand before the command.
            "watch" if !found => found = true,
            _ => rest.push(word.clone()),
        }
    }
    Ok((rest, callbacks))
}

fn next(wakes: &Receiver<Wake>, stop: &StopToken) -> Option<Wake> {
    loop {
        match wakes.recv_timeout(Duration::from_millis(50)) {
            Ok(wake) => return Some(wake),
            Err(RecvTimeoutError::Timeout) if !stop.is_requested() => {}
            Err(_) => return None,
        }
    }
}

/// Keys of the terminal; the thread ends with the program.
fn read_keys(sender: Sender<Wake>) {
    std::thread::spawn(move || {
        for key in keys(std::io::stdin()) {
            let key = match key {
                b'\n' => Key::RunAll,
                b'r' => Key::RunFailed,
                b'e' => Key::Explain,
                b'q' => Key::Quit,
                _ => continue,
            };
            if sender.send(Wake::Key(key)).is_err() {
                return;
            }
        }
    });
}

fn start_watcher(prepared: &Prepared, sender: Sender<Wake>, poll: bool) -> Result<Watcher, Diagnostics> {
    let set = WatchSet::of(prepared);
    let ignored = set.ignored.clone();
    #[cfg(not(test))]
    let how = How { poll };
    #[cfg(test)]
    let how = How { poll, ..How::default() };
    let watcher = Watcher::start(
        &prepared.place.root,
        set.dirs,
        move |path| ignored.covers(path),
        how,
        move |batch| {
            // Nobody listens any more only when the program ends.
            let _ = sender.send(Wake::Changed(batch));
        },
    )?;
    Ok(watcher)
}

/// Which folders hold inputs, and which paths are the tasks' own.
struct WatchSet {
    dirs: Vec<WatchDir>,
    ignored: Arc<Own>,
}

/// Paths that tasks write themselves.
struct Own(BTreeSet<RepoPath>);

impl Own {
    fn covers(&self, path: &RepoPath) -> bool {
        let mut above = Some(path.clone());
        while let Some(one) = above {
            if self.0.contains(&one) {
                return true;
            }
            above = one.parent();
        }
        false
    }
}

impl WatchSet {
    fn of(prepared: &Prepared) -> Self {
        let graph = &prepared.project.graph;
        let mut dirs = BTreeSet::new();
        let mut own: BTreeSet<RepoPath> = [STATE_DIR, ".git", "artifacts", "logs", "manifests", "target"]
            .iter()
            .filter_map(RepoPath::from_root)
            .collect();
        let add_file = |path: &RepoPath, dirs: &mut BTreeSet<WatchDir>| {
            dirs.extend(path.parent().map(WatchDir::flat));
        };
        for source in &prepared.sources {
            if let Some(path) = RepoPath::from_root(source) {
                add_file(&path, &mut dirs);
            }
        }
        for id in concerned(graph, &prepared.selection) {
            let node = graph.node(id);
            for dep in node.task.file_dep.iter().chain(&node.task.watch).filter(|dep| !dep.negated) {
                if glob::is_glob(&dep.pattern) {
                    let at = dep.pattern.find(['*', '?', '[', '{']).unwrap_or(0);
                    let base = dep.pattern[..at].rfind('/').map_or("", |slash| &dep.pattern[..slash]);
                    let deep = dep.pattern[base.len()..].contains("**") || dep.pattern[at..].contains('/');
                    if let Some(path) = RepoPath::from_root(base) {
                        dirs.insert(WatchDir { path, recursive: deep });
                    }
                } else if let Some(path) = RepoPath::from_root(&*dep.pattern) {
                    if prepared.place.root.join(path.as_path()).is_dir() {
                        dirs.insert(WatchDir::deep(path.clone()));
                    }
                    add_file(&path, &mut dirs);
                }
            }
            for path in node.links.inputs.iter().chain(&node.links.watch) {
                if prepared.place.root.join(path.as_path()).is_dir() {
                    dirs.insert(WatchDir::deep(path.clone()));
                }
                add_file(path, &mut dirs);
            }
            own.extend(node.task.targets.iter().map(|target| target.path.clone()));
            own.extend(node.links.targets.iter().cloned());
        }
        Self { dirs: dirs.into_iter().collect(), ignored: Arc::new(Own(own)) }
    }
}

/// The selected tasks with everything they need, setup tasks included.
fn concerned(graph: &graph::Graph, selection: &Selection) -> Vec<TaskId> {
    let mut all = graph::closure(graph, selection, false);
    let setup: Vec<TaskId> = all.iter().flat_map(|id| graph.node(*id).setup.iter().map(|edge| edge.to)).collect();
    for id in graph::closure(graph, &Selection { tasks: setup }, false) {
        if !all.contains(&id) {
            all.push(id);
        }
    }
    all
}

/// One round after the other.
struct Rounds<'a> {
    words: &'a [String],
    world: &'a World,
    stop: &'a StopToken,
    reporter: &'a mut dyn Reporter,
    callbacks: &'a Callbacks,
    /// Tasks that failed in the last round.
    failed: Vec<Arc<str>>,
}

impl Rounds<'_> {
    fn run(&mut self, prepared: &mut Prepared, only: Option<Selection>) -> Result<(), Diagnostics> {
        let selection = only.unwrap_or_else(|| prepared.selection.clone());
        let mut options = run::options(prepared, self.words, self.stop);
        options.keep_going = !prepared.args.no_continue;
        let reporter = &mut *self.reporter;
        let summary = engine::run(&mut prepared.project, &selection, &options, &mut |event| reporter.event(&event));
        let summary = match summary {
            Ok(summary) => summary,
            Err(problem) => {
                self.reporter.diagnostics(&[problem]);
                return Ok(());
            }
        };
        let bad = |outcome: &crate::model::Outcome| !outcome.is_good() && *outcome != crate::model::Outcome::Ignored;
        self.failed =
            summary.outcomes.iter().filter(|(_, outcome)| bad(outcome)).map(|(name, _)| name.clone()).collect();
        self.call_back(&prepared.project, summary.exit);
        Ok(())
    }

    fn run_failed(&mut self, prepared: &mut Prepared) -> Result<(), Diagnostics> {
        let tasks: Vec<TaskId> = self.failed.iter().filter_map(|name| prepared.project.graph.find(name)).collect();
        if tasks.is_empty() { Ok(()) } else { self.run(prepared, Some(Selection { tasks })) }
    }

    fn call_back(&self, project: &Project, exit: u8) {
        if self.callbacks.bell {
            let mut err = self.world.err.clone();
            // A terminal that went away needs no bell.
            let _ = std::io::Write::write_all(&mut err, b"\x07");
        }
        let command = if exit == 0 { &self.callbacks.success } else { &self.callbacks.failure };
        let Some(command) = command else { return };
        let argv = ["sh", "-c", command].map(std::ffi::OsString::from).to_vec();
        let env = self.world.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let spec = crate::exec::CommandSpec::new(argv, project.root.clone(), env);
        let mut show = |_: crate::model::Stream, line: &[u8]| self.world.err.line(&String::from_utf8_lossy(line));
        crate::exec::run(&spec, &mut show, &mut std::io::sink(), self.stop);
    }

    fn explain(&mut self, prepared: &mut Prepared) {
        let options = run::options(prepared, self.words, self.stop);
        for prediction in engine::predict(&mut prepared.project, &prepared.selection, &options) {
            if let engine::Status::WillRun(reasons) = prediction.status {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                self.world.err.line(&format!("{}: {}", prediction.name, reasons.join("; ")));
            }
        }
    }

    fn changed(&mut self, prepared: &mut Prepared, watcher: &Watcher, batch: Batch) -> Result<(), Diagnostics> {
        self.reporter.diagnostics(&batch.problems);
        let reload = prepared.sources.iter().filter_map(RepoPath::from_root).any(|source| batch.touches(&source));
        let paths = batch.paths.iter().take(3).map(RepoPath::lossy).collect();
        let event = Event::WatchChanged { paths, total: batch.paths.len(), rescan: batch.rescan };
        self.reporter.event(&event);
        if reload {
            match run::reload(prepared, self.words, self.world) {
                Ok(()) => {
                    let set = WatchSet::of(prepared);
                    let ignored = set.ignored.clone();
                    let problems = watcher.set_dirs(set.dirs, move |path| ignored.covers(path));
                    self.reporter.diagnostics(&problems);
                }
                Err(problems) => {
                    self.reporter.diagnostics(&problems.0);
                    return Ok(());
                }
            }
        }
        self.run(prepared, None)
    }
}
