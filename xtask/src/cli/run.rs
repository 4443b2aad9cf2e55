//! `cargo xtask [run] TASK …`: understands the words and runs tasks. Knows nothing of how a task is run.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;

use super::args::{FileArgs, RunArgs, RunCli};
use super::early::{self, is_about_images, uses};
use super::project::{self, LoadOptions, Place, Read};
use super::quick::{self, Origin, Quick};
use super::run_params::{hand_out_params, meaning};
use super::timings::{self, Recorder};
use super::words;
use crate::action::image::Services;
use crate::engine::{self, Options, Project, Tracer};
use crate::exec::interrupt;
use crate::graph::{self, Selection, TaskId};
use crate::model::{Diagnostic, Diagnostics, RepoPath, StopToken};
use crate::profile::{self, Part};
use crate::report::run_log::RunLog;
use crate::report::{self, Reporter};
use crate::store::STATE_DIR;
use crate::store::lock::{self, Lock, Owner, Patience};
use crate::store::seen::Seen;
use crate::taskfile;
use crate::world::World;

/// A command line that is understood: what to run in which project.
pub(super) struct Prepared {
    pub args: RunArgs,
    pub place: Place,
    pub project: Project,
    pub selection: Selection,
    /// Named members and targets that no task has yet.
    pub later: Vec<graph::Later>,
    pub warnings: Vec<Diagnostic>,
    /// Files that say which tasks there are, relative to the root.
    pub sources: Vec<String>,
    /// Held until the run is over; `None` for a run that writes nothing or has joined another.
    pub lock: Option<Lock>,
    /// Where the tasks came from, if that can be looked up again.
    pub origin: Option<Origin>,
    /// What earlier runs saw.
    pub seen: Option<Arc<Seen>>,
    /// What knows the engines: for the images of the stack, and for environments.
    pub engines: [Arc<Services>; 2],
}

pub(super) fn run(words: &[String], world: &World) -> Result<u8, Diagnostics> {
    run_with(words, world, None)
}

/// The same; with a tracer, which needs the commands of its task, nothing is passed over.
///
/// Where the host that keeps the images of a pool is lost on the way, it begins again on those that are left. What they
/// have is found there by its key; the rest is built once more.
pub(super) fn run_with(words: &[String], world: &World, tracer: Option<Tracer>) -> Result<u8, Diagnostics> {
    let mut tracer = tracer;
    loop {
        match once(words, world, tracer.take())? {
            Ended::Exit(exit) => return Ok(exit),
            // Each time there is a host less.
            Ended::WithoutHome => {}
        }
    }
}

/// How a run ended.
enum Ended {
    Exit(u8),
    /// The host that kept the images is gone, and others of the pool are left.
    WithoutHome,
}

fn once(words: &[String], world: &World, tracer: Option<Tracer>) -> Result<Ended, Diagnostics> {
    let stop = StopToken::new();
    let begun = Instant::now();
    let _watch = profile::enter(Part::Planning);
    let known = if tracer.is_some() { Quick::Run(Box::default()) } else { quick::quick(words, world, &stop)? };
    let mut known = match known {
        Quick::Done(exit) => return Ok(Ended::Exit(exit)),
        Quick::Run(known) => known,
    };
    let narrow = super::narrow::prepare(&mut known, world)?;
    let is_narrow = narrow.is_some();
    let whole = || prepare(words, world, &stop, known.lock.take());
    let Some(mut prepared) = narrow.map_or_else(whole, |narrow| Ok(Some(narrow)))? else {
        return super::list::overview(world).map(Ended::Exit);
    };
    if !is_narrow && known.seen.as_ref().is_some_and(|seen| quick::is_of(&seen.head, &prepared)) {
        (prepared.seen, prepared.project.unchanged) = (known.seen, known.unchanged);
    }
    let mut reporter = reporter(&prepared.args, &prepared.place, world)?;
    reporter.diagnostics(&prepared.warnings);
    if prepared.args.dry_run || prepared.args.frozen {
        return Ok(Ended::Exit(super::dry::dry(&mut prepared, &mut *reporter, &world.err, &stop)));
    }
    let mut log = None;
    if needs_engine(&prepared) {
        if !use_chosen_hosts(&mut prepared)? {
            super::doctor::ensure_for_run(prepared.args.yes, world)?;
        }
        log = run_log(&prepared.place.root);
    }
    let supervisor = world.owns_process.then(crate::exec::supervise);
    let listener = if world.owns_process { interrupt::listen(&stop).ok() } else { None };
    let shared = super::share_terminal(&*reporter, world);
    let options = Options { steps: world.steps.clone(), tracer, ..options(&prepared, words, &stop) };
    let mut recorder = prepared.args.timings.is_some().then(Recorder::new);
    let result = engine::run(&mut prepared.project, &prepared.selection, &options, &mut |event| {
        if let Some(recorder) = &mut recorder {
            recorder.see(&event);
        }
        if let Some(log) = &mut log {
            log.event(&event);
        }
        reporter.event(&event);
    });
    drop((listener, supervisor, shared));
    let moves = result.as_ref().is_ok_and(|summary| summary.exit != 0) && !stop.is_requested();
    let lost = prepared.engines[0].lost_home().filter(|_| moves);
    match &lost {
        Some(lost) => reporter.diagnostics(&[lost.diagnostic()]),
        None => reporter.diagnostics(&left_out(&prepared.engines)),
    }
    let mut exit = match result {
        Ok(summary) => summary.exit,
        Err(problem) => {
            reporter.diagnostics(&[problem]);
            2
        }
    };
    reporter.finish();
    if prepared.lock.is_some() {
        quick::remember(&mut prepared, world);
    }
    if let Some(recorder) = &recorder {
        exit = exit.max(write_timings(&prepared, recorder, &options.command, world));
    }
    if prepared.args.self_profile {
        self_profile(begun, world);
    }
    if world.owns_process {
        // The system takes the memory back at once; to give each path back by itself takes as long as to plan.
        let Project { graph, files, records, .. } = prepared.project;
        std::mem::forget((graph, files, records));
    }
    let by_signal = interrupt::exit_code().filter(|_| world.owns_process && exit == 130);
    Ok(if lost.is_some() { Ended::WithoutHome } else { Ended::Exit(by_signal.unwrap_or(exit)) })
}

/// Connects to the hosts that were chosen, if any were and a task needs them; whether that is so. What builds images may
/// then do so on all slots of all hosts at once.
pub(super) fn use_chosen_hosts(prepared: &mut Prepared) -> Result<bool, Diagnostics> {
    let [images, _] = &prepared.engines;
    if !images.has_chosen_hosts() || !needs_engine(prepared) {
        return Ok(false);
    }
    // What tests and commands of tasks ask of docker is meant for the same engine.
    let variables = images.engine_variables()?.into_iter().map(|(name, value)| (name.into(), value));
    prepared.project.env.extend(variables);
    let Some(slots) = images.slots()? else { return Ok(true) };
    let graph = &prepared.project.graph;
    let tasks = closure_with_setup(graph, &prepared.selection, prepared.args.single);
    let builds = |id: &TaskId| uses(graph.task(*id), |action| action == "image_build");
    for pool in tasks.into_iter().filter(builds).flat_map(|id| &graph.task(id).pool) {
        let room = prepared.project.pools.entry(pool.clone()).or_insert(slots);
        *room = (*room).max(slots);
    }
    let jobs = prepared.args.jobs.or(prepared.project.config.jobs);
    prepared.args.jobs = Some(jobs.unwrap_or_else(|| Options::default().jobs.max(slots)));
    Ok(true)
}

/// A word for each host on which nothing was built.
fn left_out(engines: &[Arc<Services>]) -> Vec<Diagnostic> {
    let all = engines.iter().flat_map(|services| services.left_out());
    all.map(|one| {
        Diagnostic::warning(format!("host `{}` was left out", one.host))
            .note(one.why)
            .note("what was to be built there was built on the other hosts")
    })
    .collect()
}

/// `logs/run.log`, made anew for every run with images. One that cannot be written stops no run.
fn run_log(root: &Path) -> Option<RunLog<std::fs::File>> {
    let dir = root.join("logs");
    let made = std::fs::create_dir_all(&dir).and_then(|()| std::fs::File::create(dir.join("run.log")));
    made.ok().map(RunLog::new)
}

/// What `--self-profile` asks for. Threads work at the same time, so the sum may be more than the time that passed.
pub(super) fn self_profile(begun: Instant, world: &World) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    world.err.line(&format!("self-profile: {:.1} ms", ms(begun.elapsed())));
    for (part, time, times) in profile::sums() {
        world.err.line(&format!("  {:<8} {:>10.1} ms  {times:>7} times", part.name(), ms(time)));
    }
}

/// Writes what `--timings` asks for; returns the exit code of that alone.
fn write_timings(prepared: &Prepared, recorder: &Recorder, command: &str, world: &World) -> u8 {
    let given = prepared.args.timings.as_deref().unwrap_or_default();
    let file = timings::path(given, &prepared.place.root, &world.cwd);
    match recorder.write(&file, command, &prepared.project.graph) {
        Ok(()) => {
            world.err.line(&format!("note: timings are in {}", file.display()));
            0
        }
        Err(problem) => {
            super::show(world, &problem.into());
            2
        }
    }
}

/// Understands the words and opens the project. `None`: nothing was named and there is no default. `held` is the lock of
/// the state, if it was taken already.
pub(super) fn prepare(
    words: &[String],
    world: &World,
    stop: &StopToken,
    held: Option<Lock>,
) -> Result<Option<Prepared>, Diagnostics> {
    let file = file_args(words, world);
    let place = project::find(&file, world)?;
    let globals = taskfile::words::globals(words);
    let load = LoadOptions { writes: false, globals: globals.clone() };
    let Read { tasks, mut warnings, actions, images, environments, sources, origin } =
        project::read(&place, world, &load)?;
    let split = words::split(words, &|task, word| meaning(&tasks, task, word))?;
    let mut args = parse(&split.run)?;
    let mut chosen = taskfile::select(&split.tasks, &tasks, &|name| world.var(name)).map_err(super::meant::options)?;
    taskfile::words::choose_members(&mut chosen.selected, &tasks)?;
    // The first guess takes values of options for variables if they look like them; then the files are read again.
    let (tasks, actions, engines, sources, globals) = if chosen.globals == globals {
        (tasks, actions, [images, environments], sources, globals)
    } else {
        let again = LoadOptions { writes: false, globals: chosen.globals.clone() };
        let read = project::read(&place, world, &again)?;
        (read.tasks, read.actions, [read.images, read.environments], read.sources, chosen.globals.clone())
    };
    for services in &engines {
        services.choose_hosts(&args.host)?;
    }
    args.single |= chosen.selected.iter().any(|selected| {
        let task = tasks.tasks.iter().find(|task| *task.name == *selected.word);
        task.is_some_and(|task| taskfile::params::is_alone(task, &selected.given))
    });
    let named: Vec<String> = chosen.selected.iter().map(|selected| selected.word.clone()).collect();
    let defaults: Vec<String> = tasks.config.default_tasks.iter().map(|task| task.value.to_string()).collect();
    let wanted = if named.is_empty() { defaults } else { named };
    if wanted.is_empty() {
        return Ok(None);
    }
    args.reporter = args.reporter.or_else(|| tasks.config.reporter.as_deref().map(str::to_owned));
    let writes = !args.dry_run && !args.frozen;
    let lock = match held {
        _ if !writes => None,
        None => take_lock(&place, &args, words, world, stop)?,
        held => held,
    };
    // A variable of the command line is a part of the tasks that only this run has.
    let origin = Some(origin).filter(|_| globals.is_empty());
    let load = LoadOptions { writes, globals };
    early::ask_engine(&tasks.tasks, &wanted, &engines[0]);
    let (mut project, more) = project::open(&place, tasks, actions, world, &load)?;
    warnings.extend(more);
    if !writes {
        engine::expand_recorded(&mut project);
    }
    let selection = graph::select(&project.graph, &wanted, &place.cwd, args.allow_empty)
        .map_err(|problem| super::meant::command(problem, &wanted))?;
    let later = graph::later(&project.graph, &wanted, &place.cwd);
    hand_out_params(&mut project, &chosen.selected, &selection, args.single, world)?;
    Ok(Some(Prepared { args, place, project, selection, later, warnings, sources, lock, origin, seen: None, engines }))
}

/// Whether a task of the plan builds, tests or publishes images.
fn needs_engine(prepared: &Prepared) -> bool {
    let graph = &prepared.project.graph;
    let is_image = |id: TaskId| is_about_images(graph.task(id));
    closure_with_setup(graph, &prepared.selection, prepared.args.single).into_iter().any(is_image)
}

/// Reads the files again after they changed; what is remembered of tasks stays.
///
/// # Errors
/// Those of the files: then nothing is changed.
pub(super) fn reload(prepared: &mut Prepared, words: &[String], world: &World) -> Result<(), Diagnostics> {
    let globals = taskfile::words::globals(words);
    let load = LoadOptions { writes: true, globals };
    let Read { tasks, actions, images, environments, sources, .. } = project::read(&prepared.place, world, &load)?;
    let engines = [images, environments];
    for services in &engines {
        services.choose_hosts(&prepared.args.host)?;
    }
    let split = words::split(words, &|task, word| meaning(&tasks, task, word))?;
    let chosen = taskfile::select(&split.tasks, &tasks, &|name| world.var(name))?;
    let named: Vec<String> = chosen.selected.iter().map(|selected| selected.word.clone()).collect();
    let defaults = tasks.config.default_tasks.iter().map(|task| task.value.to_string()).collect();
    let wanted = if named.is_empty() { defaults } else { named };
    let (mut project, _) = project::open(&prepared.place, tasks, actions, world, &load)?;
    let selection = graph::select(&project.graph, &wanted, &prepared.place.cwd, prepared.args.allow_empty)?;
    let later = graph::later(&project.graph, &wanted, &prepared.place.cwd);
    hand_out_params(&mut project, &chosen.selected, &selection, prepared.args.single, world)?;
    prepared.project = project;
    prepared.selection = selection;
    prepared.later = later;
    prepared.sources = sources;
    prepared.engines = engines;
    use_chosen_hosts(prepared).map(drop)
}

/// The options that say where the file is: needed before the tasks, and so their own options, are known.
pub(super) fn file_args(words: &[String], world: &World) -> FileArgs {
    let mut found = FileArgs { file: None, dir: None, seek_file: false, no_seek: false, color: "auto".into() };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = |long: &str, short: &str| -> Option<String> {
            if word == long || word == short {
                return rest.next().cloned();
            }
            word.strip_prefix(long).and_then(|tail| tail.strip_prefix('=')).map(str::to_owned)
        };
        if let Some(file) = value("--file", "-f") {
            found.file = Some(file);
        } else if let Some(dir) = value("--dir", "-d") {
            found.dir = Some(dir);
        }
        found.seek_file |= word == "-k" || word == "--seek-file";
        found.no_seek |= word == "--no-seek";
    }
    if found.file.is_none() {
        found.file = world.var("XTASK_FILE").filter(|file| !file.is_empty());
    }
    found
}

/// Gives the text of a file below the root, for messages that show a line of it.
pub(super) fn source_below(root: std::path::PathBuf) -> report::options::SourceFn {
    Arc::new(move |file: &str| std::fs::read_to_string(root.join(file)).ok())
}

pub(super) fn parse(words: &[String]) -> Result<RunArgs, Diagnostics> {
    let line = std::iter::once("cargo xtask run".to_owned()).chain(words.iter().cloned());
    let parsed = RunCli::try_parse_from(line).map(|cli| cli.run);
    parsed.map_err(|error| super::meant::usage(&error, &["run".to_owned()]).into())
}

/// Waits for the run that has the state, or fails, as told. A run from inside a task joins: it needs no lock.
pub(super) fn take_lock(
    place: &Place,
    args: &RunArgs,
    words: &[String],
    world: &World,
    stop: &StopToken,
) -> Result<Option<Lock>, Diagnostics> {
    let joins = world.var("XTASK_TOKEN").is_some()
        && world.var("XTASK_ROOT").is_some_and(|root| std::path::Path::new(&root) == place.root);
    if joins {
        return Ok(None);
    }
    let dir = place.root.join(STATE_DIR);
    let patience = if args.no_wait { Patience::None } else { Patience::Endless };
    let own = Owner::this(&words.join(" "));
    let lock = lock::acquire(&dir, &own, patience, stop, &mut |owner| {
        let who = owner.map_or_else(|| "another run".to_owned(), Owner::describe);
        world.err.line(&format!("waiting for {who}"));
    });
    let lock = lock.map_err(|error| Diagnostics::from(error.diagnostic()))?;
    if lock.died.is_some() {
        // That run was killed; what it had started must not write while this one reads.
        crate::exec::end_leftovers(&place.root);
    }
    Ok(Some(lock))
}

/// The selection with what it needs and, for each, what sets it up.
pub(super) fn closure_with_setup(graph: &graph::Graph, selection: &Selection, single: bool) -> Vec<TaskId> {
    let mut all = graph::closure(graph, selection, single);
    let mut seen: HashSet<TaskId> = all.iter().copied().collect();
    let mut next = 0;
    while next < all.len() {
        let setup = graph.node(all[next]).setup.iter().map(|edge| edge.to).collect();
        for id in graph::closure(graph, &Selection { tasks: setup }, false) {
            if seen.insert(id) {
                all.push(id);
            }
        }
        next += 1;
    }
    all
}

/// What the engine is told.
pub(super) fn options(prepared: &Prepared, words: &[String], stop: &StopToken) -> Options {
    let (args, config) = (&prepared.args, &prepared.project.config);
    let cwd = &prepared.place.cwd;
    let default = Options::default();
    Options {
        jobs: args.jobs.or(config.jobs).unwrap_or(default.jobs).max(1),
        keep_going: (args.continue_ || config.continue_on_failure) && !args.no_continue,
        always: args.always,
        single: args.single,
        include_ignored: args.include_ignored,
        strict: args.strict,
        what_if: args.what_if.iter().filter_map(|file| RepoPath::new(cwd, file)).collect(),
        shuffle: args.shuffle,
        later: prepared.later.clone(),
        verbosity: args.verbosity,
        grace: config.grace.unwrap_or(Duration::from_secs(10)),
        command: without_secrets(&prepared.project, words),
        stop: stop.clone(),
        ..default
    }
}

/// The command line for the history: values of secret params are left out.
fn without_secrets(project: &Project, words: &[String]) -> String {
    let hidden: Vec<&str> = project
        .params
        .values()
        .flat_map(BTreeMap::values)
        .filter(|value| value.secret)
        .filter_map(|value| value.value.as_str())
        .filter(|text| !text.is_empty())
        .collect();
    let mut line = words.join(" ");
    for secret in hidden {
        line = line.replace(secret, "***");
    }
    line
}

/// The reporter that was asked for.
pub(super) fn reporter(args: &RunArgs, place: &Place, world: &World) -> Result<Box<dyn Reporter>, Diagnostics> {
    let name = args.reporter.as_deref().unwrap_or("auto");
    let Some(kind) = report::Kind::from_name(name) else {
        let known: Vec<&str> = report::Kind::NAMES.iter().map(|(name, _)| *name).collect();
        return Err(Diagnostic::error(format!("reporter `{name}` is unknown"))
            .maybe_help(crate::model::words::suggest("reporter", name, &known))
            .help("known reporters: auto fancy plain json junit github console executed-only zero error-only")
            .into());
    };
    let out: Box<dyn Write + Send> = match &args.output_file {
        None => Box::new(world.out.clone()),
        Some(file) => Box::new(
            std::fs::File::create(world.cwd.join(file))
                .map_err(|error| Diagnostic::error(format!("failed to create output file `{file}`")).cause(error))?,
        ),
    };
    let mut options = report::Options::new(out, Box::new(world.err.clone()));
    let env = |name: &str| world.var(name);
    options.is_tty = world.err_is_tty;
    options.color = color(&args.file.color, world);
    options.quiet = args.quiet;
    options.verbose = u8::from(args.verbosity == Some(2));
    options.output = match args.output.as_str() {
        "prefixed" => report::OutputMode::Prefixed,
        "raw" => report::OutputMode::Raw,
        _ => report::OutputMode::Grouped,
    };
    options.ci = report::Ci::from_env(&env);
    options.hashing = Arc::new(crate::store::reading::now);
    let root = place.root.clone();
    options.source = Some(source_below(root));
    if let Some(file) = world.var("GITHUB_STEP_SUMMARY") {
        options.job_summary =
            std::fs::File::options().append(true).create(true).open(file).ok().map(|file| Box::new(file) as _);
    }
    Ok(report::make(kind, options))
}

pub(super) fn color(choice: &str, world: &World) -> bool {
    let choice = match choice {
        "always" => report::ColorChoice::Always,
        "never" => report::ColorChoice::Never,
        _ => report::ColorChoice::Auto,
    };
    report::wants_color(choice, &|name| world.var(name), world.err_is_tty)
}
