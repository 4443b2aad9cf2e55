//! `env run --interactive`: a command in a new container, with the terminal of the caller. Handing a terminal on (its
//! modes, its size, its keys) is left to the docker command line, which is told the container and the engine.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use super::engine::Opened;
use super::request::Request;
use crate::environment::{Outcome, Wanted, Work};
use crate::exec::{self, CommandSpec, Exit, Stdin};
use crate::model::{Diagnostic, StopToken};
use crate::world::World;

/// Runs it to its end, and removes the container: what is left in it is not for the next one.
pub(super) fn run(
    opened: &Opened,
    request: &Request,
    wanted: &Wanted<'_>,
    world: &World,
    stop: &StopToken,
) -> Result<Outcome, Diagnostic> {
    let pool = opened.pool()?;
    let used = pool.acquire(wanted, true, stop)?;
    let mut spec = CommandSpec::new(words(request, &used.home, &used.id, world), world.cwd.clone(), around(opened));
    spec.interactive = true;
    spec.stdin = Stdin::Inherit;
    spec.timeout = request.timeout;
    let ended = exec::run(&spec, &mut |_, _| {}, &mut io::sink(), stop).exit;
    pool.end(used);
    outcome(ended)
}

fn words(request: &Request, home: &str, container: &str, world: &World) -> Vec<OsString> {
    let mut words: Vec<String> = ["docker", "exec", "--interactive"].map(str::to_owned).to_vec();
    if world.in_is_tty && world.out_is_tty {
        words.push("--tty".to_owned());
    }
    let home = (!home.is_empty()).then(|| format!("HOME={home}"));
    let declared = request.env.iter().map(|(name, value)| format!("{name}={value}"));
    words.extend(home.into_iter().chain(declared).flat_map(|variable| ["--env".to_owned(), variable]));
    let workdir = request.workdir.iter().flat_map(|dir| ["--workdir".to_owned(), dir.clone()]);
    words.extend(workdir.chain([container.to_owned()]));
    if let Work::Command(command) = &request.work {
        words.extend(command.iter().cloned());
    }
    words.into_iter().map(OsString::from).collect()
}

/// The variables by which the command line finds the same engine.
fn around(opened: &Opened) -> Arc<Vec<(OsString, OsString)>> {
    Arc::new(opened.world.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn outcome(exit: Exit) -> Result<Outcome, Diagnostic> {
    Ok(match exit {
        Exit::Code(0) => Outcome::Success,
        Exit::Code(code) => Outcome::ScriptError(u8::try_from(code).unwrap_or(255)),
        Exit::Signal(signal) => Outcome::ScriptError(u8::try_from(128 + signal).unwrap_or(255)),
        Exit::TimedOut(limit) => Outcome::Timeout(limit),
        Exit::Stopped => Outcome::Interrupted,
        Exit::NotFound { .. } => {
            return Err(Diagnostic::error("`docker` is not in `PATH`")
                .note("`--interactive` hands the terminal on by the docker command line")
                .help("install it, or leave `--interactive` out"));
        }
        other => return Err(other.diagnostic("`docker exec`").unwrap_or_else(|| Diagnostic::error("it ended oddly"))),
    })
}
