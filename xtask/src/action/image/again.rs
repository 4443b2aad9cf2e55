//! A build that loses its engine is asked for again when the engine is back, and so is one that loses a part of the
//! builder's cache to somebody else. Knows nothing of what is built.

use std::time::{Duration, Instant};

use super::layers::Narrator;
use crate::docker::{BuildRequest, BuildResult, Docker, DockerError};
use crate::model::{StopToken, Stream};
use crate::remote::Staged;

/// How often a build is asked for again.
const AGAIN: usize = 2;
/// How long an engine may stay away: a restart of its service takes seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks for it.
const GLANCE: Duration = Duration::from_millis(200);

/// Builds. What the engine had already finished is in its cache, so a second try costs what the first did not reach.
///
/// An engine of before 23.0 may also have an image in its index of cached steps that it has no more, and then says so at
/// every try until it is started again: the last try does without the cache.
///
/// An engine that is away for longer than `patience`, or that is lost at every try, is the error; so is at once
/// whatever the engine itself has said.
pub(super) fn build(
    (docker, staged): (&Docker, Option<&Staged>),
    request: &BuildRequest,
    narrator: &mut Narrator<'_>,
    patience: Duration,
    stop: &StopToken,
) -> Result<BuildResult, DockerError> {
    let build = |request: &BuildRequest, narrator: &mut Narrator<'_>| {
        let mut events = |event| narrator.event(event);
        match staged {
            Some(staged) => staged.build(request, &mut events, stop),
            None => docker.build(request, &mut events, stop),
        }
    };
    let mut uncached = false;
    for again in 1..=AGAIN {
        let error = match build(request, narrator) {
            Err(error) if error.is_vanished() => {
                narrator.line(Stream::Stderr, &format!("{error}; the build is asked for again ({again} of {AGAIN})"));
                uncached = again == AGAIN;
                continue;
            }
            Err(error) if error.is_lost() => error,
            done => return done,
        };
        narrator.line(Stream::Stderr, &format!("the engine was lost: {error}"));
        if !is_back(docker, patience, stop) {
            return Err(if stop.is_requested() { DockerError::Cancelled } else { error });
        }
        narrator
            .line(Stream::Stderr, &format!("the engine answers; the build is asked for again ({again} of {AGAIN})"));
    }
    let request = if uncached { &BuildRequest { no_cache: true, ..request.clone() } } else { request };
    build(request, narrator)
}

/// Asks something that is the same however often it is asked, such as to inspect or to tag, with the same patience.
pub(super) fn ask<T>(
    docker: &Docker,
    patience: Duration,
    stop: &StopToken,
    mut question: impl FnMut() -> Result<T, DockerError>,
) -> Result<T, DockerError> {
    for _ in 0..AGAIN {
        match question() {
            Err(error) if error.is_lost() && !is_back(docker, patience, stop) => {
                return Err(if stop.is_requested() { DockerError::Cancelled } else { error });
            }
            Err(error) if error.is_lost() => {}
            done => return done,
        }
    }
    question()
}

/// Whether it answers, now or within `patience`.
fn is_back(docker: &Docker, patience: Duration, stop: &StopToken) -> bool {
    let begun = Instant::now();
    loop {
        match docker.engine() {
            Ok(_) => return true,
            Err(_) if stop.is_requested() || begun.elapsed() >= patience => return false,
            Err(_) => std::thread::sleep(GLANCE),
        }
    }
}
