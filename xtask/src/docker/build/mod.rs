//! Builds an image from a Dockerfile and a context manifest, with BuildKit or the classic builder. Knows nothing of
//! the stack that the image belongs to.

mod buildkit;
mod classic;
mod filesync;
mod layout;
mod patterns;
mod progress;
mod query;
mod services;
mod session;
mod spoken;
mod syntax;
mod tarball;
mod tree;
mod words;
mod workers;

pub use classic::DOCKERFILE as CLASSIC_DOCKERFILE;
pub use layout::{CONTEXT, DOCKERFILE, lay_out};
pub(super) use query::encode;
pub use spoken::Spoken;
pub use syntax::prepare;
pub use words::words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Credentials, Docker, DockerError, runtime};
use crate::model::{Context, ImageRef, Secret, StopToken, Stream};

/// Finds the credentials for a registry's host. May block; called on a thread of its own.
pub type CredentialsFor = Arc<dyn Fn(&str) -> Option<Credentials> + Send + Sync>;

/// Which builder is to do it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Builder {
    /// BuildKit where the engine has it, else the classic builder.
    #[default]
    Auto,
    BuildKit,
    Classic,
}

/// What a `# syntax=` line of the Dockerfile does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frontend {
    /// The engine's own frontend reads the Dockerfile. A line that asks for the official one is passed over with a
    /// warning, one that asks for another is an error: nothing is fetched.
    #[default]
    BuiltIn,
    /// The engine fetches and runs the image that the line names.
    AsWritten,
}

/// Everything a build depends on.
#[derive(Clone, Default)]
pub struct BuildRequest {
    /// The text itself, rendered.
    pub dockerfile: Vec<u8>,
    pub context: Arc<Context>,
    /// Equal for builds whose contexts resemble one another, stable over time: with it, the engine finds the files
    /// that it already has. One per image is right.
    pub shared_key: String,
    pub tags: Vec<ImageRef>,
    pub build_args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub target: Option<String>,
    /// `os/arch[/variant]`.
    pub platform: Option<String>,
    /// `none`, `host`, `default`, or a network's name.
    pub network: Option<String>,
    pub no_cache: bool,
    /// Images whose layers may be taken, e.g. from a registry.
    pub cache_from: Vec<String>,
    /// Writes into the image what others need to use it as `cache_from`.
    pub inline_cache: bool,
    /// Seen by `RUN --mount=type=secret,id=…` only. BuildKit only.
    pub secrets: Vec<(String, Secret)>,
    /// Socket of the agent that `RUN --mount=type=ssh` may speak to. BuildKit only.
    pub ssh_agent: Option<PathBuf>,
    /// Bytes.
    pub shm_size: Option<u64>,
    /// `host:address`.
    pub extra_hosts: Vec<String>,
    /// For base images in registries that want a login.
    pub credentials: Option<CredentialsFor>,
    pub builder: Builder,
    pub frontend: Frontend,
}

/// What came of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildResult {
    /// `sha256:…`
    pub image: String,
    pub steps: usize,
    pub cached: usize,
    /// Bytes that went to the engine: content of files with BuildKit, the whole tar stream with the classic builder.
    pub sent: u64,
}

/// Where a step is.
#[derive(Clone, Debug, PartialEq)]
pub enum StepState {
    Started,
    /// Its result was there already.
    Cached,
    Done {
        seconds: f64,
    },
    Failed {
        message: String,
    },
}

/// What happens while an image is built, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum BuildEvent {
    /// A step came into another state. Of each step: `Started` at most once, then at most one of the others.
    Step {
        /// Stable within the build.
        id: Arc<str>,
        /// e.g. `RUN make`, `[internal] load build context`.
        name: Arc<str>,
        /// From 1, within its stage; `None` for the builder's own chores.
        index: Option<u32>,
        total: Option<u32>,
        state: StepState,
    },
    /// Output of a step: any run of bytes, not whole lines.
    Log {
        step: Arc<str>,
        stream: Stream,
        bytes: Vec<u8>,
    },
    /// Progress within a step: bytes where the builder counts them.
    Transfer {
        step: Arc<str>,
        what: String,
        done: u64,
        total: Option<u64>,
    },
    Warning {
        text: String,
    },
}

impl Docker {
    /// Builds an image. Events come on the calling thread. When `stop` is raised, the connection is dropped, on which
    /// the engine ends what runs, and the answer is `Cancelled`.
    pub fn build(
        &self,
        request: &BuildRequest,
        events: &mut dyn FnMut(BuildEvent),
        stop: &StopToken,
    ) -> Result<BuildResult, DockerError> {
        let builder = match request.builder {
            Builder::Auto if self.has_buildkit()? => Builder::BuildKit,
            Builder::Auto => Builder::Classic,
            chosen => chosen,
        };
        let (request, warning) = syntax::prepare(request, builder)?;
        if let Some(text) = warning {
            events(BuildEvent::Warning { text });
        }
        let dialer = Arc::clone(&self.dialer);
        match builder {
            Builder::Classic => runtime::drive(|sender| classic::build(dialer, request, sender), events, stop),
            _ => runtime::drive(|sender| buildkit::build(dialer, request, sender), events, stop),
        }
    }
}
