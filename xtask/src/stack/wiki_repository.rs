//! Publishes pages: a clone of the wiki's repository, one commit, one push. Knows nothing of what the pages say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::model::Diagnostic;

/// How often a push is tried anew after somebody else was faster.
const TRIES: u32 = 3;

/// A clone of the wiki.
#[derive(Clone, Debug)]
pub struct WikiRepository {
    shell: Shell,
    dir: PathBuf,
    environment: BTreeMap<OsString, OsString>,
}

/// What is to be other in the wiki.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Name and new text of a page.
    pub pages: Vec<(String, String)>,
    /// Names of pages that go, if they are there.
    pub gone: Vec<String>,
}

impl Change {
    /// Does it to the files of a folder, which is made if need be.
    ///
    /// Errors: a name is no plain name; a file cannot be written or removed.
    pub fn apply_to(&self, dir: &Path) -> Result<(), Diagnostic> {
        self.pages.iter().try_for_each(|(name, text)| WikiRepository::write_in(dir, name, text))?;
        self.gone.iter().try_for_each(|name| match std::fs::remove_file(dir.join(plain(name)?)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Diagnostic::error(format!("failed to remove page `{name}`")).cause(error))
            }
            _ => Ok(()),
        })
    }
}

/// What came of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Every page was as it should be already.
    Unchanged,
    Pushed,
}

impl WikiRepository {
    /// Clones `url` into `dir`, or brings the clone that is there up to date, whatever was in it.
    ///
    /// `environment` is that of the caller: it says how git logs in.
    ///
    /// Errors: the repository cannot be reached; `dir` holds something else.
    pub fn open(url: &str, dir: &Path, environment: &BTreeMap<OsString, OsString>) -> Result<Self, Diagnostic> {
        let failed = |error: xshell::Error| Diagnostic::error("failed to start git").cause(error);
        let is_place =
            |name: &OsString| ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"].iter().any(|place| name == place);
        let mut environment: BTreeMap<OsString, OsString> = environment
            .iter()
            .filter(|(name, _)| !is_place(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        // Nobody is there to type a password.
        environment.insert("GIT_TERMINAL_PROMPT".into(), "0".into());
        let wiki = Self { shell: Shell::new().map_err(failed)?, dir: dir.to_owned(), environment };
        std::fs::create_dir_all(dir)
            .map_err(|error| Diagnostic::error(format!("failed to make folder `{}`", dir.display())).cause(error))?;
        if !dir.join(".git").exists() {
            wiki.git(&["init", "--quiet"])?;
        }
        // Not `clone`: the folder may hold the marker `.empty`, and an empty wiki has no branch.
        let known = wiki.git(&["remote"])?;
        let verb = if known.lines().any(|name| name == "origin") { "set-url" } else { "add" };
        wiki.git(&["remote", verb, "origin", url])?;
        wiki.update()?;
        Ok(wiki)
    }

    /// Where the pages are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The text of a page; empty if there is none.
    ///
    /// Errors: it cannot be read.
    pub fn page(&self, name: &str) -> Result<String, Diagnostic> {
        Self::page_in(&self.dir, name)
    }

    /// The same of a folder that is no clone of anything.
    ///
    /// Errors: it cannot be read.
    pub fn page_in(dir: &Path, name: &str) -> Result<String, Diagnostic> {
        match std::fs::read_to_string(dir.join(name)) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(Diagnostic::error(format!("failed to read page `{name}`")).cause(error)),
        }
    }

    /// Changes pages, commits and pushes. `change` gets the wiki as it is now and says what is to be other; it is asked
    /// again if somebody else pushed in between.
    ///
    /// Errors: those of `change`; the push is refused.
    pub fn publish(
        &self,
        message: &str,
        mut change: impl FnMut(&Self) -> Result<Change, Diagnostic>,
    ) -> Result<Published, Diagnostic> {
        let mut attempt = 1;
        loop {
            let change = change(self)?;
            change.apply_to(&self.dir)?;
            for (name, _) in &change.pages {
                self.git(&["add", "--", name])?;
            }
            for name in &change.gone {
                self.git(&["rm", "--quiet", "--cached", "--ignore-unmatch", "--", name])?;
            }
            // Whatever else lies in the folder is not ours to publish.
            if self.git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
                return Ok(Published::Unchanged);
            }
            let identity = self.identity();
            let commit = ["commit", "--quiet", "-m", message];
            self.git(&identity.iter().map(String::as_str).chain(commit).collect::<Vec<_>>())?;
            match self.git(&["push", "--quiet", "origin", "HEAD"]) {
                Ok(_) => return Ok(Published::Pushed),
                Err(error) if attempt == TRIES => return Err(error.note("the pages are not published")),
                Err(_) => self.update()?,
            }
            attempt += 1;
        }
    }

    /// Writes a page into a folder, which is made if need be.
    ///
    /// Errors: `name` is no plain name; it cannot be written.
    pub fn write_in(dir: &Path, name: &str, text: &str) -> Result<(), Diagnostic> {
        let path = dir.join(plain(name)?);
        std::fs::create_dir_all(dir)
            .and_then(|()| std::fs::write(path, text))
            .map_err(|error| Diagnostic::error(format!("failed to write page `{name}`")).cause(error))
    }

    /// Makes the clone equal to the remote's branch, so that a push goes there; an empty remote leaves it as it is.
    fn update(&self) -> Result<(), Diagnostic> {
        let refs = self.git(&["ls-remote", "--symref", "origin", "HEAD"])?;
        let branch = refs.lines().find_map(|line| line.strip_prefix("ref: refs/heads/")?.split('\t').next());
        let (Some(branch), Some(_)) = (branch, refs.lines().find(|line| !line.starts_with("ref: "))) else {
            return Ok(());
        };
        self.git(&["fetch", "--quiet", "origin", "HEAD"])?;
        self.git(&["checkout", "--quiet", "--force", "-B", branch, "FETCH_HEAD"])?;
        Ok(())
    }

    /// In CI nobody has told git a name.
    fn identity(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (key, value) in [("user.name", "xtask"), ("user.email", "xtask@localhost")] {
            if self.git(&["config", key]).unwrap_or_default().trim().is_empty() {
                words.extend(["-c".to_owned(), format!("{key}={value}")]);
            }
        }
        words
    }

    fn git(&self, args: &[&str]) -> Result<String, Diagnostic> {
        let shell = &self.shell;
        let _in_wiki = shell.push_dir(&self.dir);
        let run = cmd!(shell, "git {args...}").env_clear().envs(&self.environment).quiet().ignore_status().output();
        let output = run.map_err(|error| Diagnostic::error("failed to run git").cause(error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let verb = args.iter().find(|word| !word.starts_with('-') && !word.contains('=')).copied().unwrap_or_default();
        Err(super::git::refused(&[verb], &String::from_utf8_lossy(&output.stderr)))
    }
}

/// Names come from tags of images; none may lead out of the folder, or into git's own.
fn plain(name: &str) -> Result<&str, Diagnostic> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(Diagnostic::error(format!("`{name}` is no name of a page")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Remote {
        dir: tempfile::TempDir,
        environment: BTreeMap<OsString, OsString>,
    }

    impl Remote {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut environment: BTreeMap<OsString, OsString> =
                std::env::vars_os().filter(|(name, _)| name == "PATH").collect();
            environment.insert("HOME".into(), dir.path().into());
            environment.insert("GIT_INDEX_FILE".into(), "/nonexistent".into());
            let remote = Self { dir, environment };
            remote.git(&["init", "--quiet", "--bare", "-b", "trunk", "wiki.git"]);
            remote
        }

        fn git(&self, args: &[&str]) -> String {
            let output = std::process::Command::new("git")
                .args(args)
                .current_dir(self.dir.path())
                .env_clear()
                .envs(self.environment.iter().filter(|(name, _)| *name != "GIT_INDEX_FILE"))
                .output()
                .unwrap();
            assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        }

        fn url(&self) -> String {
            self.dir.path().join("wiki.git").to_str().unwrap().to_owned()
        }

        fn open(&self, name: &str) -> WikiRepository {
            WikiRepository::open(&self.url(), &self.dir.path().join(name), &self.environment).unwrap()
        }

        fn page(&self, name: &str) -> String {
            self.git(&["--git-dir", "wiki.git", "show", &format!("HEAD:{name}")])
        }
    }

    fn page(name: &str, text: String) -> Change {
        Change { pages: vec![(name.to_owned(), text)], ..Change::default() }
    }

    fn add(wiki: &WikiRepository, line: &str) -> Result<Change, Diagnostic> {
        Ok(page("Home.md", format!("{line}\n{}", wiki.page("Home.md")?)))
    }

    #[test]
    fn pages_are_pushed_once() {
        let remote = Remote::new();
        std::fs::create_dir(remote.dir.path().join("wiki")).unwrap();
        std::fs::write(remote.dir.path().join("wiki/.empty"), "").unwrap();
        // An empty remote does not tell its branch.
        let wiki = remote.open("wiki");
        wiki.git(&["checkout", "--quiet", "-b", "trunk"]).unwrap();
        assert_eq!(wiki.publish("one", |wiki| add(wiki, "one")).unwrap(), Published::Pushed);
        assert_eq!(remote.page("Home.md"), "one\n");
        let same = |wiki: &WikiRepository| Ok(page("Home.md", wiki.page("Home.md")?));
        assert_eq!(wiki.publish("same", same).unwrap(), Published::Unchanged);
        assert_eq!(remote.git(&["--git-dir", "wiki.git", "log", "--format=%s"]), "one\n");
        wiki.publish("two", |_| Ok(page("Other.md", String::new()))).unwrap();
        let gone = ["Home.md", "Never.md"].map(str::to_owned).to_vec();
        let without = Change { gone, ..Change::default() };
        assert_eq!(wiki.publish("gone", |_| Ok(without.clone())).unwrap(), Published::Pushed);
        assert_eq!(remote.git(&["--git-dir", "wiki.git", "ls-tree", "--name-only", "HEAD"]), "Other.md\n");
        assert_eq!(wiki.publish("gone", |_| Ok(without.clone())).unwrap(), Published::Unchanged);
    }

    #[test]
    fn who_is_late_changes_the_newer_page() {
        let remote = Remote::new();
        let first = remote.open("first");
        first.git(&["checkout", "--quiet", "-b", "trunk"]).unwrap();
        first.publish("start", |wiki| add(wiki, "start")).unwrap();
        let late = remote.open("late");
        let mut raced = false;
        let published = late.publish("late", |wiki| {
            let pages = add(wiki, "late")?;
            if !std::mem::replace(&mut raced, true) {
                first.publish("fast", |wiki| add(wiki, "fast"))?;
            }
            Ok(pages)
        });
        assert_eq!(published.unwrap(), Published::Pushed);
        assert_eq!(remote.page("Home.md"), "late\nfast\nstart\n");
    }

    #[test]
    fn a_wiki_that_is_not_there_is_an_error() {
        let remote = Remote::new();
        let url = remote.dir.path().join("absent.git");
        let opened = WikiRepository::open(url.to_str().unwrap(), &remote.dir.path().join("w"), &remote.environment);
        assert_eq!(opened.unwrap_err().message, "`git ls-remote` failed");
        let wiki = remote.open("wiki");
        let error = wiki.publish("x", |_| Ok(page("../evil", String::new()))).unwrap_err();
        assert_eq!(error.message, "`../evil` is no name of a page");
    }
}
