//! Cargo as a person calls it, from within a test that cargo runs. Knows nothing of what it is asked.

use std::path::Path;
use std::process::Command;

/// Cargo in a folder, with nothing that the cargo of this test has set: build scripts look at such variables, and what
/// they are for would be compiled again in place, while other tests use it.
pub fn cargo(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(dir).env("CARGO_NET_OFFLINE", "true");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if (name.starts_with("CARGO_") && !["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&&*name))
            || name.starts_with("NEXTEST")
        {
            command.env_remove(&*name);
        }
    }
    command
}
