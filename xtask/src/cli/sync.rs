//! `sync`: copies folders and files to hosts, side by side. Knows nothing of tasks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::args::SyncArgs;
use super::project;
use crate::exec::interrupt;
use crate::model::task::Compress;
use crate::model::{Diagnostic, Diagnostics, RepoPath, StopToken, words};
use crate::remote::hosts::{self, HostEntry, Surroundings};
use crate::remote::progress::size;
use crate::remote::sync::{Limits, Place};
use crate::remote::{Filter, Job, JobReport, JobState, Patience, Progress, SyncSpec, sync_all};
use crate::store::STATE_DIR;
use crate::world::World;

mod ids;

/// How often a line about progress is written where there is no terminal to rewrite it on.
const EVERY: Duration = Duration::from_secs(5);

/// Copies; exit 0 if all arrived, 1 if something did not.
pub(super) fn sync(args: &SyncArgs, world: &World) -> Result<u8, Diagnostics> {
    let place = project::find(&args.file, world)?;
    let read = project::read(&place, world, &project::LoadOptions::default())?;
    let lookup = |name: &str| world.var_os(name);
    let home = world.var_os("HOME").map(PathBuf::from);
    let around = Surroundings { env: &lookup, home: home.as_deref() };
    let entries = hosts::known(&read.tasks.hosts, around)?;
    let chosen = hosts::choose_all(&entries, &args.host, read.tasks.config.host.as_deref(), around)
        .map_err(|error| error.diagnostic())?;
    let ids = ids::Ids::new(&place.root, &read.tasks.storage);
    let sources: Vec<Source> =
        args.what.iter().map(|word| source(word, &place, &ids)).collect::<Result<_, Diagnostics>>()?;
    let filters = filters(args)?;
    let mut jobs = Vec::new();
    for host in &chosen {
        let target = target(host)?;
        jobs.extend(sources.iter().map(|source| job(args, &filters, source, &target, host.compress, &place.root)));
    }
    let stop = StopToken::new();
    let listener = if world.owns_process { interrupt::listen(&stop).ok() } else { None };
    let env = world.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>();
    let meter = Meter::new(world, args.json);
    let begun = Instant::now();
    let reports = sync_all(&jobs, limits(args), Patience::default(), &env, &|job, done| meter.show(job, done), &stop);
    drop(listener);
    meter.end();
    let failed = reports.iter().filter(|report| matches!(report.state, JobState::Failed(_))).count();
    for report in &reports {
        tell(report, begun.elapsed(), args.json, world);
    }
    Ok(if stop.is_requested() { interrupt::exit_code().unwrap_or(130) } else { u8::from(failed > 0) })
}

/// Something to copy.
struct Source {
    /// Absolute.
    from: PathBuf,
    /// Below the root of a host.
    to: String,
}

/// A path below the root keeps its place there; an id becomes a folder of that name.
fn source(word: &str, place: &project::Place, ids: &ids::Ids) -> Result<Source, Diagnostics> {
    let path = RepoPath::new(&place.cwd, word).filter(|path| !path.as_bytes().is_empty());
    if let Some(path) = path.filter(|path| place.root.join(path.as_path()).exists()) {
        return Ok(Source { from: place.root.join(path.as_path()), to: path.lossy() });
    }
    ids.find(word).map(|from| Source { from, to: word.to_owned() })
}

fn target(host: &HostEntry) -> Result<Place, Diagnostics> {
    let Some(root) = &host.root else {
        let help = "say where copies are kept on it: root: /srv/stack";
        let problem = Diagnostic::error(format!("host `{}` has no `root`", host.name)).help(help);
        return Err(problem.help("name another one: --host NAME").into());
    };
    Ok(Place { target: host.target.clone(), root: root.to_string() })
}

/// The rules of `--filter`, then those of `--exclude`.
fn filters(args: &SyncArgs) -> Result<Vec<Filter>, Diagnostic> {
    let rule = |text: &String| match text.split_once(' ') {
        Some(("+", pattern)) => Ok(Filter::Include(pattern.to_owned())),
        Some(("-", pattern)) => Ok(Filter::Exclude(pattern.to_owned())),
        _ => {
            let problem = Diagnostic::error(format!("`--filter` is `{text}`, expected `+ PATTERN` or `- PATTERN`"));
            Err(problem.help("leave out what fits a pattern: --exclude PATTERN"))
        }
    };
    let excluded = args.exclude.iter().cloned().map(|pattern| Ok(Filter::Exclude(pattern)));
    args.filter.iter().map(rule).chain(excluded).collect()
}

fn job(args: &SyncArgs, filters: &[Filter], source: &Source, place: &Place, compress: Compress, root: &Path) -> Job {
    let mut spec = SyncSpec::new(&source.from);
    spec.delete = !args.no_delete;
    spec.filters = filters.to_vec();
    spec.compress = match (args.compress, args.no_compress) {
        (true, _) => Compress::Always,
        (_, true) => Compress::Never,
        _ => compress,
    };
    spec.checksum = args.checksum;
    spec.link_dest.clone_from(&args.link_dest);
    spec.memory = Some(root.join(STATE_DIR).join("sync"));
    let to = args.to.as_deref().unwrap_or_default().trim_matches('/');
    let path = if to.is_empty() { source.to.clone() } else { format!("{to}/{}", source.to) };
    Job { spec, place: place.clone(), path, allow_collapse: args.allow_collapse }
}

fn limits(args: &SyncArgs) -> Limits {
    let default = Limits::default();
    Limits { per_host: args.per_host.unwrap_or(default.per_host).max(1), ..default }
}

/// How far all copies are together.
struct Meter<'w> {
    world: &'w World,
    quiet: bool,
    state: Mutex<(HashMap<String, Progress>, Instant)>,
}

impl<'w> Meter<'w> {
    fn new(world: &'w World, quiet: bool) -> Self {
        Self { world, quiet, state: Mutex::new((HashMap::new(), Instant::now())) }
    }

    fn show(&self, job: &Job, done: Progress) {
        if self.quiet {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{:?} {}", job.place, job.path);
        state.0.insert(key, done);
        let pause = if self.world.err_is_tty { Duration::from_millis(100) } else { EVERY };
        if state.1.elapsed() < pause {
            return;
        }
        state.1 = Instant::now();
        let (bytes, rate) = state.0.values().fold((0, 0.0), |(bytes, rate), one| (bytes + one.bytes, rate + one.rate));
        let copies = words::count(state.0.len(), "copy");
        let text = format!("{} sent, {}/s, {copies}", size(bytes as f64), size(rate));
        if self.world.err_is_tty {
            let mut err = self.world.err.clone();
            // A terminal that is gone needs no progress.
            let _ = std::io::Write::write_all(&mut err, format!("\r\x1b[K{text}").as_bytes());
            let _ = std::io::Write::flush(&mut err);
        } else {
            self.world.err.line(&text);
        }
    }

    fn end(&self) {
        if self.world.err_is_tty && !self.quiet {
            let mut err = self.world.err.clone();
            let _ = std::io::Write::write_all(&mut err, b"\r\x1b[K");
        }
    }
}

fn tell(report: &JobReport, time: Duration, as_json: bool, world: &World) {
    if as_json {
        world.out.line(&as_value(report).to_string());
        return;
    }
    let line = match &report.state {
        JobState::Same => format!("{} on {}: nothing changed", report.path, report.host),
        JobState::Copied { bytes, attempts, only, compressed } => {
            let again = if *attempts > 1 { format!(", in {attempts} attempts") } else { String::new() };
            let only = only.map_or(String::new(), |count| format!(" of {}", words::count(count, "changed path")));
            let rate = size(*bytes as f64 / time.as_secs_f64().max(0.001));
            let packed = if *compressed { " compressed" } else { "" };
            format!("{} to {}: {}{only}{packed}, {rate}/s{again}", report.path, report.host, size(*bytes as f64))
        }
        JobState::Failed(error) => return super::show(world, &error.diagnostic().into()),
    };
    world.out.line(&line);
}

fn as_value(report: &JobReport) -> Value {
    let mut value = json!({ "path": report.path, "host": report.host, "source": report.source.to_string_lossy() });
    let (state, more) = match &report.state {
        JobState::Same => ("same", json!({})),
        JobState::Copied { bytes, attempts, only, compressed } => {
            let more = json!({ "bytes": bytes, "attempts": attempts, "changed_paths": only, "compressed": compressed });
            ("copied", more)
        }
        JobState::Failed(error) => ("failed", json!({ "problem": error.diagnostic().message })),
    };
    value["state"] = state.into();
    for (name, more) in more.as_object().into_iter().flatten().filter(|(_, more)| !more.is_null()) {
        value[name] = more.clone();
    }
    value
}
