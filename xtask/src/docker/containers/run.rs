//! A container from its creation to its removal, with its output on the way. Knows nothing of what it runs.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::ContainerWaitResponse;
use bollard::query_parameters::{AttachContainerOptionsBuilder, LogsOptionsBuilder, WaitContainerOptionsBuilder};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::{ContainerSpec, subject};
use crate::docker::error::from_bollard;
use crate::docker::{Docker, DockerError, runtime};
use crate::model::stop::Stop;
use crate::model::{StopToken, Stream};

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerExit {
    /// 137 where it was killed.
    pub code: i64,
    /// A process of it was killed for want of memory; the exit code need not show that.
    pub oom_killed: bool,
    /// It was killed because its time was over.
    pub timed_out: bool,
}

/// A listener for output: any run of bytes, not whole lines.
pub type Output<'a> = &'a mut dyn FnMut(Stream, &[u8]);

pub(super) type Piece = (Stream, Vec<u8>);

/// Removes the container when it goes, whatever the reason: an error, a stop, a panic of a listener.
struct Cleanup<'a> {
    docker: &'a Docker,
    id: String,
}

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        // The engine may be gone; then there is nothing more that could be done from here.
        let _ = self.docker.remove(&self.id);
    }
}

impl Docker {
    /// Runs a container to its end, hands out what it prints while it prints it, and removes it. When `stop` is
    /// raised, it is told to end (it has `spec.grace` for that, nothing if asked to stop now), then killed, and the
    /// answer is `Cancelled`.
    pub fn run(
        &self,
        spec: &ContainerSpec,
        output: Output<'_>,
        stop: &StopToken,
    ) -> Result<ContainerExit, DockerError> {
        let id = self.create(spec)?;
        let cleanup = Cleanup { docker: self, id };
        let ended = self.attend(&cleanup.id, spec, output, stop);
        if matches!(ended, Err(DockerError::Cancelled)) && !spec.grace.is_zero() && stop.level() == Stop::Gently {
            // It is removed in any case.
            let _ = self.stop(&cleanup.id, spec.grace);
        }
        let Some(code) = ended? else {
            return Ok(ContainerExit { code: 137, oom_killed: false, timed_out: true });
        };
        let oom_killed = self.container(&cleanup.id)?.oom_killed;
        Ok(ContainerExit { code, oom_killed, timed_out: false })
    }

    /// Starts a container that was created from `spec`, hands out what it prints, and waits for its end: the exit code,
    /// `None` if its time was over. It is neither ended nor removed here.
    pub fn attend(
        &self,
        id: &str,
        spec: &ContainerSpec,
        output: Output<'_>,
        stop: &StopToken,
    ) -> Result<Option<i64>, DockerError> {
        let (api, id, stdin, limit) = (self.api.clone(), id.to_owned(), spec.stdin.clone(), spec.timeout);
        let what = format!("a container of `{}`", spec.image);
        let work = move |pieces: mpsc::Sender<Piece>| async move {
            let life = life(&api, &id, &what, stdin, pieces);
            match limit {
                None => life.await.map(Some),
                Some(limit) => match tokio::time::timeout(limit, life).await {
                    Ok(code) => code.map(Some),
                    Err(_) => Ok(None),
                },
            }
        };
        runtime::drive(work, &mut |(stream, bytes)| output(stream, &bytes), stop)
    }

    /// Waits until a container has ended; its exit code.
    pub fn wait(&self, container: &str, stop: &StopToken) -> Result<i64, DockerError> {
        let (api, container) = (self.api.clone(), container.to_owned());
        let work = move |_: mpsc::Sender<()>| async move {
            let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
            let mut ends = Box::pin(api.wait_container(&container, Some(options)));
            exit_code(&subject(&container), ends.next().await)
        };
        runtime::drive(work, &mut |()| {}, stop)
    }

    /// What a container has printed: the last `tail` lines or all, and with `follow` also what it prints from now on.
    pub fn logs(
        &self,
        container: &str,
        tail: Option<u32>,
        follow: bool,
        output: Output<'_>,
        stop: &StopToken,
    ) -> Result<(), DockerError> {
        let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(follow).tail(&tail).build();
        let what = subject(container);
        let mut lines = Box::pin(self.api.logs(container, Some(options)));
        let work = move |pieces| async move { pass_on(&what, &mut lines, &pieces).await };
        runtime::drive(work, &mut |(stream, bytes): Piece| output(stream, &bytes), stop)
    }
}

/// Listens before it starts, so that nothing is missed.
async fn life(
    api: &bollard::Docker,
    id: &str,
    what: &str,
    stdin: Option<Vec<u8>>,
    pieces: mpsc::Sender<Piece>,
) -> Result<i64, DockerError> {
    let failed = |error| from_bollard(what, error);
    let options =
        AttachContainerOptionsBuilder::new().stream(true).stdin(stdin.is_some()).stdout(true).stderr(true).build();
    let mut attached = api.attach_container(id, Some(options)).await.map_err(failed)?;
    api.start_container(id, None).await.map_err(failed)?;
    let feed = runtime::spawn(feed(attached.input, stdin));
    pass_on(what, &mut attached.output, &pieces).await?;
    drop(feed);
    // Only now: asked before the start, the engine would take the container for ended.
    let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
    let end = Box::pin(api.wait_container(id, Some(options))).next().await;
    exit_code(what, end)
}

/// A program that does not read its input to the end is no error.
pub(super) async fn feed(mut input: Pin<Box<dyn tokio::io::AsyncWrite + Send>>, bytes: Option<Vec<u8>>) {
    if let Some(bytes) = bytes {
        let _ = input.write_all(&bytes).await;
        let _ = input.shutdown().await;
    }
    // The connection's other half goes on: it must not be closed before the output has ended.
    std::future::pending::<()>().await;
}

/// Hands on what is printed, until it ends.
pub(super) async fn pass_on(
    what: &str,
    output: &mut (impl futures_util::Stream<Item = Result<LogOutput, Error>> + Unpin),
    pieces: &mpsc::Sender<Piece>,
) -> Result<(), DockerError> {
    while let Some(piece) = output.next().await {
        let piece = match piece.map_err(|error| from_bollard(what, error))? {
            LogOutput::StdErr { message } => (Stream::Stderr, message.to_vec()),
            other => (Stream::Stdout, other.into_bytes().to_vec()),
        };
        // Without a listener this is about to be dropped.
        let _ = pieces.send(piece).await;
    }
    Ok(())
}

/// A code other than 0 comes as an error, which it is not.
fn exit_code(what: &str, end: Option<Result<ContainerWaitResponse, Error>>) -> Result<i64, DockerError> {
    match end {
        Some(Ok(end)) => Ok(end.status_code),
        Some(Err(Error::DockerContainerWaitError { code, error })) if error.is_empty() => Ok(code),
        Some(Err(error)) => Err(from_bollard(what, error)),
        None => Err(DockerError::Infra { what: what.to_owned(), message: "its end was not told".to_owned() }),
    }
}
