//! The commands of the pages about environments, in small environments of busybox. Knows nothing of what they do.

use std::path::Path;
use std::process::Command;

use xtask::registry::testing::RealRegistry;

use super::lab::{Lab, docker};
use crate::page::{Shown, commands, play};

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    std::fs::read_to_string(path).expect("the page")
}

/// Runs a command line as a person does, with this lab's variables.
#[track_caller]
fn sh(lab: &Lab, command: &str) -> String {
    let program = env!("CARGO_BIN_EXE_xtask");
    let command = command.replace("cargo xtask", &format!("'{program}'"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).current_dir(lab.root()).envs(&lab.env).env_remove("XTASK_FILE");
    let output = shell.output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}` failed:\n{text}");
    text
}

#[test]
fn the_commands_of_the_page_about_publishing_an_environment_work() {
    let registry = RealRegistry::start().expect("a registry");
    let mut lab = Lab::new("handbook");
    lab.env.insert("STACK_REGISTRY".to_owned(), registry.host().to_owned());
    // What the page builds on: an image that the engine holds, as any that people begin with.
    lab.say(&["env", "build"]).fine();
    let filter = format!("label=dev.xtask.environment={}", lab.name());
    let id = docker(&["images", "--no-trunc", "--quiet", "--filter", &filter]);
    let base = format!("{}-base:1", lab.word);
    docker(&["tag", id.lines().next().expect("an image"), &base]);
    std::fs::remove_dir_all(lab.path("environments")).expect("removed");
    std::fs::remove_file(lab.path("tasks.yaml")).expect("removed");
    let adapt = |text: &str| {
        text.replace("debian:bookworm-slim", &base)
            .replace("lab/survey", &format!("{}/survey", lab.word))
            .replace("survey_environment", &format!("{}_survey_environment", lab.word))
            .replace("127.0.0.1:5000", registry.host())
    };
    let mut said = Vec::new();
    play(&page("publish-an-environment.md"), lab.root(), &adapt, &mut |command| said.push(sh(&lab, command)));
    let told = said.join("---\n");
    let shown = commands(&page("publish-an-environment.md")).iter().filter(|shown| shown.is_console()).count();
    assert!(said.len() >= 14 && said.len() == shown, "{} of {shown} commands were run", said.len());
    assert!(told.contains("2\n") && told.contains("and a version never moves"), "{told}");
    let tags = said.last().expect("the tags");
    assert!(tags.contains("0.1.0") && tags.contains("0.2.0"), "{told}");
    docker(&["rmi", &base]);
}

#[test]
fn the_commands_of_the_page_about_environments_work() {
    let registry = RealRegistry::start().expect("a registry");
    let mut lab = Lab::new("page");
    lab.env.insert("STACK_REGISTRY".to_owned(), registry.host().to_owned());
    let tasks = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tasks.yaml")).expect("tasks");
    let (_, rest) = tasks.split_once("  build-env:\n").expect("the tasks of environments");
    let (rest, _) = rest.split_once("  lint:\n").expect("a task behind them");
    let vars = "vars: { registry: { env: STACK_REGISTRY, default: none } }\npools: { docker: 2, registry: 4 }";
    let rest = rest.replace("    setup: [registry]\n", "");
    lab.write("tasks.yaml", format!("version: 1\n{vars}\ntasks:\n  build-env:\n{rest}"));
    std::fs::remove_dir_all(lab.path("environments")).expect("removed");
    for (name, key) in [("python_environment", "PYENV"), ("shell_environment", "SHENV")] {
        lab.add(name, key, &format!("image_name: {}/{name}\n", lab.word));
        lab.write(&format!("environments/{name}/test/test_it.py"), "def test_it():\n    pass\n");
    }
    // This busybox has no Python and no notebook: what is called so is its shell, and the script is one for it.
    let file = "environments/python_environment/Dockerfile_python_environment";
    let text = std::fs::read_to_string(lab.path(file)).expect("a Dockerfile");
    let python = "RUN printf '#!/bin/sh\\nexec /bin/sh \"$@\"\\n' > /bin/python3 && chmod 755 /bin/python3\n\
        RUN printf '#!/bin/sh\\necho $*\\n' > /bin/jupyter && chmod 755 /bin/jupyter\n";
    lab.write(file, text + python);
    lab.write("analysis.py", "test \"$1 $2\" = '--year 2026' && test -e /data/here && echo analysed\n");
    lab.write("data/here", "");
    let mut run = Vec::new();
    for shown in commands(&page("environments.md")).iter().filter(|shown| matches!(shown, Shown::Indented(_))) {
        run.push(sh(&lab, shown.command()));
    }
    assert!(run.len() >= 11, "only {} commands were found", run.len());
    assert!(run.iter().any(|text| text.contains("analysed\n")), "{run:?}");
    assert!(run.iter().any(|text| text.contains("lab --ip=0.0.0.0\n")), "{run:?}");
}
