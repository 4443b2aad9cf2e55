//! Real repositories in temporary folders.

use super::*;

struct Repo {
    dir: tempfile::TempDir,
    environment: BTreeMap<OsString, OsString>,
}

impl Repo {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut environment: BTreeMap<OsString, OsString> =
            std::env::vars_os().filter(|(name, _)| name == "PATH").collect();
        environment.insert("HOME".into(), dir.path().into());
        let repo = Self { dir, environment };
        repo.git("init -q -b main .");
        repo
    }

    /// Runs git with words that are separated by spaces.
    fn git(&self, words: &str) {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always"])
            .args(words.split(' '))
            .current_dir(self.dir.path())
            .env_clear()
            .envs(&self.environment)
            .env("GIT_AUTHOR_DATE", "1700000000 +0000")
            .env("GIT_COMMITTER_DATE", "1700000000 +0000")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn commit(&self, path: &str, text: &str) {
        self.write(path, text);
        self.git("add -A");
        self.git(&format!("commit -q -m {}", path.trim()));
    }

    fn open(&self) -> Git {
        Git::open(self.dir.path(), &self.environment).unwrap().unwrap()
    }
}

fn names(files: &[RepoPath]) -> Vec<String> {
    files.iter().map(RepoPath::lossy).collect()
}

#[test]
fn outside_of_a_repository_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let environment = std::env::vars_os().collect();
    assert!(Git::open(dir.path(), &environment).unwrap().is_none());
}

#[test]
fn an_empty_repository_has_no_commit() {
    let repo = Repo::new();
    let git = repo.open();
    assert_eq!(git.head().unwrap(), None);
    assert_eq!(git.branch().unwrap().as_deref(), Some("main"));
    assert_eq!(git.remote_url().unwrap(), None);
    assert_eq!(git.changed_in_last_commit().unwrap(), []);
    repo.write("new", "1");
    assert_eq!(names(&git.changed_on_disk().unwrap()), ["new"]);
    assert!(git.is_dirty().unwrap());
}

#[test]
fn the_first_commit_changes_all_files_with_their_odd_names() {
    let repo = Repo::new();
    repo.commit("images/base/vars.sh ", "1");
    repo.commit("ünicode", "1");
    let git = repo.open();
    assert_eq!(names(&git.changed_in_last_commit().unwrap()), ["ünicode"]);
    repo.git("checkout -q HEAD~1");
    assert_eq!(names(&git.changed_in_last_commit().unwrap()), ["images/base/vars.sh "]);
    assert_eq!(git.branch().unwrap(), None);
    let head = git.head().unwrap().unwrap();
    assert_eq!((head.hash.len(), head.short().len(), head.time), (40, 7, 1_700_000_000));
    assert_eq!(head.message, "images/base/vars.sh");
    assert!(!git.is_dirty().unwrap());
}

#[test]
fn a_renamed_file_counts_under_both_names() {
    let repo = Repo::new();
    repo.commit("images/a/file", "long enough to be seen as a rename\n");
    repo.git("mv images/a/file images/file2");
    repo.git("commit -q -m move");
    assert_eq!(names(&repo.open().changed_in_last_commit().unwrap()), ["images/a/file", "images/file2"]);
}

#[test]
fn a_merge_shows_what_it_brought() {
    let repo = Repo::new();
    repo.commit("base", "1");
    repo.git("checkout -q -b topic");
    repo.commit("one", "1");
    repo.commit("two", "1");
    repo.git("checkout -q main");
    repo.commit("main-only", "1");
    repo.git("merge -q --no-ff -m merge topic");
    let git = repo.open();
    assert_eq!(names(&git.changed_in_last_commit().unwrap()), ["one", "two"]);
    repo.git("checkout -q topic");
    repo.write("on disk", "1");
    repo.write("one", "2");
    assert_eq!(names(&git.changed_since("main~1").unwrap()), ["on disk", "one", "two"]);
    assert_eq!(git.messages_since("main~1").unwrap(), ["two", "one"]);
    assert_eq!(names(&git.changed_on_disk().unwrap()), ["on disk", "one"]);
    let error = git.changed_since("mian").unwrap_err().to_string();
    assert_eq!(
        error,
        "error: `mian` is no branch or commit that is known here\n  help: fetch it: git fetch origin mian"
    );
    assert!(git.changed_since("--output=x").is_err());
}

#[test]
fn a_folder_below_the_top_sees_its_own_files() {
    let repo = Repo::new();
    repo.commit("stack/images/a", "1");
    repo.commit("other", "1");
    repo.write("stack/images/b", "1");
    repo.write("stack/images/a", "2");
    repo.write("outside", "1");
    let git = Git::open(&repo.dir.path().join("stack"), &repo.environment).unwrap().unwrap();
    assert_eq!(names(&git.changed_on_disk().unwrap()), ["images/a", "images/b"]);
    assert_eq!(names(&git.changed_in_last_commit().unwrap()), Vec::<String>::new());
}

#[test]
fn variables_of_another_repository_do_not_mislead() {
    let (repo, other) = (Repo::new(), Repo::new());
    repo.commit("here", "1");
    other.commit("there", "1");
    let mut environment = repo.environment.clone();
    environment.insert("GIT_DIR".into(), other.dir.path().join(".git").into());
    environment.insert("GIT_INDEX_FILE".into(), "/nonexistent".into());
    let git = Git::open(repo.dir.path(), &environment).unwrap().unwrap();
    assert_eq!(names(&git.changed_in_last_commit().unwrap()), ["here"]);
}

#[test]
fn looking_takes_no_lock() {
    let repo = Repo::new();
    repo.commit("file", "1");
    repo.write(".git/index.lock", "");
    let git = repo.open();
    assert!(!git.is_dirty().unwrap());
    assert_eq!(names(&git.changed_in_last_commit().unwrap()), ["file"]);
}

#[test]
fn a_remote_is_told_without_its_password() {
    let repo = Repo::new();
    repo.git("remote add origin https://ada:hunter2@git.example.org/lab/stack.git");
    assert_eq!(repo.open().remote_url().unwrap().as_deref(), Some("https://git.example.org/lab/stack.git"));
    assert_eq!(without_credentials("fatal: 'https://a:b@h/x' and ssh://c@h"), "fatal: 'https://h/x' and ssh://h");
    assert_eq!(without_credentials("git@example.org:lab/x.git"), "git@example.org:lab/x.git");
}

#[test]
fn ci_says_which_branch_it_means() {
    let branch = |set: &[(&str, &str)]| {
        branch_of_ci(&|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    };
    assert_eq!(branch(&[]), None);
    assert_eq!(
        branch(&[("GITHUB_REF_NAME", "fix-merge"), ("GITHUB_EVENT_NAME", "push")]).as_deref(),
        Some("fix-merge")
    );
    let request = [("GITHUB_REF_NAME", "12/merge"), ("GITHUB_REF", "refs/pull/12/merge"), ("GITHUB_HEAD_REF", "topic")];
    assert_eq!(branch(&request).as_deref(), Some("topic"));
    assert_eq!(branch(&[("GITHUB_REF_NAME", "v1"), ("GITHUB_REF_TYPE", "tag")]), None);
    assert_eq!(branch(&[("CI_COMMIT_BRANCH", "main")]).as_deref(), Some("main"));
}
