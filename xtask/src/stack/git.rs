//! Questions to git: commit, branch, changed files. Asks without taking locks and without the GIT_* variables of
//! whoever calls; knows nothing of images.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use xshell::{Shell, cmd};

use crate::model::{Diagnostic, RepoPath};

/// A repository, seen from a folder of its work tree.
#[derive(Clone, Debug)]
pub struct Git {
    shell: Shell,
    environment: BTreeMap<OsString, OsString>,
}

/// The commit that is checked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// 40 or 64 hexadecimal digits.
    pub hash: String,
    /// Subject and body, without the final newline.
    pub message: String,
    /// Seconds since 1970.
    pub time: i64,
}

impl Commit {
    /// The first 7 digits.
    pub fn short(&self) -> &str {
        self.hash.get(..super::tags::HASH_DIGITS).unwrap_or(&self.hash)
    }
}

impl Git {
    /// `None` if `root` is in no work tree. `environment` is that of the caller.
    ///
    /// Errors: git is missing or refuses to look.
    pub fn open(root: &Path, environment: &BTreeMap<OsString, OsString>) -> Result<Option<Self>, Diagnostic> {
        let failed = |error: xshell::Error| Diagnostic::error("failed to start git").cause(error);
        let shell = Shell::new().map_err(failed)?;
        shell.change_dir(root);
        let is_git = |name: &OsString| name.as_encoded_bytes().starts_with(b"GIT_");
        let kept = environment.iter().filter(|(name, _)| !is_git(name));
        let mut environment: BTreeMap<OsString, OsString> =
            kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        // The messages that are looked at must not depend on the language of the caller.
        environment.insert("LC_ALL".into(), "C".into());
        let git = Self { shell, environment };
        let output = git.output(&["rev-parse", "--is-inside-work-tree"])?;
        match (output.status.success(), String::from_utf8_lossy(&output.stderr)) {
            (true, _) => Ok((output.stdout.trim_ascii() == b"true").then_some(git)),
            (false, text) if text.contains("not a git repository") => Ok(None),
            (false, text) => Err(refused(&["rev-parse"], &text)),
        }
    }

    fn output(&self, args: &[&str]) -> Result<std::process::Output, Diagnostic> {
        let shell = &self.shell;
        // No hook of a file monitor is run, no index is refreshed: looking changes nothing.
        cmd!(shell, "git --no-optional-locks -c core.fsmonitor=false {args...}")
            .env_clear()
            .envs(&self.environment)
            .quiet()
            .ignore_status()
            .output()
            .map_err(|error| {
                Diagnostic::error("failed to run git").cause(error).help("install git: apt-get install git")
            })
    }

    /// What git prints, if it succeeds.
    fn ask(&self, args: &[&str]) -> Result<Vec<u8>, Diagnostic> {
        let output = self.output(args)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(refused(args, &String::from_utf8_lossy(&output.stderr)))
    }

    /// What git prints; `None` if it fails, which is its way to say no.
    fn try_ask(&self, args: &[&str]) -> Result<Option<String>, Diagnostic> {
        let output = self.output(args)?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.status.success() && !text.is_empty()).then_some(text))
    }

    /// The commit that is checked out; `None` in a repository without one.
    pub fn head(&self) -> Result<Option<Commit>, Diagnostic> {
        if self.try_ask(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])?.is_none() {
            return Ok(None);
        }
        let bytes = self.ask(&["log", "-1", "-z", "--format=%H%n%ct%n%B", "HEAD"])?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.trim_end_matches('\0').splitn(3, '\n');
        let mut next = || lines.next().unwrap_or_default();
        let (hash, time, message) = (next().to_owned(), next().parse().unwrap_or(0), next().trim_end().to_owned());
        Ok(Some(Commit { hash, message, time }))
    }

    /// The branch that is checked out; `None` on a detached head.
    ///
    /// A CI system checks out commits, not branches, and says in variables which branch it means: for a pull request
    /// that of the request, whatever its name, else the one that was pushed.
    pub fn branch(&self) -> Result<Option<String>, Diagnostic> {
        let variable = |name: &str| self.environment.get(std::ffi::OsStr::new(name))?.to_str().map(str::to_owned);
        match branch_of_ci(&variable) {
            Some(branch) => Ok(Some(branch)),
            None => self.try_ask(&["symbolic-ref", "--quiet", "--short", "HEAD"]),
        }
    }

    /// Where the repository comes from, without user and password; `None` without a remote.
    pub fn remote_url(&self) -> Result<Option<String>, Diagnostic> {
        let url = match self.try_ask(&["remote", "get-url", "origin"])? {
            Some(url) => Some(url),
            None => match self.try_ask(&["remote"])? {
                Some(names) => self.try_ask(&["remote", "get-url", names.lines().next().unwrap_or_default()])?,
                None => None,
            },
        };
        Ok(url.map(|url| without_credentials(&url)))
    }

    /// Whether a tracked file differs from the commit, or an untracked one is not ignored.
    pub fn is_dirty(&self) -> Result<bool, Diagnostic> {
        Ok(!self.ask(&["status", "--porcelain", "-z", "--untracked-files=normal", "--", "."])?.is_empty())
    }

    /// Files of the last commit: against its first parent (for a merge of a pull request: all of the request), all
    /// files for the first commit of a history, also of a shallow one.
    pub fn changed_in_last_commit(&self) -> Result<Vec<RepoPath>, Diagnostic> {
        if self.head()?.is_none() {
            return Ok(Vec::new());
        }
        if self.try_ask(&["rev-parse", "--verify", "--quiet", "HEAD^1^{commit}"])?.is_some() {
            return self.changed_between("HEAD^1", Some("HEAD"));
        }
        self.paths(&["ls-tree", "-r", "-z", "--name-only", "HEAD"])
    }

    /// Files that differ between the point where the branch left `base` and the files on disk, untracked ones too.
    ///
    /// Errors: `base` is no commit that is known here; it has nothing in common with the branch.
    pub fn changed_since(&self, base: &str) -> Result<Vec<RepoPath>, Diagnostic> {
        let fork = self.fork(base)?;
        let mut files = self.changed_between(&fork, None)?;
        files.extend(self.untracked()?);
        Ok(once(files))
    }

    /// Files on disk that are not as in the commit, untracked ones too.
    pub fn changed_on_disk(&self) -> Result<Vec<RepoPath>, Diagnostic> {
        let mut files = match self.head()? {
            Some(_) => self.changed_between("HEAD", None)?,
            None => self.paths(&["ls-files", "-z"])?,
        };
        files.extend(self.untracked()?);
        Ok(once(files))
    }

    /// The messages of the commits since the branch left `base`, the newest first.
    pub fn messages_since(&self, base: &str) -> Result<Vec<String>, Diagnostic> {
        let range = format!("{}..HEAD", self.fork(base)?);
        let bytes = self.ask(&["log", "-z", "--format=%B", &range])?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.split('\0').map(|message| message.trim_end().to_owned()).filter(|text| !text.is_empty()).collect())
    }

    /// The commit where the branch left `base`, which may be a branch, a remote's branch, a tag or a hash.
    fn fork(&self, base: &str) -> Result<String, Diagnostic> {
        let known = |name: &str| self.try_ask(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]);
        // In CI there often is only the remote's branch, and locally that is the one which others have seen.
        let commit = match known(&format!("refs/remotes/origin/{base}"))? {
            Some(commit) => Some(commit),
            None if base.starts_with('-') => None,
            None => known(base)?,
        };
        let Some(commit) = commit else {
            return Err(Diagnostic::error(format!("`{base}` is no branch or commit that is known here"))
                .help(format!("fetch it: git fetch origin {base}")));
        };
        self.try_ask(&["merge-base", &commit, "HEAD"])?.ok_or_else(|| {
            Diagnostic::error(format!("`{base}` has no commit in common with what is checked out"))
                .note("a shallow clone does not have the history that is needed")
                .help("fetch all of it: git fetch --unshallow")
        })
    }

    /// A renamed file counts under both names: the old one is missing somewhere, the new one is new elsewhere.
    fn changed_between(&self, old: &str, new: Option<&str>) -> Result<Vec<RepoPath>, Diagnostic> {
        let mut args =
            vec!["diff", "--no-ext-diff", "--no-textconv", "--no-renames", "--relative", "--name-only", "-z", old];
        args.extend(new);
        args.push("--");
        self.paths(&args)
    }

    fn untracked(&self) -> Result<Vec<RepoPath>, Diagnostic> {
        self.paths(&["ls-files", "--others", "--exclude-standard", "-z"])
    }

    fn paths(&self, args: &[&str]) -> Result<Vec<RepoPath>, Diagnostic> {
        let bytes = self.ask(args)?;
        Ok(bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty()).filter_map(RepoPath::from_root).collect())
    }
}

fn once(mut files: Vec<RepoPath>) -> Vec<RepoPath> {
    files.sort();
    files.dedup();
    files
}

/// The error for a git that said no: what it was asked, and its first lines without credentials.
pub fn refused(args: &[&str], stderr: &str) -> Diagnostic {
    let verb = args.first().copied().unwrap_or_default();
    let lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .take(3)
        .fold(Diagnostic::error(format!("`git {verb}` failed")), |error, line| error.cause(without_credentials(line)))
}

/// The branch that the variables of a CI system name; `None` outside of one, and for a pushed tag.
pub fn branch_of_ci(variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let given = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is_request = given("GITHUB_EVENT_NAME").is_some_and(|event| event.starts_with("pull_request"))
        || given("GITHUB_REF").is_some_and(|name| name.starts_with("refs/pull/"));
    let branch = match given("GITHUB_REF_TYPE").as_deref() {
        _ if is_request => given("GITHUB_HEAD_REF"),
        Some("tag") => None,
        _ => given("GITHUB_REF_NAME"),
    };
    branch.or_else(|| given("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")).or_else(|| given("CI_COMMIT_BRANCH"))
}

/// A URL without user and password, wherever it stands in the text.
fn without_credentials(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let end = after.find(|c: char| c == '/' || c.is_whitespace() || c == '\'').unwrap_or(after.len());
        rest = after[..end].rfind('@').map_or(after, |user| &after[user + 1..]);
    }
    clean + rest
}

#[cfg(test)]
#[path = "git_tests.rs"]
mod tests;
