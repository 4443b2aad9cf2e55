//! Programs on a terminal of their own (`pty.py`): keys and signals at the right moment, settings before and after.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::space::environment;

/// How the program ended.
#[derive(Debug)]
pub struct OnTerminal {
    /// The exit code, or 128 and the signal.
    pub code: u64,
    /// From the last act to its end.
    pub seconds: f64,
    /// How often it was suspended.
    pub stops: u64,
    /// The terminal's settings are as they were.
    pub settings: bool,
    /// The cursor is shown.
    pub cursor: bool,
    pub output: String,
}

/// Runs the program with these words on a terminal. An act is what to wait for in the output (a path that begins with
/// `/` is waited for on disk), and `ctrl-c`, `ctrl-z`, `fg`, `wait` or a signal.
#[track_caller]
pub fn on_terminal(root: &Path, words: &[&str], acts: &[(&str, &str)]) -> OnTerminal {
    let acts = serde_json::to_string(acts).expect("plain data");
    let output = Command::new("python3")
        .args(["-c", include_str!("pty.py"), "100", &acts, env!("CARGO_BIN_EXE_xtask")])
        .args(words)
        .current_dir(root)
        .env_clear()
        .envs(environment())
        .env("TERM", "xterm-256color")
        .output()
        .expect("python3 is needed: apt-get install python3");
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {problem}");
    let said: Value = serde_json::from_slice(&output.stdout).expect("what the driver says");
    OnTerminal {
        code: said["code"].as_u64().expect("a code"),
        seconds: said["seconds"].as_f64().expect("seconds"),
        stops: said["stops"].as_u64().expect("a number"),
        settings: said["settings"] == true,
        cursor: said["cursor"] == true,
        output: said["output"].as_str().expect("text").to_owned(),
    }
}
