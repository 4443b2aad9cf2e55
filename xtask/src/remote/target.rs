//! Names of machines and folders on them, checked so that no program takes them for anything else. Knows nothing of
//! connections.

use std::path::PathBuf;

use super::RemoteError;

/// A machine that ssh can reach. Its parts are checked: no option, no shell word and no escape hides in them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    user: Option<String>,
    host: String,
    pub port: Option<u16>,
    /// A private key.
    pub identity: Option<PathBuf>,
    /// Instead of `~/.ssh/config`.
    pub config_file: Option<PathBuf>,
}

impl Target {
    /// Reads `host`, `user@host`, or `ssh://user@host:port` (a path after it is ignored, as docker does).
    pub fn parse(text: &str) -> Result<Self, RemoteError> {
        let bad = |why| RemoteError::BadHost { text: text.to_owned(), why };
        let (rest, port) = match text.strip_prefix("ssh://") {
            Some(url) => split_port(url.split('/').next().unwrap_or_default()).ok_or(bad("its port is no number"))?,
            None => (text, None),
        };
        let (user, host) = match rest.split_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        for part in user.into_iter().chain([host]) {
            if part.is_empty() {
                return Err(bad("a part of it is empty"));
            }
            if part.starts_with('-') {
                return Err(bad("it starts with `-`"));
            }
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !host.bytes().all(|byte| plain(byte) || byte == b':') || !user.unwrap_or_default().bytes().all(plain) {
            return Err(bad("it has characters other than letters, digits, `.`, `_` and `-`"));
        }
        let (user, host) = (user.map(str::to_owned), host.to_owned());
        Ok(Self { user, host, port, identity: None, config_file: None })
    }

    /// `user@host`, for ssh.
    pub fn destination(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}@{}", self.host),
            None => self.host.clone(),
        }
    }

    /// `user@host:path`, for rsync.
    pub(super) fn operand(&self, path: &str) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match &self.user {
            Some(user) => format!("{user}@{host}:{path}"),
            None => format!("{host}:{path}"),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.destination())?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// `host:port` taken apart; a host in brackets may hold colons.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    match text.rsplit_once(':') {
        Some((_, port)) if port.ends_with(']') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((text, None)),
    }
}

/// Checks the folder of a host below which everything is kept: absolute, not a system's, not a home.
pub fn check_root(root: &str) -> Result<(), RemoteError> {
    let dangerous = |why: &str| RemoteError::Dangerous { path: root.to_owned(), why: why.to_owned() };
    check_characters(root)?;
    if !root.starts_with('/') {
        return Err(RemoteError::BadPath { path: root.to_owned(), why: "it is not absolute" });
    }
    let parts: Vec<&str> = root.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(dangerous("it has a `.` or `..`"));
    }
    const SYSTEM: &[&str] =
        &["bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr"];
    match parts.as_slice() {
        [] | [_] => Err(dangerous("it is `/` or a folder directly below it")),
        ["home" | "Users", _] => Err(dangerous("it is a home folder")),
        ["usr", "local", _, ..] => Ok(()),
        [first, ..] if SYSTEM.contains(first) => Err(dangerous("it belongs to the system")),
        ["var", "lib" | "log" | "cache" | "spool" | "run" | "tmp"] => Err(dangerous("it belongs to the system")),
        _ => Ok(()),
    }
}

/// Checks a folder below a root: relative, without `.` and `..`, not the folder of our own notes.
pub fn check_below(path: &str) -> Result<(), RemoteError> {
    let bad = |why| RemoteError::BadPath { path: path.to_owned(), why };
    check_characters(path)?;
    if path.is_empty() || path.starts_with('/') {
        return Err(bad("it must be relative to the host's root"));
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(bad("it has an empty part, `.` or `..`"));
    }
    if path.split('/').next() == Some(super::script::NOTES) {
        return Err(bad("the notes about syncs are kept there"));
    }
    Ok(())
}

fn check_characters(path: &str) -> Result<(), RemoteError> {
    if path.chars().any(char::is_control) {
        return Err(RemoteError::BadPath { path: path.escape_debug().to_string(), why: "it has a control character" });
    }
    Ok(())
}

/// One word for any shell that knows single quotes.
pub(super) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let target = Target::parse("ssh://me@zeus:2222/run/docker.sock").unwrap();
        assert_eq!((target.destination().as_str(), target.port), ("me@zeus", Some(2222)));
        assert_eq!(Target::parse("me@[::1]").unwrap().operand("/a"), "me@[::1]:/a");
        assert_eq!(Target::parse("ssh://[::1]").unwrap().destination(), "::1");
        assert_eq!(Target::parse("zeus").unwrap().operand("/a b"), "zeus:/a b");
    }

    #[test]
    fn names_that_are_more_than_names_are_refused() {
        for text in
            ["-oProxyCommand=x", "me@-oX", "-l@zeus", "a b", "a;b", "$(x)@h", "h\n", "", "@h", "u@", "a@b@c", "h/x"]
        {
            assert!(Target::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn roots_of_others_are_refused() {
        for root in [
            "/",
            "//",
            "/srv",
            "/home/me",
            "/Users/me",
            "/etc/x",
            "/usr/share/x",
            "/a/../etc",
            "a/b",
            "/var/lib",
            "/a/b\n",
        ] {
            assert!(check_root(root).is_err(), "{root:?}");
        }
        for root in ["/srv/stack", "/home/me/stack", "/var/lib/stack", "/usr/local/stack", "/tmp/a b"] {
            assert_eq!(check_root(root), Ok(()), "{root:?}");
        }
        for path in ["", "/a", "a//b", "../a", "a/..", ".xtask-sync/a", "a\0"] {
            assert!(check_below(path).is_err(), "{path:?}");
        }
        assert_eq!(check_below("a b/c'd"), Ok(()));
    }
}
