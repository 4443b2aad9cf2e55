//! What can go wrong with an engine, as data. Knows nothing of what was wanted of it.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use super::EndpointError;
use crate::model::Diagnostic;

/// Why a verb of this room did not do what it says.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// There is no engine, or it does not answer.
    #[error("`{endpoint}` does not answer: {}", causes.join(": "))]
    Unreachable { endpoint: String, causes: Vec<String> },
    /// The endpoint itself makes no sense.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The engine has no such image, container, path or registry entry.
    #[error("{what}: {message}")]
    NotFound { what: String, message: String },
    /// The name is taken, or the thing is in use.
    #[error("{what}: {message}")]
    Conflict { what: String, message: String },
    /// A step of a build failed; `tail` is the end of its output.
    #[error("step `{step}` failed: {message}")]
    BuildFailed { step: String, exit_code: Option<i64>, tail: Vec<String>, message: String },
    /// The Dockerfile cannot be read by the builder.
    #[error("the Dockerfile cannot be built: {message}")]
    BadDockerfile { message: String },
    /// A file no longer has the content that the build was planned with.
    #[error("`{}` changed while the image was built", path.display())]
    ChangedWhileBuilding { path: PathBuf },
    /// A file of the context cannot be read.
    #[error("`{}` cannot be read: {message}", path.display())]
    Unreadable { path: PathBuf, message: String },
    /// The request needs something that this builder or engine does not have.
    #[error("{what}")]
    Unsupported { what: String, help: String },
    /// The registry refuses the credentials, or wants some.
    #[error("`{what}` is refused by the registry: {message}")]
    Denied { what: String, message: String },
    /// A registry gave another error, or did not answer.
    #[error("`{what}`: the registry failed: {message}")]
    Registry { what: String, message: String },
    /// The limit passed.
    #[error("{what}: no answer within {} s", limit.as_secs())]
    Timeout { what: String, limit: Duration },
    /// The stop token was raised; what ran on the engine was ended.
    #[error("cancelled")]
    Cancelled,
    /// The engine ended the conversation in the middle, or has a problem of its own.
    #[error("{what}: the engine failed: {message}")]
    Infra { what: String, message: String },
    /// A mistake in this program.
    #[error("internal error of the Docker client: {what}")]
    Bug { what: String },
}

impl DockerError {
    /// Whether the same call may succeed in a moment, because nothing in it was wrong.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::Infra { .. } | Self::Registry { .. })
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

impl From<DockerError> for Diagnostic {
    fn from(error: DockerError) -> Self {
        let message = error.to_string();
        match error {
            DockerError::Unreachable { endpoint, causes } => {
                let fix = unreachable_help(&endpoint, &causes);
                let start = Self::error(format!("`{endpoint}` is not answered by a Docker engine"));
                causes.into_iter().fold(start, Self::cause).help(fix)
            }
            DockerError::Endpoint(inner) => inner.into(),
            DockerError::BuildFailed { step, exit_code, tail, message } => {
                let start = match exit_code {
                    Some(code) => Self::error(format!("`{step}` ended with exit code {code}")),
                    None => Self::error(format!("`{step}` failed")).cause(message),
                };
                if tail.is_empty() { start } else { start.note(format!("the end of its output:\n{}", tail.join("\n"))) }
            }
            DockerError::ChangedWhileBuilding { .. } => {
                Self::error(message).help("run the same command again: the new content is then taken as a whole")
            }
            DockerError::Unsupported { help, .. } => Self::error(message).help(help),
            DockerError::Denied { what, .. } => {
                let host = what.split('/').next().unwrap_or(&what).to_owned();
                Self::error(message).help(format!("docker login {host}"))
            }
            _ => Self::error(message),
        }
    }
}

fn unreachable_help(endpoint: &str, causes: &[String]) -> String {
    let all = causes.join(" ");
    if all.contains("ermission denied") {
        "sudo usermod -aG docker $USER, then log in again".to_owned()
    } else if endpoint.starts_with("unix:///var/run/") || endpoint.starts_with("unix:///run/") {
        "start the engine: sudo systemctl start docker".to_owned()
    } else {
        "check DOCKER_HOST and `docker context ls`".to_owned()
    }
}

/// The messages of an error and of all its sources, nearest first, without repetitions.
pub fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = error.source();
    }
    causes
}

/// Translates an error of bollard; `what` is the subject of the message.
pub fn from_bollard(what: &str, error: bollard::errors::Error) -> DockerError {
    use bollard::errors::Error as B;
    let what = what.to_owned();
    match error {
        B::DockerResponseServerError { status_code, message } => from_status(&what, status_code, &message),
        B::DockerStreamError { error } => from_text(&what, &error),
        B::RequestTimeoutError => DockerError::Timeout { what, limit: super::LONG },
        B::IOError { err } => from_io(&what, err),
        other => DockerError::Infra { what, message: chain(&other).join(": ") },
    }
}

/// Translates an error of the connection; one that our own dialer made comes out as it went in.
pub fn from_io(what: &str, error: std::io::Error) -> DockerError {
    match error.downcast::<DockerError>() {
        Ok(own) => own,
        Err(error) => DockerError::Infra { what: what.to_owned(), message: chain(&error).join(": ") },
    }
}

/// Translates an HTTP status of the engine. Texts differ between engines, so the status decides where it can.
pub fn from_status(what: &str, status: u16, message: &str) -> DockerError {
    let (what, message) = (what.to_owned(), message.trim().to_owned());
    match status {
        404 => DockerError::NotFound { what, message },
        409 => DockerError::Conflict { what, message },
        401 | 403 => DockerError::Denied { what, message },
        _ => from_text(&what, &message),
    }
}

/// Translates a message of which nothing but the text is known.
pub fn from_text(what: &str, message: &str) -> DockerError {
    let (what, message) = (what.to_owned(), message.trim().to_owned());
    let has = |needles: &[&str]| needles.iter().any(|needle| message.contains(needle));
    if has(&["unauthorized", "no basic auth credentials", "authentication required", "access denied", "denied:"]) {
        DockerError::Denied { what, message }
    } else if has(&["manifest unknown", "does not exist locally", "tag does not exist", "name unknown", "o such image"])
    {
        DockerError::NotFound { what, message }
    } else if has(&["Get \"http", "Get http", "Head \"http", "toomanyrequests", "received unexpected HTTP status"]) {
        DockerError::Registry { what, message }
    } else {
        DockerError::Infra { what, message }
    }
}
