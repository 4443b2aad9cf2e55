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
    /// Whether its words and reasons are this program's own.
    pub speaks_our_words: bool,
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

    /// What the program sees of the environment, and `more`. `PROGRAM` is the binary, for runs inside of actions.
    pub fn environment(more: &[(String, String)]) -> BTreeMap<OsString, OsString> {
        let kept = ["PATH", "HOME", "TMPDIR"].iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)));
        let program = ("PROGRAM".into(), env!("CARGO_BIN_EXE_xtask").into());
        kept.chain([program]).chain(more.iter().map(|(name, value)| (name.into(), value.into()))).collect()
    }

    /// Runs a command line from `cwd` (relative to the root), in this process.
    pub fn call(&self, words: &[String], cwd: &str, env: &[(String, String)]) -> Ran {
        let (world, captured) = World::captured(self.dir.path().join(cwd), Self::environment(env));
        let exit = xtask::run(words, &world);
        Ran::new(exit, &captured.out(), &captured.err())
    }

    pub fn command(&self, words: &[&str], cwd: &str) -> Ran {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        self.call(&words, cwd, &[])
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Ran {
    /// What a call wrote; lines of JSON on stdout are its events.
    pub fn new(exit: u8, out: &str, err: &str) -> Self {
        let events =
            out.lines().filter(|line| line.starts_with('{')).filter_map(|line| serde_json::from_str(line).ok());
        Self { exit, events: events.collect(), err: err.to_owned(), out: out.to_owned(), speaks_our_words: true }
    }

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

    /// Inputs of one task that are said to have changed, been added or been removed.
    pub fn changed(&self, task: &str) -> BTreeSet<String> {
        let decided = self.events.iter().filter(|event| event["event"] == "task_decided" && event["task"] == task);
        let reasons = decided.flat_map(|event| event["reasons"].as_array().cloned().unwrap_or_default());
        let of_files =
            reasons.filter(|reason| reason["kind"].as_str().is_some_and(|kind| kind.starts_with("file_dep")));
        of_files.filter_map(|reason| Some(reason["path"].as_str()?.to_owned())).collect()
    }

    pub fn verdict(&self, task: &str) -> Option<String> {
        let decided = self.events.iter().find(|event| event["event"] == "task_decided" && event["task"] == task)?;
        Some(decided["verdict"].as_str()?.to_owned())
    }
}
