//! Programs on the library that the tests are linked with, and what cargo makes of a manifest. Knows nothing of what the
//! programs do.
//!
//! No test lets cargo compile in the folder of the tests: whatever differs in its surroundings would have a dependency
//! compiled again, in place, while other tests link with it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What cargo and the test runner set for a test, and a person who calls cargo has not set.
const OF_A_TEST: [&str; 6] =
    ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "NEXTEST"];

/// Cargo in a folder, as a person calls it to ask something.
pub fn cargo(dir: &Path, words: &[&str]) -> Command {
    assert!(words.iter().all(|word| !["build", "run", "test", "check"].contains(word)), "{words:?} compiles");
    let mut command = Command::new(env!("CARGO"));
    command.args(words).current_dir(dir).env("CARGO_NET_OFFLINE", "true");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if OF_A_TEST.iter().any(|start| name.starts_with(start)) {
            command.env_remove(&*name);
        }
    }
    command
}

/// Compiles a program that uses the library.
pub fn compile(source: &Path, edition: &str, program: &Path) {
    let deps = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("deps");
    std::fs::create_dir_all(program.parent().expect("a parent")).expect("a folder");
    let output = Command::new("rustc")
        .args(["--edition", edition, "--crate-name", "program"])
        .arg(source)
        .arg("--extern")
        .arg(format!("xtask={}", library(&deps).display()))
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg("-o")
        .arg(program)
        .output()
        .expect("rustc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The library that was compiled last: nothing is older than what this test is linked with.
fn library(deps: &Path) -> PathBuf {
    let files = std::fs::read_dir(deps).expect("a folder").flatten().map(|entry| entry.path());
    let ours = files.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libxtask-") && name.ends_with(".rlib")
    });
    let time = |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).expect("a time");
    ours.max_by_key(time).expect("the library")
}
