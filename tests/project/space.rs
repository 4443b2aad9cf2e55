//! A folder with a taskfile, and runs in it through the library. The only code here that knows the entry.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use xtask::World;

/// A folder of its own for one test.
pub struct Space {
    dir: TempDir,
}

/// What one run said.
#[derive(Debug)]
pub struct Ran {
    pub exit: u8,
    pub events: Vec<Value>,
    pub err: String,
    pub out: String,
}

impl Space {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, content).expect("a file");
    }

    /// Runs a command line from `cwd` (relative to the root), in this process.
    pub fn command(&self, words: &[&str], cwd: &str) -> Ran {
        let env: BTreeMap<OsString, OsString> = ["PATH", "HOME", "TMPDIR"]
            .iter()
            .filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)))
            .collect();
        let (world, captured) = World::captured(self.dir.path().join(cwd), env);
        let exit = xtask::run(words.iter().copied(), &world);
        let out = captured.out();
        let events =
            out.lines().filter(|line| line.starts_with('{')).filter_map(|line| serde_json::from_str(line).ok());
        Ran { exit, events: events.collect(), err: captured.err(), out }
    }

    /// `run --reporter json` with these words.
    pub fn run(&self, words: &[&str]) -> Ran {
        self.run_in(words, "")
    }

    pub fn run_in(&self, words: &[&str], cwd: &str) -> Ran {
        self.command(&[&["run", "--reporter", "json"], words].concat(), cwd)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Ran {
    /// Names of tasks that ended in this way; groups left out, private tasks not.
    pub fn outcome(&self, wanted: &str) -> BTreeSet<String> {
        let finished =
            self.events.iter().filter(|event| event["event"] == "task_finished" && event["outcome"] == wanted);
        finished
            .filter_map(|event| {
                let name = event["task"].as_str()?;
                let hidden = event["hidden"].as_bool().unwrap_or(false) && !name.starts_with('_');
                (!hidden).then(|| name.to_owned())
            })
            .collect()
    }

    /// Kinds of the reasons of one task.
    pub fn reasons(&self, task: &str) -> Vec<String> {
        let decided = self.events.iter().filter(|event| event["event"] == "task_decided" && event["task"] == task);
        decided
            .flat_map(|event| event["reasons"].as_array().cloned().unwrap_or_default())
            .filter_map(|reason| Some(reason["kind"].as_str()?.to_owned()))
            .collect()
    }

    pub fn verdict(&self, task: &str) -> Option<String> {
        let decided = self.events.iter().find(|event| event["event"] == "task_decided" && event["task"] == task)?;
        Some(decided["verdict"].as_str()?.to_owned())
    }
}
