//! Folders that the action `dockerfile` writes: the same everywhere, up to date by what is brought, and built by the
//! docker command line as they are. Knows the program only from outside.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{LABEL, unique};

const TASKS: &str = r##"
version: 1
tasks:
  solver:
    actions:
      - dockerfile:
          into: build/solver
          from: scratch
          context: tools
          macros:
            - "COPY busybox /bin/"
            - 'RUN ["/bin/busybox", "--install", "-s", "/bin"]'
            - ["ENV PATH=/bin", "LABEL WORD"]
            - copy: { from: libs/solver, to: /solver/, exclude: ["*.log", "!kept.log"] }
            - script: { at: /bin/hello, lines: ["#!/bin/sh", "echo \"it's $1\" '%s'"] }
            - entrypoint: { at: /bin/entrypoint, lines: ["export DATA=/data"] }
"##;

/// A repository whose folder is removed at the end, with the image that was built of it.
struct Lab {
    dir: tempfile::TempDir,
    word: String,
}

impl Lab {
    fn new(word: &str, tasks: &str) -> Self {
        let lab = Self { dir: tempfile::tempdir().expect("a folder"), word: word.to_owned() };
        lab.write("tasks.yaml", &tasks.replace("LABEL WORD", &format!("LABEL {LABEL}={word}")));
        lab.write("libs/solver/solve.py", "print(1)\n");
        lab.write("libs/solver/run.log", "1\n");
        lab.write("libs/solver/kept.log", "2\n");
        std::fs::create_dir_all(lab.path("tools")).expect("a folder");
        std::fs::copy("/bin/busybox", lab.path("tools/busybox")).expect("busybox-static is installed");
        lab.write("tools/other", "not asked for\n");
        lab
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().expect("a parent")).expect("folders");
        std::fs::write(self.path(name), text).expect("a file");
    }

    fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("XTASK_")) {
            command.env_remove(name);
        }
        let Output { status, stdout, stderr } =
            command.args(words).current_dir(self.dir.path()).stdin(Stdio::null()).output().expect("the program");
        (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
    }

    /// How the task ended.
    fn outcome(&self) -> String {
        let (code, said) = self.run(&["run", "--reporter", "json", "solver"]);
        let mut events = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let ended = events.rfind(|event| event["event"] == "task_finished");
        assert_eq!(code, Some(0), "{said}");
        ended.expect("an end")["outcome"].as_str().expect("a word").to_owned()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let filter = format!("label={LABEL}={}", self.word);
        let found = docker(&["images", "--all", "--no-trunc", "--quiet", "--filter", &filter]);
        for id in found.lines() {
            docker(&["rmi", "--force", id]);
        }
    }
}

fn docker(words: &[&str]) -> String {
    let output =
        Command::new("docker").args(words).env("DOCKER_BUILDKIT", "0").output().expect("the docker command line");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Every file below a folder: mode, time, content.
fn tree(dir: &Path) -> BTreeMap<String, (u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let meta = entry.metadata().expect("facts");
        let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
        if meta.is_dir() {
            found.extend(tree(&entry).into_iter().map(|(below, file)| (format!("{name}/{below}"), file)));
        } else {
            found.insert(name, (meta.mode(), meta.mtime(), std::fs::read(&entry).expect("content")));
        }
    }
    found
}

#[test]
fn m01_a_task_writes_macros_and_what_they_bring_the_same_everywhere() {
    let word = unique("written");
    let (one, other) = (Lab::new(&word, TASKS), Lab::new(&word, TASKS));
    assert_eq!([one.outcome(), other.outcome()], ["ran", "ran"]);
    let written = tree(&one.path("build/solver"));
    assert_eq!(written, tree(&other.path("build/solver")));
    let brought = |name: &str| written.keys().any(|path| path.starts_with("_brought/") && path.ends_with(name));
    assert!(brought("/solve.py") && brought("/kept.log") && !brought("/run.log"), "{:?}", written.keys());
    assert!(written.contains_key("busybox") && !written.contains_key("other"), "{:?}", written.keys());
    let text = String::from_utf8_lossy(&written["Dockerfile"].2).into_owned();
    assert!(text.starts_with("FROM scratch\nCOPY busybox /bin/\n") && !text.contains("# brought"), "{text}");

    assert_eq!(one.outcome(), "up-to-date");
    one.write("libs/solver/run.log", "another\n");
    one.write("tools/other", "another\n");
    assert_eq!(one.outcome(), "up-to-date", "nobody sees these");
    one.write("libs/solver/solve.py", "print(2)\n");
    assert_eq!(one.outcome(), "ran");
    std::fs::remove_file(one.path("libs/solver/kept.log")).expect("a file");
    std::fs::remove_file(one.path("build/solver/busybox")).expect("a file");
    assert_eq!(one.outcome(), "ran");
    let written = tree(&one.path("build/solver"));
    assert!(written.contains_key("busybox") && !written.keys().any(|path| path.ends_with("kept.log")));
}

#[test]
fn m03_the_folder_is_built_by_the_docker_command_line() {
    let lab = Lab::new(&unique("writtenbuild"), TASKS);
    assert_eq!(lab.outcome(), "ran");
    let folder = lab.path("build/solver").display().to_string();
    // The classic builder stumbles, in its search for a cached step, over images that other tests remove.
    let image = docker(&["build", "--quiet", "--no-cache", &folder]);
    assert!(image.starts_with("sha256:"), "{image}");
    let inside = docker(&["run", "--rm", &image, "sh", "-c", "echo $DATA; ls /solver; hello you"]);
    assert_eq!(inside, "/data\nkept.log\nsolve.py\nit's you %s");
}

#[test]
fn m01_macros_that_are_wrong_are_told_before_anything_is_written() {
    let errors = [
        ("{ atp: [git] }", 3, "macro 1 is `atp`, which there is not"),
        ("{ copy: { from: libs/solver } }", 3, "`macro 1 (copy)` has no `to`"),
        ("{ copy: { from: nowhere, to: / } }", 2, "`macro 1 (copy)` brings `nowhere`, which is not there"),
        ("{ copy: { from: ., to: / } }", 2, "`build/solver` would be brought into itself"),
        ("{ install: { dir: libs/solver, at: / } }", 2, "`macro 1 (install)` installs `libs/solver`, which"),
        ("COPY a /", 2, "a macro copies `a`, but no `context` says from where"),
    ];
    let lab = Lab::new(&unique("writtenwrong"), "");
    for (text, code, message) in errors {
        lab.write(
            "tasks.yaml",
            &format!("version: 1\ntasks:\n  solver:\n    actions: [{{ dockerfile: {{ into: build/solver, from: scratch, macros: [{text}] }} }}]\n"),
        );
        let (exit, said) = lab.run(&["run", "solver"]);
        assert!(exit == Some(code) && said.contains(message), "{text}: {exit:?} {said}");
        assert!(!lab.path("build").exists(), "{text}");
    }
    let into = "version: 1\ntasks:\n  solver:\n    actions: [{ dockerfile: { into: libs, macros: [FROM scratch] } }]\n";
    lab.write("tasks.yaml", into);
    let (exit, said) = lab.run(&["run", "solver"]);
    assert!(exit == Some(1) && said.contains("has files that staging did not put there"), "{exit:?} {said}");
}
