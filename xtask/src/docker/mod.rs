//! The one room that knows bollard and tokio: engine, images, builds, containers, as blocking verbs.
//!
//! Knows nothing of tasks, of the stack, or of what is printed; every verb may be called from any thread.

mod answer;
mod archive;
pub mod auth;
mod body;
pub mod build;
pub mod containers;
mod copy;
mod dial;
pub mod endpoint;
mod engine;
mod error;
mod images;
mod runtime;
mod tls;
mod transfer;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use auth::{AuthError, Credentials};
pub use build::{BuildEvent, BuildRequest, BuildResult, Builder, StepState};
pub use containers::{Container, ContainerExit, ContainerSpec, ContainerState, ExecSpec};
pub use copy::Copied;
pub use endpoint::{Endpoint, EndpointError};
pub use engine::Engine;
pub use error::DockerError;
pub use images::{Image, ImageSummary, Layer};
pub use transfer::TransferEvent;

/// How long a call may take that needs no more than a look into the engine's books.
const SHORT: Duration = Duration::from_mins(1);
/// How long a call may take that moves layers.
const LONG: Duration = Duration::from_hours(24);

/// One Docker engine. Cheap to clone; a connection is made per request, so it outlives an engine's restart.
#[derive(Clone)]
pub struct Docker {
    dialer: Arc<dial::Dialer>,
    api: bollard::Docker,
    /// Asked once: an engine does not change its builders while it runs.
    buildkit: Arc<OnceLock<bool>>,
}

impl Docker {
    /// Makes a client for this endpoint. Nothing is sent yet: an engine that is not there is noticed by the first
    /// verb (`engine` is the cheapest).
    pub fn connect(endpoint: &Endpoint) -> Result<Self, DockerError> {
        let dialer = Arc::new(dial::Dialer::new(endpoint)?);
        let api = dial::client(&dialer)?;
        Ok(Self { dialer, api, buildkit: Arc::default() })
    }

    /// What the engine is called in messages, e.g. `unix:///var/run/docker.sock`.
    pub fn endpoint(&self) -> &str {
        self.dialer.name()
    }
}

/// Waits for the answer to a short question; `what` is the subject of an error.
fn ask<T>(what: &str, question: impl Future<Output = Result<T, bollard::errors::Error>>) -> Result<T, DockerError> {
    within(SHORT, what, question)
}

/// Waits at most `limit` for the answer.
fn within<T>(
    limit: Duration,
    what: &str,
    question: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, DockerError> {
    runtime::wait(async {
        match tokio::time::timeout(limit, question).await {
            Ok(answer) => answer.map_err(|error| error::from_bollard(what, error)),
            Err(_) => Err(DockerError::Timeout { what: what.to_owned(), limit }),
        }
    })
}

impl std::fmt::Debug for Docker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Docker({})", self.endpoint())
    }
}
