//! Containers: run one to its end, or keep one and work in it. Knows nothing of why.

mod exec;
mod files;
mod inspect;
mod run;
mod spec;

use std::time::{Duration, Instant};

use bollard::models::ChangeType;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    RenameContainerOptionsBuilder, RestartContainerOptionsBuilder, StopContainerOptionsBuilder,
};

/// How long the removal of a container may take that was begun elsewhere.
const REMOVAL: Duration = Duration::from_secs(20);

pub use exec::{ExecSpec, MARK};
pub use inspect::{Container, ContainerState, ContainerSummary, Health, Mount, PublishedPort};
pub use run::{ContainerExit, Output};
pub use spec::{Bind, ContainerSpec, Port};

use super::{Docker, DockerError, SHORT, ask, within};

/// The subject of errors about a container.
fn subject(container: &str) -> String {
    format!("container `{container}`")
}

impl Docker {
    /// Makes a container without starting it. Returns its id. `NotFound` if the image is not there, `Conflict` if the
    /// name is taken.
    pub fn create(&self, spec: &ContainerSpec) -> Result<String, DockerError> {
        let mut options = CreateContainerOptionsBuilder::new();
        if let Some(name) = &spec.name {
            options = options.name(name);
        }
        if let Some(platform) = &spec.platform {
            options = options.platform(platform);
        }
        let what = match &spec.name {
            Some(name) => subject(name),
            None => format!("a container of `{}`", spec.image),
        };
        Ok(ask(&what, self.api.create_container(Some(options.build()), spec.body()))?.id)
    }

    pub fn start(&self, container: &str) -> Result<(), DockerError> {
        ask(&subject(container), self.api.start_container(container, None))
    }

    /// Sends the stop signal, and after `grace` the kill. Returns when it has ended; an ended container is fine.
    pub fn stop(&self, container: &str, grace: std::time::Duration) -> Result<(), DockerError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        within(SHORT + grace, &subject(container), self.api.stop_container(container, Some(options)))
    }

    /// Stops it as [`Docker::stop`] does, and starts it again.
    pub fn restart(&self, container: &str, grace: std::time::Duration) -> Result<(), DockerError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = RestartContainerOptionsBuilder::new().t(seconds).build();
        within(SHORT + grace, &subject(container), self.api.restart_container(container, Some(options)))
    }

    /// Gives it another name. `Conflict` if that is taken.
    pub fn rename(&self, container: &str, name: &str) -> Result<(), DockerError> {
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        ask(&subject(container), self.api.rename_container(container, options))
    }

    /// Sends a signal, e.g. `SIGKILL`. `Conflict` if it does not run.
    pub fn kill(&self, container: &str, signal: &str) -> Result<(), DockerError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        ask(&subject(container), self.api.kill_container(container, Some(options)))
    }

    /// The paths that are in the container and not in its image.
    pub fn added(&self, container: &str) -> Result<Vec<String>, DockerError> {
        let changes = ask(&subject(container), self.api.container_changes(container))?.unwrap_or_default();
        Ok(changes.into_iter().filter(|change| change.kind == ChangeType::_1).map(|change| change.path).collect())
    }

    /// Kills it if it runs, and removes it with its anonymous volumes.
    pub fn remove(&self, container: &str) -> Result<(), DockerError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match ask(&subject(container), self.api.remove_container(container, Some(options))) {
            Err(error @ DockerError::Conflict { .. }) if error.to_string().contains("already in progress") => {
                self.await_removal(container, error)
            }
            result => result,
        }
    }

    /// Somebody else removes it: it is gone when that is done.
    fn await_removal(&self, container: &str, refused: DockerError) -> Result<(), DockerError> {
        let end = Instant::now() + REMOVAL;
        loop {
            match self.container(container) {
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) if Instant::now() >= end => return Err(refused),
                Ok(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}
