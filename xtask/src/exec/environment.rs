//! The environment of a task's processes: what is let through, what is declared, what is ours. A pure function of the
//! environment that it is given; knows nothing of processes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Variables, in the order of their names.
pub type Variables = BTreeMap<OsString, OsString>;

/// Names that are let through. They say where programs, homes, caches and certificates are, and how to reach the
/// network; none of them should change a result.
const NAMES: &[&str] = &[
    "ALL_PROXY",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLORTERM",
    "CURL_CA_BUNDLE",
    "FORCE_COLOR",
    "FTP_PROXY",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "NODE_EXTRA_CA_CERTS",
    "NO_COLOR",
    "NO_PROXY",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SHELL",
    "SSH_AGENT_PID",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TEMP",
    "TERM",
    "TMP",
    "TMPDIR",
    "TZ",
    "USER",
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// The same for families of names.
const PREFIXES: &[&str] = &["BUILDKIT_", "DOCKER_", "LC_", "PIP_", "UV_", "XDG_"];

/// What the program adds so that its own invocations from inside a task can join the run.
#[derive(Clone, Debug)]
pub struct Own<'a> {
    /// Proves that an invocation comes from inside this run.
    pub token: &'a str,
    /// The absolute path of the workspace.
    pub root: &'a OsStr,
    /// The name of the task.
    pub task: &'a str,
}

/// The whole environment of a child of a task.
///
/// From `ours` pass the names of the base list and those in `pass` (names that the task declares, a trailing `*` for
/// a family; they win over the base list's silence, not over `declared`); `declared` are the task's own variables with
/// their values. Everything else is absent: variables that git, cargo or a loader set for *us* would change what a
/// task does.
pub fn child_environment(ours: &Variables, pass: &[&str], declared: &Variables, own: &Own<'_>) -> Variables {
    with_own(&let_through(ours, pass), declared, own)
}

/// The part of [`child_environment`] that is the same for all tasks with the same `pass`.
pub fn let_through(ours: &Variables, pass: &[&str]) -> Variables {
    let mut through: Variables = ours
        .iter()
        .filter(|(name, _)| name.to_str().is_some_and(|name| is_base(name) || is_passed(name, pass)))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(path) = through.get_mut(OsStr::new("PATH"))
        && let Some(clean) = without_toolchain(path, ours)
    {
        *path = clean;
    }
    through
}

/// The rest of [`child_environment`].
pub fn with_own(through: &Variables, declared: &Variables, own: &Own<'_>) -> Variables {
    let mut child = through.clone();
    child.extend(declared.iter().map(|(name, value)| (name.clone(), value.clone())));
    child.insert("XTASK_TOKEN".into(), own.token.into());
    child.insert("XTASK_ROOT".into(), own.root.to_owned());
    child.insert("XTASK_TASK".into(), own.task.into());
    child
}

fn is_base(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_passed(name: &str, pass: &[&str]) -> bool {
    pass.iter().any(|wanted| match wanted.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => *wanted == name,
    })
}

/// `PATH` without the toolchain's own folder, which rustup puts first for what `cargo run` starts: a task that calls
/// `cargo` must get the one that its folder asks for. `None` if there is nothing to take out.
fn without_toolchain(path: &OsStr, ours: &Variables) -> Option<OsString> {
    let toolchain = ours.get(OsStr::new("RUSTUP_TOOLCHAIN"))?.to_str()?;
    let inner = format!("/toolchains/{toolchain}/bin");
    let parts: Vec<_> = std::env::split_paths(path).collect();
    let kept: Vec<_> = parts.iter().filter(|dir| !dir.to_string_lossy().ends_with(&inner)).collect();
    if kept.len() == parts.len() { None } else { std::env::join_paths(kept).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn own() -> Own<'static> {
        Own { token: "t0", root: OsStr::new("/work"), task: "build:base" }
    }

    #[test]
    fn s10_exactly_the_list_and_what_is_declared() {
        let ours = variables(&[
            ("PATH", "/bin"),
            ("HOME", "/home/me"),
            ("LC_ALL", "C"),
            ("DOCKER_HOST", "unix:///x"),
            ("https_proxy", "http://p"),
            ("GIT_DIR", "/decoy"),
            ("GIT_INDEX_FILE", "/decoy/index"),
            ("CARGO_MANIFEST_DIR", "/x"),
            ("RUSTUP_TOOLCHAIN", "stable"),
            ("LD_LIBRARY_PATH", "/x"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("PYTHONPATH", "/x"),
            ("CI_JOB", "1"),
            ("CI_TOKEN", "2"),
            ("MODE", "outer"),
        ]);
        let child = child_environment(&ours, &["CI_*", "MODE"], &variables(&[("MODE", "inner"), ("A", "b")]), &own());
        let expected = variables(&[
            ("A", "b"),
            ("CI_JOB", "1"),
            ("CI_TOKEN", "2"),
            ("DOCKER_HOST", "unix:///x"),
            ("HOME", "/home/me"),
            ("LC_ALL", "C"),
            ("MODE", "inner"),
            ("PATH", "/bin"),
            ("XTASK_ROOT", "/work"),
            ("XTASK_TASK", "build:base"),
            ("XTASK_TOKEN", "t0"),
            ("https_proxy", "http://p"),
        ]);
        assert_eq!(child, expected);
    }

    #[test]
    fn the_folder_of_the_toolchain_leaves_the_path() {
        let ours = variables(&[
            ("PATH", "/home/me/.rustup/toolchains/1.95-x86/bin:/home/me/.cargo/bin:/bin"),
            ("RUSTUP_TOOLCHAIN", "1.95-x86"),
        ]);
        let child = child_environment(&ours, &[], &Variables::new(), &own());
        assert_eq!(child[OsStr::new("PATH")], "/home/me/.cargo/bin:/bin");
    }
}
