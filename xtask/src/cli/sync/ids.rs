//! Folders that are known by an id rather than by a path: from a map, by the name of a folder, or by the id in a folder's
//! `.storage_info.yaml`; the first that fits counts. Knows nothing of hosts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::task::Storage;
use crate::model::words;
use crate::model::{Diagnostic, Diagnostics};
use crate::taskfile::read::{self, Subject};
use crate::taskfile::{Errors, yaml};

/// The file in a folder that says its id.
const INFO: &str = ".storage_info.yaml";
/// So many known ids are named in a message.
const SHOWN: usize = 20;

/// All ids, looked up when one is needed.
pub(super) struct Ids<'a> {
    root: &'a Path,
    storage: &'a Storage,
}

impl<'a> Ids<'a> {
    pub(super) fn new(root: &'a Path, storage: &'a Storage) -> Self {
        Self { root, storage }
    }

    /// The folder with this id.
    ///
    /// # Errors
    /// There is none, or a `.storage_info.yaml` cannot be read.
    pub(super) fn find(&self, id: &str) -> Result<PathBuf, Diagnostics> {
        let mut all = self.all()?;
        all.remove(id).ok_or_else(|| Self::unknown(id, &all).into())
    }

    /// Every id with its folder; where several have one id, the first.
    fn all(&self) -> Result<BTreeMap<String, PathBuf>, Diagnostics> {
        let mut found: BTreeMap<String, PathBuf> =
            self.storage.ids.iter().map(|(id, path)| (id.to_string(), self.root.join(&**path))).collect();
        let mut folders = Vec::new();
        for parent in &self.storage.folders {
            // One that is not there has no ids.
            let entries = std::fs::read_dir(self.root.join(&**parent)).into_iter().flatten().flatten();
            let mut below: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
            below.sort();
            folders.extend(below);
        }
        for folder in &folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.entry(name).or_insert_with(|| folder.clone());
        }
        for folder in &folders {
            if let Some(id) = id_of(folder)? {
                found.entry(id).or_insert_with(|| folder.clone());
            }
        }
        Ok(found)
    }

    fn unknown(id: &str, all: &BTreeMap<String, PathBuf>) -> Diagnostic {
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        let problem = Diagnostic::error(format!("`{id}` is neither a path below the root nor an id of `storage`"));
        let problem = problem.maybe_help(words::suggest("id", id, &names));
        if names.is_empty() {
            return problem.help("name it in tasks.yaml: storage: { ids: { NAME: PATH } }");
        }
        let more = names.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        problem.note(format!("known ids: {}{more}", names[..names.len().min(SHOWN)].join(" ")))
    }
}

/// What the file in a folder says, if there is one.
fn id_of(folder: &Path) -> Result<Option<String>, Diagnostics> {
    let path = folder.join(INFO);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Diagnostic::error(format!("`{}` cannot be read", path.display())).cause(error).into());
        }
    };
    let node = yaml::parse(&path.to_string_lossy(), &bytes)?;
    let mut errors = Errors::default();
    // Other programs keep more in it.
    let id = node.get("id").and_then(|id| read::word(id, Subject::new("id", INFO), &mut errors));
    errors.finish()?;
    Ok(id.map(|id| id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_wins_over_names_over_files_and_unknown_ids_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["data/a", "data/b", "data/c", "other"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("data/b").join(INFO), "id: weights\nowner: me\n").unwrap();
        std::fs::write(root.join("data/c").join(INFO), "id: a\n").unwrap();
        let storage = Storage {
            ids: BTreeMap::from([("c".into(), "other".into())]),
            folders: vec!["data".into(), "nowhere".into()],
        };
        let ids = Ids::new(root, &storage);
        assert_eq!(ids.find("c").unwrap(), root.join("other"), "the map");
        assert_eq!(ids.find("a").unwrap(), root.join("data/a"), "the name, not the file of another");
        assert_eq!(ids.find("weights").unwrap(), root.join("data/b"));
        let problem = ids.find("weihgts").unwrap_err().to_string();
        assert!(
            problem.contains("known ids: a b c weights") && problem.contains("similar name exists: `weights`"),
            "{problem}"
        );
        std::fs::write(root.join("data/c").join(INFO), "id: [").unwrap();
        assert!(ids.find("a").is_err(), "a broken file is told");
    }
    #[test]
    fn an_id_that_is_no_word_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("data/a")).unwrap();
        std::fs::write(dir.path().join("data/a").join(INFO), "owner: me\nid: [a]\n").unwrap();
        let storage = Storage { ids: BTreeMap::new(), folders: vec!["data".into()] };
        let problem = Ids::new(dir.path(), &storage).find("a").unwrap_err().to_string();
        assert!(problem.contains(&format!("{INFO}:2:5")), "{problem}");
    }
}
