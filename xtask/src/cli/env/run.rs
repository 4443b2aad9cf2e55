//! `env run`: prepares the image, runs once what is asked for at once, and says how it ended.

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::args::RunArgs;
use super::engine::{self, Opened};
use super::prepare::{self, Prepared};
use super::request::{self, Request};
use super::terminal;
use crate::action::image::Held;
use crate::environment::options::size;
use crate::environment::shared::{self, Turn};
use crate::environment::{Environment, Job, Outcome, Report, Wanted, catalog, project_word, run as runs};
use crate::exec::interrupt;
use crate::model::digest::Hasher;
use crate::model::{Diagnostic, Diagnostics, StopToken, Stream};
use crate::store::STATE_DIR;
use crate::world::World;

/// It could not be run, or the engine was lost.
const EXIT_NOT_RUN: u8 = 125;
/// Records and results of so many runs are kept.
const KEPT_RUNS: usize = 100;

pub(super) fn run(args: &RunArgs, world: &World) -> Result<u8, Diagnostics> {
    let stop = StopToken::new();
    let listener = if world.owns_process { interrupt::listen(&stop).ok() } else { None };
    let opened = engine::open(&args.file, args.host.as_deref(), world, &stop)?;
    let all = catalog::load(&opened.place.root)?;
    let environment = catalog::find(&all, &args.name)?;
    let request = request::read(args, environment, &opened, world)?;
    let exit = match go(args, environment, &opened, &request, world, &stop) {
        Ok(exit) => exit,
        Err(problems) => {
            crate::cli::show(world, &problems);
            if stop.is_requested() { 130 } else { EXIT_NOT_RUN }
        }
    };
    drop(listener);
    let by_signal = interrupt::exit_code().filter(|_| world.owns_process && exit == 130);
    Ok(by_signal.unwrap_or(exit))
}

fn go(
    args: &RunArgs,
    environment: &Environment,
    opened: &Opened,
    request: &Request,
    world: &World,
    stop: &StopToken,
) -> Result<u8, Diagnostics> {
    if request.options.has_limits() {
        request.options.check(&opened.docker.engine().map_err(Diagnostic::from)?)?;
    }
    let held = match prepare::prepare(opened, environment, world, stop)? {
        Prepared::Ready(held) => held,
        Prepared::Failed(130) => return Ok(130),
        Prepared::Failed(_) => {
            return Err(Diagnostic::error(format!("environment `{}` could not be built", environment.name)).into());
        }
    };
    let (mut out, mut err) = (world.out.clone(), world.err.clone());
    let mut print = move |stream: Stream, bytes: &[u8]| {
        // A reader that went away is no error of the script's.
        let _ = match stream {
            Stream::Stdout => out.write_all(bytes).and_then(|()| out.flush()),
            Stream::Stderr => err.write_all(bytes).and_then(|()| err.flush()),
        };
    };
    let id = run_id();
    let mut waiting = || {
        if !args.quiet {
            world.err.line("note: the same is running already; its output comes when it has ended");
        }
    };
    if args.interactive {
        let ended = with_wanted(environment, opened, request, &held, &id, |wanted| {
            terminal::run(opened, request, wanted, world, stop)
        });
        let outcome = ended?;
        // What a shell ended with last is no news to whoever sat at it.
        if !matches!(outcome, Outcome::ScriptError(_)) {
            tell(args, environment, request, &outcome, world);
        }
        return Ok(outcome.exit());
    }
    // A new container is asked for because another run is wanted.
    let mut leader = None;
    if !is_fresh(args) {
        let failed = |error: std::io::Error| Diagnostic::error("the same request cannot be looked for").cause(error);
        let digest = request.digest(opened, &held.id).map_err(failed)?;
        let dir = opened.folders.below("requests")?;
        match shared::enter(&dir, &digest, &mut print, &mut waiting, stop).map_err(failed)? {
            Turn::Lead(first) => leader = Some(first),
            Turn::Stopped => return Ok(130),
            Turn::Followed(ended) => {
                let Some(outcome) = ended.outcome else {
                    let message = format!("run `{}`, which this one waited for, could not be started", ended.run);
                    return Err(Diagnostic::error(message).into());
                };
                tell(args, environment, request, &outcome, world);
                return Ok(outcome.exit());
            }
        }
    }
    let mut listener = |stream: Stream, bytes: &[u8]| {
        if let Some(leader) = &mut leader {
            leader.output(stream, bytes);
        }
        print(stream, bytes);
    };
    let ended = start(args, environment, opened, request, &held, &id, &mut listener, stop);
    if let Some(leader) = leader {
        let report = ended.as_ref().ok();
        leader.end(&id, report).map_err(|error| Diagnostic::error("the end of the run cannot be told").cause(error))?;
    }
    let report = ended?;
    record(environment, opened, &held, &id, request, &report)?;
    tell(args, environment, request, &report.outcome, world);
    if !args.quiet && report.results.is_some_and(|results| results.files > 0) {
        world.err.line(&format!("note: results are in {}", runs_dir(opened).join(&id).join("result").display()));
    }
    Ok(report.outcome.exit())
}

#[expect(clippy::too_many_arguments, reason = "each is one thing of the run, used here alone")]
fn start(
    args: &RunArgs,
    environment: &Environment,
    opened: &Opened,
    request: &Request,
    held: &Held,
    id: &str,
    listener: runs::Listener<'_>,
    stop: &StopToken,
) -> Result<Report, Diagnostic> {
    let pool = opened.pool()?;
    let results = runs_dir(opened).join(id).join("result");
    let downloads: Vec<(String, PathBuf)> = request
        .downloads
        .iter()
        .map(|(from, to)| {
            let inside = if from.starts_with('/') { from.clone() } else { format!("/xtask/runs/{id}/result/{from}") };
            (inside, to.clone())
        })
        .collect();
    let job = Job {
        id,
        work: &request.work,
        env: &request.env,
        secrets: &request.secrets,
        workdir: request.workdir.as_deref(),
        timeout: request.timeout,
        uploads: &request.uploads,
        downloads: &downloads,
        results: &results,
    };
    with_wanted(environment, opened, request, held, id, |wanted| {
        runs::run(&opened.docker, &pool, wanted, &job, is_fresh(args), listener, stop)
    })
}

/// A port can be one container's alone: one that waits for the next run would keep it.
fn is_fresh(args: &RunArgs) -> bool {
    args.fresh || !args.publish.is_empty()
}

/// Describes the container that is wanted.
fn with_wanted<T>(
    environment: &Environment,
    opened: &Opened,
    request: &Request,
    held: &Held,
    purpose: &str,
    use_it: impl FnOnce(&Wanted<'_>) -> T,
) -> T {
    let mut hasher = Hasher::new();
    hasher.field(&held.id).field(request.options.canonical()).field(request.variables(opened));
    use_it(&Wanted {
        name: &environment.name,
        project: &project_word(&opened.place.root),
        image: &held.id,
        options: &request.options,
        key: &hasher.finish().short(),
        ready: environment.metadata.ready.as_deref(),
        ready_timeout: environment.metadata.ready_timeout,
        purpose,
    })
}

/// Says how it ended, where that is not plain from the output.
fn tell(args: &RunArgs, environment: &Environment, request: &Request, outcome: &Outcome, world: &World) {
    let what = request.work.subject();
    let problem = match outcome {
        Outcome::Success => {
            if world.err_is_tty && !args.quiet {
                let version = &environment.metadata.version;
                world.err.line(&format!("success, with {} {version}", environment.name));
            }
            return;
        }
        Outcome::Inaccurate if args.quiet => return,
        Outcome::ScriptError(_) if args.quiet => return,
        Outcome::Inaccurate => Diagnostic::warning(format!("{what} ended with exit code 2: its result is inaccurate")),
        Outcome::ScriptError(code) => Diagnostic::error(format!("{what} ended with exit code {code}")),
        Outcome::Timeout(limit) => {
            let seconds = limit.as_secs_f64();
            Diagnostic::error(format!("{what} was ended, because its {seconds} s were over"))
                .help(format!("--timeout {}s", (seconds * 2.0).ceil()))
        }
        Outcome::OutOfMemory { .. } => match request.options.memory {
            Some(limit) => Diagnostic::error(format!("{what} was killed at its limit: `--memory` is {}", size(limit)))
                .help(format!("--memory {}m", (limit >> 20) * 2)),
            None => Diagnostic::error(format!("{what} was killed: the engine's machine has no memory left"))
                .help("choose a larger machine: --host NAME"),
        },
        Outcome::EngineLost(why) => Diagnostic::error(format!("{what} was lost with its container or engine"))
            .cause(why)
            .help(format!("look at the engine, then run it again: cargo xtask env run {}", environment.name)),
        Outcome::Interrupted => Diagnostic::error(format!("{what} was interrupted")),
    };
    crate::cli::show(world, &problem.into());
}

fn runs_dir(opened: &Opened) -> PathBuf {
    opened.place.root.join(STATE_DIR).join("runs")
}

/// Writes down what ran, and forgets the oldest runs.
fn record(
    environment: &Environment,
    opened: &Opened,
    held: &Held,
    id: &str,
    request: &Request,
    report: &Report,
) -> Result<(), Diagnostic> {
    let dir = runs_dir(opened);
    let failed = |error: std::io::Error| {
        Diagnostic::error(format!("failed to write the record of run `{id}` in `{}`", dir.display())).cause(error)
    };
    let object = json!({
        "run": id, "environment": &*environment.name, "version": environment.metadata.version.to_string(),
        "content_key": held.key.hex(), "image": held.id, "host": opened.scope,
        "outcome": report.outcome.word(), "exit": report.outcome.exit(), "seconds": report.seconds,
        "recycled": report.is_recycled, "what": request.work.subject(), "variables": request.env.keys().collect::<Vec<_>>(),
    });
    std::fs::create_dir_all(dir.join(id)).map_err(failed)?;
    std::fs::write(dir.join(id).join("result.json"), format!("{object:#}\n")).map_err(failed)?;
    let mut ids: Vec<String> =
        std::fs::read_dir(&dir).map_err(failed)?.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    ids.sort_unstable();
    for old in ids.iter().take(ids.len().saturating_sub(KEPT_RUNS)) {
        // Another run may be removing it.
        let _ = std::fs::remove_dir_all(dir.join(old));
    }
    Ok(())
}

/// `YYYYMMDDHHMMSS-6hex`.
fn run_id() -> String {
    let mut bytes = [0_u8; 3];
    let random =
        std::fs::File::open("/dev/urandom").and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
    if random.is_err() {
        bytes.copy_from_slice(&std::process::id().to_le_bytes()[..3]);
    }
    let [a, b, c] = bytes;
    format!("{}-{a:02x}{b:02x}{c:02x}", jiff::Zoned::now().strftime("%Y%m%d%H%M%S"))
}
