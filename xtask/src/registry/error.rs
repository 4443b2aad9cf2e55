//! What went wrong with a registry, at which stage, and what a person can do. Knows nothing of how it is printed.

use std::fmt;
use std::time::Duration;

use crate::model::{Diagnostic, Digest, words};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Asking whether a registry answers at all.
    Ping,
    /// Fetching an access token.
    Token,
    ManifestHead,
    ManifestGet,
    ManifestPut,
    ManifestDelete,
    TagList,
    BlobHead,
    BlobGet,
    /// Opening an upload, or mounting a blob of another repository.
    UploadStart,
    /// Sending a piece of a blob.
    UploadChunk,
    /// Sending the rest of a blob and closing the upload.
    UploadFinish,
}

impl Stage {
    /// For messages: `pushing the manifest`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ping => "greeting the registry",
            Self::Token => "fetching an access token",
            Self::ManifestHead => "asking for the digest",
            Self::ManifestGet => "reading the manifest",
            Self::ManifestPut => "writing the manifest",
            Self::ManifestDelete => "deleting the manifest",
            Self::TagList => "listing the tags",
            Self::BlobHead => "asking for a blob",
            Self::BlobGet => "reading a blob",
            Self::UploadStart => "opening a blob upload",
            Self::UploadChunk => "uploading a blob",
            Self::UploadFinish => "finishing a blob upload",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// How it went wrong. `said` is the registry's own message, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// 401: nobody is logged in, or the login is wrong.
    Unauthorized { said: String },
    /// 403: logged in, but not allowed.
    Denied { said: String },
    /// 404 where something was needed. A mere question answers `None` instead.
    NotFound { said: String },
    /// Another 4xx, or an answer that no registry gives here.
    Rejected { status: u16, said: String },
    /// 429 to the last try, or a longer wait was asked for than we have patience.
    RateLimited { said: String, asked: Option<Duration> },
    /// 5xx to the last try.
    Server { status: u16, said: String },
    /// The connection was cut in the middle.
    Cut { detail: String },
    /// No byte moved for this long.
    Stalled { detail: String },
    /// No connection at all.
    Unreachable { detail: String },
    /// The certificate is not trusted, or there is no TLS on the other side.
    Tls { detail: String },
    /// Plain HTTP is for loopback and for hosts that are configured so.
    PlainHttp { url: String },
    /// Looking up the credentials failed.
    Credentials { detail: String },
    /// Something answers at that address, but it is not a registry.
    NotARegistry { status: u16 },
    /// The bytes are not the ones that the digest promises.
    WrongDigest { expected: String, got: String },
    /// The answer cannot be understood.
    Malformed { detail: String },
    /// The name is not one that a registry can have; nothing was sent.
    BadName { detail: String },
    /// The bytes to be sent could not be read.
    Source { detail: String },
    /// Deleting it would take these tags with it, too.
    Shared { digest: String, tags: Vec<String> },
    /// The run was told to stop.
    Interrupted,
}

impl ErrorKind {
    pub fn wrong_digest(expected: Digest, got: Digest) -> Self {
        Self::WrongDigest { expected: expected.to_string(), got: got.to_string() }
    }
}

/// One failed verb.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{reference}` failed while {stage}: {}", self.reason())]
pub struct RegistryError {
    pub stage: Stage,
    /// The registry's host, as people write it.
    pub registry: String,
    /// What it was about: `host/repository:tag`.
    pub reference: String,
    /// How many times it was tried.
    pub tries: u32,
    pub kind: ErrorKind,
}

impl RegistryError {
    /// Which family of trouble it is: `login`, `missing`, `refused`, `limit`, `registry`, `network`, `content`, `local`
    /// or `interrupted`.
    pub fn class(&self) -> &'static str {
        match self.kind {
            ErrorKind::Unauthorized { .. } | ErrorKind::Denied { .. } | ErrorKind::Credentials { .. } => "login",
            ErrorKind::NotFound { .. } => "missing",
            ErrorKind::Rejected { .. } | ErrorKind::NotARegistry { .. } | ErrorKind::Shared { .. } => "refused",
            ErrorKind::RateLimited { .. } => "limit",
            ErrorKind::Server { .. } => "registry",
            ErrorKind::Cut { .. }
            | ErrorKind::Stalled { .. }
            | ErrorKind::Unreachable { .. }
            | ErrorKind::Tls { .. } => "network",
            ErrorKind::WrongDigest { .. } | ErrorKind::Malformed { .. } => "content",
            ErrorKind::PlainHttp { .. } | ErrorKind::BadName { .. } | ErrorKind::Source { .. } => "local",
            ErrorKind::Interrupted => "interrupted",
        }
    }

    /// The HTTP status, where there was one.
    pub fn status(&self) -> Option<u16> {
        match &self.kind {
            ErrorKind::Unauthorized { .. } => Some(401),
            ErrorKind::Denied { .. } => Some(403),
            ErrorKind::NotFound { .. } => Some(404),
            ErrorKind::RateLimited { .. } => Some(429),
            ErrorKind::Rejected { status, .. }
            | ErrorKind::Server { status, .. }
            | ErrorKind::NotARegistry { status } => Some(*status),
            _ => None,
        }
    }

    fn reason(&self) -> String {
        let registry = &self.registry;
        match &self.kind {
            ErrorKind::Unauthorized { .. } => format!("registry `{registry}` wants a login (401)"),
            ErrorKind::Denied { .. } => format!("registry `{registry}` denies access (403)"),
            ErrorKind::NotFound { .. } => format!("registry `{registry}` does not have it (404)"),
            ErrorKind::Rejected { status, .. } => format!("registry `{registry}` answers {status}"),
            ErrorKind::RateLimited { .. } => format!("registry `{registry}` limits the rate of requests (429)"),
            ErrorKind::Server { status, .. } => format!("registry `{registry}` is in trouble ({status})"),
            ErrorKind::Cut { .. } => format!("the connection to registry `{registry}` was cut"),
            ErrorKind::Stalled { .. } => format!("registry `{registry}` does not answer in time"),
            ErrorKind::Unreachable { .. } => format!("registry `{registry}` cannot be reached"),
            ErrorKind::Tls { .. } => format!("no trusted connection to registry `{registry}`"),
            ErrorKind::PlainHttp { url } => format!("`{url}` is plain HTTP"),
            ErrorKind::Credentials { .. } => format!("the credentials for `{registry}` cannot be looked up"),
            ErrorKind::NotARegistry { status } => format!("`{registry}` is not a registry (its /v2/ answers {status})"),
            ErrorKind::WrongDigest { expected, got } => format!("the content is {got} instead of {expected}"),
            ErrorKind::Malformed { detail } => format!("the answer of registry `{registry}` makes no sense: {detail}"),
            ErrorKind::BadName { detail } => detail.clone(),
            ErrorKind::Source { .. } => "what is to be sent cannot be read".to_owned(),
            ErrorKind::Shared { digest, tags } => {
                format!("{digest} also bears {}", words::list(tags))
            }
            ErrorKind::Interrupted => "interrupted".to_owned(),
        }
    }

    fn said(&self) -> Option<&str> {
        let said = match &self.kind {
            ErrorKind::Unauthorized { said }
            | ErrorKind::Denied { said }
            | ErrorKind::NotFound { said }
            | ErrorKind::Rejected { said, .. }
            | ErrorKind::RateLimited { said, .. }
            | ErrorKind::Server { said, .. } => Some(said),
            ErrorKind::Cut { detail }
            | ErrorKind::Stalled { detail }
            | ErrorKind::Unreachable { detail }
            | ErrorKind::Tls { detail }
            | ErrorKind::Credentials { detail }
            | ErrorKind::Source { detail } => Some(detail),
            _ => None,
        };
        said.map(String::as_str).filter(|said| !said.is_empty())
    }

    fn help(&self) -> Option<String> {
        let host = &self.registry;
        // `docker login` without a host means the one registry whose host people never write.
        let login = if host == "docker.io" { "docker login".to_owned() } else { format!("docker login {host}") };
        match &self.kind {
            ErrorKind::Unauthorized { .. }
            | ErrorKind::Credentials { .. }
            | ErrorKind::Denied { .. }
            | ErrorKind::RateLimited { .. } => Some(login),
            ErrorKind::Unreachable { .. } => Some(format!("curl -v {}", self.greeting_url())),
            ErrorKind::PlainHttp { .. } => Some("use https, or list the host among the insecure registries".to_owned()),
            _ => None,
        }
    }

    fn greeting_url(&self) -> String {
        let scheme = if is_loopback(&self.registry) { "http" } else { "https" };
        format!("{scheme}://{}/v2/", self.registry)
    }

    /// For people: the registry's message as the cause, the number of tries as a note, and one act that helps.
    pub fn to_diagnostic(&self) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(self.to_string());
        if let Some(said) = self.said() {
            diagnostic = diagnostic.cause(said);
        }
        if self.tries > 1 {
            diagnostic = diagnostic.note(format!("tried {}", words::count(self.tries as usize, "time")));
        }
        match &self.kind {
            ErrorKind::Denied { .. } => diagnostic = diagnostic.note("another user may be allowed to do this"),
            ErrorKind::RateLimited { asked, .. } => {
                if let Some(asked) = asked {
                    let seconds = words::count(asked.as_secs() as usize, "second");
                    diagnostic = diagnostic.note(format!("the registry asks to wait {seconds}"));
                }
                diagnostic = diagnostic.note("users who are logged in usually have a higher limit");
            }
            _ => {}
        }
        diagnostic.maybe_help(self.help())
    }
}

impl From<RegistryError> for Diagnostic {
    fn from(error: RegistryError) -> Self {
        error.to_diagnostic()
    }
}

/// Whether a host (with or without a port) is this very machine.
pub fn is_loopback(host: &str) -> bool {
    let bare = if let Some(inner) = host.strip_prefix('[') {
        inner.split(']').next().unwrap_or(inner)
    } else if host.matches(':').count() > 1 {
        host
    } else {
        host.split(':').next().unwrap_or(host)
    };
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_only_this_machine() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:1", "127.9.9.9", "[::1]:5000", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.org", "10.0.0.1:5000", "127.0.0.1.example.org", "registry"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_diagnostic_names_the_registry_and_how_to_log_in() {
        let error = RegistryError {
            stage: Stage::ManifestPut,
            registry: "hub.example.org".into(),
            reference: "hub.example.org/lab/base:1.0".into(),
            tries: 1,
            kind: ErrorKind::Unauthorized { said: "UNAUTHORIZED: no".into() },
        };
        assert_eq!(
            error.to_diagnostic().to_string(),
            "error: `hub.example.org/lab/base:1.0` failed while writing the manifest: registry `hub.example.org` wants a login (401)\
             \n  caused by: UNAUTHORIZED: no\
             \n  help: docker login hub.example.org"
        );
    }
}
