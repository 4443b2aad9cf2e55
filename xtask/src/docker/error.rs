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
    /// The registry does not take it, and will not take it later.
    #[error("`{what}` is refused by the registry: {message}")]
    Refused { what: String, message: String },
    /// A registry has a problem that may pass, or does not answer.
    #[error("`{what}`: the registry failed: {message}")]
    Registry { what: String, message: String },
    /// The limit passed.
    #[error("{what}: no answer within {} s", limit.as_secs())]
    Timeout { what: String, limit: Duration },
    /// The stop token was raised; what ran on the engine was ended.
    #[error("cancelled")]
    Cancelled,
    /// The connection ended in the middle: the engine was stopped, restarted or killed, or the way to it is cut.
    #[error("{what}: the connection to the engine ended: {message}")]
    Lost { what: String, message: String },
    /// An image that the build stood on was removed by somebody else in the middle of it.
    #[error("{what}: an image of the builder's cache was removed meanwhile: {message}")]
    Vanished { what: String, message: String },
    /// There is no room where the engine keeps its data.
    #[error("{what}: the disk of the engine is full: {message}")]
    DiskFull { what: String, message: String },
    /// The engine has a problem of its own.
    #[error("{what}: the engine failed: {message}")]
    Infra { what: String, message: String },
    /// A mistake in this program.
    #[error("internal error of the Docker client: {what}")]
    Bug { what: String },
}

impl DockerError {
    /// Whether the engine went away, or cannot be reached: the same call may succeed when it is back.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost { .. })
    }

    /// Whether a build met something that will be otherwise when it is asked for again.
    pub fn is_vanished(&self) -> bool {
        matches!(self, Self::Vanished { .. })
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
                let is_full = tail.iter().any(|line| is_about_disk(line));
                let told = if tail.is_empty() {
                    start
                } else {
                    start.note(format!("the end of its output:\n{}", tail.join("\n")))
                };
                if is_full { told.help(MAKE_ROOM) } else { told }
            }
            DockerError::DiskFull { .. } => Self::error(message).help(MAKE_ROOM),
            DockerError::Lost { .. } => Self::error(message).help("see what happened to it: docker info"),
            DockerError::Vanished { .. } => {
                Self::error(message).help("see what removes images at the same time: docker events --filter type=image")
            }
            DockerError::ChangedWhileBuilding { .. } => {
                Self::error(message).help("run the same command again: the new content is then taken as a whole")
            }
            DockerError::Registry { .. } => Self::error(message).help("try again in a moment"),
            DockerError::Unsupported { help, .. } => Self::error(message).help(help),
            DockerError::Denied { what, .. } => {
                let host = what.split('/').next().unwrap_or(&what).to_owned();
                Self::error(message).help(format!("docker login {host}"))
            }
            _ => Self::error(message),
        }
    }
}

const MAKE_ROOM: &str = "make room: docker system df; cargo xtask clean --images --dry-run; docker builder prune";

fn is_about_disk(text: &str) -> bool {
    text.to_lowercase().contains("no space left on device")
}

/// What an engine says of a build when it is shut down in the middle of it.
fn is_about_shutdown(text: &str) -> bool {
    ["transport is closing", "error reading from server: EOF", "context canceled", "no active session"]
        .iter()
        .any(|sign| text.contains(sign))
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
        lost @ B::HyperResponseError { .. } => DockerError::Lost { what, message: chain(&lost).join(": ") },
        other => DockerError::Infra { what, message: chain(&other).join(": ") },
    }
}

/// Translates an error of the connection; one that our own dialer made comes out as it went in.
pub fn from_io(what: &str, error: std::io::Error) -> DockerError {
    match error.downcast::<DockerError>() {
        Ok(own) => own,
        Err(error) => DockerError::Lost { what: what.to_owned(), message: chain(&error).join(": ") },
    }
}

/// The engine stopped speaking before it had told of the image.
pub fn without_image() -> DockerError {
    DockerError::Lost { what: "the build".to_owned(), message: "the answer ended without an image".to_owned() }
}

/// What a failing step says of the engine rather than of itself: there is no room, it is being shut down, or what the
/// step before has made is gone (the classic builder holds it by nothing but its id).
pub fn of_engine(step: &str, message: &str) -> Option<DockerError> {
    let what = format!("step `{step}`");
    if ["unable to find image \"sha256:", "No such image: sha256:"].iter().any(|sign| message.contains(sign)) {
        return Some(DockerError::Vanished { what, message: message.to_owned() });
    }
    let known = from_text(&what, message);
    (known.is_lost() || matches!(known, DockerError::DiskFull { .. })).then_some(known)
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
    match from_registry(what, message) {
        // Only what is surely the registry's word is blamed on it.
        DockerError::Registry { what, message } | DockerError::Refused { what, message } => {
            let signs = [
                "Get \"http",
                "Get http",
                "Head \"http",
                "Put \"http",
                "Post \"http",
                "HTTP status:",
                "toomanyrequests",
            ];
            if signs.iter().any(|sign| message.contains(sign)) {
                DockerError::Registry { what, message }
            } else if is_about_disk(&message) {
                DockerError::DiskFull { what, message }
            } else if is_about_shutdown(&message) {
                DockerError::Lost { what, message }
            } else {
                DockerError::Infra { what, message }
            }
        }
        known => known,
    }
}

/// Translates what a registry said, in the engine's words.
pub fn from_registry(what: &str, message: &str) -> DockerError {
    let (what, message) = (what.to_owned(), message.trim().to_owned());
    let lower = message.to_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| lower.contains(needle));
    let after = |words| lower.split(words).nth(1).and_then(|rest: &str| rest.get(..3)?.parse::<u16>().ok());
    let status = after("http status: ").or_else(|| after("error parsing http "));
    let missing = ["manifest unknown", "does not exist locally", "tag does not exist", "name unknown", "no such image"];
    if has(&["unauthorized", "no basic auth credentials", "authentication required", "denied: "])
        || matches!(status, Some(401 | 403))
        || lower == "denied"
    {
        DockerError::Denied { what, message }
    } else if has(&missing) {
        DockerError::NotFound { what, message }
    } else if has(&["toomanyrequests", "too many requests"]) {
        DockerError::Registry { what, message }
    } else if has(&["manifest invalid", "unsupported", "name invalid", "tag invalid", "blob unknown"])
        || matches!(status, Some(400..=428 | 430..=499))
    {
        DockerError::Refused { what, message }
    } else {
        DockerError::Registry { what, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_understood() {
        let kind = |text: &str| match from_registry("x", text) {
            DockerError::Denied { .. } => "denied",
            DockerError::NotFound { .. } => "missing",
            DockerError::Refused { .. } => "refused",
            _ => "passing",
        };
        for (text, wanted) in [
            ("no basic auth credentials", "denied"),
            ("denied: requested access to the resource is denied", "denied"),
            ("received unexpected HTTP status: 403 Forbidden", "denied"),
            ("manifest for x not found: manifest unknown", "missing"),
            ("An image does not exist locally with the tag: x", "missing"),
            ("received unexpected HTTP status: 503 Service Unavailable", "passing"),
            ("toomanyrequests: slow down", "passing"),
            ("received unexpected HTTP status: 429 Too Many Requests", "passing"),
            ("received unexpected HTTP status: 405 Method Not Allowed", "refused"),
            ("error parsing HTTP 405 response body: unexpected end of JSON input: \"\"", "refused"),
            ("error parsing HTTP 502 response body: invalid character '<'", "passing"),
            ("manifest invalid: manifest invalid", "refused"),
            ("Put \"http://h/v2/\": EOF", "passing"),
            ("Get \"http://h/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", "passing"),
        ] {
            assert_eq!(kind(text), wanted, "{text}");
        }
        assert!(matches!(from_text("x", "the disk is slow"), DockerError::Infra { .. }));
        let full = "failed to copy files: copy file range failed: no space left on device";
        assert!(matches!(from_text("x", full), DockerError::DiskFull { .. }));
        let gone = "unable to find image \"sha256:62011da90e95\"";
        assert!(of_engine("COPY a b", gone).is_some_and(|error| error.is_vanished()));
        assert!(of_engine("COPY a b", "unable to find image \"debian\"").is_none());
        let closed = "failed to solve: rpc error: code = Unavailable desc = transport is closing";
        assert!(from_text("x", closed).is_lost());
    }
}
