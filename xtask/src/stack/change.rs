//! Gathers what changed, by the policy of the stack or as somebody asks, and tells what it concerns as text or JSON.
//! Knows no image's Dockerfile.

use serde_json::{Value, json};

use crate::model::{Diagnostic, RepoPath};

use super::affected::{Affected, Change, Effect, Why, WhyTest};
use super::git::Git;
use super::types::{ChangeMode, ChangePolicy, Stack};

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
    let mut change = Change { first_run, ..Change::default() };
    let Some(git) = git else {
        return match since {
            Since::Files(files) => Ok(Change { files: files.clone(), ..change }),
            _ => Err(Diagnostic::error("`affected` needs a git repository to know what changed")
                .help("name the files: cargo xtask affected --files FILE…")),
        };
    };
    change.branch = git.branch()?;
    let last_message = || git.head().map(|head| head.map(|head| head.message).into_iter().collect());
    match since {
        Since::Files(files) => change.files.clone_from(files),
        Since::Base(base) => {
            change.files = git.changed_since(base)?;
            change.messages = git.messages_since(base)?;
        }
        Since::Policy if is_whole_branch(policy, change.branch.as_deref()) => {
            change.files = git.changed_since(&policy.base)?;
            change.messages = git.messages_since(&policy.base)?;
        }
        Since::Policy => {
            change.files = git.changed_in_last_commit()?;
            change.files.extend(git.changed_on_disk()?);
            change.files.sort();
            change.files.dedup();
            change.messages = last_message()?;
        }
    }
    Ok(change)
}

/// On the base branch itself there is nothing to compare with: its last commit counts.
fn is_whole_branch(policy: &ChangePolicy, branch: Option<&str>) -> bool {
    policy.mode == ChangeMode::Branch && branch != Some(policy.base.as_str())
}

/// One line per image and per image of which only the tests run, with the chain that leads there.
pub fn lines(stack: &Stack, found: &Affected) -> Vec<String> {
    let built = found.images.keys().map(|at| format!("build {}", found.chain(stack, *at).join(" -> ")));
    let only_tests = found.tests.iter().filter(|(_, why)| **why != WhyTest::Built);
    let tested = only_tests.map(|(at, _)| format!("test {}", found.test_chain(stack, *at).join(" -> ")));
    built.chain(tested).collect()
}

/// The same for programs: `images`, `tests` and `files`, in the order of the stack and of the files.
pub fn to_json(stack: &Stack, found: &Affected) -> Value {
    let key = |at: &usize| json!(&*stack.images[*at].key);
    let images: Vec<Value> = found
        .images
        .iter()
        .map(|(at, why)| {
            let reason = match why {
                Why::Full(full) => json!({ "full_rebuild": full.to_string() }),
                Why::File(file) => json!({ "file": file.lossy() }),
                Why::Parent(parent) => json!({ "parent": key(parent) }),
            };
            json!({ "image": key(at), "reason": reason, "chain": found.chain(stack, *at) })
        })
        .collect();
    let tests: Vec<Value> =
        found.tests.keys().map(|at| json!({ "image": key(at), "chain": found.test_chain(stack, *at) })).collect();
    let files: Vec<Value> = found
        .files
        .iter()
        .map(|(file, effect)| {
            let image = match effect {
                Effect::Image(at) | Effect::Tests(at) => key(at),
                _ => Value::Null,
            };
            json!({ "file": file.lossy(), "effect": effect.to_string(), "image": image })
        })
        .collect();
    json!({ "v": 1, "images": images, "tests": tests, "files": files })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::stack::affected::affected;
    use crate::stack::graph::resolve;
    use crate::stack::spec::{Folder, Source, parse};

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

    #[test]
    fn the_answer_has_lines_and_json() {
        let folders = ["a", "b"].map(|name| Folder { path: name.to_owned(), has_dockerfile: true }).to_vec();
        let text = "version: 1\nimages:\n  a: {image_name: lab/a}\n  b: {image_name: lab/b}\n";
        let stack = parse(&Source { file: "images/spec.yml", text, folders, change_ignore: None }).unwrap();
        let (stack, graph) = resolve(stack, None, |_, _| Ok(Vec::new())).unwrap();
        let file = |path: &str| RepoPath::from_root(path).unwrap();
        let change = Change { files: vec![file("images/a/x"), file("images/b/test/t.py")], ..Change::default() };
        let found = affected(&stack, &graph, &change, &|_, _| None);
        assert_eq!(lines(&stack, &found), ["build images/a/x -> a", "test images/b/test/t.py -> tests of b"]);
        assert_eq!(
            to_json(&stack, &found),
            json!({
                "v": 1,
                "images": [{ "image": "a", "reason": { "file": "images/a/x" }, "chain": ["images/a/x", "a"] }],
                "tests": [
                    { "image": "a", "chain": ["images/a/x", "a", "tests of a"] },
                    { "image": "b", "chain": ["images/b/test/t.py", "tests of b"] },
                ],
                "files": [
                    { "file": "images/a/x", "effect": "its image", "image": "a" },
                    { "file": "images/b/test/t.py", "effect": "tests of its image", "image": "b" },
                ],
            })
        );
    }
}
