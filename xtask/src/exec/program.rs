//! Finds the file of a program as a shell would. Knows nothing of how it is started.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The file of `program`: a name with a `/` is taken relative to `cwd`, another is searched in `path`.
///
/// The search is our own, because it must follow the *child's* `PATH` and directory, and because the fast way to
/// start a process needs a path.
pub(super) fn resolve(program: &OsStr, path: Option<&OsStr>, cwd: &Path) -> Option<PathBuf> {
    if program.is_empty() {
        return None;
    }
    if program.as_encoded_bytes().contains(&b'/') {
        let file = cwd.join(program);
        // A file that is there but not executable is not "not found": the system says what is wrong with it.
        return file.exists().then_some(file);
    }
    std::env::split_paths(path?).map(|dir| cwd.join(dir).join(program)).find(|file| is_program(file))
}

/// The value of a variable in an environment given as a list; the last one counts.
pub(super) fn lookup<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
}

fn is_program(file: &Path) -> bool {
    access(file, Access::EXEC_OK).is_ok() && file.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_searched_and_paths_are_taken() {
        let root = Path::new("/");
        let found = resolve(OsStr::new("sh"), Some(OsStr::new("/nowhere:/bin")), root);
        assert_eq!(found, Some(PathBuf::from("/bin/sh")));
        assert_eq!(resolve(OsStr::new("bin/sh"), None, root), Some(PathBuf::from("/bin/sh")));
        assert_eq!(resolve(OsStr::new("sh"), None, root), None);
        assert_eq!(resolve(OsStr::new("etc"), Some(OsStr::new("/")), root), None);
        assert_eq!(resolve(OsStr::new(""), Some(OsStr::new("/bin")), root), None);
    }
}
