//! One conformance case: reads its file and plays its steps. The words of a case are those of [`STEPS`] and of
//! `expect.rs`; any other word is an error of the case. Knows nothing of how a command line is run.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::expect::expect;
use crate::process::{self, Background};
use crate::space::{Ran, Space};

/// What a step may do, in this order if it does several things.
pub const STEPS: &[(&str, &str)] = &[
    ("run", "words behind `run --reporter json`"),
    ("command", "words of any command line"),
    ("start", "a name and `words`: the binary in the background"),
    ("says", "a name to a text: waits until that process wrote it"),
    ("signal", "a name and INT, TERM or KILL"),
    ("join", "a name: waits for its end"),
    ("await", "files: waits until they are there"),
    ("expect", "what the call of this step must have done"),
    ("cwd", "of the call, below the root"),
    ("env", "more variables of the call"),
    ("write", "files with their contents"),
    ("touch", "files: a new time"),
    ("age", "files to seconds: a time so far back"),
    ("delete", "files and folders"),
    ("link", "links with their targets"),
    ("replace_keeping_mtime", "files with new contents and the old time"),
    ("redefine", "tasks with their new definitions"),
    ("define", "the whole new text of tasks.yaml"),
    ("pause", "seconds"),
    ("ours", "text: doit is not asked for this step, and the text says why"),
    ("content", "files with the contents they must have"),
    ("present", "files that must be there"),
    ("absent", "files that must not be there"),
];

/// How a case is told of doit itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doit {
    /// It holds there, too.
    Same,
    /// doit does something else; the text says what.
    Differs(String),
    /// It cannot be said in doit's terms; the text says why.
    None(String),
}

pub struct Case {
    pub row: String,
    pub doit: Doit,
    /// The text of tasks.yaml.
    pub text: String,
    pub files: Value,
    pub steps: Vec<Value>,
}

/// One command line.
pub struct Call {
    pub words: Vec<String>,
    pub cwd: String,
    pub env: Vec<(String, String)>,
}

/// How a call is made: through the library, through the binary, through doit.
pub type Runner<'r> = &'r dyn Fn(&Space, &Call) -> Ran;

impl Case {
    pub fn read(file: &Path) -> Self {
        let row = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let bytes = std::fs::read(file).expect("a case");
        let case: Value = serde_yaml::from_slice(&bytes).unwrap_or_else(|error| panic!("{row}: {error}"));
        for key in case.as_object().expect("a map").keys() {
            assert!(["tasks", "files", "steps", "doit"].contains(&&**key), "{row}: unknown key `{key}`");
        }
        let text = |key: &str| case["doit"][key].as_str().map(str::to_owned);
        let doit = match (text("differs"), text("none")) {
            (Some(how), _) => Doit::Differs(how),
            (None, Some(why)) => Doit::None(why),
            (None, None) => Doit::Same,
        };
        Self {
            row,
            doit,
            text: case["tasks"].as_str().expect("tasks").to_owned(),
            files: case["files"].clone(),
            steps: case["steps"].as_array().expect("steps").clone(),
        }
    }
}

/// Plays one case; every expectation that fails, with the row and the step.
pub fn play(case: &Case, runner: Runner<'_>) -> Vec<String> {
    steps(case, runner, false)
}

/// The same without the steps that doit is not asked for.
pub fn play_as_doit(case: &Case, runner: Runner<'_>) -> Vec<String> {
    steps(case, runner, true)
}

fn steps(case: &Case, runner: Runner<'_>, as_doit: bool) -> Vec<String> {
    let space = Space::new();
    space.write("tasks.yaml", &case.text);
    write_all(&space, &case.files);
    let mut background = Background::default();
    let mut problems = Vec::new();
    for (number, step) in case.steps.iter().enumerate().filter(|(_, step)| !as_doit || step["ours"].is_null()) {
        let mut fail = |what: String| problems.push(format!("{}, step {}: {what}", case.row, number + 1));
        let words = step.as_object().expect("a step");
        for verb in words.keys() {
            assert!(STEPS.iter().any(|(known, _)| known == verb), "{}: unknown step `{verb}`", case.row);
        }
        for (verb, _) in STEPS {
            let Some(argument) = words.get(*verb) else { continue };
            match *verb {
                "run" | "command" => {
                    let ran = runner(&space, &call(verb, argument, step));
                    expect(&ran, &step["expect"], &mut fail);
                }
                "start" => {
                    let call = call("command", &argument["words"], step);
                    background.start(text(&argument["name"]), process::command(&space, &call));
                }
                "says" => {
                    for (name, said) in pairs(argument) {
                        if !background.says(name, text(said)) {
                            fail(format!("`{name}` never said {said}"));
                        }
                    }
                }
                "signal" => pairs(argument).for_each(|(name, signal)| background.signal(name, text(signal))),
                "join" => expect(&background.join(text(argument)), &step["expect"], &mut fail),
                "await" => {
                    for name in list(argument) {
                        if !process::eventually(|| space.path(name).exists()) {
                            fail(format!("`{name}` never came"));
                        }
                    }
                }
                "expect" | "cwd" | "env" | "ours" => {}
                _ => change(&space, verb, argument, &mut fail),
            }
        }
    }
    problems
}

fn call(verb: &str, argument: &Value, step: &Value) -> Call {
    let mut words: Vec<String> = list(argument).into_iter().map(str::to_owned).collect();
    if verb == "run" {
        words.splice(0..0, ["run", "--reporter", "json"].map(str::to_owned));
    }
    Call {
        words,
        cwd: step["cwd"].as_str().unwrap_or_default().to_owned(),
        env: pairs(&step["env"]).map(|(name, value)| (name.clone(), text(value).to_owned())).collect(),
    }
}

pub fn list(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(text).collect()
}

pub fn pairs(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn write_all(space: &Space, files: &Value) {
    pairs(files).for_each(|(name, content)| space.write(name, text(content)));
}

fn set_time(space: &Space, name: &str, time: SystemTime) {
    std::fs::File::options().append(true).open(space.path(name)).expect("a file").set_modified(time).expect("a time");
}

/// Steps that change or check files.
fn change(space: &Space, verb: &str, argument: &Value, fail: &mut dyn FnMut(String)) {
    match verb {
        "write" => write_all(space, argument),
        "touch" => list(argument).iter().for_each(|name| set_time(space, name, SystemTime::now())),
        "age" => pairs(argument).for_each(|(name, seconds)| {
            let seconds = seconds.as_u64().expect("seconds");
            set_time(space, name, SystemTime::now() - Duration::from_secs(seconds));
        }),
        "delete" => {
            for name in list(argument) {
                let path = space.path(name);
                let is_dir = path.symlink_metadata().expect("a path").is_dir();
                if is_dir { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.expect("removed");
            }
        }
        "link" => pairs(argument).for_each(|(name, target)| {
            std::os::unix::fs::symlink(text(target), space.path(name)).expect("a link");
        }),
        "replace_keeping_mtime" => pairs(argument).for_each(|(name, content)| {
            let before = std::fs::metadata(space.path(name)).expect("a file").modified().expect("a time");
            space.write(name, text(content));
            set_time(space, name, before);
        }),
        "redefine" => {
            let old = std::fs::read(space.path("tasks.yaml")).expect("tasks.yaml");
            let mut tasks: Value = serde_yaml::from_slice(&old).expect("tasks.yaml");
            pairs(argument).for_each(|(name, task)| tasks["tasks"][name] = task.clone());
            space.write("tasks.yaml", &tasks.to_string());
        }
        "define" => space.write("tasks.yaml", text(argument)),
        "pause" => std::thread::sleep(Duration::from_secs_f64(argument.as_f64().expect("seconds"))),
        "content" => pairs(argument).for_each(|(name, wanted)| {
            let found = std::fs::read_to_string(space.path(name)).ok();
            if found.as_deref() != wanted.as_str() {
                fail(format!("`{name}` has {found:?} instead of {wanted}"));
            }
        }),
        "present" | "absent" => {
            let wanted = verb == "present";
            let wrong = list(argument).into_iter().filter(|name| space.path(name).exists() != wanted);
            wrong.for_each(|name| fail(format!("`{name}` is not {verb}")));
        }
        other => panic!("unknown step `{other}`"),
    }
}
