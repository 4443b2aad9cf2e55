//! What kind of project a folder holds, and which of its files fix its dependencies. Knows nothing of how it is installed.
//!
//! The kinds are those of ml-nexus; a mix of signs is an error here, because a guess would install half of them.

use std::fmt;
use std::path::Path;

/// How a project is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Code that is copied and not installed.
    Source,
    /// Data that is copied whole.
    Resource,
    /// `pyproject.toml` with `uv.lock`, or without any lock of another tool.
    Uv,
    /// `pyproject.toml` with a table `tool.rye`.
    Rye,
    /// `setup.py`.
    SetupPy,
    /// `requirements.txt`.
    Requirements,
}

const KINDS: [Kind; 6] = [Kind::Source, Kind::Resource, Kind::Uv, Kind::Rye, Kind::SetupPy, Kind::Requirements];

impl Kind {
    /// The name in a template.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Resource => "resource",
            Self::Uv => "uv",
            Self::Rye => "rye",
            Self::SetupPy => "setup.py",
            Self::Requirements => "requirements.txt",
        }
    }

    /// The files, in this order, that fix what is installed beside the project itself; those that are absent do not
    /// count, but the first has to be there.
    fn lock_files(self) -> &'static [&'static str] {
        match self {
            Self::Source | Self::Resource => &[],
            Self::Uv => &["pyproject.toml", "uv.lock", ".python-version"],
            Self::Rye => &["requirements.lock", "pyproject.toml"],
            Self::SetupPy => &["setup.py", "setup.cfg"],
            Self::Requirements => &["requirements.txt"],
        }
    }
}

/// Why there is no kind. Follows a subject: the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unclear {
    NoFolder,
    UnknownKind(String),
    /// The file that the kind needs is absent.
    Lacks(Kind, &'static str),
    Poetry,
    /// Signs of several kinds.
    Mixed(Vec<&'static str>),
    Nothing,
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFolder => write!(f, "is no folder of this repository"),
            Self::UnknownKind(kind) => {
                let names: Vec<&str> = KINDS.iter().map(|kind| kind.name()).chain(["auto"]).collect();
                write!(f, "cannot be of the kind `{kind}`: the kinds are {}", names.join(", "))
            }
            Self::Lacks(kind, file) => write!(f, "is of the kind `{}` but has no `{file}`", kind.name()),
            Self::Poetry => write!(
                f,
                "is a poetry project, which is not supported: export its lock to `requirements.txt` and say \
                 `kind=\"requirements.txt\"`"
            ),
            Self::Mixed(signs) => {
                let signs: Vec<String> = signs.iter().map(|sign| format!("`{sign}`")).collect();
                write!(f, "has {}: say which one counts, e.g. `kind=\"uv\"`", signs.join(" and "))
            }
            Self::Nothing => write!(
                f,
                "has neither `pyproject.toml` nor `setup.py` nor `requirements.txt`: say `kind=\"source\"` or \
                 `kind=\"resource\"`"
            ),
        }
    }
}

/// A project in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Project {
    pub(super) kind: Kind,
    /// Names of files in the folder: what the first stage of the installation needs.
    pub(super) locked: Vec<&'static str>,
    /// Names of files that decided; they are inputs of whoever asked.
    pub(super) read: Vec<&'static str>,
}

/// Looks at `dir`; `wanted` is a kind or `auto`.
pub(super) fn detect(dir: &Path, wanted: &str) -> Result<Project, Unclear> {
    if !dir.is_dir() {
        return Err(Unclear::NoFolder);
    }
    let kind = match KINDS.iter().find(|kind| kind.name() == wanted) {
        Some(kind) => *kind,
        None if wanted == "auto" => guess(dir)?,
        None => return Err(Unclear::UnknownKind(wanted.to_owned())),
    };
    let has = |name: &&&str| dir.join(name).is_file();
    let files = kind.lock_files();
    let locked: Vec<&'static str> = files.iter().filter(has).copied().collect();
    match files.first() {
        Some(first) if !locked.contains(first) => Err(Unclear::Lacks(kind, first)),
        _ => Ok(Project { kind, read: locked.clone(), locked }),
    }
}

fn guess(dir: &Path) -> Result<Kind, Unclear> {
    let has = |name: &str| dir.join(name).is_file();
    let signs: Vec<&'static str> =
        ["pyproject.toml", "setup.py", "requirements.txt"].into_iter().filter(|name| has(name)).collect();
    match signs.as_slice() {
        ["pyproject.toml"] => python_project(dir),
        ["setup.py"] => Ok(Kind::SetupPy),
        ["requirements.txt"] => Ok(Kind::Requirements),
        [] if has("README.md") || has("README") => Ok(Kind::Source),
        [] => Err(Unclear::Nothing),
        mixed => Err(Unclear::Mixed(mixed.to_vec())),
    }
}

/// By the tables of the file, not by words in it: a comment that names poetry makes no poetry project. A header of a
/// table begins its line, so no parser is needed to find one.
fn python_project(dir: &Path) -> Result<Kind, Unclear> {
    let text = std::fs::read_to_string(dir.join("pyproject.toml")).unwrap_or_default();
    let has_table = |name: &str| {
        text.lines()
            .filter_map(|line| line.trim_start().trim_start_matches('[').strip_prefix("tool."))
            .any(|rest| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with([']', '.'])))
    };
    let locks: Vec<&'static str> =
        ["uv.lock", "requirements.lock"].into_iter().filter(|name| dir.join(name).is_file()).collect();
    match (has_table("poetry"), has_table("rye"), locks.as_slice()) {
        (true, ..) => Err(Unclear::Poetry),
        (_, _, ["uv.lock", "requirements.lock"]) => Err(Unclear::Mixed(locks)),
        (_, true, _) => Ok(Kind::Rye),
        (_, false, _) => Ok(Kind::Uv),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn kind(files: &[(&str, &str)]) -> Result<Kind, Unclear> {
        detect(folder(files).path(), "auto").map(|project| project.kind)
    }

    #[test]
    fn m22_each_kind_is_known_by_its_own_files() {
        assert_eq!(kind(&[("setup.py", "")]), Ok(Kind::SetupPy));
        assert_eq!(kind(&[("requirements.txt", "")]), Ok(Kind::Requirements));
        assert_eq!(kind(&[("pyproject.toml", "[project]\nname = 'poetry-like'\n# rye\n")]), Ok(Kind::Uv));
        assert_eq!(
            kind(&[("pyproject.toml", "[tool.rye]\nmanaged = true\n"), ("requirements.lock", "")]),
            Ok(Kind::Rye)
        );
        assert_eq!(kind(&[("README.md", "")]), Ok(Kind::Source));
    }

    #[test]
    fn m22_a_mix_or_nothing_is_an_error_that_says_what_to_do() {
        let mixed = kind(&[("setup.py", ""), ("requirements.txt", "")]).unwrap_err();
        assert_eq!(
            mixed.to_string(),
            "has `setup.py` and `requirements.txt`: say which one counts, e.g. `kind=\"uv\"`"
        );
        let two = kind(&[("pyproject.toml", ""), ("uv.lock", ""), ("requirements.lock", "")]).unwrap_err();
        assert_eq!(two, Unclear::Mixed(vec!["uv.lock", "requirements.lock"]));
        assert_eq!(kind(&[("pyproject.toml", "[tool.poetry]\n")]), Err(Unclear::Poetry));
        assert_eq!(kind(&[("main.c", "")]), Err(Unclear::Nothing));
        assert_eq!(detect(Path::new("/nowhere/at/all"), "auto"), Err(Unclear::NoFolder));
    }

    #[test]
    fn a_kind_that_is_told_needs_its_file() {
        let dir = folder(&[("pyproject.toml", "[tool.rye]\n"), ("requirements.txt", "")]);
        assert_eq!(detect(dir.path(), "requirements.txt").unwrap().locked, ["requirements.txt"]);
        assert_eq!(detect(dir.path(), "rye"), Err(Unclear::Lacks(Kind::Rye, "requirements.lock")));
        assert_eq!(detect(dir.path(), "source").unwrap().locked, [""; 0]);
        assert!(detect(dir.path(), "conda").unwrap_err().to_string().contains("the kinds are source, resource, uv"));
    }
}
