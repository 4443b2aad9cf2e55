//! Commands that tell what is in an image, run in containers of it. Knows nothing of what they are for.

use std::cell::OnceCell;
use std::time::Duration;

use super::build::infra;
use super::leftovers;
use crate::action::{Call, Failure};
use crate::docker::{ContainerSpec, Docker, DockerError, ExecSpec};
use crate::model::{Diagnostic, Stream};

/// How long one command may take.
const LIMIT: Duration = Duration::from_mins(2);

/// An image to look into: one idle container serves all commands. An image in which nothing can idle gets a container per
/// command. Nothing is started before the first command; on drop nothing is left.
pub(super) struct Inside<'c> {
    call: &'c Call<'c>,
    docker: &'c Docker,
    id: &'c str,
    idle: OnceCell<Idle>,
}

/// A container, and whether it could be started.
struct Idle {
    name: String,
    is_started: bool,
}

impl<'c> Inside<'c> {
    pub(super) fn of(call: &'c Call<'c>, docker: &'c Docker, id: &'c str) -> Self {
        Self { call, docker, id, idle: OnceCell::new() }
    }

    /// What the command writes to its standard output, or in a few words why there is nothing.
    ///
    /// # Errors
    /// The run was interrupted, the engine failed, or the command has an open quote.
    pub(super) fn run(&self, command: &str) -> Result<Result<String, String>, Failure> {
        let idle = self.idle()?;
        if idle.is_started { self.exec(&idle.name, command) } else { self.run_alone(command) }
    }

    /// A line for people, beside the output of the task.
    pub(super) fn tell(&self, text: &str) {
        self.call.out.line(Stream::Stderr, text.as_bytes());
    }

    fn idle(&self) -> Result<&Idle, Failure> {
        if let Some(idle) = self.idle.get() {
            return Ok(idle);
        }
        // Without an init, the start itself fails where there is no `sleep`.
        let spec = ContainerSpec { command: vec!["infinity".into()], init: false, ..self.container("sleep") };
        let name = self.docker.create(&spec).map_err(infra)?;
        let is_started = self.docker.start(&name).is_ok();
        Ok(self.idle.get_or_init(|| Idle { name, is_started }))
    }

    fn container(&self, program: &str) -> ContainerSpec {
        ContainerSpec {
            image: self.id.to_owned(),
            entrypoint: Some(vec![program.to_owned()]),
            network: Some("none".into()),
            labels: leftovers::labels(self.call),
            timeout: Some(LIMIT),
            ..ContainerSpec::default()
        }
    }

    /// In a container of its own.
    fn run_alone(&self, command: &str) -> Result<Result<String, String>, Failure> {
        let mut words = words_of(command)?.into_iter();
        let program = words.next().unwrap_or_default();
        let spec = ContainerSpec { command: words.collect(), ..self.container(&program) };
        let mut output = Vec::new();
        let mut keep = |stream: Stream, bytes: &[u8]| keep_stdout(&mut output, stream, bytes);
        match self.docker.run(&spec, &mut keep, self.call.stop) {
            Ok(exit) if exit.code == 0 && !exit.timed_out => Ok(Ok(String::from_utf8_lossy(&output).into_owned())),
            Ok(exit) => Ok(Err(format!("exited with code {}", exit.code))),
            Err(DockerError::Cancelled) => Err(infra(DockerError::Cancelled)),
            // It cannot be started, e.g. because there is no such program.
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn exec(&self, container: &str, command: &str) -> Result<Result<String, String>, Failure> {
        let spec = ExecSpec { command: words_of(command)?, timeout: Some(LIMIT), ..ExecSpec::default() };
        let mut output = Vec::new();
        let mut keep = |stream: Stream, bytes: &[u8]| keep_stdout(&mut output, stream, bytes);
        match self.docker.exec(container, &spec, &mut keep, self.call.stop) {
            Ok(0) => Ok(Ok(String::from_utf8_lossy(&output).into_owned())),
            Ok(code) => Ok(Err(format!("exited with code {code}"))),
            Err(error) => Err(infra(error)),
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(idle) = self.idle.get() {
            // Whatever happened: it is ours, and nobody else needs it.
            let _ = self.docker.remove(&idle.name);
        }
    }
}

fn keep_stdout(output: &mut Vec<u8>, stream: Stream, bytes: &[u8]) {
    if stream == Stream::Stdout {
        output.extend_from_slice(bytes);
    }
}

fn words_of(command: &str) -> Result<Vec<String>, Failure> {
    let open = || Failure::failed(Diagnostic::error(format!("command `{command}` has an open quote")));
    shlex::split(command).filter(|words| !words.is_empty()).ok_or_else(open)
}
