//! What can go wrong between machines, as data. Knows nothing of how it came about.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Diagnostic;

/// Why something on another machine did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// The name could be taken for an option or for more than a name.
    #[error("`{text}` is no host that can be reached by ssh: {why}")]
    BadHost { text: String, why: &'static str },
    #[error("`{path}` cannot be a folder on a host: {why}")]
    BadPath { path: String, why: &'static str },
    /// Deleting there could destroy a system or a home.
    #[error("`{path}` is refused as the target of a sync: {why}")]
    Dangerous { path: String, why: String },
    #[error("`{}` is refused as the source of a sync that deletes: {why}", source_dir.display())]
    SuspiciousSource { source_dir: PathBuf, why: String },
    #[error("`{option}` is not an option of rsync that a sync may use")]
    ForbiddenOption { option: String },
    /// No connection: what ssh said.
    #[error("`{host}` could not be reached by ssh")]
    Unreachable { host: String, said: Vec<String> },
    /// A command on the host, or a program here that works for it, did not succeed.
    #[error("{what} failed on `{host}`: {how}")]
    Failed { host: String, what: String, how: String, said: Vec<String> },
    /// The link was dropped again and again, or stood still.
    #[error("{what} failed on `{host}` after {attempts} attempts: {how}")]
    GaveUp { host: String, what: String, attempts: u32, how: String, said: Vec<String> },
    #[error("failed to read directory `{}`", path.display())]
    Unreadable { path: PathBuf, cause: String },
    #[error("interrupted")]
    Stopped,
    #[error("`{name}` is no host of tasks.yaml and no Docker context")]
    UnknownHost { name: String, known: Vec<String> },
    /// The address of an engine is not usable.
    #[error("{message}")]
    Endpoint { message: String, help: Option<String> },
    #[error("`{host}` has no {field}")]
    Missing { host: String, field: &'static str },
    /// Making a private folder or a thread failed.
    #[error("failed to prepare a connection to `{host}`")]
    System { host: String, cause: String },
    #[error("{what} took longer than {} s on `{host}`", limit.as_secs())]
    TooLate { host: String, what: String, limit: Duration },
}

/// What ssh says where a connection ended without a reason of its own.
const DROPPED: [&str; 5] =
    ["Connection reset by", "Connection closed by", "kex_exchange_identification", "banner exchange", "Broken pipe"];

impl RemoteError {
    /// Whether the connection was dropped rather than refused: the same may work in a moment.
    pub fn is_dropped(&self) -> bool {
        let Self::Unreachable { said, .. } = self else { return false };
        said.iter().any(|line| DROPPED.iter().any(|text| line.contains(text)))
            && !said.iter().any(|line| line.contains("Permission denied") || line.contains("verification failed"))
    }

    /// The same for people.
    pub fn diagnostic(&self) -> Diagnostic {
        let error = Diagnostic::error(self.to_string());
        match self {
            Self::Unreachable { host, said } => {
                let unknown = said.iter().any(|line| line.contains("Host key verification failed"));
                let denied = said.iter().any(|line| line.contains("Permission denied"));
                let error = with_causes(error, said);
                match (unknown, denied) {
                    (true, _) => error
                        .note("the host's key is not known, or is not the one that is known")
                        .help(format!("ssh {} true", login(host))),
                    (_, true) => error
                        .note("no question is asked here: a key or an agent is needed")
                        .help(format!("ssh-copy-id {}", login(host))),
                    _ => error.help(format!("ssh -v {} true", login(host))),
                }
            }
            Self::Failed { said, .. } | Self::GaveUp { said, .. } => with_causes(error, said),
            Self::ForbiddenOption { .. } => {
                error.note("options that run programs, or that leave half a file behind, are refused")
            }
            Self::Unreadable { cause, .. } | Self::System { cause, .. } => error.cause(cause),
            Self::UnknownHost { name, known } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                error.maybe_help(crate::model::words::suggest("host", name, &known))
            }
            Self::Endpoint { help, .. } => error.maybe_help(help.clone()),
            Self::Dangerous { .. } => error.help("name a folder of its own, at least two levels below `/`"),
            _ => error,
        }
    }
}

/// The words of ssh for a host that is written `login@host:port`.
fn login(host: &str) -> String {
    match host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
        Some((host, port)) => format!("-p {port} {host}"),
        None => host.to_owned(),
    }
}

fn with_causes(error: Diagnostic, said: &[String]) -> Diagnostic {
    said.iter().fold(error, |error, line| error.cause(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_an_option_of_ssh() {
        let help = |host: &str| {
            let error = RemoteError::Unreachable { host: host.into(), said: vec!["Permission denied".into()] };
            error.diagnostic().helps.join("")
        };
        assert_eq!(help("me@zeus:2222"), "ssh-copy-id -p 2222 me@zeus");
        assert_eq!(help("me@zeus"), "ssh-copy-id me@zeus");
    }
}
