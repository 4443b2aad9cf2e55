//! A `cargo` whose `cargo xtask` is the program under test, for commands as people write them.

use std::path::Path;
use std::process::Command;

/// The folder of the stand-in; it goes in front of PATH.
pub struct StandIn(tempfile::TempDir);

impl StandIn {
    pub fn new() -> Self {
        let bin = tempfile::tempdir().expect("a folder");
        let text = format!("#!/bin/sh\nshift\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_xtask"));
        let cargo = bin.path().join("cargo");
        std::fs::write(&cargo, text).expect("a script");
        std::fs::set_permissions(&cargo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        Self(bin)
    }

    /// Runs a shell command in a folder: whether it succeeded, and all that it said.
    pub fn sh(&self, dir: &Path, command: &str) -> (bool, String) {
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(dir).env("PATH", path).env_remove("XTASK_FILE");
        // What git or pre-commit around this test have set is not meant for the repositories of the test.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
            shell.env_remove(name);
        }
        let output = shell.output().expect("a shell");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }
}
