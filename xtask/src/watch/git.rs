//! Whether git is in the middle of changing the work tree. Knows only its lock file.

use std::fs;
use std::path::{Path, PathBuf};

/// Where git keeps its index lock for this work tree, if there is one.
pub fn lock_path(root: &Path) -> Option<PathBuf> {
    let git = root.join(".git");
    if git.is_dir() {
        return Some(git.join("index.lock"));
    }
    // A linked work tree or a submodule: a file that names the directory.
    let text = fs::read_to_string(&git).ok()?;
    let dir = text.strip_prefix("gitdir:")?.trim();
    Some(root.join(dir).join("index.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_work_tree_has_its_lock_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(lock_path(dir.path()), None);
        fs::write(dir.path().join(".git"), "gitdir: ../main/.git/worktrees/w\n").unwrap();
        let wanted = dir.path().join("../main/.git/worktrees/w/index.lock");
        assert_eq!(lock_path(dir.path()), Some(wanted));
        fs::remove_file(dir.path().join(".git")).unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        assert_eq!(lock_path(dir.path()), Some(dir.path().join(".git/index.lock")));
    }
}
