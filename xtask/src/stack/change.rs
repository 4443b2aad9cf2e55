//! Gathers what changed, by the policy of the stack or as somebody asks. Knows nothing of images.

use crate::model::{Diagnostic, RepoPath};

use super::affected::Change;
use super::git::Git;
use super::types::{ChangeMode, ChangePolicy};

/// Where the changed files come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// As `change_policy` says.
    #[default]
    Policy,
    /// Since the branch left this branch, tag or commit; changes on disk count.
    Base(String),
    /// Just these, from the root; git is not asked for files.
    Files(Vec<RepoPath>),
}

/// Gathers the changed files and what else decides. `git` is `None` outside of a repository; `first_run` says that
/// nothing was built on this branch before.
///
/// Errors: git refuses; there is no git, and the files are not given.
pub fn gather(git: Option<&Git>, policy: &ChangePolicy, since: &Since, first_run: bool) -> Result<Change, Diagnostic> {
    // Who names the files asks about them alone.
    if let Since::Files(files) = since {
        return Ok(Change { files: files.clone(), ..Change::default() });
    }
    let git = git.ok_or_else(|| {
        Diagnostic::error("`affected` needs a git repository to know what changed")
            .help("name the files: cargo xtask affected --files images/base/Dockerfile")
    })?;
    let branch = git.branch()?;
    let base = match since {
        Since::Base(base) => Some(base),
        _ => Some(&policy.base).filter(|_| is_whole_branch(policy, branch.as_deref())),
    };
    let (files, messages) = match base {
        Some(base) => (git.changed_since(base)?, git.messages_since(base)?),
        None => {
            let mut files = git.changed_in_last_commit()?;
            files.extend(git.changed_on_disk()?);
            files.sort();
            files.dedup();
            (files, git.head()?.into_iter().map(|head| head.message).collect())
        }
    };
    Ok(Change { files, messages, branch, first_run })
}

/// On the base branch itself there is nothing to compare with: its last commit counts.
fn is_whole_branch(policy: &ChangePolicy, branch: Option<&str>) -> bool {
    policy.mode == ChangeMode::Branch && branch != Some(policy.base.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;

    fn git(dir: &Path, words: &[&str]) {
        let name = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
        let output = std::process::Command::new("git").args(name).args(words).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(dir: &Path, file: &str, message: &str) {
        std::fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
        std::fs::write(dir.join(file), message).unwrap();
        git(dir, &["add", "-A"]);
        git(dir, &["commit", "-q", "-m", message]);
    }

    fn files(change: &Change) -> Vec<String> {
        change.files.iter().map(RepoPath::lossy).collect()
    }

    #[test]
    fn policies_choose_the_commits() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        git(dir, &["init", "-q", "-b", "main", "."]);
        commit(dir, "a", "first");
        commit(dir, "b", "second");
        let environment: BTreeMap<OsString, OsString> =
            std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME").collect();
        let found = Git::open(dir, &environment).unwrap();
        let gathered = |policy: &ChangePolicy, since: &Since| gather(found.as_ref(), policy, since, false).unwrap();
        let branch = ChangePolicy::default();
        let last = ChangePolicy { mode: ChangeMode::LastCommit, ..ChangePolicy::default() };
        assert_eq!(files(&gathered(&branch, &Since::Policy)), ["b"], "the base branch has only its last commit");
        git(dir, &["checkout", "-q", "-b", "topic"]);
        commit(dir, "c", "third");
        commit(dir, "d", "fourth");
        std::fs::write(dir.join("on disk"), "").unwrap();
        let whole = gathered(&branch, &Since::Policy);
        assert_eq!(files(&whole), ["c", "d", "on disk"]);
        assert_eq!((whole.messages.len(), whole.branch.as_deref()), (2, Some("topic")));
        let one = gathered(&last, &Since::Policy);
        assert_eq!(
            (files(&one), one.messages),
            (vec!["d".to_owned(), "on disk".to_owned()], vec!["fourth".to_owned()])
        );
        assert_eq!(files(&gathered(&last, &Since::Base("main~1".to_owned()))), ["b", "c", "d", "on disk"]);
        let given = Since::Files(vec![RepoPath::from_root("x").unwrap()]);
        assert_eq!(files(&gathered(&last, &given)), ["x"]);
        assert_eq!(files(&gather(None, &last, &given, true).unwrap()), ["x"]);
        assert!(gather(None, &last, &Since::Policy, false).is_err());
    }
}
