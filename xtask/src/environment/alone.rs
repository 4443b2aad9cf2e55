//! A run that has a container for itself: the script is what the container runs, and its end is the container's. That
//! saves the engine a second command in it, and killing what waits there. Knows nothing of containers that are kept.

use std::time::Instant;

use super::lease;
use super::pool::{self, Main, Pool, Used};
use super::run::{Attempt, Listener, Outcome, Report, Trouble};
use super::script::Record;
use super::transfer::Unpacked;
use crate::docker::containers::MARK;
use crate::docker::{ContainerSpec, ContainerState, DockerError};
use crate::model::{Diagnostic, StopToken};

/// Whether a run can be done like this: nothing has to be ready before it, and nobody may read of the container what
/// nobody may see. A folder that is not there is an error of a command, but would be made for a container.
pub(super) fn is_possible(attempt: &Attempt<'_>, pool: &Pool<'_>, stop: &StopToken) -> Result<bool, Diagnostic> {
    let Attempt { wanted, job, .. } = attempt;
    if wanted.ready.is_some() || !job.secrets.is_empty() || job.workdir.is_some() {
        return Ok(false);
    }
    Ok(!pool.facts(wanted.image, stop)?.has_health_check)
}

/// Runs the job of `attempt` in a new container, and removes that.
///
/// # Errors
/// It could not be started, or its files could not be copied.
pub(super) fn run(
    attempt: &Attempt<'_>,
    pool: &Pool<'_>,
    listener: Listener<'_>,
    stop: &StopToken,
) -> Result<Report, Diagnostic> {
    let start = Instant::now();
    // Files can only be copied to a folder that is there.
    let mut was_mounted = false;
    let mut ended = once(attempt, pool, attempt.job.uploads.is_empty(), &mut was_mounted, listener, stop);
    if matches!(ended, Err(Trouble::NoPlace(_))) {
        // An image may be such that not even root can make a folder in it, and an engine such that what is the
        // caller's here is not his there.
        ended = once(attempt, pool, false, &mut false, listener, stop);
        if was_mounted && ended.is_ok() {
            pool.cannot_mount();
        }
    }
    let report =
        |outcome, results| Report { outcome, seconds: start.elapsed().as_secs_f64(), is_recycled: false, results };
    match ended {
        Ok((outcome, results)) => Ok(report(outcome, results)),
        Err(Trouble::Gone(why) | Trouble::NotStarted(why)) => Ok(report(Outcome::EngineLost(why), None)),
        Err(Trouble::Told(problem) | Trouble::NoPlace(problem)) => Err(problem),
    }
}

/// One container from its creation to its removal.
fn once(
    attempt: &Attempt<'_>,
    pool: &Pool<'_>,
    makes_folders: bool,
    was_mounted: &mut bool,
    listener: Listener<'_>,
    stop: &StopToken,
) -> Result<(Outcome, Option<Unpacked>), Trouble> {
    let Attempt { wanted, job, .. } = attempt;
    let mark = lease::token();
    let set = |spec: &mut ContainerSpec, home: &str| {
        spec.entrypoint = Some(attempt.words(&mark));
        spec.env = attempt.env(home);
        // As where it is a command in a container that is kept.
        spec.env.insert(MARK.to_owned(), lease::token());
        spec.stdin = job.work.input().map(<[u8]>::to_vec);
        spec.timeout = job.timeout;
        spec.is_unlogged = true;
    };
    let (used, spec) = pool.prepare(wanted, &Main { set: &set, makes_folders }, stop).map_err(Trouble::Told)?;
    *was_mounted = used.has_folder;
    let ended = go(attempt, &used, &spec, &mark, listener, stop);
    let finished = ended.and_then(|(outcome, record)| attempt.fetch(&used, outcome, record, stop));
    pool.end(used);
    finished
}

fn go(
    attempt: &Attempt<'_>,
    used: &Used,
    spec: &ContainerSpec,
    mark: &str,
    listener: Listener<'_>,
    stop: &StopToken,
) -> Result<(Outcome, Option<Record>), Trouble> {
    attempt.upload(used, stop)?;
    let (ended, record) = attempt.listen(mark, listener, |output| attempt.docker.attend(&used.id, spec, output, stop));
    let code = match ended {
        Ok(Some(code)) => Ok(code),
        Ok(None) => Err(DockerError::Timeout {
            what: format!("run `{}`", attempt.job.id),
            limit: spec.timeout.unwrap_or_default(),
        }),
        Err(error @ (DockerError::Cancelled | DockerError::Unreachable { .. })) => Err(error),
        Err(error) if never_ran(attempt, used) => {
            let problem = pool::not_started(attempt.wanted, error);
            return Err(if used.has_folder { Trouble::NoPlace(problem) } else { Trouble::Told(problem) });
        }
        Err(error) => return Err(Trouble::Gone(error.to_string())),
    };
    attempt.classify(code, record)
}

/// Whether the engine still has the container as it was made.
fn never_ran(attempt: &Attempt<'_>, used: &Used) -> bool {
    attempt.docker.container(&used.id).is_ok_and(|found| found.state == ContainerState::Created)
}
