//! A workspace of its own, with actions written in Rust that note when they began and ended. The only code of the kit
//! that knows the library's entry.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;
use xtask::model::{Diagnostic, Digest};
use xtask::{ActionSet, ActionType, Call, Done, Failure, World};

use crate::model::product;

/// A folder with a taskfile.
pub struct Space {
    dir: TempDir,
    pub mixer: Mixer,
}

/// What one run said.
#[derive(Debug)]
pub struct Ran {
    pub exit: u8,
    pub events: Vec<Value>,
    pub out: String,
    pub err: String,
}

impl Space {
    /// In memory where that exists: thousands of small files are made.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self { dir: dir.expect("a folder"), mixer: Mixer::default() }
    }

    /// On the disk that temporary files are on.
    pub fn on_disk() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder"), mixer: Mixer::default() }
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, content).expect("a file");
    }

    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// Any command line, in this process.
    pub fn command(&self, words: &[&str]) -> Ran {
        self.command_with(words, &[])
    }

    /// The same with these variables.
    pub fn command_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut env = environment();
        env.extend(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let (mut world, captured) = World::captured(self.root().to_owned(), env);
        self.mixer.add_to(&mut world.extra);
        let exit = xtask::run(words.iter().copied(), &world);
        Ran::new(exit, captured.out(), captured.err())
    }

    /// `run --reporter json` with these words, in this process.
    pub fn run(&self, words: &[&str]) -> Ran {
        self.command(&[&["run", "--reporter", "json"], words].concat())
    }

    pub fn run_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Ran {
        self.command_with(&[&["run", "--reporter", "json"], words].concat(), variables)
    }
}

/// The variables of a caller that has none of its own.
pub fn environment() -> BTreeMap<OsString, OsString> {
    let kept = ["PATH", "HOME", "TMPDIR"];
    kept.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))).collect()
}

impl Ran {
    pub fn new(exit: u8, out: String, err: String) -> Self {
        let lines = out.lines().filter(|line| line.starts_with('{'));
        let events = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { exit, events, out, err }
    }

    pub fn of<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |one| one["event"] == event)
    }

    /// How a task ended.
    pub fn outcome(&self, task: &str) -> Option<&str> {
        self.of("task_finished").find(|one| one["task"] == task)?["outcome"].as_str()
    }

    /// Names of the tasks that were started, sorted.
    pub fn started(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.of("task_started").filter_map(|one| one["task"].as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The reasons of a task's verdict; `None` if there was no verdict.
    pub fn reasons(&self, task: &str) -> Option<&Vec<Value>> {
        self.of("task_decided").find(|one| one["task"] == task)?["reasons"].as_array()
    }

    /// The kinds of them.
    pub fn kinds(&self, task: &str) -> Vec<&str> {
        self.reasons(task).into_iter().flatten().filter_map(|reason| reason["kind"].as_str()).collect()
    }

    #[track_caller]
    pub fn fine(self) -> Self {
        assert_eq!(self.exit, 0, "{}\n{}", self.out, self.err);
        self
    }
}

/// What tasks did, in the order in which they did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    Begin(usize),
    End(usize),
    Text(String),
}

type Poker = Box<dyn FnMut() + Send>;

/// The actions `mix` (reads files, writes others), `note`, and `poke` (does what the test says).
#[derive(Clone, Default)]
pub struct Mixer {
    notes: Arc<Mutex<Vec<Note>>>,
    poke: Arc<Mutex<Option<Poker>>>,
}

impl Mixer {
    /// What was noted since the last call.
    pub fn take(&self) -> Vec<Note> {
        std::mem::take(&mut *self.notes.lock().expect("no panic"))
    }

    /// What the action `poke` does from now on.
    pub fn on_poke(&self, poke: impl FnMut() + Send + 'static) {
        *self.poke.lock().expect("no panic") = Some(Box::new(poke));
    }

    fn add(&self, note: Note) {
        self.notes.lock().expect("no panic").push(note);
    }

    pub fn add_to(&self, actions: &mut ActionSet) {
        actions.add(Mix(self.clone()));
        actions.add(Say(self.clone()));
        actions.add(Poke(self.clone()));
    }
}

struct Mix(Mixer);
struct Say(Mixer);
struct Poke(Mixer);

fn texts<'a>(args: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    args[name].as_array().into_iter().flatten().filter_map(Value::as_str)
}

impl ActionType for Mix {
    fn name(&self) -> &'static str {
        "mix"
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let failed = |error: std::io::Error| Diagnostic::error("`mix` failed").cause(error);
        let text = |name: &str| xtask::action::text("mix", call.args, name);
        let task: usize = text("task")?.parse().expect("a number");
        let (definition, coarse) = (text("definition")?.parse().expect("a number"), text("coarse")? == "true");
        self.0.add(Note::Begin(task));
        let read = |name: &str| std::fs::read_to_string(call.root.join(name));
        let inputs: Vec<String> = texts(call.args, "from").map(read).collect::<Result<_, _>>().map_err(failed)?;
        let fails = call.root.join(format!("fail/{task}")).exists();
        let mut all = String::new();
        for (number, name) in texts(call.args, "to").enumerate() {
            let made = if fails { "broken\n".to_owned() } else { product(&inputs, definition, coarse, number) };
            std::fs::write(call.root.join(name), &made).map_err(failed)?;
            all += &made;
        }
        self.0.add(Note::End(task));
        if fails {
            return Err(Failure::failed(Diagnostic::error(format!("task `t{task}` is told to fail"))));
        }
        Ok(Done { result: Some(Digest::of(all.as_bytes())), ..Done::default() })
    }
}

impl ActionType for Say {
    fn name(&self) -> &'static str {
        "note"
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        self.0.add(Note::Text(xtask::action::text("note", call.args, "text")?.to_owned()));
        Ok(Done::default())
    }
}

impl ActionType for Poke {
    fn name(&self) -> &'static str {
        "poke"
    }

    fn run(&self, _: &Call<'_>) -> Result<Done, Failure> {
        if let Some(poke) = &mut *self.0.poke.lock().expect("no panic") {
            poke();
        }
        Ok(Done::default())
    }
}
