//! Files from elsewhere in the repository that a template brings into its build context. Knows nothing of what they are.
//!
//! The names in the context come from what is asked for, so that they are the same on every machine and in every run.
//! The rendered Dockerfile tells at its end what each name stands for: it is all that a build needs to know.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde::{Deserialize, Serialize};

use super::project;
use crate::model::{Digest, RepoPath};

/// The folder of the context below which everything lies that was brought.
pub const FOLDER: &str = "_brought";
/// Begins a line at the end of a rendered Dockerfile.
const MARK: &str = "# brought: ";

/// What never belongs into an image, of a project in development.
const NOISE: [&str; 16] = [
    "**/.git",
    "**/.venv",
    "venv",
    "**/.idea",
    "**/.vscode",
    "**/__pycache__",
    "**/*.pyc",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/*.egg-info",
    "**/*.log",
    "**/wandb",
    "**/*.pth",
    "**/*.pkl",
    "**/*.mdb",
];

/// A file or a folder of the repository under a name in the context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Brought {
    /// Below [`FOLDER`].
    pub name: String,
    /// Relative to the root of the repository.
    pub from: String,
    /// Patterns as in .dockerignore, relative to `from`, the last that matches decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

impl Brought {
    fn new(from: &RepoPath, exclude: Vec<String>) -> Self {
        let from = from.lossy();
        let request = serde_json::json!([from, exclude]).to_string();
        let name = Digest::of(request.as_bytes()).hex()[..16].to_owned();
        Self { name, from, exclude }
    }

    /// The path in the context.
    pub fn path(&self) -> String {
        format!("{FOLDER}/{}", self.name)
    }
}

/// Writes what was brought behind a rendered Dockerfile.
pub(super) fn append(text: &mut String, brought: &[Brought]) {
    for one in brought {
        if let Ok(json) = serde_json::to_string(one) {
            text.push_str(MARK);
            text.push_str(&json);
            text.push('\n');
        }
    }
}

/// The text without what [`append`] wrote.
pub fn without(text: &str) -> &str {
    let marks: usize = text.split_inclusive('\n').rev().take_while(|line| line.starts_with(MARK)).map(str::len).sum();
    &text[..text.len() - marks]
}

/// What a rendered Dockerfile says at its end.
pub fn parse(text: &str) -> Vec<Brought> {
    let last = text.lines().rev().map_while(|line| line.strip_prefix(MARK));
    let mut found: Vec<Brought> = last.filter_map(|json| serde_json::from_str(json).ok()).collect();
    found.reverse();
    found
}

/// The functions `bring` and `project` of one rendering, and what was asked of them.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) root: PathBuf,
    brought: Mutex<BTreeMap<String, Brought>>,
    read: Mutex<Vec<PathBuf>>,
}

impl Asked {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, ..Self::default() }
    }

    /// `bring(from, exclude=[…], only=[…])`: the path in the context; of a folder with a `/` at its end, because COPY
    /// then takes what is in it.
    pub(super) fn bring(&self, from: &str, named: &Kwargs) -> Result<Value, Error> {
        let exclude = named.get::<Option<Vec<String>>>("exclude")?.unwrap_or_default();
        let only = named.get::<Option<Vec<String>>>("only")?.unwrap_or_default();
        named.assert_all_used()?;
        let path = repository_path(from)?;
        let full = self.root.join(path.as_path());
        let Ok(meta) = full.metadata() else {
            return Err(refuse(format!(
                "brings `{from}`, which is not there: name a file or folder of the repository"
            )));
        };
        let mut rules: Vec<String> = Vec::new();
        if !only.is_empty() {
            rules.push("**".to_owned());
            rules.extend(only.iter().map(|pattern| format!("!{pattern}")));
        }
        rules.extend(exclude);
        if let Some(bad) = rules.iter().find(|rule| rule.contains(['\n', '\r']) || rule.trim().is_empty()) {
            return Err(refuse(format!("brings `{from}` with the pattern `{}`", bad.escape_debug())));
        }
        let one = Brought::new(&path, rules);
        let mut text = one.path();
        if meta.is_dir() {
            text.push('/');
        } else {
            text = format!("{text}/{}", path.as_path().file_name().unwrap_or_default().to_string_lossy());
        }
        self.brought.lock().unwrap_or_else(PoisonError::into_inner).insert(one.name.clone(), one);
        Ok(Value::from_safe_string(text))
    }

    /// `project(dir, kind="auto")`: its `kind`, the names of its `locked` files, and what to `exclude`.
    pub(super) fn project(&self, dir: &str, named: &Kwargs) -> Result<Value, Error> {
        let kind = named.get::<Option<String>>("kind")?.unwrap_or_else(|| "auto".to_owned());
        named.assert_all_used()?;
        let path = repository_path(dir)?;
        let found = project::detect(&self.root.join(path.as_path()), &kind)
            .map_err(|unclear| refuse(format!("installs `{dir}`, which {unclear}")))?;
        self.read
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(found.read.iter().map(|name| path.as_path().join(name)));
        Ok(Value::from_pairs([
            ("kind", Value::from(found.kind.name())),
            ("locked", found.locked.iter().map(|name| Value::from(*name)).collect()),
            ("exclude", NOISE.iter().map(|pattern| Value::from(*pattern)).collect()),
        ]))
    }

    /// What was brought, by name, and the files that were read.
    pub(super) fn take(&self) -> (Vec<Brought>, Vec<PathBuf>) {
        let brought = std::mem::take(&mut *self.brought.lock().unwrap_or_else(PoisonError::into_inner));
        let read = std::mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner));
        (brought.into_values().collect(), read)
    }
}

fn repository_path(text: &str) -> Result<RepoPath, Error> {
    RepoPath::from_root(text).ok_or_else(|| refuse(format!("names `{text}`, which lies outside the repository")))
}

fn refuse(why: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m02_m03_names_depend_on_what_is_asked_and_on_nothing_else() {
        let path = RepoPath::from_root("libs/a").unwrap();
        let one = Brought::new(&path, vec!["x".into(), "!x/y".into()]);
        assert_eq!(one, Brought::new(&path, vec!["x".into(), "!x/y".into()]));
        assert_ne!(one.name, Brought::new(&path, vec!["!x/y".into(), "x".into()]).name, "the order of patterns counts");
        assert_eq!(one.name.len(), 16);
    }

    #[test]
    fn a_rendered_file_says_what_was_brought() {
        let one = Brought::new(&RepoPath::from_root("libs/ä b").unwrap(), vec!["x".into()]);
        let two = Brought::new(&RepoPath::from_root("data").unwrap(), Vec::new());
        let mut text = "FROM scratch\n# brought: by hand\nRUN true\n".to_owned();
        append(&mut text, &[one.clone(), two.clone()]);
        assert_eq!(parse(&text), [one, two]);
        assert_eq!(without(&text), "FROM scratch\n# brought: by hand\nRUN true\n");
        assert_eq!(parse("FROM scratch\n"), []);
    }
}
