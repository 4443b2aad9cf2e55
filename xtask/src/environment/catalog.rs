//! Finds the environments of a repository: `environments/<name>_environment/` with `metadata.yml` and a Dockerfile.
//! Every error is told at once, with its place. Knows no engine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::metadata::{self, Metadata};
use crate::model::{Diagnostic, Diagnostics, Place, RepoPath};
use crate::stack::{Image, Plan};
use crate::taskfile::{Errors, yaml};

/// The folder that holds all environments.
pub const FOLDER: &str = "environments";
/// Every environment's name ends with this.
pub const SUFFIX: &str = "_environment";
/// Label of an image and of a container: the environment's name.
pub const NAME_LABEL: &str = "dev.xtask.environment";

/// One environment; of a folder with a `matrix`, one cell of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// As people name it: `python_environment`, or with a matrix `python_environment-3.9`.
    pub name: Arc<str>,
    /// Relative to the root.
    pub folder: RepoPath,
    /// What the matrix gives this one, behind the folder's name.
    pub variant: Option<String>,
    pub build_args: BTreeMap<String, String>,
    pub metadata: Arc<Metadata>,
    /// Of `metadata.yml`.
    pub place: Place,
}

impl Environment {
    /// The name of the folder, which is that of the metadata.
    pub fn family(&self) -> &str {
        &self.metadata.name
    }

    pub fn dockerfile(&self) -> String {
        format!("Dockerfile_{}", self.metadata.name)
    }

    /// The environment as an image beside those of the stack, built for one plan.
    pub fn image(&self, plans: &[Plan]) -> Image {
        let meta = &self.metadata;
        let name = meta.image_name.clone().unwrap_or_else(|| format!("{FOLDER}/{}", meta.name));
        let mut image = Image::new(&self.name, &name, self.folder.clone(), self.place.clone());
        let plan = meta.plan.as_ref().map_or_else(|| plans.first().map(|plan| &*plan.name), |plan| Some(&*plan.value));
        image.skip_plans =
            plans.iter().filter(|other| Some(&*other.name) != plan).map(|plan| plan.name.to_string()).collect();
        image.dockerfile = self.dockerfile();
        image.variant.clone_from(&self.variant);
        image.build_args.clone_from(&self.build_args);
        image.title = Some(self.name.to_string());
        image.description = Some(meta.short_description.clone());
        image.labels.insert(NAME_LABEL.to_owned(), self.name.to_string());
        image.labels.insert("org.opencontainers.image.version".to_owned(), meta.version.to_string());
        image.labels.insert("org.opencontainers.image.authors".to_owned(), meta.creator.clone());
        image
    }
}

/// All environments below `root`, sorted by name; none where there is no such folder.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn load(root: &Path) -> Result<Vec<Environment>, Diagnostics> {
    let dir = root.join(FOLDER);
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let at = Place::file(FOLDER);
            return Err(Diagnostic::error(format!("folder `{FOLDER}` cannot be read")).at(at).cause(error).into());
        }
    };
    let mut folders: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    folders.sort();
    let mut errors = Errors::new();
    let mut found = Vec::new();
    for folder in &folders {
        found.extend(one(root, folder, &mut errors));
    }
    unique_keys(&found, &mut errors);
    errors.finish()?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The metadata files of all environments, relative to the root.
pub fn files(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join(FOLDER)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut files: Vec<String> = names.map(|name| format!("{FOLDER}/{name}/metadata.yml")).collect();
    files.retain(|file| root.join(file).is_file());
    files.sort();
    files
}

/// The environment of this name, or with this `key`.
///
/// # Errors
/// There is none, or a whole family; the message names similar ones.
pub fn find<'e>(all: &'e [Environment], name: &str) -> Result<&'e Environment, Diagnostic> {
    if let Some(found) = all.iter().find(|environment| &*environment.name == name) {
        return Ok(found);
    }
    let known: Vec<&str> = all.iter().map(|environment| &*environment.name).collect();
    let is_meant = |environment: &&Environment| environment.family() == name || environment.metadata.key.value == name;
    let members: Vec<&Environment> = all.iter().filter(is_meant).collect();
    if let [one] = members[..]
        && one.metadata.key.value == name
    {
        return Ok(one);
    }
    let members: Vec<&str> = members.into_iter().map(|environment| &*environment.name).collect();
    let error = Diagnostic::error(format!("environment `{name}` does not exist"));
    if !members.is_empty() {
        let names = crate::model::words::list(&members);
        return Err(Diagnostic::error(format!("environment `{name}` is a family, expected one of {names}")));
    }
    let short = known.iter().find(|known| known.strip_suffix(SUFFIX) == Some(name));
    Err(match short {
        Some(full) => error.help(format!("cargo xtask env run {full}")),
        None if known.is_empty() => error.help(format!("make it: mkdir -p {FOLDER}/{name}{}", suffix_of(name))),
        None => error.maybe_help(crate::model::words::suggest("environment", name, &known)),
    })
}

fn suffix_of(name: &str) -> &'static str {
    if name.ends_with(SUFFIX) { "" } else { SUFFIX }
}

fn one(root: &Path, folder: &str, errors: &mut Errors) -> Vec<Environment> {
    let path = format!("{FOLDER}/{folder}");
    let file = format!("{path}/metadata.yml");
    naming(root, folder, &path, errors);
    let bytes = match std::fs::read(root.join(&file)) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("environment `{folder}` has no `metadata.yml` that can be read");
            errors.push(Diagnostic::error(message).at(Place::file(&file)).cause(error));
            return Vec::new();
        }
    };
    let node = match yaml::parse(&file, &bytes) {
        Ok(node) => node,
        Err(problems) => {
            errors.extend(problems);
            return Vec::new();
        }
    };
    let Some(metadata) = metadata::read(&node, folder, errors) else { return Vec::new() };
    let folder = RepoPath::from_root(&path).unwrap_or_else(RepoPath::root);
    members(&Arc::new(metadata), &folder, &Place::file(&file))
}

/// The naming rule: folder, name of the metadata and Dockerfile agree.
fn naming(root: &Path, folder: &str, path: &str, errors: &mut Errors) {
    let start = folder.strip_suffix(SUFFIX).unwrap_or_default();
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if start.is_empty() || !start.starts_with(|c: char| c.is_ascii_lowercase()) || !folder.chars().all(fine) {
        let message = format!(
            "folder `{path}` breaks the naming rule, expected `<name>{SUFFIX}` of small letters, digits and `_`"
        );
        let plain: String = folder.to_lowercase().chars().map(|c| if fine(c) { c } else { '_' }).collect();
        let better = format!("{plain}{}", suffix_of(&plain));
        errors.push(
            Diagnostic::error(message)
                .at(Place::file(path))
                .help(format!("git mv {path} {FOLDER}/{better}"))
                .note("folder, `name` of metadata.yml and `Dockerfile_<name>` are the same word"),
        );
    }
    let wanted = format!("Dockerfile_{folder}");
    if root.join(path).join(&wanted).is_file() {
        return;
    }
    let entries = std::fs::read_dir(root.join(path)).into_iter().flatten().flatten();
    let other = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("Dockerfile"))
        .min();
    let error = Diagnostic::error(format!("environment `{folder}` has no `{wanted}`"));
    errors.push(match other {
        Some(other) => {
            error.at(Place::file(&format!("{path}/{other}"))).help(format!("git mv {path}/{other} {path}/{wanted}"))
        }
        None => error.at(Place::file(path)).help(format!("write `{path}/{wanted}`")),
    });
}

/// One environment per cell of the matrix.
fn members(metadata: &Arc<Metadata>, folder: &RepoPath, place: &Place) -> Vec<Environment> {
    let mut rows: Vec<(Vec<String>, BTreeMap<String, String>)> = vec![(Vec::new(), metadata.build_args.clone())];
    for (axis, values) in &metadata.matrix {
        rows = rows
            .into_iter()
            .flat_map(|(words, args)| {
                values.iter().map(move |value| {
                    let (mut words, mut args) = (words.clone(), args.clone());
                    words.push(value.clone());
                    args.insert(axis.clone(), value.clone());
                    (words, args)
                })
            })
            .collect();
    }
    rows.into_iter()
        .map(|(words, build_args)| {
            let variant = (!words.is_empty()).then(|| words.join("-"));
            let name = variant.as_ref().map_or_else(|| metadata.name.clone(), |v| format!("{}-{v}", metadata.name));
            let (folder, place) = (folder.clone(), place.clone());
            Environment { name: name.into(), folder, variant, build_args, metadata: metadata.clone(), place }
        })
        .collect()
}

fn unique_keys(found: &[Environment], errors: &mut Errors) {
    let mut first: BTreeMap<&str, &Environment> = BTreeMap::new();
    for environment in found {
        match first.get(&*environment.metadata.key.value) {
            Some(other) if other.family() != environment.family() => errors.push(
                Diagnostic::error(format!(
                    "`key` of environment `{}` is `{}`, which environment `{}` has",
                    environment.family(),
                    environment.metadata.key.value,
                    other.family()
                ))
                .at(environment.metadata.key.place.clone())
                .at_because(other.metadata.key.place.clone(), "first given here"),
            ),
            Some(_) => {}
            None => {
                first.insert(&environment.metadata.key.value, environment);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "key: PYENV\ntype: environment_specification\nname: NAME\nshort_description: For tests\n\
        version: 0.1.0\ncreator: Me\neditor_list: []\ncreation_date: 2026-11-21\nexternal_references: []\n\
        tag_list: [python]\nnotes:\n";

    fn add(root: &Path, folder: &str, metadata: &str, dockerfile: &str) {
        let dir = root.join(FOLDER).join(folder);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("metadata.yml"), metadata.replace("NAME", folder)).unwrap();
        std::fs::write(dir.join(dockerfile), "FROM scratch\n").unwrap();
    }

    #[test]
    fn all_fields_are_read_and_a_repository_without_environments_has_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), []);
        add(dir.path(), "py_environment", GOOD, "Dockerfile_py_environment");
        let found = load(dir.path()).unwrap();
        let [one] = &found[..] else { panic!("one environment") };
        assert_eq!((&*one.name, one.dockerfile().as_str()), ("py_environment", "Dockerfile_py_environment"));
        assert_eq!(one.metadata.version, semver::Version::new(0, 1, 0));
        let image = one.image(&[]);
        assert_eq!((image.image_name.as_str(), &*image.key), ("environments/py_environment", "py_environment"));
        assert_eq!(image.labels[NAME_LABEL], "py_environment");
    }

    #[test]
    fn a_matrix_makes_a_family() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("{GOOD}matrix: {{ PYTHON_VERSION: [\"3.9\", \"3.10\"] }}\n");
        add(dir.path(), "py_environment", &text, "Dockerfile_py_environment");
        let found = load(dir.path()).unwrap();
        let names: Vec<&str> = found.iter().map(|one| &*one.name).collect();
        assert_eq!(names, ["py_environment-3.10", "py_environment-3.9"]);
        assert_eq!(found[0].build_args["PYTHON_VERSION"], "3.10");
        let error = find(&found, "py_environment").unwrap_err();
        assert!(error.message.contains("is a family, expected one of `py_environment-3.10`"), "{error}");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        add(dir.path(), "py_environment", &GOOD.replace("NAME", "other_environment"), "Dockerfile_py_environment");
        add(dir.path(), "Sh-env", GOOD, "Dockerfile");
        add(dir.path(), "two_environment", &GOOD.replace("0.1.0", "1.2"), "Dockerfile_two_environment");
        std::fs::create_dir_all(dir.path().join(FOLDER).join("no_environment")).unwrap();
        let text = load(dir.path()).unwrap_err().to_string();
        for wanted in [
            "folder `environments/Sh-env` breaks the naming rule",
            "help: git mv environments/Sh-env environments/sh_env_environment",
            "help: git mv environments/Sh-env/Dockerfile environments/Sh-env/Dockerfile_Sh-env",
            "environment `no_environment` has no `metadata.yml`",
            "environment `no_environment` has no `Dockerfile_no_environment`",
            "`name` of environment `py_environment` is `other_environment`, expected `py_environment`",
            "environments/py_environment/metadata.yml:3:7",
            "`version` of environment `two_environment` is `1.2`, expected three numbers such as `1.4.0`",
        ] {
            assert!(text.contains(wanted), "{wanted}\n--\n{text}");
        }
    }

    #[test]
    fn two_environments_may_not_share_a_key() {
        let dir = tempfile::tempdir().unwrap();
        add(dir.path(), "a_environment", GOOD, "Dockerfile_a_environment");
        add(dir.path(), "b_environment", GOOD, "Dockerfile_b_environment");
        let text = load(dir.path()).unwrap_err().to_string();
        assert!(
            text.contains("`key` of environment `b_environment` is `PYENV`, which environment `a_environment` has")
        );
    }

    #[test]
    fn an_environment_is_found_by_its_key_too() {
        let dir = tempfile::tempdir().unwrap();
        add(dir.path(), "a_environment", GOOD, "Dockerfile_a_environment");
        let family = GOOD.replace("PYENV", "FAMIL") + "matrix: { PYTHON_VERSION: [\"3.9\", \"3.10\"] }\n";
        add(dir.path(), "b_environment", &family, "Dockerfile_b_environment");
        let found = load(dir.path()).unwrap();
        assert_eq!(&*find(&found, "PYENV").unwrap().name, "a_environment");
        let error = find(&found, "FAMIL").unwrap_err();
        assert!(error.message.contains("is a family, expected one of `b_environment-3.10`"), "{error}");
    }

    #[test]
    fn a_name_without_its_suffix_is_helped() {
        let dir = tempfile::tempdir().unwrap();
        add(dir.path(), "py_environment", GOOD, "Dockerfile_py_environment");
        let found = load(dir.path()).unwrap();
        assert_eq!(find(&found, "py").unwrap_err().helps, ["cargo xtask env run py_environment"]);
        let similar = find(&found, "pi_environment").unwrap_err();
        assert_eq!(similar.helps, ["an environment with a similar name exists: `py_environment`"]);
    }
}
