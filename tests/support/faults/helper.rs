//! The helper program of tasks (`helper.c`), compiled once per content. Knows nothing of what it is used for.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::model::Digest;

/// Its path. Starting it costs less than a shell.
pub fn helper() -> PathBuf {
    let source = include_str!("helper.c");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("helper-{}", Digest::of(source.as_bytes()).short()));
    if !path.exists() {
        let place = tempfile::tempdir_in(folder).expect("a folder");
        let (from, to) = (place.path().join("helper.c"), place.path().join("helper"));
        std::fs::write(&from, source).expect("the source");
        let done = Command::new("gcc").args(["-static", "-O1", "-s", "-o"]).arg(&to).arg(&from).status();
        assert!(done.expect("gcc is needed: apt-get install gcc libc6-dev").success(), "gcc -static works");
        std::fs::rename(&to, &path).expect("a place for the program");
    }
    path
}
