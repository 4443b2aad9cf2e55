//! `import`: tasks of doit, images of compose and bake files, as text of tasks.yaml or spec.yml. Writes no file; what
//! cannot be taken over is told, never guessed.

mod doit;
mod images;

use serde_json::Value;

use super::args::ImportArgs;
use crate::model::{Diagnostic, Diagnostics};
use crate::taskfile::yaml;
use crate::world::World;

/// What a file was turned into.
#[derive(Debug, Default)]
struct Imported {
    value: Value,
    /// What a person has to look at, each a whole sentence.
    open: Vec<String>,
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Doit,
    Compose,
    Bake,
}

impl Kind {
    /// As its content tells.
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Array(_) => Some(Self::Doit),
            Value::Object(map) if map.contains_key("services") => Some(Self::Compose),
            Value::Object(map) if map.contains_key("target") => Some(Self::Bake),
            _ => None,
        }
    }
}

pub(super) fn import(args: &ImportArgs, world: &World) -> Result<u8, Diagnostics> {
    let name = &args.from;
    let bytes = std::fs::read(world.cwd.join(name))
        .map_err(|error| Diagnostic::error(format!("`{name}` cannot be read")).cause(error))?;
    if std::path::Path::new(name).extension().is_some_and(|kind| kind == "hcl") {
        return Err(Diagnostic::error(format!("`{name}` is HCL, which is not read here"))
            .help(format!("docker buildx bake --file {name} --print > bake.json && cargo xtask import bake.json"))
            .into());
    }
    // JSON keeps its numbers; everything else is read as YAML.
    let value = match serde_json::from_slice(&bytes) {
        Ok(value) => value,
        Err(_) => yaml::parse(name, &bytes)?.json(),
    };
    let imported = match Kind::of(&value) {
        Some(Kind::Doit) => doit::tasks(&value),
        Some(Kind::Compose) => images::compose(&value),
        Some(Kind::Bake) => images::bake(&value),
        None => {
            return Err(Diagnostic::error(format!("`{name}` is no file that can be imported"))
                .note("known are a JSON list of doit's tasks, a compose file, and what `docker buildx bake --print` prints")
                .into());
        }
    };
    world.out.line(yaml::write(&imported.value).trim_end());
    super::show(world, &Diagnostics(imported.open.into_iter().map(Diagnostic::warning).collect()));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(name: &str, text: &str) -> (u8, String, String) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
        let (world, captured) = World::captured(dir.path().to_owned(), crate::exec::environment::Variables::new());
        let exit = crate::run(["import", name], &world);
        (exit, captured.out(), captured.err())
    }

    /// Runs a command where the imported text is the file.
    fn with_file(file: &str, text: &str, others: &[(&str, &str)], line: &str) -> (u8, String) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in others.iter().chain(&[(file, text)]) {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let env = [("PATH".into(), std::env::var_os("PATH").unwrap())].into();
        let (world, captured) = World::captured(dir.path().to_owned(), env);
        let exit = crate::run(line.split_whitespace(), &world);
        (exit, captured.out() + &captured.err())
    }

    #[test]
    fn tasks_of_doit_run_here() {
        let dump = r#"[
          {"name": "words", "doc": "Count words", "actions": ["wc -w < %(dependencies)s > %(targets)s; echo 100%%"],
           "file_dep": ["a.txt"], "targets": ["n.txt"], "clean": true, "verbosity": 2},
          {"name": "shout", "actions": [["echo", "it's {{ braces }}"]], "task_dep": ["words"], "uptodate": [false],
           "params": [{"name": "loud", "short": "l", "type": "int", "default": 3, "help": "How loud"}]},
          {"name": "group", "actions": [], "task_dep": ["group:one"]},
          {"name": "group:one", "actions": [{"python": "build_one"}], "uptodate": ["<function run_once>"]}
        ]"#;
        let (exit, text, open) = imported("tasks.json", dump);
        assert_eq!(exit, 0, "{open}");
        assert!(open.contains("task `group:one` has an action in Python, `build_one`"), "{open}");
        assert!(open.contains("`uptodate` of task `group:one`"), "{open}");
        let (exit, said) = with_file("tasks.yaml", &text, &[("a.txt", "one two")], "run -v words shout");
        assert!(exit == 0 && said.contains("100%") && said.contains("it's {{ braces }}"), "{said}\n{text}");
        let (exit, said) = with_file("tasks.yaml", &text, &[("a.txt", "")], "group");
        assert!(exit == 1 && said.contains("build_one"), "{said}");
    }

    #[test]
    fn images_of_compose_and_bake_become_a_spec() {
        let compose = "services:\n  web:\n    image: lab/web:1\n    build:\n      context: ./web\n      args: { V: 1 }\n      target: run\n  db: { image: \"postgres:16\" }\n";
        let (exit, text, open) = imported("compose.yaml", compose);
        assert!(exit == 0 && open.contains("service `db` builds nothing"), "{open}");
        let (exit, said) = with_file(
            "spec.yml",
            &text,
            &[("web/Dockerfile", "FROM scratch AS run\n"), ("tasks.yaml", "version: 1\nstack: spec.yml\n")],
            "spec check",
        );
        assert!(exit == 0 && said.contains("is fine: 1 image"), "{said}\n{text}");
        let bake = r#"{"group": {"default": {"targets": ["base", "app"]}}, "target": {
          "base": {"context": "base", "dockerfile": "Dockerfile", "tags": ["reg.io:5000/lab/base:1.0"]},
          "app": {"context": "app", "contexts": {"parent": "target:base"}, "args": {"X": "y"}, "platforms": ["linux/amd64"], "tags": ["lab/app"]}}}"#;
        let (exit, text, open) = imported("bake.json", bake);
        assert!(exit == 0 && open.contains("FROM parent"), "{open}");
        let (_, value, _) = (0, serde_yaml_value(&text), 0);
        assert_eq!(value["images"]["base"]["image_name"], "reg.io:5000/lab/base");
        assert_eq!(value["images"]["app"]["depend_on"], "base");
        assert_eq!(value["images"]["app"]["platforms"][0], "linux/amd64");
        assert_eq!(imported("docker-bake.hcl", "target \"a\" {}").0, 3);
        assert_eq!(imported("x.yaml", "a: 1").0, 3);
    }

    fn serde_yaml_value(text: &str) -> Value {
        yaml::parse("text", text.as_bytes()).unwrap().json()
    }
}
